//! One instruction of lanes that are at one place.

use super::access::Reach;
use super::row::{Row, map2};
use super::warp::Warp;
use super::{convert, float, integer};
use crate::finding::Fault;
use crate::ptx::inst::{Logic, Op};
use crate::ptx::types::Width;

/// Runs an instruction that moves all its lanes on by one.
pub(super) fn step(
    warp: &mut Warp,
    op: &Op,
    active: u32,
    reach: &mut Reach<'_>,
    poison: u64,
) -> Result<(), Fault> {
    // The value of every lane is computed, of those that are not active for nothing.
    let (d, value) = match *op {
        Op::Integer { op, ty, d, a, b } => (
            d,
            integer::integer(op, ty, warp.row(a), warp.row(b), poison),
        ),
        Op::MultiplyWide { ty, d, a, b, c } => {
            let product = integer::multiply_wide(ty, warp.row(a), warp.row(b));
            let mask = u64::MAX >> (64 - 2 * ty.width.bits());
            let add = |c| map2(&product, warp.row(c), |p, c| p.wrapping_add(c) & mask);
            (d, c.map_or(product, add))
        }
        Op::MultiplyAdd {
            ty,
            high,
            d,
            a,
            b,
            c,
        } => {
            use crate::ptx::inst::IntegerOp::{Add, MulHi, MulLo};
            let product = integer::integer(
                if high { MulHi } else { MulLo },
                ty,
                warp.row(a),
                warp.row(b),
                poison,
            );
            (d, integer::integer(Add, ty, &product, warp.row(c), poison))
        }
        Op::Carry {
            subtract,
            reads,
            writes,
            width,
            d,
            a,
            b,
        } => {
            let carry = if reads { warp.carry } else { 0 };
            let (value, carried) = integer::carry(subtract, width, warp.row(a), warp.row(b), carry);
            if writes {
                warp.carry = warp.carry & !active | carried & active;
            }
            (d, value)
        }
        Op::Unary { op, ty, d, a } => (d, integer::unary(op, ty, warp.row(a))),
        Op::FieldExtract { ty, d, a, b, c } => (
            d,
            integer::extract(ty, warp.row(a), warp.row(b), warp.row(c)),
        ),
        Op::FieldInsert {
            width,
            d,
            a,
            b,
            at,
            length,
        } => (
            d,
            integer::insert(
                width,
                warp.row(a),
                warp.row(b),
                warp.row(at),
                warp.row(length),
            ),
        ),
        Op::Permute { d, a, b, selector } => (
            d,
            integer::permute(warp.row(a), warp.row(b), warp.row(selector)),
        ),
        Op::Logic3 { d, a, b, c, table } => (
            d,
            integer::logic3(warp.row(a), warp.row(b), warp.row(c), table),
        ),
        Op::Funnel {
            left,
            wrap,
            d,
            a,
            b,
            by,
        } => (
            d,
            integer::funnel(left, wrap, warp.row(a), warp.row(b), warp.row(by)),
        ),
        Op::Float {
            op,
            double,
            d,
            a,
            b,
        } => (
            d,
            float::float(op, double, warp.row(a), warp.row(b), poison),
        ),
        Op::FusedMultiplyAdd { double, d, a, b, c } => (
            d,
            float::fused_multiply_add(double, warp.row(a), warp.row(b), warp.row(c), poison),
        ),
        Op::FloatUnary { op, double, d, a } => (d, float::unary(op, double, warp.row(a), poison)),
        Op::Compare {
            cmp,
            ty,
            combine,
            p,
            q,
            a,
            b,
        } => {
            let holds = convert::compare(cmp, ty, warp.row(a), warp.row(b));
            let with =
                |bits| combine.map_or(bits, |(op, guard)| logic(op, bits, warp.holds(guard)));
            let (yes, no) = (with(holds), with(!holds));
            if let Some(p) = p {
                warp.set_predicate(p, yes, active);
            }
            if let Some(q) = q {
                warp.set_predicate(q, no, active);
            }
            return Ok(());
        }
        Op::Select { d, a, b, p } => {
            let mut value = *warp.row(b);
            value.merge(warp.row(a), warp.predicate(p));
            (d, value)
        }
        Op::Predicate { logic: op, d, a, b } => {
            let bits = logic(op, warp.holds(a), warp.holds(b));
            warp.set_predicate(d, bits, active);
            return Ok(());
        }
        Op::Move { d, a } => (d, *warp.row(a)),
        Op::Pack { d, ref parts, part } => {
            let mut value = Row::splat(0);
            for (i, &from) in parts.iter().enumerate() {
                let shift = part.bits() * i as u32;
                value = map2(&value, warp.row(from), |value, part| value | part << shift);
            }
            (d, value)
        }
        Op::Unpack { ref parts, part, a } => {
            let whole = *warp.row(a);
            for (i, to) in parts.iter().enumerate() {
                if let Some(to) = *to {
                    warp.set(to, &unpack(&whole, part, i as u32), active);
                }
            }
            return Ok(());
        }
        Op::Convert(ref cvt) => (cvt.d, convert::convert(cvt, warp.row(cvt.a), poison)),
        Op::LoadParam {
            ref to,
            element,
            offset,
        } => {
            reach.load_param(warp, to, element, offset, active);
            return Ok(());
        }
        Op::Load(ref load) => return reach.load(warp, load, active),
        Op::Store(ref store) => return reach.store(warp, store, active),
        Op::Atomic(ref atomic) => return reach.atomic(warp, atomic, active),
        Op::ActiveMask { d } => (d, Row::splat(u64::from(active))),
        Op::Fence { scope } => {
            reach.release_to(warp, active, scope);
            reach.acquire(warp, active);
            return Ok(());
        }
        Op::Yield | Op::Prefetch => return Ok(()),
        Op::Vote { .. }
        | Op::Shuffle { .. }
        | Op::WarpBarrier { .. }
        | Op::Barrier { .. }
        | Op::Branch { .. }
        | Op::Exit
        | Op::Trap => unreachable!("the warp's own runner does these"),
    };
    warp.set(d, &value, active);
    Ok(())
}

fn logic(op: Logic, a: u32, b: u32) -> u32 {
    match op {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}

fn unpack(whole: &Row, part: Width, index: u32) -> Row {
    super::row::map(whole, |whole| whole >> (part.bits() * index) & part.mask())
}
