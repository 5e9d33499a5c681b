//! Decimals: 128-bit integers times and divided by powers of ten.

use std::marker::PhantomData;

use unlade_program::{Inst, Rounding, Ty, shortest_decimal};

use super::{Recipe, compare, map1};
use crate::Level;
use crate::frame::{Entry, Frame, Kernel, Step};
use crate::isa::Isa;

pub(super) fn rescale(by: i8, rounding: Rounding) -> Entry {
    // No machine has vectors of 128-bit integers.
    let level = Level::PORTABLE;
    match rounding {
        _ if by >= 0 => level.entry::<Multiply>(),
        Rounding::HalfAwayFromZero => level.entry::<Divide<HalfAwayFromZero>>(),
        Rounding::Truncate => level.entry::<Divide<Truncate>>(),
        Rounding::Floor => level.entry::<Divide<Floor>>(),
    }
}

/// A product wraps where the factor is outside of what the range divided by the power leaves.
pub(super) fn rescale_fails(level: Level, by: i8) -> Recipe {
    let power = if by > 0 { power_of_ten(by) } else { 1 };
    Recipe {
        negate: true,
        bounds: Some([i128::MIN / power, i128::MAX / power]),
        ..Recipe::plain(compare::range(level, Ty::I128))
    }
}

/// Ten to the power of `|by|`, at most 38.
fn power_of_ten(by: i8) -> i128 {
    10i128.pow(u32::from(by.unsigned_abs()))
}

fn power_of(step: &Step) -> i128 {
    match step.inst {
        Inst::Rescale { by, .. } => power_of_ten(by),
        other => unreachable!("the kernels of rescaling are given no {other:?}"),
    }
}

struct Multiply;

impl Kernel for Multiply {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let power = power_of(step);
        map1(step, frame, |arg: i128| arg.wrapping_mul(power));
    }
}

/// A float at a time: its shortest digits are found by table and 128-bit products.
pub(super) fn digits() -> Entry {
    Level::PORTABLE.entry::<Digits>()
}

struct Digits;

impl Kernel for Digits {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let Inst::Digits { by, .. } = step.inst else {
            unreachable!("the kernel of digits is given no {:?}", step.inst)
        };
        map1(step, frame, |arg: f64| shortest_decimal(arg, by));
    }
}

/// What a quotient truncated toward zero needs added, given the remainder and the divisor.
trait Round {
    fn correction(remainder: i128, divisor: i128) -> i128;
}

struct HalfAwayFromZero;
struct Truncate;
struct Floor;

impl Round for HalfAwayFromZero {
    #[inline(always)]
    fn correction(remainder: i128, divisor: i128) -> i128 {
        // Twice the remainder can exceed i128, never u128.
        if 2 * remainder.unsigned_abs() >= divisor.unsigned_abs() {
            remainder.signum()
        } else {
            0
        }
    }
}

impl Round for Truncate {
    #[inline(always)]
    fn correction(_remainder: i128, _divisor: i128) -> i128 {
        0
    }
}

impl Round for Floor {
    #[inline(always)]
    fn correction(remainder: i128, _divisor: i128) -> i128 {
        if remainder < 0 { -1 } else { 0 }
    }
}

struct Divide<R>(PhantomData<R>);

impl<R: Round> Kernel for Divide<R> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let power = power_of(step);
        match i64::try_from(power) {
            // Most decimals are small: 64-bit division is several times faster.
            Ok(small) => map1(step, frame, |arg: i128| match i64::try_from(arg) {
                Ok(arg) => {
                    let (quotient, remainder) = (arg / small, arg % small);
                    i128::from(quotient) + R::correction(i128::from(remainder), power)
                }
                Err(_) => divide::<R>(arg, power),
            }),
            Err(_) => map1(step, frame, |arg: i128| divide::<R>(arg, power)),
        }
    }
}

#[inline(always)]
fn divide<R: Round>(arg: i128, power: i128) -> i128 {
    let quotient = arg / power;
    quotient + R::correction(arg - quotient * power, power)
}

#[cfg(test)]
mod tests {
    use unlade_program::{Column, Output, Program, Val};

    use super::*;
    use crate::element::typed_bytes_mut;
    use crate::{ColumnRef, Executable, Inputs, OutputMut, Outputs, SLACK, Scratch, run};

    fn rescaled(args: &mut [i128], by: i8, rounding: Rounding) -> Vec<i128> {
        let program = Program {
            columns: vec![Column {
                ty: Ty::I128,
                nullable: false,
            }],
            insts: vec![
                Inst::Load { column: 0 },
                Inst::Rescale {
                    arg: Val(0),
                    by,
                    rounding,
                },
            ],
            outputs: vec![Output {
                value: Val(1),
                valid: None,
            }],
            ..Program::default()
        };
        unlade_program::verify(&program).expect("test programs are well formed");
        let rows = args.len();
        let mut found = vec![0; rows + SLACK];
        let inputs = Inputs {
            rows,
            columns: &[ColumnRef {
                values: typed_bytes_mut(args),
                bit_offset: 0,
                validity: None,
            }],
            params: &[],
            tables: &[],
            sets: &[],
        };
        let mut outputs = Outputs {
            mask: None,
            columns: &mut [OutputMut {
                values: typed_bytes_mut(&mut found),
                validity: None,
            }],
        };
        let executable = Executable::new(&program);
        run(&executable, &inputs, &mut outputs, &mut Scratch::new()).expect("nothing traps");
        found.truncate(rows);
        found
    }

    /// Of random values hardly one is exactly a half.
    #[test]
    fn halves_and_what_is_next_to_them_are_rounded_as_asked() {
        for digits in [1, 2, 17, 18, 19, 37, 38] {
            let power = power_of_ten(digits);
            let (mut args, mut wanted) = (Vec::new(), [const { Vec::new() }; 3]);
            for whole in (0..=i128::MAX / power - 1).take(3) {
                for nudge in [-1, 0, 1] {
                    for sign in [1, -1] {
                        args.push(sign * (whole * power + power / 2 + nudge));
                        wanted[0].push(sign * (whole + i128::from(nudge >= 0)));
                        wanted[1].push(sign * whole);
                        wanted[2].push(sign * whole - i128::from(sign < 0));
                    }
                }
            }
            let roundings = [
                Rounding::HalfAwayFromZero,
                Rounding::Truncate,
                Rounding::Floor,
            ];
            for (rounding, wanted) in roundings.into_iter().zip(wanted) {
                let found = rescaled(&mut args, -digits, rounding);
                assert_eq!(
                    found, wanted,
                    "{args:?} without {digits} digits, {rounding:?}"
                );
            }
        }
    }
}
