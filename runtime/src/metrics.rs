//! Counters and histograms, by way of the `metrics` facade.
//!
//! Handles are looked up once per kernel. Names: `unlade_batches_total`, `unlade_rows_in_total`,
//! `unlade_rows_out_total`, `unlade_bytes_in_total`, `unlade_bytes_out_total`,
//! `unlade_bytes_copied_total`, `unlade_retries_total`, `unlade_errors_total` and
//! `unlade_batch_seconds`, all with the label `device`.

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

    /// Counts a batch that has a result.
    pub(crate) fn batch(&self, receipt: &Receipt) {
        self.batches.increment(1);
        self.rows_in.increment(receipt.rows_in);
        self.rows_out.increment(receipt.rows_out);
        self.bytes_in.increment(receipt.bytes_in);
        self.bytes_out.increment(receipt.bytes_out);
        self.bytes_copied.increment(receipt.bytes_copied);
        if receipt.retries > 0 {
            self.retries.increment(u64::from(receipt.retries));
        }
        // Virtual seconds are no seconds.
        if receipt.clock == ClockKind::Wall {
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
