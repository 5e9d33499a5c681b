//! Memory of a device that somebody else has allocated there.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::id::DeviceAddr;

/// Memory of a device that somebody else of this process has allocated there, to be read by the device:
/// see [`Device::adopt`](crate::Device::adopt).
///
/// ```
/// use std::sync::Arc;
/// use unlade_hal::{DeviceAddr, ForeignMemory};
///
/// // SAFETY: It is never handed to a device.
/// let memory = unsafe { ForeignMemory::new(DeviceAddr(4096), 100, None, Arc::new(())) };
/// assert_eq!(memory.len(), 100);
/// ```
#[derive(Clone)]
pub struct ForeignMemory {
    address: DeviceAddr,
    len: u64,
    ready: Option<ForeignEvent>,
    keep: Arc<dyn Any + Send + Sync>,
}

/// An event of a device's driver, by its handle: of CUDA a `CUevent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignEvent(pub usize);

impl ForeignMemory {
    /// `len` bytes from an address of a device on. They are written once `ready` is reached, if it is
    /// given, else now; `keep` is dropped when nothing reads them any more.
    ///
    /// # Safety
    /// Until `keep` is dropped the memory stays allocated, and after `ready` nobody writes it; `ready` is
    /// an event of the driver of the device that this is handed to, and is not destroyed meanwhile.
    pub unsafe fn new(
        address: DeviceAddr,
        len: u64,
        ready: Option<ForeignEvent>,
        keep: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        ForeignMemory {
            address,
            len,
            ready,
            keep,
        }
    }

    /// Where it is, in the device's address space.
    pub fn address(&self) -> DeviceAddr {
        self.address
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The event after which it is written.
    pub fn ready(&self) -> Option<ForeignEvent> {
        self.ready
    }

    /// What keeps it allocated.
    pub fn into_keep(self) -> Arc<dyn Any + Send + Sync> {
        self.keep
    }
}

impl fmt::Debug for ForeignMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignMemory")
            .field("address", &self.address)
            .field("len", &self.len)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}
