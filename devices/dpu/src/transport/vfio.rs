//! A PCI function that the kernel hands over through VFIO: in a group, which is put into a container,
//! or with feature `iommufd` as a device file of its own, which is bound to an address space.
//!
//! Registers are mapped and accessed directly. Of `vfio-ioctls`, what hides errors is not used:
//! configuration space is read and written through the device's file, and after a reset the card
//! itself is asked.

use std::fmt;
use std::fs;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

#[cfg(feature = "iommufd")]
use iommufd_ioctls::{IommuFd, IommufdError};
use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;
use unlade_hal::HostPages;
#[cfg(feature = "iommufd")]
use vfio_ioctls::VfioIommufd;
use vfio_ioctls::{VfioContainer, VfioDevice, VfioError, VfioOps};
use vmm_sys_util::eventfd::EventFd;

use super::announced::{Announced, Announcement};
use super::holders::Holders;
use super::{CardAccess, Transport, TransportError};
use crate::config_space;
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
    /// For others that want it. Where it cannot be made they are told less.
    announcement: Option<Announcement>,
}

impl VfioPci {
    /// Opens the function with a PCI address, as `0000:3b:00.0`. It has to be bound to `vfio-pci`,
    /// with its group's file in `/dev/vfio` open to this user.
    ///
    /// # Errors
    /// [`TransportError::InUse`] where somebody else has it, [`TransportError::Os`] where the kernel
    /// does not hand it over for another reason, [`TransportError::Lacks`] where it is no function that this driver can use.
    pub fn open(address: &str) -> Result<Self, TransportError> {
        let path = function(address)?;
        let container = VfioContainer::new(None).map_err(|error| os(OPENING, &error))?;
        Self::open_in(path, Arc::new(container))
    }

    /// As [`open`](Self::open), by the function's file in `/dev/vfio/devices` and `/dev/iommu`,
    /// both of which have to be open to this user.
    ///
    /// # Errors
    /// As [`open`](Self::open); a kernel without iommufd has neither file.
    #[cfg(feature = "iommufd")]
    pub fn open_iommufd(address: &str) -> Result<Self, TransportError> {
        let path = function(address)?;
        let failed = |error: &dyn fmt::Display| os("opening /dev/iommu", error);
        let iommufd = IommuFd::new().map_err(|error| {
            let cause = match error {
                IommufdError::OpenIommufd(cause) => cause.to_string(),
                other => other.to_string(),
            };
            failed(&format!(
                "{cause}; the kernel needs CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV, and without \
                 them `dpu:{address}` opens the card by its group"
            ))
        })?;
        let space = VfioIommufd::new(Arc::new(iommufd), None, None);
        let space = space.map_err(|error| failed(&error))?;
        Self::open_in(path, Arc::new(space))
    }

    /// Opens a function whose memory is mapped in `container`.
    fn open_in(path: PathBuf, container: Arc<dyn VfioOps>) -> Result<Self, TransportError> {
        let device = VfioDevice::new(&path, Arc::clone(&container), true);
        let device = device.map_err(|error| not_opened(&path, &error))?;
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
            announcement: Announcement::of(&address_of(&path)),
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
        address_of(&self.path)
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

    /// As the system says of the function's group: windows for interrupts, and memory that firmware
    /// has the function reach.
    fn reserved(&self) -> Result<Vec<Range<Iova>>, TransportError> {
        let path = self.path.join("iommu_group/reserved_regions");
        let failed = |error| os("reading which addresses are reserved", &error);
        let text = fs::read_to_string(path).map_err(failed)?;
        let regions = text.lines().map(reserved_region);
        regions.filter_map(Result::transpose).collect()
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
        // Seldom enough, and as often as anything is done here.
        self.announcement.iter().for_each(Announcement::forget);
        mapped.map_err(|error| cannot_map(&error))
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
        enabled.map_err(|error| os(CALL, &error))?;
        // Where the machine has fewer vectors left the kernel says how many, and enables none;
        // `vfio-ioctls` takes that for success.
        match config_space::msix_is_enabled(self)? {
            true => Ok(()),
            false => Err(TransportError::TooFewVectors(events.len())),
        }
    }

    /// Whether it has done anything, the card's status tells. The kernel would wait a minute for a
    /// card that is gone to come back.
    fn reset(&self) -> Result<(), TransportError> {
        if config_space::is_gone(self)? {
            return Err(TransportError::Closed);
        }
        self.device.reset();
        Ok(())
    }

    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        Err(TransportError::Unsupported("opening a function twice"))
    }

    /// Without several nodes the kernel says -1.
    fn numa_node(&self) -> Option<u32> {
        let node = fs::read_to_string(self.path.join("numa_node")).ok()?;
        node.trim().parse().ok()
    }

    /// The function is let go when this is dropped.
    fn close(&self) {}
}

impl Drop for VfioPci {
    fn drop(&mut self) {
        // Before the function can be had by another, who is announced in its place.
        drop(self.announcement.take());
        // SAFETY: It is dropped here and nowhere else, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.bar) };
        // Its own drop looks for its group there, and panics where it is not.
        if self.path.join("iommu_group").exists() {
            // SAFETY: As above.
            unsafe { ManuallyDrop::drop(&mut self.device) };
        } else {
            // The kernel waits for this before it lets the function go.
            // SAFETY: The device, which owns its file, is not dropped, so nobody else closes it.
            drop(unsafe { OwnedFd::from_raw_fd(self.device.as_raw_fd()) });
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

const OPENING: &str = "opening a function through VFIO";

/// Where it is not seen who has it, if anybody has.
const BINDING: &str = "binding a function to iommufd";

const LOOKING: &str = "looking for a PCI function";

/// The folder of a PCI function, by its address.
fn function(address: &str) -> Result<PathBuf, TransportError> {
    if !is_pci_address(address) {
        let why =
            format!("`{address}` is no PCI address, as 0000:3b:00.0 is; `lspci -D` lists them");
        return Err(os(LOOKING, &why));
    }
    // The system writes them so.
    let path = Path::new("/sys/bus/pci/devices").join(address.to_ascii_lowercase());
    match path.exists() {
        true => Ok(path),
        false => Err(os(
            LOOKING,
            &format!("there is none at {address}; `lspci -D` lists them"),
        )),
    }
}

/// The address of the function in a folder.
fn address_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Whether a text is the address of a PCI function, as `0000:3b:00.0` is: a domain, a bus, a device and a
/// function, in hexadecimal digits.
pub fn is_pci_address(text: &str) -> bool {
    let is_hex = |part: &str, digits: &[usize]| {
        digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let Some((place, function)) = text.split_once('.') else {
        return false;
    };
    let parts: Vec<&str> = place.split(':').collect();
    // Domains beyond 16 bits are those of virtual bridges.
    matches!(&parts[..], [domain, bus, device]
        if is_hex(domain, &[4, 5, 6, 7, 8]) && is_hex(bus, &[2]) && is_hex(device, &[2]))
        && is_hex(function, &[1])
}

/// Why a function was not opened. The kernel says that one is busy, but not whose it is.
fn not_opened(function: &Path, error: &VfioError) -> TransportError {
    let proc = Path::new("/proc");
    let announced = || Announced::at(&address_of(function), proc);
    let busy = is_busy(error);
    let holders = || match (busy, Holders::of(&files(function), proc)) {
        (Some(_), seen) => seen.or_announced(announced),
        // Anybody may announce himself, which is no proof where the kernel does not say that it is busy.
        (None, seen) => seen,
    };
    told(busy, holders, error)
}

/// As [`is_busy`] says: where somebody may have the function, that is so if it is seen who.
fn told(
    busy: Option<bool>,
    holders: impl FnOnce() -> Holders,
    error: &dyn fmt::Display,
) -> TransportError {
    let in_use = |holders: Holders| TransportError::InUse {
        holder: holders.to_string(),
    };
    match busy {
        Some(true) => in_use(holders()),
        Some(false) => os(OPENING, error),
        None => match holders() {
            seen if seen.are_seen() => in_use(seen),
            _ => os(BINDING, error),
        },
    }
}

/// Whether an error says that somebody else has the function; nothing where it says that among others.
fn is_busy(error: &VfioError) -> Option<bool> {
    let busy = Errno::BUSY.raw_os_error();
    match error {
        VfioError::OpenGroup(error, _) => Some(error.raw_os_error() == Some(busy)),
        // The function was opened by its own file.
        VfioError::GroupGetDeviceFD(number) => Some(number.errno() == busy),
        // It can be opened by several, and bound by one. To another the kernel says EINVAL, as it does
        // where the function or the address space is not one that can be bound.
        #[cfg(feature = "iommufd")]
        VfioError::VfioDeviceBindIommufd(number) => {
            let invalid = number.errno() == Errno::INVAL.raw_os_error();
            (!invalid).then_some(number.errno() == busy)
        }
        _ => Some(false),
    }
}

/// The files by which a function is opened: its group's, and its own.
fn files(function: &Path) -> Vec<PathBuf> {
    let group = fs::read_link(function.join("iommu_group")).ok();
    let group = group.and_then(|group| Some(Path::new("/dev/vfio").join(group.file_name()?)));
    let own = fs::read_dir(function.join("vfio-dev"))
        .into_iter()
        .flatten();
    let own = own.flatten();
    let own = own.map(|entry| Path::new("/dev/vfio/devices").join(entry.file_name()));
    group.into_iter().chain(own).collect()
}

/// Limits of the kernel are what is met here, so what they are is said.
fn cannot_map(error: &VfioError) -> TransportError {
    let number = match error {
        VfioError::IommuDmaMap(number) => Errno::from_raw_os_error(number.errno()),
        #[cfg(feature = "iommufd")]
        VfioError::IommufdIoctlError(IommufdError::IommuIoasMap(number)) => {
            Errno::from_raw_os_error(number.errno())
        }
        _ => Errno::INVAL,
    };
    let advice = match number {
        Errno::NOMEM => "; raise this user's limit of locked memory (ulimit -l)",
        Errno::NOSPC => {
            "; allocate fewer and larger pieces, or raise dma_entry_limit of vfio_iommu_type1"
        }
        _ => "",
    };
    TransportError::CannotMap(format!("{error}{advice}"))
}

/// A line of the system's account: first and last address, and why. Nothing where the kernel maps
/// memory all the same.
fn reserved_region(line: &str) -> Result<Option<Range<Iova>>, TransportError> {
    let address = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let region = || {
        let mut words = line.split_whitespace();
        let (first, last) = (address(words.next()?)?, address(words.next()?)?);
        let reserved = Iova(first)..Iova(last.saturating_add(1));
        Some((words.next()? != "direct-relaxable").then_some(reserved))
    };
    let wrong = || os("reading which addresses are reserved", &format!("`{line}`"));
    region().ok_or_else(wrong)
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
    done: Result<usize, Errno>,
) -> Result<(), TransportError> {
    match done {
        Ok(done) if done == wanted => Ok(()),
        Ok(done) => Err(os(call, &format!("{done} of {wanted} bytes"))),
        Err(error) => Err(os(call, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_not_looked_for() {
        for wrong in [
            "",
            ".",
            "..",
            "zzz",
            "3b:00.0",
            "0000:3b:00",
            "0000:3b:00.00",
            "/0000:3b:00.0",
        ] {
            let error = VfioPci::open(wrong).unwrap_err().to_string();
            assert!(error.contains("is no PCI address"), "{error}");
        }
        let missing = VfioPci::open("FFFF:FF:1F.7").unwrap_err().to_string();
        assert!(
            missing.contains("there is none at FFFF:FF:1F.7"),
            "{missing}"
        );
    }

    #[test]
    #[cfg(feature = "iommufd")]
    fn what_iommufd_lacks_is_named() {
        let missing = VfioPci::open_iommufd("ffff:ff:1f.7")
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("there is none at ffff:ff:1f.7"),
            "{missing}"
        );
        // Any function will do where the kernel has no iommufd: that is asked for first.
        let functions = fs::read_dir("/sys/bus/pci/devices").into_iter().flatten();
        let names = functions.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for name in names.filter(|_| !Path::new("/dev/iommu").exists()) {
            let error = VfioPci::open_iommufd(&name).unwrap_err().to_string();
            assert!(error.contains("opening /dev/iommu"), "{error}");
            assert!(error.contains(&format!("`dpu:{name}`")), "{error}");
        }
    }

    #[test]
    fn a_function_is_in_use_where_the_kernel_says_so_or_its_holder_is_seen() {
        let proc = tempfile::tempdir().unwrap();
        let file = PathBuf::from("/dev/vfio/devices/vfio0");
        let why = |busy| {
            let holders = || Holders::of(std::slice::from_ref(&file), proc.path());
            told(busy, holders, &"Invalid argument (os error 22)").to_string()
        };
        let refused = "binding a function to iommufd failed: Invalid argument (os error 22)";
        assert_eq!(why(None), refused);
        assert!(why(Some(true)).contains("in use by a process that cannot be seen"));
        let other = "opening a function through VFIO failed: Invalid argument (os error 22)";
        assert_eq!(why(Some(false)), other);
        super::super::holders::tests::process(proc.path(), 71, "engine", &[file.to_str().unwrap()]);
        assert_eq!(why(None), "it is in use by pid 71 engine");
        assert_eq!(why(Some(false)), other);
    }

    #[test]
    fn busy_is_what_the_kernel_calls_so() {
        let group = |number| {
            let error = std::io::Error::from_raw_os_error(number);
            is_busy(&VfioError::OpenGroup(error, "7".to_owned()))
        };
        let (busy, denied) = (Errno::BUSY.raw_os_error(), Errno::ACCESS.raw_os_error());
        assert_eq!((group(busy), group(denied)), (Some(true), Some(false)));
        assert_eq!(is_busy(&VfioError::GroupViable), Some(false));
    }

    #[test]
    #[cfg(feature = "iommufd")]
    fn a_function_that_cannot_be_bound_may_be_in_use() {
        let bound = |number: Errno| {
            let number = vmm_sys_util::errno::Error::new(number.raw_os_error());
            is_busy(&VfioError::VfioDeviceBindIommufd(number))
        };
        assert_eq!(bound(Errno::BUSY), Some(true));
        assert_eq!(bound(Errno::INVAL), None);
        assert_eq!(bound(Errno::NODEV), Some(false));
    }

    #[test]
    fn reserved_regions_are_read_as_the_system_writes_them() {
        let msi = "0x00000000fee00000 0x00000000feefffff msi";
        let range = Iova(0xFEE0_0000)..Iova(0xFEF0_0000);
        assert_eq!(reserved_region(msi), Ok(Some(range)));
        let relaxed = "0x0000000000000000 0x0000000000ffffff direct-relaxable";
        assert_eq!(reserved_region(relaxed), Ok(None));
        for wrong in ["", "0x0 0x1", "0 1 msi", "0x0 0xg msi"] {
            assert!(reserved_region(wrong).is_err(), "{wrong}");
        }
    }
}
