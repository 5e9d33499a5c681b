//! What each operation does to the values of one row, by definition.
//!
//! Every function here is total, like the operation it defines. A value is an [`Imm`]: bits with
//! a type. Integers are computed in 128 bits and brought into range at the end, floats in their
//! own type, which Rust rounds to nearest even. Where a sentence and the code beside it disagree,
//! one of them is a fault.

use std::cmp::Ordering;

use unlade_program::{
    BinaryOp, CastRule, CompareOp, FloatOrder, Imm, MaskOp, OverflowOp, Rounding, Ty, UnaryOp,
};

use crate::float;

/// `neg`, `abs` and `round`.
pub(crate) fn unary(op: UnaryOp, arg: Imm) -> Imm {
    match (op, arg.ty()) {
        // The sign bit alone changes, so that a NaN keeps its payload.
        (UnaryOp::Neg, Ty::F32) => Imm::f32(f32::from_bits(bits32(arg) ^ (1 << 31))),
        (UnaryOp::Neg, Ty::F64) => Imm::f64(f64::from_bits(bits64(arg) ^ (1 << 63))),
        (UnaryOp::Abs, Ty::F32) => Imm::f32(f32::from_bits(bits32(arg) & !(1 << 31))),
        (UnaryOp::Abs, Ty::F64) => Imm::f64(f64::from_bits(bits64(arg) & !(1 << 63))),
        // To the nearest whole number, ties away from zero; the sign of zero is kept.
        (UnaryOp::Round, Ty::F32) => canonical_f32(arg.as_f32().round()),
        (UnaryOp::Round, Ty::F64) => canonical_f64(arg.as_f64().round()),
        // The least value is its own negative and its own absolute value.
        (UnaryOp::Neg, ty) => wrap(ty, arg.as_integer().wrapping_neg()),
        (UnaryOp::Abs, ty) => wrap(ty, arg.as_integer().wrapping_abs()),
        (UnaryOp::Round, ty) => unreachable!("round of {ty}"),
    }
}

/// `add`, `sub`, `mul`, `div`, `rem` and `floordiv`.
pub(crate) fn binary(op: BinaryOp, lhs: Imm, rhs: Imm) -> Imm {
    match lhs.ty() {
        Ty::F32 => {
            let (x, y) = (lhs.as_f32(), rhs.as_f32());
            canonical_f32(match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                BinaryOp::Div => x / y,
                // Exact in f64, and the result, a multiple of the operands' last place, is a
                // value of f32 again.
                BinaryOp::Rem => float::remainder(f64::from(x), f64::from(y)) as f32,
                BinaryOp::FloorDiv => unreachable!("floordiv of f32"),
            })
        }
        Ty::F64 => {
            let (x, y) = (lhs.as_f64(), rhs.as_f64());
            canonical_f64(match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                BinaryOp::Div => x / y,
                BinaryOp::Rem => float::remainder(x, y),
                BinaryOp::FloorDiv => unreachable!("floordiv of f64"),
            })
        }
        ty => wrap(ty, integer_binary(op, lhs.as_integer(), rhs.as_integer())),
    }
}

/// The result modulo 2^128, of which the low bits are the result in any narrower type.
fn integer_binary(op: BinaryOp, x: i128, y: i128) -> i128 {
    match op {
        BinaryOp::Add => x.wrapping_add(y),
        BinaryOp::Sub => x.wrapping_sub(y),
        BinaryOp::Mul => x.wrapping_mul(y),
        // A quotient or remainder by zero is zero.
        BinaryOp::Div | BinaryOp::Rem | BinaryOp::FloorDiv if y == 0 => 0,
        BinaryOp::Div => x.wrapping_div(y),
        BinaryOp::Rem => x.wrapping_rem(y),
        BinaryOp::FloorDiv => {
            let inexact = x.wrapping_rem(y) != 0;
            let negative = (x < 0) != (y < 0);
            x.wrapping_div(y) - i128::from(inexact && negative)
        }
    }
}

/// Whether the exact result of an integer operation is no value of the operands' type.
pub(crate) fn overflow(op: OverflowOp, lhs: Imm, rhs: Imm) -> bool {
    let (x, y) = (lhs.as_integer(), rhs.as_integer());
    let exact = match op {
        OverflowOp::Add => x.checked_add(y),
        OverflowOp::Sub => x.checked_sub(y),
        OverflowOp::Mul => x.checked_mul(y),
        // A zero divisor is no overflow; it is found by comparing.
        OverflowOp::Div if y == 0 => return false,
        OverflowOp::Div => x.checked_div(y),
    };
    // What 128 bits cannot hold, no type can.
    exact.is_none_or(|exact| !in_range(lhs.ty(), exact))
}

/// The six comparisons.
pub(crate) fn compare(op: CompareOp, order: FloatOrder, lhs: Imm, rhs: Imm) -> bool {
    let ordering = match lhs.ty() {
        // f32 widens to f64 exactly and keeps its place in every order, NaN payloads included,
        // but a conversion may quiet a NaN: bits are compared in their own width.
        Ty::F32 => order_floats(
            order,
            f64::from(lhs.as_f32()),
            f64::from(rhs.as_f32()),
            total_key(i64::from(bits32(lhs) as i32), 32),
            total_key(i64::from(bits32(rhs) as i32), 32),
        ),
        Ty::F64 => order_floats(
            order,
            lhs.as_f64(),
            rhs.as_f64(),
            total_key(bits64(lhs) as i64, 64),
            total_key(bits64(rhs) as i64, 64),
        ),
        Ty::Mask => Some(lhs.as_mask().cmp(&rhs.as_mask())),
        _ => Some(lhs.as_integer().cmp(&rhs.as_integer())),
    };
    match (op, ordering) {
        (CompareOp::Eq, found) => found == Some(Ordering::Equal),
        (CompareOp::Ne, found) => found != Some(Ordering::Equal),
        (CompareOp::Lt, found) => found == Some(Ordering::Less),
        (CompareOp::Gt, found) => found == Some(Ordering::Greater),
        // Unordered is neither below nor above nor equal.
        (CompareOp::Le, found) => matches!(found, Some(Ordering::Less | Ordering::Equal)),
        (CompareOp::Ge, found) => matches!(found, Some(Ordering::Greater | Ordering::Equal)),
    }
}

fn order_floats(order: FloatOrder, x: f64, y: f64, x_key: i128, y_key: i128) -> Option<Ordering> {
    match order {
        FloatOrder::Ieee => x.partial_cmp(&y),
        FloatOrder::Total => Some(x_key.cmp(&y_key)),
        // All NaNs are one value above every other.
        FloatOrder::Spark => match (x.is_nan(), y.is_nan()) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => x.partial_cmp(&y),
        },
    }
}

/// The place of a float in IEEE 754's totalOrder, from its bits sign-extended: magnitudes ascend
/// above zero, and below it, where -0 comes just before +0, they descend.
fn total_key(bits: i64, width: u32) -> i128 {
    let magnitude = i128::from(bits) & ((1 << (width - 1)) - 1);
    if bits < 0 { -1 - magnitude } else { magnitude }
}

/// Both bounds included.
pub(crate) fn range(arg: Imm, low: Imm, high: Imm) -> bool {
    low.as_integer() <= arg.as_integer() && arg.as_integer() <= high.as_integer()
}

/// `cast.wrap` and `cast.saturate`.
pub(crate) fn cast(rule: CastRule, arg: Imm, to: Ty) -> Imm {
    match (rule, arg.ty(), to) {
        (CastRule::Wrap, Ty::F32, Ty::F64) => canonical_f64(f64::from(arg.as_f32())),
        (CastRule::Wrap, Ty::F64, Ty::F32) => canonical_f32(arg.as_f64() as f32),
        (CastRule::Wrap, Ty::F32 | Ty::F64, _) => unreachable!("wrapping cast of float to {to}"),
        // `as` rounds an integer of any width to nearest even, once.
        (CastRule::Wrap, _, Ty::F32) => Imm::f32(whole(arg) as f32),
        (CastRule::Wrap, _, Ty::F64) => Imm::f64(whole(arg) as f64),
        (CastRule::Wrap, _, _) => wrap(to, whole(arg)),
        (CastRule::Saturate, ..) => {
            let (low, high) = integer_range(to);
            // `as` truncates toward zero, clamps to i128 and makes a NaN zero.
            wrap(to, (widened(arg) as i128).clamp(low, high))
        }
    }
}

/// Whether a value, truncated toward zero, lies outside the target's range, or is a NaN.
pub(crate) fn cast_fails(arg: Imm, to: Ty) -> bool {
    let (low, high) = integer_range(to);
    if arg.ty().is_integer() {
        return !in_range(to, arg.as_integer());
    }
    let truncated = widened(arg).trunc();
    // The least value is a power of two, or zero, and so is the greatest plus one: both are exact
    // floats, which the greatest itself need not be.
    let beyond = match high {
        i128::MAX => 2f64.powi(127),
        _ => (high + 1) as f64,
    };
    !(low as f64 <= truncated && truncated < beyond)
}

/// `digits`: the shortest decimal text of a float, cut behind so many digits after the point and
/// rounded by the digit after those.
pub(crate) fn digits(value: f64, by: i8) -> Imm {
    let end = if value < 0.0 { i128::MIN } else { i128::MAX };
    let unscaled = match value {
        value if value.is_nan() => 0,
        value if value.is_infinite() => end,
        value => {
            let (whole, fraction) = shortest_text(value.abs());
            let kept = usize::from(by.unsigned_abs());
            let fraction = format!("{fraction:0<width$}", width = kept + 1);
            let cut: Option<i128> = format!("{whole}{}", &fraction[..kept]).parse().ok();
            let away = match fraction.as_bytes()[kept] {
                b'0'..=b'4' => 0,
                _ => 1,
            };
            match cut.and_then(|cut| cut.checked_add(away)) {
                Some(magnitude) if value < 0.0 => -magnitude,
                Some(magnitude) => magnitude,
                None => end,
            }
        }
    };
    Imm::integer(Ty::I128, unscaled).expect("128 bits hold 128 bits")
}

/// The digits before and behind the point of the shortest decimal that reads back as a float, of
/// several the nearest, of two as near the even one.
fn shortest_text(value: f64) -> (String, String) {
    let shortest = format!("{value:e}");
    let places = shortest.find('e').expect("an exponent") - 1;
    // The nearest of so many digits, ties to even. Below a power of two it may be another float's.
    let nearest = format!("{value:.*e}", places.saturating_sub(1));
    let text = match nearest.parse() == Ok(value) {
        true => nearest,
        false => shortest,
    };
    let (mantissa, exponent) = text.split_once('e').expect("an exponent");
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().expect("an exponent");
    match usize::try_from(exponent) {
        Ok(exponent) => {
            let digits = format!("{digits:0<width$}", width = exponent + 1);
            let (whole, fraction) = digits.split_at(exponent + 1);
            (whole.to_owned(), fraction.to_owned())
        }
        Err(_) => {
            let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
            ("0".to_owned(), zeros + &digits)
        }
    }
}

/// `rescale`: times ten to a power, modulo 2^128, or divided by one and rounded.
pub(crate) fn rescale(arg: Imm, by: i8, rounding: Rounding) -> Imm {
    let power = 10i128.pow(u32::from(by.unsigned_abs()));
    let value = arg.as_integer();
    if by > 0 {
        return wrap(Ty::I128, value.wrapping_mul(power));
    }
    let (quotient, remainder) = (value / power, value % power);
    let step = match rounding {
        Rounding::Truncate => 0,
        Rounding::Floor if remainder < 0 => -1,
        Rounding::Floor => 0,
        // Twice the remainder is below 2 * 10^38, which u128 holds.
        Rounding::HalfAwayFromZero if 2 * remainder.unsigned_abs() >= power.unsigned_abs() => {
            value.signum()
        }
        Rounding::HalfAwayFromZero => 0,
    };
    wrap(Ty::I128, quotient + step)
}

/// Whether adding digits leaves 128 bits.
pub(crate) fn rescale_fails(arg: Imm, by: i8) -> bool {
    let power = 10i128.pow(u32::from(by.unsigned_abs()));
    arg.as_integer().checked_mul(power).is_none()
}

/// The operations of two masks.
pub(crate) fn mask(op: MaskOp, lhs: bool, rhs: bool) -> bool {
    match op {
        MaskOp::And => lhs && rhs,
        MaskOp::Or => lhs || rhs,
        MaskOp::AndNot => lhs && !rhs,
        MaskOp::Xor => lhs != rhs,
    }
}

/// An integer, or a mask as 0 or 1.
fn whole(value: Imm) -> i128 {
    match value.ty() {
        Ty::Mask => i128::from(value.as_mask()),
        _ => value.as_integer(),
    }
}

/// A float as f64, which holds every f32.
fn widened(value: Imm) -> f64 {
    match value.ty() {
        Ty::F32 => f64::from(value.as_f32()),
        _ => value.as_f64(),
    }
}

/// The low bits of an integer, as a value of `ty`.
fn wrap(ty: Ty, value: i128) -> Imm {
    Imm::from_le_bytes(ty, value.to_le_bytes())
}

fn in_range(ty: Ty, value: i128) -> bool {
    let (low, high) = integer_range(ty);
    (low..=high).contains(&value)
}

fn integer_range(ty: Ty) -> (i128, i128) {
    match ty.integer_range() {
        Some(range) => range,
        None => unreachable!("{ty} is no integer type"),
    }
}

fn bits32(value: Imm) -> u32 {
    value.as_f32().to_bits()
}

fn bits64(value: Imm) -> u64 {
    value.as_f64().to_bits()
}

/// Arithmetic makes one NaN only.
fn canonical_f32(value: f32) -> Imm {
    Imm::f32(if value.is_nan() {
        f32::from_bits(0x7fc0_0000)
    } else {
        value
    })
}

/// Arithmetic makes one NaN only.
fn canonical_f64(value: f64) -> Imm {
    Imm::f64(if value.is_nan() {
        f64::from_bits(0x7ff8_0000_0000_0000)
    } else {
        value
    })
}

#[cfg(test)]
mod tests;
