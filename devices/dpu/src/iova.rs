//! Addresses as the card sends them: which are free, and how they are handed out.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// An address as the card sends it on the bus. Never a host pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iova(pub u64);

impl Iova {
    /// The address so many bytes on. The caller stays inside what it was given.
    pub(crate) fn plus(self, bytes: u64) -> Iova {
        Iova(self.0 + bytes)
    }
}

impl fmt::Display for Iova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Ranges begin and end at multiples of this many bytes: the smallest page of every IOMMU here.
pub(crate) const PAGE: u64 = 4096;

/// Ranges of at least this length begin at a multiple of it, so that an IOMMU can map huge pages as
/// such.
const HUGE_PAGE: u64 = 2 << 20;

/// Nothing is handed out below: a card that sends address 0 by mistake shall be refused.
const LOWEST: u64 = 1 << 20;

/// Where interrupt messages go on x86: no memory can be mapped there.
const INTERRUPTS: Range<u64> = 0xFEE0_0000..0xFEF0_0000;

/// The addresses of one domain.
#[derive(Debug)]
pub(crate) struct IovaSpace {
    /// Free ranges, start to end. No two touch.
    free: BTreeMap<u64, u64>,
    /// Ranges handed out, start to length.
    taken: BTreeMap<u64, u64>,
}

impl IovaSpace {
    /// All addresses of so many bits, but for those that no memory can have: here, and by what the
    /// host says.
    pub(crate) fn new(address_bits: u32, reserved: &[Range<Iova>]) -> Self {
        let end = 1u64.checked_shl(address_bits).unwrap_or(!(PAGE - 1));
        let mut free = BTreeMap::from([(LOWEST, end)]);
        let reserved = reserved.iter().map(|range| range.start.0..range.end.0);
        for taken in reserved.chain([INTERRUPTS]) {
            cut(&mut free, &taken);
        }
        IovaSpace {
            free,
            taken: BTreeMap::new(),
        }
    }

    /// A free range of at least `len` bytes, or `None` where there is none.
    pub(crate) fn allocate(&mut self, len: u64) -> Option<Iova> {
        let len = len.max(1).checked_next_multiple_of(PAGE)?;
        let alignment = if len >= HUGE_PAGE { HUGE_PAGE } else { PAGE };
        let (free_start, free_end, start) = self.free.iter().find_map(|(&from, &to)| {
            let start = from.checked_next_multiple_of(alignment)?;
            let fits = start.checked_add(len).is_some_and(|end| end <= to);
            fits.then_some((from, to, start))
        })?;
        self.free.remove(&free_start);
        for (from, to) in [(free_start, start), (start + len, free_end)] {
            if from < to {
                self.free.insert(from, to);
            }
        }
        self.taken.insert(start, len);
        Some(Iova(start))
    }

    /// Takes back what [`allocate`](Self::allocate) gave; anything else is left alone.
    pub(crate) fn release(&mut self, iova: Iova) {
        let Some(len) = self.taken.remove(&iova.0) else {
            return;
        };
        let (mut start, mut end) = (iova.0, iova.0 + len);
        if let Some(behind) = self.free.remove(&end) {
            end = behind;
        }
        let before = self.free.range(..start).next_back();
        if let Some((&from, &to)) = before
            && to == start
        {
            start = from;
        }
        self.free.insert(start, end);
    }

    /// Ranges handed out.
    pub(crate) fn count(&self) -> usize {
        self.taken.len()
    }
}

/// Takes a range out of others, and with it the pages that it has only a part of.
fn cut(free: &mut BTreeMap<u64, u64>, taken: &Range<u64>) {
    let start = taken.start & !(PAGE - 1);
    let end = taken.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    let touched: Vec<(u64, u64)> = free
        .range(..end)
        .filter(|&(_, &to)| to > start)
        .map(|(&from, &to)| (from, to))
        .collect();
    for (from, to) in touched {
        free.remove(&from);
        for (from, to) in [(from, start), (end, to)] {
            if from < to {
                free.insert(from, to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_aligned_below_the_mask_and_never_overlap() {
        let mut space = IovaSpace::new(32, &[]);
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for step in 0..2_000u64 {
            let len = [1, 4096, 4097, 100_000, HUGE_PAGE, HUGE_PAGE + 1][step as usize % 6];
            match space.allocate(len) {
                Some(Iova(start)) => taken.push((start, len.next_multiple_of(PAGE))),
                None => break,
            }
            if step % 3 == 0 {
                let (start, _) = taken.swap_remove((step * 7919) as usize % taken.len());
                space.release(Iova(start));
            }
        }
        taken.sort_unstable();
        assert!(taken.len() > 500, "{}", taken.len());
        for pair in taken.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:x?}");
        }
        for &(start, len) in &taken {
            assert!(start >= LOWEST && start + len <= 1 << 32);
            assert!(start + len <= INTERRUPTS.start || start >= INTERRUPTS.end);
            let alignment = if len >= HUGE_PAGE { HUGE_PAGE } else { PAGE };
            assert!(start.is_multiple_of(alignment));
        }
        assert_eq!(space.count(), taken.len());
    }

    #[test]
    fn what_the_host_reserves_is_never_handed_out() {
        let range = |start: u64, end: u64| Iova(start)..Iova(end);
        let reserved = [
            range(0, LOWEST + 1),
            range(0x80_0000, 0x90_0000),
            range(0x8F_F800, 0x90_0800),
            range(0xF_FFFF_F000, u64::MAX),
        ];
        let mut space = IovaSpace::new(40, &reserved);
        let whole = [
            (LOWEST + PAGE, 0x80_0000),
            (0x90_1000, INTERRUPTS.start),
            (INTERRUPTS.end, 0xF_FFFF_F000),
        ];
        assert_eq!(space.free, BTreeMap::from(whole));
        while let Some(Iova(start)) = space.allocate(1 << 20) {
            let end = start + (1 << 20);
            let meets = |range: &&Range<Iova>| range.start.0 < end && start < range.end.0;
            assert_eq!(reserved.iter().find(meets), None, "{start:#x}");
        }
    }

    #[test]
    fn what_is_released_grows_together_again() {
        let mut space = IovaSpace::new(48, &[]);
        let whole = space.free.clone();
        let given: Vec<Iova> = (0..10).map(|_| space.allocate(PAGE).unwrap()).collect();
        for at in [3, 1, 2, 9, 0, 4, 8, 6, 5, 7] {
            space.release(given[at]);
            space.release(given[at]); // once is enough
        }
        assert_eq!(space.free, whole);
    }

    #[test]
    fn a_full_space_says_so() {
        let mut space = IovaSpace::new(32, &[]);
        assert_eq!(space.allocate(1 << 33), None);
        assert_eq!(space.allocate(u64::MAX), None);
        assert!(space.allocate(0xFEE0_0000 - HUGE_PAGE).is_some());
        assert_eq!(space.allocate(32 << 20), None);
        assert!(IovaSpace::new(64, &[]).allocate(1 << 40).is_some());
    }
}
