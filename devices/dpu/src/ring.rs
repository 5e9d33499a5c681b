//! The two rings of a queue: docs/CARD.md, section 5.
//!
//! Positions are counted from the queue's beginning and never wrap; an index in the ring is the
//! position modulo its length, which is a power of two.

use std::sync::Arc;

use crate::dma::DmaMemory;
use crate::entry::{Answer, COMPLETION, SUBMISSION};
use crate::sync::{Ordering, fence};

/// Where the host puts commands.
#[derive(Debug)]
pub(crate) struct SubmissionRing {
    memory: Arc<DmaMemory>,
    start: u64,
    length: Length,
    /// Entries written.
    written: u64,
    /// Entries that the card says it has fetched.
    fetched: u64,
}

impl SubmissionRing {
    /// A ring that is empty, at an offset of some memory.
    pub(crate) fn new(memory: Arc<DmaMemory>, start: u64, entries: u32) -> Self {
        SubmissionRing {
            memory,
            start,
            length: Length::of(entries),
            written: 0,
            fetched: 0,
        }
    }

    /// Whether there is room for another entry. A ring is full with one less than it has.
    pub(crate) fn has_room(&self) -> bool {
        self.written - self.fetched < self.length.0 - 1
    }

    /// Writes an entry and returns its position. The card looks at it once it has
    /// [`tail`](Self::tail).
    pub(crate) fn push(&mut self, entry: &[u8; SUBMISSION as usize]) -> u64 {
        assert!(self.has_room(), "whoever submits looks for room first");
        let position = self.written;
        let at = self.start + self.length.index(position) * SUBMISSION;
        self.memory.store(at, entry);
        self.written += 1;
        position
    }

    /// The index for the tail doorbell. What was written before is visible to who sees it.
    pub(crate) fn tail(&self) -> u32 {
        fence(Ordering::Release);
        doorbell(self.length.index(self.written))
    }

    /// Takes in how far the card has fetched, or says why that cannot be.
    pub(crate) fn advance(&mut self, head: u16) -> Result<(), String> {
        let Length(entries) = self.length;
        let head = u64::from(head);
        if head >= entries {
            return Err(format!(
                "it reports submission head {head} of a queue of {entries} entries"
            ));
        }
        let step = self
            .length
            .index(head + entries - self.length.index(self.fetched));
        let pending = self.written - self.fetched;
        if step > pending {
            return Err(format!(
                "it reports submission head {head}, having fetched {step} entries where {pending} \
                 were submitted"
            ));
        }
        self.fetched += step;
        Ok(())
    }

    /// Whether the card has fetched the entry at a position.
    pub(crate) fn is_fetched(&self, position: u64) -> bool {
        position < self.fetched
    }
}

/// Where the card puts answers.
#[derive(Debug)]
pub(crate) struct CompletionRing {
    memory: Arc<DmaMemory>,
    start: u64,
    length: Length,
    /// Entries taken.
    taken: u64,
    /// Entries that the card was told are taken.
    told: u64,
    /// What each entry held when it was taken, in the pass before: the card writes an entry anew,
    /// or not at all.
    before: Box<[(u64, u64)]>,
}

impl CompletionRing {
    /// A ring that is empty, at an offset of some memory, which this zeroes.
    pub(crate) fn new(memory: Arc<DmaMemory>, start: u64, entries: u32) -> Self {
        memory.zero(start, u64::from(entries) * COMPLETION);
        let before = (0..entries).map(|_| (0, 0)).collect();
        CompletionRing {
            memory,
            start,
            length: Length::of(entries),
            taken: 0,
            told: 0,
            before,
        }
    }

    /// The next answer, if the card has written one.
    pub(crate) fn take(&mut self) -> Option<Answer> {
        let at = self.at();
        // The phase comes last, so the rest of its word, which is read with it, is as new.
        let high = self.memory.load_word_acquire(at + 8);
        if phase_of(high) != self.phase() {
            return None;
        }
        let low = self.memory.load_word(at);
        let slot = self.slot();
        self.before[slot] = (low, high);
        self.taken += 1;
        Some(Answer::decode(low, high))
    }

    /// The index for the head doorbell, once half of the ring was taken since the last. Who sees it
    /// may write the entries before it anew: they have been read.
    pub(crate) fn take_head(&mut self) -> Option<u32> {
        if self.taken - self.told < self.length.0 / 2 {
            return None;
        }
        self.told = self.taken;
        fence(Ordering::Release);
        Some(self.index())
    }

    /// The index of the entry that is next.
    pub(crate) fn index(&self) -> u32 {
        doorbell(self.length.index(self.taken))
    }

    /// The entry at the head, where the card has changed it but not its phase. It may be in the
    /// middle of writing it: of interest is one that stays so.
    pub(crate) fn unfinished(&self) -> Option<(u64, u64)> {
        let at = self.at();
        let [low, high] = [at, at + 8].map(|at| self.memory.load_word_acquire(at));
        let has_phase = phase_of(high) == self.phase();
        (!has_phase && (low, high) != self.before[self.slot()]).then_some((low, high))
    }

    fn at(&self) -> u64 {
        self.start + self.length.index(self.taken) * COMPLETION
    }

    fn slot(&self) -> usize {
        usize::try_from(self.length.index(self.taken)).expect("an index fits")
    }

    /// The phase of an entry that is new: 1 in the first pass.
    fn phase(&self) -> bool {
        self.taken & self.length.0 == 0
    }
}

/// The phase bit in the second word of an entry.
fn phase_of(high: u64) -> bool {
    high >> 48 & 1 != 0
}

/// Entries of a ring. A power of two, so that an index takes no division, of which every job would
/// have several.
#[derive(Clone, Copy, Debug)]
struct Length(u64);

impl Length {
    fn of(entries: u32) -> Self {
        assert!(
            entries.is_power_of_two(),
            "{entries} entries are no power of two"
        );
        Length(u64::from(entries))
    }

    fn index(self, position: u64) -> u64 {
        position & (self.0 - 1)
    }
}

/// An index as doorbells take it.
fn doorbell(index: u64) -> u32 {
    u32::try_from(index).expect("an index is less than the ring's length")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn memory() -> Arc<DmaMemory> {
        Arc::new(DmaMemory::unmapped(8192))
    }

    /// Writes an answer as a card does.
    fn post(memory: &DmaMemory, entries: u64, position: u64, id: u16, phase: bool) {
        let status = u64::from(phase) << 48;
        let at = position % entries * COMPLETION;
        memory.store(at, &position.to_le_bytes());
        memory.store(at + 8, &(status | u64::from(id) << 32).to_le_bytes());
    }

    #[test]
    fn answers_are_taken_once_for_many_passes() {
        let memory = memory();
        let mut ring = CompletionRing::new(memory.clone(), 0, 4);
        for position in 0..50 {
            assert_eq!(ring.take(), None);
            let phase = (position / 4) % 2 == 0;
            post(&memory, 4, position, position as u16, phase);
            let answer = ring.take().expect("an answer was written");
            assert_eq!(u64::from(answer.id), position);
            assert_eq!(u64::from(answer.dw0), position);
            assert_eq!(u64::from(ring.index()), (position + 1) % 4);
            // Told of two at a time.
            let told = (position % 2 == 1).then(|| ring.index());
            assert_eq!(ring.take_head(), told);
        }
    }

    #[test]
    fn an_entry_of_the_wrong_phase_is_none_and_is_noticed() {
        let memory = memory();
        let mut ring = CompletionRing::new(memory.clone(), 0, 2);
        assert_eq!(ring.unfinished(), None);
        post(&memory, 2, 0, 7, false);
        assert_eq!(ring.take(), None);
        assert!(ring.unfinished().is_some());
        post(&memory, 2, 0, 7, true);
        assert_eq!(
            (ring.unfinished(), ring.take().map(|a| a.id)),
            (None, Some(7))
        );
        post(&memory, 2, 1, 8, true);
        assert!(ring.take().is_some());
        // Untouched since the pass before: nothing is wrong with it.
        assert_eq!((ring.take(), ring.unfinished()), (None, None));
    }

    #[test]
    fn a_submission_ring_is_full_with_one_less_than_it_has() {
        let mut ring = SubmissionRing::new(memory(), 4096, 4);
        for round in 0..5u64 {
            for at in 0..3 {
                assert!(ring.has_room());
                assert_eq!(ring.push(&[9; 64]), 3 * round + at);
            }
            assert!(!ring.has_room());
            let tail = ring.tail();
            ring.advance(u16::try_from(tail).unwrap()).unwrap();
            assert!(ring.is_fetched(3 * round + 2) && !ring.is_fetched(3 * round + 3));
        }
    }

    #[test]
    fn heads_that_cannot_be_are_refused() {
        let mut ring = SubmissionRing::new(memory(), 0, 8);
        ring.push(&[0; 64]);
        ring.push(&[0; 64]);
        assert!(ring.advance(8).unwrap_err().contains("submission head 8"));
        assert!(
            ring.advance(3)
                .unwrap_err()
                .contains("where 2 were submitted")
        );
        ring.advance(1).unwrap();
        assert!(ring.advance(0).is_err(), "it goes back");
        assert!(ring.is_fetched(0) && !ring.is_fetched(1));
    }
}
