//! A stream of a replay: what it has read, and who may go on with it.

use std::time::Duration;

use unlade_hal::Timestamp;

use crate::placement::Backlog;

/// Where a batch of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Unread,
    /// Placed: for a thread that computes, or for one that has a device work.
    Waiting {
        inline: bool,
    },
    Making,
    Done,
}

/// A stream, as [`stream`](crate::stream) has it: read in order, at most so many batches ahead of the
/// oldest that was not taken.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its batches, as the recording counts them, in its order.
    pub(super) jobs: Vec<usize>,
    places: Vec<Place>,
    limit: usize,
    read: usize,
    taken: usize,
    reading: bool,
    /// Whether whoever takes results is neither away nor at work.
    pub(super) consumer_is_free: bool,
    /// Threads that have a device work for it.
    pub(super) queueing: usize,
    /// What threads that compute have to do.
    pub(super) cpu: Backlog,
}

/// What a thread may do for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Make the batch at this position.
    Make(usize),
    /// Read the one at this position.
    Read(usize),
}

impl Stream {
    /// A stream on so many threads that compute, with so many batches at most.
    pub(super) fn new(threads: u32, limit: usize) -> Self {
        Stream {
            jobs: Vec::new(),
            places: Vec::new(),
            limit,
            read: 0,
            taken: 0,
            reading: false,
            consumer_is_free: true,
            queueing: 0,
            cpu: Backlog::new(threads),
        }
    }

    /// One more batch; returns its position.
    pub(super) fn push(&mut self, job: usize) -> usize {
        self.jobs.push(job);
        self.places.push(Place::Unread);
        self.jobs.len() - 1
    }

    /// Takes the next result, if it is there: its position.
    pub(super) fn take(&mut self) -> Option<usize> {
        let position = self.taken;
        let is_done = self.places.get(position) == Some(&Place::Done);
        self.taken += usize::from(is_done);
        is_done.then_some(position)
    }

    /// What there is to do for a thread that computes, or for one that has a device work.
    pub(super) fn next(&self, inline: bool) -> Option<Task> {
        let mut ahead = self.taken..self.read;
        let waiting = ahead.find(|at| self.places[*at] == Place::Waiting { inline });
        let may_read =
            !self.reading && self.read < self.jobs.len() && self.read - self.taken < self.limit;
        let read = may_read.then_some(Task::Read(self.read));
        waiting.map(Task::Make).or(read)
    }

    /// Somebody does it.
    pub(super) fn begin(&mut self, task: Task) {
        match task {
            Task::Make(position) => self.places[position] = Place::Making,
            Task::Read(_) => self.reading = true,
        }
    }

    /// The batch that is being read.
    pub(super) fn in_reading(&self) -> usize {
        self.jobs[self.read]
    }

    /// What was being read is there, and is placed.
    pub(super) fn placed(&mut self, inline: bool, takes: Duration, now: Timestamp) {
        self.places[self.read] = Place::Waiting { inline };
        self.read += 1;
        self.reading = false;
        if inline {
            self.cpu.begin(takes, now);
        }
    }

    pub(super) fn done(&mut self, position: usize) {
        self.places[position] = Place::Done;
    }
}
