//! What the dispatcher's lock guards: the scheduler, and who listens to it.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::task::Waker;

use smallvec::SmallVec;
use unlade_hal::Timestamp;

use super::metrics::DeviceMetrics;
use crate::placement::DeviceIndex;
use crate::scheduler::numbered::NumberedMap;
use crate::scheduler::{Action, End, Event, Job, JobId, Limits, Scheduler, ServiceTimes, Settings};
use crate::sync::modelled::MutexGuard;

pub(super) struct State {
    pub(super) scheduler: Scheduler,
    next: u64,
    /// Jobs to which something will be said, or was said that nobody has heard yet. A job whose
    /// verdict came at once is not among them, and one whose permit is out only if something was
    /// said to it since.
    listeners: NumberedMap<JobId, Listener>,
    /// Devices that somebody must try to bring back.
    revivals: Vec<DeviceIndex>,
    /// Devices that somebody has begun to bring back, and nobody waits for.
    unattended: Vec<DeviceIndex>,
    /// Of each device.
    pub(super) service: Vec<ServiceTimes>,
    /// Empty between steps.
    actions: Vec<Action>,
}

enum Listener {
    Waits(Waker),
    Said(Verdict),
}

/// What the scheduler says to a job.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    /// It is its turn on that device, since then.
    Go(DeviceIndex, Timestamp),
    Ended(End),
}

impl State {
    pub(super) fn new(limits: Vec<Limits>, settings: Settings) -> Self {
        State {
            service: vec![ServiceTimes::default(); limits.len()],
            scheduler: Scheduler::new(limits, settings),
            next: 0,
            listeners: NumberedMap::default(),
            revivals: Vec::new(),
            unattended: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Whether nobody listens and nothing is left to be heard.
    #[cfg(test)]
    pub(super) fn is_silent(&self) -> bool {
        self.listeners.is_empty()
    }
}

/// The state while it is locked. Those to whom something was said meanwhile are woken when it is
/// unlocked, so that they do not run into the lock.
pub(super) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    pub(super) now: Timestamp,
    metrics: &'a [DeviceMetrics],
    /// Fields are dropped in order: this one behind the lock.
    woken: Woken,
}

impl<'a> Locked<'a> {
    pub(super) fn new(
        state: MutexGuard<'a, State>,
        now: Timestamp,
        metrics: &'a [DeviceMetrics],
    ) -> Self {
        Locked {
            state,
            now,
            metrics,
            woken: Woken::default(),
        }
    }

    /// Submits a job under a new name; returns that, and the verdict if there is one at once.
    pub(super) fn submit(&mut self, job: Job) -> (JobId, Option<Verdict>) {
        let id = JobId(self.state.next);
        self.state.next += 1;
        (id, self.step_of(id, Event::Submit { id, job }))
    }

    /// One step of the scheduler, about no job in particular.
    pub(super) fn step(&mut self, event: Event) {
        self.pass_on(event, None);
    }

    /// One step of the scheduler. What it says to the job `own` is returned, for who listens for
    /// that job is here.
    pub(super) fn step_of(&mut self, own: JobId, event: Event) -> Option<Verdict> {
        self.pass_on(event, Some(own))
    }

    /// What was said to a job before.
    pub(super) fn hear(&mut self, id: JobId) -> Option<Verdict> {
        match self.state.listeners.remove(&id)? {
            Listener::Said(verdict) => Some(verdict),
            Listener::Waits(_) => None,
        }
    }

    /// Lets somebody be woken as soon as something is said to a job.
    pub(super) fn listen(&mut self, id: JobId, waker: Waker) {
        self.state.listeners.insert(id, Listener::Waits(waker));
    }

    /// Gives up a job that is not wanted any more, to which `said` was said last.
    pub(super) fn withdraw(&mut self, id: JobId, said: Option<Verdict>) {
        match said.or_else(|| self.hear(id)) {
            Some(Verdict::Ended(_)) => {}
            Some(Verdict::Go(device, _)) => {
                self.step_of(id, Event::Cancel { id });
                self.step_of(id, Event::Failed { id, device });
            }
            None => {
                self.step_of(id, Event::Cancel { id });
            }
        }
    }

    /// A device that is to be brought back now, or perhaps is back, of those that are wanted.
    pub(super) fn next_revival(
        &mut self,
        wanted: impl Fn(DeviceIndex) -> bool,
    ) -> Option<DeviceIndex> {
        if self.next_tick().is_some_and(|at| at <= self.now) {
            self.step(Event::Tick);
        }
        let state = &mut *self.state;
        let mut lists = [&mut state.revivals, &mut state.unattended].into_iter();
        lists.find_map(|list| {
            let next = list.iter().position(|device| wanted(*device))?;
            Some(list.swap_remove(next))
        })
    }

    /// Leaves a device to whoever wants it next, and may find it brought back.
    pub(super) fn leave_revival(&mut self, device: DeviceIndex) {
        self.state.unattended.push(device);
    }

    /// Whether a device is to be brought back, and nobody has begun to.
    pub(super) fn awaits_revival(&self, device: DeviceIndex) -> bool {
        let rests = self.scheduler.rests_until(device);
        rests.is_some_and(|at| at <= self.now) || self.state.revivals.contains(&device)
    }

    /// Whether a device is being brought back, and nobody waits for that.
    pub(super) fn is_unattended(&self, device: DeviceIndex) -> bool {
        self.state.unattended.contains(&device)
    }

    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        self.state.scheduler.next_tick()
    }

    fn pass_on(&mut self, event: Event, own: Option<JobId>) -> Option<Verdict> {
        let mut actions = mem::take(&mut self.state.actions);
        self.state
            .scheduler
            .step_into(event, self.now, &mut actions);
        let mut to_own = None;
        let mut unused: SmallVec<[Event; 1]> = SmallVec::new();
        for action in actions.drain(..) {
            let (id, verdict) = match action {
                Action::Dispatch { id, device } => (id, Verdict::Go(device, self.now)),
                Action::End { id, end } => (id, Verdict::Ended(end)),
                Action::Revive { device } => {
                    self.state.revivals.push(device);
                    continue;
                }
            };
            match own == Some(id) {
                true => to_own = Some(verdict),
                false => unused.extend(self.say(id, verdict)),
            }
        }
        self.state.actions = actions;
        for &device in self.state.scheduler.touched() {
            let (in_flight, _) = self.state.scheduler.in_flight(device);
            let (waiting, _) = self.state.scheduler.waiting(device);
            self.metrics[device.0].load(in_flight, waiting);
        }
        unused.into_iter().for_each(|event| self.step(event));
        to_own
    }

    /// Returns what became of the device that was given before, if nobody has heard of that: for who
    /// hears of an end will not give it back.
    fn say(&mut self, id: JobId, verdict: Verdict) -> Option<Event> {
        match (
            self.state.listeners.insert(id, Listener::Said(verdict))?,
            verdict,
        ) {
            (Listener::Waits(waker), _) => {
                self.woken.0.push(waker);
                None
            }
            (Listener::Said(Verdict::Go(device, _)), Verdict::Ended(_)) => {
                Some(Event::Failed { id, device })
            }
            (Listener::Said(_), _) => None,
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

#[derive(Default)]
struct Woken(SmallVec<[Waker; 2]>);

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}
