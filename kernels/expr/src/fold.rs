//! What an instruction yields when its operands are known: exact host arithmetic.
//!
//! Folding never raises. An operation's value and the mask of its failures are instructions of
//! their own, so that `10 / 0` folds to a meaningless value beside a trap that always fires.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Rem, Sub};

use unlade_program::{
    BinaryOp, CastRule, CompareOp, FloatOrder, Imm, Inst, MaskOp, OverflowOp, Rounding, Ty,
    UnaryOp, Val,
};

/// The result of an instruction, if its operands are known and it depends on nothing else.
pub(crate) fn evaluate(inst: &Inst, known: impl Fn(Val) -> Option<Imm>) -> Option<Imm> {
    match *inst {
        Inst::Load { .. }
        | Inst::Validity { .. }
        | Inst::Param { .. }
        | Inst::Const { .. }
        | Inst::Lookup { .. }
        | Inst::InBounds { .. }
        | Inst::InSet { .. }
        | Inst::Trap { .. } => None,
        Inst::Unary { op, arg } => Some(unary(op, known(arg)?)),
        Inst::Binary { op, lhs, rhs } => Some(binary(op, known(lhs)?, known(rhs)?)),
        Inst::Overflow { op, lhs, rhs } => {
            let (lhs, rhs) = (known(lhs)?, known(rhs)?);
            Some(Imm::mask(overflows(op, lhs, rhs)))
        }
        Inst::Compare {
            op,
            order,
            lhs,
            rhs,
        } => {
            let ordering = compare(order, known(lhs)?, known(rhs)?);
            Some(Imm::mask(holds(op, ordering)))
        }
        Inst::Range { arg, low, high } => {
            let (arg, low, high) = (known(arg)?, known(low)?, known(high)?);
            let bounds = low.as_integer()..=high.as_integer();
            Some(Imm::mask(bounds.contains(&arg.as_integer())))
        }
        Inst::Cast { rule, arg, to } => Some(cast(rule, known(arg)?, to)),
        Inst::CastFails { arg, to } => Some(Imm::mask(!fits(known(arg)?, to))),
        Inst::Rescale { arg, by, rounding } => {
            let value = rescale(known(arg)?.as_integer(), by, rounding);
            Some(integer(Ty::I128, value))
        }
        Inst::RescaleFails { arg, by } => {
            let product = known(arg)?.as_integer().checked_mul(power_of_ten(by));
            Some(Imm::mask(product.is_none()))
        }
        Inst::Select { mask, then, other } => {
            let chosen = if known(mask)?.as_mask() { then } else { other };
            known(chosen)
        }
        Inst::Mask { op, lhs, rhs } => {
            let (lhs, rhs) = (known(lhs)?.as_mask(), known(rhs)?.as_mask());
            Some(Imm::mask(match op {
                MaskOp::And => lhs && rhs,
                MaskOp::Or => lhs || rhs,
                MaskOp::AndNot => lhs && !rhs,
                MaskOp::Xor => lhs != rhs,
            }))
        }
        Inst::Not { arg } => Some(Imm::mask(!known(arg)?.as_mask())),
    }
}

/// Whether a comparison is true of operands in this order, `None` being unordered.
pub(crate) fn holds(op: CompareOp, ordering: Option<Ordering>) -> bool {
    match op {
        CompareOp::Eq => ordering == Some(Ordering::Equal),
        CompareOp::Ne => ordering != Some(Ordering::Equal),
        CompareOp::Lt => ordering == Some(Ordering::Less),
        CompareOp::Le => ordering.is_some_and(Ordering::is_le),
        CompareOp::Gt => ordering == Some(Ordering::Greater),
        CompareOp::Ge => ordering.is_some_and(Ordering::is_ge),
    }
}

/// The order of two immediates of one type, integers, floats or masks.
pub(crate) fn compare(order: FloatOrder, lhs: Imm, rhs: Imm) -> Option<Ordering> {
    match lhs.ty() {
        Ty::F32 if order == FloatOrder::Total => Some(lhs.as_f32().total_cmp(&rhs.as_f32())),
        Ty::F64 if order == FloatOrder::Total => Some(lhs.as_f64().total_cmp(&rhs.as_f64())),
        Ty::F32 | Ty::F64 => {
            let (lhs, rhs) = (widened(lhs), widened(rhs));
            match (order, lhs.is_nan(), rhs.is_nan()) {
                (FloatOrder::Spark, true, true) => Some(Ordering::Equal),
                (FloatOrder::Spark, true, false) => Some(Ordering::Greater),
                (FloatOrder::Spark, false, true) => Some(Ordering::Less),
                _ => lhs.partial_cmp(&rhs),
            }
        }
        _ => Some(lhs.bits().cmp(&rhs.bits())),
    }
}

fn unary(op: UnaryOp, arg: Imm) -> Imm {
    match (arg.ty(), op) {
        (Ty::F32, UnaryOp::Neg) => Imm::f32(-arg.as_f32()),
        (Ty::F32, UnaryOp::Abs) => Imm::f32(arg.as_f32().abs()),
        (Ty::F32, UnaryOp::Round) => canonical_f32(arg.as_f32().round()),
        (Ty::F64, UnaryOp::Neg) => Imm::f64(-arg.as_f64()),
        (Ty::F64, UnaryOp::Abs) => Imm::f64(arg.as_f64().abs()),
        (Ty::F64, UnaryOp::Round) => canonical_f64(arg.as_f64().round()),
        (ty, UnaryOp::Abs) => integer(ty, arg.as_integer().wrapping_abs()),
        (ty, UnaryOp::Neg | UnaryOp::Round) => integer(ty, arg.as_integer().wrapping_neg()),
    }
}

fn binary(op: BinaryOp, lhs: Imm, rhs: Imm) -> Imm {
    match lhs.ty() {
        Ty::F32 => canonical_f32(float(op, lhs.as_f32(), rhs.as_f32())),
        Ty::F64 => canonical_f64(float(op, lhs.as_f64(), rhs.as_f64())),
        ty => {
            let (lhs, rhs) = (lhs.as_integer(), rhs.as_integer());
            integer(
                ty,
                match op {
                    BinaryOp::Add => lhs.wrapping_add(rhs),
                    BinaryOp::Sub => lhs.wrapping_sub(rhs),
                    BinaryOp::Mul => lhs.wrapping_mul(rhs),
                    BinaryOp::Div | BinaryOp::Rem | BinaryOp::FloorDiv if rhs == 0 => 0,
                    BinaryOp::Div => lhs.wrapping_div(rhs),
                    BinaryOp::Rem => lhs.wrapping_rem(rhs),
                    BinaryOp::FloorDiv => floor_div(lhs, rhs),
                },
            )
        }
    }
}

fn float<T>(op: BinaryOp, lhs: T, rhs: T) -> T
where
    T: Add<Output = T> + Sub<Output = T> + Mul<Output = T> + Div<Output = T> + Rem<Output = T>,
{
    match op {
        BinaryOp::Add => lhs + rhs,
        BinaryOp::Sub => lhs - rhs,
        BinaryOp::Mul => lhs * rhs,
        // Floor division is not defined on floats.
        BinaryOp::Div | BinaryOp::FloorDiv => lhs / rhs,
        BinaryOp::Rem => lhs % rhs,
    }
}

fn overflows(op: OverflowOp, lhs: Imm, rhs: Imm) -> bool {
    let ty = lhs.ty();
    let (lhs, rhs) = (lhs.as_integer(), rhs.as_integer());
    let exact = match op {
        OverflowOp::Add => lhs.checked_add(rhs),
        OverflowOp::Sub => lhs.checked_sub(rhs),
        OverflowOp::Mul => lhs.checked_mul(rhs),
        OverflowOp::Div if rhs == 0 => return false,
        OverflowOp::Div => lhs.checked_div(rhs),
    };
    exact.is_none_or(|exact| Imm::integer(ty, exact).is_none())
}

fn cast(rule: CastRule, arg: Imm, to: Ty) -> Imm {
    match (rule, arg.ty(), to) {
        (CastRule::Saturate, ..) => {
            let (low, high) = to.integer_range().unwrap_or((0, 1));
            integer(to, (widened(arg) as i128).clamp(low, high))
        }
        (CastRule::Wrap, Ty::F32 | Ty::F64, Ty::F64) => canonical_f64(widened(arg)),
        (CastRule::Wrap, Ty::F32 | Ty::F64, _) => canonical_f32(widened(arg) as f32),
        (CastRule::Wrap, _, Ty::F32) => Imm::f32(arg.bits() as f32),
        (CastRule::Wrap, _, Ty::F64) => Imm::f64(arg.bits() as f64),
        (CastRule::Wrap, ..) => integer(to, arg.bits()),
    }
}

/// Whether an integer, or a float after truncation, is one of `to`'s values.
fn fits(arg: Imm, to: Ty) -> bool {
    if !arg.ty().is_float() {
        return Imm::integer(to, arg.as_integer()).is_some();
    }
    let whole = widened(arg).trunc();
    let (least, bits) = match to.is_signed() {
        true => (-2f64.powi(to.bits() as i32 - 1), to.bits() as i32 - 1),
        false => (0.0, to.bits() as i32),
    };
    // The bounds are powers of two or zero, hence exact; a NaN is on neither side of them.
    least <= whole && whole < 2f64.powi(bits)
}

fn rescale(value: i128, by: i8, rounding: Rounding) -> i128 {
    let power = power_of_ten(by);
    if by >= 0 {
        return value.wrapping_mul(power);
    }
    match rounding {
        Rounding::Truncate => value / power,
        Rounding::Floor => value.div_euclid(power),
        Rounding::HalfAwayFromZero => {
            let rest = (value % power).unsigned_abs();
            let up = rest >= power.unsigned_abs() - rest;
            value / power + if up { value.signum() } else { 0 }
        }
    }
}

fn floor_div(lhs: i128, rhs: i128) -> i128 {
    let quotient = lhs.wrapping_div(rhs);
    let inexact = lhs.wrapping_rem(rhs) != 0;
    quotient - i128::from(inexact && (lhs < 0) != (rhs < 0))
}

/// Ten to the power of `|exponent|`, which is at most 38.
fn power_of_ten(exponent: i8) -> i128 {
    10i128.pow(u32::from(exponent.unsigned_abs()))
}

/// The low bits of an integer.
fn integer(ty: Ty, value: i128) -> Imm {
    Imm::from_le_bytes(ty, value.to_le_bytes())
}

/// A float as binary64, which holds every binary32.
fn widened(float: Imm) -> f64 {
    match float.ty() {
        Ty::F32 => float.as_f32().into(),
        _ => float.as_f64(),
    }
}

fn canonical_f32(value: f32) -> Imm {
    match value.is_nan() {
        true => Imm::f32(f32::from_bits(0x7fc0_0000)),
        false => Imm::f32(value),
    }
}

fn canonical_f64(value: f64) -> Imm {
    match value.is_nan() {
        true => Imm::f64(f64::from_bits(0x7ff8_0000_0000_0000)),
        false => Imm::f64(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(ty: Ty, value: i128) -> Imm {
        Imm::integer(ty, value).unwrap()
    }

    #[test]
    fn integers_wrap_and_say_so() {
        let (max, one) = (int(Ty::I8, 127), int(Ty::I8, 1));
        assert_eq!(binary(BinaryOp::Add, max, one), int(Ty::I8, -128));
        assert!(overflows(OverflowOp::Add, max, one));
        let (min, minus_one, zero) = (int(Ty::I8, -128), int(Ty::I8, -1), int(Ty::I8, 0));
        assert_eq!(binary(BinaryOp::Div, min, minus_one), min);
        assert!(overflows(OverflowOp::Div, min, minus_one));
        assert!(!overflows(OverflowOp::Div, min, zero));
        assert_eq!(binary(BinaryOp::Rem, min, zero), zero);
        assert_eq!(unary(UnaryOp::Abs, min), min);
        let widest = int(Ty::I128, i128::MIN);
        let minus_one = int(Ty::I128, -1);
        assert_eq!(binary(BinaryOp::Div, widest, minus_one), widest);
        assert_eq!(binary(BinaryOp::FloorDiv, widest, minus_one), widest);
        assert!(overflows(OverflowOp::Div, widest, minus_one));
        let seven = int(Ty::I32, -7);
        assert_eq!(
            binary(BinaryOp::FloorDiv, seven, int(Ty::I32, 2)),
            int(Ty::I32, -4)
        );
    }

    #[test]
    fn float_bounds_of_integer_casts_are_exact() {
        for (value, to, wanted) in [
            (127.9, Ty::I8, true),
            (128.0, Ty::I8, false),
            (-128.9, Ty::I8, true),
            (-129.0, Ty::I8, false),
            (-0.9, Ty::U8, true),
            (-1.0, Ty::U8, false),
            (2f64.powi(63), Ty::I64, false),
            (-(2f64.powi(63)), Ty::I64, true),
            (2f64.powi(64), Ty::U64, false),
            (2f64.powi(127), Ty::I128, false),
            (f64::NAN, Ty::I128, false),
        ] {
            assert_eq!(fits(Imm::f64(value), to), wanted, "{value} as {to}");
        }
        let saturated = cast(CastRule::Saturate, Imm::f32(1e30), Ty::U64);
        assert_eq!(saturated, int(Ty::U64, u64::MAX.into()));
        assert_eq!(
            cast(CastRule::Saturate, Imm::f32(f32::NAN), Ty::I32),
            int(Ty::I32, 0)
        );
    }

    #[test]
    fn decimals_round_as_asked() {
        use Rounding::{Floor, HalfAwayFromZero, Truncate};
        for (value, rounding, wanted) in [
            (15, HalfAwayFromZero, 2),
            (-15, HalfAwayFromZero, -2),
            (14, HalfAwayFromZero, 1),
            (-19, Truncate, -1),
            (-11, Floor, -2),
        ] {
            assert_eq!(rescale(value, -1, rounding), wanted, "{value} {rounding:?}");
        }
        // Half of the greatest divisor must not overflow.
        let power = power_of_ten(38);
        assert_eq!(rescale(power / 2, -38, HalfAwayFromZero), 1);
        assert_eq!(rescale(power / 2 - 1, -38, HalfAwayFromZero), 0);
    }

    #[test]
    fn floats_order_as_asked() {
        let (nan, zero) = (Imm::f64(f64::NAN), Imm::f64(0.0));
        let negative_zero = Imm::f64(-0.0);
        assert_eq!(compare(FloatOrder::Ieee, nan, nan), None);
        assert!(holds(CompareOp::Ne, None));
        assert_eq!(compare(FloatOrder::Spark, nan, nan), Some(Ordering::Equal));
        assert_eq!(
            compare(FloatOrder::Total, negative_zero, zero),
            Some(Ordering::Less)
        );
        assert_eq!(
            compare(FloatOrder::Spark, negative_zero, zero),
            Some(Ordering::Equal)
        );
    }

    #[test]
    fn arithmetic_nans_are_canonical() {
        let made = binary(BinaryOp::Div, Imm::f64(0.0), Imm::f64(0.0));
        assert_eq!(made.bits(), 0x7ff8_0000_0000_0000);
        let flipped = unary(UnaryOp::Neg, Imm::f32(f32::from_bits(0x7fc0_0001)));
        assert_eq!(flipped.bits(), 0xffc0_0001);
    }
}
