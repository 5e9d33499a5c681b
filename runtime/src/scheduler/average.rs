//! Averages of what was seen lately.

/// A moving average in which the newest value weighs an eighth, as in TCP's round-trip times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Average(Option<f64>);

impl Average {
    const WEIGHT: f64 = 0.125;

    pub(super) fn take(&mut self, value: f64) {
        let average = self.0.get_or_insert(value);
        *average += (value - *average) * Self::WEIGHT;
    }

    /// `None` until there was a value.
    pub(super) fn value(self) -> Option<f64> {
        self.0
    }

    /// This one, or the other while this one has seen nothing.
    pub(super) fn or(self, other: Average) -> Average {
        Average(self.0.or(other.0))
    }
}
