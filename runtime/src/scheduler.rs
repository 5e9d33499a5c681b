//! Which job goes to which device when, and what becomes of it.
//!
//! A pure state machine: [`Scheduler::step`] takes an [`Event`] and the time and says what to do.
//! It reads no clock, starts no thread and draws no random number, so that a simulation replays
//! from its seed. Whoever drives it owns the queues and the memory.
//!
//! The rules:
//! - A job ends exactly once, in [`Action::End`]; jobs of one stream end in the order in which they
//!   were submitted.
//! - Everything is bounded: jobs that wait, lists and bytes on each device. What a step costs does not
//!   depend on how many sessions, jobs and devices there are, but for the logarithms of ordered maps;
//!   the loss of a device and the end of a session, which are rare, look at every job.
//! - Higher [`Priority`] goes first; among equals, sessions share each device's time in proportion to
//!   their weights; within a session, first come, first served.
//! - A device fault is retried elsewhere, on each of a job's devices at most once. A device that
//!   failed is in quarantine, twice as long each time, and comes back with one job on trial.
//! - Cancelling or missing a deadline ends a job at once. If a device is working on it, the device
//!   is left to finish, and the memory returns with its completion.
//!
//! # Shares
//! Sessions share device time, not jobs or bytes: a session whose jobs take ten times as long gets a
//! tenth as many. The order is that of start-time fair queueing, with an account of virtual time for
//! each session, device and priority: at dispatch the session is charged what its jobs took lately,
//! at completion that is corrected to what was [used](Event::Completed), and where the device gave no
//! result it is refunded. Who has paid least is next. Nothing is saved up while idle, and no job is
//! interrupted: whoever comes waits for what the device has begun.
//!
//! ```
//! use std::time::Duration;
//! use unlade_hal::Timestamp;
//! use unlade_runtime::placement::DeviceIndex;
//! use unlade_runtime::scheduler::{Action, End, Event, Job, JobId, Limits, Scheduler};
//!
//! let mut scheduler = Scheduler::new(vec![Limits::default(); 2], Default::default());
//! let job = Job { devices: vec![DeviceIndex(1), DeviceIndex(0)], ..Job::new(4096) };
//! let start = Timestamp::default();
//! let actions = scheduler.step(Event::Submit { job, id: JobId(7) }, start);
//! assert_eq!(actions, [Action::Dispatch { id: JobId(7), device: DeviceIndex(1) }]);
//!
//! // The device fails: the job is retried elsewhere, and the device rests for a while.
//! let lost = Event::Lost { device: DeviceIndex(1), leaked: vec![] };
//! let actions = scheduler.step(lost, start);
//! assert_eq!(actions, [Action::Dispatch { id: JobId(7), device: DeviceIndex(0) }]);
//!
//! let used = Duration::from_millis(1);
//! let done = Event::Completed { id: JobId(7), device: DeviceIndex(0), used };
//! let actions = scheduler.step(done, Timestamp(used));
//! assert_eq!(actions, [Action::End { id: JobId(7), end: End::Done(DeviceIndex(0)) }]);
//! ```

mod average;
mod device;
mod dispatcher;
mod event;
mod fair_queue;
#[cfg(test)]
mod fairness;
mod job;
mod line;
mod numbered;
mod order;
mod service;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod virtual_time;

use std::collections::BTreeSet;
use std::time::Duration;

use unlade_hal::Timestamp;

use self::device::DeviceState;
pub use self::device::Standing;
pub use self::dispatcher::{DeviceTurns, Dispatcher, Permit, PutBy, Revival, Turn};
pub use self::event::{Action, End, Event};
pub(crate) use self::fair_queue::Charge;
pub use self::job::{Job, JobId, Limits, Priority, SessionKey, Settings, StreamId};
pub(crate) use self::line::Line;
pub(crate) use self::numbered::NumberedMap;
use self::order::Streams;
pub(crate) use self::service::ServiceTimes;
use crate::placement::DeviceIndex;

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs taken.
    pub submitted: u64,
    /// Jobs ended, in whatever way.
    pub ended: u64,
    /// Jobs handed to a device once more after a fault.
    pub retries: u64,
    /// Jobs whose memory was abandoned with a device.
    pub leaked: u64,
    /// Times that a device was lost.
    pub losses: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    devices: Vec<DeviceState>,
    jobs: NumberedMap<JobId, Entry>,
    /// For each device the jobs that wait for it.
    waiting: Vec<Line>,
    streams: Streams,
    deadlines: BTreeSet<(Timestamp, JobId)>,
    /// When each device that rests is to be brought back.
    rests: BTreeSet<(Timestamp, DeviceIndex)>,
    /// Devices that may take a job since the last step, or for which more or fewer jobs wait.
    touched: Vec<DeviceIndex>,
    counts: Counts,
    shut: bool,
}

/// A job that has not ended, or that a device still works on.
#[derive(Debug)]
struct Entry {
    job: Job,
    /// The position in `job.devices` of the one it waits for or is on.
    turn: usize,
    stage: Stage,
    /// What its session paid for being on the device; `None` if it is not, or the session is gone.
    charge: Option<Charge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    OnDevice,
    /// Ended for its owner, but a device still works on it.
    Detached,
}

impl Scheduler {
    /// A scheduler for devices with these limits.
    pub fn new(devices: Vec<Limits>, settings: Settings) -> Self {
        Scheduler {
            settings,
            waiting: devices.iter().map(|_| Line::default()).collect(),
            devices: devices.into_iter().map(DeviceState::new).collect(),
            jobs: NumberedMap::default(),
            streams: Streams::default(),
            deadlines: BTreeSet::new(),
            rests: BTreeSet::new(),
            touched: Vec::new(),
            counts: Counts::default(),
            shut: false,
        }
    }

    /// Whether a job waits for a device that has room for it.
    #[cfg(test)]
    fn keeps_waiting(&mut self, device: DeviceIndex) -> bool {
        let state = &self.devices[device.0];
        let mut room = false;
        self.waiting[device.0].pop(|bytes| {
            room = state.has_room() && state.fits(bytes);
            false
        });
        room
    }

    /// Takes note of what happened and says what to do, in this order.
    ///
    /// # Panics
    /// On events about jobs or devices that do not exist, except where a job may have ended
    /// meanwhile.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        self.step_into(event, now, &mut actions);
        actions
    }

    /// As [`step`](Self::step), into a list that serves many steps.
    fn step_into(&mut self, event: Event, now: Timestamp, actions: &mut Vec<Action>) {
        self.touched.clear();
        match event {
            Event::Submit { id, job } => self.submit(id, job, actions),
            Event::Completed { id, device, used } => {
                self.done(id, device, used, End::Done(device), actions);
            }
            Event::Trapped { id, device, used } => {
                self.done(id, device, used, End::Trapped(device), actions);
            }
            Event::Full { id, device } => self.full(id, device),
            Event::Failed { id, device } => self.failed(id, device, actions),
            Event::Lost { device, leaked } => {
                self.counts.leaked += leaked.len() as u64;
                self.rest(device, now);
                self.lost(device, actions);
            }
            Event::FoundLost { device, by } => {
                match self.devices[device.0].lists > u32::from(by.is_some()) {
                    false => self.rest_until(device, now),
                    true => self.rest(device, now),
                }
                self.lost(device, actions);
            }
            Event::Revived { device, ready } => self.revived(device, ready, now),
            Event::Cancel { id } => self.detach(id, End::Cancelled, actions),
            Event::CancelSession { session } => self.cancel_session(session, actions),
            Event::ForgetSession { session } => self.forget_session(session, actions),
            Event::Tick => {}
            Event::Shutdown => self.shutdown(actions),
        }
        self.expire(now, actions);
        self.revive(now, actions);
        self.dispatch(actions);
    }

    /// Devices on which, or for which, more or fewer jobs may be since the last step.
    fn touched(&self) -> &[DeviceIndex] {
        &self.touched
    }

    /// When a [`Event::Tick`] is due, if one is.
    pub fn next_tick(&self) -> Option<Timestamp> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let rested = self.rests.first().map(|(at, _)| *at);
        deadline.into_iter().chain(rested).min()
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        Counts {
            losses: self.devices.iter().map(|device| device.times_lost).sum(),
            ..self.counts
        }
    }

    /// Jobs that have not ended for their owners.
    pub fn open_jobs(&self) -> usize {
        (self.counts.submitted - self.counts.ended) as usize
    }

    /// Lists and bytes on a device.
    pub fn in_flight(&self, device: DeviceIndex) -> (u32, u64) {
        (self.devices[device.0].lists, self.devices[device.0].bytes)
    }

    /// Jobs and bytes waiting for a device: what its queue wait is estimated from.
    pub fn waiting(&self, device: DeviceIndex) -> (usize, u64) {
        self.waiting[device.0].load()
    }

    /// Losses of a device since it last did a job.
    pub fn losses(&self, device: DeviceIndex) -> u32 {
        self.devices[device.0].losses()
    }

    /// Times that a device was lost since the start.
    pub fn times_lost(&self, device: DeviceIndex) -> u64 {
        self.devices[device.0].times_lost
    }

    /// What a device is good for at the moment.
    pub fn standing(&self, device: DeviceIndex) -> Standing {
        self.devices[device.0].standing()
    }

    /// How many lists a device takes at once.
    pub fn depth(&self, device: DeviceIndex) -> u32 {
        self.devices[device.0].depth()
    }

    /// Whether a device works on a job, as far as is known.
    pub fn is_on(&self, id: JobId, device: DeviceIndex) -> bool {
        self.jobs.get(&id).is_some_and(|entry| {
            entry.stage != Stage::Waiting && entry.job.devices[entry.turn] == device
        })
    }

    /// Whether a job has not ended for its owner.
    pub fn is_open(&self, id: JobId) -> bool {
        self.jobs
            .get(&id)
            .is_some_and(|entry| entry.stage != Stage::Detached)
    }

    /// When a device that rests is to be brought back.
    pub fn rests_until(&self, device: DeviceIndex) -> Option<Timestamp> {
        self.devices[device.0].rests_until()
    }

    /// Whether a device is in quarantine.
    pub fn is_quarantined(&self, device: DeviceIndex) -> bool {
        !self.devices[device.0].takes_jobs()
    }

    fn submit(&mut self, id: JobId, job: Job, actions: &mut Vec<Action>) {
        let open = self.open_jobs();
        self.counts.submitted += 1;
        if let Some(stream) = job.stream {
            self.streams.enter(stream, id);
        }
        let refused = if self.shut {
            Some(End::Shutdown)
        } else if open >= self.settings.max_jobs {
            Some(End::Refused)
        } else {
            None
        };
        if let Some(end) = refused {
            return self.end(id, job.stream, end, actions);
        }
        if let Some(deadline) = job.deadline {
            self.deadlines.insert((deadline, id));
        }
        let entry = Entry {
            job,
            turn: 0,
            stage: Stage::Waiting,
            charge: None,
        };
        let before = self.jobs.insert(id, entry);
        assert!(before.is_none(), "job {id:?} was submitted before");
        self.wait_from(id, 0, actions);
    }

    /// Lets a job wait for the first of its devices from `turn` on that takes jobs.
    fn wait_from(&mut self, id: JobId, turn: usize, actions: &mut Vec<Action>) {
        let entry = self.jobs.get_mut(&id).expect("the caller has it");
        let ready = |device: &DeviceIndex| self.devices[device.0].takes_jobs();
        match (turn..entry.job.devices.len()).find(|at| ready(&entry.job.devices[*at])) {
            Some(turn) => {
                entry.turn = turn;
                entry.stage = Stage::Waiting;
                let device = entry.job.devices[turn];
                self.waiting[device.0].push(id, &entry.job);
                self.touched.push(device);
            }
            None => self.finish(id, End::NoDevice, actions),
        }
    }

    /// A device has a result for a job, or found an error in its data.
    fn done(
        &mut self,
        id: JobId,
        device: DeviceIndex,
        used: Duration,
        end: End,
        actions: &mut Vec<Action>,
    ) {
        let Some(stage) = self.leave(id, device, Some(used)) else {
            return; // of an earlier life: it says nothing of this one
        };
        self.devices[device.0].succeeded();
        self.devices[device.0].full = false;
        match stage {
            Stage::Detached => drop(self.jobs.remove(&id)),
            _ => self.finish(id, end, actions),
        }
    }

    /// A device had no room for a job, which waits again in its old place.
    fn full(&mut self, id: JobId, device: DeviceIndex) {
        self.devices[device.0].full = true;
        match self.leave(id, device, None) {
            None => {}
            Some(Stage::Detached) => drop(self.jobs.remove(&id)),
            Some(_) => {
                let entry = self.jobs.get_mut(&id).expect("it has just left the device");
                entry.stage = Stage::Waiting;
                self.waiting[device.0].push(id, &entry.job);
            }
        }
    }

    fn failed(&mut self, id: JobId, device: DeviceIndex, actions: &mut Vec<Action>) {
        if self.leave(id, device, None).is_some() {
            self.devices[device.0].full = false;
            self.retry(id, actions);
        }
    }

    /// A device has let go of a job, after working `used` for it if that gave a result. Returns its
    /// stage until then; `None` where the device did not have it: this was said before, or the job
    /// has gone elsewhere.
    fn leave(&mut self, id: JobId, device: DeviceIndex, used: Option<Duration>) -> Option<Stage> {
        let entry = self.jobs.get_mut(&id)?;
        if entry.stage == Stage::Waiting || entry.job.devices[entry.turn] != device {
            return None;
        }
        self.devices[device.0].leave(entry.job.bytes);
        self.touched.push(device);
        match (entry.charge.take(), used) {
            (Some(charge), Some(used)) => self.waiting[device.0].settle(&entry.job, charge, used),
            (Some(charge), None) => self.waiting[device.0].refund(&entry.job, charge),
            (None, _) => {}
        }
        Some(entry.stage)
    }

    /// A job's device has failed it: on to the next one.
    fn retry(&mut self, id: JobId, actions: &mut Vec<Action>) {
        let entry = &self.jobs[&id];
        if entry.stage == Stage::Detached {
            self.jobs.remove(&id);
            return;
        }
        let next = entry.turn + 1;
        self.counts.retries += u64::from(next < entry.job.devices.len());
        self.wait_from(id, next, actions);
    }

    /// All jobs of a device go elsewhere.
    fn lost(&mut self, device: DeviceIndex, actions: &mut Vec<Action>) {
        self.devices[device.0].times_lost += 1;
        let on_device = |entry: &Entry| {
            entry.stage != Stage::Waiting && entry.job.devices[entry.turn] == device
        };
        for id in self.ids(on_device) {
            self.leave(id, device, None);
            self.retry(id, actions);
        }
        // Those who only waited for it were not failed by it, but need not wait any longer.
        self.touched.push(device);
        for id in self.waiting[device.0].drain() {
            let turn = self.jobs[&id].turn;
            self.wait_from(id, turn + 1, actions);
        }
    }

    fn revived(&mut self, device: DeviceIndex, ready: bool, now: Timestamp) {
        match ready {
            true => self.devices[device.0].revived(),
            false => self.rest(device, now),
        }
        self.touched.push(device);
    }

    /// Lets a device be for a while, the longer the more often it failed.
    fn rest(&mut self, device: DeviceIndex, now: Timestamp) {
        let time = self.devices[device.0].failed(&self.settings);
        self.rest_until(device, Timestamp(now.0.saturating_add(time)));
    }

    fn rest_until(&mut self, device: DeviceIndex, until: Timestamp) {
        if let Some(earlier) = self.devices[device.0].rest_until(until) {
            self.rests.remove(&(earlier, device));
        }
        self.rests.insert((until, device));
    }

    /// Ends a job for its owner, wherever it is.
    fn detach(&mut self, id: JobId, end: End, actions: &mut Vec<Action>) {
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        match entry.stage {
            Stage::Waiting => {
                let device = entry.job.devices[entry.turn];
                self.waiting[device.0].remove(id, &entry.job);
                self.touched.push(device);
                self.finish(id, end, actions);
            }
            Stage::OnDevice => {
                entry.stage = Stage::Detached;
                let (stream, deadline) = (entry.job.stream, entry.job.deadline);
                self.forget_deadline(id, deadline);
                self.end(id, stream, end, actions);
            }
            Stage::Detached => {}
        }
    }

    fn finish(&mut self, id: JobId, end: End, actions: &mut Vec<Action>) {
        let entry = self.jobs.remove(&id).expect("a job is finished once");
        self.forget_deadline(id, entry.job.deadline);
        self.end(id, entry.job.stream, end, actions);
    }

    fn end(&mut self, id: JobId, stream: Option<StreamId>, end: End, actions: &mut Vec<Action>) {
        let before = actions.len();
        match stream {
            None => actions.push(Action::End { id, end }),
            Some(stream) => self.streams.leave(stream, id, end, actions),
        }
        self.counts.ended += (actions.len() - before) as u64;
    }

    fn forget_deadline(&mut self, id: JobId, deadline: Option<Timestamp>) {
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, id));
        }
    }

    fn cancel_session(&mut self, session: SessionKey, actions: &mut Vec<Action>) {
        for id in self.ids(|entry| entry.job.session == session) {
            self.detach(id, End::Cancelled, actions);
        }
    }

    fn forget_session(&mut self, session: SessionKey, actions: &mut Vec<Action>) {
        self.cancel_session(session, actions);
        // What a device still does for it is paid by nobody.
        let its = |entry: &&mut Entry| entry.job.session == session;
        for entry in self.jobs.values_mut().filter(its) {
            entry.charge = None;
        }
        self.waiting
            .iter_mut()
            .for_each(|line| line.forget(session));
    }

    fn shutdown(&mut self, actions: &mut Vec<Action>) {
        self.shut = true;
        for id in self.ids(|_| true) {
            self.detach(id, End::Shutdown, actions);
        }
    }

    /// Some of the jobs, in the order in which they were submitted.
    fn ids(&self, is_one: impl Fn(&Entry) -> bool) -> Vec<JobId> {
        let jobs = self.jobs.iter().filter(|(_, entry)| is_one(entry));
        let mut ids: Vec<JobId> = jobs.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    fn expire(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            self.detach(id, End::TimedOut, actions);
        }
    }

    fn revive(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some(&(until, device)) = self.rests.first()
            && until <= now
            && !self.shut
        {
            self.rests.pop_first();
            self.devices[device.0].begin_revival();
            actions.push(Action::Revive { device });
        }
    }

    /// Only a device that was touched can have room for a job that waits for it.
    fn dispatch(&mut self, actions: &mut Vec<Action>) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for &device in &self.touched {
            let state = &mut self.devices[device.0];
            while state.has_room() {
                let fits = |bytes| state.fits(bytes);
                let Some((id, charge)) = self.waiting[device.0].pop(fits) else {
                    break;
                };
                let entry = self.jobs.get_mut(&id).expect("what waits is open");
                entry.stage = Stage::OnDevice;
                entry.charge = Some(charge);
                state.enter(entry.job.bytes);
                actions.push(Action::Dispatch { id, device });
            }
        }
    }
}
