//! Memory of one device, kept for the next batch.

use std::sync::{Arc, PoisonError};

use crate::sync::{Mutex, MutexGuard};
use unlade_hal::{AllocError, Device, Home, Lease, MemoryKind};

/// Leases kept; beyond that, what comes back goes to the device.
const KEPT: usize = 64;

/// Smallest lease, so that few sizes serve all.
const LEAST: u64 = 64 << 10;

/// Leases of a device's own memory, one slab each, reused by size.
#[derive(Debug)]
pub(crate) struct DeviceHeap {
    device: Arc<dyn Device>,
    returns: Arc<Returns>,
}

/// Where leases come back to.
#[derive(Debug, Default)]
struct Returns {
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    leases: Vec<Lease>,
    /// The heap is gone: a lease that is never given back, as a lost device may write it, must not
    /// keep others with it.
    ended: bool,
}

impl DeviceHeap {
    pub(crate) fn new(device: Arc<dyn Device>) -> Self {
        DeviceHeap {
            device,
            returns: Arc::default(),
        }
    }

    /// Bytes that a lease of at least so many takes.
    pub(crate) fn size_of(len: u64) -> u64 {
        len.max(LEAST).next_power_of_two()
    }

    /// At least so many bytes. What is kept for later is let go before the device is out of memory.
    pub(crate) fn lease(&self, len: u64) -> Result<Lease, AllocError> {
        let len = DeviceHeap::size_of(len);
        let mut free = self.returns.lock();
        if let Some(position) = free
            .leases
            .iter()
            .position(|lease| lease.len() >= len && lease.len() / 2 <= len)
        {
            let lease = free.leases.swap_remove(position);
            drop(free);
            return Ok(self.at_home(lease));
        }
        drop(free);
        let slab = match self.device.allocate(MemoryKind::DeviceLocal, len) {
            Err(AllocError::OutOfMemory { .. }) => {
                self.clear();
                self.device.allocate(MemoryKind::DeviceLocal, len)?
            }
            other => other?,
        };
        let lease = slab.lease_whole().expect("the slab is new");
        Ok(self.at_home(lease))
    }

    /// Lets everything go that is not in use: before more is asked for, or after a reset.
    pub(crate) fn clear(&self) {
        let free = std::mem::take(&mut self.returns.lock().leases);
        drop(free);
    }

    fn at_home(&self, lease: Lease) -> Lease {
        lease.with_home(self.returns.clone())
    }
}

impl Drop for DeviceHeap {
    fn drop(&mut self) {
        self.returns.lock().ended = true;
        self.clear();
    }
}

impl Returns {
    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home for Returns {
    fn take_back(self: Arc<Self>, lease: Lease) {
        let mut free = self.lock();
        if free.leases.len() < KEPT && !free.ended {
            free.leases.push(lease);
        } else {
            drop(free);
            drop(lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use unlade_sim_device::{Profile, SimDevice};

    use super::*;

    #[test]
    fn what_is_never_given_back_keeps_no_other_lease() {
        let profile = Profile {
            memory: 4 * LEAST,
            ..Profile::gpu()
        };
        let device: Arc<dyn Device> = Arc::new(SimDevice::builder(profile).build());
        let heap = DeviceHeap::new(Arc::clone(&device));
        let [abandoned, kept, late] = [(); 3].map(|()| heap.lease(1).unwrap());
        std::mem::forget(abandoned);
        drop(kept);
        drop(heap);
        drop(late);
        // All but one of four.
        device.allocate(MemoryKind::DeviceLocal, 3 * LEAST).unwrap();
    }
}
