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
use crate::isa::{Chunk, Isa};
use crate::mask::WORD;

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

// The loops below take no closures around anything with a vector instruction in it: a closure has
// not the CPU features of the kernel that it is in, and would keep the instructions from being
// inlined.

/// The kernel of a range whose bounds differ from row to row.
pub(crate) fn range_of_rows(arg: Option<Ty>) -> Recipe {
    Recipe::plain(compare::range_of_rows(arg.unwrap_or(Ty::Mask)))
}

/// Computes each row of the result from one operand.
#[inline(always)]
fn map1<A: Element, R: Element>(step: &Step, frame: &mut Frame<'_, '_>, compute: impl Fn(A) -> R) {
    let mut taken = frame.take(step.to, size_of::<R>());
    let out = taken.values::<R>(frame.rows);
    match frame.operand::<A>(step.args[0]) {
        Operand::Scalar(arg) => out.fill(compute(arg)),
        Operand::Rows(args) => {
            for (out, arg) in out.iter_mut().zip(args) {
                *out = compute(*arg);
            }
        }
    }
    frame.put(taken);
}

/// Computes each row of the result from two operands.
#[inline(always)]
fn map2<A: Element, B: Element, R: Element>(
    step: &Step,
    frame: &mut Frame<'_, '_>,
    compute: impl Fn(A, B) -> R,
) {
    let mut taken = frame.take(step.to, size_of::<R>());
    let out = taken.values::<R>(frame.rows);
    match (
        frame.operand::<A>(step.args[0]),
        frame.operand::<B>(step.args[1]),
    ) {
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
    frame.put(taken);
}

/// What a kernel asks of 64 rows of one operand. `test` must be `#[inline(always)]`.
trait Test1<A> {
    fn test<I: Isa>(&self, args: Chunk<'_, A>) -> u64;
}

/// What a kernel asks of 64 rows of two operands. `test` must be `#[inline(always)]`.
trait Test2<A> {
    fn test<I: Isa>(&self, lhs: Chunk<'_, A>, rhs: Chunk<'_, A>) -> u64;
}

/// Binds 64 rows at word `$index`; zeros stand for those beyond the last row.
macro_rules! chunk {
    (let $chunk:ident = $rows:expr, $index:expr) => {
        let padded;
        let rest = &$rows[$index * WORD..];
        let $chunk = Chunk::Rows(match rest.first_chunk() {
            Some(chunk) => chunk,
            None => {
                padded = $crate::kernels::pad(rest);
                &padded
            }
        });
    };
}

/// Fills the words of a mask, complemented if asked, clears the bits beyond the rows and says what
/// is known of all of them.
macro_rules! each_word {
    ($rows:expr, $words:expr, $negate:expr, |$index:ident| $word:expr) => {{
        let (rows, words): (usize, &mut [u64]) = ($rows, $words);
        let flip = if $negate { u64::MAX } else { 0 };
        let (mut any, mut all) = (0, u64::MAX);
        for ($index, out) in words.iter_mut().enumerate() {
            let bits = $word ^ flip;
            any |= bits;
            all &= bits;
            *out = bits;
        }
        match words.last_mut() {
            Some(last) if !rows.is_multiple_of(WORD) => {
                // The last word was summed up with rows that do not exist.
                *last &= $crate::mask::low_bits(rows % WORD);
                $crate::mask::extent(rows, words)
            }
            _ => Extent::from_summary(any, all),
        }
    }};
}

use each_word;

/// Computes a mask, 64 rows at a time, from one operand.
#[inline(always)]
fn test1<I: Isa, A: Element>(step: &Step, frame: &mut Frame<'_, '_>, test: &impl Test1<A>) {
    let (rows, negate) = (frame.rows, step.negate);
    let mut taken = frame.take_mask(step.to);
    let words = &mut taken.words[..rows.div_ceil(WORD)];
    taken.extent = match frame.operand::<A>(step.args[0]) {
        Operand::Scalar(arg) => constant(test.test::<I>(Chunk::Splat(arg)), negate),
        Operand::Rows(args) => each_word!(rows, words, negate, |index| {
            chunk!(let args = args, index);
            test.test::<I>(args)
        }),
    };
    frame.put_mask(step.to, taken);
}

/// Computes a mask, 64 rows at a time, from two operands of one type.
#[inline(always)]
fn test2<I: Isa, A: Element>(step: &Step, frame: &mut Frame<'_, '_>, test: &impl Test2<A>) {
    let (rows, negate) = (frame.rows, step.negate);
    let mut taken = frame.take_mask(step.to);
    let words = &mut taken.words[..rows.div_ceil(WORD)];
    taken.extent = match (
        frame.operand::<A>(step.args[0]),
        frame.operand::<A>(step.args[1]),
    ) {
        (Operand::Rows(lhs), Operand::Rows(rhs)) => each_word!(rows, words, negate, |index| {
            chunk!(let lhs = lhs, index);
            chunk!(let rhs = rhs, index);
            test.test::<I>(lhs, rhs)
        }),
        (Operand::Rows(lhs), Operand::Scalar(rhs)) => each_word!(rows, words, negate, |index| {
            chunk!(let lhs = lhs, index);
            test.test::<I>(lhs, Chunk::Splat(rhs))
        }),
        (Operand::Scalar(lhs), Operand::Rows(rhs)) => each_word!(rows, words, negate, |index| {
            chunk!(let rhs = rhs, index);
            test.test::<I>(Chunk::Splat(lhs), rhs)
        }),
        (Operand::Scalar(lhs), Operand::Scalar(rhs)) => {
            constant(test.test::<I>(Chunk::Splat(lhs), Chunk::Splat(rhs)), negate)
        }
    };
    frame.put_mask(step.to, taken);
}

/// The last rows of a tile, filled up to 64.
#[cold]
#[inline(never)]
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
