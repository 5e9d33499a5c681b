//! The free memory of the reserve.
//!
//! Blocks of a class's exact size wait on that class's list: taking and returning one is O(1).
//! Everything else lies in extents, where neighbours are joined. When neither holds what is asked
//! for, all lists are swept into the extents and the search is repeated: blocks change their class
//! only then.

use std::collections::{BTreeMap, BTreeSet};

use super::block::Block;
use super::class::Class;
use super::ledger::SessionId;

/// Free memory, and who used it last.
#[derive(Debug)]
pub(super) struct Free<B> {
    pub(super) block: B,
    pub(super) last: LastUser,
}

/// Whose bytes a free block may still hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastUser {
    /// Nobody's: it is still zero.
    Nobody,
    /// Those of one session.
    One(SessionId),
    /// Those of several.
    Several,
}

impl LastUser {
    /// Whether a block must be zeroed before this session sees it.
    pub(super) fn hides_from(self, session: SessionId) -> bool {
        match self {
            LastUser::Nobody => false,
            LastUser::One(last) => last != session,
            LastUser::Several => true,
        }
    }

    fn and(self, other: LastUser) -> LastUser {
        match (self, other) {
            (LastUser::Nobody, one) | (one, LastUser::Nobody) => one,
            (one, other) if one == other => one,
            _ => LastUser::Several,
        }
    }
}

/// The free memory of the reserve.
#[derive(Debug)]
pub(super) struct Store<B> {
    lists: Vec<Vec<Free<B>>>,
    /// By start. No two are neighbours.
    extents: BTreeMap<u64, Free<B>>,
    /// The same extents as (length, start).
    by_len: BTreeSet<(u64, u64)>,
    free: u64,
}

impl<B: Block> Store<B> {
    pub(super) fn new(reserve: Option<B>) -> Self {
        let mut store = Store {
            lists: (0..Class::COUNT).map(|_| Vec::new()).collect(),
            extents: BTreeMap::new(),
            by_len: BTreeSet::new(),
            free: 0,
        };
        if let Some(block) = reserve {
            store.free = block.len();
            store.add_extent(Free {
                block,
                last: LastUser::Nobody,
            });
        }
        store
    }

    /// Bytes free.
    pub(super) fn free(&self) -> u64 {
        self.free
    }

    /// Takes a block of a class.
    pub(super) fn take(&mut self, class: Class) -> Option<Free<B>> {
        if class.size() > self.free {
            return None;
        }
        if self.lists[class.index()].is_empty() && !self.cut(class) {
            self.sweep();
            self.cut(class);
        }
        let free = self.lists[class.index()].pop()?;
        self.free -= free.block.len();
        Some(free)
    }

    /// Takes a block back: a whole one or a piece that was split off.
    pub(super) fn put(&mut self, free: Free<B>) {
        let (start, len) = (free.block.start(), free.block.len());
        if len == 0 {
            return;
        }
        self.free += len;
        match Class::of_block(start, len) {
            Some(class) => self.lists[class.index()].push(free),
            None => self.add_extent(free),
        }
    }

    /// Cuts blocks of a class off the best extent onto the class's list. False if none is large
    /// enough.
    fn cut(&mut self, class: Class) -> bool {
        let size = class.size();
        // The smallest extent that holds a block once its start is aligned.
        let found = self.by_len.range((size, 0)..).find_map(|(len, start)| {
            let aligned = start.next_multiple_of(class.alignment());
            (aligned + size <= start + len).then_some((*start, aligned))
        });
        let Some((start, aligned)) = found else {
            return false;
        };
        let mut free = self.remove_extent(start);
        if aligned > start {
            let tail = free.block.split_off(aligned - start);
            let head = std::mem::replace(&mut free.block, tail);
            self.add_extent(Free {
                block: head,
                last: free.last,
            });
        }
        let blocks = (free.block.len() / size).min(class.blocks_per_run());
        let rest = free.block.split_off(blocks * size);
        if rest.len() > 0 {
            self.add_extent(Free {
                block: rest,
                last: free.last,
            });
        }
        // Cut from the back, so that the list hands out the lowest first.
        for index in (1..blocks).rev() {
            let block = free.block.split_off(index * size);
            self.lists[class.index()].push(Free {
                block,
                last: free.last,
            });
        }
        self.lists[class.index()].push(free);
        true
    }

    /// Joins what lies on the lists into extents.
    fn sweep(&mut self) {
        for index in 0..self.lists.len() {
            for free in std::mem::take(&mut self.lists[index]) {
                self.add_extent(free);
            }
        }
    }

    fn add_extent(&mut self, mut free: Free<B>) {
        let before = self.extents.range(..free.block.start()).next_back();
        if let Some((start, _)) =
            before.filter(|(start, each)| *start + each.block.len() == free.block.start())
        {
            let before = self.remove_extent(*start);
            free = Free {
                last: before.last.and(free.last),
                block: before.block.join(free.block),
            };
        }
        let end = free.block.start() + free.block.len();
        if self.extents.contains_key(&end) {
            let after = self.remove_extent(end);
            free = Free {
                last: free.last.and(after.last),
                block: free.block.join(after.block),
            };
        }
        self.by_len.insert((free.block.len(), free.block.start()));
        self.extents.insert(free.block.start(), free);
    }

    fn remove_extent(&mut self, start: u64) -> Free<B> {
        let free = self
            .extents
            .remove(&start)
            .expect("the caller has just seen it");
        let indexed = self.by_len.remove(&(free.block.len(), start));
        assert!(indexed, "both maps hold the same extents");
        free
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::Range;
    use super::super::ledger::Ledger;
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const RESERVE: u64 = 8 << 20;

    fn class(len: u64) -> Class {
        Class::of(len).unwrap()
    }

    #[test]
    fn a_returned_block_is_the_next_one_taken() {
        let mut store = Store::new(Some(Range(0, RESERVE)));
        let one = store.take(class(1000)).unwrap();
        let start = one.block.start();
        store.put(one);
        assert_eq!(store.take(class(1000)).unwrap().block.start(), start);
    }

    #[test]
    fn memory_changes_its_class_when_it_must() {
        let mut store = Store::new(Some(Range(0, RESERVE)));
        let small: Vec<_> = std::iter::from_fn(|| store.take(class(64))).collect();
        assert_eq!(small.len() as u64, RESERVE / 64);
        assert_eq!(store.free(), 0);
        small.into_iter().for_each(|each| store.put(each));
        let whole = store.take(class(RESERVE)).unwrap();
        assert_eq!(whole.block, Range(0, RESERVE));
    }

    #[test]
    fn pieces_come_back_in_any_order_and_shape() {
        let mut store = Store::new(Some(Range(0, RESERVE)));
        let mut one = store.take(class(1 << 20)).unwrap();
        let tail = one.block.split_off(100);
        let last = one.last;
        store.put(Free { block: tail, last });
        assert!(store.take(class(RESERVE)).is_none());
        store.put(one);
        assert!(store.take(class(RESERVE)).is_some());
    }

    #[test]
    fn bytes_of_another_session_are_known() {
        let mut ledger = Ledger::new(0, 0);
        let [one, two] =
            ["one", "two"].map(|label| ledger.open(label.into(), 0, Default::default()));
        let mut store = Store::new(Some(Range(0, 8192)));
        let mut low = store.take(class(4096)).unwrap();
        assert!(!low.last.hides_from(one));
        low.last = LastUser::One(one);
        store.put(low);
        let low = store.take(class(4096)).unwrap();
        assert!(!low.last.hides_from(one) && low.last.hides_from(two));
        let mut high = store.take(class(4096)).unwrap();
        high.last = LastUser::One(two);
        store.put(low);
        store.put(high);
        let both = store.take(class(8192)).unwrap();
        assert!(both.last.hides_from(one) && both.last.hides_from(two));
    }

    /// Random takes, splits and returns: nothing overlaps, nothing is lost, all joins again.
    #[test]
    fn nothing_overlaps_and_nothing_is_lost() {
        for seed in 0..200 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut store = Store::new(Some(Range(0, RESERVE)));
            let mut held: Vec<Free<Range>> = Vec::new();
            for _ in 0..300 {
                if random.random_bool(0.55) {
                    let len = 1u64 << random.random_range(0..22);
                    let class = class(len + random.random_range(0..len));
                    let taken = store.take(class);
                    if let Some(free) = &taken {
                        assert_eq!(free.block.len(), class.size());
                        assert_eq!(free.block.start() % class.alignment(), 0);
                    }
                    held.extend(taken);
                } else if !held.is_empty() {
                    let mut free = held.swap_remove(random.random_range(0..held.len()));
                    if random.random_bool(0.3) {
                        let at = random.random_range(0..=free.block.len());
                        let (block, last) = (free.block.split_off(at), free.last);
                        held.push(Free { block, last });
                    }
                    store.put(free);
                }
                let out: u64 = held.iter().map(|each| each.block.len()).sum();
                assert_eq!(store.free() + out, RESERVE, "seed {seed}");
            }
            held.sort_by_key(|each| (each.block.0, each.block.1));
            assert!(
                held.is_sorted_by(|a, b| a.block.1 <= b.block.0),
                "seed {seed}"
            );
            held.into_iter().for_each(|each| store.put(each));
            assert!(store.take(class(RESERVE)).is_some(), "seed {seed}");
        }
    }
}
