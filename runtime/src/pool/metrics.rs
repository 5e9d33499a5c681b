//! The pool's metrics; the table of all names is in the crate's `metrics` module.

use metrics::{counter, gauge, histogram};

use super::status::PoolStatus;
use crate::sync::Instant;

/// Counts a request that got nothing.
pub(super) fn exhausted() {
    counter!("unlade_pool_exhausted_total").increment(1);
}

/// Counts memory allocated beyond the reserve.
pub(super) fn beyond_reserve(bytes: u64) {
    counter!("unlade_pool_beyond_reserve_total").increment(1);
    counter!("unlade_pool_beyond_reserve_bytes_total").increment(bytes);
}

/// Records how long a request that was ready to wait has waited.
pub(super) fn waited(since: Instant) {
    histogram!("unlade_pool_wait_seconds").record(since.elapsed().as_secs_f64());
}

/// Sets the gauges.
pub(super) fn publish(status: &PoolStatus) {
    let set = |name: &'static str, bytes: u64| gauge!(name).set(bytes as f64);
    set("unlade_pool_reserve_bytes", status.reserve);
    set("unlade_pool_free_bytes", status.free);
    set("unlade_pool_cached_bytes", status.cached);
    set("unlade_pool_leased_bytes", status.leased);
    set("unlade_pool_peak_bytes", status.peak);
    set("unlade_pool_waiting", status.waiting as u64);
}
