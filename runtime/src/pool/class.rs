//! Size classes.

/// Smallest block: a cache line, and what Arrow recommends to align to.
const MIN_BITS: u32 = 6;

/// Up to here (16 KiB) classes are powers of two; beyond it there are four to a doubling.
const FINE_BITS: u32 = 14;

/// Largest class: 1 TiB. Nobody reserves more.
const MAX_BITS: u32 = 40;

/// Blocks are aligned to their size if that is a power of two, but never to more than a page.
const MAX_ALIGNMENT: u64 = 4096;

/// A size that blocks come in.
///
/// Powers of two from 64 B to 16 KiB, then four classes to a doubling (20, 24, 28, 32, 40 KiB
/// ...), so that a block wastes at most a fifth of itself where that matters. A block of at least
/// 4 KiB is aligned to 4 KiB, a smaller one to its own size. A whole word, as one that is moved as a
/// byte may be read back as a word, which stalls a lease for longer than the rest of it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(usize);

impl Class {
    /// How many there are.
    pub(super) const COUNT: usize =
        (FINE_BITS - MIN_BITS + 1) as usize + 4 * (MAX_BITS - FINE_BITS) as usize;

    /// How many of the smallest classes threads keep to themselves: those up to 32 KiB.
    pub(super) const CACHED: usize = (FINE_BITS - MIN_BITS + 1) as usize + 4;

    /// The smallest class of at least `len` bytes, `None` beyond the largest class.
    #[inline]
    pub(super) fn of(len: u64) -> Option<Class> {
        if len <= 1 << MIN_BITS {
            return Some(Class(0));
        }
        // `len` lies in (2^bits, 2^(bits + 1)]. Of 63 at most, to take from 63 is to flip, which
        // processors that count from the other end have done already.
        let bits = 63 ^ (len - 1).leading_zeros();
        if bits >= MAX_BITS {
            return None;
        }
        if bits < FINE_BITS {
            return Some(Class((bits + 1 - MIN_BITS) as usize));
        }
        let quarter = (len - 1 - (1 << bits)) >> (bits - 2);
        let coarse = (FINE_BITS - MIN_BITS + 1) + 4 * (bits - FINE_BITS);
        Some(Class(coarse as usize + quarter as usize))
    }

    /// The class at a position.
    #[inline]
    pub(super) fn of_index(index: usize) -> Class {
        debug_assert!(index < Class::COUNT);
        Class(index)
    }

    /// The class of which a block of `len` bytes that begins at `start` is a whole one.
    #[inline]
    pub(super) fn of_block(start: u64, len: u64) -> Option<Class> {
        Class::of(len).filter(|class| class.is_whole(start, len))
    }

    /// Whether `len` bytes that begin at `start` are a whole block.
    #[inline]
    pub(super) fn is_whole(self, start: u64, len: u64) -> bool {
        // What it is aligned to is a power of two, which a division would not know.
        len == self.size() && start & (len.min(MAX_ALIGNMENT) - 1) == 0
    }

    /// Position among the classes, the smallest being 0.
    #[inline]
    pub(super) fn index(self) -> usize {
        self.0
    }

    /// Bytes of a block.
    #[inline]
    pub(super) fn size(self) -> u64 {
        let index = self.0 as u32;
        let powers = FINE_BITS - MIN_BITS;
        if index <= powers {
            return 1 << (MIN_BITS + index);
        }
        let fine = index - powers - 1;
        let bits = FINE_BITS + fine / 4;
        (1 << bits) + u64::from(fine % 4 + 1) * (1 << (bits - 2))
    }

    /// What the start of a block is a multiple of: a power of two.
    #[inline]
    pub(super) fn alignment(self) -> u64 {
        self.size().min(MAX_ALIGNMENT)
    }

    /// Whether threads keep freed blocks to themselves for a while.
    #[inline]
    pub(super) fn is_cached(self) -> bool {
        self.index() < Class::CACHED
    }

    /// How many blocks are cut at once when none is free, so that small ones lie together.
    pub(super) fn blocks_per_run(self) -> u64 {
        (65_536 / self.size()).clamp(1, 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Class> {
        (0..Class::COUNT).map(Class)
    }

    #[test]
    fn a_class_is_the_smallest_that_fits() {
        let sizes: Vec<u64> = all().map(Class::size).collect();
        assert!(sizes.is_sorted_by(|a, b| a < b));
        assert_eq!((sizes[0], *sizes.last().unwrap()), (64, 1 << 40));
        for (index, size) in sizes.iter().enumerate() {
            assert_eq!(Class::of(*size).unwrap().index(), index);
            if let Some(next) = sizes.get(index + 1) {
                assert_eq!(Class::of(size + 1).unwrap().size(), *next);
            }
        }
        assert_eq!(Class::of(0).unwrap().size(), 64);
        assert_eq!(Class::of((1 << 40) + 1), None);
        assert_eq!(Class::of(u64::MAX), None);
        assert_eq!(Class::of_block(0, 65), None);
        assert_eq!(Class::of_block(64, 128), None);
        assert_eq!(Class::of_block(256, 128), Class::of(128));
    }

    #[test]
    fn from_16_kib_on_a_fifth_is_wasted_at_most() {
        for class in all().filter(|class| class.size() > 16 << 10) {
            let below = all().take(class.index()).last().unwrap().size();
            assert!(class.size() - (below + 1) <= class.size() / 5);
        }
    }

    #[test]
    fn blocks_stay_aligned_when_they_lie_side_by_side() {
        for class in all() {
            assert!(class.alignment().is_power_of_two(), "{class:?}");
            assert_eq!(class.size() % class.alignment(), 0, "{class:?}");
            assert!(class.blocks_per_run() * class.size() <= (64 << 10).max(class.size()));
        }
        let cached = all().filter(|class| class.is_cached()).last().unwrap();
        assert_eq!(cached.size(), 32 << 10);
    }
}
