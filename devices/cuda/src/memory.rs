//! Memory of one GPU: allocated from the driver's pool, given back through a list.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::context::{Entered, Gpu, Stream};
use crate::driver::{Code, Fault};

/// Most bytes that the driver's pool keeps when they are free, so that they are had again without
/// asking the operating system: a sixteenth of the GPU's memory, and no more than this.
const KEPT_FREE: u64 = 1 << 30;

/// Allocations begin at a multiple of this many bytes, as the driver guarantees.
pub(crate) const ALIGNMENT: u64 = 256;

/// The memory of one GPU.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Where allocations from the pool are made and given back; `None` where the driver has no
    /// pools.
    pool: Option<Stream>,
    /// Length of each allocation, by its address.
    allocated: Mutex<HashMap<u64, u64>>,
}

impl Memory {
    pub(crate) fn new(gpu: &Gpu, entered: &Entered<'_>, has_pools: bool) -> Result<Self, Fault> {
        let pool = match has_pools {
            true => {
                gpu.keep_free((gpu.memory()? / 16).min(KEPT_FREE))?;
                Some(entered.stream()?)
            }
            false => None,
        };
        Ok(Memory {
            pool,
            allocated: Mutex::default(),
        })
    }

    /// Memory, or `None` where there is not enough.
    pub(crate) fn allocate(&self, gpu: &Entered<'_>, len: u64) -> Result<Option<u64>, Fault> {
        let allocated = match self.pool {
            Some(stream) => gpu.allocate_on(len, stream),
            None => gpu.allocate(len),
        };
        let address = match allocated {
            Err(fault) if fault.code == Code::OUT_OF_MEMORY => return Ok(None),
            other => other?,
        };
        self.lock().insert(address, len);
        if let Some(stream) = self.pool {
            // Waiting makes the memory usable on every stream; nothing else is on this one. Where
            // it fails, the memory stays with the device, which is lost.
            gpu.synchronize(stream)?;
        }
        Ok(Some(address))
    }

    /// Takes back what [`allocate`](Self::allocate) gave, which nobody uses any more. What cannot
    /// be given back stays counted.
    pub(crate) fn free(&self, gpu: &Entered<'_>, address: u64) -> Result<(), Fault> {
        // Before it is free, so that who is given the address next finds no length of it.
        let known = self.lock().remove(&address);
        let len = known.unwrap_or_else(|| panic!("{address:#x} is no allocation of this GPU"));
        let freed = match self.pool {
            // SAFETY: It was allocated here, once, and its last owner has put it on the list.
            Some(stream) => unsafe { gpu.free_on(address, stream) },
            // SAFETY: As above.
            None => unsafe { gpu.free(address) },
        };
        if freed.is_err() {
            self.lock().insert(address, len);
        }
        freed
    }

    /// All of it went with the context that it was allocated in.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// Bytes allocated.
    pub(crate) fn used(&self) -> u64 {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.allocated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
