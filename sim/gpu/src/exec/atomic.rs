//! Atomic operations (PTX ISA 9.7.13).

use super::access::{Reach, place};
use super::float::{f32_of, single};
use super::row::lanes;
use super::warp::Warp;
use crate::finding::Fault;
use crate::ptx::inst::{Atomic, AtomicOp, Space};
use crate::ptx::types::Type;

impl Reach<'_> {
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
        let access = self.access(warp, space, bytes, atomic.order, true);
        // Lanes of one warp come in no order that a kernel may rely on.
        let first = self.rng.below(32) as u32;
        for turn in lanes(active.rotate_right(first)) {
            let lane = (turn + first as usize) % 32;
            let at = place(warp, atomic.address, lane);
            let by = |fault: Fault| fault.by(lane as u32);
            let a = warp.row(atomic.a).0[lane];
            let b = atomic.b.map_or(0, |b| warp.row(b).0[lane]);
            let change = |old| combine(op, ty, old, a, b);
            let old = match self.window(space, at, bytes).map_err(by)? {
                Some(host) => {
                    let old = host.load(at, bytes).map_err(by)?;
                    host.store(at, bytes, change(old)).map_err(by)?;
                    old
                }
                None => {
                    let watched = self.watch(&access, atomic.order, lane, at);
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

    /// An atomic operation loads what it stores over.
    fn see(&mut self, space: Space, at: u64) {
        if self.find_races {
            self.races.see(self.block, self.block_order, space, at);
        }
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
