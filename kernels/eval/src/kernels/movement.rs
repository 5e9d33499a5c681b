//! Moving values: bitmaps into registers, rows kept together, results into outputs.

use std::marker::PhantomData;

use unlade_program::{Inst, Ty};

use crate::compact as rows;
use crate::element::{Element, with_bits_of};
use crate::frame::{Entry, Extent, Frame, Kernel, MaskView, Operand, Step};
use crate::isa::Isa;
use crate::mask::{self, WORD, low_bits};
use crate::{BitsRef, Level};

/// Brings the bits of a column of masks, or of a column's validity, into a register. The step
/// works on the whole tile, also while only the rows kept are worked on.
pub(super) fn read_bits(level: Level) -> Entry {
    level.entry::<ReadBits>()
}

/// Moves the kept rows of a column or register together.
pub(crate) fn compact(level: Level, ty: Ty) -> Entry {
    match ty.bits() {
        8 => level.entry::<Compact<1>>(),
        16 => level.entry::<Compact<2>>(),
        32 => level.entry::<Compact<4>>(),
        64 => level.entry::<Compact<8>>(),
        128 => level.entry::<Compact<16>>(),
        _ => unreachable!("bits are compacted by `compact_mask`"),
    }
}

/// Moves the kept rows of a mask together.
pub(crate) fn compact_mask(level: Level) -> Entry {
    level.entry::<CompactMask>()
}

/// Copies a value to an output of elements.
pub(crate) fn copy_to_output(level: Level, ty: Ty) -> Entry {
    with_bits_of!(ty, T => level.entry::<CopyToOutput<T>>())
}

/// Appends a mask to the values of the output that the step names.
pub(crate) fn append_mask(level: Level) -> Entry {
    level.entry::<AppendMask<false>>()
}

/// Appends a mask to the validity of the output that the step names.
pub(crate) fn append_validity(level: Level) -> Entry {
    level.entry::<AppendMask<true>>()
}

struct ReadBits;

impl Kernel for ReadBits {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let bits = match step.inst {
            Inst::Validity { column } => frame.inputs.columns[column as usize].validity,
            Inst::Load { column } => {
                let column = &frame.inputs.columns[column as usize];
                let offset = usize::from(column.bit_offset);
                Some(BitsRef {
                    bytes: column.values,
                    offset,
                })
            }
            other => unreachable!("{other:?} reads no bits"),
        };
        let mut taken = frame.take_mask(step.to);
        taken.extent = match bits {
            Some(bits) => frame.read_bits(bits, &mut taken.words[..frame.tile_rows.div_ceil(WORD)]),
            None => Extent::All,
        };
        frame.put_mask(step.to, taken);
    }
}

struct Compact<const WIDTH: usize>;

impl<const WIDTH: usize> Kernel for Compact<WIDTH> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let mut taken = frame.take(step.to, WIDTH);
        let values = frame.bytes(step.args[0], WIDTH, frame.tile_rows);
        if frame.registers.listed.is_empty() {
            let kept = rows::compress::<I, WIDTH>(values, kept_words(frame), taken.bytes());
            debug_assert_eq!(kept, frame.rows);
        } else {
            rows::gather::<WIDTH>(values, &frame.registers.listed, taken.bytes());
        }
        frame.put(taken);
    }
}

struct CompactMask;

impl Kernel for CompactMask {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let kept = frame.rows;
        let mut taken = frame.take_mask(step.to);
        taken.extent = match frame.mask(step.args[0]) {
            MaskView::None => Extent::None,
            MaskView::All => Extent::All,
            MaskView::Some(values) => {
                let words = &mut taken.words[..kept.div_ceil(WORD)];
                rows::compress_words::<I>(values, kept_words(frame), words);
                mask::extent(kept, words)
            }
        };
        frame.put_mask(step.to, taken);
    }
}

/// The words that mark the rows of the tile which are kept.
#[inline(always)]
fn kept_words<'f>(frame: &'f Frame<'_, '_>) -> &'f [u64] {
    match frame.mask(frame.keep) {
        MaskView::Some(words) => &words[..frame.tile_rows.div_ceil(WORD)],
        _ => unreachable!("nothing is compacted where all rows are kept, or none"),
    }
}

struct CopyToOutput<T>(PhantomData<T>);

impl<T: Element> Kernel for CopyToOutput<T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let mut taken = frame.take(step.to, size_of::<T>());
        let out = taken.values::<T>(frame.rows);
        match frame.operand::<T>(step.args[0]) {
            Operand::Scalar(value) => out.fill(value),
            Operand::Rows(rows) => out.copy_from_slice(rows),
        }
        frame.put(taken);
    }
}

struct AppendMask<const VALIDITY: bool>;

impl<const VALIDITY: bool> Kernel for AppendMask<VALIDITY> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let (at, rows) = (frame.written, frame.rows);
        let index = step.index as usize;
        let output = &mut frame.outputs[index];
        let out = if VALIDITY {
            output.validity.take().expect("outputs were checked")
        } else {
            std::mem::take(&mut output.values)
        };
        match frame.mask(step.args[0]) {
            MaskView::None => mask::append(out, at, rows, |_| 0),
            MaskView::All => mask::append(out, at, rows, |index| low_bits(rows - index * WORD)),
            MaskView::Some(words) => mask::append(out, at, rows, |index| words[index]),
        }
        let output = &mut frame.outputs[index];
        if VALIDITY {
            output.validity = Some(out);
        } else {
            output.values = out;
        }
    }
}
