//! Choosing between two values row by row.

use std::marker::PhantomData;

use unlade_program::Ty;

use super::each_word;
use crate::Level;
use crate::element::{Element, with_bits_of};
use crate::frame::{Entry, Extent, Frame, Kernel, MaskView, Operand, Step};
use crate::isa::Isa;
use crate::mask::WORD;

pub(super) fn select(level: Level, ty: Ty) -> Entry {
    if ty == Ty::Mask {
        return level.entry::<SelectMask>();
    }
    // Bits are kept, whatever they mean.
    with_bits_of!(ty, T => level.entry::<Select<T>>())
}

struct Select<T>(PhantomData<T>);

impl<T: Element> Kernel for Select<T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let mut taken = frame.take(step.to, size_of::<T>());
        let out = taken.values::<T>(frame.rows);
        let then = frame.operand::<T>(step.args[1]);
        let other = frame.operand::<T>(step.args[2]);
        match (frame.mask(step.args[0]), then, other) {
            (MaskView::None, _, _) => copy(other, out),
            (MaskView::All, _, _) => copy(then, out),
            (MaskView::Some(words), Operand::Rows(then), Operand::Rows(other)) => {
                blend::<I, T>(words, out, |row| then[row], |row| other[row]);
            }
            (MaskView::Some(words), Operand::Rows(then), Operand::Scalar(other)) => {
                blend::<I, T>(words, out, |row| then[row], |_| other);
            }
            (MaskView::Some(words), Operand::Scalar(then), Operand::Rows(other)) => {
                blend::<I, T>(words, out, |_| then, |row| other[row]);
            }
            (MaskView::Some(words), Operand::Scalar(then), Operand::Scalar(other)) => {
                blend::<I, T>(words, out, |_| then, |_| other);
            }
        }
        frame.put(taken);
    }
}

#[inline(always)]
fn copy<T: Element>(from: Operand<'_, T>, out: &mut [T]) {
    match from {
        Operand::Scalar(value) => out.fill(value),
        Operand::Rows(rows) => out.copy_from_slice(rows),
    }
}

#[inline(always)]
fn blend<I: Isa, T: Element>(
    words: &[u64],
    out: &mut [T],
    then: impl Fn(usize) -> T,
    other: impl Fn(usize) -> T,
) {
    for (index, (out, word)) in out.chunks_mut(WORD).zip(words).enumerate() {
        let set = I::unpack(*word);
        let first = index * WORD;
        for (row, (out, set)) in out.iter_mut().zip(set).enumerate() {
            *out = if set != 0 {
                then(first + row)
            } else {
                other(first + row)
            };
        }
    }
}

struct SelectMask;

impl Kernel for SelectMask {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let rows = frame.rows;
        let mut taken = frame.take_mask(step.to);
        let words = &mut taken.words[..rows.div_ceil(WORD)];
        let [mask, then, other] = step.args.map(|place| frame.mask(place));
        taken.extent = match (mask, then, other) {
            (MaskView::All, MaskView::None, _) | (MaskView::None, _, MaskView::None) => {
                Extent::None
            }
            (MaskView::All, MaskView::All, _) | (MaskView::None, _, MaskView::All) => Extent::All,
            _ => each_word!(rows, words, |index| {
                let mask = word(mask, index);
                (word(then, index) & mask) | (word(other, index) & !mask)
            }),
        };
        frame.put_mask(step.to, taken);
    }
}

#[inline(always)]
fn word(view: MaskView<'_>, index: usize) -> u64 {
    match view {
        MaskView::None => 0,
        MaskView::All => u64::MAX,
        MaskView::Some(words) => words[index],
    }
}
