//! Races: two accesses to a byte, one of them a store, that nothing orders (PTX ISA 8.7 and 8.10).
//!
//! Each byte remembers who stored it last, and of shared memory who loaded it last. Two accesses of
//! one block are ordered by a barrier between them; others by a release that came after the first
//! and an acquire, of what it released, that came before the second. Releases and acquires are
//! counted for a whole block, so that a race between threads of two blocks may be missed where other
//! threads of these blocks are in order; what is found is one. Two atomic or otherwise strong
//! accesses do not race.

use std::collections::HashMap;
use std::ops::Range;

use super::row::LANES;
use crate::finding::{Fault, FindingKind};
use crate::memory::Trace;
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
    /// The first number of this launch.
    first: u32,
    stamps: Vec<Stamp>,
    /// What was released at a place, to all or to one block.
    released: HashMap<(Option<u32>, u64), Clock>,
}

/// Which warp accessed something, and when. Its lanes have as many numbers, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) block: u32,
    pub(super) warp: u32,
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
    /// The first number that the block's warps can have got since they last met at a barrier.
    since_barrier: u32,
    known: Clock,
    /// What was seen of others, and becomes known with the next fence.
    seen: Clock,
    /// What strong stores hand on since the last release.
    handed: Option<(Clock, Scope)>,
}

/// What the lanes' accesses of one instruction have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) space: Space,
    /// Of each lane.
    pub(super) bytes: usize,
    pub(super) stores: bool,
    pub(super) by: Stamp,
    /// The number of the first lane's accesses.
    pub(super) number: u32,
    /// Accesses with lower numbers come before.
    pub(super) open: u32,
}

impl Access {
    /// Whether it races with loads, as far as those are kept.
    fn is_held_by_readers(&self) -> bool {
        self.stores && self.space == Space::Shared
    }

    /// Whether it is kept.
    pub(super) fn leaves_trace(&self) -> bool {
        self.stores || self.space == Space::Shared
    }

    /// Leaves a lane's number where it accesses memory.
    #[inline]
    pub(super) fn trace(&self, trace: &mut Trace, place: Place) {
        let range = place.start..place.start + self.bytes;
        let number = self.number + place.lane as u32;
        if self.stores {
            trace.writers[range].fill(number);
        } else if self.space == Space::Shared {
            trace.readers[range].fill(number);
        }
    }
}

/// What one lane accesses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) lane: usize,
    /// Of the first byte, as the kernel names it.
    pub(super) at: u64,
    /// The same byte in the memory that it lies in.
    pub(super) start: usize,
}

impl Races {
    /// `first` is above every number of earlier launches.
    pub(super) fn new(blocks: u32, first: u32) -> Self {
        Races {
            between_blocks: blocks <= MOST_BLOCKS,
            first,
            stamps: Vec::new(),
            released: HashMap::new(),
        }
    }

    /// The first number whose access to a space may not be in order with what the block does now.
    pub(super) fn open(&self, space: Space, order: &BlockOrder) -> u32 {
        match space {
            // Launches come one after the other.
            Space::Global => self.first,
            Space::Shared => self.first.max(order.since_barrier),
        }
    }

    /// A block's threads have met at a barrier.
    pub(super) fn met(&self, order: &mut BlockOrder) {
        order.since_barrier = self.next();
    }

    /// The first number that no lane of any stamp has.
    pub(super) fn next(&self) -> u32 {
        self.first + (self.stamps.len() * LANES) as u32
    }

    /// The number of a stamp's first lane; the last one, if nothing has changed.
    pub(super) fn number(&mut self, last: &mut u32, stamp: Stamp) -> u32 {
        if self.stamp(*last).map(|(known, _)| known) != Some(stamp) {
            *last = self.next();
            self.stamps.push(stamp);
        }
        *last
    }

    /// Who has a number, and in which lane; none if it is of an earlier launch.
    fn stamp(&self, number: u32) -> Option<(Stamp, u32)> {
        let index = number.checked_sub(self.first)?;
        let stamp = self.stamps.get(index as usize / LANES)?;
        Some((*stamp, index % LANES as u32))
    }

    /// Whether nobody accessed a range in a way that has to be looked at lane by lane.
    pub(super) fn is_quiet(trace: &Trace, access: &Access, range: Range<usize>) -> bool {
        // Where lanes are far apart, much lies between them.
        if range.len() > 4 * LANES * access.bytes {
            return false;
        }
        let quiet = |numbers: &[u32]| {
            let latest = numbers.iter().fold(0, |latest, &number| number.max(latest));
            latest < access.open
        };
        quiet(&trace.writers[range.clone()])
            && (!access.is_held_by_readers() || quiet(&trace.readers[range]))
    }

    /// Looks for a race of one lane with who was there before.
    pub(super) fn check(
        &self,
        trace: &Trace,
        access: &Access,
        place: Place,
        order: &BlockOrder,
    ) -> Result<(), Fault> {
        let number = access.number + place.lane as u32;
        let range = place.start..place.start + access.bytes;
        let racing = |numbers: &[u32]| {
            let mut last = number;
            for &earlier in numbers {
                if earlier >= access.open
                    && earlier != last
                    && earlier != number
                    && !self.in_order(earlier, access, place, order)
                {
                    return Some(earlier);
                }
                last = earlier;
            }
            None
        };
        if let Some(writer) = racing(&trace.writers[range.clone()]) {
            return Err(self.race(writer, access, place, "stored"));
        }
        if access.is_held_by_readers()
            && let Some(reader) = racing(&trace.readers[range])
        {
            return Err(self.race(reader, access, place, "loaded"));
        }
        Ok(())
    }

    fn in_order(&self, earlier: u32, access: &Access, place: Place, order: &BlockOrder) -> bool {
        let Some((earlier, lane)) = self.stamp(earlier) else {
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
            || (same_warp && lane as usize == place.lane)
            || earlier.barriers < by.barriers
            || (same_warp && earlier.warp_barriers < by.warp_barriers)
    }

    #[cold]
    fn race(&self, earlier: u32, access: &Access, place: Place, did: &str) -> Fault {
        let (Stamp { block, warp, .. }, lane) = self
            .stamp(earlier)
            .expect("numbers of earlier launches race with nobody");
        let (does, bytes, at) = (
            if access.stores { "stores" } else { "loads" },
            access.bytes,
            place.at,
        );
        let detail = format!(
            "{does} {bytes} bytes at {at:#x}, which block {block}, warp {warp}, lane {lane} {did} before, \
             and nothing orders the two"
        );
        Fault::new(FindingKind::Race, detail).by(place.lane as u32)
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
