//! How long a device is held by a job, and how long a new one would wait for it.

use std::time::Duration;

use super::Scheduler;
use super::average::Average;
use crate::placement::DeviceIndex;

/// How long jobs had a device lately.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServiceTimes(Average);

impl ServiceTimes {
    /// A job has had the device for so long.
    pub(crate) fn take(&mut self, held: Duration) {
        self.0.take(held.as_secs_f64());
    }

    /// How long a new job would wait for the device.
    pub(crate) fn queue_wait(self, scheduler: &Scheduler, device: DeviceIndex) -> Duration {
        let (waiting, _) = scheduler.waiting(device);
        let (on_device, _) = scheduler.in_flight(device);
        let depth = f64::from(scheduler.depth(device));
        let ahead = (waiting as f64 + f64::from(on_device) - depth + 1.0).max(0.0);
        let each = self.0.value().unwrap_or(0.0);
        Duration::from_secs_f64((ahead / depth * each).min(1e6))
    }
}
