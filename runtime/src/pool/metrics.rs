//! The pool's metrics.

use crate::metrics::{POOL_BEYOND, POOL_BEYOND_LEASED_BYTES, POOL_EXHAUSTED, POOL_WAIT_SECONDS};
use crate::sync::Instant;

/// Counts a request that got nothing.
pub(super) fn exhausted() {
    POOL_EXHAUSTED.counter(&[]).increment(1);
}

/// Counts memory allocated beyond the reserve.
pub(super) fn beyond_reserve(bytes: u64) {
    POOL_BEYOND.counter(&[]).increment(1);
    POOL_BEYOND_LEASED_BYTES.counter(&[]).increment(bytes);
}

/// Records how long a request that was ready to wait has waited.
pub(super) fn waited(since: Instant) {
    POOL_WAIT_SECONDS
        .histogram(&[])
        .record(since.elapsed().as_secs_f64());
}
