//! Virtual time.
//!
//! A [`VirtualClock`] stands still until it is told to go on, so that a simulation of hours runs in
//! milliseconds and twice alike. Clones share one time: hand one to every simulated device and to
//! whatever reads time beside them.
//!
//! ```
//! use std::time::Duration;
//! use unlade_hal::{Clock, Timestamp};
//! use unlade_sim_clock::VirtualClock;
//!
//! let clock = VirtualClock::new();
//! let shared = clock.clone();
//! clock.advance(Duration::from_millis(3));
//! assert_eq!(shared.now(), Timestamp(Duration::from_millis(3)));
//!
//! // Time never goes back.
//! clock.advance_to(Timestamp(Duration::from_millis(1)));
//! assert_eq!(shared.now(), Timestamp(Duration::from_millis(3)));
//! ```
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use unlade_hal::{Clock, ClockKind, Timestamp};

/// A clock that goes only when it is told to. Begins at 0, counts nanoseconds and stops after
/// 584 years; clones share one time.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    nanos: Arc<AtomicU64>,
}

impl VirtualClock {
    /// A clock at 0.
    pub fn new() -> Self {
        VirtualClock::default()
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let later = |now: u64| Some(now.saturating_add(nanos(by)));
        // The closure never declines, so the update cannot fail.
        let _before = self
            .nanos
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Lets time pass until it is `time`; does nothing if it already is or is later.
    pub fn advance_to(&self, time: Timestamp) {
        self.nanos.fetch_max(nanos(time.0), Ordering::AcqRel);
    }
}

impl Clock for VirtualClock {
    fn kind(&self) -> ClockKind {
        ClockKind::Virtual
    }

    fn now(&self) -> Timestamp {
        Timestamp(Duration::from_nanos(self.nanos.load(Ordering::Acquire)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_at_the_end_of_the_clock() {
        let clock = VirtualClock::new();
        clock.advance(Duration::MAX);
        clock.advance(Duration::from_nanos(1));
        assert_eq!(clock.now(), Timestamp(Duration::from_nanos(u64::MAX)));
        assert_eq!(clock.kind(), ClockKind::Virtual);
    }

    #[test]
    fn threads_advance_one_time() {
        let clock = VirtualClock::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let clock = clock.clone();
                scope.spawn(move || (0..1000).for_each(|_| clock.advance(Duration::from_nanos(1))));
            }
        });
        assert_eq!(clock.now(), Timestamp(Duration::from_nanos(4000)));
    }
}
