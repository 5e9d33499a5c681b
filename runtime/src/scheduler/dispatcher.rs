//! The scheduler among threads.
//!
//! Whoever wants to use a device asks for a [`Permit`] and waits until the scheduler gives it one:
//! a thread in [`Dispatcher::enter`], or whatever polls a [`Turn`]. What became of the job it says by
//! giving the permit back. Between the two it works with the device itself: the scheduler's lock is
//! held only for its decisions, and whom they concern is woken, nobody else.

mod bell;
mod locked;
mod metrics;
#[cfg(all(test, loom))]
mod model;
mod permit;
#[cfg(all(test, not(loom)))]
mod tests;
mod turn;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use unlade_hal::{Clock, Timestamp};

use self::locked::{Locked, State};
use self::metrics::DeviceMetrics;
pub use self::permit::{Permit, PutBy};
pub use self::turn::Turn;
use super::{Counts, End, Event, Job, Limits, SessionKey, Settings, Standing};
use crate::placement::DeviceIndex;
use crate::sync::modelled::{Mutex, lock};

/// The scheduler among threads.
///
/// ```
/// use std::sync::Arc;
/// use unlade_hal::WallClock;
/// use unlade_runtime::placement::DeviceIndex;
/// use unlade_runtime::scheduler::{Dispatcher, Job, Limits, Revival, Settings};
///
/// let devices = vec![("gpu".into(), Limits::default())];
/// let dispatcher = Dispatcher::new(devices, Settings::default(), Arc::new(WallClock::new()));
/// let job = Job { devices: vec![DeviceIndex(0)], ..Job::new(4096) };
/// let permit = dispatcher.enter(job, |_lost| Revival::Failed).expect("nothing is on it yet");
/// // ... use the device ...
/// permit.done(None);
/// ```
pub struct Dispatcher {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    metrics: Vec<DeviceMetrics>,
}

/// What came of an attempt to bring a device back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revival {
    /// It works.
    Ready,
    /// It does not.
    Failed,
    /// That is not known yet, and whoever asked does not wait for it: the next one to want the device
    /// asks again. It counts for nothing.
    UnderWay,
}

/// Turns on a device, as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceTurns {
    /// Turns that are taken.
    pub in_flight: u32,
    /// Turns that are waited for.
    pub waiting: usize,
    /// Turns that may be taken at once.
    pub depth: u32,
    /// Whether there are any.
    pub standing: Standing,
    /// How long none are given yet, where the device [rests](Standing::Resting).
    pub rests_for: Option<Duration>,
    /// Failures since it last did a job.
    pub failures: u32,
    /// Times that it was lost since the start.
    pub times_lost: u64,
}

impl Dispatcher {
    /// A dispatcher for devices with these names and limits.
    pub fn new(
        devices: Vec<(Arc<str>, Limits)>,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let metrics = devices
            .iter()
            .map(|(name, _)| DeviceMetrics::new(name, clock.kind()))
            .collect();
        let limits = devices.into_iter().map(|(_, limits)| limits).collect();
        Dispatcher {
            state: Mutex::new(State::new(limits, settings)),
            clock,
            metrics,
        }
    }

    /// Waits for a turn on one of the job's devices, until the job's deadline if it has one. Those of
    /// them whose quarantine is over are brought back first, by `revive`: the others are left to who
    /// wants them.
    ///
    /// # Errors
    /// How the job ended, if it ended before it had a turn.
    pub fn enter(
        &self,
        job: Job,
        revive: impl FnMut(DeviceIndex) -> Revival,
    ) -> Result<Permit<'_>, End> {
        self.bring_back_some(|device| job.devices.contains(&device), revive);
        self.turn(job).wait()
    }

    /// A turn on one of the job's devices, as a future, so that one thread can wait for the turns of
    /// many sessions. The job is submitted when it is first polled. Devices are brought back and
    /// deadlines pass only where somebody does that: [`bring_back`](Self::bring_back) and
    /// [`tick`](Self::tick), or a thread in [`enter`](Self::enter).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use unlade_hal::WallClock;
    /// # use unlade_runtime::placement::DeviceIndex;
    /// # use unlade_runtime::scheduler::{Dispatcher, End, Job, Limits, Settings};
    /// # let devices = vec![("gpu".into(), Limits::default())];
    /// # let dispatcher = Dispatcher::new(devices, Settings::default(), Arc::new(WallClock::new()));
    /// let run = async |bytes: u64| -> Result<(), End> {
    ///     let job = Job { devices: vec![DeviceIndex(0)], ..Job::new(bytes) };
    ///     let permit = dispatcher.turn(job).await?;
    ///     // ... use the device ...
    ///     permit.done(None);
    ///     Ok(())
    /// };
    /// # use std::task::{Context, Waker};
    /// # let mut run = std::pin::pin!(run(4096));
    /// # assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    /// ```
    pub fn turn(&self, job: Job) -> Turn<'_> {
        Turn::new(self, job)
    }

    /// Lets deadlines pass; returns when that is next to be done, if ever.
    pub fn tick(&self) -> Option<Timestamp> {
        let mut state = self.lock();
        state.step(Event::Tick);
        state.next_tick()
    }

    /// A device turns out to have been lost, by somebody who has no [permit](Permit::found_lost) for it.
    /// Of a device that is known to be lost it says nothing new.
    pub fn found_lost(&self, device: DeviceIndex) {
        let mut state = self.lock();
        if !state.scheduler.is_quarantined(device) {
            self.metrics[device.0].losses.increment(1);
            state.step(Event::FoundLost { device, by: None });
        }
    }

    /// Brings devices back whose quarantine is over, by `revive`.
    pub fn bring_back(&self, revive: impl FnMut(DeviceIndex) -> Revival) {
        self.bring_back_some(|_| true, revive);
    }

    fn bring_back_some(
        &self,
        wanted: impl Fn(DeviceIndex) -> bool,
        mut revive: impl FnMut(DeviceIndex) -> Revival,
    ) {
        // None is asked for twice.
        let mut under_way: SmallVec<[DeviceIndex; 2]> = SmallVec::new();
        let mut state = self.lock();
        while let Some(device) =
            state.next_revival(|device| wanted(device) && !under_way.contains(&device))
        {
            drop(state);
            let revival = revive(device);
            state = self.lock();
            match revival {
                Revival::UnderWay => {
                    under_way.push(device);
                    state.leave_revival(device);
                }
                Revival::Ready | Revival::Failed => {
                    let ready = revival == Revival::Ready;
                    state.step(Event::Revived { device, ready });
                }
            }
        }
    }

    /// Ends all jobs of a session as cancelled. Those that wait in [`enter`](Self::enter) wake;
    /// permits that were given stay valid, and their devices occupied, until they are given back.
    pub fn cancel_session(&self, session: SessionKey) {
        self.lock().step(Event::CancelSession { session });
    }

    /// Lets go of a session that will not come back: its jobs are cancelled, and nothing of it is
    /// kept.
    pub fn forget_session(&self, session: SessionKey) {
        self.lock().step(Event::ForgetSession { session });
    }

    /// Whether a device is left alone after a failure: one that whoever wants it would bring back, or
    /// ask whether it is back, is not.
    pub fn is_quarantined(&self, device: DeviceIndex) -> bool {
        let state = self.lock();
        state.scheduler.is_quarantined(device)
            && !state.awaits_revival(device)
            && !state.is_unattended(device)
    }

    /// Whether somebody is bringing a device back, or whoever wants it next may.
    pub fn may_come_back(&self, device: DeviceIndex) -> bool {
        let state = self.lock();
        let is_in_hand = state.scheduler.standing(device) == Standing::Reviving;
        is_in_hand || state.awaits_revival(device)
    }

    /// How a device fares at the moment.
    pub fn device(&self, device: DeviceIndex) -> DeviceTurns {
        let state = self.lock();
        let scheduler = &state.scheduler;
        // One that somebody might bring back, or ask whether it is back, rests on.
        let rests_until = match state.awaits_revival(device) || state.is_unattended(device) {
            true => Some(state.now),
            false => scheduler.rests_until(device),
        };
        DeviceTurns {
            in_flight: scheduler.in_flight(device).0,
            waiting: scheduler.waiting(device).0,
            depth: scheduler.depth(device),
            standing: match rests_until {
                Some(until) => Standing::Resting(until),
                None => scheduler.standing(device),
            },
            rests_for: rests_until.map(|until| until.since(state.now)),
            failures: scheduler.losses(device),
            times_lost: scheduler.times_lost(device),
        }
    }

    /// How long a new job would wait for a device, judging by how long jobs took so far.
    pub fn queue_wait(&self, device: DeviceIndex) -> Duration {
        let state = self.lock();
        state.service[device.0].queue_wait(&state.scheduler, device)
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        self.lock().scheduler.counts()
    }

    fn lock(&self) -> Locked<'_> {
        // Before the lock, which others wait for: a clock may take as long as a decision.
        let now = self.clock.now();
        Locked::new(lock(&self.state), now, &self.metrics)
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
