//! What sessions pay in.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Device time divided by a session's weight, in 2⁻¹⁶ nanoseconds. Saturates at both ends; 2¹²⁸ of
/// them are more than 10¹⁷ years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VirtualTime(u128);

impl VirtualTime {
    /// A weight of one pays this for each nanosecond; larger weights pay less.
    const PER_NANOSECOND: u128 = 1 << 16;

    /// What device time costs a session of a weight, which is not 0: more than nothing.
    pub(super) fn of(used: Duration, weight: u32) -> Self {
        let price = used.as_nanos() * Self::PER_NANOSECOND / u128::from(weight);
        VirtualTime(price.max(1))
    }

    /// The time before this one.
    pub(super) fn just_before(self) -> Self {
        VirtualTime(self.0.saturating_sub(1))
    }
}

impl Add for VirtualTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        VirtualTime(self.0.saturating_add(other.0))
    }
}

impl Sub for VirtualTime {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        VirtualTime(self.0.saturating_sub(other.0))
    }
}
