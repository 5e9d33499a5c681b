//! Time and waiting on a clock that goes only when nothing else can happen.
//!
//! Whoever waits for a while has a timer. When every thread waits, the [keeper of time](keep_time)
//! lets the clock go to the first timer; a thread that looks at the clock again and again moves it a
//! little. So a run takes no real time, and its schedule alone decides what happens before what.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Add;
use std::sync::{Arc, LockResult, PoisonError};
use std::time::Duration;

use shuttle::sync::MutexGuard;
use unlade_hal::{Clock, Timestamp};
use unlade_sim_clock::VirtualClock;

/// How much later it is at each look at the clock: who looks without end gets to every deadline.
const LOOK: Duration = Duration::from_micros(1);

/// What the host's processor takes for a row: a slow one, so that devices are worth their launches.
const ROW: Duration = Duration::from_nanos(200);

/// Wakes who waits for a time, among others it may be.
type Wake = Box<dyn Fn()>;

// Of the one real thread on which a run is simulated.
std::thread_local! {
    static CLOCK: RefCell<VirtualClock> = RefCell::new(VirtualClock::new());
    static TIMERS: RefCell<BTreeMap<(Duration, u64), Wake>> =
        const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
    static OVER: Cell<bool> = const { Cell::new(false) };
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Notes that a thread of the run has panicked.
pub(crate) fn fail() {
    FAILED.set(true);
}

/// Whether a thread of the run has panicked.
pub(crate) fn has_failed() -> bool {
    FAILED.get()
}

/// Begins a run by this clock.
pub(crate) fn begin(clock: &VirtualClock) {
    CLOCK.set(clock.clone());
    TIMERS.take();
    OVER.set(false);
}

/// Ends the run: the keeper of time keeps on only for who still waits, as a device's driver may.
pub(crate) fn end() {
    OVER.set(true);
}

/// The keeper of time. Its thread must have a turn only when no other can have one.
///
/// # Panics
/// Where all wait, and none of them for time to pass: they wait for each other.
pub(crate) fn keep_time() {
    loop {
        let Some(((deadline, _), wake)) = TIMERS.with_borrow_mut(BTreeMap::pop_first) else {
            assert!(OVER.get(), "all threads wait, and none for time to pass");
            return;
        };
        CLOCK.with_borrow(|clock| clock.advance_to(Timestamp(deadline)));
        wake();
        shuttle::thread::yield_now();
    }
}

/// Lets the others go on for a while.
pub(crate) fn sleep(time: Duration) {
    let (nothing, nobody) = (shuttle::sync::Mutex::new(()), Condvar::new());
    let guard = nothing.lock().unwrap_or_else(PoisonError::into_inner);
    drop(nobody.wait_timeout(guard, time));
}

/// Takes as long as computing that many rows, on a processor of the thread's own: others go on meanwhile.
pub(crate) fn compute(rows: usize) {
    sleep(ROW * u32::try_from(rows).unwrap_or(u32::MAX));
}

/// One who waits for a time.
struct Timer((Duration, u64));

impl Timer {
    fn start(time: Duration, wake: impl Fn() + 'static) -> Self {
        let now = CLOCK.with_borrow(|clock| clock.now().0);
        let timer = (now.saturating_add(time), NEXT.replace(NEXT.get() + 1));
        TIMERS.with_borrow_mut(|timers| timers.insert(timer, Box::new(wake)));
        Timer(timer)
    }

    /// Whether its time had not come yet.
    fn stop(self) -> bool {
        TIMERS
            .with_borrow_mut(|timers| timers.remove(&self.0))
            .is_some()
    }
}

/// Threads whose waits for a while are by the simulated clock.
pub(crate) mod thread {
    use std::time::Duration;

    pub(crate) use shuttle::thread::*;

    use super::Timer;

    /// As the standard library's.
    pub(crate) fn park_timeout(time: Duration) {
        let this = current();
        let timer = Timer::start(time, move || this.unpark());
        park();
        timer.stop();
    }
}

/// A point in simulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        CLOCK.with_borrow(|clock| {
            clock.advance(LOOK);
            Instant(clock.now().0)
        })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    pub(crate) fn checked_add(&self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Instant)
    }

    pub(crate) fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Instant(self.0 + time)
    }
}

/// A condition variable whose waits for a while are by the simulated clock.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    inner: Arc<shuttle::sync::Condvar>,
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Condvar::default()
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.inner.wait(guard)
    }

    /// As the standard library's. It may end early, as that may.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let inner = Arc::clone(&self.inner);
        let timer = Timer::start(time, move || inner.notify_all());
        let guard = self.inner.wait(guard);
        let in_time = timer.stop();
        match guard {
            Ok(guard) => Ok((guard, !in_time)),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), !in_time))),
        }
    }

    pub(crate) fn notify_all(&self) {
        self.inner.notify_all();
    }

    pub(crate) fn notify_one(&self) {
        self.inner.notify_one();
    }
}
