//! Comparisons, in each order of the floats, and ranges.

use std::marker::PhantomData;

use unlade_program::{CompareOp, FloatOrder, Ty};

use super::{Recipe, Test1, Test2, each_tested_word, each_word, logic, test1, test2};
use crate::Level;
use crate::element::{Element, Float, Integer, with_float, with_integer};
use crate::frame::{Entry, Extent, Frame, Kernel, Operand, Step};
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

pub(super) fn range_of_rows(ty: Ty) -> Entry {
    with_integer!(ty, T => Level::PORTABLE.entry::<RangeOfRows<T>>())
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
    /// Whether operands are never swapped, since it makes no difference.
    const SYMMETRIC: bool;

    fn relate<I: Isa, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64;

    fn in_total_order<I: Isa, T: Float>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64;

    fn in_sparks_order<I: Isa, T: Float>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64;
}

struct Equal;
struct Less;
struct LessOrEqual;

impl Relate for Equal {
    const SYMMETRIC: bool = true;

    #[inline(always)]
    fn relate<I: Isa, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::equal(lhs, rhs)
    }

    #[inline(always)]
    fn in_total_order<I: Isa, T: Float>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::equal(bits(lhs), bits(rhs))
    }

    #[inline(always)]
    fn in_sparks_order<I: Isa, T: Float>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::equal(lhs, rhs) | (nan::<I, T>(lhs) & nan::<I, T>(rhs))
    }
}

impl Relate for Less {
    const SYMMETRIC: bool = false;

    #[inline(always)]
    fn relate<I: Isa, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::less(lhs, rhs)
    }

    #[inline(always)]
    fn in_total_order<I: Isa, T: Float>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        let (lhs, rhs) = (bits(lhs), bits(rhs));
        // Below zero the bits of floats grow away from zero: there the greater integer is less.
        let reversed = both_negative::<I, T::Key>(lhs, rhs);
        match reversed {
            0 => I::less(lhs, rhs),
            _ => (I::less(lhs, rhs) & !reversed) | (I::less(rhs, lhs) & reversed),
        }
    }

    #[inline(always)]
    fn in_sparks_order<I: Isa, T: Float>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::less(lhs, rhs) | (!nan::<I, T>(lhs) & nan::<I, T>(rhs))
    }
}

impl Relate for LessOrEqual {
    const SYMMETRIC: bool = false;

    #[inline(always)]
    fn relate<I: Isa, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        I::less_or_equal(lhs, rhs)
    }

    #[inline(always)]
    fn in_total_order<I: Isa, T: Float>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        !Less::in_total_order::<I, T>(rhs, lhs)
    }

    #[inline(always)]
    fn in_sparks_order<I: Isa, T: Float>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        !Less::in_sparks_order::<I, T>(rhs, lhs)
    }
}

/// An order of a type: a type whose own order it is, and the way there.
trait Order {
    type Value: Element;

    fn relate<I: Isa, R: Relate>(lhs: Chunk<'_, Self::Value>, rhs: Chunk<'_, Self::Value>) -> u64;
}

struct AsIs<T>(PhantomData<T>);
struct Total<T>(PhantomData<T>);
struct Spark<T>(PhantomData<T>);

impl<T: Element> Order for AsIs<T> {
    type Value = T;

    #[inline(always)]
    fn relate<I: Isa, R: Relate>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        R::relate::<I, T>(lhs, rhs)
    }
}

impl<T: Float> Order for Total<T> {
    type Value = T;

    #[inline(always)]
    fn relate<I: Isa, R: Relate>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        R::in_total_order::<I, T>(lhs, rhs)
    }
}

impl<T: Float> Order for Spark<T> {
    type Value = T;

    #[inline(always)]
    fn relate<I: Isa, R: Relate>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        R::in_sparks_order::<I, T>(lhs, rhs)
    }
}

/// Floats as the integers of their bits.
#[inline(always)]
fn bits<T: Float>(chunk: Chunk<'_, T>) -> Chunk<'_, T::Key> {
    match chunk {
        Chunk::Splat(value) => Chunk::Splat(value.signed_bits()),
        // SAFETY: a key is an integer of its float's size and alignment, of which any bits are one.
        Chunk::Rows(rows) => Chunk::Rows(unsafe { &*rows.as_ptr().cast::<[T::Key; WORD]>() }),
    }
}

/// Where both are below zero as integers, which floats are that have their sign bit set.
#[inline(always)]
fn both_negative<I: Isa, T: Integer>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
    let zero = T::default();
    let negative = |chunk| match chunk {
        Chunk::Splat(_) => u64::MAX,
        rows => I::less(rows, Chunk::Splat(zero)),
    };
    match (lhs, rhs) {
        (Chunk::Splat(scalar), _) | (_, Chunk::Splat(scalar)) if scalar >= zero => 0,
        _ => negative(lhs) & negative(rhs),
    }
}

/// Which rows are no number.
#[inline(always)]
fn nan<I: Isa, T: Float>(chunk: Chunk<'_, T>) -> u64 {
    match chunk {
        Chunk::Splat(value) if value.is_nan() => u64::MAX,
        Chunk::Splat(_) => 0,
        rows => !I::equal(rows, rows),
    }
}

struct Compare<R, O>(PhantomData<(R, O)>);

impl<R: Relate, O: Order> Kernel for Compare<R, O> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        test2::<I, O::Value, _>(step, frame, &Compare::<R, O>(PhantomData));
    }
}

impl<R: Relate, O: Order> Test2<O::Value> for Compare<R, O> {
    // `a > 5` is computed as `5 < a`.
    const SCALAR_FIRST: bool = !R::SYMMETRIC;

    #[inline(always)]
    fn test<I: Isa>(&self, lhs: Chunk<'_, O::Value>, rhs: Chunk<'_, O::Value>) -> u64 {
        O::relate::<I, R>(lhs, rhs)
    }
}

struct Range<T>(PhantomData<T>);

impl<T: Integer> Kernel for Range<T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let bound = |place| match frame.operand::<T>(place) {
            Operand::Scalar(bound) => bound,
            Operand::Rows(_) => unreachable!("this kernel is given scalar bounds"),
        };
        let (low, high) = (bound(step.args[1]), bound(step.args[2]));
        test1::<I, T>(step, frame, &Inside { low, high });
    }
}

/// A range whose bounds differ from row to row; rare, and so not compiled for every level.
struct RangeOfRows<T>(PhantomData<T>);

impl<T: Integer> Kernel for RangeOfRows<T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let mut taken = frame.take_mask(step.to);
        let words = &mut taken.words[..frame.rows.div_ceil(WORD)];
        let [arg, low, high] = step.args.map(|place| frame.operand::<T>(place));
        taken.extent = each_tested_word!(step, frame, words, |index| {
            let (arg, low, high) = (
                rows_of(arg, index),
                rows_of(low, index),
                rows_of(high, index),
            );
            inside::<I, T>(Chunk::Rows(&arg), Chunk::Rows(&low), Chunk::Rows(&high))
        });
        frame.put_mask(step.to, taken);
    }
}

/// A range with the same bounds for all rows.
pub(super) struct Inside<T> {
    pub(super) low: T,
    pub(super) high: T,
}

impl<T: Element> Test1<T> for Inside<T> {
    #[inline(always)]
    fn test<I: Isa>(&self, args: Chunk<'_, T>) -> u64 {
        inside::<I, T>(args, Chunk::Splat(self.low), Chunk::Splat(self.high))
    }
}

/// Which rows lie between two bounds.
#[inline(always)]
fn inside<I: Isa, T: Element>(arg: Chunk<'_, T>, low: Chunk<'_, T>, high: Chunk<'_, T>) -> u64 {
    !(I::less(arg, low) | I::less(high, arg))
}

/// A copy of the 64 rows at word `index` of an operand of either kind.
#[inline(always)]
fn rows_of<T: Element>(operand: Operand<'_, T>, index: usize) -> [T; WORD] {
    match operand {
        Operand::Scalar(value) => [value; WORD],
        Operand::Rows(rows) => match rows[index * WORD..].first_chunk() {
            Some(chunk) => *chunk,
            None => super::pad(&rows[index * WORD..]),
        },
    }
}
