//! A PCI function that the kernel hands over through VFIO: a group of its own container.
//!
//! Registers are mapped and accessed directly. Of `vfio-ioctls`, what hides errors is not used:
//! configuration space is read and written through the device's file, and after a reset the card
//! itself is asked.

use std::fmt;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};
use unlade_hal::HostPages;
use vfio_ioctls::{VfioContainer, VfioDevice, VfioOps};
use vmm_sys_util::eventfd::EventFd;

use super::{CardAccess, Transport, TransportError};
use crate::iova::Iova;
use crate::registers::BarOffset;

/// Regions and interrupts of PCI devices, as VFIO numbers them.
const BAR0: u32 = 0;
const CONFIG: u32 = 7;
const MSIX: u32 = 2;

/// BAR0 has at least the registers and a page of doorbells.
const LEAST_BAR: u64 = 8 << 10;

/// A PCI function, opened through the kernel's VFIO.
///
/// Mappings can be both read and written by the card, whatever is asked for: the kernel's interface
/// allows less, `vfio-ioctls` does not.
pub struct VfioPci {
    /// Mapped registers. Dropped by hand, before the device: a mapping keeps its group busy.
    bar: ManuallyDrop<MmapRaw>,
    /// Dropped by hand, as its own drop panics where the function has left the machine.
    device: ManuallyDrop<VfioDevice>,
    container: Arc<dyn VfioOps>,
    path: PathBuf,
    config: u64,
    vectors: u32,
}

impl VfioPci {
    /// Opens the function with a PCI address, as `0000:3b:00.0`. It has to be bound to `vfio-pci`,
    /// with its group's file in `/dev/vfio` open to this user.
    ///
    /// # Errors
    /// [`TransportError::Os`] where the kernel does not hand it over,
    /// [`TransportError::Lacks`] where it is no function that this driver can use.
    pub fn open(address: &str) -> Result<Self, TransportError> {
        let path = Path::new("/sys/bus/pci/devices").join(address);
        let is_address = address
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
        if !is_address || !path.exists() {
            return Err(TransportError::Os {
                call: "looking for a PCI function",
                message: format!("there is none at {address}; `lspci -D` lists them"),
            });
        }
        let failed = |error| os("opening a function through VFIO", &error);
        let container: Arc<dyn VfioOps> = Arc::new(VfioContainer::new(None).map_err(failed)?);
        let device = VfioDevice::new(&path, Arc::clone(&container), true).map_err(failed)?;
        let bar_len = device.get_region_size(BAR0);
        let vectors = device.get_irq_info(MSIX).map_or(0, |irq| irq.count);
        if bar_len < LEAST_BAR {
            return Err(TransportError::Lacks(format!(
                "has a BAR0 of {bar_len} bytes; a card has {LEAST_BAR} or more"
            )));
        }
        let mapped = MmapOptions::new()
            .offset(device.get_region_offset(BAR0))
            .len(usize::try_from(bar_len).expect("a BAR fits into the address space"))
            .map_raw(&device);
        let bar = mapped.map_err(|error| os("mapping BAR0", &error))?;
        Ok(VfioPci {
            bar: ManuallyDrop::new(bar),
            config: device.get_region_offset(CONFIG),
            device: ManuallyDrop::new(device),
            container,
            path,
            vectors,
        })
    }

    /// The address of a register, which lies inside the BAR and where its width says.
    fn register<T>(&self, at: BarOffset) -> *mut T {
        let width = size_of::<T>();
        let offset = usize::try_from(at.0).unwrap_or(usize::MAX);
        let inside = offset
            .checked_add(width)
            .is_some_and(|end| end <= self.bar.len());
        assert!(
            inside && offset.is_multiple_of(width),
            "{at:?} is not inside a BAR of {} bytes",
            self.bar.len()
        );
        // SAFETY: The offset was just checked to be inside the mapping.
        unsafe { self.bar.as_mut_ptr().add(offset) }.cast()
    }

    fn file(&self) -> BorrowedFd<'_> {
        // SAFETY: The device keeps its file open as long as it, which the result borrows, lives.
        unsafe { BorrowedFd::borrow_raw(self.device.as_raw_fd()) }
    }
}

impl Transport for VfioPci {
    fn address(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn bar_len(&self) -> u64 {
        self.bar.len() as u64
    }

    fn read32(&self, at: BarOffset) -> Result<u32, TransportError> {
        let register = self.register::<u32>(at);
        // SAFETY: `register` has checked the address, which is mapped as long as `self` lives. It is
        // memory of a device, so it is read as it stands, once.
        Ok(u32::from_le(unsafe { register.read_volatile() }))
    }

    fn read64(&self, at: BarOffset) -> Result<u64, TransportError> {
        let register = self.register::<u64>(at);
        // SAFETY: As for 32 bits.
        Ok(u64::from_le(unsafe { register.read_volatile() }))
    }

    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        let register = self.register::<u32>(at);
        fence(Ordering::SeqCst);
        // SAFETY: As for reading; registers are nobody's memory, so a write races with nothing.
        unsafe { register.write_volatile(value.to_le()) };
        Ok(())
    }

    fn write64(&self, at: BarOffset, value: u64) -> Result<(), TransportError> {
        let register = self.register::<u64>(at);
        fence(Ordering::SeqCst);
        // SAFETY: As for 32 bits.
        unsafe { register.write_volatile(value.to_le()) };
        Ok(())
    }

    fn read_config(&self, at: u16, bytes: &mut [u8]) -> Result<(), TransportError> {
        const CALL: &str = "reading configuration space";
        let wanted = bytes.len();
        let read = rustix::io::pread(self.file(), bytes, self.config + u64::from(at));
        whole(CALL, wanted, read)
    }

    fn write_config(&self, at: u16, bytes: &[u8]) -> Result<(), TransportError> {
        const CALL: &str = "writing configuration space";
        let written = rustix::io::pwrite(self.file(), bytes, self.config + u64::from(at));
        whole(CALL, bytes.len(), written)
    }

    fn map(
        &self,
        iova: Iova,
        pages: &HostPages,
        _access: CardAccess,
    ) -> Result<(), TransportError> {
        let len = usize::try_from(pages.len()).expect("mapped pages fit into the address space");
        let start = pages.as_ptr().as_ptr();
        // SAFETY: The pages are mapped, and the kernel pins them, so that the card never reaches
        // memory that has become someone else's. Who reads or writes them, and when, leases and
        // `DmaMemory` see to.
        let mapped = unsafe { self.container.vfio_dma_map(iova.0, len, start) };
        mapped.map_err(|error| os("mapping memory for the card", &error))
    }

    fn unmap(&self, iova: Iova, len: u64) -> Result<(), TransportError> {
        let len = usize::try_from(len).expect("mapped pages fit into the address space");
        let unmapped = self.container.vfio_dma_unmap(iova.0, len);
        unmapped.map_err(|error| os("unmapping memory", &error))
    }

    fn vectors(&self) -> u32 {
        self.vectors
    }

    fn set_interrupts(&self, events: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        const CALL: &str = "enabling interrupts";
        let cloned = events.iter().map(|event| {
            let file = event.try_clone_to_owned()?.into_raw_fd();
            // SAFETY: The descriptor is a clone that nobody else has, of an event.
            Ok(unsafe { EventFd::from_raw_fd(file) })
        });
        let cloned: Result<Vec<EventFd>, std::io::Error> = cloned.collect();
        let cloned = cloned.map_err(|error| os(CALL, &error))?;
        // Behind a reset they are set already, and the kernel wants them set anew.
        let _none_were_set = self.device.disable_irq(MSIX);
        let enabled = self.device.enable_irq(MSIX, cloned.iter().collect());
        enabled.map_err(|error| os(CALL, &error))
    }

    /// Whether it has done anything, the card's status tells.
    fn reset(&self) -> Result<(), TransportError> {
        self.device.reset();
        Ok(())
    }

    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        Err(TransportError::Unsupported("opening a function twice"))
    }

    /// The function is let go when this is dropped.
    fn close(&self) {}
}

impl Drop for VfioPci {
    fn drop(&mut self) {
        // SAFETY: It is dropped here and nowhere else, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.bar) };
        // Its own drop looks for its group there, and panics where it is not.
        if self.path.join("iommu_group").exists() {
            // SAFETY: As above.
            unsafe { ManuallyDrop::drop(&mut self.device) };
        }
    }
}

impl fmt::Debug for VfioPci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VfioPci")
            .field("path", &self.path)
            .field("vectors", &self.vectors)
            .finish_non_exhaustive()
    }
}

fn os(call: &'static str, error: &dyn fmt::Display) -> TransportError {
    TransportError::Os {
        call,
        message: error.to_string(),
    }
}

fn whole(
    call: &'static str,
    wanted: usize,
    done: Result<usize, rustix::io::Errno>,
) -> Result<(), TransportError> {
    match done {
        Ok(done) if done == wanted => Ok(()),
        Ok(done) => Err(os(call, &format!("{done} of {wanted} bytes"))),
        Err(error) => Err(os(call, &error)),
    }
}
