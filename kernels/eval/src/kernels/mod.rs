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
use crate::isa::{self, Chunk, Isa};
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
        Inst::Digits { .. } => Recipe::plain(decimal::digits()),
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

/// Binds an operand in blocks of `$rows` rows.
macro_rules! blocks {
    (let $blocks:ident = $operand:expr, $rows:expr) => {
        let room;
        let $blocks = match $operand {
            Operand::Rows(rows) => Blocks {
                rows,
                stride: $rows,
            },
            Operand::Scalar(value) => {
                room = [value; $rows];
                Blocks {
                    rows: &room,
                    stride: 0,
                }
            }
        };
    };
}

/// Computes each row of the result from two operands of one type.
///
/// There are two loops, for a scalar on the right and for everything else: each is compiled for
/// every operation, type and level.
#[inline(always)]
fn map2<A: Element, R: Element>(
    step: &Step,
    frame: &mut Frame<'_, '_>,
    compute: impl Fn(A, A) -> R,
) {
    let mut taken = frame.take(step.to, size_of::<R>());
    let out = taken.values::<R>(frame.rows);
    let (lhs, rhs) = (
        frame.operand::<A>(step.args[0]),
        frame.operand::<A>(step.args[1]),
    );
    match (lhs, rhs) {
        (Operand::Rows(lhs), Operand::Scalar(rhs)) => {
            for (out, lhs) in out.iter_mut().zip(lhs) {
                *out = compute(*lhs, rhs);
            }
        }
        _ => {
            const BLOCK: usize = 2 * WORD;
            blocks!(let lhs = lhs, BLOCK);
            blocks!(let rhs = rhs, BLOCK);
            for (index, out) in out.chunks_mut(BLOCK).enumerate() {
                let (lhs, rhs) = (lhs.get(index, out.len()), rhs.get(index, out.len()));
                for ((out, lhs), rhs) in out.iter_mut().zip(lhs).zip(rhs) {
                    *out = compute(*lhs, *rhs);
                }
            }
        }
    }
    frame.put(taken);
}

/// An operand in blocks of some rows, which are all the same block for a scalar.
#[derive(Clone, Copy)]
struct Blocks<'a, A> {
    rows: &'a [A],
    /// From one block to the next.
    stride: usize,
}

impl<'a, A> Blocks<'a, A> {
    #[inline(always)]
    fn get(self, index: usize, rows: usize) -> &'a [A] {
        &self.rows[index * self.stride..][..rows]
    }
}

/// What a kernel asks of 64 rows of one operand. `test` must be `#[inline(always)]`.
trait Test1<A> {
    fn test<I: Isa>(&self, args: Chunk<'_, A>) -> u64;
}

/// What a kernel asks of 64 rows of two operands. `test` must be `#[inline(always)]`.
trait Test2<A> {
    /// Whether a scalar on the left is common enough for a loop of its own.
    const SCALAR_FIRST: bool = false;

    fn test<I: Isa>(&self, lhs: Chunk<'_, A>, rhs: Chunk<'_, A>) -> u64;
}

/// Binds 64 rows at word `$index`, `$stride` rows from one to the next; zeros stand for those
/// beyond the last row.
macro_rules! chunk {
    (let $chunk:ident = $rows:expr, $index:expr, $stride:expr) => {
        let padded;
        let rest = &$rows[$index * $stride..];
        let $chunk = Chunk::Rows(match rest.first_chunk() {
            Some(chunk) => chunk,
            None => {
                padded = $crate::kernels::pad(rest);
                &padded
            }
        });
    };
}

/// Fills the words of a mask, clears the bits beyond the rows and counts the others.
macro_rules! each_word {
    ($rows:expr, $words:expr, |$index:ident| $word:expr) => {{
        let (rows, words): (usize, &mut [u64]) = ($rows, $words);
        let mut set = 0;
        for ($index, out) in words.iter_mut().enumerate() {
            let bits: u64 = $word;
            set += bits.count_ones() as usize;
            *out = bits;
        }
        if let Some(last) = words.last_mut()
            && !rows.is_multiple_of(WORD)
        {
            set -= $crate::mask::clear_beyond(last, rows % WORD);
        }
        Extent::of(set, rows)
    }};
}

/// Stretches of a long tile that a test reads side by side.
///
/// What bounds the reading of one stretch is not the memory but how early the CPU asks for it: it
/// begins anew with each page, and waits for the first lines of every one. Side by side stretches
/// wait together. Each must have instructions of its own, since by these the CPU tells one stream
/// of addresses from another.
const STRETCHES: usize = 4;

/// Bytes of a stretch from which on that pays: some pages.
const STRETCH_BYTES: usize = 16 << 10;

/// Chunks of each stretch of a tile, none where the tile is short or the level's tests are slower
/// than the memory.
#[inline(always)]
fn stretch<I: Isa, T>(chunks: &[[T; WORD]]) -> usize {
    let stretch = chunks.len() / STRETCHES;
    match I::VECTORS && stretch * size_of::<[T; WORD]>() >= STRETCH_BYTES {
        true => stretch,
        false => 0,
    }
}

/// The stretches of so many items, and what is behind them.
#[inline(always)]
fn stretches<T>(items: &[T], stretch: usize) -> ([&[T]; STRETCHES], &[T]) {
    let (within, behind) = items.split_at(STRETCHES * stretch);
    let part = |number: usize| &within[number * stretch..][..stretch];
    ([part(0), part(1), part(2), part(3)], behind)
}

/// [`stretches`], to write.
#[inline(always)]
fn stretches_mut<T>(items: &mut [T], stretch: usize) -> ([&mut [T]; STRETCHES], &mut [T]) {
    let (first, rest) = items.split_at_mut(stretch);
    let (second, rest) = rest.split_at_mut(stretch);
    let (third, rest) = rest.split_at_mut(stretch);
    let (fourth, behind) = rest.split_at_mut(stretch);
    ([first, second, third, fourth], behind)
}

/// [`each_tested_word`] of the rows of one operand, which the compiler sees as whole chunks. Those
/// of a long tile are tested in [`STRETCHES`]; of a short one the rows of the next tile are asked
/// for meanwhile.
macro_rules! each_tested_chunk {
    ($step:expr, $frame:expr, $words:expr, $values:expr, |$chunk:ident| $word:expr) => {{
        let words: &mut [u64] = $words;
        let (values, coming) = $values;
        let (full, rest) = values.as_chunks::<WORD>();
        let padded;
        let last = match rest {
            [] => &[][..],
            rest => {
                padded = [pad(rest)];
                &padded
            }
        };
        let flip = if $step.negate { u64::MAX } else { 0 };
        match $frame.words($step.within) {
            Some(within) => {
                let mut set = 0;
                macro_rules! test {
                    ($rows:expr, $word_of:expr, $within_of:expr) => {{
                        let $chunk = Chunk::Rows($rows);
                        let bits: u64 = ($word ^ flip) & $within_of;
                        set += bits.count_ones() as usize;
                        *$word_of = bits;
                    }};
                }
                let stretch = stretch::<I, _>(full);
                let ([a, b, c, d], full) = stretches(full, stretch);
                let ([a_words, b_words, c_words, d_words], words) = stretches_mut(words, stretch);
                let ([a_in, b_in, c_in, d_in], within) = stretches(within, stretch);
                for index in 0..stretch {
                    test!(&a[index], &mut a_words[index], a_in[index]);
                    test!(&b[index], &mut b_words[index], b_in[index]);
                    test!(&c[index], &mut c_words[index], c_in[index]);
                    test!(&d[index], &mut d_words[index], d_in[index]);
                }
                let coming = if stretch == 0 { coming } else { &[] };
                let mut coming = coming.as_chunks::<WORD>().0.iter();
                let (full_words, last_word) = words.split_at_mut(full.len());
                let (full_within, last_within) = within.split_at(full.len());
                // One loop for both, since each test is compiled often enough.
                for (chunks, words, within) in [
                    (full, &mut *full_words, full_within),
                    (last, &mut *last_word, last_within),
                ] {
                    for ((chunk, word), within) in chunks.iter().zip(words).zip(within) {
                        if let Some(coming) = coming.next() {
                            isa::prefetch(coming);
                        }
                        test!(chunk, word, within);
                    }
                }
                if let [last] = last_word {
                    // The chunk was filled up with rows that do not exist.
                    set -= $crate::mask::clear_beyond(last, rest.len());
                }
                Extent::of(set, $frame.rows)
            }
            None => Extent::None,
        }
    }};
}

/// [`each_word`] of a test, complemented and confined to some rows as the step says. Where there
/// are no such rows nothing is tested, and no operand is read.
macro_rules! each_tested_word {
    ($step:expr, $frame:expr, $words:expr, |$index:ident| $word:expr) => {{
        let words: &mut [u64] = $words;
        let flip = if $step.negate { u64::MAX } else { 0 };
        match $frame.words($step.within) {
            Some(within) => {
                let within = &within[..words.len()];
                each_word!($frame.rows, words, |$index| ($word ^ flip) & within[$index])
            }
            None => Extent::None,
        }
    }};
}

use {each_tested_word, each_word};

/// Computes a mask, 64 rows at a time, from one operand.
#[inline(always)]
fn test1<I: Isa, A: Element>(step: &Step, frame: &mut Frame<'_, '_>, test: &impl Test1<A>) {
    let mut taken = frame.take_mask(step.to);
    let words = &mut taken.words[..frame.rows.div_ceil(WORD)];
    let room;
    let coming = frame.next_tile::<A>(step.args[0]);
    let args = match frame.operand::<A>(step.args[0]) {
        Operand::Rows(rows) => rows,
        Operand::Scalar(value) => {
            // What has scalars alone is computed before the first tile, as one row.
            debug_assert_eq!(frame.rows, 1);
            room = [value];
            &room[..]
        }
    };
    taken.extent = each_tested_chunk!(step, frame, words, (args, coming), |args| test
        .test::<I>(args));
    frame.put_mask(step.to, taken);
}

/// Computes a mask, 64 rows at a time, from two operands of one type; in few loops, as [`map2`].
#[inline(always)]
fn test2<I: Isa, A: Element, T: Test2<A>>(step: &Step, frame: &mut Frame<'_, '_>, test: &T) {
    let mut taken = frame.take_mask(step.to);
    let words = &mut taken.words[..frame.rows.div_ceil(WORD)];
    let (lhs, rhs) = (
        frame.operand::<A>(step.args[0]),
        frame.operand::<A>(step.args[1]),
    );
    taken.extent = match (lhs, rhs) {
        (Operand::Rows(lhs), Operand::Scalar(rhs)) => {
            let coming = frame.next_tile::<A>(step.args[0]);
            each_tested_chunk!(step, frame, words, (lhs, coming), |lhs| test
                .test::<I>(lhs, Chunk::Splat(rhs)))
        }
        (Operand::Scalar(lhs), Operand::Rows(rhs)) if T::SCALAR_FIRST => {
            let coming = frame.next_tile::<A>(step.args[1]);
            each_tested_chunk!(step, frame, words, (rhs, coming), |rhs| test
                .test::<I>(Chunk::Splat(lhs), rhs))
        }
        _ => {
            blocks!(let lhs = lhs, WORD);
            blocks!(let rhs = rhs, WORD);
            each_tested_word!(step, frame, words, |index| {
                chunk!(let lhs_rows = lhs.rows, index, lhs.stride);
                chunk!(let rhs_rows = rhs.rows, index, rhs.stride);
                test.test::<I>(lhs_rows, rhs_rows)
            })
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
