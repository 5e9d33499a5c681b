//! Pages of the host that stay where they are, so that a device can be told of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(not(miri))]
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;

use crate::error::AllocError;
use crate::fork;

/// Which pages host memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageSize {
    /// The machine's ordinary pages, usually 4 KiB.
    Base,
    /// Huge pages of 2 MiB. A driver maps and registers them up to 500 times faster, but the
    /// administrator must have set them aside (`vm.nr_hugepages`).
    Huge,
}

impl PageSize {
    /// Which pages so many bytes are to be made of: huge ones where they fill one.
    pub fn suited_to(len: u64) -> PageSize {
        match len {
            HUGE_PAGE.. => PageSize::Huge,
            _ => PageSize::Base,
        }
    }
}

/// Bytes of a huge page.
const HUGE_PAGE: u64 = 2 << 20;

/// Nodes of memory that a kernel can be built for.
#[cfg(not(miri))]
const MOST_NODES: usize = 1024;

/// The largest request taken: anything larger is a slip in someone's arithmetic.
const MAX_LEN: u64 = 1 << 46;

/// Zero-filled pages that neither move nor shrink while this lives.
///
/// The pages belong to a memory file that can be handed to another process (a card's model maps
/// it), is closed on `exec`, can never be made smaller, and is not copied into a forked child.
#[derive(Debug)]
pub struct HostPages {
    start: NonNull<u8>,
    len: usize,
    page_size: PageSize,
    /// `None` only under Miri, which has no memory files: there the pages are heap memory.
    file: Option<OwnedFd>,
}

// SAFETY: `HostPages` owns its mapping: `start` is unique to it and freed only in `drop`. It hands
// out the address alone; who may read or write through it, and when, is the business of `Lease`,
// which keeps ranges exclusive.
unsafe impl Send for HostPages {}
// SAFETY: As above; no method of `&HostPages` touches the bytes.
unsafe impl Sync for HostPages {}

impl HostPages {
    /// Maps at least `len` bytes, rounded up to whole pages. Where huge pages are asked for and
    /// none are to be had, the pages are ordinary ones: [`page_size`](Self::page_size) tells.
    ///
    /// # Errors
    /// [`AllocError::Os`] where the system refuses, [`AllocError::OutOfMemory`] where it has no
    /// room or `len` is 0 or absurd, [`AllocError::Forked`] in a forked child.
    pub fn map(len: u64, page_size: PageSize) -> Result<Self, AllocError> {
        if len == 0 || len > MAX_LEN {
            let free = if len == 0 { 0 } else { MAX_LEN };
            return Err(AllocError::OutOfMemory { asked: len, free });
        }
        fork::check()?;
        fork::watch();
        match page_size {
            PageSize::Base => Self::map_pages(len, page_size),
            PageSize::Huge => Self::map_pages(len, PageSize::Huge)
                .or_else(|_no_huge_pages| Self::map_pages(len, PageSize::Base)),
        }
    }

    /// Address of the first byte. Valid for [`len`](Self::len) bytes while `self` lives.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// Length in bytes, a multiple of the page size.
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether there is no page; never so.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The size that the pages really have.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The memory file, page 0 at offset 0.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Has the kernel take those of the pages that nothing has touched yet from this node of memory
    /// (NUMA), and from others when that has none left. Returns whether it knows such a node:
    /// nothing changes where it does not.
    #[cfg(not(miri))]
    pub fn prefer_node(&self, node: u32) -> bool {
        const BITS: usize = u64::BITS as usize;
        let mut nodes = [0u64; MOST_NODES / BITS];
        let node = node as usize;
        let Some(word) = nodes.get_mut(node / BITS) else {
            return false;
        };
        *word |= 1 << (node % BITS);
        // SAFETY: The range is the mapping of `self`, whose bytes the call leaves as they are, and
        // `nodes` outlives it. The kernel takes one bit less than it is told of.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.start.as_ptr(),
                self.len,
                libc::MPOL_PREFERRED,
                nodes.as_ptr(),
                MOST_NODES + 1,
                0,
            )
        };
        result == 0
    }

    /// Miri's memory is of no node.
    #[cfg(miri)]
    pub fn prefer_node(&self, _node: u32) -> bool {
        false
    }

    #[cfg(not(miri))]
    fn map_pages(len: u64, page_size: PageSize) -> Result<Self, AllocError> {
        let len = len.next_multiple_of(page_bytes(page_size));
        let file = memory_file(len, page_size)?;
        // SAFETY: A new mapping at an address of the kernel's choice over a file we own; no memory
        // that Rust knows of is replaced.
        let start = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(
                std::ptr::null_mut(),
                len as usize,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(os_error("mmap", len));
        }
        let start = NonNull::new(start.cast()).expect("mmap without a hint never returns page 0");
        // From here on, dropping `pages` unmaps.
        let pages = HostPages {
            start,
            len: len as usize,
            page_size,
            file: Some(file),
        };
        // SAFETY: The range is the mapping just made. The advice only keeps it out of children.
        if unsafe { libc::madvise(start.as_ptr().cast(), pages.len, libc::MADV_DONTFORK) } != 0 {
            return Err(os_error("madvise(MADV_DONTFORK)", len));
        }
        Ok(pages)
    }

    #[cfg(miri)]
    fn map_pages(len: u64, page_size: PageSize) -> Result<Self, AllocError> {
        let len = len.next_multiple_of(page_bytes(page_size)) as usize;
        // SAFETY: The layout is not of size zero, as `len` is not.
        let start = unsafe { std::alloc::alloc_zeroed(heap_layout(len)) };
        let start = NonNull::new(start).expect("Miri does not run out of memory");
        Ok(HostPages {
            start,
            len,
            page_size,
            file: None,
        })
    }
}

impl Drop for HostPages {
    #[cfg(not(miri))]
    fn drop(&mut self) {
        // In a forked child the range was never mapped, and may since be someone else's.
        if fork::check().is_err() {
            return;
        }
        // SAFETY: The range is exactly the mapping that `map_pages` made; `Lease` and `Slab` keep
        // this value alive as long as anything can read or write it.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(result, 0, "munmap of our own mapping");
    }

    #[cfg(miri)]
    fn drop(&mut self) {
        // SAFETY: Allocated in `map_pages` with the same layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), heap_layout(self.len)) };
    }
}

/// A memory file of this length that can grow but never shrink, so that no access to a mapping of
/// it can fault.
#[cfg(not(miri))]
fn memory_file(len: u64, page_size: PageSize) -> Result<OwnedFd, AllocError> {
    let huge = match page_size {
        PageSize::Base => 0,
        PageSize::Huge => libc::MFD_HUGETLB | libc::MFD_HUGE_2MB,
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | huge;
    // SAFETY: The name is a C string that outlives the call.
    let file = unsafe { libc::memfd_create(c"unlade".as_ptr(), flags) };
    if file < 0 {
        return Err(os_error("memfd_create", len));
    }
    // SAFETY: The descriptor was made by the call above, and nobody else knows it.
    let file = unsafe { OwnedFd::from_raw_fd(file) };
    let size = libc::off_t::try_from(len).expect("MAX_LEN fits in off_t");
    // SAFETY: A call on a descriptor we own, without pointers.
    if unsafe { libc::ftruncate(file.as_raw_fd(), size) } != 0 {
        return Err(os_error("ftruncate", len));
    }
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: A call on a descriptor we own, without pointers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(os_error("fcntl(F_ADD_SEALS)", len));
    }
    Ok(file)
}

fn page_bytes(page_size: PageSize) -> u64 {
    match page_size {
        PageSize::Huge => HUGE_PAGE,
        PageSize::Base if cfg!(miri) => 4096,
        // SAFETY: `sysconf` has no precondition.
        PageSize::Base => u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .expect("the page size is known"),
    }
}

#[cfg(not(miri))]
fn os_error(call: &'static str, asked: u64) -> AllocError {
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOMEM) => AllocError::OutOfMemory { asked, free: 0 },
        _ => AllocError::Os {
            call,
            message: error.to_string(),
        },
    }
}

#[cfg(miri)]
fn heap_layout(len: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(len, 4096).expect("MAX_LEN is a valid size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_up_to_whole_pages() {
        let pages = HostPages::map(1, PageSize::Base).unwrap();
        assert_eq!(pages.len(), page_bytes(PageSize::Base));
        assert!(matches!(
            HostPages::map(0, PageSize::Base),
            Err(AllocError::OutOfMemory { asked: 0, .. })
        ));
        assert!(matches!(
            HostPages::map(u64::MAX, PageSize::Base),
            Err(AllocError::OutOfMemory { .. })
        ));
    }

    #[test]
    fn huge_pages_are_used_only_where_there_are_any() {
        let pages = HostPages::map(1, PageSize::Huge).unwrap();
        assert_eq!(pages.len(), page_bytes(pages.page_size()));
    }

    #[cfg(not(miri))]
    #[test]
    fn pages_are_of_the_node_that_is_preferred() {
        let pages = HostPages::map(8192, PageSize::Base).unwrap();
        assert!(!pages.prefer_node(u32::MAX));
        assert!(!pages.prefer_node(MOST_NODES as u32 - 1), "no such node");
        if !pages.prefer_node(0) {
            // A kernel without NUMA, or a container that may not choose.
            let refused = std::io::Error::last_os_error().raw_os_error();
            assert!(matches!(refused, Some(libc::ENOSYS | libc::EPERM)));
            return;
        }
        let (mut mode, mut nodes) = (0, [0u64; MOST_NODES / 64]);
        let of_an_address = 2;
        // SAFETY: Both places outlive the call, and `nodes` has as many bits as it is told.
        let result = unsafe {
            libc::syscall(
                libc::SYS_get_mempolicy,
                &raw mut mode,
                nodes.as_mut_ptr(),
                MOST_NODES,
                pages.as_ptr().as_ptr(),
                of_an_address,
            )
        };
        assert_eq!((result, mode, nodes[0]), (0, libc::MPOL_PREFERRED, 1));
    }

    #[cfg(not(miri))]
    #[test]
    fn the_file_grows_but_never_shrinks() {
        let pages = HostPages::map(8192, PageSize::Base).unwrap();
        let file = pages.file().unwrap().as_raw_fd();
        // SAFETY: Calls on a descriptor that `pages` keeps open, without pointers.
        let (shrunk, flags) =
            unsafe { (libc::ftruncate(file, 0), libc::fcntl(file, libc::F_GETFD)) };
        assert_eq!(shrunk, -1);
        assert_eq!(
            std::io::Error::last_os_error().raw_os_error(),
            Some(libc::EPERM)
        );
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
