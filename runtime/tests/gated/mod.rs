//! A device whose lists come back when a test says so.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use unlade_hal::{
    CommandList, Completion, Device, DeviceError, DeviceLost, DeviceWrapper, Outcome, Queue,
    Quiesced, Rejected, Seq, Wait,
};
use unlade_sim_device::{Profile, SimDevice};

/// A simulated device behind a gate, which is shut at first.
#[derive(Debug)]
pub(crate) struct Gated {
    sim: SimDevice,
    open: Arc<AtomicBool>,
}

impl Gated {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Gated {
            sim: SimDevice::builder(Profile::gpu()).build(),
            open: Arc::default(),
        })
    }

    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

impl DeviceWrapper for Gated {
    fn inner(&self) -> &dyn Device {
        &self.sim
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        let queue = self.sim.open_queue(depth)?;
        let open = Arc::clone(&self.open);
        Ok(Box::new(GatedQueue { queue, open }))
    }
}

#[derive(Debug)]
struct GatedQueue {
    queue: Box<dyn Queue>,
    open: Arc<AtomicBool>,
}

impl Queue for GatedQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        self.queue.submit(list)
    }
    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        match self.open.load(Ordering::SeqCst) {
            true => self.queue.poll(done),
            false => Ok(()),
        }
    }
    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        if !self.open.load(Ordering::SeqCst) {
            std::thread::sleep(timeout);
            return Ok(Wait::TimedOut);
        }
        self.queue.wait(seq, timeout)
    }
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn quiesce(self: Box<Self>, timeout: Duration) -> Quiesced {
        let mut quiesced = self.queue.quiesce(timeout);
        if !self.open.load(Ordering::SeqCst) {
            let lost = DeviceLost {
                device: "gated".to_owned(),
                reason: "the gate is shut".to_owned(),
            };
            for completion in &mut quiesced.completions {
                completion.outcome = Outcome::Aborted(lost.clone());
            }
        }
        quiesced
    }
}
