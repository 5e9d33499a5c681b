//! Arithmetic of integers and floats, and whether it overflows.

use std::marker::PhantomData;

use unlade_program::{BinaryOp, OverflowOp, Ty, UnaryOp};

use super::{Test2, map1, map2, test2};
use crate::Level;
use crate::element::{Element, Float, Integer, with_float, with_integer};
use crate::frame::{Entry, Frame, Kernel, Step};
use crate::isa::{Chunk, Isa};
use crate::mask::WORD;

pub(super) fn unary(level: Level, op: UnaryOp, ty: Ty) -> Entry {
    let level = level.without_avx512();
    if ty.is_float() {
        return with_float!(ty, T => match op {
            UnaryOp::Neg => level.entry::<Unary<OfFloats<Neg>, T>>(),
            UnaryOp::Abs => level.entry::<Unary<OfFloats<Abs>, T>>(),
            UnaryOp::Round => level.entry::<Unary<OfFloats<Round>, T>>(),
        });
    }
    with_integer!(ty, T => match op {
        UnaryOp::Neg => level.entry::<Unary<OfIntegers<Neg>, T>>(),
        UnaryOp::Abs => level.entry::<Unary<OfIntegers<Abs>, T>>(),
        UnaryOp::Round => unreachable!("{ty} has nothing to round: the program was not verified"),
    })
}

pub(super) fn binary(level: Level, op: BinaryOp, ty: Ty) -> Entry {
    // There is a product of 64-bit integers in AVX-512, and nothing else that matters here.
    let product = if ty.is_float() || ty.bits() < 64 {
        level.without_avx512()
    } else {
        level
    };
    let level = level.without_avx512();
    if ty.is_float() {
        return with_float!(ty, T => match op {
            BinaryOp::Add => level.entry::<Binary<OfFloats<Add>, T>>(),
            BinaryOp::Sub => level.entry::<Binary<OfFloats<Sub>, T>>(),
            BinaryOp::Mul => level.entry::<Binary<OfFloats<Mul>, T>>(),
            BinaryOp::Div => level.entry::<Binary<OfFloats<Div>, T>>(),
            // A call for each row, which no vector instruction makes faster.
            BinaryOp::Rem => Level::PORTABLE.entry::<Binary<OfFloats<Rem>, T>>(),
            BinaryOp::FloorDiv => {
                unreachable!("{ty} has no floor division: the program was not verified")
            }
        });
    }
    // No machine divides vectors of integers, nor has it any of 128 bits.
    let (level, product) = if ty == Ty::I128 {
        (Level::PORTABLE, Level::PORTABLE)
    } else {
        (level, product)
    };
    with_integer!(ty, T => match op {
        BinaryOp::Add => level.entry::<Binary<OfIntegers<Add>, T>>(),
        BinaryOp::Sub => level.entry::<Binary<OfIntegers<Sub>, T>>(),
        BinaryOp::Mul => product.entry::<Binary<OfIntegers<Mul>, T>>(),
        BinaryOp::Div => Level::PORTABLE.entry::<Binary<OfIntegers<Div>, T>>(),
        BinaryOp::Rem => Level::PORTABLE.entry::<Binary<OfIntegers<Rem>, T>>(),
        BinaryOp::FloorDiv => Level::PORTABLE.entry::<Binary<OfIntegers<FloorDiv>, T>>(),
    })
}

pub(super) fn overflow(level: Level, op: OverflowOp, ty: Ty) -> Entry {
    let level = if ty == Ty::I128 {
        Level::PORTABLE
    } else {
        level.without_avx512()
    };
    with_integer!(ty, T => match op {
        OverflowOp::Add => level.entry::<Overflow<Add, T>>(),
        OverflowOp::Sub => level.entry::<Overflow<Sub, T>>(),
        OverflowOp::Mul => level.entry::<Overflow<Mul, T>>(),
        OverflowOp::Div => level.entry::<Overflow<Div, T>>(),
    })
}

struct Neg;
struct Abs;
struct Round;
struct Add;
struct Sub;
struct Mul;
struct Div;
struct Rem;
struct FloorDiv;

/// The operation of that name on integers.
struct OfIntegers<Op>(PhantomData<Op>);
/// The operation of that name on floats.
struct OfFloats<Op>(PhantomData<Op>);

trait UnaryFn<T> {
    fn apply(arg: T) -> T;
}

trait BinaryFn<T> {
    fn apply(lhs: T, rhs: T) -> T;
}

trait OverflowFn<T> {
    fn apply(lhs: T, rhs: T) -> bool;
}

macro_rules! unary_fns {
    ($($family:ident<$op:ident>: $bound:ident::$method:ident),* $(,)?) => {$(
        impl<T: $bound> UnaryFn<T> for $family<$op> {
            #[inline(always)]
            fn apply(arg: T) -> T {
                arg.$method()
            }
        }
    )*};
}

unary_fns!(
    OfIntegers<Neg>: Integer::neg,
    OfIntegers<Abs>: Integer::abs,
    OfFloats<Neg>: Float::neg,
    OfFloats<Abs>: Float::abs,
    OfFloats<Round>: Float::round,
);

macro_rules! binary_fns {
    ($($family:ident<$op:ident>: $bound:ident::$method:ident),* $(,)?) => {$(
        impl<T: $bound> BinaryFn<T> for $family<$op> {
            #[inline(always)]
            fn apply(lhs: T, rhs: T) -> T {
                lhs.$method(rhs)
            }
        }
    )*};
}

binary_fns!(
    OfIntegers<Add>: Integer::add,
    OfIntegers<Sub>: Integer::sub,
    OfIntegers<Mul>: Integer::mul,
    OfIntegers<Div>: Integer::div,
    OfIntegers<Rem>: Integer::rem,
    OfIntegers<FloorDiv>: Integer::floor_div,
    OfFloats<Add>: Float::add,
    OfFloats<Sub>: Float::sub,
    OfFloats<Mul>: Float::mul,
    OfFloats<Div>: Float::div,
    OfFloats<Rem>: Float::rem,
);

macro_rules! overflow_fns {
    ($($op:ident: $method:ident),* $(,)?) => {$(
        impl<T: Integer> OverflowFn<T> for $op {
            #[inline(always)]
            fn apply(lhs: T, rhs: T) -> bool {
                lhs.$method(rhs)
            }
        }
    )*};
}

overflow_fns!(Add: add_overflows, Sub: sub_overflows, Mul: mul_overflows, Div: div_overflows);

struct Unary<Op, T>(PhantomData<(Op, T)>);

impl<Op: UnaryFn<T>, T: Element> Kernel for Unary<Op, T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        map1(step, frame, Op::apply);
    }
}

struct Binary<Op, T>(PhantomData<(Op, T)>);

impl<Op: BinaryFn<T>, T: Element> Kernel for Binary<Op, T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        map2(step, frame, Op::apply);
    }
}

struct Overflow<Op, T>(PhantomData<(Op, T)>);

impl<Op: OverflowFn<T>, T: Integer> Kernel for Overflow<Op, T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        test2::<I, T, _>(step, frame, &Overflow::<Op, T>(PhantomData));
    }
}

impl<Op: OverflowFn<T>, T: Integer> Test2<T> for Overflow<Op, T> {
    #[inline(always)]
    fn test<I: Isa>(&self, lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        let mut bytes = [0; WORD];
        for (row, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from(Op::apply(lhs.get(row), rhs.get(row)));
        }
        I::pack(&bytes)
    }
}
