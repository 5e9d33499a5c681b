//! The device's own address space: memory that begins as poison and remembers what was written.

use std::collections::BTreeMap;

use unlade_hal::DeviceAddr;

/// What a byte holds before anything is written to it: a pattern that is no plausible value of any
/// type, so that reading it shows in results.
pub const POISON: u8 = 0xA5;

/// Pages of the device's memory.
const PAGE: u64 = 4096;

/// Unmapped bytes between two ranges, so that an overrun hits nothing.
const GUARD: u64 = 1 << 16;

/// An access that hardware would answer with a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{len} bytes at {at:#x} are not memory of the device")]
    OutOfBounds { at: u64, len: u64 },
    #[error("byte {0:#x} of the device's memory is read but was never written")]
    Uninitialised(u64),
    #[error("the interpreter declines the arguments: {0}")]
    Declined(String),
}

/// The address space: memory of the device, and windows onto registered host memory.
#[derive(Debug)]
pub(crate) struct Memory {
    capacity: u64,
    used: u64,
    next: u64,
    regions: BTreeMap<u64, Region>,
    windows: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Region {
    bytes: Vec<u8>,
    written: Bitmap,
}

impl Memory {
    pub(crate) fn new(capacity: u64) -> Self {
        Memory {
            capacity,
            used: 0,
            // Far from zero and from any length, so that neither is mistaken for an address.
            next: 1 << 44,
            regions: BTreeMap::new(),
            windows: BTreeMap::new(),
        }
    }

    /// The address space without anything in it. Addresses are not used twice, so that what was
    /// handed out before stays unknown.
    pub(crate) fn emptied(&self) -> Self {
        Memory {
            next: self.next,
            ..Memory::new(self.capacity)
        }
    }

    /// Bytes not allocated.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.capacity - self.used
    }

    /// Whole pages of poison, or `None` where there is no room.
    pub(crate) fn allocate(&mut self, len: u64) -> Option<(DeviceAddr, u64)> {
        let len = len.checked_next_multiple_of(PAGE)?;
        if len == 0 || len > self.free_bytes() {
            return None;
        }
        let address = self.reserve(len);
        let bytes = vec![POISON; usize::try_from(len).ok()?];
        self.regions.insert(
            address,
            Region {
                bytes,
                written: Bitmap::new(len),
            },
        );
        self.used += len;
        Some((DeviceAddr(address), len))
    }

    /// Addresses for host memory of this length.
    pub(crate) fn open_window(&mut self, len: u64) -> DeviceAddr {
        let address = self.reserve(len);
        self.windows.insert(address, len);
        DeviceAddr(address)
    }

    fn reserve(&mut self, len: u64) -> u64 {
        let address = self.next;
        self.next += len.next_multiple_of(PAGE) + GUARD;
        address
    }

    /// Takes back what [`allocate`](Self::allocate) or [`open_window`](Self::open_window) gave.
    pub(crate) fn release(&mut self, address: DeviceAddr) {
        if let Some(region) = self.regions.remove(&address.0) {
            self.used -= region.bytes.len() as u64;
        }
        self.windows.remove(&address.0);
    }

    /// Whether these bytes are inside one allocation or one window: after a reset nothing is.
    pub(crate) fn knows(&self, address: DeviceAddr, len: u64) -> bool {
        let window = self.windows.range(..=address.0).next_back();
        let in_window = window.is_some_and(|(start, size)| address.0 - start + len <= *size);
        in_window || self.locate(address.0, len).is_ok()
    }

    /// The bytes, written or not.
    pub(crate) fn raw(&self, address: u64, len: u64) -> Result<&[u8], Fault> {
        let (start, region) = self.locate(address, len)?;
        let from = (address - start) as usize;
        Ok(&region.bytes[from..from + len as usize])
    }

    /// The bytes, all of them written.
    pub(crate) fn read(&self, address: u64, len: u64) -> Result<&[u8], Fault> {
        let (start, region) = self.locate(address, len)?;
        let from = address - start;
        match region.written.first_clear(from, from + len) {
            Some(offset) => Err(Fault::Uninitialised(start + offset)),
            None => self.raw(address, len),
        }
    }

    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let len = bytes.len() as u64;
        let (start, region) = self.locate_mut(address, len)?;
        let from = address - start;
        region.bytes[from as usize..][..bytes.len()].copy_from_slice(bytes);
        region.written.set(from, from + len);
        Ok(())
    }

    /// Copies bytes and whether they were written.
    pub(crate) fn copy(&mut self, from: u64, to: u64, len: u64) -> Result<(), Fault> {
        let (start, source) = self.locate(from, len)?;
        let offset = from - start;
        let bytes = source.bytes[offset as usize..][..len as usize].to_vec();
        let written: Vec<bool> = (offset..offset + len)
            .map(|at| source.written.get(at))
            .collect();
        let (start, target) = self.locate_mut(to, len)?;
        let offset = to - start;
        target.bytes[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        for (at, written) in (offset..).zip(written) {
            target.written.assign(at, written);
        }
        Ok(())
    }

    fn locate(&self, address: u64, len: u64) -> Result<(u64, &Region), Fault> {
        let fault = Fault::OutOfBounds { at: address, len };
        let (start, region) = self
            .regions
            .range(..=address)
            .next_back()
            .ok_or(fault.clone())?;
        let inside = (address - start).saturating_add(len) <= region.bytes.len() as u64;
        inside.then_some((*start, region)).ok_or(fault)
    }

    fn locate_mut(&mut self, address: u64, len: u64) -> Result<(u64, &mut Region), Fault> {
        let fault = Fault::OutOfBounds { at: address, len };
        let found = self.regions.range_mut(..=address).next_back();
        let (start, region) = found.ok_or(fault.clone())?;
        let inside = (address - start).saturating_add(len) <= region.bytes.len() as u64;
        inside.then_some((*start, region)).ok_or(fault)
    }
}

/// A bit per byte.
#[derive(Debug)]
struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    fn new(len: u64) -> Self {
        Bitmap {
            words: vec![0; len.div_ceil(64) as usize],
        }
    }

    fn get(&self, at: u64) -> bool {
        self.words[(at / 64) as usize] >> (at % 64) & 1 == 1
    }

    fn assign(&mut self, at: u64, value: bool) {
        let bit = 1 << (at % 64);
        let word = &mut self.words[(at / 64) as usize];
        *word = if value { *word | bit } else { *word & !bit };
    }

    /// Sets a range, whole words at a time.
    fn set(&mut self, from: u64, to: u64) {
        let mut at = from;
        while at < to {
            let count = (64 - at % 64).min(to - at);
            self.words[(at / 64) as usize] |= (u64::MAX >> (64 - count)) << (at % 64);
            at += count;
        }
    }

    /// The first clear bit of a range, whole words at a time.
    fn first_clear(&self, from: u64, to: u64) -> Option<u64> {
        let mut at = from;
        while at < to {
            let clear = !self.words[(at / 64) as usize] >> (at % 64);
            if clear != 0 {
                let found = at + u64::from(clear.trailing_zeros());
                return (found < to).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_begins_as_poison_and_says_what_was_never_written() {
        let mut memory = Memory::new(1 << 20);
        let (DeviceAddr(at), len) = memory.allocate(100).unwrap();
        assert_eq!(len, PAGE);
        assert_eq!(memory.raw(at, 3), Ok(&[POISON; 3][..]));
        memory.write(at + 60, &[1; 10]).unwrap();
        assert_eq!(memory.read(at + 60, 10), Ok(&[1; 10][..]));
        assert_eq!(memory.read(at + 59, 10), Err(Fault::Uninitialised(at + 59)));
        assert_eq!(memory.read(at + 60, 11), Err(Fault::Uninitialised(at + 70)));
        assert_eq!(memory.read(at, 0), Ok(&[][..]));
        memory.copy(at + 58, at + 1000, 12).unwrap();
        assert_eq!(memory.read(at + 1002, 10), Ok(&[1; 10][..]));
        assert_eq!(
            memory.read(at + 1000, 12),
            Err(Fault::Uninitialised(at + 1000))
        );
    }

    #[test]
    fn accesses_stay_inside_one_allocation() {
        let mut memory = Memory::new(1 << 20);
        let (DeviceAddr(at), len) = memory.allocate(PAGE).unwrap();
        memory.allocate(PAGE).unwrap();
        assert!(memory.raw(at, len).is_ok());
        assert_eq!(
            memory.raw(at, len + 1),
            Err(Fault::OutOfBounds { at, len: len + 1 })
        );
        assert!(memory.write(at + len, &[0]).is_err());
        assert!(memory.write(at - 1, &[0]).is_err());
        assert!(memory.raw(at, u64::MAX).is_err());
    }

    #[test]
    fn capacity_is_kept_and_comes_back() {
        let mut memory = Memory::new(3 * PAGE);
        let (first, _) = memory.allocate(2 * PAGE).unwrap();
        assert_eq!(memory.allocate(2 * PAGE), None);
        assert_eq!(
            (memory.allocate(0), memory.allocate(u64::MAX)),
            (None, None)
        );
        memory.release(first);
        assert_eq!(memory.free_bytes(), 3 * PAGE);
        assert!(!memory.knows(first, 1));
        let window = memory.open_window(100);
        assert!(memory.knows(window, 100) && !memory.knows(window, 101));
        assert!(
            memory.raw(window.0, 1).is_err(),
            "a window is no memory of the device"
        );
        assert_eq!(memory.free_bytes(), 3 * PAGE);
    }
}
