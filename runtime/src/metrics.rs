//! Counters, gauges and histograms, by way of the `metrics` facade. This is the table of all names.
//!
//! | name | kind | label | what |
//! |---|---|---|---|
//! | `unlade_batches_total` | counter | `device` | batches that have a result |
//! | `unlade_rows_in_total`, `unlade_rows_out_total` | counter | `device` | their rows |
//! | `unlade_bytes_in_total`, `unlade_bytes_out_total` | counter | `device` | bytes read, bytes of results |
//! | `unlade_bytes_copied_total` | counter | `device` | payload bytes written while compacting |
//! | `unlade_retries_total` | counter | `device` | work repeated after a fault or for want of memory |
//! | `unlade_errors_total` | counter | `device` | batches that have an error |
//! | `unlade_batch_seconds` | histogram | `device` | from hand-over to result, on the wall clock; batches done together count once |
//! | `unlade_fallbacks_total` | counter | `device`, `reason` | parts of batches that went elsewhere than to that device |
//! | `unlade_device_jobs_total` | counter | `device` | turns on a device that ended well |
//! | `unlade_device_losses_total` | counter | `device` | times that it was lost |
//! | `unlade_device_in_flight`, `unlade_device_waiting` | gauge | `device` | turns taken, turns waited for |
//! | `unlade_pool_exhausted_total` | counter | | requests that got no memory |
//! | `unlade_pool_beyond_reserve_total`, `unlade_pool_beyond_reserve_bytes_total` | counter | | leases beyond the reserve, and their bytes |
//! | `unlade_pool_wait_seconds` | histogram | | how long requests for memory waited |
//! | `unlade_pool_reserve_bytes`, `..._free_bytes`, `..._cached_bytes`, `..._leased_bytes`, `..._peak_bytes` | gauge | | as of the last `Runtime::memory` |
//! | `unlade_pool_waiting` | gauge | | requests waiting, as of then |
//!
//! Handles of batches are looked up once per kernel, those of devices once per runtime.

use std::sync::Arc;

use metrics::{Counter, Histogram, counter, histogram};
use unlade_hal::ClockKind;

use crate::receipt::Receipt;

/// The metrics of one kernel on one device.
pub(crate) struct KernelMetrics {
    batches: Counter,
    rows_in: Counter,
    rows_out: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    bytes_copied: Counter,
    retries: Counter,
    errors: Counter,
    seconds: Histogram,
}

impl KernelMetrics {
    pub(crate) fn new(device: &Arc<str>) -> Self {
        let device = device.to_string();
        KernelMetrics {
            batches: counter!("unlade_batches_total", "device" => device.clone()),
            rows_in: counter!("unlade_rows_in_total", "device" => device.clone()),
            rows_out: counter!("unlade_rows_out_total", "device" => device.clone()),
            bytes_in: counter!("unlade_bytes_in_total", "device" => device.clone()),
            bytes_out: counter!("unlade_bytes_out_total", "device" => device.clone()),
            bytes_copied: counter!("unlade_bytes_copied_total", "device" => device.clone()),
            retries: counter!("unlade_retries_total", "device" => device.clone()),
            errors: counter!("unlade_errors_total", "device" => device.clone()),
            seconds: histogram!("unlade_batch_seconds", "device" => device),
        }
    }

    /// Counts a batch that has a result, or those that were done together.
    pub(crate) fn batch(&self, receipt: &Receipt) {
        self.batches.increment(receipt.together);
        self.rows_in.increment(receipt.rows_in);
        self.rows_out.increment(receipt.rows_out);
        self.bytes_in.increment(receipt.bytes_in);
        self.bytes_out.increment(receipt.bytes_out);
        self.bytes_copied.increment(receipt.bytes_copied);
        if receipt.retries > 0 {
            self.retries.increment(u64::from(receipt.retries));
        }
        // Virtual seconds are no seconds.
        if receipt.taken_clock == ClockKind::Wall {
            self.seconds.record(receipt.taken.as_secs_f64());
        }
    }

    /// Counts a batch that has none.
    pub(crate) fn error(&self) {
        self.errors.increment(1);
    }
}

impl std::fmt::Debug for KernelMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelMetrics").finish_non_exhaustive()
    }
}
