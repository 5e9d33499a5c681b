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
