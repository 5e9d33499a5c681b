//! Immutable bytes of a slab: what a lease became when it was frozen.

use arrow_buffer::Buffer;

use super::slab::Slab;
use crate::id::{DeviceAddr, DomainId};

/// An Arrow buffer whose bytes lie in a [`Slab`], so that devices that were told of it reach them
/// where they are. Nobody writes them any more; they live as long as this does.
///
/// ```
/// use unlade_hal::{MemoryKind, PageSize, PinnedBuffer, Slab};
///
/// let slab = Slab::host(MemoryKind::Readback, 4096, PageSize::Base)?;
/// let mut lease = slab.lease_whole().unwrap();
/// lease.bytes_mut().unwrap()[..3].copy_from_slice(b"abc");
/// let buffer = lease.freeze(3).unwrap();
/// let pinned = PinnedBuffer::of(&slab, &buffer.slice(1)).expect("it lies there");
/// assert_eq!((pinned.bytes(), pinned.start()), (&b"bc"[..], 1));
/// assert!(PinnedBuffer::of(&slab, &b"abc".into()).is_none());
/// # Ok::<(), unlade_hal::AllocError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PinnedBuffer {
    slab: Slab,
    /// Where in the slab the buffer's first byte is.
    start: u64,
    buffer: Buffer,
}

impl PinnedBuffer {
    /// The buffer, if all of it lies in the slab. `None` as well for one without bytes.
    pub fn of(slab: &Slab, buffer: &Buffer) -> Option<Self> {
        let first = slab.host_ptr()?.as_ptr() as u64;
        let start = (buffer.as_ptr() as u64).checked_sub(first)?;
        let end = start.checked_add(buffer.len() as u64)?;
        (start < end && end <= slab.len()).then(|| PinnedBuffer {
            slab: slab.clone(),
            start,
            buffer: buffer.clone(),
        })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    /// Where the first byte is, counted from the start of the slab.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Lets the bytes go, but never their slab: a lost device may still read there.
    pub(crate) fn abandon(self) {
        std::mem::forget(self.slab);
    }

    /// Where the devices of a domain have the first byte, if they were told of the slab.
    pub fn address(&self, domain: DomainId) -> Option<DeviceAddr> {
        let slab = self.slab.address(domain)?;
        Some(DeviceAddr(slab.0 + self.start))
    }
}
