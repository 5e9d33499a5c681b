//! The card's own work, on a thread of its own: it fetches entries, does admin commands and runs
//! jobs. A doorbell only wakes it, so that no submission is its own completion. Behind a socket it is
//! the server's thread that fetches, which is no submission's either: see `Card::attend`. While it runs a
//! job, the thread that rings does what admin commands need no engine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::admin::{awaits_jobs, check_absent, check_head, require, reserved};
use crate::bytes::{length, u16_at, u32_at, u64_at};
use crate::card::Shared;
use crate::dma::{Bus, Dma, Iova};
use crate::faults::{CHANGED_AFTER, Fault, LATE};
use crate::functions::Turn;
use crate::jobs::{Checker, Execution, Job, Progress, Stop, Tamper, execute, report};
use crate::profile::{Nanos, Profile};
use crate::queues::{ADMIN, Completion, Lie, SQE};
use crate::state::{FetchedJob, Held, HeldWork, Settings, State};
use crate::status::{NONE, Outcome, Status};

const JOB: u8 = 0x80;
const NOP: u8 = 0x81;

/// What a card of hostile firmware writes where it must not.
const OUTSIDE: [u8; 64] = [0xA5; 64];

/// Works until the card is stopped.
pub(crate) fn work(shared: &Shared) {
    let mut state = shared.lock();
    while !state.stop {
        let Some(job) = state.next_job() else {
            let due = state.next_due();
            state = shared.wait(state, due);
            continue;
        };
        state.running = true;
        let functions = Arc::clone(&state.functions);
        let ready = Nanos(job.fetched.0 + state.profile.timing.job_nanos);
        let mut engine = Engine {
            profile: Arc::clone(&state.profile),
            dma: Arc::clone(&state.dma),
            started: state.clock.max(ready),
            settings: state.settings,
        };
        let epoch = state.epoch;
        drop(state);
        let mut turn = functions.turn(&engine.dma);
        let done = match &turn {
            Some(turn) => {
                engine.started = engine.started.max(turn.free);
                // A card whose firmware fails stops, and says so: FATAL.
                catch_unwind(AssertUnwindSafe(|| engine.run(&job, turn))).ok()
            }
            None => None,
        };
        let done = done.unwrap_or_else(|| Progress::none(Stop::Abandoned, engine.started));
        state = shared.lock();
        state.running = false;
        if state.epoch == epoch {
            state.finish(&job, &done);
            if let Some(turn) = &mut turn {
                turn.free = state.clock;
            }
        } else if !state.registers.enabled {
            state.end_reset();
        }
        shared.notify();
        if state.removed {
            // With the physical function all others are gone.
            drop((state, turn));
            functions.follow();
            state = shared.lock();
        }
    }
}

impl State {
    /// Does what is to be done without the engine, and gives the next job for it.
    fn next_job(&mut self) -> Option<FetchedJob> {
        self.advance();
        if self.works() {
            self.pending.pop_front()
        } else {
            None
        }
    }

    /// Does what is to be done without the engine, while that is idle.
    pub(crate) fn advance(&mut self) {
        self.release_held(Instant::now());
        let queues: Vec<u16> = self.queues.keys().copied().collect();
        for &queue in &queues {
            self.flush(queue);
        }
        while let Some(entry) = self.awaits_engine.take().or_else(|| self.fetch(ADMIN)) {
            self.administer(&entry);
        }
        // In turns, so that no queue waits for another to be empty.
        let mut fetched = true;
        while fetched {
            fetched = false;
            for queue in queues.iter().copied().filter(|&queue| queue != ADMIN) {
                let room = length(self.pending.len()) < self.profile.jobs_in_flight.into();
                if let Some(entry) = if room { self.fetch(queue) } else { None } {
                    self.accept(queue, entry);
                    fetched = true;
                }
            }
        }
    }

    /// Does what need not wait for the engine while that runs: admin commands, which have to end in time
    /// however long a job takes, up to the first that is about jobs.
    pub(crate) fn advance_beside_engine(&mut self) {
        self.flush(ADMIN);
        while self.awaits_engine.is_none()
            && let Some(entry) = self.fetch(ADMIN)
        {
            if awaits_jobs(&entry) {
                self.awaits_engine = Some(entry);
            } else {
                self.administer(&entry);
            }
        }
    }

    fn administer(&mut self, entry: &[u8; SQE]) {
        if let Some(outcome) = self.admin(entry) {
            self.complete(ADMIN, u16_at(entry, 2), outcome);
        }
    }

    /// The next entry of a queue, if the card may fetch one.
    fn fetch(&mut self, queue: u16) -> Option<[u8; SQE]> {
        if !self.works() {
            return None;
        }
        let pair = self.queues.get_mut(&queue).filter(|pair| pair.has_work())?;
        let fetched = pair.fetch(&self.dma);
        if fetched.is_err() {
            self.fatal(4);
        }
        fetched.ok()
    }

    /// Takes an entry of an I/O queue: a job waits for the engine, all else ends here.
    fn accept(&mut self, queue: u16, entry: [u8; SQE]) {
        let command_id = u16_at(&entry, 2);
        let in_flight = |job: &FetchedJob| job.queue == queue && job.command_id() == command_id;
        if self.pending.iter().any(in_flight) {
            self.find(format!(
                "command id {command_id} of queue {queue} is in flight already"
            ));
            return self.complete(queue, command_id, Outcome::plain(Status::DuplicateId));
        }
        let refused = match check_entry(&entry) {
            Ok(JOB) => {
                self.job += 1;
                let fault = self.faults.fault_of(self.job);
                self.stuck |= fault == Some(Fault::StuckDoorbell);
                // The clock is that of the last completion.
                let turnaround = self.profile.timing.turnaround();
                return self.pending.push_back(FetchedJob {
                    number: self.job,
                    queue,
                    entry,
                    fetched: Nanos(self.clock.0 + turnaround.0),
                    programs: Arc::clone(&self.programs),
                    fault,
                });
            }
            Ok(_) => Outcome::success(0, 0),
            Err(refused) => refused,
        };
        self.complete(queue, command_id, refused);
    }

    /// Completes a job that has run, as its fault wants.
    fn finish(&mut self, job: &FetchedJob, done: &Progress) {
        self.clock = Nanos(done.started.0 + done.duration.0);
        self.busy_time.0 += done.duration.0;
        self.block_bytes += done.blocks;
        self.logs.bytes_read += done.read;
        self.logs.bytes_written += done.written - done.blocks;
        self.injected
            .extend(job.fault.map(|fault| (job.number, fault)));
        match job.fault {
            Some(Fault::ResetInTheMiddle) => {
                self.abandon();
                return self.end_reset();
            }
            Some(Fault::Fatal) => return self.fatal(1),
            Some(Fault::Removal) => return self.remove(),
            Some(Fault::HugeLength) => self.huge_lengths = true,
            Some(Fault::HugeList) => self.huge_lists = true,
            Some(Fault::HugeIdentity) => self.huge_identity = true,
            _ => {}
        }
        // Abandoned without a reset: the engine has failed.
        let Stop::Outcome(outcome) = done.stop else {
            return self.fatal(1);
        };
        self.logs.job(outcome.status);
        // One that trapped has done what it was to: the error is of the data.
        if !matches!(outcome.status, Status::Success | Status::Trapped) {
            self.logs
                .error(job.queue, job.command_id(), outcome, self.clock);
        }
        self.post_with_fault(job, outcome, done.first_written);
        self.finish_drops();
    }

    fn post_with_fault(&mut self, job: &FetchedJob, outcome: Outcome, written: Option<Iova>) {
        let queue = job.queue;
        let honest = Completion {
            command_id: job.command_id(),
            outcome,
            lie: Lie::None,
        };
        let mut hold = |after, what| {
            self.held.push(Held {
                queue,
                due: Instant::now() + after,
                what,
            });
        };
        let late = |behind_next| HeldWork::Completion {
            completion: honest,
            behind_next,
        };
        match job.fault {
            Some(Fault::LostCompletion) => {}
            Some(Fault::LateCompletion) => hold(LATE, late(false)),
            Some(Fault::ReorderedCompletion) => hold(LATE, late(true)),
            Some(Fault::DuplicateCompletion) => {
                self.post(queue, honest);
                self.post(queue, honest);
            }
            Some(Fault::WrongPhase) => self.post(
                queue,
                Completion {
                    lie: Lie::Phase,
                    ..honest
                },
            ),
            Some(Fault::HugeSteps) => {
                let outcome = Outcome {
                    dw0: u32::MAX,
                    ..outcome
                };
                self.post(queue, Completion { outcome, ..honest });
            }
            Some(Fault::WildQueueHead) => {
                self.post(
                    queue,
                    Completion {
                        lie: Lie::QueueHead,
                        ..honest
                    },
                );
            }
            Some(Fault::ForeignCommandId) => {
                self.post(
                    queue,
                    Completion {
                        command_id: !honest.command_id,
                        ..honest
                    },
                );
            }
            Some(Fault::ChangeAfterCompletion) => {
                if let Some(iova) = written {
                    hold(CHANGED_AFTER, HeldWork::Change(iova));
                }
                self.post(queue, honest);
            }
            _ => self.post(queue, honest),
        }
    }
}

/// Checks an entry of an I/O queue. Gives its opcode.
fn check_entry(entry: &[u8; SQE]) -> Result<u8, Outcome> {
    if ![JOB, NOP].contains(&entry[0]) {
        return Err(Outcome::plain(Status::InvalidOpcode));
    }
    check_head(entry)?;
    if entry[0] == NOP {
        check_absent(entry)?;
    } else {
        let (iova, length) = (u64_at(entry, 8), u64_at(entry, 16));
        require(entry[24] == 1, 24)?;
        require(iova.is_multiple_of(64), 8)?;
        require(length >= 32 && length.is_multiple_of(8), 16)?;
        require(entry[25] == 0, 25)?;
        require(u16_at(entry, 26) == 0, 26)?;
        require(u32_at(entry, 28) == 0, 28)?;
    }
    reserved(entry, 32)?;
    Ok(entry[0])
}

/// What runs one job.
#[derive(Debug)]
struct Engine {
    profile: Arc<Profile>,
    dma: Arc<Dma>,
    started: Nanos,
    settings: Settings,
}

impl Engine {
    fn run(&self, job: &FetchedJob, turn: &Turn<'_>) -> Progress {
        let bus = Bus::in_turn(&self.dma, turn);
        match self.checked(job, bus) {
            Ok(checked) => self.execute(job, &checked, bus),
            Err(stop) => Progress::none(stop, self.started),
        }
    }

    fn checked(&self, job: &FetchedJob, bus: Bus<'_>) -> Result<Job, Stop> {
        let (iova, length) = (u64_at(&job.entry, 8), u64_at(&job.entry, 16));
        if !self.profile.address_bits().reach(iova, length) {
            return Err(Outcome::invalid_field(8).into());
        }
        let checker = Checker {
            profile: &self.profile,
            programs: &job.programs,
            bus,
        };
        Job::check(Iova(iova), length, &checker)
    }

    fn execute(&self, job: &FetchedJob, checked: &Job, bus: Bus<'_>) -> Progress {
        let tamper = match job.fault {
            Some(Fault::PartialDma) => Tamper::Partial,
            Some(Fault::CorruptData) => Tamper::Corrupt,
            Some(Fault::HugeCount) => Tamper::HugeCount,
            Some(Fault::HugeTrap) => Tamper::HugeTrap,
            Some(Fault::ResetInTheMiddle | Fault::Fatal | Fault::Removal) => Tamper::Cut,
            _ => Tamper::Nothing,
        };
        let limit = u64::from(self.settings.job_time_limit_ms) * 1_000_000;
        let mut progress = execute(
            checked,
            &Execution {
                profile: &self.profile,
                bus,
                tamper,
                fetched: job.fetched,
                started: self.started,
                limit: Nanos(limit),
            },
        );
        if let Some(Fault::WriteOutside(iova)) = job.fault {
            // Refused or not: a hostile card would not say so.
            let _ = bus.write(Iova(iova), &OUTSIDE);
        }
        if let (Some(to), Stop::Outcome(_)) = (checked.report, progress.stop) {
            let mut bytes = report(job.fetched, &progress);
            if job.fault == Some(Fault::HugeReport) {
                // Bytes read, bytes written, steps done.
                bytes[24..44].fill(0xFF);
            }
            if let Err(error) = bus.write(to, &bytes) {
                progress.stop = Stop::dma(error, NONE, 16);
            }
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_checked_field_by_field() {
        let mut entry = [0; SQE];
        entry[0] = JOB;
        entry[16] = 32;
        entry[24] = 1;
        assert_eq!(check_entry(&entry), Ok(JOB));
        let faults = [
            (1, 1),
            (4, 4),
            (8, 8),
            (16, 16),
            (24, 24),
            (25, 25),
            (26, 26),
            (28, 28),
            (40, 32),
        ];
        for (byte, field) in faults {
            let mut wrong = entry;
            wrong[byte] ^= 4;
            assert_eq!(
                check_entry(&wrong),
                Err(Outcome::invalid_field(field)),
                "byte {byte}"
            );
        }
        entry[0] = 0x82;
        assert_eq!(
            check_entry(&entry),
            Err(Outcome::plain(Status::InvalidOpcode))
        );
    }
}
