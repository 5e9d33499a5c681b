//! Memory of one device, kept for the next batch.

use std::sync::{Arc, PoisonError};

use crate::sync::{Mutex, MutexGuard, lock};
use unlade_hal::{AllocError, Device, Home, Lease, MemoryKind};

/// Leases kept; beyond that, what comes back goes to the device.
const KEPT: usize = 64;

/// Smallest lease, so that few sizes serve all.
const LEAST: u64 = 64 << 10;

/// Leases of a device's own memory, one slab each, reused by size.
#[derive(Debug)]
pub(crate) struct DeviceHeap {
    device: Arc<dyn Device>,
    /// Of the device's present life.
    returns: Mutex<Arc<Returns>>,
}

/// Where leases come back to.
#[derive(Debug, Default)]
struct Returns {
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    leases: Vec<Lease>,
    /// The heap is gone, or the device's life: a lease that is never given back, as a lost device may
    /// write it, must not keep others with it, and one that comes late is of no use any more.
    ended: bool,
}

impl DeviceHeap {
    pub(crate) fn new(device: Arc<dyn Device>) -> Self {
        DeviceHeap {
            device,
            returns: Mutex::default(),
        }
    }

    /// Bytes that a lease of at least so many takes.
    pub(crate) fn size_of(len: u64) -> u64 {
        len.max(LEAST).next_power_of_two()
    }

    /// At least so many bytes. What is kept for later is let go before the device is out of memory.
    pub(crate) fn lease(&self, len: u64) -> Result<Lease, AllocError> {
        let len = DeviceHeap::size_of(len);
        let returns = Arc::clone(&lock(&self.returns));
        let mut free = returns.lock();
        if let Some(position) = free
            .leases
            .iter()
            .position(|lease| lease.len() >= len && lease.len() / 2 <= len)
        {
            let lease = free.leases.swap_remove(position);
            drop(free);
            return Ok(lease.with_home(returns));
        }
        drop(free);
        let slab = match self.device.allocate(MemoryKind::DeviceLocal, len) {
            Err(AllocError::OutOfMemory { .. }) => {
                returns.clear();
                self.device.allocate(MemoryKind::DeviceLocal, len)?
            }
            other => other?,
        };
        let lease = slab.lease_whole().expect("the slab is new");
        Ok(lease.with_home(returns))
    }

    /// Begins anew: the device was lost, and with it what is kept and what is in use.
    pub(crate) fn forget(&self) {
        let old = std::mem::take(&mut *lock(&self.returns));
        old.end();
    }
}

impl Drop for DeviceHeap {
    fn drop(&mut self) {
        lock(&self.returns).end();
    }
}

impl Returns {
    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everything go that is not in use.
    fn clear(&self) {
        let free = std::mem::take(&mut self.lock().leases);
        drop(free);
    }

    fn end(&self) {
        self.lock().ended = true;
        self.clear();
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

    /// A caller may hold what lies on a device for longer than the device lives.
    #[test]
    fn what_is_of_an_earlier_life_is_not_handed_out_again() {
        let device: Arc<dyn Device> = Arc::new(SimDevice::builder(Profile::gpu()).build());
        let heap = DeviceHeap::new(device);
        let first = heap.lease(1).unwrap();
        let at = |lease: &Lease| lease.address(heap.device.info().domain);
        let place = at(&first);
        drop(first);
        let held = heap.lease(1).unwrap();
        assert_eq!(at(&held), place, "what came back is handed out again");
        heap.forget();
        drop(held);
        assert_eq!(lock(&heap.returns).lock().leases.len(), 0);
    }

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
