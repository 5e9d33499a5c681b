//! Float operations (PTX ISA 9.7.3): all round to nearest even and keep subnormal numbers.

use super::row::{Row, map, map2, map3};
use crate::ptx::inst::{FloatOp, FloatUnaryOp};

/// What an `.f32` operation yields for a NaN.
pub(super) const CANONICAL_F32: u64 = 0x7fff_ffff;

/// A NaN of `.f64`. The PTX ISA does not say which, so it has the poison's sign and payload, and
/// never those that a kernel may hope for.
pub(super) fn nan_f64(poison: u64) -> u64 {
    0x7ff8_0000_0000_0001 | poison & 0x8007_ffff_ffff_ffff
}

/// A NaN of `.f32` of which the PTX ISA does not say which.
pub(super) fn open_nan_f32(poison: u64) -> u64 {
    0x7fc0_0001 | poison & 0x803f_ffff
}

pub(super) fn single(value: f32) -> u64 {
    if value.is_nan() {
        CANONICAL_F32
    } else {
        u64::from(value.to_bits())
    }
}

pub(super) fn double(value: f64, poison: u64) -> u64 {
    if value.is_nan() {
        nan_f64(poison)
    } else {
        value.to_bits()
    }
}

pub(super) fn f32_of(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

const SIGN_32: u64 = 1 << 31;
const SIGN_64: u64 = 1 << 63;

pub(super) fn float(op: FloatOp, is_double: bool, a: &Row, b: &Row, poison: u64) -> Row {
    if is_double {
        let row = |f: fn(f64, f64) -> f64| {
            map2(a, b, |a, b| {
                double(f(f64::from_bits(a), f64::from_bits(b)), poison)
            })
        };
        return match op {
            FloatOp::Add => row(|a, b| a + b),
            FloatOp::Sub => row(|a, b| a - b),
            FloatOp::Mul => row(|a, b| a * b),
            FloatOp::Div => row(|a, b| a / b),
            FloatOp::Min => row(least),
            FloatOp::Max => row(|a, b| -least(-a, -b)),
            FloatOp::CopySign => map2(a, b, |a, b| a & SIGN_64 | b & !SIGN_64),
        };
    }
    let row = |f: fn(f32, f32) -> f32| map2(a, b, |a, b| single(f(f32_of(a), f32_of(b))));
    match op {
        FloatOp::Add => row(|a, b| a + b),
        FloatOp::Sub => row(|a, b| a - b),
        FloatOp::Mul => row(|a, b| a * b),
        FloatOp::Div => row(|a, b| a / b),
        // Every f32 is an f64, and their order is the same.
        FloatOp::Min => row(|a, b| least(f64::from(a), f64::from(b)) as f32),
        FloatOp::Max => row(|a, b| -least(-f64::from(a), -f64::from(b)) as f32),
        FloatOp::CopySign => map2(a, b, |a, b| a & SIGN_32 | b & !SIGN_32),
    }
}

/// A number is less than a NaN, -0 less than +0 (9.7.3.11).
fn least(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

pub(super) fn fused_multiply_add(is_double: bool, a: &Row, b: &Row, c: &Row, poison: u64) -> Row {
    if is_double {
        let value = |a, b, c| f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c));
        return map3(a, b, c, |a, b, c| double(value(a, b, c), poison));
    }
    map3(a, b, c, |a, b, c| {
        single(f32_of(a).mul_add(f32_of(b), f32_of(c)))
    })
}

pub(super) fn unary(op: FloatUnaryOp, is_double: bool, a: &Row, poison: u64) -> Row {
    // `neg` and `abs` of a NaN are unspecified NaNs (9.7.3.9 and 9.7.3.10).
    match (op, is_double) {
        (FloatUnaryOp::Neg, true) => map(a, |a| signed_f64(a ^ SIGN_64, poison)),
        (FloatUnaryOp::Abs, true) => map(a, |a| signed_f64(a & !SIGN_64, poison)),
        (FloatUnaryOp::Neg, false) => map(a, |a| signed_f32(a ^ SIGN_32, poison)),
        (FloatUnaryOp::Abs, false) => map(a, |a| signed_f32(a & !SIGN_32, poison)),
        (FloatUnaryOp::Sqrt, true) => map(a, |a| double(f64::from_bits(a).sqrt(), poison)),
        (FloatUnaryOp::Sqrt, false) => map(a, |a| single(f32_of(a).sqrt())),
        (FloatUnaryOp::Reciprocal, true) => map(a, |a| double(1.0 / f64::from_bits(a), poison)),
        (FloatUnaryOp::Reciprocal, false) => map(a, |a| single(1.0 / f32_of(a))),
    }
}

fn signed_f64(bits: u64, poison: u64) -> u64 {
    if f64::from_bits(bits).is_nan() {
        nan_f64(poison)
    } else {
        bits
    }
}

fn signed_f32(bits: u64, poison: u64) -> u64 {
    if f32_of(bits).is_nan() {
        open_nan_f32(poison)
    } else {
        bits
    }
}
