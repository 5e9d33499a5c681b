//! What a device has been given and has not done yet.

use std::time::Duration;

use unlade_hal::Timestamp;

/// How long a device will be busy, by what its batches were predicted to take.
///
/// A device works on so many batches at once, its `lanes`: a processor has one for each thread; a
/// device behind a queue has one, whose batches count with the slowest of their stages, since the
/// others overlap.
///
/// ```
/// use std::time::Duration;
/// use unlade_hal::Timestamp;
/// use unlade_runtime::placement::Backlog;
///
/// let at = |nanos| Timestamp(Duration::from_nanos(nanos));
/// let mut backlog = Backlog::new(1);
/// backlog.begin(Duration::from_nanos(100), at(0));
/// assert_eq!(backlog.wait(at(30)), Duration::from_nanos(70));
/// backlog.end(Duration::from_nanos(100), at(90)); // sooner than predicted
/// assert_eq!(backlog.wait(at(90)), Duration::ZERO);
/// ```
#[derive(Clone, Debug)]
pub struct Backlog {
    lanes: u32,
    batches: u32,
    /// The sum of their predictions.
    outstanding: Duration,
    /// When the batches that are worked on were begun, as far as is known: when the last one ended,
    /// or when there was something to do again.
    since: Timestamp,
}

impl Backlog {
    /// Of a device that works on so many batches at once, one at least.
    pub fn new(lanes: u32) -> Self {
        Backlog {
            lanes: lanes.max(1),
            batches: 0,
            outstanding: Duration::ZERO,
            since: Timestamp::default(),
        }
    }

    /// A batch more, that is predicted to keep a lane busy for so long.
    pub fn begin(&mut self, takes: Duration, now: Timestamp) {
        if self.batches == 0 {
            self.since = now;
        }
        self.batches += 1;
        self.outstanding += takes;
    }

    /// A batch that was [begun](Self::begin) with this prediction is done, or will never be.
    ///
    /// # Panics
    /// Where none was begun.
    pub fn end(&mut self, takes: Duration, now: Timestamp) {
        self.batches = self.batches.checked_sub(1).expect("what ends was begun");
        self.outstanding = match self.batches {
            0 => Duration::ZERO,
            _ => self.outstanding.saturating_sub(takes),
        };
        self.since = now;
    }

    /// How long a new batch would wait for a lane.
    pub fn wait(&self, now: Timestamp) -> Duration {
        if self.batches < self.lanes {
            return Duration::ZERO;
        }
        (self.outstanding / self.lanes).saturating_sub(now.since(self.since))
    }
}
