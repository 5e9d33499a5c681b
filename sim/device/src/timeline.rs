//! When things happen: three engines that work side by side, each on one thing at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use unlade_hal::{Began, ClockKind, Timestamp, Timing};

/// A bus: one engine for each direction. Devices that are built with clones of one link share it,
/// and wait for each other; first submitted, first served.
#[derive(Clone, Debug)]
pub struct Link {
    name: Arc<str>,
    engines: Arc<Mutex<[Engine; 2]>>,
}

impl Link {
    /// A bus that nothing uses yet.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Link {
            name: format!("simulated link {}", NEXT.fetch_add(1, Ordering::Relaxed)).into(),
            engines: Arc::default(),
        }
    }

    /// Its name, which no other has.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn reserve(&self, direction: usize, ready: Timestamp, takes: Duration) -> Busy {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines[direction].reserve(ready, takes)
    }
}

impl Default for Link {
    fn default() -> Self {
        Link::new()
    }
}

/// Something that does one thing at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Engine {
    free: Timestamp,
}

/// When an engine works on something.
#[derive(Clone, Copy, Debug)]
struct Busy {
    from: Timestamp,
    to: Timestamp,
}

impl Engine {
    fn reserve(&mut self, ready: Timestamp, takes: Duration) -> Busy {
        let from = ready.max(self.free);
        let to = Timestamp(from.0.saturating_add(takes));
        self.free = to;
        Busy { from, to }
    }
}

/// Which engine does a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    CopyIn,
    Compute,
    CopyOut,
}

/// Lays the steps of one list onto the engines, one after the other.
#[derive(Debug)]
pub(crate) struct Schedule<'a> {
    link: &'a Link,
    compute: &'a mut Engine,
    submitted: Timestamp,
    /// When each engine began, once it has.
    begun: [Option<Timestamp>; 3],
    ready: Timestamp,
    timing: Timing,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(link: &'a Link, compute: &'a mut Engine, submitted: Timestamp) -> Self {
        let timing = Timing {
            clock: Some(ClockKind::Virtual),
            submitted: Some(submitted),
            ..Timing::default()
        };
        Schedule {
            link,
            compute,
            submitted,
            begun: [None; 3],
            ready: submitted,
            timing,
        }
    }

    /// The next step.
    pub(crate) fn step(&mut self, work: Work, takes: Duration) {
        let (busy, total) = match work {
            Work::CopyIn => (
                self.link.reserve(0, self.ready, takes),
                &mut self.timing.copy_in,
            ),
            Work::Compute => (
                self.compute.reserve(self.ready, takes),
                &mut self.timing.compute,
            ),
            Work::CopyOut => (
                self.link.reserve(1, self.ready, takes),
                &mut self.timing.copy_out,
            ),
        };
        *total = total.saturating_add(takes);
        self.begun[work as usize].get_or_insert(busy.from);
        self.ready = busy.to;
    }

    /// When the last step is done, and the account of all.
    pub(crate) fn finish(mut self) -> (Timestamp, Timing) {
        let first = self.begun.into_iter().flatten().min();
        let since_submit = |at: Option<Timestamp>| at.map(|at| at.since(self.submitted));
        self.timing.queued = since_submit(first).unwrap_or_default();
        let [copy_in, compute, copy_out] =
            self.begun.map(|at| since_submit(at).unwrap_or_default());
        self.timing.began = Some(Began {
            copy_in,
            compute,
            copy_out,
        });
        (self.ready, self.timing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(link: &Link, compute: &mut Engine, at: u64, steps: [u64; 3]) -> (u64, Timing) {
        let mut schedule = Schedule::new(link, compute, Timestamp(Duration::from_nanos(at)));
        for (work, nanos) in [Work::CopyIn, Work::Compute, Work::CopyOut]
            .into_iter()
            .zip(steps)
        {
            schedule.step(work, Duration::from_nanos(nanos));
        }
        let (done, timing) = schedule.finish();
        (done.0.as_nanos() as u64, timing)
    }

    #[test]
    fn lists_overlap_as_a_pipeline() {
        let (link, mut compute) = (Link::new(), Engine::default());
        let one = list(&link, &mut compute, 0, [10, 20, 5]);
        let two = list(&link, &mut compute, 0, [10, 20, 5]);
        let three = list(&link, &mut compute, 0, [10, 20, 5]);
        assert_eq!(
            (one.0, two.0, three.0),
            (35, 55, 75),
            "the slowest engine sets the pace"
        );
        assert_eq!(one.1.queued, Duration::ZERO);
        assert_eq!(three.1.queued, Duration::from_nanos(20));
        assert_eq!(three.1.compute, Duration::from_nanos(20));
        // In at 20, on the device behind the other two, and out behind itself.
        let began = [20, 50, 70].map(Duration::from_nanos);
        let told = three.1.began();
        assert_eq!([told.copy_in, told.compute, told.copy_out], began);
    }

    #[test]
    fn devices_share_a_link_only_if_given_one() {
        let link = Link::new();
        let (mut a, mut b) = (Engine::default(), Engine::default());
        assert_eq!(list(&link, &mut a, 0, [10, 1, 1]).0, 12);
        assert_eq!(list(&link, &mut b, 0, [10, 1, 1]).0, 22);
        assert_eq!(
            list(&Link::new(), &mut Engine::default(), 0, [10, 1, 1]).0,
            12
        );
    }

    #[test]
    fn an_idle_device_begins_at_once() {
        let (link, mut compute) = (Link::new(), Engine::default());
        list(&link, &mut compute, 0, [10, 20, 5]);
        let later = list(&link, &mut compute, 1000, [1, 1, 1]);
        assert_eq!((later.0, later.1.queued), (1003, Duration::ZERO));
    }
}
