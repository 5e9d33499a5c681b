//! Decimals: 128-bit integers times and divided by powers of ten.

use std::marker::PhantomData;

use unlade_program::{Inst, Rounding, Ty};

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
