//! Floats: IEEE 754 as the host has it, which rounds once, to nearest, ties to even, and contracts
//! nothing.
//!
//! An f32 is computed with as an f32. Where only its value counts, it is widened to f64, exactly.

// `as` between integers and floats is the conversion that the document defines: to nearest, ties to
// even, and back truncated and saturated, with 0 for a NaN. The standard library has no other.

use std::cmp::Ordering;

use crate::bytecode::Operation;
use crate::types::Type;

/// 2^127, one more than the greatest i128.
const TWO_TO_127: f64 = (1u128 << 127) as f64;

/// The number that the bits are, exactly.
pub(super) fn value(bits: u128, ty: Type) -> f64 {
    match ty {
        Type::F32 => f64::from(single(bits)),
        _ => double(bits),
    }
}

/// Arithmetic. `y` is not looked at by NEG, ABS and ROUND.
pub(super) fn arithmetic(operation: Operation, ty: Type, x: u128, y: u128) -> u128 {
    let sign = 1 << (ty.bits() - 1);
    match operation {
        // Only the sign bit changes, of a NaN too.
        Operation::Neg => x ^ sign,
        Operation::Abs => x & !sign,
        _ if ty == Type::F32 => {
            let (x, y) = (single(x), single(y));
            single_bits(match operation {
                Operation::Round => x.round(),
                Operation::Add => x + y,
                Operation::Sub => x - y,
                Operation::Mul => x * y,
                Operation::Div => x / y,
                Operation::Rem => x % y,
                other => unreachable!("{other:?} is no arithmetic of floats"),
            })
        }
        _ => {
            let (x, y) = (double(x), double(y));
            double_bits(match operation {
                Operation::Round => x.round(),
                Operation::Add => x + y,
                Operation::Sub => x - y,
                Operation::Mul => x * y,
                Operation::Div => x / y,
                Operation::Rem => x % y,
                other => unreachable!("{other:?} is no arithmetic of floats"),
            })
        }
    }
}

/// The order of a variant; none where it leaves the two unordered.
pub(super) fn compare(ty: Type, variant: u8, x: u128, y: u128) -> Option<Ordering> {
    let (left, right) = (value(x, ty), value(y, ty));
    match variant {
        0 => left.partial_cmp(&right),
        1 => Some(total_key(x, ty).cmp(&total_key(y, ty))),
        _ => match (left.is_nan(), right.is_nan()) {
            (false, false) => left.partial_cmp(&right),
            (left, right) => Some(left.cmp(&right)),
        },
    }
}

/// `m` where the sign bit is 0, else `-1 - m`.
fn total_key(bits: u128, ty: Type) -> i128 {
    let sign = 1 << (ty.bits() - 1);
    let magnitude = (bits & !sign).cast_signed();
    if bits & sign == 0 {
        magnitude
    } else {
        -1 - magnitude
    }
}

/// From one float type to the other.
pub(super) fn convert(bits: u128, from: Type) -> u128 {
    match from {
        Type::F32 => double_bits(f64::from(single(bits))),
        _ => single_bits(double(bits) as f32),
    }
}

/// The nearest float.
pub(super) fn from_integer(value: i128, to: Type) -> u128 {
    match to {
        Type::F32 => single_bits(value as f32),
        _ => double_bits(value as f64),
    }
}

/// Truncated, and brought into the range of the integer type; 0 for a NaN.
pub(super) fn saturate(value: f64, to: Type) -> u128 {
    super::integer::wrap((value as i128).clamp(to.min(), to.max()), to)
}

/// Whether it is a NaN or truncates to what the integer type has not.
pub(super) fn cast_fails(value: f64, to: Type) -> bool {
    let whole = value.trunc();
    // Only of i128 the conversion may saturate, and the bounds of no other type are near it.
    let in_reach = (-TWO_TO_127..TWO_TO_127).contains(&whole);
    !(in_reach && super::integer::fits(whole as i128, to))
}

fn single(bits: u128) -> f32 {
    f32::from_bits(u32::try_from(bits).expect("a register of f32 has 32 bits"))
}

fn double(bits: u128) -> f64 {
    f64::from_bits(u64::try_from(bits).expect("a register of f64 has 64 bits"))
}

/// The bits of a result: every NaN is the canonical one.
fn single_bits(value: f32) -> u128 {
    if value.is_nan() {
        0x7FC0_0000
    } else {
        value.to_bits().into()
    }
}

/// As [`single_bits`].
fn double_bits(value: f64) -> u128 {
    if value.is_nan() {
        0x7FF8_0000_0000_0000
    } else {
        value.to_bits().into()
    }
}
