//! The memory consistency model (PTX ISA 8), as unkindly as it allows.
//!
//! A store first waits in a buffer of its lane, where only that lane sees it; then in one of its
//! block, where the block's threads see it; then it is in memory. It moves on when the seed says
//! so, in any order but that of overlapping stores, and when something orders it: barriers and
//! fences of block scope move a lane's stores into its block's buffer, fences and releases of
//! device scope move both into memory, what a lane has seen of its block among it (causality, 8.9).
//!
//! A weak load may also see what memory held earlier: back to the lane's last acquire, but never
//! back behind what the lane, or its block, has seen or stored at the same place (coherence, 8.8).
//! So a missing release shows, and so does a missing acquire.

use std::ops::Range;

use super::access::Reach;
use super::history::{Change, overlap};
use super::rng::Rng;
use super::row::LANES;
use super::warp::Warp;
use crate::finding::{Fault, FindingKind};
use crate::ptx::inst::{Order, Scope, Space};

/// A store that not everyone sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    lane: u8,
    space: Space,
    at: u64,
    bytes: u8,
    value: u64,
}

impl Pending {
    fn overlaps(&self, at: u64, bytes: usize) -> bool {
        overlap(self.at, self.bytes, at, bytes as u8)
    }

    /// Whether a range holds a part of it.
    fn is_within(&self, range: &Range<u64>) -> bool {
        self.at < range.end && range.start < self.at + u64::from(self.bytes)
    }

    fn is_exactly(&self, at: u64, bytes: usize) -> bool {
        self.at == at && usize::from(self.bytes) == bytes
    }
}

/// How soon stores move on by themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Haste(usize);

impl Haste {
    /// Drawn for a whole launch, as what shows when stores linger is not what shows when they hurry.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Haste([1, 6, 15][rng.below(3)])
    }

    /// Whether one does now.
    pub(super) fn moves(self, rng: &mut Rng) -> bool {
        rng.below(16) < self.0
    }
}

/// Stores that wait in one lane's buffer, or in one block's, before the oldest have to go.
const ROOM: usize = 32;

/// What one warp's lanes have stored and seen.
#[derive(Debug)]
pub(super) struct Sight {
    /// Stores that only their own lane sees, oldest first.
    stores: Vec<Pending>,
    /// Up to which change of memory each lane has acquired.
    horizon: [u64; LANES],
    /// The change up to which a lane has seen a place, where that is later than its horizon.
    seen: Vec<(u8, u64, u64)>,
}

impl Sight {
    pub(super) fn new() -> Self {
        Sight {
            stores: Vec::new(),
            horizon: [0; LANES],
            seen: Vec::new(),
        }
    }

    fn acquire(&mut self, lane: usize, now: u64) {
        self.horizon[lane] = self.horizon[lane].max(now);
        self.seen.retain(|&(other, ..)| usize::from(other) != lane);
    }

    pub(super) fn latest(&self) -> u64 {
        self.horizon.iter().copied().max().unwrap_or(0)
    }

    /// All lanes have seen what one of them has.
    pub(super) fn share(&mut self, latest: u64) {
        for horizon in &mut self.horizon {
            *horizon = latest.max(*horizon);
        }
    }
}

/// What a block's threads see and others do not, oldest first.
pub(super) type BlockStores = Vec<Pending>;

impl Reach<'_> {
    /// Whether what is in memory is what everyone sees of a range.
    pub(super) fn is_still(&self, warp: &Warp, space: Space, range: &Range<u64>) -> bool {
        // Where lanes are far apart, asking for everything between them takes longest.
        const MOST: u64 = 1024;
        let near = |store: &Pending| store.is_within(range);
        !self.ordered
            || range.end - range.start <= MOST
                && !warp.sight.stores.iter().any(near)
                && !self.block_stores.iter().any(near)
                && (space == Space::Shared || !self.history.touches(range))
    }

    /// What a lane loads, of a range that is known to be there.
    pub(super) fn read(
        &mut self,
        warp: &mut Warp,
        lane: usize,
        space: Space,
        at: u64,
        bytes: usize,
        order: Order,
    ) -> Result<u64, Fault> {
        let own = |store: &Pending| usize::from(store.lane) == lane && store.overlaps(at, bytes);
        match warp.sight.stores.iter().rfind(|store| own(store)) {
            Some(store) if store.is_exactly(at, bytes) => return Ok(store.value),
            Some(_) => self.settle_lane(warp, |store| own(store)),
            None => {}
        }
        if space == Space::Shared {
            return self.shared.load(at as usize, bytes);
        }
        let near = |store: &Pending| store.overlaps(at, bytes);
        match self.block_stores.iter().rfind(|store| near(store)) {
            Some(store) if store.is_exactly(at, bytes) => return Ok(store.value),
            Some(_) => self.settle_block(near),
            None => {}
        }
        if order == Order::Weak
            && let Some(earlier) = self.earlier(warp, lane, at, bytes)
        {
            return earlier.ok_or_else(|| {
                let detail = format!("{bytes} bytes at {at:#x}, which another block has written, but nothing orders that before");
                Fault::new(FindingKind::Uninitialised, detail)
            });
        }
        let (memory, start) = self.memory.reach(at, bytes as u64)?;
        memory.load(start, bytes)
    }

    /// Perhaps what memory held before; the inner option is none where nobody had written.
    fn earlier(
        &mut self,
        warp: &mut Warp,
        lane: usize,
        at: u64,
        bytes: usize,
    ) -> Option<Option<u64>> {
        let sight = &mut warp.sight;
        let of_this =
            |&&(other, place, _): &&(u8, u64, u64)| usize::from(other) == lane && place == at;
        let seen = sight
            .seen
            .iter()
            .filter(of_this)
            .map(|&(_, _, number)| number)
            .max();
        let bound = seen.unwrap_or(0).max(sight.horizon[lane]);
        let changes = self.history.of(at, bytes);
        let open: Vec<Change> = changes
            .take_while(|change| {
                let exact = change.at == at && usize::from(change.bytes) == bytes;
                change.number > bound && change.block != self.block && exact
            })
            .copied()
            .collect();
        let newest = open.first()?.number;
        let undone = self.rng.below(open.len() + 1);
        let (number, value) = match undone.checked_sub(1) {
            None => (newest, None),
            Some(last) => (open[last].number - 1, Some(open[last].old)),
        };
        sight
            .seen
            .retain(|&(other, place, _)| usize::from(other) != lane || place != at);
        if sight.seen.len() >= ROOM {
            sight.acquire(lane, self.history.now());
        }
        sight.seen.push((lane as u8, at, number));
        value
    }

    /// A lane stores, into a range that is known to be there.
    pub(super) fn write(
        &mut self,
        warp: &mut Warp,
        lane: usize,
        space: Space,
        at: u64,
        bytes: usize,
        value: u64,
    ) {
        let value = value & (u64::MAX >> (64 - 8 * bytes));
        let store = Pending {
            lane: lane as u8,
            space,
            at,
            bytes: bytes as u8,
            value,
        };
        warp.sight.stores.push(store);
        if warp.sight.stores.len() > ROOM {
            self.settle_one_of_lanes(warp);
        }
    }

    /// What an atomic operation finds and leaves: nothing comes between.
    pub(super) fn update(
        &mut self,
        warp: &mut Warp,
        lane: usize,
        space: Space,
        at: u64,
        bytes: usize,
        change: impl Fn(u64) -> u64,
    ) -> Result<u64, Fault> {
        let near = |store: &Pending| store.overlaps(at, bytes);
        self.settle_lane(warp, |store| usize::from(store.lane) == lane && near(store));
        if space == Space::Shared {
            let old = self.shared.load(at as usize, bytes)?;
            self.shared.store(at as usize, bytes, change(old));
            return Ok(old);
        }
        self.settle_block(near);
        let (memory, start) = self.memory.reach(at, bytes as u64)?;
        let old = memory.load(start, bytes)?;
        memory.store(start, bytes, change(old));
        self.history.add(self.block, at, bytes, Some(old));
        Ok(old)
    }

    /// What these lanes did before comes before what anyone in scope does after seeing what they
    /// do next.
    pub(super) fn release(&mut self, warp: &mut Warp, lanes: u32, scope: Scope) {
        self.settle_lane(warp, |store| lanes >> store.lane & 1 == 1);
        if scope == Scope::Device {
            self.settle_block(|_| true);
        }
    }

    /// As `release`, by a fence or an operation that hands on what it released.
    pub(super) fn release_to(&mut self, warp: &mut Warp, lanes: u32, scope: Scope) {
        self.release(warp, lanes, scope);
        if self.find_races {
            self.races.release(self.block, self.block_order, scope);
        }
    }

    /// What these lanes do next sees everything that is in memory now.
    pub(super) fn acquire(&mut self, warp: &mut Warp, lanes: u32) {
        for lane in super::row::lanes(lanes) {
            warp.sight.acquire(lane, self.history.now());
        }
        self.block_order.acquire();
    }

    /// Lets some stores move on, as the seed says.
    pub(super) fn drift(&mut self, warp: &mut Warp, haste: Haste) {
        while !warp.sight.stores.is_empty() && haste.moves(self.rng) {
            self.settle_one_of_lanes(warp);
        }
        while !self.block_stores.is_empty() && haste.moves(self.rng) {
            self.settle_one_of_block();
        }
    }

    fn settle_one_of_lanes(&mut self, warp: &mut Warp) {
        let stores = &mut warp.sight.stores;
        let chosen = stores[self.rng.below(stores.len())];
        // Those of the same lane at the same place keep their order.
        let before = |store: &Pending| {
            store.lane == chosen.lane && store.overlaps(chosen.at, chosen.bytes.into())
        };
        if let Some(first) = stores.iter().position(before) {
            let store = stores.remove(first);
            self.hand_to_block(store);
        }
    }

    pub(super) fn settle_one_of_block(&mut self) {
        let chosen = self.block_stores[self.rng.below(self.block_stores.len())];
        let before = |store: &Pending| store.overlaps(chosen.at, chosen.bytes.into());
        if let Some(first) = self.block_stores.iter().position(before) {
            let store = self.block_stores.remove(first);
            self.hand_to_memory(store);
        }
    }

    /// Moves stores of lanes on, oldest first.
    fn settle_lane(&mut self, warp: &mut Warp, which: impl Fn(&Pending) -> bool) {
        let gone: Vec<Pending> = warp
            .sight
            .stores
            .extract_if(.., |store| which(store))
            .collect();
        gone.into_iter().for_each(|store| self.hand_to_block(store));
    }

    /// Moves stores of the block on, oldest first.
    fn settle_block(&mut self, which: impl Fn(&Pending) -> bool) {
        let gone: Vec<Pending> = self
            .block_stores
            .extract_if(.., |store| which(store))
            .collect();
        gone.into_iter()
            .for_each(|store| self.hand_to_memory(store));
    }

    fn hand_to_block(&mut self, store: Pending) {
        match store.space {
            Space::Shared => self
                .shared
                .store(store.at as usize, store.bytes.into(), store.value),
            Space::Global => {
                self.block_stores.push(store);
                if self.block_stores.len() > ROOM {
                    self.settle_one_of_block();
                }
            }
        }
    }

    fn hand_to_memory(&mut self, store: Pending) {
        let bytes = usize::from(store.bytes);
        let (memory, start) = self
            .memory
            .reach(store.at, bytes as u64)
            .expect("checked when it was stored");
        self.history
            .add(self.block, store.at, bytes, memory.peek(start, bytes));
        memory.store(start, bytes, store.value);
    }
}
