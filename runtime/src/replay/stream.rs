//! A stream of a replay: what it has read, and who may go on with it.

use std::time::Duration;

use unlade_hal::Timestamp;

use crate::placement::Backlog;
use crate::stream::READ_ON;

/// Where a batch of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Unread,
    /// Placed: for a thread that computes, or for one that has this device work.
    Waiting {
        on: Option<usize>,
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
    /// For each device the threads that have it work for the stream.
    pub(super) queueing: Vec<usize>,
    /// The device that the latest batch went to, if it went to one behind a queue.
    latest: Option<usize>,
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
    /// A stream on so many threads that compute and so many devices, with so many batches at most.
    pub(super) fn new(threads: u32, devices: usize, limit: usize) -> Self {
        Stream {
            jobs: Vec::new(),
            places: Vec::new(),
            limit,
            read: 0,
            taken: 0,
            reading: false,
            consumer_is_free: true,
            queueing: vec![0; devices],
            latest: None,
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

    /// What there is to do for a thread that computes, or for one that has a device work: it reads on
    /// only where that has the latest batch, or all threads are busy that compute.
    pub(super) fn next(&self, on: Option<usize>, now: Timestamp) -> Option<Task> {
        let mut ahead = self.taken..self.read;
        let waiting = ahead.find(|at| self.places[*at] == Place::Waiting { on });
        let has_room = self.read < self.jobs.len() && self.read - self.taken < self.limit;
        let leaves_off = || self.latest.is_none() && self.cpu.wait(now) >= READ_ON;
        let reads = on.is_none() || on == self.latest || leaves_off();
        let may_read = !self.reading && has_room && reads;
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
    pub(super) fn placed(&mut self, on: Option<usize>, takes: Duration, now: Timestamp) {
        self.places[self.read] = Place::Waiting { on };
        self.latest = on;
        self.read += 1;
        self.reading = false;
        if on.is_none() {
            self.cpu.begin(takes, now);
        }
    }

    pub(super) fn done(&mut self, position: usize) {
        self.places[position] = Place::Done;
    }
}
