//! A slab: memory that is provided, registered and given back as a whole.

use std::alloc::Layout;
use std::any::Any;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::host_pages::{HostPages, PageSize};
use super::lease::Lease;
use crate::error::AllocError;
use crate::id::{DeviceAddr, DomainId};

/// What memory is for. The direction matters: reading back through memory made for upload can be
/// seventy times slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// On the device; the host cannot touch it.
    DeviceLocal,
    /// Of the host; it writes, the device reads.
    Upload,
    /// Of the host; the device writes, it reads. Serves both ways.
    Readback,
}

/// Memory that is provided, registered and given back as a whole. Cheap to clone.
///
/// A slab knows where it lies on each device that it was registered with. Bytes are only reached
/// through a [`Lease`]: of a slab there is one, [`lease_whole`](Slab::lease_whole), and all others
/// are split off it, so that no two ever overlap. The memory lives until the last clone and the
/// last lease are gone.
///
/// ```
/// use unlade_hal::{MemoryKind, PageSize, Slab};
///
/// let slab = Slab::host(MemoryKind::Readback, 10_000, PageSize::Base)?;
/// assert!(slab.len() >= 10_000);
/// let mut front = slab.lease_whole().expect("nobody has asked before");
/// let back = front.split_off(4096);
/// assert!(slab.lease_whole().is_none());
/// front.bytes_mut().unwrap()[0] = 1;
/// assert_eq!(back.bytes().unwrap()[0], 0);
/// # Ok::<(), unlade_hal::AllocError>(())
/// ```
#[derive(Clone)]
pub struct Slab {
    inner: Arc<Inner>,
}

/// A slab that is not kept by this: who must know of it, if it is still there.
#[derive(Clone, Debug)]
pub struct WeakSlab {
    inner: Weak<Inner>,
}

impl WeakSlab {
    /// The slab, unless it is gone.
    pub fn upgrade(&self) -> Option<Slab> {
        self.inner.upgrade().map(|inner| Slab { inner })
    }
}

struct Inner {
    // Declared first, so dropped first: a registration's keep-alive must be able to outlive, by
    // its own clone of the pages, what it registered.
    registrations: RwLock<Vec<Registration>>,
    kind: MemoryKind,
    storage: Storage,
    leased: AtomicBool,
}

struct Registration {
    domain: DomainId,
    address: DeviceAddr,
    _keep: Option<Arc<dyn Any + Send + Sync>>,
}

enum Storage {
    /// Pages that a device can be told of.
    Pages(Arc<HostPages>),
    /// Ordinary heap memory, for the host alone.
    Heap(Heap),
    /// Memory that only a device can reach.
    Device { len: u64 },
}

impl Slab {
    /// Host pages that devices can be made to reach, zero-filled; `len` is rounded up to whole
    /// pages. Huge pages are used if asked for and there are any; [`page_size`](Self::page_size)
    /// tells.
    ///
    /// # Errors
    /// As [`HostPages::map`].
    pub fn host(kind: MemoryKind, len: u64, page_size: PageSize) -> Result<Self, AllocError> {
        Ok(Slab::new(
            kind,
            Storage::Pages(Arc::new(HostPages::map(len, page_size)?)),
        ))
    }

    /// Ordinary heap memory, zero-filled, aligned to 64 bytes. No device can be told of it, and
    /// [`pageable`](Self::pageable) says so: it is what remains when pinned memory has run out.
    ///
    /// # Errors
    /// [`AllocError::OutOfMemory`] where the allocator has no room or `len` is 0.
    pub fn heap(len: u64) -> Result<Self, AllocError> {
        Ok(Slab::new(
            MemoryKind::Readback,
            Storage::Heap(Heap::new(len)?),
        ))
    }

    /// Memory that only a device can reach. The device names it, and `keep` is dropped with the
    /// slab; like every drop, that of `keep` neither blocks nor calls a driver.
    pub fn device(
        domain: DomainId,
        address: DeviceAddr,
        len: u64,
        keep: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        let slab = Slab::new(MemoryKind::DeviceLocal, Storage::Device { len });
        slab.set_address(domain, address, Some(keep));
        slab
    }

    fn new(kind: MemoryKind, storage: Storage) -> Self {
        let inner = Inner {
            registrations: RwLock::new(Vec::new()),
            kind,
            storage,
            leased: AtomicBool::new(false),
        };
        Slab {
            inner: Arc::new(inner),
        }
    }

    /// What the memory is for.
    pub fn kind(&self) -> MemoryKind {
        self.inner.kind
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match &self.inner.storage {
            Storage::Pages(pages) => pages.len(),
            Storage::Heap(heap) => heap.len as u64,
            Storage::Device { len } => *len,
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is ordinary heap memory that no device can be told of.
    pub fn pageable(&self) -> bool {
        matches!(self.inner.storage, Storage::Heap(_))
    }

    /// The pages, for a driver that registers them. It keeps a clone until it has taken its
    /// registration back, so that the pages cannot go first.
    pub fn pages(&self) -> Option<&Arc<HostPages>> {
        match &self.inner.storage {
            Storage::Pages(pages) => Some(pages),
            Storage::Heap(_) | Storage::Device { .. } => None,
        }
    }

    /// The size that the pages really have, where this is made of pages.
    pub fn page_size(&self) -> Option<PageSize> {
        self.pages().map(|pages| pages.page_size())
    }

    /// The memory file behind the pages.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.pages().and_then(|pages| pages.file())
    }

    /// Where the slab lies on the devices of a domain, if it is registered there.
    pub fn address(&self, domain: DomainId) -> Option<DeviceAddr> {
        let registrations = self
            .inner
            .registrations
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        registrations
            .iter()
            .find(|each| each.domain == domain)
            .map(|each| each.address)
    }

    /// Notes where the slab lies on the devices of a domain, in place of what was noted before.
    /// `keep` is dropped when the slab is or when it is replaced.
    pub fn set_address(
        &self,
        domain: DomainId,
        address: DeviceAddr,
        keep: Option<Arc<dyn Any + Send + Sync>>,
    ) {
        let new = Registration {
            domain,
            address,
            _keep: keep,
        };
        let mut registrations = self
            .inner
            .registrations
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let old = match registrations.iter_mut().find(|each| each.domain == domain) {
            Some(registration) => Some(std::mem::replace(registration, new)),
            None => {
                registrations.push(new);
                None
            }
        };
        drop(registrations); // before `old`, whose keep-alive is foreign code
        drop(old);
    }

    /// Forgets where the slab lies on the devices of a domain: a reset has voided it.
    pub fn clear_address(&self, domain: DomainId) {
        let mut registrations = self
            .inner
            .registrations
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let position = registrations.iter().position(|each| each.domain == domain);
        let old = position.map(|position| registrations.swap_remove(position));
        drop(registrations);
        drop(old);
    }

    /// The lease of all of it: once, `None` ever after.
    pub fn lease_whole(&self) -> Option<Lease> {
        let first = !self.inner.leased.swap(true, Ordering::Relaxed);
        first.then(|| Lease::whole_of(self.clone()))
    }

    /// Address of the first byte for the host, or `None` for device memory.
    #[inline]
    pub(super) fn host_ptr(&self) -> Option<NonNull<u8>> {
        match &self.inner.storage {
            Storage::Pages(pages) => Some(pages.as_ptr()),
            Storage::Heap(heap) => Some(heap.start),
            Storage::Device { .. } => None,
        }
    }

    /// The slab without keeping it: a device remembers so what it must void at a reset.
    pub fn downgrade(&self) -> WeakSlab {
        WeakSlab {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// Whether two handles name one slab.
    pub fn same(&self, other: &Slab) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let storage = match &self.inner.storage {
            Storage::Pages(_) => "pages",
            Storage::Heap(_) => "heap",
            Storage::Device { .. } => "device",
        };
        f.debug_struct("Slab")
            .field("kind", &self.inner.kind)
            .field("storage", &storage)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Zeroed heap memory, aligned as Arrow likes it.
struct Heap {
    start: NonNull<u8>,
    len: usize,
    block: NonNull<u8>,
}

/// What Arrow recommends, and a cache line.
const HEAP_ALIGNMENT: usize = 64;

// SAFETY: `Heap` owns its block alone and hands out only its address; `Lease` rules who touches
// the bytes.
unsafe impl Send for Heap {}
// SAFETY: As above.
unsafe impl Sync for Heap {}

impl Heap {
    fn new(len: u64) -> Result<Self, AllocError> {
        let refused = AllocError::OutOfMemory {
            asked: len,
            free: 0,
        };
        let layout = usize::try_from(len)
            .ok()
            .filter(|len| *len > 0)
            .and_then(Heap::layout);
        let layout = layout.ok_or(refused.clone())?;
        // Asking for alignment 1 gets `calloc`, which takes fresh pages as the zeros they are;
        // asking for 64 would get a block that is then cleared by hand.
        // SAFETY: The layout's size is not zero.
        let block = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or(refused)?;
        // SAFETY: Less than `HEAP_ALIGNMENT` is added, which the block has beyond `len`.
        let start = unsafe { block.add(block.align_offset(HEAP_ALIGNMENT)) };
        Ok(Heap {
            start,
            len: len as usize,
            block,
        })
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.checked_add(HEAP_ALIGNMENT)?, 1).ok()
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        let layout = Heap::layout(self.len).expect("checked when it was allocated");
        // SAFETY: Allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.block.as_ptr(), layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_is_leased_once() {
        let slab = Slab::heap(100).unwrap();
        assert_eq!(slab.lease_whole().unwrap().len(), 100);
        assert!(slab.clone().lease_whole().is_none());
        assert!(slab.pageable() && slab.pages().is_none());
    }

    #[test]
    fn heap_memory_is_aligned_and_zero() {
        for len in [1, 63, 64, 65, 100_000] {
            let lease = Slab::heap(len).unwrap().lease_whole().unwrap();
            let bytes = lease.bytes().unwrap();
            assert_eq!(bytes.as_ptr().align_offset(HEAP_ALIGNMENT), 0);
            assert!(bytes.iter().all(|byte| *byte == 0));
        }
        assert!(Slab::heap(0).is_err());
        assert!(Slab::heap(u64::MAX).is_err());
    }

    #[test]
    fn a_registration_is_replaced_and_forgotten_with_its_keep_alive() {
        let slab = Slab::heap(64).unwrap();
        let (one, two) = (DomainId::unique(), DomainId::unique());
        let keep = Arc::new(());
        slab.set_address(one, DeviceAddr(4096), Some(keep.clone()));
        slab.set_address(two, DeviceAddr(8192), Some(keep.clone()));
        assert_eq!(slab.address(one), Some(DeviceAddr(4096)));
        slab.set_address(one, DeviceAddr(1 << 20), None);
        assert_eq!(Arc::strong_count(&keep), 2);
        assert_eq!(slab.address(one), Some(DeviceAddr(1 << 20)));
        slab.clear_address(two);
        assert_eq!((slab.address(two), Arc::strong_count(&keep)), (None, 1));
    }

    #[test]
    fn device_memory_lives_until_slab_and_leases_are_gone() {
        let keep = Arc::new(());
        let domain = DomainId::unique();
        let slab = Slab::device(domain, DeviceAddr(1 << 32), 1000, keep.clone());
        let lease = slab.lease_whole().unwrap();
        assert_eq!(
            (lease.bytes(), slab.kind()),
            (None, MemoryKind::DeviceLocal)
        );
        drop(slab);
        assert_eq!(lease.address(domain), Some(DeviceAddr(1 << 32)));
        assert_eq!(Arc::strong_count(&keep), 2);
        drop(lease);
        assert_eq!(Arc::strong_count(&keep), 1);
    }
}
