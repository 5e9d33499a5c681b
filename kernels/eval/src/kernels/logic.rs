//! Masks of masks, and traps.

use std::marker::PhantomData;

use unlade_program::{CompareOp, Inst, MaskOp};

use super::{Recipe, each_word};
use crate::Level;
use crate::frame::{Entry, Extent, Frame, Kernel, MaskView, Step};
use crate::isa::Isa;
use crate::mask::{self, WORD, low_bits};

pub(super) fn mask(level: Level, op: MaskOp) -> Entry {
    match op {
        MaskOp::And => level.entry::<Combine<And>>(),
        MaskOp::Or => level.entry::<Combine<Or>>(),
        MaskOp::AndNot => level.entry::<Combine<AndNot>>(),
        MaskOp::Xor => level.entry::<Combine<Xor>>(),
    }
}

pub(super) fn not(level: Level) -> Entry {
    level.entry::<Not>()
}

pub(super) fn trap(level: Level) -> Entry {
    level.entry::<Trap>()
}

/// Equality of masks is exactly one of them not being set, negated.
pub(super) fn compare(level: Level, op: CompareOp) -> Recipe {
    let entry = match op {
        CompareOp::Ne => level.entry::<Combine<Xor>>(),
        CompareOp::Eq => level.entry::<Combine<Equal>>(),
        other => unreachable!("masks have no order for {other:?}: the program was not verified"),
    };
    Recipe::plain(entry)
}

trait Bitwise {
    fn apply(lhs: u64, rhs: u64) -> u64;
}

struct And;
struct Or;
struct AndNot;
struct Xor;
struct Equal;

impl Bitwise for And {
    #[inline(always)]
    fn apply(lhs: u64, rhs: u64) -> u64 {
        lhs & rhs
    }
}

impl Bitwise for Or {
    #[inline(always)]
    fn apply(lhs: u64, rhs: u64) -> u64 {
        lhs | rhs
    }
}

impl Bitwise for AndNot {
    #[inline(always)]
    fn apply(lhs: u64, rhs: u64) -> u64 {
        lhs & !rhs
    }
}

impl Bitwise for Xor {
    #[inline(always)]
    fn apply(lhs: u64, rhs: u64) -> u64 {
        lhs ^ rhs
    }
}

impl Bitwise for Equal {
    #[inline(always)]
    fn apply(lhs: u64, rhs: u64) -> u64 {
        !(lhs ^ rhs)
    }
}

struct Combine<Op>(PhantomData<Op>);

impl<Op: Bitwise> Kernel for Combine<Op> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let rows = frame.rows;
        let mut taken = frame.take_mask(step.to);
        let words = &mut taken.words[..rows.div_ceil(WORD)];
        taken.extent = match (frame.mask(step.args[0]), frame.mask(step.args[1])) {
            (MaskView::Some(lhs), MaskView::Some(rhs)) => {
                let (lhs, rhs) = (&lhs[..words.len()], &rhs[..words.len()]);
                each_word!(rows, words, |index| Op::apply(lhs[index], rhs[index]))
            }
            (lhs, rhs) => match (uniform(lhs), uniform(rhs)) {
                (Some(lhs), _) => of_one(
                    rhs,
                    Op::apply(lhs, 0),
                    Op::apply(lhs, u64::MAX),
                    rows,
                    words,
                ),
                (_, Some(rhs)) => of_one(
                    lhs,
                    Op::apply(0, rhs),
                    Op::apply(u64::MAX, rhs),
                    rows,
                    words,
                ),
                (None, None) => unreachable!("both are made of words"),
            },
        };
        frame.put_mask(step.to, taken);
    }
}

/// The word that a mask repeats, where it does.
fn uniform(view: MaskView<'_>) -> Option<u64> {
    match view {
        MaskView::None => Some(0),
        MaskView::All => Some(u64::MAX),
        MaskView::Some(_) => None,
    }
}

/// A mask made from one other: `clear` where that is clear and `set` where it is set.
#[inline(always)]
fn of_one(arg: MaskView<'_>, clear: u64, set: u64, rows: usize, words: &mut [u64]) -> Extent {
    let chosen = match arg {
        MaskView::None => clear,
        MaskView::All => set,
        MaskView::Some(_) if clear == set => set,
        MaskView::Some(arg) => {
            for (out, word) in words.iter_mut().zip(arg) {
                *out = *word ^ clear;
            }
            if clear != 0
                && !rows.is_multiple_of(WORD)
                && let Some(last) = words.last_mut()
            {
                *last &= low_bits(rows % WORD);
            }
            return mask::extent(rows, words);
        }
    };
    if chosen == 0 {
        Extent::None
    } else {
        Extent::All
    }
}

struct Not;

impl Kernel for Not {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let rows = frame.rows;
        let mut taken = frame.take_mask(step.to);
        let words = &mut taken.words[..rows.div_ceil(WORD)];
        taken.extent = of_one(frame.mask(step.args[0]), u64::MAX, 0, rows, words);
        frame.put_mask(step.to, taken);
    }
}

struct Trap;

impl Kernel for Trap {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let row = match frame.mask(step.args[0]) {
            MaskView::None => return,
            MaskView::All => 0,
            MaskView::Some(words) => {
                let words = &words[..frame.rows.div_ceil(WORD)];
                mask::first_set(words).expect("a mask of words has a row set")
            }
        };
        let Inst::Trap { ordinal, .. } = step.inst else {
            unreachable!("the kernel of traps is given traps only");
        };
        let row = match frame.mask(frame.keep) {
            MaskView::Some(keep) => nth_kept(keep, row),
            _ => row,
        };
        frame.note_trap(row, ordinal);
    }
}

/// The row of the tile that the `nth` row kept is.
#[cold]
fn nth_kept(keep: &[u64], nth: usize) -> usize {
    let mut left = nth;
    for (index, word) in keep.iter().enumerate() {
        let here = word.count_ones() as usize;
        if left < here {
            return index * WORD + mask::nth_set_in_word(*word, left);
        }
        left -= here;
    }
    unreachable!("a row that is computed is kept")
}
