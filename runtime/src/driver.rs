//! One device's queue, shared by all threads that use the device.
//!
//! A thread submits, and then drives the queue until its own list is back; lists of other threads
//! that come back meanwhile are put aside for them. So lists of several threads overlap on the
//! device, and no thread is kept for it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::errand::{Errand, Waited};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};
use unlade_hal::{
    CommandList, Completion, Device, DeviceError, DeviceLost, Outcome, Queue, RejectReason, Seq,
    Wait,
};

/// How long a driving thread waits at least before it lets others submit.
const SHORTEST: Duration = Duration::from_millis(1);

/// The same at most, and so how long it takes at most until another thread closes the queue.
const LONGEST: Duration = Duration::from_millis(16);

/// Which part of its time on the device a list waits on before others may submit: each time that a
/// waiting thread looks up costs the host some ten microseconds, of which a slow device would see
/// hundreds.
const PART: u32 = 4;

/// How long a lost device gets to prove its memory quiet.
const QUIESCE: Duration = Duration::from_millis(100);

/// Why a list has no completion.
#[derive(Debug)]
pub(crate) enum Undone {
    /// The device is lost.
    Lost(DeviceLost),
    /// The list breaks a rule; it is the runtime's fault.
    Invalid(String),
    /// Nobody waits for it any more. The device still has it, and is to be [waited
    /// for](Driver::collect) before the next one has its turn.
    GivenUp(Point),
    /// Nobody waits for it any more, and the device has not been handed it.
    NotBegun,
}

/// How long a device may take before it is held to have failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a list, from when it is submitted on.
    pub(crate) list: Duration,
    /// For what its driver does without one: to open a queue, give memory, compile, reset.
    pub(crate) driver: Duration,
}

/// A list that is back.
#[derive(Debug)]
pub(crate) struct Back {
    pub(crate) completion: Completion,
    /// When it was submitted.
    pub(crate) submitted: Instant,
}

/// A list's place on the device: in which of its queues, and where there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Point {
    generation: u64,
    seq: Seq,
}

/// A queue that is being opened.
type Opening = Errand<Result<Unused, DeviceError>>;

/// A queue that no list has come to. It is ended where nobody takes it: one that is only dropped abandons
/// what the device might still touch.
struct Unused(Option<Box<dyn Queue>>);

impl Unused {
    fn take(mut self) -> Box<dyn Queue> {
        self.0.take().expect("it is taken once")
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.quiesce(QUIESCE);
        }
    }
}

/// A device's queue.
pub(crate) struct Driver {
    state: Mutex<State>,
    changed: Condvar,
    depth: u32,
}

#[derive(Default)]
struct State {
    queue: Option<Box<dyn Queue>>,
    /// The next queue, where the device's driver is at it.
    opening: Option<Arc<Opening>>,
    /// Queues opened so far: points of an earlier queue are never reached.
    generation: u64,
    /// Lists on the device, in order; what else a device claims to have completed is ignored.
    outstanding: BTreeMap<Point, Listed>,
    /// Completions that their owners have not yet taken.
    done: HashMap<Point, Back>,
    /// Whether a thread waits on the queue, and has it in its hands.
    driven: bool,
    /// Why the queue is to end, once the thread that has it in its hands returns it.
    ending: Option<DeviceLost>,
    /// Threads that wait to submit until the queue is back.
    submitting: u32,
    /// Why the latest queue ended.
    lost: Option<DeviceLost>,
    leaked_bytes: u64,
}

/// When a list came to the device, and when it is to be back.
#[derive(Clone, Copy, Debug)]
struct Listed {
    since: Instant,
    deadline: Instant,
    /// Whether somebody takes its completion.
    awaited: bool,
}

impl Driver {
    pub(crate) fn new(depth: u32) -> Self {
        Driver {
            state: Mutex::default(),
            changed: Condvar::new(),
            depth: depth.max(1),
        }
    }

    /// Lists on the device at the moment.
    pub(crate) fn in_flight(&self) -> u32 {
        self.lock().outstanding.len() as u32
    }

    /// Bytes abandoned to a lost device.
    pub(crate) fn leaked_bytes(&self) -> u64 {
        self.lock().leaked_bytes
    }

    /// Why the latest queue ended, if one has.
    pub(crate) fn last_loss(&self) -> Option<DeviceLost> {
        self.lock().lost.clone()
    }

    /// Runs a list; returns when it is back, or a while after `given_up` says so.
    pub(crate) fn run(
        &self,
        device: &Arc<dyn Device>,
        list: CommandList,
        patience: Patience,
        given_up: impl Fn() -> bool,
    ) -> Result<Back, Undone> {
        let point = self.submit(device, list, patience, &given_up)?;
        let mut state = self.lock();
        loop {
            if let Some(back) = state.done.remove(&point) {
                return Ok(back);
            }
            if given_up()
                && let Some(listed) = state.outstanding.get_mut(&point)
            {
                listed.awaited = false;
                return Err(Undone::GivenUp(point));
            }
            if let Some(lost) = self.loss(&**device, &state, point) {
                return Err(Undone::Lost(lost));
            }
            state = self.advance(&**device, state, point, patience.list);
        }
    }

    /// Waits until a list is back that was given up.
    ///
    /// # Errors
    /// Where the device is lost before.
    pub(crate) fn collect(
        &self,
        device: &dyn Device,
        point: Point,
        timeout: Duration,
    ) -> Result<(), DeviceLost> {
        let mut state = self.lock();
        loop {
            if let Some(lost) = self.loss(device, &state, point) {
                return Err(lost);
            }
            if !state.outstanding.contains_key(&point) {
                return Ok(());
            }
            state = self.advance(device, state, point, timeout);
        }
    }

    /// Why a list will not come back, if its queue has ended.
    fn loss(&self, device: &dyn Device, state: &State, point: Point) -> Option<DeviceLost> {
        let ended = state.queue.is_none() && !state.driven;
        (ended || state.generation != point.generation)
            .then(|| state.lost.clone().unwrap_or_else(|| gone(device)))
    }

    /// One step of waiting for a list on the device, whose time may be up.
    fn advance<'a>(
        &'a self,
        device: &dyn Device,
        state: MutexGuard<'a, State>,
        point: Point,
        timeout: Duration,
    ) -> MutexGuard<'a, State> {
        let listed = state.outstanding.get(&point);
        if listed.is_none_or(|listed| Instant::now() < listed.deadline) {
            return self.drive(state);
        }
        let reason = format!("no completion within {timeout:?}");
        let lost = DeviceLost {
            device: device.info().name.clone(),
            reason,
        };
        self.end(state, lost)
    }

    /// Ends the queue: whatever it held is lost, and the next list opens a new one.
    pub(crate) fn close(&self, lost: DeviceLost) {
        drop(self.end(self.lock(), lost));
    }

    /// A queue that is being opened is none of the device's that it has become.
    pub(crate) fn forget_opening(&self) {
        let opening = self.lock().opening.take();
        // Without the lock: the queue may be there, and is ended then.
        drop(opening);
    }

    fn submit(
        &self,
        device: &Arc<dyn Device>,
        mut list: CommandList,
        patience: Patience,
        given_up: &impl Fn() -> bool,
    ) -> Result<Point, Undone> {
        let mut deadline = Instant::now() + patience.list;
        let mut state = self.lock();
        loop {
            if state.driven {
                state.submitting += 1;
                state = self.wait(state);
                state.submitting -= 1;
                // Whoever drives waits for this.
                self.changed.notify_all();
                continue;
            }
            let Some(queue) = state.queue.as_mut() else {
                state = self.open(device, state, patience.driver, given_up)?;
                // What that took is not the list's.
                deadline = Instant::now() + patience.list;
                continue;
            };
            let rejected = match queue.submit(list) {
                Ok(seq) => {
                    let point = Point {
                        generation: state.generation,
                        seq,
                    };
                    let listed = Listed {
                        since: Instant::now(),
                        deadline,
                        awaited: true,
                    };
                    state.outstanding.insert(point, listed);
                    return Ok(point);
                }
                Err(rejected) => rejected,
            };
            list = rejected.list;
            match rejected.reason {
                RejectReason::Invalid(reason) => return Err(Undone::Invalid(reason)),
                RejectReason::Lost(lost) => {
                    self.lose(&mut state, lost.clone());
                    return Err(Undone::Lost(lost));
                }
                _full => {
                    if Instant::now() >= deadline {
                        let reason = "its queue stays full".to_owned();
                        let lost = DeviceLost {
                            device: device.info().name.clone(),
                            reason,
                        };
                        self.lose(&mut state, lost.clone());
                        return Err(Undone::Lost(lost));
                    }
                    state = self.drive_any(state);
                }
            }
        }
    }

    /// Has the device's driver open a queue. All who want one wait for the same, without the lock.
    fn open<'a>(
        &'a self,
        device: &Arc<dyn Device>,
        mut state: MutexGuard<'a, State>,
        within: Duration,
        given_up: impl Fn() -> bool,
    ) -> Result<MutexGuard<'a, State>, Undone> {
        let begin = || {
            let (device, depth) = (Arc::clone(device), self.depth);
            Arc::new(Errand::begin(move || {
                let opened = device.open_queue(depth);
                opened.map(|queue| Unused(Some(queue)))
            }))
        };
        let opening = Arc::clone(state.opening.get_or_insert_with(begin));
        drop(state);
        let waited = opening.wait(within, given_up);
        let lost = |reason: String| {
            let device = device.info().name.clone();
            Undone::Lost(DeviceLost { device, reason })
        };
        match waited {
            Waited::Ended => {}
            Waited::Late => {
                return Err(lost(format!(
                    "its driver opened no queue within {within:?}"
                )));
            }
            Waited::GivenUp => return Err(Undone::NotBegun),
        }
        let mut state = self.lock();
        // Another who waited has taken it, or it is of no use any more.
        let is_same = |other: &mut Arc<Opening>| Arc::ptr_eq(other, &opening);
        if state.opening.take_if(is_same).is_none() {
            drop(state);
            // Without the lock: it may be the last to hold a queue, which is ended then.
            drop(opening);
            return Ok(self.lock());
        }
        match opening.take() {
            Some(Ok(queue)) => {
                state.queue = Some(queue.take());
                state.generation += 1;
                Ok(state)
            }
            Some(Err(DeviceError::Lost(lost))) => Err(Undone::Lost(lost)),
            Some(Err(other)) => Err(lost(other.to_string())),
            None => Err(lost(
                "its driver opened no queue and said nothing".to_owned(),
            )),
        }
    }

    /// Waits on the queue for a while, without the lock, and puts aside what came back. The list that
    /// it waits for is the oldest, whoever's that is: it is the first to come back.
    fn drive<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.driven || state.submitting > 0 {
            return self.wait(state);
        }
        let Some(mut queue) = state.queue.take() else {
            return state;
        };
        let (&Point { seq, .. }, oldest) = state
            .outstanding
            .first_key_value()
            .expect("who drives has a list on the device");
        let deadlines = state.outstanding.values().map(|listed| listed.deadline);
        let slice = slice(Instant::now(), oldest.since, deadlines);
        state.driven = true;
        drop(state);
        let mut done = Vec::new();
        let waited = queue.wait(seq, slice).map(|wait| wait == Wait::Reached);
        let polled = waited.and_then(|_| queue.poll(&mut done));
        let mut state = self.lock();
        state.driven = false;
        state.queue = Some(queue);
        self.settle(&mut state, done);
        if let Some(lost) = polled.err().or(state.ending.take()) {
            self.lose(&mut state, lost);
        }
        self.changed.notify_all();
        state
    }

    /// As [`drive`](Driver::drive), for whoever waits for room.
    fn drive_any<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let mut done = Vec::new();
        let Some(queue) = state.queue.as_mut() else {
            return state;
        };
        let polled = queue.poll(&mut done);
        let nothing = done.is_empty();
        self.settle(&mut state, done);
        if let Err(lost) = polled {
            self.lose(&mut state, lost);
        }
        self.changed.notify_all();
        if nothing {
            let (state, _) = self
                .changed
                .wait_timeout(state, SHORTEST)
                .unwrap_or_else(PoisonError::into_inner);
            return state;
        }
        state
    }

    fn settle(&self, state: &mut State, done: Vec<Completion>) {
        let generation = state.generation;
        for completion in done {
            let seq = completion.seq;
            let point = Point { generation, seq };
            let listed = state.outstanding.remove(&point);
            if let Some(listed) = listed.filter(|listed| listed.awaited) {
                let submitted = listed.since;
                state.done.insert(
                    point,
                    Back {
                        completion,
                        submitted,
                    },
                );
            }
        }
    }

    /// Ends the queue, or has the thread end it that has it in its hands, and waits for that.
    fn end<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        lost: DeviceLost,
    ) -> MutexGuard<'a, State> {
        if !state.driven {
            self.lose(&mut state, lost);
            return state;
        }
        let generation = state.generation;
        state.ending.get_or_insert(lost);
        while state.driven && state.generation == generation {
            state = self.wait(state);
        }
        state
    }

    /// Ends the queue. Its lists come back as aborted, or are counted as leaked.
    fn lose(&self, state: &mut State, lost: DeviceLost) {
        if let Some(queue) = state.queue.take() {
            let quiesced = queue.quiesce(QUIESCE);
            let completions = quiesced.completions.into_iter().map(|mut completion| {
                if matches!(completion.outcome, Outcome::Done { .. }) {
                    return completion;
                }
                completion.outcome = Outcome::Aborted(lost.clone());
                completion
            });
            let completions = completions.collect();
            self.settle(state, completions);
            state.leaked_bytes += quiesced
                .leaked
                .iter()
                .map(|leaked| leaked.bytes)
                .sum::<u64>();
        }
        state.outstanding.clear();
        state.lost = Some(lost);
        self.changed.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue that is only dropped abandons what the device might still touch.
impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(queue) = self.lock().queue.take() {
            queue.quiesce(QUIESCE);
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

/// How long to wait for the oldest list at a time: the longer the longer it is on the device, but not
/// past the time at which a list is to be back.
fn slice(now: Instant, oldest: Instant, deadlines: impl Iterator<Item = Instant>) -> Duration {
    let age = now.saturating_duration_since(oldest);
    let left = deadlines.map(|deadline| deadline.saturating_duration_since(now));
    let slice = (age / PART).clamp(SHORTEST, LONGEST);
    left.min().map_or(slice, |left| slice.min(left))
}

fn gone(device: &dyn Device) -> DeviceLost {
    DeviceLost {
        device: device.info().name.clone(),
        reason: "its queue has ended".to_owned(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
