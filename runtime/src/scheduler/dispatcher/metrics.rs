//! What can be seen of devices from outside.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use unlade_hal::ClockKind;

use crate::metrics::{
    DEVICE_IN_FLIGHT, DEVICE_JOBS, DEVICE_LOSSES, DEVICE_WAIT_SECONDS, DEVICE_WAITING,
};

pub(super) struct DeviceMetrics {
    pub(super) jobs: Counter,
    pub(super) losses: Counter,
    in_flight: Gauge,
    waiting: Gauge,
    /// `None` where the clock's seconds are no seconds.
    waited: Option<Histogram>,
}

impl DeviceMetrics {
    /// Of the device of this name, among turns timed by a clock of this kind.
    pub(super) fn new(device: &str, clock: ClockKind) -> Self {
        let labels = &[device];
        DeviceMetrics {
            jobs: DEVICE_JOBS.counter(labels),
            losses: DEVICE_LOSSES.counter(labels),
            in_flight: DEVICE_IN_FLIGHT.gauge(labels),
            waiting: DEVICE_WAITING.gauge(labels),
            waited: (clock == ClockKind::Wall).then(|| DEVICE_WAIT_SECONDS.histogram(labels)),
        }
    }

    /// Jobs on the device, and jobs that wait for it.
    pub(super) fn load(&self, in_flight: u32, waiting: usize) {
        self.in_flight.set(f64::from(in_flight));
        self.waiting.set(waiting as f64);
    }

    /// How long a job waited for its turn.
    pub(super) fn waited(&self, time: Duration) {
        if let Some(waited) = &self.waited {
            waited.record(time.as_secs_f64());
        }
    }
}
