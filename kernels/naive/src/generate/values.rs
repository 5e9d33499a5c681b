//! Values that find faults: the special ones of each type, small ones, and any bits at all.

use unlade_program::{Imm, Ty};

use super::Rng;

/// A value of a type: often a special or a small one.
pub fn random_value(ty: Ty, rng: &mut Rng) -> Imm {
    match (ty, rng.below(10)) {
        (Ty::Mask, _) => Imm::mask(rng.chance(50)),
        (Ty::F32 | Ty::F64, 0..=3) => special_float(ty, rng),
        (Ty::F32, 4..=7) => Imm::f32(small_float(rng) as f32),
        (Ty::F64, 4..=7) => Imm::f64(small_float(rng)),
        (Ty::F32 | Ty::F64, _) => any_bits(ty, rng),
        (_, 0..=3) => special_integer(ty, rng),
        (_, 4) => wrap(ty, rng.below(5) as i128 - 2),
        (_, 5..=7) => wrap(ty, rng.below(112) as i128 - 12),
        // Of every magnitude alike.
        _ => {
            let shift = rng.below(128) as u32;
            wrap(ty, rng.next_wide() >> shift)
        }
    }
}

fn special_integer(ty: Ty, rng: &mut Rng) -> Imm {
    // At, just inside and just outside the range of some type, or near a power of ten.
    let edges = [
        Ty::I8,
        Ty::I16,
        Ty::I32,
        Ty::I64,
        Ty::I128,
        Ty::U8,
        Ty::U16,
        Ty::U32,
        Ty::U64,
        ty,
    ];
    let (low, high) = rng
        .pick(&edges)
        .integer_range()
        .expect("the edges are of integer types");
    let value = match rng.below(4) {
        0 => low,
        1 => high,
        2 => 10i128.pow(rng.below(39) as u32),
        _ => 5 * 10i128.pow(rng.below(38) as u32),
    };
    let nudged = value.wrapping_add(rng.below(5) as i128 - 2);
    let sign = rng.pick(&[1, -1]);
    wrap(ty, nudged.wrapping_mul(sign))
}

fn special_float(ty: Ty, rng: &mut Rng) -> Imm {
    if rng.chance(25) {
        return not_a_number(ty, rng);
    }
    if rng.chance(30) {
        return edge_of_integers(ty, rng);
    }
    let negative = rng.chance(50);
    match ty {
        Ty::F32 => {
            let value = rng.pick(&[
                0.0,
                f32::INFINITY,
                f32::MAX,
                f32::MIN_POSITIVE,
                f32::from_bits(1),
                f32::from_bits(0x007f_ffff),
                0.49999997,
                0.5,
                1.0,
                1.5,
                2.5,
                8_388_609.0,
                1.0 - f32::EPSILON / 2.0,
            ]);
            Imm::f32(if negative { -value } else { value })
        }
        _ => {
            let value = rng.pick(&[
                0.0,
                f64::INFINITY,
                f64::MAX,
                f64::MIN_POSITIVE,
                f64::from_bits(1),
                f64::from_bits(0x000f_ffff_ffff_ffff),
                f64::from(f32::MAX),
                f64::from(f32::MIN_POSITIVE) / 2.0,
                3.4028235677973366e38, // halfway between the greatest f32 and what is beyond
                0.49999999999999994,
                0.5,
                1.5,
                2.5,
                4_503_599_627_370_497.0,
            ]);
            Imm::f64(if negative { -value } else { value })
        }
    }
}

/// Quiet and signalling, of both signs, with payloads.
fn not_a_number(ty: Ty, rng: &mut Rng) -> Imm {
    let canonical = rng.chance(30);
    match ty {
        Ty::F32 if canonical => Imm::f32(f32::from_bits(0x7fc0_0000)),
        Ty::F32 => Imm::f32(f32::from_bits(rng.next() as u32 | 0x7f80_0001)),
        _ if canonical => Imm::f64(f64::from_bits(0x7ff8_0000_0000_0000)),
        _ => Imm::f64(f64::from_bits(rng.next() | 0x7ff0_0000_0000_0001)),
    }
}

/// About a power of two that bounds an integer type, where casts begin to fail.
fn edge_of_integers(ty: Ty, rng: &mut Rng) -> Imm {
    let exponent = rng.pick(&[7, 8, 15, 16, 24, 31, 32, 53, 63, 64, 127]);
    let edge = 2f64.powi(exponent) * rng.pick(&[1.0, -1.0]);
    let nudge = rng.pick(&[-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]);
    let neighbour = rng.below(3) as i64 - 1;
    match ty {
        Ty::F32 => {
            let value = edge as f32 + nudge as f32;
            Imm::f32(f32::from_bits(
                value.to_bits().wrapping_add_signed(neighbour as i32),
            ))
        }
        _ => {
            let value = edge + nudge;
            Imm::f64(f64::from_bits(
                value.to_bits().wrapping_add_signed(neighbour),
            ))
        }
    }
}

/// Small numbers with a few binary places, so that sums and ties are common.
fn small_float(rng: &mut Rng) -> f64 {
    (rng.below(2000) as f64 - 1000.0) / rng.pick(&[1.0, 2.0, 8.0, 10.0])
}

fn any_bits(ty: Ty, rng: &mut Rng) -> Imm {
    wrap(ty, rng.next_wide())
}

fn wrap(ty: Ty, value: i128) -> Imm {
    Imm::from_le_bytes(ty, value.to_le_bytes())
}
