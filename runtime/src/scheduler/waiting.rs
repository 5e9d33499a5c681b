//! Jobs that wait for devices.

use std::time::Duration;

use super::fair_queue::{Charge, FairQueue};
use super::{Job, JobId, Priority, SessionKey};
use crate::placement::DeviceIndex;

/// For each device the jobs that wait for it.
#[derive(Debug)]
pub(super) struct Waiting {
    devices: Vec<Line>,
}

/// Jobs waiting for one device. Each priority is a fair queue of its own; those of a lower one have
/// their turn when none of a higher one waits.
#[derive(Debug, Default)]
struct Line {
    /// By priority, the lowest first.
    queues: [FairQueue; 3],
    jobs: usize,
    bytes: u64,
}

impl Waiting {
    pub(super) fn new(devices: usize) -> Self {
        Waiting {
            devices: (0..devices).map(|_| Line::default()).collect(),
        }
    }

    /// Lets a job wait, behind those of its session that were submitted before it.
    pub(super) fn push(&mut self, id: JobId, device: DeviceIndex, job: &Job) {
        let line = &mut self.devices[device.0];
        line.jobs += 1;
        line.bytes += job.bytes;
        line.queue(job.priority).push(id, job);
    }

    pub(super) fn remove(&mut self, id: JobId, device: DeviceIndex, job: &Job) {
        let line = &mut self.devices[device.0];
        line.jobs -= 1;
        line.bytes -= job.bytes;
        line.queue(job.priority).remove(id, job.session);
    }

    /// Takes out the next job for a device, if `fits` lets it go, with what its session has paid.
    /// The next one is waited for even where a later, smaller one would fit: otherwise large ones
    /// might never go.
    pub(super) fn pop(
        &mut self,
        device: DeviceIndex,
        fits: impl FnOnce(u64) -> bool,
    ) -> Option<(JobId, Charge)> {
        let line = &mut self.devices[device.0];
        let mut queues = line.queues.iter_mut().rev();
        let highest = queues.find(|queue| !queue.is_empty())?;
        let (id, charge) = highest.pop(fits)?;
        line.jobs -= 1;
        line.bytes -= charge.bytes;
        Some((id, charge))
    }

    /// The device has done a job and worked `used` for it.
    pub(super) fn settle(
        &mut self,
        device: DeviceIndex,
        job: &Job,
        charge: Charge,
        used: Duration,
    ) {
        let queue = self.devices[device.0].queue(job.priority);
        queue.settle(job.session, charge, used);
    }

    /// A job has left the device without a result.
    pub(super) fn refund(&mut self, device: DeviceIndex, job: &Job, charge: Charge) {
        let queue = self.devices[device.0].queue(job.priority);
        queue.refund(job.session, charge);
    }

    /// Takes out all jobs that wait for a device, in the order in which they were submitted.
    pub(super) fn drain(&mut self, device: DeviceIndex) -> Vec<JobId> {
        let line = &mut self.devices[device.0];
        (line.jobs, line.bytes) = (0, 0);
        let queues = line.queues.iter_mut();
        let mut ids: Vec<JobId> = queues.flat_map(FairQueue::drain).collect();
        ids.sort();
        ids
    }

    /// Closes the accounts of a session none of whose jobs waits.
    pub(super) fn forget(&mut self, session: SessionKey) {
        let queues = self.devices.iter_mut().flat_map(|line| &mut line.queues);
        queues.for_each(|queue| queue.forget(session));
    }

    /// Jobs and bytes that wait for a device.
    pub(super) fn load(&self, device: DeviceIndex) -> (usize, u64) {
        (self.devices[device.0].jobs, self.devices[device.0].bytes)
    }
}

impl Line {
    fn queue(&mut self, priority: Priority) -> &mut FairQueue {
        &mut self.queues[priority as usize]
    }
}
