//! Values at which operations begin to differ from what a careless implementation gives.

use unlade_program::{Imm, Ty};

/// The special values of a type: its bounds and those of narrower types, powers of ten, ties,
/// zeros, infinities and NaNs of both signs.
pub fn special_values(ty: Ty) -> Vec<Imm> {
    match ty {
        Ty::Mask => vec![Imm::mask(false), Imm::mask(true)],
        Ty::F32 => floats()
            .iter()
            .map(|&value| value as f32)
            .chain(odd_f32())
            .map(Imm::f32)
            .collect(),
        Ty::F64 => floats()
            .into_iter()
            .chain(odd_f64())
            .map(Imm::f64)
            .collect(),
        _ => integers(ty),
    }
}

fn integers(ty: Ty) -> Vec<Imm> {
    let mut values: Vec<i128> = vec![0, 1, 2, 3, 7, 10, 100, -1, -2, -7, -10];
    for bits in [8, 16, 32, 64] {
        let half = 1i128 << (bits - 1);
        values.extend([half - 1, half, -half, -half - 1, 2 * half - 1, 2 * half]);
    }
    let (low, high) = ty.integer_range().expect("an integer type");
    values.extend([low, low + 1, high - 1, high]);
    // Halves round away from zero when a decimal loses digits.
    values.extend([
        5,
        -5,
        15,
        49,
        50,
        -50,
        5 * 10i128.pow(37),
        -5 * 10i128.pow(37),
    ]);
    values.sort_unstable();
    values.dedup();
    values
        .into_iter()
        .filter_map(|value| Imm::integer(ty, value))
        .collect()
}

fn floats() -> Vec<f64> {
    let mut values = vec![
        0.0,
        0.25,
        0.5,
        1.0,
        1.5,
        2.5,
        3.0,
        1e10,
        1e30,
        f64::INFINITY,
    ];
    for power in [7, 8, 15, 16, 31, 32, 63, 64] {
        let edge = 2f64.powi(power);
        values.extend([edge, edge - 0.5]);
    }
    let negative: Vec<f64> = values.iter().map(|value| -value).collect();
    values.extend(negative);
    values
}

fn odd_f32() -> impl Iterator<Item = f32> {
    // The greatest below one half, the least normal, the least, the greatest; NaNs quiet and
    // signalling, with and without payload.
    [
        0x3eff_ffff,
        0x0080_0000,
        0x0000_0001,
        0x8000_0001,
        0x7f7f_ffff,
        0x7fc0_0000,
        0xffc0_0000,
        0x7fc0_1234,
        0x7f80_0001,
    ]
    .into_iter()
    .map(f32::from_bits)
}

fn odd_f64() -> impl Iterator<Item = f64> {
    // As above; and what lies halfway between the greatest f32 and what is beyond.
    [
        0x3fdf_ffff_ffff_ffff,
        0x0010_0000_0000_0000,
        0x0000_0000_0000_0001,
        0x8000_0000_0000_0001,
        0x7fef_ffff_ffff_ffff,
        0x47ef_ffff_f000_0000,
        0x7ff8_0000_0000_0000,
        0xfff8_0000_0000_0000,
        0x7ff8_0000_0000_1234,
        0x7ff0_0000_0000_0001,
    ]
    .into_iter()
    .map(f64::from_bits)
}
