//! Models of a queue pair, checked by Loom over all interleavings and all that the memory model
//! allows; `cargo xtask test` builds this crate's tests with `--cfg loom` and runs them.
//!
//! The card is a thread that keeps to docs/CARD.md, section 5, and to no more: doorbells reach it in
//! their order and order nothing else by themselves. A word that one side reads while the other may
//! still write it ends the model.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use unlade_hal::HostPages;

use super::*;
use crate::iova::Iova;
use crate::registers::{BarOffset, CAP, MAGIC, MAGIC_VALUE, VERSION};
use crate::transport::{CardAccess, Transport, TransportError};

const QUEUE: u16 = 1;
const STRIDE: u64 = 4;
const TAIL: BarOffset = BarOffset(0x1000 + 2 * QUEUE as u64 * STRIDE);
const HEAD: BarOffset = BarOffset(0x1000 + (2 * QUEUE as u64 + 1) * STRIDE);

/// Offset of the command specific part of an entry, where a command says what the model checks.
const SPECIFIC: u64 = 32;

/// Doorbells, as the card sees them.
#[derive(Debug, Default)]
struct Doorbells {
    tail: AtomicU32,
    head: AtomicU32,
}

impl Doorbells {
    /// Before the card fetches an entry it has seen the doorbell that covers it.
    fn tail(&self) -> u64 {
        u64::from(self.tail.load(Ordering::Acquire))
    }

    /// Likewise before it writes an entry anew.
    fn head(&self) -> u64 {
        u64::from(self.head.load(Ordering::Acquire))
    }
}

impl Transport for Doorbells {
    fn address(&self) -> String {
        "a model".to_owned()
    }

    fn bar_len(&self) -> u64 {
        8192
    }

    fn read32(&self, at: BarOffset) -> Result<u32, TransportError> {
        Ok(match at {
            MAGIC => MAGIC_VALUE,
            VERSION => 0x0001_0000,
            _ => 0,
        })
    }

    fn read64(&self, at: BarOffset) -> Result<u64, TransportError> {
        assert_eq!(at, CAP);
        // MQES 256, TO 1, DAB 31, MQP 1.
        Ok(1 << 48 | 31 << 32 | 1 << 24 | 256)
    }

    /// Less than a transport promises: what the rings need, they order themselves.
    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        match at {
            TAIL => self.tail.store(value, Ordering::Relaxed),
            HEAD => self.head.store(value, Ordering::Relaxed),
            _ => panic!("{at:?} is no doorbell of the queue"),
        }
        Ok(())
    }

    fn write64(&self, at: BarOffset, _: u64) -> Result<(), TransportError> {
        panic!("{at:?} is no doorbell")
    }

    fn read_config(&self, _: u16, bytes: &mut [u8]) -> Result<(), TransportError> {
        bytes.fill(0xFF);
        Ok(())
    }

    fn write_config(&self, _: u16, _: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }

    fn map(&self, _: Iova, _: &HostPages, _: CardAccess) -> Result<(), TransportError> {
        Ok(())
    }

    fn unmap(&self, _: Iova, _: u64) -> Result<(), TransportError> {
        Ok(())
    }

    fn vectors(&self) -> u32 {
        2
    }

    fn set_interrupts(&self, _: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        Ok(())
    }

    fn reset(&self) -> Result<(), TransportError> {
        Ok(())
    }

    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        Err(TransportError::Unsupported("opening a model twice"))
    }

    fn close(&self) {}
}

/// A card with one queue.
struct Card {
    doorbells: Arc<Doorbells>,
    place: Place,
    /// Entries fetched, and completions posted.
    fetched: u64,
    posted: u64,
}

impl Card {
    fn entries(&self) -> u64 {
        u64::from(self.place.entries)
    }

    /// Does so many commands, each batch of them that it finds in the opposite order.
    fn serve(mut self, commands: u64) {
        while self.posted < commands {
            let waiting = (self.doorbells.tail() + self.entries() - self.fetched % self.entries())
                % self.entries();
            let batch: Vec<(u64, u64)> = (0..waiting).map(|_| self.fetch()).collect();
            for (id, said) in batch.into_iter().rev() {
                self.post(id, said);
            }
            thread::yield_now();
        }
    }

    /// Id of the next command, and what it says.
    fn fetch(&mut self) -> (u64, u64) {
        let at = self.place.submissions + self.fetched % self.entries() * SUBMISSION;
        self.fetched += 1;
        let commands = &self.place.commands;
        (
            commands.load_word(at) >> 16 & 0xFFFF,
            commands.load_word(at + SPECIFIC),
        )
    }

    /// Writes a job's result, and behind it the completion, the phase last.
    fn post(&mut self, id: u64, said: u64) {
        while self.is_full() {
            thread::yield_now();
        }
        let answers = &self.place.answers;
        answers.store(result_at(&self.place, id), &(!said).to_le_bytes());
        let at = self.place.completions + self.posted % self.entries() * COMPLETION;
        answers.store(at, &said.to_le_bytes());
        let phase = (self.posted / self.entries()).is_multiple_of(2);
        let head = self.fetched % self.entries();
        let high = u64::from(phase) << 48 | id << 32 | u64::from(QUEUE) << 16 | head;
        answers.store_word_release(at + 8, high);
        self.posted += 1;
    }

    /// Whether the completion ring holds all that it may.
    fn is_full(&self) -> bool {
        (self.posted + 1 - self.doorbells.head()) % self.entries() == 0
    }
}

/// Where the result of a command is.
fn result_at(place: &Place, id: u64) -> u64 {
    place.completions + Place::lens(place.entries).1 + id * 8
}

/// Has the card do commands, each as soon as there is room, and checks what comes back.
fn run(entries: u32, commands: u16) {
    let (submissions, completions) = Place::lens(entries);
    let results = u64::from(commands) * 8;
    let place = Place {
        commands: Arc::new(DmaMemory::unmapped(submissions)),
        submissions: 0,
        answers: Arc::new(DmaMemory::unmapped(completions + results)),
        completions: 0,
        entries,
    };
    let doorbells = Arc::new(Doorbells::default());
    let controller = Controller::find(doorbells.clone()).unwrap();
    let mut pair = QueuePair::new(QUEUE, &place);
    let card = Card {
        doorbells,
        place: place.clone(),
        fetched: 0,
        posted: 0,
    };
    let card = thread::spawn(move || card.serve(commands.into()));

    let said = |id: u16| 1000 + u64::from(id);
    let (mut sent, mut answered) = (0, vec![false; commands.into()]);
    while answered.contains(&false) {
        while sent < commands && pair.has_room() {
            let command = Submission::new(0x80).field(SPECIFIC as usize, said(sent).to_le_bytes());
            pair.submit(&controller, command, sent).unwrap();
            sent += 1;
        }
        while let Some(answer) = pair.take().unwrap() {
            assert!(answer.id < sent, "{answer:?} answers what was not asked");
            let before = std::mem::replace(&mut answered[usize::from(answer.id)], true);
            assert!(!before, "{answer:?} comes twice");
            let wanted = said(answer.id);
            assert_eq!(u64::from(answer.dw0), wanted, "{answer:?}");
            let result = place.answers.load_word(result_at(&place, answer.id.into()));
            assert_eq!(result, !wanted, "{answer:?}");
        }
        pair.acknowledge(&controller).unwrap();
        thread::yield_now();
    }
    card.join().unwrap();
}

/// Five times around a ring that holds one command, so that each entry is written in both phases
/// over one that was read.
#[test]
fn model_of_a_ring_that_wraps() {
    loom::model(|| run(2, 5));
}

/// Several commands in flight, answered in another order, until an entry is written anew that only
/// the head doorbell has freed.
#[test]
fn model_of_a_ring_that_is_full() {
    loom::model(|| run(4, 6));
}
