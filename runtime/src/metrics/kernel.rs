//! What is told of each batch.

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Histogram};
use unlade_hal::ClockKind;

use super::{
    BATCH_SECONDS, BATCHES, BYTES_COPIED, BYTES_IN, BYTES_OUT, DEVICE_BUSY_SECONDS, ERRORS,
    RETRIES, ROWS_IN, ROWS_OUT,
};
use crate::device_slot::DeviceSlot;
use crate::receipt::{Receipt, clock_text};

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
    busy: Histogram,
}

impl KernelMetrics {
    pub(crate) fn new(device: &DeviceSlot) -> Self {
        let labels = &[&*device.name];
        let clock = clock_text(device.device.info().clock);
        KernelMetrics {
            batches: BATCHES.counter(labels),
            rows_in: ROWS_IN.counter(labels),
            rows_out: ROWS_OUT.counter(labels),
            bytes_in: BYTES_IN.counter(labels),
            bytes_out: BYTES_OUT.counter(labels),
            bytes_copied: BYTES_COPIED.counter(labels),
            retries: RETRIES.counter(labels),
            errors: ERRORS.counter(labels),
            seconds: BATCH_SECONDS.histogram(labels),
            busy: DEVICE_BUSY_SECONDS.histogram(&[&device.name, clock]),
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

    /// Notes for how long the device has worked, by its own clock.
    pub(crate) fn worked(&self, used: Duration) {
        self.busy.record(used.as_secs_f64());
    }
}

impl fmt::Debug for KernelMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelMetrics").finish_non_exhaustive()
    }
}
