//! What can be seen of devices from outside.

use std::sync::Arc;

use metrics::{Counter, Gauge, counter, gauge};

pub(super) struct DeviceMetrics {
    pub(super) jobs: Counter,
    pub(super) losses: Counter,
    in_flight: Gauge,
    waiting: Gauge,
}

impl DeviceMetrics {
    pub(super) fn new(device: &Arc<str>) -> Self {
        let device = device.to_string();
        DeviceMetrics {
            jobs: counter!("unlade_device_jobs_total", "device" => device.clone()),
            losses: counter!("unlade_device_losses_total", "device" => device.clone()),
            in_flight: gauge!("unlade_device_in_flight", "device" => device.clone()),
            waiting: gauge!("unlade_device_waiting", "device" => device),
        }
    }

    /// Jobs on the device, and jobs that wait for it.
    pub(super) fn load(&self, in_flight: u32, waiting: usize) {
        self.in_flight.set(f64::from(in_flight));
        self.waiting.set(waiting as f64);
    }
}
