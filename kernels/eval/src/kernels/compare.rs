//! Comparisons, in each order of the floats, and ranges.

use std::marker::PhantomData;

use unlade_program::{CompareOp, FloatOrder, Ty};

use super::{Recipe, constant, each_word, logic, test2, with_chunk};
use crate::Level;
use crate::element::{Element, Float, Integer, with_float, with_integer};
use crate::frame::{Entry, Frame, Kernel, Operand, Step};
use crate::isa::{Chunk, Isa};
use crate::mask::WORD;

pub(super) fn compare(level: Level, op: CompareOp, order: FloatOrder, ty: Ty) -> Recipe {
    if ty == Ty::Mask {
        return logic::compare(level, op);
    }
    // An order in which each value has a place: what is not less is greater or equal.
    let linear = !ty.is_float() || order != FloatOrder::Ieee;
    let (relation, swap, negate) = match op {
        CompareOp::Eq => (Relation::Equal, false, false),
        CompareOp::Ne => (Relation::Equal, false, true),
        CompareOp::Lt => (Relation::Less, false, false),
        CompareOp::Gt => (Relation::Less, true, false),
        CompareOp::Le if linear => (Relation::Less, true, true),
        CompareOp::Ge if linear => (Relation::Less, false, true),
        CompareOp::Le => (Relation::LessOrEqual, false, false),
        CompareOp::Ge => (Relation::LessOrEqual, true, false),
    };
    let entry = if !ty.is_float() {
        with_integer!(ty, T => match relation {
            Relation::Equal => level.entry::<Compare<Equal, AsIs<T>>>(),
            _ => level.entry::<Compare<Less, AsIs<T>>>(),
        })
    } else {
        with_float!(ty, T => match (order, relation) {
            (FloatOrder::Ieee, Relation::Equal) => level.entry::<Compare<Equal, AsIs<T>>>(),
            (FloatOrder::Ieee, Relation::Less) => level.entry::<Compare<Less, AsIs<T>>>(),
            (FloatOrder::Ieee, Relation::LessOrEqual) => {
                level.entry::<Compare<LessOrEqual, AsIs<T>>>()
            }
            (FloatOrder::Total, Relation::Equal) => level.entry::<Compare<Equal, Total<T>>>(),
            (FloatOrder::Total, _) => level.entry::<Compare<Less, Total<T>>>(),
            (FloatOrder::Spark, Relation::Equal) => level.entry::<Compare<Equal, Spark<T>>>(),
            (FloatOrder::Spark, _) => level.entry::<Compare<Less, Spark<T>>>(),
        })
    };
    Recipe {
        entry,
        swap,
        negate,
        bounds: None,
    }
}

pub(super) fn range(level: Level, ty: Ty) -> Entry {
    with_integer!(ty, T => level.entry::<Range<T>>())
}

/// Whether a number is not zero.
pub(super) fn not_zero(level: Level, ty: Ty) -> Recipe {
    let recipe = compare(level, CompareOp::Ne, FloatOrder::Ieee, ty);
    // The second bound is an operand that the kernel does not look at.
    Recipe {
        bounds: Some([0, 0]),
        ..recipe
    }
}

#[derive(Clone, Copy)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
}

/// [`Relation`] as types.
trait Relate {
    fn relate<I: Isa, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64;
}

struct Equal;
struct Less;
struct LessOrEqual;

impl Relate for Equal {
    #[inline(always)]
    fn relate<I: Isa, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::equal(lhs, rhs)
    }
}

impl Relate for Less {
    #[inline(always)]
    fn relate<I: Isa, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::less(lhs, rhs)
    }
}

impl Relate for LessOrEqual {
    #[inline(always)]
    fn relate<I: Isa, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::less_or_equal(lhs, rhs)
    }
}

/// An order of a type: a type whose own order it is, and the way there.
trait Order {
    type Value: Element;
    type Key: Element;

    fn relate<I: Isa, R: Relate>(lhs: Chunk<'_, Self::Value>, rhs: Chunk<'_, Self::Value>) -> u64;
}

struct AsIs<T>(PhantomData<T>);
struct Total<T>(PhantomData<T>);
struct Spark<T>(PhantomData<T>);

impl<T: Element> Order for AsIs<T> {
    type Value = T;
    type Key = T;

    #[inline(always)]
    fn relate<I: Isa, R: Relate>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        R::relate::<I, T>(lhs, rhs)
    }
}

impl<T: Float> Order for Total<T> {
    type Value = T;
    type Key = T::Key;

    #[inline(always)]
    fn relate<I: Isa, R: Relate>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        by_key::<I, R, T, T::Key>(lhs, rhs, T::total_key)
    }
}

impl<T: Float> Order for Spark<T> {
    type Value = T;
    type Key = T::Key;

    #[inline(always)]
    fn relate<I: Isa, R: Relate>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        by_key::<I, R, T, T::Key>(lhs, rhs, T::spark_key)
    }
}

#[inline(always)]
fn by_key<I: Isa, R: Relate, T: Element, K: Element>(
    lhs: Chunk<'_, T>,
    rhs: Chunk<'_, T>,
    key: impl Fn(T) -> K + Copy,
) -> u64 {
    let (mut lhs_keys, mut rhs_keys) = ([K::default(); WORD], [K::default(); WORD]);
    R::relate::<I, K>(keys(lhs, key, &mut lhs_keys), keys(rhs, key, &mut rhs_keys))
}

#[inline(always)]
fn keys<'k, T: Element, K: Element>(
    chunk: Chunk<'_, T>,
    key: impl Fn(T) -> K,
    room: &'k mut [K; WORD],
) -> Chunk<'k, K> {
    match chunk {
        Chunk::Splat(value) => Chunk::Splat(key(value)),
        Chunk::Rows(values) => {
            for (key_out, value) in room.iter_mut().zip(values) {
                *key_out = key(*value);
            }
            Chunk::Rows(room)
        }
    }
}

struct Compare<R, O>(PhantomData<(R, O)>);

impl<R: Relate, O: Order> Kernel for Compare<R, O> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        test2::<O::Value, O::Value>(step, frame, |lhs, rhs| O::relate::<I, R>(lhs, rhs));
    }
}

struct Range<T>(PhantomData<T>);

impl<T: Integer> Kernel for Range<T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let rows = frame.rows;
        frame.write_mask(step.to, rows, |frame, words| {
            let [arg, low, high] = step.args.map(|place| frame.operand::<T>(place));
            match (arg, low, high) {
                (Operand::Rows(args), Operand::Scalar(low), Operand::Scalar(high)) => {
                    each_word(rows, words, step.negate, |index| {
                        with_chunk(args, index, |arg| {
                            inside::<I, T>(arg, Chunk::Splat(low), Chunk::Splat(high))
                        })
                    })
                }
                (Operand::Scalar(arg), Operand::Scalar(low), Operand::Scalar(high)) => {
                    constant(u64::from(low <= arg && arg <= high), step.negate)
                }
                _ => each_word(rows, words, step.negate, |index| {
                    with_operand(arg, index, |arg| {
                        with_operand(low, index, |low| {
                            with_operand(high, index, |high| inside::<I, T>(arg, low, high))
                        })
                    })
                }),
            }
        });
    }
}

/// Which rows lie between two bounds.
#[inline(always)]
pub(super) fn inside<I: Isa, T: Element>(
    arg: Chunk<'_, T>,
    low: Chunk<'_, T>,
    high: Chunk<'_, T>,
) -> u64 {
    !(I::less(arg, low) | I::less(high, arg))
}

/// [`with_chunk`] of an operand of either kind.
#[inline(always)]
fn with_operand<T: Element>(
    operand: Operand<'_, T>,
    index: usize,
    test: impl Fn(Chunk<'_, T>) -> u64,
) -> u64 {
    match operand {
        Operand::Scalar(value) => test(Chunk::Splat(value)),
        Operand::Rows(rows) => with_chunk(rows, index, test),
    }
}
