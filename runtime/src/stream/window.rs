//! The portions that a stream has read and not yet given the results of.

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;
use unlade_hal::Timestamp;

use crate::error::Error;
use crate::kernel::{Assignment, Lane, Output};
use crate::placement::Backlog;
use crate::portion::{Piece, Portion};
use crate::receipt::Receipt;

/// The portions read and not yet taken, and what is on its way to them.
#[derive(Debug)]
pub(super) struct Window {
    /// Oldest first.
    pub(super) slots: VecDeque<Slot>,
    /// How many there may be.
    limit: usize,
    /// Portions taken, which is the number of the first slot.
    taken: u64,
    /// Results of the first pieces of a batch, until the last one's is there.
    pieces: Vec<Output>,
    /// Whether the rest of the pieces is of no use: one has failed.
    skipping: bool,
    /// What threads that compute have to do.
    cpu: Backlog,
    /// The device that the latest portion went to, if it went to one behind a queue.
    pub(super) latest: Option<usize>,
    /// Whether somebody reads.
    pub(super) reading: bool,
    /// Threads that help to compute.
    pub(super) helping: usize,
    /// For each device the threads that have it work.
    pub(super) queueing: Vec<usize>,
    /// Whether there is nothing more to read.
    pub(super) ended: bool,
    /// What is next, and last, where the stream was ended from without.
    pub(super) verdict: Option<Error>,
}

/// A portion that was read and not yet taken.
#[derive(Debug)]
pub(super) enum Slot {
    /// It is known where it is to run.
    Waiting(Box<Assignment>),
    /// Its results are in the making.
    Making,
    /// There was no memory for its results ahead of time: they are made when they are asked for.
    Held(Portion),
    /// Its results, and of which batch they are a piece.
    Done {
        results: VecDeque<Result<Output, Error>>,
        piece: Option<Piece>,
        /// From which the results can be made again where they stand in the way of earlier ones.
        again: Option<Portion>,
    },
}

/// A portion that is to be made, and its place.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) number: u64,
    pub(super) task: Task,
}

/// A portion, assigned or to be assigned again.
#[derive(Debug)]
pub(super) enum Task {
    Assigned(Box<Assignment>),
    Again(Portion),
}

/// A result, and what goes with it.
pub(super) struct Taken {
    /// The number of the portion.
    pub(super) portion: u64,
    pub(super) result: Result<Output, Error>,
    pub(super) piece: Option<Piece>,
    /// To be dropped once the window is unlocked.
    pub(super) again: Option<Portion>,
}

/// What a stream had when it ended; to be dropped once the window is unlocked.
pub(super) struct Rest {
    _slots: VecDeque<Slot>,
    _pieces: Vec<Output>,
}

impl Window {
    /// Of a stream on so many threads that compute and so many devices, with so many portions at most.
    pub(super) fn new(threads: usize, devices: usize, limit: usize) -> Self {
        Window {
            slots: VecDeque::new(),
            limit,
            taken: 0,
            pieces: Vec::new(),
            skipping: false,
            cpu: Backlog::new(u32::try_from(threads).unwrap_or(u32::MAX)),
            latest: None,
            reading: false,
            helping: 0,
            queueing: vec![0; devices],
            ended: false,
            verdict: None,
        }
    }

    /// Takes the next result, if it is there.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let Some(Slot::Done {
            results,
            piece,
            again,
        }) = self.slots.front_mut()
        else {
            return None;
        };
        let taken = Taken {
            portion: self.taken,
            result: results.pop_front().expect("what is done has a result"),
            piece: piece.clone(),
            again: again.take(),
        };
        if results.is_empty() {
            self.slots.pop_front();
            self.taken += 1;
        }
        Some(taken)
    }

    /// Takes note of what became of a piece. Once it is known what becomes of the batch, returns
    /// the results of all its pieces, or the error of one.
    pub(super) fn put_together(
        &mut self,
        piece: &Piece,
        result: Result<Output, Error>,
    ) -> Option<Result<Vec<Output>, Error>> {
        let skipping = self.skipping;
        self.skipping = (skipping || result.is_err()) && !piece.is_last;
        match result {
            _ if skipping => None,
            Ok(output) => {
                self.pieces.push(output);
                piece.is_last.then(|| Ok(std::mem::take(&mut self.pieces)))
            }
            Err(error) => {
                self.pieces.clear();
                Some(Err(error))
            }
        }
    }

    /// Whether there is nothing that a result will come of.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && !self.reading && self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn may_read(&self) -> bool {
        let held = |slot: &Slot| matches!(slot, Slot::Held(_));
        let has_room = self.slots.len() < self.limit && !self.slots.iter().any(held);
        !self.reading && !self.ended && has_room
    }

    /// How long threads that compute will be busy.
    pub(super) fn cpu_wait(&self, now: Timestamp) -> Duration {
        self.cpu.wait(now)
    }

    /// Puts a portion behind the others.
    pub(super) fn push(&mut self, assignment: Assignment, now: Timestamp) {
        self.latest = match assignment.lane {
            Lane::Queue(device) => Some(device),
            Lane::Inline(takes) => {
                self.cpu.begin(takes, now);
                None
            }
        };
        self.slots.push_back(Slot::Waiting(Box::new(assignment)));
    }

    /// Puts a result behind the others, which no portion has.
    pub(super) fn push_result(&mut self, result: Result<Output, Error>) {
        self.slots.push_back(Slot::Done {
            results: VecDeque::from([result]),
            piece: None,
            again: None,
        });
    }

    /// Begins the first portion, if it is to be made by whoever asks for it.
    pub(super) fn begin_held(&mut self) -> Option<Begun> {
        match self.slots.front() {
            Some(Slot::Held(_)) => self.begin_at(0),
            _ => None,
        }
    }

    /// Begins the first portion, if it goes to a device that nobody has work.
    pub(super) fn begin_unattended(&mut self) -> Option<Begun> {
        match self.slots.front().and_then(Slot::waits_for) {
            Some(device) if self.queueing[device] == 0 => self.begin_at(0),
            _ => None,
        }
    }

    /// Begins the oldest portion that is to be computed by a thread of the stream.
    pub(super) fn begin_inline(&mut self) -> Option<Begun> {
        self.begin_waiting(Slot::is_inline)
    }

    /// Begins the oldest portion that goes to a device.
    pub(super) fn begin_queued(&mut self, device: usize) -> Option<Begun> {
        self.begin_waiting(|slot| slot.waits_for() == Some(device))
    }

    /// The devices for which portions wait, each once.
    pub(super) fn queued(&self) -> SmallVec<[usize; 4]> {
        let mut devices = SmallVec::new();
        for device in self.slots.iter().filter_map(Slot::waits_for) {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
    }

    /// Whether a portion waits for a thread that computes.
    pub(super) fn has_inline(&self) -> bool {
        self.slots.iter().any(Slot::is_inline)
    }

    /// Whether a portion is the first, so that somebody waits for it.
    pub(super) fn is_first(&self, number: u64) -> bool {
        number == self.taken
    }

    /// Puts what was made in its place, and returns what is to be dropped once the window is
    /// unlocked.
    #[must_use]
    pub(super) fn finish(
        &mut self,
        number: u64,
        inline: Option<Duration>,
        made: Slot,
        now: Timestamp,
    ) -> Option<Slot> {
        if let Some(takes) = inline {
            self.cpu.end(takes, now);
        }
        let position = number.checked_sub(self.taken);
        let slot = position.and_then(|position| self.slots.get_mut(position as usize));
        match slot {
            Some(slot @ Slot::Making) => {
                *slot = made;
                None
            }
            // An error was taken, or the stream ended, meanwhile.
            _ => Some(made),
        }
    }

    /// Gives up what was made ahead of time, to be made again when it is asked for, and returns
    /// what it was.
    #[must_use]
    pub(super) fn give_up_results(&mut self) -> Vec<Slot> {
        let slots = self.slots.iter_mut();
        slots.filter_map(Slot::give_up).collect()
    }

    /// Nothing is read or taken any more: all that was comes back.
    #[must_use]
    pub(super) fn end(&mut self) -> Rest {
        self.ended = true;
        self.taken += self.slots.len() as u64;
        Rest {
            _slots: std::mem::take(&mut self.slots),
            _pieces: std::mem::take(&mut self.pieces),
        }
    }

    fn begin_waiting(&mut self, is_one: impl Fn(&Slot) -> bool) -> Option<Begun> {
        let position = self.slots.iter().position(is_one)?;
        self.begin_at(position)
    }

    fn begin_at(&mut self, position: usize) -> Option<Begun> {
        let number = self.taken + position as u64;
        let task = match std::mem::replace(&mut self.slots[position], Slot::Making) {
            Slot::Waiting(assignment) => Task::Assigned(assignment),
            Slot::Held(portion) => Task::Again(portion),
            Slot::Making | Slot::Done { .. } => unreachable!("what is begun was not"),
        };
        Some(Begun { number, task })
    }
}

impl Task {
    /// How long it is predicted to keep a thread that computes, if it goes to one.
    pub(super) fn computes(&self) -> Option<Duration> {
        match self {
            Task::Assigned(assignment) => match assignment.lane {
                Lane::Inline(takes) => Some(takes),
                Lane::Queue(_) => None,
            },
            Task::Again(_) => None,
        }
    }

    pub(super) fn into_portion(self) -> Portion {
        match self {
            Task::Assigned(assignment) => assignment.portion,
            Task::Again(portion) => portion,
        }
    }
}

impl Slot {
    /// Whether it waits for a thread that computes.
    fn is_inline(&self) -> bool {
        matches!(self, Slot::Waiting(assignment) if matches!(assignment.lane, Lane::Inline(_)))
    }

    /// The device that it waits for, if it does.
    fn waits_for(&self) -> Option<usize> {
        match self {
            Slot::Waiting(assignment) => match assignment.lane {
                Lane::Queue(device) => Some(device),
                Lane::Inline(_) => None,
            },
            _ => None,
        }
    }

    /// For how long devices have worked for its results, if there are any and the devices tell.
    pub(super) fn device_time(&self) -> Option<Duration> {
        let Slot::Done { results, .. } = self else {
            return None;
        };
        let receipts = results.iter().flatten().map(|output| &output.receipt);
        let times = receipts.filter_map(Receipt::device_time);
        times.reduce(|sum, each| sum + each)
    }

    /// Gives the results up. What they held returns as the slot that comes back is dropped.
    fn give_up(&mut self) -> Option<Slot> {
        match self {
            Slot::Done { again, .. } => again
                .take()
                .map(|portion| std::mem::replace(self, Slot::Held(portion))),
            Slot::Waiting(_) | Slot::Making | Slot::Held(_) => None,
        }
    }
}
