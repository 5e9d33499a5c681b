//! Loads, stores and atomic operations (PTX ISA 9.7.9 and 9.7.13).

use super::order::{BlockStores, History};
use super::race::{Access, BlockOrder, Races, Stamp};
use super::row::lanes;
use super::warp::Warp;
use super::{Counters, rng::Rng};
use crate::exec::float::{f32_of, single};
use crate::finding::{Fault, FindingKind};
use crate::memory::{Bytes, DeviceMemory, HostWindow};
use crate::ptx::inst::{Address, Atomic, AtomicOp, Load, Loaded, Order, Space, Store};
use crate::ptx::types::{Type, Width};

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
        let bytes = (element * load.to.len()) as u64;
        self.counters
            .loaded(space, bytes * u64::from(active.count_ones()));
        let ordered = self.ordered;
        let mut from_host = 0;
        for lane in lanes(active) {
            let at = place(warp, load.address, lane);
            let by = |fault: Fault| fault.by(lane as u32);
            if let Some(host) = self.window(space, at, bytes).map_err(by)? {
                from_host += bytes;
                for (i, loaded) in load.to.iter().enumerate() {
                    let at = at + (i * element) as u64;
                    let value = host.load(at, element).map_err(by)?;
                    warp.row_mut(loaded.d).0[lane] = extend(value, load.element, loaded);
                }
                continue;
            }
            self.watch(warp, lane, space, at, bytes, load.order, false)
                .map_err(by)?;
            let (memory, start) = self.reach(space, at, bytes).map_err(by)?;
            if !ordered {
                for (i, loaded) in load.to.iter().enumerate() {
                    let value = memory.load(start + i * element, element).map_err(by)?;
                    warp.row_mut(loaded.d).0[lane] = extend(value, load.element, loaded);
                }
                continue;
            }
            for (i, loaded) in load.to.iter().enumerate() {
                let at = at + (i * element) as u64;
                let value = self
                    .read(warp, lane, space, at, element, load.order)
                    .map_err(by)?;
                warp.row_mut(loaded.d).0[lane] = extend(value, load.element, loaded);
            }
        }
        self.counters.host_loaded += from_host;
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
        let bytes = (element * store.from.len()) as u64;
        self.counters
            .stored(space, bytes * u64::from(active.count_ones()));
        if store.order.releases() {
            self.release_to(warp, active, store.scope);
        }
        let ordered = self.ordered;
        let mut to_host = 0;
        for lane in lanes(active) {
            let at = place(warp, store.address, lane);
            let by = |fault: Fault| fault.by(lane as u32);
            if let Some(host) = self.window(space, at, bytes).map_err(by)? {
                to_host += bytes;
                for (i, &from) in store.from.iter().enumerate() {
                    let at = at + (i * element) as u64;
                    host.store(at, element, warp.row(from).0[lane])
                        .map_err(by)?;
                }
                continue;
            }
            self.watch(warp, lane, space, at, bytes, store.order, true)
                .map_err(by)?;
            let (memory, start) = self.reach(space, at, bytes).map_err(by)?;
            if !ordered {
                for (i, &from) in store.from.iter().enumerate() {
                    memory.store(start + i * element, element, warp.row(from).0[lane]);
                }
                continue;
            }
            for (i, &from) in store.from.iter().enumerate() {
                let value = warp.row(from).0[lane];
                self.write(warp, lane, space, at + (i * element) as u64, element, value);
            }
        }
        self.counters.host_stored += to_host;
        Ok(())
    }

    pub(super) fn atomic(
        &mut self,
        warp: &mut Warp,
        atomic: &Atomic,
        active: u32,
    ) -> Result<(), Fault> {
        let (space, op, ty) = (atomic.address.space, atomic.op, atomic.ty);
        let bytes = ty.width().expect("atomics have a size").bytes() as usize;
        self.counters.atomics += u64::from(active.count_ones());
        if atomic.order.releases() {
            self.release_to(warp, active, atomic.scope);
        }
        // Lanes of one warp come in no order that a kernel may rely on.
        let first = self.rng.below(32) as u32;
        for turn in lanes(active.rotate_right(first)) {
            let lane = (turn + first as usize) % 32;
            let at = place(warp, atomic.address, lane);
            let by = |fault: Fault| fault.by(lane as u32);
            let a = warp.row(atomic.a).0[lane];
            let b = atomic.b.map_or(0, |b| warp.row(b).0[lane]);
            let change = |old| combine(op, ty, old, a, b);
            let old = match self.window(space, at, bytes as u64).map_err(by)? {
                Some(host) => {
                    let old = host.load(at, bytes).map_err(by)?;
                    host.store(at, bytes, change(old)).map_err(by)?;
                    old
                }
                None => {
                    let watched =
                        self.watch(warp, lane, space, at, bytes as u64, atomic.order, true);
                    watched.map_err(by)?;
                    self.see(space, at);
                    let updated = self.update(warp, lane, space, at, bytes, change);
                    updated.map_err(by)?
                }
            };
            if let Some(d) = atomic.d {
                warp.row_mut(d).0[lane] = old;
            }
        }
        if atomic.order.acquires() {
            self.acquire(warp, active);
        }
        Ok(())
    }

    /// Looks for a race, and keeps what is needed to find others.
    #[expect(clippy::too_many_arguments, reason = "an access is all of this")]
    fn watch(
        &mut self,
        warp: &mut Warp,
        lane: usize,
        space: Space,
        at: u64,
        bytes: u64,
        order: Order,
        stores: bool,
    ) -> Result<(), Fault> {
        if !self.find_races {
            return Ok(());
        }
        let strong = order != Order::Weak;
        let by = Stamp {
            block: self.block,
            warp: warp.index(),
            lane: lane as u32,
            barriers: self.barriers,
            warp_barriers: warp.barriers,
            releases: self.block_order.releases,
            strong,
        };
        let access = Access {
            space,
            at,
            bytes: bytes as usize,
            stores,
            by,
        };
        let last = &mut warp.stamps[lane][usize::from(strong)];
        let (memory, start) = reach(self.memory, self.shared, space, at, bytes)?;
        self.races
            .check(memory, start, &access, last, self.block_order)?;
        if strong && stores {
            self.races.hand_on(self.block, self.block_order, space, at);
        } else if strong {
            self.races.see(self.block, self.block_order, space, at);
        }
        Ok(())
    }

    /// The host's memory, where this is an access to it. It is seen by everyone at once: nobody
    /// but the host shares it.
    fn window(&self, space: Space, at: u64, bytes: u64) -> Result<Option<&HostWindow>, Fault> {
        if space == Space::Shared {
            return Ok(None);
        }
        match self.memory.window(at) {
            Some(_) if !at.is_multiple_of(bytes) => Err(misaligned(at, bytes)),
            found => Ok(found),
        }
    }

    /// An atomic operation loads what it stores over.
    fn see(&mut self, space: Space, at: u64) {
        if self.find_races {
            self.races.see(self.block, self.block_order, space, at);
        }
    }

    fn reach(&mut self, space: Space, at: u64, bytes: u64) -> Result<(&mut Bytes, usize), Fault> {
        reach(self.memory, self.shared, space, at, bytes)
    }
}

/// The bytes of an access, and where in them it is.
fn reach<'m>(
    memory: &'m mut DeviceMemory,
    shared: &'m mut Bytes,
    space: Space,
    at: u64,
    bytes: u64,
) -> Result<(&'m mut Bytes, usize), Fault> {
    if !at.is_multiple_of(bytes) {
        return Err(misaligned(at, bytes));
    }
    if space == Space::Global {
        return memory.reach(at, bytes);
    }
    let size = shared.len() as u64;
    if at.checked_add(bytes).is_none_or(|end| end > size) {
        let detail = format!("{bytes} bytes at {at:#x} of {size} bytes of shared memory");
        return Err(Fault::new(FindingKind::OutOfBounds, detail));
    }
    Ok((shared, at as usize))
}

#[cold]
fn misaligned(at: u64, bytes: u64) -> Fault {
    let detail = format!("{bytes} bytes at {at:#x}");
    Fault::new(FindingKind::Misaligned, detail)
}

fn place(warp: &Warp, address: Address, lane: usize) -> u64 {
    warp.row(address.base).0[lane].wrapping_add(address.offset as u64)
}

/// A loaded element in its register, which may be wider (PTX ISA 9.4.1).
fn extend(value: u64, element: Width, loaded: &Loaded) -> u64 {
    if loaded.signed {
        element.sign_extend(value) as u64 & loaded.width.mask()
    } else {
        value
    }
}

/// What an atomic operation leaves in memory (PTX ISA 9.7.13.5).
fn combine(op: AtomicOp, ty: Type, old: u64, a: u64, b: u64) -> u64 {
    let width = ty.width().expect("atomics have a size");
    let sign = |value| width.sign_extend(value);
    match op {
        AtomicOp::Add => match ty {
            Type::F32 => single(f32_of(old) + f32_of(a)),
            Type::F64 => (f64::from_bits(old) + f64::from_bits(a)).to_bits(),
            _ => old.wrapping_add(a),
        },
        AtomicOp::Min if ty.is_signed() => {
            if sign(a) < sign(old) {
                a
            } else {
                old
            }
        }
        AtomicOp::Max if ty.is_signed() => {
            if sign(a) > sign(old) {
                a
            } else {
                old
            }
        }
        AtomicOp::Min => old.min(a),
        AtomicOp::Max => old.max(a),
        AtomicOp::And => old & a,
        AtomicOp::Or => old | a,
        AtomicOp::Xor => old ^ a,
        AtomicOp::Exchange => a,
        AtomicOp::CompareAndSwap => {
            if old == a {
                b
            } else {
                old
            }
        }
        AtomicOp::Increment => {
            if old >= a {
                0
            } else {
                old + 1
            }
        }
        AtomicOp::Decrement => {
            if old == 0 || old > a {
                a
            } else {
                old - 1
            }
        }
    }
}
