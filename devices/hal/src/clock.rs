//! Time, injected.

use std::fmt;
use std::time::{Duration, Instant};

/// Which clock a time was read from. Times of different clocks are never compared or added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClockKind {
    /// The machine's monotonic clock.
    Wall,
    /// A simulation's.
    Virtual,
}

/// Time since a clock's own beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub Duration);

impl Timestamp {
    /// Time from `earlier` to here, zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A source of time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Which kind of time this is.
    fn kind(&self) -> ClockKind;
    /// The time now; never less than an earlier answer.
    fn now(&self) -> Timestamp;
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct WallClock {
    start: Instant,
}

impl WallClock {
    /// A clock that begins now.
    pub fn new() -> Self {
        WallClock {
            start: Instant::now(),
        }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        WallClock::new()
    }
}

impl Clock for WallClock {
    fn kind(&self) -> ClockKind {
        ClockKind::Wall
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.start.elapsed())
    }
}

/// The CPU time that the calling thread has used so far: what it computed, and what the system
/// did on its behalf. Unlike the
/// time of day it takes a system call to learn.
///
/// ```
/// let before = unlade_hal::thread_cpu_time();
/// let sum: u64 = (0..1_000_000u64).map(|number| std::hint::black_box(number)).sum();
/// assert!(unlade_hal::thread_cpu_time() > before, "{sum} was not had for nothing");
/// ```
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: The call writes one `timespec` to where it is pointed, which is ours and lives on.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "every thread has a CPU clock of its own");
    // A thread's clock begins at zero and is normalised: no part of it is negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
