//! Conversions between physical types, and whether they fail.

use std::marker::PhantomData;

use unlade_program::Ty;

use super::{Recipe, Test1, compare, map1, test1};
use crate::Level;
use crate::element::{Element, Float, Integer, with_float, with_integer};
use crate::frame::{Entry, Frame, Kernel, MaskView, Step};
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
            with_float!(to, T => level.without_avx512().entry::<FromMask<T>>())
        }
        (Ty::Mask, _) => with_integer!(to, T => level.without_avx512().entry::<FromMask<T>>()),
        (_, _) if from.is_float() && to.is_float() => {
            with_float!(from, F => with_float!(to, T => level.entry::<FloatToFloat<F, T>>()))
        }
        (_, _) if from.is_float() => {
            with_float!(from, F => with_integer!(to, T => level.entry::<Convert<F, T>>()))
        }
        (_, _) if to.is_float() => {
            with_integer!(from, F => with_float!(to, T => level.entry::<Convert<F, T>>()))
        }
        (_, _) => between_integers(level.without_avx512(), from, to),
    };
    Recipe::plain(entry)
}

/// Between integers of different widths. The bits of the result do not depend on whether it is
/// signed, nor those of a narrower one on whether the operand is.
fn between_integers(level: Level, from: Ty, to: Ty) -> Entry {
    macro_rules! conversion {
        ($($from:ident -> $($to:ident)*;)*) => {
            match (from.bits(), to.bits(), from.is_signed() && from.bits() < to.bits()) {
                $($((bits, to_bits, signed)
                    if bits == <$from>::BITS
                        && to_bits == <$to>::BITS
                        && signed == (<$from>::MIN != 0) =>
                {
                    level.entry::<Convert<$from, $to>>()
                })*)*
                _ => unreachable!("{from} is as wide as {to}: such a cast is no step"),
            }
        };
    }
    conversion! {
        u8 -> u16 u32 u64 u128;
        u16 -> u8 u32 u64 u128;
        u32 -> u8 u16 u64 u128;
        u64 -> u8 u16 u32 u128;
        u128 -> u8 u16 u32 u64;
        i8 -> u16 u32 u64 u128;
        i16 -> u32 u64 u128;
        i32 -> u64 u128;
        i64 -> u128;
    }
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
    i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64;
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
