//! A device that is waited for: whoever does leaves the others to go on until it is done.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::{
    CommandList, Completion, Device, DeviceError, DeviceKind, DeviceLost, DeviceWrapper, Queue,
    Quiesced, Rejected, Seq, Wait,
};
use unlade_sim_clock::VirtualClock;
use unlade_sim_device::{Profile, SimDevice};

use crate::sync::simulated;

/// How often it is looked whether a list is done.
const LOOK: Duration = Duration::from_micros(50);

/// A simulated device for which time passes as it does for all. Left to itself it has time pass as
/// soon as anybody waits for it, so that nobody ever does.
#[derive(Debug)]
pub(super) struct Awaited(SimDevice);

impl Awaited {
    /// A GPU behind a bus of so many bytes a second, each way.
    pub(super) fn behind_a_bus(name: &str, speed: u64, clock: &VirtualClock) -> Arc<Self> {
        let profile = Profile {
            host_to_device: speed,
            device_to_host: speed,
            ..Profile::gpu()
        };
        let sim = SimDevice::builder(profile).name(name).clock(clock.clone());
        Arc::new(Awaited(sim.passing_for(DeviceKind::Gpu).build()))
    }
}

impl DeviceWrapper for Awaited {
    fn inner(&self) -> &dyn Device {
        &self.0
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        let queue = self.0.open_queue(depth)?;
        Ok(Box::new(AwaitedQueue(queue)))
    }
}

#[derive(Debug)]
struct AwaitedQueue(Box<dyn Queue>);

impl Queue for AwaitedQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        self.0.submit(list)
    }
    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        self.0.poll(done)
    }
    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        let mut left = timeout;
        loop {
            if self.0.wait(seq, Duration::ZERO)? == Wait::Reached {
                return Ok(Wait::Reached);
            }
            if left.is_zero() {
                return Ok(Wait::TimedOut);
            }
            simulated::sleep(LOOK.min(left));
            left = left.saturating_sub(LOOK);
        }
    }
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn quiesce(self: Box<Self>, timeout: Duration) -> Quiesced {
        self.0.quiesce(timeout)
    }
}
