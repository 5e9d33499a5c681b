//! The device's own memory: addresses that are no host addresses, a limit, and for every byte
//! whether it was written.
//!
//! An allocation's number stands in the upper bits of its addresses, so that no access can stray
//! into a neighbour, and numbers are never used again, so that an access to what was freed is seen.

mod bytes;
mod window;

use std::ops::Range;

pub(crate) use bytes::{Bytes, Trace};
pub(crate) use window::HostWindow;

use crate::finding::{Fault, FindingKind};

/// An address in the device's memory. It lies above everything that a host process can map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevicePointer(pub u64);

/// What a copy out of memory shows where nobody wrote.
pub const POISON: u8 = 0xA5;

/// Bits of an address that lie inside of an allocation: 128 GiB.
const OFFSET_BITS: u32 = 37;

/// Bits of an allocation's number that count it on its device; above them is the device.
const COUNT_BITS: u32 = 23;

/// Number of the first allocation, which puts its address at 2 to the 48.
const FIRST: u64 = 1 << (48 - OFFSET_BITS);

/// Why memory is not given or not reached by the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The limit is reached.
    #[error("{asked} bytes of device memory, of which {free} are free")]
    OutOfMemory {
        /// Bytes that were asked for.
        asked: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The range is not inside of one live allocation.
    #[error("{0}")]
    BadRange(String),
}

/// The device's memory.
#[derive(Debug)]
pub(crate) struct DeviceMemory {
    /// By number, from `first` on.
    allocations: Vec<Allocation>,
    first: u64,
    limit: u64,
    used: u64,
    /// The next number for traces.
    next_stamp: u32,
    /// What kernels reach of the host.
    host: Option<HostWindow>,
}

#[derive(Debug)]
enum Allocation {
    Live(Bytes),
    /// It had so many bytes.
    Freed(u64),
}

impl DeviceMemory {
    /// Of the device with this ordinal, below 8: devices share no addresses.
    pub(crate) fn new(limit: u64, ordinal: u64) -> Self {
        DeviceMemory {
            allocations: Vec::new(),
            first: FIRST + (ordinal << COUNT_BITS),
            limit,
            used: 0,
            next_stamp: 1,
            host: None,
        }
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        self.limit - self.used
    }

    /// Live allocations.
    pub(crate) fn live(&self) -> usize {
        let live = |allocation: &&Allocation| matches!(allocation, Allocation::Live(_));
        self.allocations.iter().filter(live).count()
    }

    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<DevicePointer, MemoryError> {
        let free = self.free_bytes();
        let count = self.allocations.len() as u64;
        if bytes > free || bytes >> OFFSET_BITS != 0 || count >= (1 << COUNT_BITS) - FIRST {
            return Err(MemoryError::OutOfMemory { asked: bytes, free });
        }
        self.used += bytes;
        self.allocations
            .push(Allocation::Live(Bytes::new(bytes as usize)));
        Ok(DevicePointer((self.first + count) << OFFSET_BITS))
    }

    pub(crate) fn free(&mut self, at: DevicePointer) -> Result<(), MemoryError> {
        let bad = || MemoryError::BadRange(format!("{:#x} begins no live allocation", at.0));
        let (index, offset) = self.split(at.0).ok_or_else(bad)?;
        match self.allocations.get_mut(index) {
            Some(allocation @ Allocation::Live(_)) if offset == 0 => {
                let Allocation::Live(bytes) = allocation else {
                    return Err(bad());
                };
                let len = bytes.len() as u64;
                *allocation = Allocation::Freed(len);
                self.used -= len;
                Ok(())
            }
            _ => Err(bad()),
        }
    }

    /// Where the allocation around an address begins, and its size.
    pub(crate) fn allocation(&self, at: u64) -> Option<(DevicePointer, u64)> {
        let (index, offset) = self.split(at)?;
        match self.allocations.get(index)? {
            Allocation::Live(bytes) if offset < bytes.len() as u64 => {
                Some((DevicePointer(at - offset), bytes.len() as u64))
            }
            _ => None,
        }
    }

    /// Whether a range is inside of one live allocation.
    #[inline]
    pub(crate) fn holds(&self, range: &Range<u64>) -> bool {
        let Some((index, offset)) = self.split(range.start) else {
            return false;
        };
        let allocation = self.allocations.get(index);
        allocation.is_some_and(|allocation| allocation.holds(offset, range.end - range.start))
    }

    /// The bytes around an address, and where in them it is. The range is inside.
    #[inline]
    pub(crate) fn reach(&mut self, at: u64, len: u64) -> Result<(&mut Bytes, usize), Fault> {
        let Some((index, offset)) = self.split(at) else {
            return Err(nowhere(at, len));
        };
        let inside = |allocation: &Allocation| allocation.holds(offset, len);
        if !self.allocations.get(index).is_some_and(inside) {
            return Err(missed(self.allocations.get(index), at, offset, len));
        }
        match &mut self.allocations[index] {
            Allocation::Live(bytes) => Ok((bytes, offset as usize)),
            Allocation::Freed(_) => Err(nowhere(at, len)),
        }
    }

    /// Number of the allocation, from 0, and the place in it.
    #[inline]
    fn split(&self, at: u64) -> Option<(usize, u64)> {
        let number = (at >> OFFSET_BITS).checked_sub(self.first)?;
        Some((number as usize, at & ((1 << OFFSET_BITS) - 1)))
    }

    /// What kernels reach of the host from now on.
    pub(crate) fn open_window(&mut self, host: HostWindow) {
        self.host = Some(host);
    }

    /// The host's memory, where the address is one of the host's and the device reaches those.
    #[inline]
    pub(crate) fn window(&self, at: u64) -> Option<&HostWindow> {
        self.host.as_ref().filter(|_| at >> OFFSET_BITS < FIRST)
    }

    /// A number for traces that is above all that were used, with room for many above it.
    pub(crate) fn first_stamp(&mut self) -> u32 {
        if self.next_stamp > u32::MAX / 2 {
            for allocation in &mut self.allocations {
                if let Allocation::Live(bytes) = allocation {
                    bytes.clear_trace();
                }
            }
            self.next_stamp = 1;
        }
        self.next_stamp
    }

    /// Numbers below this one were used.
    pub(crate) fn stamped(&mut self, next: u32) {
        self.next_stamp = self.next_stamp.max(next);
    }

    /// As the host reads: bytes that nobody wrote show as [`POISON`].
    pub(crate) fn read(&mut self, at: u64, to: &mut [u8]) -> Result<(), Fault> {
        let (bytes, offset) = self.reach(at, to.len() as u64)?;
        bytes.copy_out(offset, to);
        Ok(())
    }

    pub(crate) fn write(&mut self, at: u64, from: &[u8]) -> Result<(), Fault> {
        let (bytes, offset) = self.reach(at, from.len() as u64)?;
        bytes.copy_in(offset, from);
        Ok(())
    }

    pub(crate) fn fill(&mut self, at: u64, len: u64, pattern: &[u8]) -> Result<(), Fault> {
        let (bytes, offset) = self.reach(at, len)?;
        bytes.fill(offset, len as usize, pattern);
        Ok(())
    }

    /// Copies bytes, and whether they were written, inside of the device.
    pub(crate) fn copy(&mut self, to: u64, from: u64, len: u64) -> Result<(), Fault> {
        let (bytes, offset) = self.reach(from, len)?;
        let part = bytes.part(offset, len as usize);
        let (bytes, offset) = self.reach(to, len)?;
        bytes.put(offset, &part);
        Ok(())
    }
}

impl Allocation {
    #[inline]
    fn holds(&self, offset: u64, len: u64) -> bool {
        match self {
            Allocation::Live(bytes) => {
                let behind = (bytes.len() as u64).checked_sub(offset);
                behind.is_some_and(|behind| len <= behind)
            }
            Allocation::Freed(_) => false,
        }
    }
}

#[cold]
fn nowhere(at: u64, len: u64) -> Fault {
    let detail = format!("{len} bytes at {at:#x}, which is no device address");
    Fault::new(FindingKind::OutOfBounds, detail)
}

#[cold]
fn missed(found: Option<&Allocation>, at: u64, offset: u64, len: u64) -> Fault {
    match found {
        None => nowhere(at, len),
        Some(Allocation::Live(bytes)) => {
            let size = bytes.len();
            let detail =
                format!("{len} bytes at {at:#x}, byte {offset} of an allocation of {size}");
            Fault::new(FindingKind::OutOfBounds, detail)
        }
        Some(Allocation::Freed(size)) => {
            let detail =
                format!("{len} bytes at {at:#x}, in an allocation of {size} that was freed");
            Fault::new(FindingKind::UseAfterFree, detail)
        }
    }
}

/// A range in words, for findings.
pub(crate) fn show(range: Range<usize>) -> String {
    format!("bytes {} to {}", range.start, range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_limited_and_comes_back() {
        let mut memory = DeviceMemory::new(100, 0);
        let a = memory.allocate(60).unwrap();
        let refused = memory.allocate(41);
        assert_eq!(
            refused,
            Err(MemoryError::OutOfMemory {
                asked: 41,
                free: 40
            })
        );
        memory.free(a).unwrap();
        assert!(memory.free(a).is_err(), "twice");
        let b = memory.allocate(100).unwrap();
        assert_ne!(a, b, "addresses are not used again");
        assert!(memory.free(DevicePointer(b.0 + 1)).is_err());
        assert_eq!((memory.live(), memory.free_bytes()), (1, 0));
    }

    #[test]
    fn host_addresses_and_strays_are_refused() {
        let mut memory = DeviceMemory::new(1000, 3);
        let a = memory.allocate(10).unwrap();
        let kind = |result: Result<(), Fault>| result.unwrap_err().kind;
        let on_the_stack = std::ptr::from_ref(&memory) as u64;
        assert_eq!(
            kind(memory.read(on_the_stack, &mut [0])),
            FindingKind::OutOfBounds
        );
        assert_eq!(
            kind(memory.read(a.0 + 9, &mut [0; 2])),
            FindingKind::OutOfBounds
        );
        assert_eq!(kind(memory.write(u64::MAX, &[1])), FindingKind::OutOfBounds);
        assert_eq!(memory.allocation(a.0 + 9), Some((a, 10)));
        memory.free(a).unwrap();
        assert_eq!(kind(memory.write(a.0, &[1])), FindingKind::UseAfterFree);
        assert_eq!(memory.allocation(a.0), None);
    }

    #[test]
    fn copies_keep_what_was_never_written() {
        let mut memory = DeviceMemory::new(1000, 3);
        let (a, b) = (memory.allocate(16).unwrap(), memory.allocate(16).unwrap());
        memory.write(a.0 + 2, &[1, 2]).unwrap();
        memory.fill(b.0, 16, &[7, 8]).unwrap();
        memory.copy(b.0 + 1, a.0 + 1, 4).unwrap();
        let mut out = [0; 7];
        memory.read(b.0, &mut out).unwrap();
        assert_eq!(out, [7, POISON, 1, 2, POISON, 8, 7]);
    }
}
