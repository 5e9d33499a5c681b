//! Races: two accesses to a byte, one of them a store, that nothing orders (PTX ISA 8.7 and 8.10).
//!
//! Each byte remembers who stored it last, and of shared memory who loaded it last. Two accesses of
//! one block are ordered by a barrier between them; others by a release that came after the first
//! and an acquire, of what it released, that came before the second. Releases and acquires are
//! counted for a whole block, so that a race between threads of two blocks may be missed where other
//! threads of these blocks are in order; what is found is one. Two atomic or otherwise strong
//! accesses do not race.

use std::collections::HashMap;

use crate::finding::{Fault, FindingKind};
use crate::memory::Bytes;
use crate::ptx::inst::{Scope, Space};

/// Most blocks of a grid in which races between blocks are looked for: what each block knows of
/// each other is kept.
const MOST_BLOCKS: u32 = 512;

/// What a block knows of others: up to which of their releases.
type Clock = HashMap<u32, u32>;

/// What a launch knows of who accessed what.
#[derive(Debug)]
pub(super) struct Races {
    between_blocks: bool,
    /// The number of the first stamp of this launch.
    first: u32,
    stamps: Vec<Stamp>,
    /// What was released at a place, to all or to one block.
    released: HashMap<(Option<u32>, u64), Clock>,
}

/// Who accessed something, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) block: u32,
    pub(super) warp: u32,
    pub(super) lane: u32,
    /// Barriers that the block has passed.
    pub(super) barriers: u32,
    /// Barriers that the warp has passed.
    pub(super) warp_barriers: u32,
    /// Releases of the block.
    pub(super) releases: u32,
    pub(super) strong: bool,
}

/// A block's place in the order of releases and acquires.
#[derive(Debug, Default)]
pub(super) struct BlockOrder {
    pub(super) releases: u32,
    known: Clock,
    /// What was seen of others, and becomes known with the next fence.
    seen: Clock,
    /// What strong stores hand on since the last release.
    handed: Option<(Clock, Scope)>,
}

/// An access that is checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) space: Space,
    /// Of the first byte, as the kernel names it.
    pub(super) at: u64,
    pub(super) bytes: usize,
    pub(super) stores: bool,
    pub(super) by: Stamp,
}

impl Races {
    /// `first` is above every stamp of earlier launches.
    pub(super) fn new(blocks: u32, first: u32) -> Self {
        Races {
            between_blocks: blocks <= MOST_BLOCKS,
            first,
            stamps: Vec::new(),
            released: HashMap::new(),
        }
    }

    /// The first number that no stamp has.
    pub(super) fn next(&self) -> u32 {
        self.first + self.stamps.len() as u32
    }

    /// The number of a stamp; the lane's last one, if nothing has changed.
    fn number(&mut self, last: &mut u32, stamp: Stamp) -> u32 {
        let known = last
            .checked_sub(self.first)
            .and_then(|index| self.stamps.get(index as usize));
        if known != Some(&stamp) {
            *last = self.next();
            self.stamps.push(stamp);
        }
        *last
    }

    /// Looks for a race with who was there before, and leaves the access's stamp.
    pub(super) fn check(
        &mut self,
        memory: &mut Bytes,
        start: usize,
        access: &Access,
        last: &mut u32,
        order: &BlockOrder,
    ) -> Result<(), Fault> {
        let number = self.number(last, access.by);
        let shared = access.space == Space::Shared;
        let range = start..start + access.bytes;
        let trace = memory.trace(shared);
        let mut before = 0;
        for &writer in &trace.writers[range.clone()] {
            if writer != before && writer != number && !self.in_order(writer, access, order) {
                return Err(self.race(writer, access, "stored"));
            }
            before = writer;
        }
        if !access.stores {
            if shared {
                trace.readers[range].fill(number);
            }
            return Ok(());
        }
        if shared {
            for &reader in &trace.readers[range.clone()] {
                if reader != before && reader != number && !self.in_order(reader, access, order) {
                    return Err(self.race(reader, access, "loaded"));
                }
                before = reader;
            }
        }
        trace.writers[range].fill(number);
        Ok(())
    }

    #[inline]
    fn in_order(&self, earlier: u32, access: &Access, order: &BlockOrder) -> bool {
        // Launches come one after the other.
        let Some(index) = earlier.checked_sub(self.first) else {
            return true;
        };
        let Some(&earlier) = self.stamps.get(index as usize) else {
            return true;
        };
        let by = access.by;
        if earlier.strong && by.strong {
            return true;
        }
        let released = order
            .known
            .get(&earlier.block)
            .is_some_and(|&known| known >= earlier.releases);
        if earlier.block != by.block {
            return released || !self.between_blocks;
        }
        let same_warp = earlier.warp == by.warp;
        released
            || (same_warp && earlier.lane == by.lane)
            || earlier.barriers < by.barriers
            || (same_warp && earlier.warp_barriers < by.warp_barriers)
    }

    #[cold]
    fn race(&self, earlier: u32, access: &Access, did: &str) -> Fault {
        let Stamp {
            block, warp, lane, ..
        } = self.stamps[(earlier - self.first) as usize];
        let (does, bytes, at) = (
            if access.stores { "stores" } else { "loads" },
            access.bytes,
            access.at,
        );
        let detail = format!(
            "{does} {bytes} bytes at {at:#x}, which block {block}, warp {warp}, lane {lane} {did} before, \
             and nothing orders the two"
        );
        Fault::new(FindingKind::Race, detail)
    }

    /// A block releases what its threads did so far.
    pub(super) fn release(&mut self, block: u32, order: &mut BlockOrder, scope: Scope) {
        let mut clock = order.known.clone();
        clock.insert(block, order.releases);
        order.releases += 1;
        order.handed = Some((clock, scope));
    }

    /// A strong store hands on, at its place, what was released before it.
    pub(super) fn hand_on(&mut self, block: u32, order: &BlockOrder, space: Space, at: u64) {
        if let Some((clock, scope)) = &order.handed {
            let to = if *scope == Scope::Block {
                Some(block)
            } else {
                None
            };
            let place = (to, place(space, block, at));
            join(self.released.entry(place).or_default(), clock);
        }
    }

    /// A strong load sees what was handed on at its place.
    pub(super) fn see(&self, block: u32, order: &mut BlockOrder, space: Space, at: u64) {
        for to in [None, Some(block)] {
            if let Some(clock) = self.released.get(&(to, place(space, block, at))) {
                join(&mut order.seen, clock);
            }
        }
    }
}

impl BlockOrder {
    /// What was seen is before what comes now.
    pub(super) fn acquire(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        join(&mut self.known, &seen);
    }
}

/// A place by one number: shared memory of each block lies below all global memory.
fn place(space: Space, block: u32, at: u64) -> u64 {
    match space {
        Space::Global => at,
        Space::Shared => u64::from(block) << 20 | at,
    }
}

fn join(into: &mut Clock, from: &Clock) {
    for (&block, &releases) in from {
        let known = into.entry(block).or_insert(releases);
        *known = releases.max(*known);
    }
}
