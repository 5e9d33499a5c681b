//! The kernels: one for each instruction and type, entered once per tile.
//!
//! [`recipe`] chooses the kernel of an instruction; the loops that most of them share are here.

mod arith;
mod cast;
mod compare;
mod decimal;
mod logic;
mod lookup;
mod movement;
mod select;

use unlade_program::{Inst, Ty};

use crate::Level;
use crate::element::Element;
use crate::frame::{Entry, Extent, Frame, Operand, Step};
use crate::isa::Chunk;
use crate::mask::{WORD, low_bits};

pub(crate) use movement::{append_mask, append_validity, compact, compact_mask, copy_to_output};

/// How an instruction is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) entry: Entry,
    /// Whether the first two operands change places.
    pub(crate) swap: bool,
    /// Whether the mask that the kernel computes is complemented.
    pub(crate) negate: bool,
    /// Operands that the instruction does not have, appended to its own.
    pub(crate) bounds: Option<[i128; 2]>,
}

impl Recipe {
    fn plain(entry: Entry) -> Recipe {
        Recipe {
            entry,
            swap: false,
            negate: false,
            bounds: None,
        }
    }
}

/// The kernel of an instruction whose first operand and whose result have the given types.
///
/// Scalars, loads of elements and casts that change nothing have none: the planner knows where
/// their values are.
pub(crate) fn recipe(level: Level, inst: &Inst, arg: Option<Ty>, result: Option<Ty>) -> Recipe {
    let arg = arg.unwrap_or(Ty::Mask);
    match *inst {
        Inst::Load { .. } | Inst::Validity { .. } => Recipe::plain(movement::read_bits(level)),
        Inst::Unary { op, .. } => Recipe::plain(arith::unary(level, op, arg)),
        Inst::Binary { op, .. } => Recipe::plain(arith::binary(level, op, arg)),
        Inst::Overflow { op, .. } => Recipe::plain(arith::overflow(level, op, arg)),
        Inst::Compare { op, order, .. } => compare::compare(level, op, order, arg),
        Inst::Range { .. } => Recipe::plain(compare::range(level, arg)),
        Inst::Cast { to, .. } => cast::cast(level, arg, to),
        Inst::CastFails { to, .. } => cast::fails(level, arg, to),
        Inst::Rescale { by, rounding, .. } => Recipe::plain(decimal::rescale(by, rounding)),
        Inst::RescaleFails { by, .. } => decimal::rescale_fails(level, by),
        Inst::Select { .. } => Recipe::plain(select::select(level, result.unwrap_or(Ty::Mask))),
        Inst::Mask { op, .. } => Recipe::plain(logic::mask(level, op)),
        Inst::Not { .. } => Recipe::plain(logic::not(level)),
        Inst::Lookup { .. } => Recipe::plain(lookup::lookup(arg, result.unwrap_or(Ty::Mask))),
        Inst::InBounds { .. } => Recipe::plain(lookup::in_bounds(level, arg)),
        Inst::InSet { .. } => Recipe::plain(lookup::in_set(level, arg)),
        Inst::Trap { .. } => Recipe::plain(logic::trap(level)),
        Inst::Param { .. } | Inst::Const { .. } => unreachable!("scalars are not computed"),
    }
}

/// Computes each row of the result from one operand.
#[inline(always)]
fn map1<A: Element, R: Element>(step: &Step, frame: &mut Frame<'_, '_>, compute: impl Fn(A) -> R) {
    frame.write(step.to, |frame, out| match frame.operand(step.args[0]) {
        Operand::Scalar(arg) => out.fill(compute(arg)),
        Operand::Rows(args) => {
            for (out, arg) in out.iter_mut().zip(args) {
                *out = compute(*arg);
            }
        }
    });
}

/// Computes each row of the result from two operands.
#[inline(always)]
fn map2<A: Element, B: Element, R: Element>(
    step: &Step,
    frame: &mut Frame<'_, '_>,
    compute: impl Fn(A, B) -> R,
) {
    frame.write(step.to, |frame, out| {
        match (frame.operand(step.args[0]), frame.operand(step.args[1])) {
            (Operand::Rows(lhs), Operand::Rows(rhs)) => {
                for ((out, lhs), rhs) in out.iter_mut().zip(lhs).zip(rhs) {
                    *out = compute(*lhs, *rhs);
                }
            }
            (Operand::Rows(lhs), Operand::Scalar(rhs)) => {
                for (out, lhs) in out.iter_mut().zip(lhs) {
                    *out = compute(*lhs, rhs);
                }
            }
            (Operand::Scalar(lhs), Operand::Rows(rhs)) => {
                for (out, rhs) in out.iter_mut().zip(rhs) {
                    *out = compute(lhs, *rhs);
                }
            }
            (Operand::Scalar(lhs), Operand::Scalar(rhs)) => out.fill(compute(lhs, rhs)),
        }
    });
}

/// Computes a mask, 64 rows at a time, from one operand.
#[inline(always)]
fn test1<A: Element>(step: &Step, frame: &mut Frame<'_, '_>, test: impl Fn(Chunk<'_, A>) -> u64) {
    let rows = frame.rows;
    frame.write_mask(step.to, rows, |frame, words| {
        match frame.operand(step.args[0]) {
            Operand::Scalar(arg) => constant(test(Chunk::Splat(arg)), step.negate),
            Operand::Rows(args) => each_word(rows, words, step.negate, |index| {
                with_chunk(args, index, &test)
            }),
        }
    });
}

/// Computes a mask, 64 rows at a time, from two operands.
#[inline(always)]
fn test2<A: Element, B: Element>(
    step: &Step,
    frame: &mut Frame<'_, '_>,
    test: impl Fn(Chunk<'_, A>, Chunk<'_, B>) -> u64,
) {
    let rows = frame.rows;
    let negate = step.negate;
    frame.write_mask(step.to, rows, |frame, words| {
        match (
            frame.operand::<A>(step.args[0]),
            frame.operand::<B>(step.args[1]),
        ) {
            (Operand::Rows(lhs), Operand::Rows(rhs)) => each_word(rows, words, negate, |index| {
                with_chunk(lhs, index, |lhs| {
                    with_chunk(rhs, index, |rhs| test(lhs, rhs))
                })
            }),
            (Operand::Rows(lhs), Operand::Scalar(rhs)) => each_word(rows, words, negate, |index| {
                with_chunk(lhs, index, |lhs| test(lhs, Chunk::Splat(rhs)))
            }),
            (Operand::Scalar(lhs), Operand::Rows(rhs)) => each_word(rows, words, negate, |index| {
                with_chunk(rhs, index, |rhs| test(Chunk::Splat(lhs), rhs))
            }),
            (Operand::Scalar(lhs), Operand::Scalar(rhs)) => {
                constant(test(Chunk::Splat(lhs), Chunk::Splat(rhs)), negate)
            }
        }
    });
}

/// Fills the words of a mask, complemented if asked, and clears the bits beyond the rows.
#[inline(always)]
fn each_word(
    rows: usize,
    words: &mut [u64],
    negate: bool,
    mut word: impl FnMut(usize) -> u64,
) -> Extent {
    let flip = if negate { u64::MAX } else { 0 };
    let (mut any, mut all) = (0, u64::MAX);
    for (index, out) in words.iter_mut().enumerate() {
        let bits = word(index) ^ flip;
        any |= bits;
        all &= bits;
        *out = bits;
    }
    let tail = rows % WORD;
    if tail != 0
        && let Some(last) = words.last_mut()
    {
        // The last word was summed up with rows that do not exist.
        *last &= low_bits(tail);
        return extent(rows, words);
    }
    Extent::from_summary(any, all)
}

/// What is known of a mask that is already there, its bits beyond the rows clear.
#[inline(always)]
fn extent(rows: usize, words: &[u64]) -> Extent {
    let Some((last, full)) = words.split_last() else {
        return Extent::None;
    };
    let (any, all) = summary(full);
    Extent::from_summary(
        any | last,
        all & (last | !low_bits(rows - full.len() * WORD)),
    )
}

/// The disjunction and the conjunction of words.
#[inline(always)]
fn summary(words: &[u64]) -> (u64, u64) {
    words
        .iter()
        .fold((0, u64::MAX), |(any, all), word| (any | word, all & word))
}

/// Calls `test` with the 64 rows at word `index`; zeros stand for those beyond the last row.
#[inline(always)]
fn with_chunk<T: Element>(rows: &[T], index: usize, test: impl FnOnce(Chunk<'_, T>) -> u64) -> u64 {
    let rest = &rows[index * WORD..];
    let padded;
    let chunk = match rest.first_chunk() {
        Some(chunk) => chunk,
        None => {
            padded = pad(rest);
            &padded
        }
    };
    test(Chunk::Rows(chunk))
}

#[cold]
fn pad<T: Element>(rest: &[T]) -> [T; WORD] {
    let mut padded = [T::default(); WORD];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// A mask of which row 0 speaks for all.
#[inline(always)]
fn constant(word: u64, negate: bool) -> Extent {
    if (word & 1 == 1) != negate {
        Extent::All
    } else {
        Extent::None
    }
}
