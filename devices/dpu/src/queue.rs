//! A queue: lists as jobs of one queue pair, completions in order.

use std::collections::VecDeque;
use std::hint;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use unlade_hal::{
    CommandList, Completion, DeviceLost, Leaked, Outcome, Queue, Quiesced, RejectReason, Rejected,
    Seq, Timing, Wait, validate,
};

use crate::checksum;
use crate::command;
use crate::completion::{self, REPORT};
use crate::dma::{Arranged, DmaMemory};
use crate::entry::{Answer, Operand, SUBMISSION, Submission};
use crate::fault::Fault;
use crate::iova::{Iova, PAGE};
use crate::job::{self, Blocks, Draft, Target};
use crate::pair::{Place, QueuePair};
use crate::patience::{Patience, SPIN};
use crate::returns::{Remains, Returned};
use crate::shared::{Shared, Trouble};
use crate::status::StatusCode;
use crate::transport::CardAccess;

/// Lists that one queue holds at most: with one entry more, every card has room for them.
const MAX_DEPTH: u32 = 255;

/// Entries that a ring has at least: a page of commands. A ring that is much longer than the lists
/// under way has the card told rarely which answers were taken.
const MIN_ENTRIES: u32 = (PAGE / SUBMISSION) as u32;

/// Bytes kept for each list's descriptor. A longer one gets memory of its own.
const DESCRIPTOR: u64 = 8 << 10;

/// How often it is seen to that the card is still there, while lists are in flight. Longer than any
/// card takes to write a completion.
const WATCH: Duration = Duration::from_millis(100);

/// A queue of a [`DpuDevice`](crate::DpuDevice).
#[derive(Debug)]
pub(crate) struct DpuQueue {
    shared: Arc<Shared>,
    pair: QueuePair,
    place: Place,
    descriptors: u64,
    reports: u64,
    checksums: u64,
    depth: usize,
    next: Seq,
    /// Lists submitted and not delivered, in order.
    flying: VecDeque<Flight>,
    /// For each list that may be in flight, what it has.
    berths: Box<[Berth]>,
    free: Vec<u8>,
    draft: Draft,
    watched: Instant,
    patience: Patience,
    /// Whether the card is done with the queue, so that there is nothing left to give back.
    ended: bool,
}

/// What the queue has for one list in flight.
#[derive(Debug, Default)]
struct Berth {
    /// How often it was used, so that a late completion of an earlier user is noticed.
    uses: u8,
    /// The list that is in it.
    seq: Option<Seq>,
    /// A descriptor that was too long for its usual place, kept for the next such.
    long: Option<Arc<DmaMemory>>,
}

/// A list that was submitted.
#[derive(Debug)]
struct Flight {
    seq: Seq,
    list: CommandList,
    id: u16,
    position: u64,
    submitted: Instant,
    /// What came of it, once the card has said so.
    ended: Option<(Outcome, Timing)>,
}

impl DpuQueue {
    /// Creates a queue pair for so many lists, or for fewer.
    pub(crate) fn open(shared: Arc<Shared>, depth: u32) -> Result<Self, unlade_hal::DeviceError> {
        let depth = depth.min(MAX_DEPTH);
        let entries = (depth + 1).next_power_of_two().max(MIN_ENTRIES);
        let (submissions_len, completions_len) = Place::lens(entries);
        let mut read = Arranged::default();
        let submissions = read.pages(submissions_len);
        let descriptors = read.pages(u64::from(depth) * DESCRIPTOR);
        let mut written = Arranged::default();
        let completions = written.pages(completions_len);
        let reports = written.pages(u64::from(depth) * REPORT as u64);
        let checksums = written.pages(u64::from(depth) * checksum::ROOM);
        let commands = shared.dma(read.len(), CardAccess::Read, "a queue's commands")?;
        let answers = shared.dma(written.len(), CardAccess::Write, "a queue's answers")?;
        let place = Place {
            commands: Arc::new(commands),
            submissions,
            answers: Arc::new(answers),
            completions,
            entries,
        };
        let number = shared.create_pair(&place)?;
        let count = u8::try_from(depth).expect("at most 255");
        Ok(DpuQueue {
            pair: QueuePair::new(number, &place),
            shared,
            place,
            descriptors,
            reports,
            checksums,
            depth: usize::from(count),
            next: Seq::FIRST,
            flying: VecDeque::new(),
            berths: (0..count).map(|_| Berth::default()).collect(),
            free: (0..count).rev().collect(),
            draft: Draft::default(),
            watched: Instant::now(),
            patience: Patience::new(),
            ended: false,
        })
    }

    /// What the card's interrupts signal.
    fn event(&self) -> &OwnedFd {
        self.shared.event(self.pair.number())
    }

    /// The berth of a list that the card can be given, and the command that gives it.
    fn admit(&mut self, list: &CommandList) -> Result<(u8, Submission), RejectReason> {
        self.shared.check()?;
        let Some(&berth) = self.free.last() else {
            return Err(RejectReason::Full);
        };
        if self.flying.len() >= self.depth || !self.pair.has_room() {
            return Err(RejectReason::Full);
        }
        let about = &self.shared.about;
        validate(list, &about.info, &about.capabilities)?;
        if list.commands.is_empty() {
            return Ok((berth, command::nop()));
        }
        job::check_statuses(list).map_err(RejectReason::Invalid)?;
        let target = Target {
            device: &about.info.name,
            domain: about.info.domain,
            generation: self.shared.generation,
            limits: &about.identity.job,
        };
        let answers = &self.place.answers;
        let blocks = Blocks {
            report: self.report_at(berth).map(|at| answers.iova(at)),
            checksums: self.checksums_at(berth).map(|at| answers.iova(at)),
        };
        if blocks.checksums.is_some() {
            check_room(checksum::len(list))?;
        }
        let described = target.describe(list, blocks, &mut self.draft);
        described.map_err(RejectReason::Invalid)?;
        let operand = Operand::memory(
            self.place_descriptor(berth)?,
            self.draft.bytes().len() as u64,
        );
        Ok((berth, command::job(operand)))
    }

    /// Puts the descriptor where the card can read it.
    fn place_descriptor(&mut self, berth: u8) -> Result<Iova, RejectReason> {
        let bytes = self.draft.bytes();
        let len = bytes.len() as u64;
        if len <= DESCRIPTOR {
            let at = self.descriptors + u64::from(berth) * DESCRIPTOR;
            self.place.commands.store(at, bytes);
            return Ok(self.place.commands.iova(at));
        }
        let long = &mut self.berths[usize::from(berth)].long;
        if long.as_ref().is_none_or(|memory| memory.len() < len) {
            let len = len.next_power_of_two();
            let memory = self
                .shared
                .dma(len, CardAccess::Read, "a descriptor")
                .map_err(|trouble| match trouble {
                    Trouble::Lost(lost) => RejectReason::Lost(lost),
                    // Lists that come back make room.
                    Trouble::Harmless(_) if !self.flying.is_empty() => RejectReason::Full,
                    Trouble::Harmless(fault) => RejectReason::Invalid(fault.to_string()),
                })?;
            *long = Some(Arc::new(memory));
        }
        let memory = long.as_ref().expect("made above");
        memory.store(0, bytes);
        Ok(memory.iova(0))
    }

    /// Where the card is to report on the list of a berth, if it does.
    fn report_at(&self, berth: u8) -> Option<u64> {
        let at = self.reports + u64::from(berth) * REPORT as u64;
        self.shared.about.identity.features.report().then_some(at)
    }

    /// Where the card is to put the checksums of the list of a berth, if they are wanted.
    fn checksums_at(&self, berth: u8) -> Option<u64> {
        let at = self.checksums + u64::from(berth) * checksum::ROOM;
        self.shared.about.checksums.then_some(at)
    }

    /// Takes in what the card says is done.
    fn collect(&mut self) -> Result<(), Fault> {
        while let Some(answer) = self.pair.take()? {
            self.take_in(&answer)?;
        }
        self.pair.acknowledge(&self.shared.controller)
    }

    fn take_in(&mut self, answer: &Answer) -> Result<(), Fault> {
        let [berth, _] = answer.id.to_le_bytes();
        let (report, checksums) = (self.report_at(berth), self.checksums_at(berth));
        let seq = self.berths.get(usize::from(berth)).and_then(|b| b.seq);
        let first = self.flying.front().map(|first| first.seq.get());
        let found = seq.zip(first).and_then(|(seq, first)| {
            let at = usize::try_from(seq.get().checked_sub(first)?).ok()?;
            self.flying.get_mut(at)
        });
        let number = self.pair.number();
        let unknown = || {
            Fault::Lie(format!(
                "it completes command {:#06x} in queue {number}, which is not in flight there",
                answer.id
            ))
        };
        let flight = found
            .filter(|flight| flight.id == answer.id && flight.ended.is_none())
            .ok_or_else(unknown)?;
        if !self.pair.is_fetched(flight.position) {
            return Err(Fault::Lie(format!(
                "it completes command {:#06x} in queue {number}, which by its own account it has \
                 not fetched",
                answer.id
            )));
        }
        if answer.status == StatusCode::ABORTED_QUEUE_DELETED && self.ended {
            return Ok(());
        }
        let outcome = completion::outcome(&flight.list, answer)?;
        let answers = &self.place.answers;
        if let (Some(at), Outcome::Done { written }) = (checksums, &outcome) {
            let mut sums = [0; checksum::ROOM as usize];
            answers.load(at, &mut sums);
            checksum::check(&flight.list, written, &sums)?;
        }
        let steps = flight.list.commands.len();
        let timing = match report {
            Some(at) if steps > 0 => {
                let mut report = [0; REPORT];
                answers.load(at, &mut report);
                let passed = || flight.submitted.elapsed();
                completion::timing(&report, steps, self.shared.about.info.clock, passed)?
            }
            _ => Timing::default(),
        };
        flight.ended = Some((outcome, timing));
        self.berths[usize::from(berth)].seq = None;
        self.free.push(berth);
        Ok(())
    }

    /// Collects. Where nothing is to be delivered, the event is drained, so that who waits for it does
    /// not come again and again; the event of what is delivered stays for one more poll, which is
    /// cheaper than to ask the kernel each time.
    fn look(&mut self) -> Result<(), Fault> {
        self.collect()?;
        let delivers = self
            .flying
            .front()
            .is_some_and(|first| first.ended.is_some());
        if !delivers {
            self.drain_event();
            self.collect()?;
        }
        Ok(())
    }

    /// Sees to it that the card is still there, and has not been reset since, if it has not been looked at
    /// for a while.
    fn watch(&mut self, now: Instant) -> Result<(), Fault> {
        if now - self.watched < WATCH {
            return Ok(());
        }
        self.watched = now;
        // Ready, it may be so for the next queues alone.
        self.shared.check().map_err(|_| Fault::NotReady)?;
        self.shared.controller.check()?;
        self.pair.check_phase()
    }

    /// Whether everything up to a point is done.
    fn is_reached(&self, seq: Seq) -> bool {
        self.flying
            .iter()
            .take_while(|flight| flight.seq <= seq)
            .all(|flight| flight.ended.is_some())
    }

    /// Waits until everything up to a point is done, at most until the deadline.
    fn wait_for(&mut self, seq: Seq, deadline: Option<Instant>) -> Result<Wait, Fault> {
        let mut spins_until = self.patience.begin().then(|| Instant::now() + SPIN);
        loop {
            self.collect()?;
            if self.is_reached(seq) {
                if spins_until.is_some() {
                    self.patience.rewarded();
                }
                return Ok(Wait::Reached);
            }
            let now = Instant::now();
            self.watch(now)?;
            let left = deadline.map_or(WATCH, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Ok(Wait::TimedOut);
            }
            if spins_until.is_some_and(|end| now < end) {
                hint::spin_loop();
                continue;
            }
            if spins_until.take().is_some() {
                self.patience.in_vain();
            }
            if self.sleep(left.min(WATCH)) {
                self.drain_event();
            }
        }
    }

    /// Sleeps until the card interrupts, or for so long; whether it has interrupted, as far as is known.
    fn sleep(&self, longest: Duration) -> bool {
        let timeout = Timespec::try_from(longest).expect("a fraction of a second");
        let mut events = [PollFd::new(self.event(), PollFlags::IN)];
        // Interrupts are hints: whatever this says, the ring is looked at next.
        poll(&mut events, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    /// Has the event not be readable until the next interrupt.
    fn drain_event(&self) {
        // It does not block, and fails where there was no interrupt.
        let _count = rustix::io::read(self.event(), &mut [0; 8]);
    }

    /// The lists up to the first that is not done.
    fn deliver(&mut self, done: &mut Vec<Completion>) {
        while let Some(flight) = self.flying.pop_front_if(|first| first.ended.is_some()) {
            let (outcome, timing) = flight.ended.expect("looked at above");
            done.push(Completion {
                seq: flight.seq,
                list: flight.list,
                outcome,
                timing,
            });
        }
    }

    /// Has the card let go of the queue; where it does not, the device is lost.
    fn end(&mut self) -> Result<(), DeviceLost> {
        self.shared.check()?;
        self.shared.delete_pair(self.pair.number())?;
        self.ended = true;
        self.collect().map_err(|fault| self.shared.lose(&fault))
    }

    /// What is left of every list when the queue has ended, or the device is lost.
    fn settle(&mut self, reason: &DeviceLost, quiet: bool, quiesced: &mut Quiesced) {
        for flight in self.flying.drain(..) {
            let (outcome, timing) = match flight.ended {
                Some(ended) => ended,
                None if quiet => (Outcome::Aborted(reason.clone()), Timing::default()),
                None => {
                    quiesced.leaked.push(leak(flight.seq, flight.list));
                    continue;
                }
            };
            quiesced.completions.push(Completion {
                seq: flight.seq,
                list: flight.list,
                outcome,
                timing,
            });
        }
    }
}

impl Queue for DpuQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        let mut list = list;
        let (berth, command) = match self.admit(&list) {
            Ok(admitted) => admitted,
            Err(reason) => return Err(Rejected { list, reason }),
        };
        job::spoil_statuses(&mut list);

        let seq = self.next;
        self.next = seq.next();
        self.free.pop();
        let place = &mut self.berths[usize::from(berth)];
        place.seq = Some(seq);
        place.uses = place.uses.wrapping_add(1);
        let id = u16::from_le_bytes([berth, place.uses]);
        let submitted = Instant::now();
        let position = self.pair.submit(&self.shared.controller, command, id);
        let position = position.unwrap_or_else(|fault| {
            // Whether the card has seen it is not known, so the list is in flight on a device that
            // is lost: it cannot come back as if nothing had happened.
            self.shared.lose(&fault);
            u64::MAX
        });
        self.flying.push_back(Flight {
            seq,
            list,
            id,
            position,
            submitted,
            ended: None,
        });
        Ok(seq)
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        self.shared.check()?;
        let polled = self.look().and_then(|()| self.watch(Instant::now()));
        polled.map_err(|fault| self.shared.lose(&fault))?;
        self.deliver(done);
        Ok(())
    }

    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        self.shared.check()?;
        if seq >= self.next {
            thread::sleep(timeout);
            return Ok(Wait::TimedOut);
        }
        let deadline = Instant::now().checked_add(timeout);
        let waited = self.wait_for(seq, deadline);
        waited.map_err(|fault| self.shared.lose(&fault))
    }

    /// Signalled by the card's interrupts; reset by the next poll.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.event().as_fd())
    }

    /// Beyond the timeout it takes the card to delete the queue or, if that fails, to be reset.
    fn quiesce(mut self: Box<Self>, timeout: Duration) -> Quiesced {
        let mut quiesced = Quiesced::default();
        let deadline = Instant::now().checked_add(timeout);
        let last = self.flying.back().map(|last| last.seq);
        if self.shared.check().is_ok()
            && let Some(last) = last
            && let Err(fault) = self.wait_for(last, deadline)
        {
            self.shared.lose(&fault);
        }
        let (reason, quiet) = match self.end() {
            Ok(()) => {
                let late = "its queue was ended before the list was done".to_owned();
                (self.shared.about.lost(late), true)
            }
            Err(lost) => {
                let waiting = self.flying.iter().any(|flight| flight.ended.is_none());
                (lost, !waiting || self.ended || self.shared.is_quiet())
            }
        };
        self.ended = true;
        self.settle(&reason, quiet, &mut quiesced);
        quiesced
    }
}

impl Drop for DpuQueue {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let lists = self.flying.drain(..).map(|flight| flight.list).collect();
        let long = self.berths.iter_mut().filter_map(|berth| berth.long.take());
        let rings = [&self.place.commands, &self.place.answers].map(Arc::clone);
        let remains = Remains::new(lists, rings.into_iter().chain(long).collect());
        self.shared.memory.returns.push(Returned::Queue {
            generation: self.shared.generation,
            number: self.pair.number(),
            remains: ManuallyDrop::new(remains),
        });
    }
}

/// Whether the checksums of a list have room.
fn check_room(sums: u64) -> Result<(), RejectReason> {
    const ROOM: u64 = checksum::ROOM;
    match sums {
        ..=ROOM => Ok(()),
        _ => Err(RejectReason::Invalid(format!(
            "its {sums} bytes of checksums are more than the {ROOM} kept for a list; split it"
        ))),
    }
}

/// Leaves a list to the card, for good.
fn leak(seq: Seq, list: CommandList) -> Leaked {
    let bytes = list.abandon();
    Leaked { seq, bytes }
}
