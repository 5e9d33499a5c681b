//! Loads, stores and atomic operations (PTX ISA 9.7.9 and 9.7.13).

use super::row::lanes;
use super::warp::Warp;
use super::{Counters, rng::Rng};
use crate::exec::float::{f32_of, single};
use crate::finding::{Fault, FindingKind};
use crate::memory::{Bytes, DeviceMemory};
use crate::ptx::inst::{Address, Atomic, AtomicOp, Load, Loaded, Space, Store};
use crate::ptx::types::{Type, Width};

/// What a warp reaches through memory instructions.
pub(super) struct Reach<'r> {
    pub(super) memory: &'r mut DeviceMemory,
    pub(super) shared: &'r mut Bytes,
    pub(super) parameters: &'r [u8],
    pub(super) counters: &'r mut Counters,
    pub(super) rng: &'r mut Rng,
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
        let element = load.element.bytes() as usize;
        let bytes = (element * load.to.len()) as u64;
        self.counters
            .loaded(load.address.space, bytes * u64::from(active.count_ones()));
        for lane in lanes(active) {
            let at = place(warp, load.address, lane);
            let (memory, start) = self
                .reach(load.address.space, at, bytes)
                .map_err(|fault| fault.by(lane as u32))?;
            for (i, loaded) in load.to.iter().enumerate() {
                let value = memory
                    .load(start + i * element, element)
                    .map_err(|fault| fault.by(lane as u32))?;
                warp.row_mut(loaded.d).0[lane] = extend(value, load.element, loaded);
            }
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        warp: &mut Warp,
        store: &Store,
        active: u32,
    ) -> Result<(), Fault> {
        let element = store.element.bytes() as usize;
        let bytes = (element * store.from.len()) as u64;
        self.counters
            .stored(store.address.space, bytes * u64::from(active.count_ones()));
        for lane in lanes(active) {
            let at = place(warp, store.address, lane);
            let (memory, start) = self
                .reach(store.address.space, at, bytes)
                .map_err(|fault| fault.by(lane as u32))?;
            for (i, &from) in store.from.iter().enumerate() {
                memory.store(start + i * element, element, warp.row(from).0[lane]);
            }
        }
        Ok(())
    }

    pub(super) fn atomic(
        &mut self,
        warp: &mut Warp,
        atomic: &Atomic,
        active: u32,
    ) -> Result<(), Fault> {
        let width = atomic.ty.width().expect("atomics have a size");
        let bytes = width.bytes() as usize;
        self.counters.atomics += u64::from(active.count_ones());
        // Lanes of one warp come in no order that a kernel may rely on.
        let first = self.rng.below(32) as u32;
        for turn in lanes(active.rotate_right(first)) {
            let lane = (turn + first as usize) % 32;
            let at = place(warp, atomic.address, lane);
            let (memory, start) = self
                .reach(atomic.address.space, at, bytes as u64)
                .map_err(|fault| fault.by(lane as u32))?;
            let old = memory
                .load(start, bytes)
                .map_err(|fault| fault.by(lane as u32))?;
            let a = warp.row(atomic.a).0[lane];
            let b = atomic.b.map_or(0, |b| warp.row(b).0[lane]);
            memory.store(start, bytes, combine(atomic.op, atomic.ty, old, a, b));
            if let Some(d) = atomic.d {
                warp.row_mut(d).0[lane] = old;
            }
        }
        Ok(())
    }

    fn reach(&mut self, space: Space, at: u64, bytes: u64) -> Result<(&mut Bytes, usize), Fault> {
        if !at.is_multiple_of(bytes) {
            let detail = format!("{bytes} bytes at {at:#x}");
            return Err(Fault::new(FindingKind::Misaligned, detail));
        }
        match space {
            Space::Global => self.memory.reach(at, bytes),
            Space::Shared => {
                let size = self.shared.len() as u64;
                if at.checked_add(bytes).is_none_or(|end| end > size) {
                    let detail =
                        format!("{bytes} bytes at {at:#x} of {size} bytes of shared memory");
                    return Err(Fault::new(FindingKind::OutOfBounds, detail));
                }
                Ok((self.shared, at as usize))
            }
        }
    }
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
