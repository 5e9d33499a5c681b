//! What happens, event by event: who is there, who has something to do and who is free.
//!
//! [`place`] chooses where a batch goes; [`run`] has it on its way there.

mod place;
mod run;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::{ClockKind, Timestamp};

use self::run::Job;
use super::engines::Engines;
use super::outcome::{self, Sums};
use super::stream::{Stream, Task};
use super::threads::{Lane, Thread, Threads};
use super::{Outcome, Replay, ReplayError};
use crate::placement::{Modelled, Placer, Policy};
use crate::recording::{MOST_BATCHES, RecordedKernel, RecordedSession};
use crate::scheduler::{Limits, Scheduler, ServiceTimes, Settings};
use crate::stream::AHEAD;
use crate::trace::TraceEvent;

/// Events of a picture; a replay goes on without more of them.
const MOST_EVENTS: usize = 1 << 18;

/// A replay on its way.
pub(super) struct World<'a> {
    replay: &'a Replay<'a>,
    clock: ClockKind,
    sessions: BTreeMap<u64, &'a RecordedSession>,
    kernels: BTreeMap<u64, &'a RecordedKernel>,
    /// Chooses, by what was known when the recording began and what it learns.
    placer: Placer,
    /// Knows what things take where they were not recorded.
    truth: Placer,
    scheduler: Scheduler,
    services: Vec<ServiceTimes>,
    engines: Engines,
    jobs: Vec<Job>,
    /// The batch of every turn that was asked for.
    turns: Vec<usize>,
    streams: Vec<Stream>,
    /// Streams that may have something to do for a thread.
    wanting: BTreeSet<usize>,
    helpers: Lane,
    /// For each device those that have it work.
    queuers: Vec<Lane>,
    /// Threads that a stream may have on one device.
    lists: usize,
    /// Those who hand over batches by themselves.
    callers: Threads,
    agenda: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    happenings: u64,
    now: u64,
    sums: Sums<'a>,
    events: Vec<TraceEvent>,
    last: u64,
}

/// Something that is to happen. What is equal in time happens in the order in which it was foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A batch is handed over by itself.
    Comes(usize),
    /// A stream has read its next batch.
    IsRead(usize, Thread),
    /// What a batch was at is done.
    Goes(usize),
    /// Whoever takes a stream's results is back.
    IsBack(usize),
}

impl<'a> World<'a> {
    pub(super) fn new(replay: &'a Replay<'a>, clock: ClockKind) -> Self {
        let recording = replay.recording;
        let run = &recording.run;
        let model = |calibration| {
            let devices = replay.devices.iter().map(|device| {
                Modelled::new(&device.name, clock, device.profile).hardware(&*device.hardware)
            });
            let policy = Policy {
                objective: replay.objective,
                simulators: true,
            };
            let mut placer = Placer::new(devices.collect(), policy);
            placer.recall(calibration);
            placer
        };
        let limits = replay.devices.iter().map(|device| Limits {
            depth: device.depth,
            bytes: device.bytes,
        });
        // Whatever waits here has waited there.
        let settings = Settings {
            max_jobs: MOST_BATCHES,
            ..Settings::default()
        };
        let threads = run.threads.clamp(1, MOST_THREADS);
        let lists = run.lists_ahead.clamp(1, MOST_THREADS) as usize;
        let queues = replay.devices.iter().filter(|device| !device.is_inline());
        let queuers = queues.count() * lists;
        let limit = (threads as usize + queuers) * AHEAD;
        let names: Vec<Arc<str>> = replay
            .devices
            .iter()
            .map(|device| device.name.clone())
            .collect();
        let mut sums = Sums::new(recording, &names, clock);
        for (device, sum) in replay.devices.iter().zip(&mut sums.devices) {
            sum.threads = device.is_inline().then_some(threads);
        }
        let sessions = recording.sessions.iter().map(|each| (each.session, each));
        let kernels = recording.kernels.iter().map(|each| (each.kernel, each));
        let mut world = World {
            clock,
            sessions: sessions.collect(),
            kernels: kernels.collect(),
            placer: model(&run.known),
            truth: model(&run.measured),
            scheduler: Scheduler::new(limits.collect(), settings),
            services: vec![ServiceTimes::default(); replay.devices.len()],
            engines: Engines::new(&replay.devices),
            jobs: recording.batches.iter().map(|_| Job::default()).collect(),
            turns: Vec::new(),
            streams: Vec::new(),
            wanting: BTreeSet::new(),
            helpers: Lane::new(threads as usize - 1),
            queuers: replay.devices.iter().map(|_| Lane::new(lists)).collect(),
            lists,
            callers: Threads::unlimited(),
            agenda: BinaryHeap::new(),
            happenings: 0,
            now: 0,
            sums,
            events: Vec::new(),
            last: 0,
            replay,
        };
        world.foresee(threads, limit);
        world
    }

    /// What comes from without: batches by themselves, and streams.
    fn foresee(&mut self, threads: u32, limit: usize) {
        let recording = self.replay.recording;
        let own = self.clock == ClockKind::Virtual;
        let start = outcome::start(recording, own);
        let mut streams: BTreeMap<u64, usize> = BTreeMap::new();
        for (job, batch) in recording.batches.iter().enumerate() {
            let (came, _) = outcome::span(batch, own);
            let came = came.saturating_sub(start);
            let Some(stream) = batch.stream else {
                self.in_time(came, Happening::Comes(job));
                continue;
            };
            let stream = *streams.entry(stream).or_insert_with(|| {
                let devices = self.replay.devices.len();
                self.streams.push(Stream::new(threads, devices, limit));
                self.streams.len() - 1
            });
            let position = self.streams[stream].push(job);
            self.jobs[job].of = Some((stream, position));
            if position == 0 {
                // It is there, with nothing to take yet, once it has begun to read.
                self.streams[stream].consumer_is_free = false;
                let began = came.saturating_sub(self.by_the_wall(batch.read_ns));
                self.in_time(began, Happening::IsBack(stream));
            }
        }
    }

    pub(super) fn run(mut self) -> Result<Outcome, ReplayError> {
        while let Some(Reverse((at, _, happening))) = self.agenda.pop() {
            self.now = at;
            match happening {
                Happening::Comes(job) => {
                    self.jobs[job].came = at;
                    self.place(job)?;
                    let caller = self.callers.take().expect("there is always one more");
                    self.begin(job, Thread::Caller(caller));
                }
                Happening::IsRead(stream, thread) => {
                    let job = self.streams[stream].in_reading();
                    self.jobs[job].came = at;
                    let (on, takes) = self.place(job)?;
                    self.streams[stream].placed(on, takes, timestamp(at));
                    self.leave(thread, Some(stream));
                    self.wanting.insert(stream);
                }
                Happening::Goes(job) => self.go_on(job),
                Happening::IsBack(stream) => {
                    self.streams[stream].consumer_is_free = true;
                    self.wanting.insert(stream);
                }
            }
            self.serve();
        }
        let open = self.jobs.iter().filter(|job| !job.is_done).count();
        assert_eq!(open, 0, "every batch ends");
        let makespan = self.last;
        Ok(self.sums.finish(makespan, self.events))
    }

    fn in_time(&mut self, at: u64, happening: Happening) {
        self.happenings += 1;
        self.agenda.push(Reverse((at, self.happenings, happening)));
    }

    fn after(&mut self, time: u64, happening: Happening) {
        self.in_time(self.now.saturating_add(time), happening);
    }

    /// Has threads that are free do what there is to do for streams: who waits for one before who has
    /// just had one.
    fn serve(&mut self) {
        loop {
            let mut lanes = std::iter::once(&mut self.helpers).chain(&mut self.queuers);
            let served = lanes.find_map(Lane::next_served);
            let next = served.or_else(|| self.wanting.pop_first());
            let Some(stream) = next else { return };
            self.serve_consumer(stream);
            while let Some(task) = self.streams[stream].next(None, timestamp(self.now)) {
                let Some(helper) = self.helpers.take_for(stream) else {
                    break;
                };
                self.perform(stream, task, Thread::Helper(helper));
            }
            for device in 0..self.queuers.len() {
                if self.replay.devices[device].is_inline() {
                    continue;
                }
                while self.streams[stream].queueing[device] < self.lists
                    && let Some(task) = self.streams[stream].next(Some(device), timestamp(self.now))
                {
                    let Some(number) = self.queuers[device].take_for(stream) else {
                        break;
                    };
                    self.streams[stream].queueing[device] += 1;
                    self.perform(stream, task, Thread::Queuer { device, number });
                }
            }
        }
    }

    /// Whoever takes a stream's results takes what is there, and works itself where there is none.
    fn serve_consumer(&mut self, stream: usize) {
        while self.streams[stream].consumer_is_free {
            if let Some(position) = self.streams[stream].take() {
                let job = self.streams[stream].jobs[position];
                let away = self.by_the_wall(self.replay.recording.batches[job].consumed_ns);
                if away > 0 {
                    self.streams[stream].consumer_is_free = false;
                    self.after(away, Happening::IsBack(stream));
                }
            } else if let Some(task) = self.streams[stream].next(None, timestamp(self.now)) {
                self.streams[stream].consumer_is_free = false;
                self.perform(stream, task, Thread::Consumer(stream));
            } else {
                return;
            }
        }
    }

    fn perform(&mut self, stream: usize, task: Task, thread: Thread) {
        self.streams[stream].begin(task);
        match task {
            Task::Make(position) => self.begin(self.streams[stream].jobs[position], thread),
            Task::Read(position) => {
                let job = self.streams[stream].jobs[position];
                let time = self.by_the_wall(self.replay.recording.batches[job].read_ns);
                self.after(time, Happening::IsRead(stream, thread));
            }
        }
    }

    /// What the host takes, which no clock of a device's own counts.
    fn by_the_wall(&self, nanos: u64) -> u64 {
        match self.clock {
            ClockKind::Wall => nanos,
            ClockKind::Virtual => 0,
        }
    }

    /// A thread has nothing to do any more, for a stream if it was at work for one.
    fn leave(&mut self, thread: Thread, of: Option<usize>) {
        if let (Thread::Queuer { device, .. }, Some(stream)) = (thread, of) {
            self.streams[stream].queueing[device] -= 1;
        }
        match thread {
            Thread::Consumer(stream) => self.streams[stream].consumer_is_free = true,
            Thread::Helper(number) => self.helpers.threads.back(number),
            Thread::Queuer { device, number } => self.queuers[device].threads.back(number),
            Thread::Caller(number) => self.callers.back(number),
        }
    }
}

/// Most threads of a kind.
const MOST_THREADS: u32 = 1024;

fn timestamp(nanos: u64) -> Timestamp {
    Timestamp(Duration::from_nanos(nanos))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
