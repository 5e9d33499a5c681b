//! A batch on its way through a device.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::ClockKind;

use super::{Happening, MOST_EVENTS, World, timestamp};
use crate::placement::{Begun, DeviceIndex, Measured, Probe, Work};
use crate::recording::RecordedSession;
use crate::replay::engines::Stage;
use crate::replay::outcome::Ran;
use crate::replay::threads::Thread;
use crate::scheduler::{Action, Event, Job as Turn, JobId, SessionKey};
use crate::trace::{Activity, TraceEvent};

/// A batch of the recording, on its way.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// Its stream and its position there.
    pub(super) of: Option<(usize, usize)>,
    pub(super) came: u64,
    pub(super) thread: Option<Thread>,
    /// Its turn on a device, while it waits for that or has it.
    pub(super) turn: Option<JobId>,
    /// What the backlog of the threads that compute has of it.
    pub(super) takes: Option<Duration>,
    /// What is still to be run: the batch, and perhaps a probe behind it.
    pub(super) runs: VecDeque<Run>,
    /// What is known of the batch itself.
    pub(super) ran: Ran,
    pub(super) is_done: bool,
}

/// A batch, or a slice of it, on one device.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) device: usize,
    pub(super) work: Work,
    /// What it is to learn, where nobody waits for its result.
    pub(super) probe: Option<Probe>,
    pub(super) service: Service,
    /// What a device behind a queue has of it, to placement's knowledge.
    pub(super) begun: Option<Begun>,
    /// What it is predicted to keep a thread busy that computes.
    pub(super) takes: Duration,
    /// When it asked for its turn; once it has that, since when.
    pub(super) asked: u64,
    /// How long it has waited so far, for its turn and in queues.
    pub(super) waited: u64,
    pub(super) step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Host,
    On(Stage),
    Done,
}

/// What a run takes, in nanoseconds: on the host, and stage by stage. Of a CPU the host's part is
/// what goes beside computing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Service {
    pub(super) host: u64,
    /// What of the host's part is known for what.
    pub(super) staged: u64,
    pub(super) gathered: u64,
    pub(super) stages: [u64; 3],
}

impl World<'_> {
    /// A thread begins on a batch.
    pub(super) fn begin(&mut self, job: usize, thread: Thread) {
        self.jobs[job].thread = Some(thread);
        self.start_run(job);
    }

    /// Begins with the next of a batch's runs.
    fn start_run(&mut self, job: usize) {
        let batch = &self.replay.recording.batches[job];
        let now = self.now;
        let run = self.jobs[job].runs.front_mut().expect("there is one");
        run.asked = now;
        let (device, service) = (run.device, run.service);
        if self.replay.devices[device].is_inline() {
            run.step = Step::Done;
            let computed = service.stages[Stage::Compute as usize];
            let lane = self.jobs[job].thread.expect("somebody works on it").name();
            self.event(job, lane, Activity::Compute, now, computed);
            let takes = computed.saturating_add(service.host);
            return self.after(takes, Happening::Goes(job));
        }
        let session = self.sessions.get(&batch.session);
        let RecordedSession {
            weight, priority, ..
        } = session.expect("checked when it was read");
        let turn = Turn {
            session: SessionKey(batch.session),
            weight: *weight,
            priority: *priority,
            devices: vec![DeviceIndex(device)],
            ..Turn::new(run.work.bytes_in)
        };
        let id = JobId(self.turns.len() as u64);
        self.turns.push(job);
        self.jobs[job].turn = Some(id);
        self.step(Event::Submit { id, job: turn });
    }

    /// Tells the scheduler, and does what it says.
    fn step(&mut self, event: Event) {
        for action in self.scheduler.step(event, timestamp(self.now)) {
            match action {
                Action::Dispatch { id, .. } => self.dispatched(self.turns[id.0 as usize]),
                Action::End { .. } => {}
                Action::Revive { .. } => unreachable!("no device is ever lost"),
            }
        }
    }

    /// It is a batch's turn.
    fn dispatched(&mut self, job: usize) {
        let now = self.now;
        let run = self.jobs[job].runs.front_mut().expect("it runs");
        let (asked, host) = (run.asked, run.service.host);
        run.waited = now - asked;
        run.asked = now;
        run.step = Step::Host;
        if now > asked {
            let lane = self.waits(job);
            self.event(job, lane, Activity::WaitForTurn, asked, now - asked);
        }
        self.after(host, Happening::Goes(job));
    }

    /// What a batch was at is done.
    pub(super) fn go_on(&mut self, job: usize) {
        let now = self.now;
        let run = self.jobs[job].runs.front_mut().expect("it runs");
        let takes = |stage: &Stage| run.service.stages[*stage as usize];
        let left = match run.step {
            Step::Host => &Stage::ALL[..],
            Step::On(stage) => &Stage::ALL[stage as usize + 1..],
            Step::Done => &[],
        };
        let Some(stage) = left.iter().find(|stage| takes(stage) > 0) else {
            return self.ran(job);
        };
        let takes = takes(stage);
        run.step = Step::On(*stage);
        let (from, to) = self.engines.reserve(run.device, *stage, now, takes);
        run.waited = run.waited.saturating_add(from - now);
        let activity = stage.activity();
        self.event(job, activity.name().into(), activity, from, takes);
        if from > now {
            let lane = self.waits(job);
            self.event(job, lane, Activity::WaitInQueue, now, from - now);
        }
        self.in_time(to, Happening::Goes(job));
    }

    /// A run is over.
    fn ran(&mut self, job: usize) {
        let now = timestamp(self.now);
        let mut run = self.jobs[job].runs.pop_front().expect("it ran");
        let device = DeviceIndex(run.device);
        let stages = run.service.stages;
        let [copy_in, compute, copy_out] = stages.map(Duration::from_nanos);
        self.sums.works(run.device, stages);
        let inline = self.replay.devices[run.device].is_inline();
        let by_the_wall = self.clock == ClockKind::Wall;
        let known = |nanos: u64| by_the_wall.then_some(Duration::from_nanos(nanos));
        let measured = match inline {
            true => Measured {
                compute: Some(compute + Duration::from_nanos(run.service.host)),
                ..Measured::default()
            },
            false => Measured {
                stage: known(run.service.staged),
                copy_in: Some(copy_in),
                compute: Some(compute),
                copy_out: Some(copy_out),
                gather: known(run.service.gathered),
            },
        };
        if let Some(id) = self.jobs[job].turn.take() {
            let held = Duration::from_nanos(self.now - run.asked);
            self.services[run.device].take(held);
            let used = copy_in + compute + copy_out;
            self.step(Event::Completed { id, device, used });
        }
        if let Some(begun) = run.begun.take() {
            self.placer.end(begun, now);
        }
        self.placer.observe(device, &run.work, &measured);
        if let Some(probe) = &run.probe {
            let waited = Duration::from_nanos(run.waited.saturating_add(run.service.host));
            self.placer
                .probed(probe, waited + copy_in + compute + copy_out);
        } else {
            self.jobs[job].ran = Ran {
                device: run.device,
                waited: run.waited,
                // From its turn on, as a clock of the device's own counts.
                latency: self.now - run.asked,
            };
            self.jobs[job].takes = inline.then_some(run.takes);
        }
        match self.jobs[job].runs.is_empty() {
            true => self.finish(job),
            false => self.start_run(job),
        }
    }

    /// A batch is done.
    fn finish(&mut self, job: usize) {
        let Job {
            of,
            came,
            thread,
            takes,
            mut ran,
            ..
        } = std::mem::take(&mut self.jobs[job]);
        self.jobs[job].is_done = true;
        if self.clock == ClockKind::Wall {
            ran.latency = self.now - came;
        }
        self.last = self.last.max(self.now);
        self.sums.add(&self.replay.recording.batches[job], &ran);
        let thread = thread.expect("somebody worked on it");
        self.leave(thread, of.map(|(stream, _)| stream));
        if let Some((number, position)) = of {
            let stream = &mut self.streams[number];
            stream.done(position);
            if let Some(takes) = takes {
                stream.cpu.end(takes, timestamp(self.now));
            }
            self.wanting.insert(number);
        }
    }

    fn waits(&self, job: usize) -> Arc<str> {
        let thread = self.jobs[job].thread.expect("somebody works on it");
        format!("waits: {}", thread.name()).into()
    }

    fn event(&mut self, job: usize, queue: Arc<str>, activity: Activity, start: u64, taken: u64) {
        if self.events.len() >= MOST_EVENTS || taken == 0 {
            return;
        }
        let batch = &self.replay.recording.batches[job];
        let run = self.jobs[job].runs.front().expect("it runs");
        self.events.push(TraceEvent {
            device: Arc::clone(&self.replay.devices[run.device].name),
            queue,
            activity,
            batch: batch.batch,
            kernel: batch.kernel,
            start_ns: start,
            duration_ns: taken,
            clock: ClockKind::Virtual,
        });
    }
}
