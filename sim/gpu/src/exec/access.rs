//! Loads and stores (PTX ISA 9.7.9).
//!
//! Mostly, all lanes of a warp access one allocation, and nothing that others see otherwise is near:
//! then what has to be asked is asked once for all of them. Whatever else they do is done lane by
//! lane.

use std::ops::Range;

use super::history::History;
use super::order::BlockStores;
use super::race::{Access, BlockOrder, Place, Races, Stamp};
use super::row::lanes;
use super::warp::Warp;
use super::{Counters, rng::Rng};
use crate::finding::{Fault, FindingKind};
use crate::memory::{Bytes, DeviceMemory, HostWindow};
use crate::ptx::inst::{Address, Load, Loaded, Order, Space, Store};
use crate::ptx::types::Width;

/// What a warp reaches through memory instructions.
pub(super) struct Reach<'r> {
    pub(super) memory: &'r mut DeviceMemory,
    pub(super) shared: &'r mut Bytes,
    pub(super) parameters: &'r [u8],
    pub(super) counters: &'r mut Counters,
    pub(super) rng: &'r mut Rng,
    /// The block's number.
    pub(super) block: u32,
    pub(super) block_stores: &'r mut BlockStores,
    pub(super) history: &'r mut History,
    pub(super) races: &'r mut Races,
    pub(super) block_order: &'r mut BlockOrder,
    /// Barriers that the block has passed.
    pub(super) barriers: u32,
    pub(super) find_races: bool,
    /// Whether threads learn of each other through memory, so that its order matters.
    pub(super) ordered: bool,
}

impl Reach<'_> {
    pub(super) fn load_param(
        &self,
        warp: &mut Warp,
        to: &[Loaded],
        element: Width,
        at: u32,
        active: u32,
    ) {
        let bytes = element.bytes() as usize;
        for (i, loaded) in to.iter().enumerate() {
            let mut value = [0; 8];
            let start = at as usize + i * bytes;
            value[..bytes].copy_from_slice(&self.parameters[start..start + bytes]);
            let value = extend(u64::from_le_bytes(value), element, loaded);
            warp.set(loaded.d, &super::row::Row::splat(value), active);
        }
    }

    pub(super) fn load(&mut self, warp: &mut Warp, load: &Load, active: u32) -> Result<(), Fault> {
        let (space, element) = (load.address.space, load.element.bytes() as usize);
        let bytes = element * load.to.len();
        self.counters
            .loaded(space, bytes as u64 * u64::from(active.count_ones()));
        let access = self.access(warp, space, bytes, load.order, false);
        let together = self.together(warp, load.address, bytes, load.order, active);
        if let Some(range) = &together {
            self.watch_together(warp, &access, load.address, active, range)?;
            if self.is_still(warp, space, range) {
                let (memory, start) = reach(self.memory, self.shared, space, range)?;
                for lane in lanes(active) {
                    let at = (place(warp, load.address, lane) - range.start) as usize + start;
                    for (i, loaded) in load.to.iter().enumerate() {
                        let value = memory.load(at + i * element, element);
                        let value = value.map_err(|fault| fault.by(lane as u32))?;
                        warp.row_mut(loaded.d).0[lane] = extend(value, load.element, loaded);
                    }
                }
                return Ok(());
            }
        }
        for lane in lanes(active) {
            let at = place(warp, load.address, lane);
            let by = |fault: Fault| fault.by(lane as u32);
            if together.is_none() {
                if let Some(host) = self.window(space, at, bytes).map_err(by)? {
                    for (i, loaded) in load.to.iter().enumerate() {
                        let at = at + (i * element) as u64;
                        let value = host.load(at, element).map_err(by)?;
                        warp.row_mut(loaded.d).0[lane] = extend(value, load.element, loaded);
                    }
                    self.counters.host_loaded += bytes as u64;
                    continue;
                }
                self.watch(&access, load.order, lane, at).map_err(by)?;
            }
            for (i, loaded) in load.to.iter().enumerate() {
                let at = at + (i * element) as u64;
                let value = self
                    .read(warp, lane, space, at, element, load.order)
                    .map_err(by)?;
                warp.row_mut(loaded.d).0[lane] = extend(value, load.element, loaded);
            }
        }
        if load.order.acquires() {
            self.acquire(warp, active);
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        warp: &mut Warp,
        store: &Store,
        active: u32,
    ) -> Result<(), Fault> {
        let (space, element) = (store.address.space, store.element.bytes() as usize);
        let bytes = element * store.from.len();
        self.counters
            .stored(space, bytes as u64 * u64::from(active.count_ones()));
        if store.order.releases() {
            self.release_to(warp, active, store.scope);
        }
        let access = self.access(warp, space, bytes, store.order, true);
        let together = self.together(warp, store.address, bytes, store.order, active);
        if let Some(range) = &together {
            self.watch_together(warp, &access, store.address, active, range)?;
            if !self.ordered {
                let (memory, start) = reach(self.memory, self.shared, space, range)?;
                for lane in lanes(active) {
                    let at = (place(warp, store.address, lane) - range.start) as usize + start;
                    for (i, &from) in store.from.iter().enumerate() {
                        memory.store(at + i * element, element, warp.row(from).0[lane]);
                    }
                }
                return Ok(());
            }
        }
        for lane in lanes(active) {
            let at = place(warp, store.address, lane);
            let by = |fault: Fault| fault.by(lane as u32);
            if together.is_none() {
                if let Some(host) = self.window(space, at, bytes).map_err(by)? {
                    for (i, &from) in store.from.iter().enumerate() {
                        let at = at + (i * element) as u64;
                        host.store(at, element, warp.row(from).0[lane])
                            .map_err(by)?;
                    }
                    self.counters.host_stored += bytes as u64;
                    continue;
                }
                self.watch(&access, store.order, lane, at).map_err(by)?;
            }
            for (i, &from) in store.from.iter().enumerate() {
                let (at, value) = (at + (i * element) as u64, warp.row(from).0[lane]);
                if self.ordered {
                    self.write(warp, lane, space, at, element, value);
                } else {
                    let range = at..at + element as u64;
                    let (memory, start) = reach(self.memory, self.shared, space, &range)?;
                    memory.store(start, element, value);
                }
            }
        }
        Ok(())
    }

    /// What the lanes' accesses have in common.
    pub(super) fn access(
        &mut self,
        warp: &mut Warp,
        space: Space,
        bytes: usize,
        order: Order,
        stores: bool,
    ) -> Access {
        let strong = order != Order::Weak;
        let by = Stamp {
            block: self.block,
            warp: warp.index(),
            barriers: self.barriers,
            warp_barriers: warp.barriers,
            releases: self.block_order.releases,
            strong,
        };
        let last = &mut warp.stamps[usize::from(strong)];
        let number = if self.find_races {
            self.races.number(last, by)
        } else {
            *last
        };
        Access {
            space,
            bytes,
            stores,
            by,
            number,
            open: self.races.open(space, self.block_order),
        }
    }

    /// The range that holds what all lanes access, if it is inside of one allocation, or of shared
    /// memory, and each lane's part of it is aligned. Strong accesses come one after the other.
    fn together(
        &self,
        warp: &Warp,
        address: Address,
        bytes: usize,
        order: Order,
        active: u32,
    ) -> Option<Range<u64>> {
        if order != Order::Weak || active == 0 {
            return None;
        }
        let (mut low, mut high, mut bits) = (u64::MAX, 0, 0);
        for lane in lanes(active) {
            let at = place(warp, address, lane);
            (low, high, bits) = (low.min(at), high.max(at), bits | at);
        }
        let range = low..high.checked_add(bytes as u64)?;
        let inside = match address.space {
            Space::Shared => range.end <= self.shared.len() as u64,
            Space::Global => self.memory.holds(&range),
        };
        (bits.is_multiple_of(bytes as u64) && inside).then_some(range)
    }

    /// Looks for races of every lane, and keeps what is needed to find others.
    fn watch_together(
        &mut self,
        warp: &Warp,
        access: &Access,
        address: Address,
        active: u32,
        range: &Range<u64>,
    ) -> Result<(), Fault> {
        if !self.find_races {
            return Ok(());
        }
        let (memory, start) = reach(self.memory, self.shared, access.space, range)?;
        if !memory.is_traced() && !access.leaves_trace() {
            return Ok(());
        }
        let trace = memory.trace(access.space == Space::Shared);
        let whole = start..start + (range.end - range.start) as usize;
        let places = lanes(active).map(|lane| place(warp, address, lane));
        // Lanes that store to one place race with each other.
        let quiet = Races::is_quiet(trace, access, whole)
            && (!access.stores
                || places.is_sorted_by(|at, next| at + access.bytes as u64 <= *next));
        if quiet && !access.leaves_trace() {
            return Ok(());
        }
        for lane in lanes(active) {
            let at = place(warp, address, lane);
            let start = (at - range.start) as usize + start;
            let place = Place { lane, at, start };
            if !quiet {
                self.races.check(trace, access, place, self.block_order)?;
            }
            access.trace(trace, place);
        }
        Ok(())
    }

    /// As `watch_together`, of one lane. It may access what is not there.
    pub(super) fn watch(
        &mut self,
        access: &Access,
        order: Order,
        lane: usize,
        at: u64,
    ) -> Result<(), Fault> {
        let bytes = access.bytes as u64;
        if !at.is_multiple_of(bytes) {
            return Err(misaligned(at, access.bytes));
        }
        let range = at..at.saturating_add(bytes);
        let (memory, start) = reach(self.memory, self.shared, access.space, &range)?;
        if !self.find_races {
            return Ok(());
        }
        let trace = memory.trace(access.space == Space::Shared);
        let place = Place { lane, at, start };
        self.races.check(trace, access, place, self.block_order)?;
        access.trace(trace, place);
        if order == Order::Weak {
            return Ok(());
        }
        if access.stores {
            self.races
                .hand_on(self.block, self.block_order, access.space, at);
        } else {
            self.races
                .see(self.block, self.block_order, access.space, at);
        }
        Ok(())
    }

    /// The host's memory, where this is an access to it. It is seen by everyone at once: nobody
    /// but the host shares it.
    pub(super) fn window(
        &self,
        space: Space,
        at: u64,
        bytes: usize,
    ) -> Result<Option<&HostWindow>, Fault> {
        if space == Space::Shared {
            return Ok(None);
        }
        match self.memory.window(at) {
            Some(_) if !at.is_multiple_of(bytes as u64) => Err(misaligned(at, bytes)),
            found => Ok(found),
        }
    }
}

/// The bytes around a range, and where in them it begins.
#[inline]
fn reach<'m>(
    memory: &'m mut DeviceMemory,
    shared: &'m mut Bytes,
    space: Space,
    range: &Range<u64>,
) -> Result<(&'m mut Bytes, usize), Fault> {
    let (at, bytes) = (range.start, range.end - range.start);
    if space == Space::Global {
        return memory.reach(at, bytes);
    }
    let size = shared.len() as u64;
    if range.end > size {
        let detail = format!("{bytes} bytes at {at:#x} of {size} bytes of shared memory");
        return Err(Fault::new(FindingKind::OutOfBounds, detail));
    }
    Ok((shared, at as usize))
}

#[cold]
fn misaligned(at: u64, bytes: usize) -> Fault {
    let detail = format!("{bytes} bytes at {at:#x}");
    Fault::new(FindingKind::Misaligned, detail)
}

#[inline]
pub(super) fn place(warp: &Warp, address: Address, lane: usize) -> u64 {
    warp.row(address.base).0[lane].wrapping_add(address.offset as u64)
}

/// A loaded element in its register, which may be wider (PTX ISA 9.4.1).
#[inline]
fn extend(value: u64, element: Width, loaded: &Loaded) -> u64 {
    if loaded.signed {
        element.sign_extend(value) as u64 & loaded.width.mask()
    } else {
        value
    }
}
