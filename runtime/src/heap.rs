//! Memory of one device, kept for the next batch.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::errand::{Errand, Waited};
use crate::sync::{Mutex, MutexGuard, lock};
use unlade_hal::{AllocError, Device, DeviceLost, Home, Lease, MemoryKind, Slab};

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
    /// What the driver was asked for and nobody waits for any more.
    left: Mutex<Option<Arc<Asked>>>,
}

/// Memory that a driver was asked for.
type Asked = Errand<Result<Slab, AllocError>>;

/// Why there is no lease.
#[derive(Debug)]
pub(crate) enum NoLease {
    /// The device says so.
    Refused(AllocError),
    /// Its driver takes longer than it may.
    Late(DeviceLost),
    /// Whoever wants it does not any more.
    GivenUp,
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
            left: Mutex::default(),
        }
    }

    /// Bytes that a lease of at least so many takes.
    pub(crate) fn size_of(len: u64) -> u64 {
        len.max(LEAST).next_power_of_two()
    }

    /// At least so many bytes. What is kept for later is let go before the device is out of memory. Its
    /// driver may take so long for it, and is waited for without a lock.
    pub(crate) fn lease(
        &self,
        len: u64,
        within: Duration,
        given_up: impl Fn() -> bool,
    ) -> Result<Lease, NoLease> {
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
        let slab = match self.allocate(len, within, &given_up) {
            Err(NoLease::Refused(AllocError::OutOfMemory { .. })) => {
                returns.clear();
                self.allocate(len, within, &given_up)?
            }
            other => other?,
        };
        let lease = slab.lease_whole().expect("the slab is new");
        Ok(lease.with_home(returns))
    }

    /// Memory from the driver, which does that on a thread of its own. Where it has not come back from an
    /// earlier request, it is asked for nothing more.
    fn allocate(
        &self,
        len: u64,
        within: Duration,
        given_up: &impl Fn() -> bool,
    ) -> Result<Slab, NoLease> {
        let earlier = lock(&self.left).clone();
        if let Some(earlier) = earlier {
            self.wait(&earlier, within, given_up)?;
            lock(&self.left).take_if(|left| Arc::ptr_eq(left, &earlier));
        }
        let device = Arc::clone(&self.device);
        let asked = Errand::begin(move || device.allocate(MemoryKind::DeviceLocal, len));
        let asked = Arc::new(asked);
        if let Err(none) = self.wait(&asked, within, given_up) {
            lock(&self.left).get_or_insert(asked);
            return Err(none);
        }
        let silent = || AllocError::Os {
            call: "asking a driver for memory",
            message: "it ended without a word".to_owned(),
        };
        let given = asked.take().unwrap_or_else(|| Err(silent()));
        given.map_err(NoLease::Refused)
    }

    /// Waits until the driver is back.
    fn wait(
        &self,
        asked: &Asked,
        within: Duration,
        given_up: &impl Fn() -> bool,
    ) -> Result<(), NoLease> {
        match asked.wait(within, given_up) {
            Waited::Ended => Ok(()),
            Waited::GivenUp => Err(NoLease::GivenUp),
            Waited::Late => Err(NoLease::Late(DeviceLost {
                device: self.device.info().name.clone(),
                reason: format!("its driver gave no memory within {within:?}"),
            })),
        }
    }

    /// Begins anew: the device was lost, and with it what is kept and what is in use.
    pub(crate) fn forget(&self) {
        let old = std::mem::take(&mut *lock(&self.returns));
        old.end();
        // What it gives yet is none of the device's that it becomes. Without the lock: it may be there.
        let left = lock(&self.left).take();
        drop(left);
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use unlade_hal::DeviceWrapper;
    use unlade_sim_device::{Profile, SimDevice};

    use super::*;
    use crate::errand::LONG;

    /// A caller may hold what lies on a device for longer than the device lives.
    #[test]
    fn what_is_of_an_earlier_life_is_not_handed_out_again() {
        let device: Arc<dyn Device> = Arc::new(SimDevice::builder(Profile::gpu()).build());
        let heap = DeviceHeap::new(device);
        let first = heap.lease(1, LONG, || false).unwrap();
        let at = |lease: &Lease| lease.address(heap.device.info().domain);
        let place = at(&first);
        drop(first);
        let held = heap.lease(1, LONG, || false).unwrap();
        assert_eq!(at(&held), place, "what came back is handed out again");
        heap.forget();
        drop(held);
        assert_eq!(lock(&heap.returns).lock().leases.len(), 0);
    }

    #[test]
    fn a_driver_that_gives_no_memory_is_asked_once_and_given_up() {
        let device = Arc::new(Held {
            sim: SimDevice::builder(Profile::gpu()).build(),
            gate: Mutex::default(),
            asked: AtomicU32::new(0),
        });
        let heap = DeviceHeap::new(Arc::clone(&device) as Arc<dyn Device>);
        let held = lock(&device.gate);
        assert!(matches!(
            heap.lease(1, LONG, || true),
            Err(NoLease::GivenUp)
        ));
        let short = Duration::from_millis(5);
        for _ in 0..3 {
            let Err(NoLease::Late(lost)) = heap.lease(1, short, || false) else {
                panic!("it is late");
            };
            assert_eq!(lost.reason, "its driver gave no memory within 5ms");
        }
        drop(held);
        heap.lease(1, LONG, || false).unwrap();
        assert_eq!(device.asked.load(Ordering::SeqCst), 2);
    }

    /// A device that gives memory only while nobody holds its gate.
    #[derive(Debug)]
    struct Held {
        sim: SimDevice,
        gate: Mutex<()>,
        asked: AtomicU32,
    }

    impl DeviceWrapper for Held {
        fn inner(&self) -> &dyn Device {
            &self.sim
        }

        fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            drop(lock(&self.gate));
            self.sim.allocate(kind, len)
        }
    }

    #[test]
    fn what_is_never_given_back_keeps_no_other_lease() {
        let profile = Profile {
            memory: 4 * LEAST,
            ..Profile::gpu()
        };
        let device: Arc<dyn Device> = Arc::new(SimDevice::builder(profile).build());
        let heap = DeviceHeap::new(Arc::clone(&device));
        let [abandoned, kept, late] = [(); 3].map(|()| heap.lease(1, LONG, || false).unwrap());
        std::mem::forget(abandoned);
        drop(kept);
        drop(heap);
        drop(late);
        // All but one of four.
        device.allocate(MemoryKind::DeviceLocal, 3 * LEAST).unwrap();
    }
}
