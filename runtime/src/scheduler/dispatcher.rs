//! The scheduler among threads.
//!
//! A thread that wants to use a device asks for a [`Permit`] and waits until the scheduler gives it
//! one; what became of the job it says by giving the permit back. Between the two it works with the
//! device itself: the scheduler's lock is held only for its decisions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use unlade_hal::{Clock, ClockKind, Timestamp};

use super::average::Average;
use super::{Action, Counts, End, Event, Job, JobId, Limits, Scheduler, SessionKey, Settings};
use crate::placement::DeviceIndex;

/// A virtual clock does not say when it is moved: whoever waits for a time on it looks this often.
const LOOK: Duration = Duration::from_millis(1);

/// The scheduler among threads.
pub struct Dispatcher {
    state: Mutex<State>,
    changed: Condvar,
    clock: Arc<dyn Clock>,
    metrics: Vec<DeviceMetrics>,
}

struct State {
    scheduler: Scheduler,
    next: u64,
    /// What the scheduler has said to jobs whose threads have not yet heard it.
    verdicts: BTreeMap<JobId, Verdict>,
    /// Devices that somebody must try to bring back.
    revivals: Vec<DeviceIndex>,
    /// Average seconds that a job is on each device.
    service: Vec<Average>,
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Go(DeviceIndex),
    Ended(End),
}

struct DeviceMetrics {
    jobs: Counter,
    losses: Counter,
    in_flight: Gauge,
    waiting: Gauge,
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
            .map(|(name, _)| DeviceMetrics::new(name))
            .collect();
        let limits: Vec<Limits> = devices.into_iter().map(|(_, limits)| limits).collect();
        let state = State {
            service: vec![Average::default(); limits.len()],
            scheduler: Scheduler::new(limits, settings),
            next: 0,
            verdicts: BTreeMap::new(),
            revivals: Vec::new(),
        };
        Dispatcher {
            state: Mutex::new(state),
            changed: Condvar::new(),
            clock,
            metrics,
        }
    }

    /// Waits for a turn on one of the job's devices, until the job's deadline if it has one. Devices whose quarantine is over are brought
    /// back first, by `revive`, which says whether it succeeded.
    ///
    /// # Errors
    /// How the job ended, if it ended before it had a turn.
    pub fn enter(
        &self,
        job: Job,
        mut revive: impl FnMut(DeviceIndex) -> bool,
    ) -> Result<Permit<'_>, End> {
        let mut state = self.step(self.lock(), Event::Tick);
        while let Some(device) = state.revivals.pop() {
            drop(state);
            let ready = revive(device);
            state = self.step(self.lock(), Event::Revived { device, ready });
        }
        let id = JobId(state.next);
        state.next += 1;
        let deadline = job.deadline;
        let state = self.step(state, Event::Submit { id, job });
        self.await_turn(state, id, deadline)
    }

    /// Ends all jobs of a session as cancelled. Those that wait in [`enter`](Self::enter) wake;
    /// permits that were given stay valid, and their devices occupied, until they are given back.
    pub fn cancel_session(&self, session: SessionKey) {
        drop(self.step(self.lock(), Event::CancelSession { session }));
    }

    /// Lets go of a session that will not come back: its jobs are cancelled, and nothing of it is
    /// kept.
    pub fn forget_session(&self, session: SessionKey) {
        drop(self.step(self.lock(), Event::ForgetSession { session }));
    }

    /// Whether a device rests after a failure.
    pub fn is_quarantined(&self, device: DeviceIndex) -> bool {
        let state = self.lock();
        let due = state
            .scheduler
            .rests_until(device)
            .is_some_and(|at| at <= self.clock.now());
        state.scheduler.is_quarantined(device) && !due
    }

    /// Losses of a device since it last did a job.
    pub fn losses(&self, device: DeviceIndex) -> u32 {
        self.lock().scheduler.losses(device)
    }

    /// How long a new job would wait for a device, judging by how long jobs took so far.
    pub fn queue_wait(&self, device: DeviceIndex) -> Duration {
        let state = self.lock();
        let (waiting, _) = state.scheduler.waiting(device);
        let (on_device, _) = state.scheduler.in_flight(device);
        let depth = f64::from(state.scheduler.depth(device));
        let ahead = (waiting as f64 + f64::from(on_device) - depth + 1.0).max(0.0);
        let each = state.service[device.0].value().unwrap_or(0.0);
        Duration::from_secs_f64((ahead / depth * each).min(1e6))
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        self.lock().scheduler.counts()
    }

    fn await_turn<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        id: JobId,
        deadline: Option<Timestamp>,
    ) -> Result<Permit<'a>, End> {
        loop {
            match state.verdicts.remove(&id) {
                Some(Verdict::Go(device)) => {
                    return Ok(Permit {
                        dispatcher: self,
                        id,
                        device,
                        deadline,
                        since: self.clock.now(),
                        open: true,
                    });
                }
                Some(Verdict::Ended(end)) => return Err(end),
                None => state = self.wait(state, deadline),
            }
        }
    }

    /// Waits until the scheduler has said something, or a deadline has passed and it has heard so.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Option<Timestamp>,
    ) -> MutexGuard<'a, State> {
        let Some(deadline) = deadline else {
            return self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        let left = match self.clock.kind() {
            ClockKind::Wall => deadline.since(self.clock.now()),
            ClockKind::Virtual => LOOK,
        };
        let (state, _) = self
            .changed
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner);
        match deadline <= self.clock.now() {
            true => self.step(state, Event::Tick),
            false => state,
        }
    }

    /// One step of the scheduler, and what it says passed on.
    fn step<'a>(&self, mut state: MutexGuard<'a, State>, event: Event) -> MutexGuard<'a, State> {
        let actions = state.scheduler.step(event, self.clock.now());
        for action in &actions {
            match *action {
                Action::Dispatch { id, device } => {
                    state.verdicts.insert(id, Verdict::Go(device));
                }
                Action::End { id, end } => {
                    state.verdicts.insert(id, Verdict::Ended(end));
                }
                Action::Revive { device } => state.revivals.push(device),
            }
        }
        for (index, metrics) in self.metrics.iter().enumerate() {
            let device = DeviceIndex(index);
            metrics
                .in_flight
                .set(f64::from(state.scheduler.in_flight(device).0));
            metrics
                .waiting
                .set(state.scheduler.waiting(device).0 as f64);
        }
        if !actions.is_empty() {
            self.changed.notify_all();
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// A turn on a device. Dropped without a word, it counts as a failure of this one job.
#[derive(Debug)]
#[must_use = "a permit occupies the device until it is given back"]
pub struct Permit<'a> {
    dispatcher: &'a Dispatcher,
    id: JobId,
    device: DeviceIndex,
    deadline: Option<Timestamp>,
    since: Timestamp,
    open: bool,
}

impl<'a> Permit<'a> {
    /// The device.
    pub fn device(&self) -> DeviceIndex {
        self.device
    }

    /// The device has done the job, or found an error in the data. `used` is how long the device
    /// worked for it, copies included, by the device's own clock; a device that does not tell is
    /// held to have worked for as long as the permit was out.
    pub fn done(mut self, used: Option<Duration>) {
        let held = self.dispatcher.clock.now().since(self.since);
        let mut state = self.dispatcher.lock();
        state.service[self.device.0].take(held.as_secs_f64());
        self.dispatcher.metrics[self.device.0].jobs.increment(1);
        self.settle(
            state,
            Event::Completed {
                id: self.id,
                device: self.device,
                used: used.unwrap_or(held),
            },
        );
    }

    /// The device is lost. The permit for the job's next device, once it has a turn there.
    ///
    /// # Errors
    /// How the job ended, where there is no other device.
    pub fn lost(mut self) -> Result<Permit<'a>, End> {
        let (dispatcher, id, device) = (self.dispatcher, self.id, self.device);
        let deadline = self.deadline;
        self.open = false;
        let mut state = dispatcher.lock();
        // Of all the jobs that were on it, one tells; the others have been moved with it.
        if state.scheduler.is_on(id, device) {
            dispatcher.metrics[device.0].losses.increment(1);
            state = dispatcher.step(
                state,
                Event::Lost {
                    device,
                    leaked: Vec::new(),
                },
            );
        }
        dispatcher.await_turn(state, id, deadline)
    }

    fn settle(&mut self, state: MutexGuard<'_, State>, event: Event) {
        self.open = false;
        let mut state = self.dispatcher.step(state, event);
        // Whatever was said, nobody is there any more to hear it.
        if let Some(Verdict::Go(device)) = state.verdicts.remove(&self.id) {
            let cancel = Event::Cancel { id: self.id };
            let failed = Event::Failed {
                id: self.id,
                device,
            };
            let state = self.dispatcher.step(state, cancel);
            let mut state = self.dispatcher.step(state, failed);
            state.verdicts.remove(&self.id);
        } else if state.scheduler.is_open(self.id) {
            let mut state = self.dispatcher.step(state, Event::Cancel { id: self.id });
            state.verdicts.remove(&self.id);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.open {
            let state = self.dispatcher.lock();
            self.settle(
                state,
                Event::Failed {
                    id: self.id,
                    device: self.device,
                },
            );
        }
    }
}

impl DeviceMetrics {
    fn new(device: &Arc<str>) -> Self {
        let device = device.to_string();
        DeviceMetrics {
            jobs: counter!("unlade_device_jobs_total", "device" => device.clone()),
            losses: counter!("unlade_device_losses_total", "device" => device.clone()),
            in_flight: gauge!("unlade_device_in_flight", "device" => device.clone()),
            waiting: gauge!("unlade_device_waiting", "device" => device),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use unlade_hal::WallClock;
    use unlade_sim_clock::VirtualClock;

    use super::*;

    fn dispatcher(devices: usize, depth: u32) -> Dispatcher {
        with_clock(devices, depth, Arc::new(WallClock::new()))
    }

    fn with_clock(devices: usize, depth: u32, clock: Arc<dyn Clock>) -> Dispatcher {
        let limits = Limits {
            depth,
            bytes: u64::MAX,
        };
        let devices = (0..devices)
            .map(|index| (format!("d{index}").into(), limits))
            .collect();
        let quarantine = Duration::from_micros(200);
        let settings = Settings {
            quarantine,
            max_quarantine: 4 * quarantine,
            ..Settings::default()
        };
        Dispatcher::new(devices, settings, clock)
    }

    fn job(devices: usize) -> Job {
        Job {
            devices: (0..devices).map(DeviceIndex).collect(),
            ..Job::new(1)
        }
    }

    #[test]
    fn a_lost_device_is_replaced_by_the_next() {
        let dispatcher = dispatcher(2, 1);
        let permit = dispatcher.enter(job(2), |_| true).unwrap();
        assert_eq!(permit.device(), DeviceIndex(0));
        let permit = permit.lost().unwrap();
        assert_eq!(permit.device(), DeviceIndex(1));
        assert_eq!(dispatcher.losses(DeviceIndex(0)), 1);
        permit.done(None);
        let mut revived = Vec::new();
        while revived.is_empty() {
            let permit = dispatcher.enter(job(2), |device| {
                revived.push(device);
                true
            });
            permit.unwrap().done(None);
        }
        assert_eq!(revived, [DeviceIndex(0)]);
        assert!(!dispatcher.is_quarantined(DeviceIndex(0)));
    }

    #[test]
    fn without_a_device_the_job_ends() {
        let dispatcher = dispatcher(1, 1);
        assert_eq!(
            dispatcher.enter(job(0), |_| true).unwrap_err(),
            End::NoDevice
        );
        let permit = dispatcher.enter(job(1), |_| true).unwrap();
        assert_eq!(permit.lost().unwrap_err(), End::NoDevice);
        assert_eq!(dispatcher.counts().submitted, dispatcher.counts().ended);
    }

    #[test]
    fn whoever_waits_wakes_at_the_deadline_of_the_clock() {
        let virtual_clock = VirtualClock::new();
        let clocks: [Arc<dyn Clock>; 2] =
            [Arc::new(WallClock::new()), Arc::new(virtual_clock.clone())];
        for clock in clocks {
            let dispatcher = with_clock(1, 1, Arc::clone(&clock));
            let held = dispatcher.enter(job(1), |_| true).unwrap();
            let deadline = Timestamp(clock.now().0 + Duration::from_millis(2));
            let job = Job {
                deadline: Some(deadline),
                ..job(1)
            };
            thread::scope(|scope| {
                let waiter = scope.spawn(|| dispatcher.enter(job, |_| true).unwrap_err());
                while dispatcher.counts().submitted < 2 {
                    thread::yield_now();
                }
                virtual_clock.advance(Duration::from_millis(2));
                assert_eq!(waiter.join().unwrap(), End::TimedOut);
            });
            assert!(clock.now() >= deadline);
            held.done(None);
        }
    }

    #[test]
    fn cancelling_a_session_wakes_its_threads_and_no_others() {
        let dispatcher = dispatcher(1, 1);
        let of = |session| Job {
            session: SessionKey(session),
            ..job(1)
        };
        let held = dispatcher.enter(of(1), |_| true).unwrap();
        thread::scope(|scope| {
            let enter = |session| {
                let dispatcher = &dispatcher;
                scope.spawn(move || {
                    dispatcher
                        .enter(of(session), |_| true)
                        .map(|it| it.done(None))
                })
            };
            let (cancelled, other) = (enter(1), enter(2));
            await_waiting(&dispatcher, 2);
            dispatcher.cancel_session(SessionKey(1));
            assert_eq!(cancelled.join().unwrap(), Err(End::Cancelled));
            // What was cancelled on the device occupies it until its permit comes back.
            await_waiting(&dispatcher, 1);
            held.done(None);
            assert_eq!(other.join().unwrap(), Ok(()));
        });
        dispatcher.forget_session(SessionKey(1));
        assert_eq!(dispatcher.counts().ended, 3);
        assert!(dispatcher.lock().verdicts.is_empty());
    }

    /// Waits until so many jobs wait for the first device.
    fn await_waiting(dispatcher: &Dispatcher, jobs: usize) {
        while dispatcher.lock().scheduler.waiting(DeviceIndex(0)).0 != jobs {
            thread::yield_now();
        }
    }

    #[test]
    fn threads_never_exceed_the_depth_and_all_get_through() {
        let dispatcher = dispatcher(3, 2);
        let inside: [AtomicU32; 3] = Default::default();
        thread::scope(|scope| {
            for seed in 0..6 {
                let (dispatcher, inside) = (&dispatcher, &inside);
                scope.spawn(move || {
                    let mut random = ChaCha8Rng::seed_from_u64(seed);
                    for _ in 0..300 {
                        let revives = random.random_bool(0.9);
                        let mut permit = dispatcher.enter(job(3), |_| revives);
                        while let Ok(granted) = permit {
                            let now = inside[granted.device().0].fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                            inside[granted.device().0].fetch_sub(1, Ordering::SeqCst);
                            // A device that is declared lost may have jobs inside for a while.
                            assert!(now < 6);
                            permit = match random.random_range(0..20) {
                                0 => granted.lost(),
                                1 => {
                                    drop(granted);
                                    break;
                                }
                                _ => {
                                    granted.done(None);
                                    break;
                                }
                            };
                        }
                    }
                });
            }
        });
        let counts = dispatcher.counts();
        assert_eq!(counts.submitted, 1800);
        assert_eq!(counts.ended, 1800);
        assert!(
            (0..3).all(|index| dispatcher.lock().scheduler.in_flight(DeviceIndex(index)).0 == 0)
        );
        assert!(dispatcher.lock().verdicts.is_empty());
    }
}
