//! Conversions between physical types, and whether they fail.

use std::marker::PhantomData;

use unlade_program::Ty;

use super::{Recipe, Test1, compare, map1, test1};
use crate::Level;
use crate::element::{Element, Float, Integer, with_bits_of, with_float, with_integer};
use crate::frame::{Frame, Kernel, MaskView, Step};
use crate::isa::{Chunk, Isa};
use crate::mask::WORD;

/// The cast from `from` to `to`. Between types of one width only floats have something to do.
pub(super) fn cast(level: Level, from: Ty, to: Ty) -> Recipe {
    // There are no vectors of 128-bit integers.
    let level = if from == Ty::I128 || to == Ty::I128 {
        Level::PORTABLE
    } else {
        level
    };
    let entry = match (from, to) {
        (_, Ty::Mask) => return compare::not_zero(level, from),
        (Ty::Mask, _) if to.is_float() => {
            with_float!(to, T => level.entry::<FromMask<T>>())
        }
        (Ty::Mask, _) => with_integer!(to, T => level.entry::<FromMask<T>>()),
        (_, _) if from.is_float() && to.is_float() => {
            with_float!(from, F => with_float!(to, T => level.entry::<FloatToFloat<F, T>>()))
        }
        (_, _) if from.is_float() => {
            with_float!(from, F => with_integer!(to, T => level.entry::<Convert<F, T>>()))
        }
        (_, _) if to.is_float() => {
            with_integer!(from, F => with_float!(to, T => level.entry::<Convert<F, T>>()))
        }
        // The bits of the result do not depend on whether it is signed.
        (_, _) => with_integer!(from, F => with_bits_of!(to, T => level.entry::<Convert<F, T>>())),
    };
    Recipe::plain(entry)
}

/// Whether a cast from `from` to the integer type `to` fails.
pub(super) fn fails(level: Level, from: Ty, to: Ty) -> Recipe {
    if from.is_float() {
        let entry = with_float!(from, F => with_integer!(to, T => level.entry::<Fails<F, T>>()));
        return Recipe {
            negate: true,
            ..Recipe::plain(entry)
        };
    }
    let bounds = from.integer_range().zip(to.integer_range());
    let bounds = bounds.map(|(from, to)| [from.0.max(to.0), from.1.min(to.1)]);
    Recipe {
        negate: true,
        bounds,
        ..Recipe::plain(compare::range(level, from))
    }
}

/// What Rust's `as` does between two types: keep the low bits, round to nearest even, or
/// truncate and saturate.
trait As<To> {
    fn convert(self) -> To;
}

macro_rules! conversions {
    ($($from:ident)*; $to:tt) => {
        $(conversions!(@ $from, $to);)*
    };
    (@ $from:ident, [$($to:ident)*]) => {
        $(impl As<$to> for $from {
            #[inline(always)]
            fn convert(self) -> $to {
                self as $to
            }
        })*
    };
}

conversions!(
    i8 i16 i32 i64 i128 u8 u16 u32 u64 f32 f64;
    [i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64]
);

struct Convert<From, To>(PhantomData<(From, To)>);

impl<From: Element + As<To>, To: Element> Kernel for Convert<From, To> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        map1(step, frame, |arg: From| arg.convert());
    }
}

struct FloatToFloat<From, To>(PhantomData<(From, To)>);

impl<From: Float + As<To>, To: Float> Kernel for FloatToFloat<From, To> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        map1(step, frame, |arg: From| arg.convert().canonical());
    }
}

struct FromMask<To>(PhantomData<To>);

impl<To: Element> Kernel for FromMask<To>
where
    u8: As<To>,
{
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let mut taken = frame.take(step.to, size_of::<To>());
        let out = taken.values::<To>(frame.rows);
        match frame.mask(step.args[0]) {
            MaskView::None => out.fill(0.convert()),
            MaskView::All => out.fill(1.convert()),
            MaskView::Some(words) => {
                for (out, word) in out.chunks_mut(WORD).zip(words) {
                    let bytes = I::unpack(*word);
                    for (out, byte) in out.iter_mut().zip(bytes) {
                        *out = byte.convert();
                    }
                }
            }
        }
        frame.put(taken);
    }
}

/// Whether a float, truncated, is inside the range of an integer type; its step is negated.
struct Fails<From, To>(PhantomData<(From, To)>);

impl<From: Float, To: Integer> Kernel for Fails<From, To> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        // Powers of two, which floats represent exactly: the range itself may end between two.
        let value_bits = To::TY.bits() - u32::from(To::TY.is_signed());
        let end = 2.0 * (1u128 << (value_bits - 1)) as f64;
        let first = if To::TY.is_signed() { -end } else { 0.0 };
        let (first, end) = (From::from_bound(first), From::from_bound(end));
        test1::<I, From>(step, frame, &Holds { first, end });
    }
}

/// Whether a float, truncated, is at least the one and less than the other bound.
struct Holds<F> {
    first: F,
    end: F,
}

impl<F: Float> Test1<F> for Holds<F> {
    #[inline(always)]
    fn test<I: Isa>(&self, args: Chunk<'_, F>) -> u64 {
        let mut bytes = [0; WORD];
        for (row, byte) in bytes.iter_mut().enumerate() {
            let whole = args.get(row).trunc();
            *byte = u8::from((whole >= self.first) & (whole < self.end));
        }
        I::pack(&bytes)
    }
}
