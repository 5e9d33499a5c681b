//! `cvt` and `setp` (PTX ISA 9.7.9.21 and 9.7.6).

use std::cmp::Ordering;

use super::float::{double, f32_of, single};
use super::row::{Row, map, test2};
use crate::ptx::inst::{Cmp, Convert, Rounding};
use crate::ptx::types::{Type, Width};

/// The result has the width of the destination's register: a narrower type is extended to it
/// (9.4.1).
pub(super) fn convert(cvt: &Convert, a: &Row, poison: u64) -> Row {
    match (cvt.from.is_float(), cvt.to.is_float()) {
        (false, false) => map(a, |bits| extend(cvt, integer_to_integer(cvt, bits))),
        (false, true) => map(a, |bits| saturate(cvt, integer_to_float(cvt, bits), poison)),
        (true, false) => map(a, |bits| extend(cvt, float_to_integer(cvt, bits, poison))),
        (true, true) => map(a, |bits| {
            saturate(cvt, float_to_float(cvt, bits, poison), poison)
        }),
    }
}

fn width(ty: Type) -> Width {
    ty.width().expect("cvt takes no predicates")
}

fn integer(ty: Type, bits: u64) -> i128 {
    let bits = bits & width(ty).mask();
    if ty.is_signed() {
        width(ty).sign_extend(bits).into()
    } else {
        bits.into()
    }
}

fn range(ty: Type) -> (i128, i128) {
    let bits = width(ty).bits();
    if ty.is_signed() {
        (-1 << (bits - 1), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    }
}

fn extend(cvt: &Convert, value: u64) -> u64 {
    let value = value & width(cvt.to).mask();
    let value = if cvt.to.is_signed() {
        width(cvt.to).sign_extend(value) as u64
    } else {
        value
    };
    value & cvt.d_width.mask()
}

fn integer_to_integer(cvt: &Convert, bits: u64) -> u64 {
    let value = integer(cvt.from, bits);
    let (least, most) = range(cvt.to);
    (if cvt.saturate {
        value.clamp(least, most)
    } else {
        value
    }) as u64
}

fn integer_to_float(cvt: &Convert, bits: u64) -> u64 {
    let value = integer(cvt.from, bits);
    match cvt.to {
        Type::F32 => u64::from((value as f32).to_bits()),
        _ => (value as f64).to_bits(),
    }
}

fn number(ty: Type, bits: u64) -> f64 {
    if ty == Type::F32 {
        f64::from(f32_of(bits))
    } else {
        f64::from_bits(bits)
    }
}

fn round(rounding: Rounding, value: f64) -> f64 {
    match rounding {
        Rounding::NearestInteger => value.round_ties_even(),
        Rounding::TowardsZero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
        Rounding::None | Rounding::Nearest => value,
    }
}

/// Out of range it is the nearest integer in range. A NaN is 0 in release 8 of the PTX ISA; since
/// release 9 it is the integer with only the highest bit, if the float or the integer has 64 bits.
/// So there it is open which.
fn float_to_integer(cvt: &Convert, bits: u64, poison: u64) -> u64 {
    let value = round(cvt.rounding, number(cvt.from, bits));
    if value.is_nan() {
        let wide = cvt.from == Type::F64 || width(cvt.to) == Width::W64;
        return if wide { poison } else { 0 };
    }
    let (least, most) = range(cvt.to);
    // A cast to i128 saturates far outside of these ranges.
    (value as i128).clamp(least, most) as u64
}

fn float_to_float(cvt: &Convert, bits: u64, poison: u64) -> u64 {
    let value = round(cvt.rounding, number(cvt.from, bits));
    match cvt.to {
        Type::F32 => single(value as f32),
        _ => double(value, poison),
    }
}

/// `.sat` of a float type keeps to 0 to 1, and makes a NaN 0.
fn saturate(cvt: &Convert, bits: u64, poison: u64) -> u64 {
    if !cvt.saturate {
        return bits;
    }
    let value = number(cvt.to, bits);
    let value = if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, 1.0) + 0.0
    };
    match cvt.to {
        Type::F32 => single(value as f32),
        _ => double(value, poison),
    }
}

/// The lanes for which the comparison holds.
pub(super) fn compare(cmp: Cmp, ty: Type, a: &Row, b: &Row) -> u32 {
    if ty.is_float() {
        let order = |a, b| number(ty, a).partial_cmp(&number(ty, b));
        return match cmp {
            Cmp::Eq => test2(a, b, |a, b| order(a, b) == Some(Ordering::Equal)),
            Cmp::Ne => test2(a, b, |a, b| {
                matches!(order(a, b), Some(Ordering::Less | Ordering::Greater))
            }),
            Cmp::Lt => test2(a, b, |a, b| order(a, b) == Some(Ordering::Less)),
            Cmp::Le => test2(a, b, |a, b| {
                matches!(order(a, b), Some(Ordering::Less | Ordering::Equal))
            }),
            Cmp::Gt => test2(a, b, |a, b| order(a, b) == Some(Ordering::Greater)),
            Cmp::Ge => test2(a, b, |a, b| {
                matches!(order(a, b), Some(Ordering::Greater | Ordering::Equal))
            }),
            Cmp::Num => test2(a, b, |a, b| order(a, b).is_some()),
            Cmp::Nan => test2(a, b, |a, b| order(a, b).is_none()),
            // The others are true of a NaN: they are the opposites of ordered ones.
            Cmp::Equ => !compare(Cmp::Ne, ty, a, b),
            Cmp::Neu => !compare(Cmp::Eq, ty, a, b),
            Cmp::Ltu => !compare(Cmp::Ge, ty, a, b),
            Cmp::Leu => !compare(Cmp::Gt, ty, a, b),
            Cmp::Gtu => !compare(Cmp::Le, ty, a, b),
            Cmp::Geu => !compare(Cmp::Lt, ty, a, b),
        };
    }
    // A flipped sign makes the order of unsigned numbers that of signed ones.
    let flip = if ty.is_signed() {
        1 << (width(ty).bits() - 1)
    } else {
        0
    };
    match cmp {
        Cmp::Eq => test2(a, b, |a, b| a == b),
        Cmp::Ne => test2(a, b, |a, b| a != b),
        Cmp::Lt => test2(a, b, |a, b| a ^ flip < b ^ flip),
        Cmp::Le => test2(a, b, |a, b| a ^ flip <= b ^ flip),
        Cmp::Gt => test2(a, b, |a, b| a ^ flip > b ^ flip),
        Cmp::Ge => test2(a, b, |a, b| a ^ flip >= b ^ flip),
        _ => unreachable!("the decoder lets no other comparison of integers through"),
    }
}
