//! The shortest digits of floats, where the rules that find them change.

use unlade_naive::generate::{OwnedBits, OwnedColumn, OwnedInputs, Rng};
use unlade_program::{Program, Ty, verify};

use crate::check;
use crate::simulated::Conditions;

/// Digits after the point that are asked for.
const SCALES: [i8; 10] = [0, 1, 2, 7, 15, 18, 22, 30, 37, 38];
/// Random patterns of bits, and random floats of the magnitudes that decimals have.
const RANDOM: usize = 8_000;

#[test]
fn doubles_have_their_shortest_digits() {
    let mut rng = Rng::new(1);
    let values = doubles(&mut rng);
    assert!(values.len() > 40_000, "{} doubles", values.len());
    compare(Ty::F64, values.iter().flat_map(|value| value.to_le_bytes()));
}

#[test]
fn floats_have_the_digits_of_the_doubles_that_they_are() {
    let mut rng = Rng::new(2);
    let mut values: Vec<f32> = doubles(&mut rng)
        .iter()
        .map(|&value| value as f32)
        .collect();
    for exponent in 0..=u32::from(u8::MAX) {
        for fraction in [0, 1, (1 << 23) - 1] {
            values.push(f32::from_bits(exponent << 23 | fraction));
        }
    }
    values.extend((0..RANDOM).map(|_| f32::from_bits(rng.next() as u32)));
    compare(Ty::F32, values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Fails where the simulated GPU finds other digits of a column than the interpreter does.
fn compare(ty: Ty, values: impl Iterator<Item = u8>) {
    let values: Vec<u8> = values.collect();
    let rows = values.len() as u64 / ty.bytes_for(1);
    let inputs = OwnedInputs {
        rows,
        columns: vec![OwnedColumn {
            values: OwnedBits {
                bytes: values,
                bit_offset: 0,
            },
            validity: None,
        }],
        params: Vec::new(),
        tables: Vec::new(),
        sets: Vec::new(),
    };
    for scales in SCALES.chunks(2) {
        let program = program(ty, scales);
        let module = unlade_ptx::lower(&program).expect("every operation is lowered");
        let wanted = unlade_naive::run(&program, &inputs.borrow());
        let conditions = Conditions {
            seed: 1,
            misaligned: false,
            resident_blocks: 4,
        };
        check(&program, &module, &inputs, conditions, &wanted);
    }
}

/// The digits of a column, by each of the scales.
fn program(ty: Ty, scales: &[i8]) -> Program {
    let mut text = format!("columns c0: {ty}\n%0 = load c0\n");
    let (mut arg, mut next) = (0, 1);
    if ty == Ty::F32 {
        text.push_str("%1 = cast.wrap %0 to f64\n");
        (arg, next) = (1, 2);
    }
    for scale in scales {
        text.push_str(&format!("%{next} = digits %{arg} by {scale}\n"));
        next += 1;
    }
    for value in arg + 1..next {
        text.push_str(&format!("output %{value}\n"));
    }
    let program: Program = text.parse().expect("a program");
    verify(&program).expect("a program that keeps the rules");
    program
}

/// Doubles of every kind, with both signs and their neighbours.
fn doubles(rng: &mut Rng) -> Vec<f64> {
    let parse = |text: String| -> f64 { text.parse().expect("a number") };
    let mut values = vec![0.0, f64::INFINITY, f64::NAN, f64::MAX, f64::MIN_POSITIVE];
    values.extend([f64::from_bits(1), f64::from_bits(0x7ff0_0000_0000_0001)]);
    // Below a power of two floats lie twice as dense.
    values.extend((-1074..1024).map(|two| 2f64.powi(two)));
    // Decimals of few digits, and what is half of their last.
    for ten in -45..45 {
        for digits in [
            "1",
            "5",
            "15",
            "25",
            "35",
            "95",
            "999",
            "12345",
            "4999999999999999",
        ] {
            values.push(parse(format!("{digits}e{ten}")));
        }
    }
    // The ends of 128 bits at every scale.
    for scale in SCALES {
        values.push(parse(format!("{}e-{scale}", i128::MAX)));
        values.push(parse(format!("5e-{}", scale + 1)));
    }
    // Half way between two decimals of as many digits: n + 1/4 at the end of a double's precision.
    for _ in 0..500 {
        let whole = (1u64 << 50) + (rng.next() >> 14);
        values.push(whole as f64 + 0.25 * rng.below(4) as f64);
        // Integers beyond, up to those of 53 bits and more.
        values.push((rng.next() >> rng.below(30)) as f64);
        values.push(rng.below(1_000_000) as f64 / 100.0);
    }
    let around: Vec<f64> = values
        .iter()
        .flat_map(|value| [value.next_down(), *value, value.next_up()])
        .collect();
    let mut values = around;
    values.extend((0..RANDOM).map(|_| f64::from_bits(rng.next())));
    for _ in 0..RANDOM {
        let exponent = 1023 - 132 + rng.below(132 + 130) as u64;
        values.push(f64::from_bits(exponent << 52 | rng.next() >> 12));
    }
    let negative: Vec<f64> = values.iter().map(|value| -value).collect();
    values.extend(negative);
    values
}
