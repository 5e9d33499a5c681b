//! A simulated device that placement takes for a GPU.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use unlade_hal::{
    ClockKind, CommandList, Completion, Device, DeviceError, DeviceInfo, DeviceKind, DeviceLost,
    DeviceWrapper, Queue, Quiesced, Rejected, Seq, Wait,
};
use unlade_sim_device::SimDevice;

/// A simulated device that says it is a GPU, and whose lists take so long by the wall clock.
#[derive(Debug)]
pub(crate) struct Disguised {
    sim: SimDevice,
    info: DeviceInfo,
    takes: Duration,
}

impl Disguised {
    pub(crate) fn new(sim: SimDevice, takes: Duration) -> Self {
        let info = DeviceInfo {
            kind: DeviceKind::Gpu,
            clock: ClockKind::Wall,
            ..sim.info().clone()
        };
        Disguised { sim, info, takes }
    }
}

impl DeviceWrapper for Disguised {
    fn inner(&self) -> &dyn Device {
        &self.sim
    }

    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        Ok(Box::new(SlowQueue {
            queue: self.sim.open_queue(depth)?,
            takes: self.takes,
            free_at: Instant::now(),
            done: Vec::new(),
        }))
    }
}

/// Lists come back in order, each so long after the one before it.
#[derive(Debug)]
struct SlowQueue {
    queue: Box<dyn Queue>,
    takes: Duration,
    free_at: Instant,
    /// When the lists on the device are done, in order.
    done: Vec<(Seq, Instant)>,
}

impl SlowQueue {
    fn next_at(&self) -> Option<Instant> {
        self.done.first().map(|(_, at)| *at)
    }
}

impl Queue for SlowQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        let seq = self.queue.submit(list)?;
        self.free_at = self.free_at.max(Instant::now()) + self.takes;
        self.done.push((seq, self.free_at));
        Ok(seq)
    }
    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        if self.next_at().is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        self.queue.poll(done)?;
        for completion in done.iter_mut() {
            self.done.retain(|(seq, _)| *seq != completion.seq);
            completion.timing.clock = Some(ClockKind::Wall);
            completion.timing.compute = self.takes;
        }
        Ok(())
    }
    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        if let Some(at) = self.next_at() {
            let left = at.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(timeout));
            if left > timeout {
                return Ok(Wait::TimedOut);
            }
        }
        self.queue.wait(seq, timeout)
    }
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn quiesce(self: Box<Self>, timeout: Duration) -> Quiesced {
        self.queue.quiesce(timeout)
    }
}
