//! The state of one execution as the kernels see it: where operands are and results go.

use unlade_program::{Inst, Ty};

use crate::element::{Element, Scalar, typed, typed_mut};
use crate::isa::Isa;
use crate::mask::{self, WORD};
use crate::plan::MAX_TILE;
use crate::{BitsRef, Inputs, OutputMut};

/// Where a value of the program is while a tile is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One value for all rows: an index into the scalars. A mask is 0 or 1.
    Scalar(u32),
    /// The rows of an input column, where they lie.
    Column(u32),
    /// A register of values.
    Vector(u32),
    /// A register of bits.
    Mask(u32),
    /// The values of an output, where they belong.
    Output(u32),
    /// The mask that every row is in.
    AllRows,
    /// No operand, or no result.
    None,
}

/// One instruction of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The kernel.
    pub(crate) run: Entry,
    /// Where the result goes.
    pub(crate) to: Place,
    /// The operands, in the order of the instruction.
    pub(crate) args: [Place; 3],
    /// The instruction, for what a kernel wants to know of it beyond its types.
    pub(crate) inst: Inst,
    /// Whether a mask kernel gives the complement of what it computes.
    pub(crate) negate: bool,
    /// The rows that the result of a test may hold on; it is clear on all others.
    pub(crate) within: Place,
    /// An index that the instruction does not name: the output that a step completes.
    pub(crate) index: u32,
}

/// A kernel, compiled for one level.
///
/// # Safety
/// The features of that level must be present. [`Level::entry`](crate::Level) makes these, and a
/// level exists only where they are.
pub(crate) type Entry = unsafe fn(&Step, &mut Frame<'_, '_>);

/// A kernel, before it is compiled for a level.
pub(crate) trait Kernel {
    /// Must be `#[inline(always)]`, so that it is compiled with the features of its caller.
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>);
}

/// What is known of all rows of a mask at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extent {
    /// No row is set; the words are meaningless.
    #[default]
    None,
    /// Every row is set; the words are meaningless.
    All,
    /// The words say; so many rows are set.
    Some(usize),
}

/// A mask as an operand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MaskView<'a> {
    None,
    All,
    Some(&'a [u64]),
}

/// An operand of elements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand<'a, T> {
    Rows(&'a [T]),
    Scalar(T),
}

/// Memory for the values of one tile, aligned to a cache line.
#[derive(Debug, Default)]
pub(crate) struct VectorRegister(Box<[CacheLine]>);

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct CacheLine(#[allow(dead_code)] [u8; 64]);

impl VectorRegister {
    /// Makes room for at least that many bytes.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        let lines = bytes.div_ceil(64);
        if self.0.len() < lines {
            self.0 = vec![CacheLine([0; 64]); lines].into_boxed_slice();
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a cache line is 64 initialised bytes without padding, and `u8` needs no
        // alignment; the view shares the borrow of the register.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 64) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, exclusively; every byte pattern is a cache line.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 64) }
    }
}

/// Where elements go, while they are being written.
#[derive(Debug)]
pub(crate) enum Taken<'o> {
    /// A register and its number.
    Vector(u32, VectorRegister),
    /// An output, its number, and the first byte not yet written.
    Output(u32, &'o mut [u8], usize),
}

impl Taken<'_> {
    /// All the room there is.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Taken::Vector(_, register) => register.bytes_mut(),
            Taken::Output(_, values, written) => &mut values[*written..],
        }
    }

    /// Room for that many values.
    #[inline(always)]
    pub(crate) fn values<T: Element>(&mut self, rows: usize) -> &mut [T] {
        typed_mut(&mut self.bytes()[..rows * size_of::<T>()]).expect(ALIGNED)
    }
}

/// Memory for one bit per row of a tile.
#[derive(Debug, Default)]
pub(crate) struct MaskRegister {
    pub(crate) words: Box<[u64]>,
    pub(crate) extent: Extent,
}

/// The registers of a frame, kept from one execution to the next.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    pub(crate) vectors: Vec<VectorRegister>,
    pub(crate) masks: Vec<MaskRegister>,
    pub(crate) scalars: Vec<Scalar>,
    /// The numbers of the rows kept, where they are so few that walking them is faster than
    /// compaction.
    pub(crate) listed: Vec<u16>,
    /// Columns that are not aligned for their type, most often none.
    pub(crate) unaligned: Vec<u32>,
    /// Copies of the current tile of those columns, by column.
    pub(crate) aligned: Vec<VectorRegister>,
}

/// One tile of one execution.
#[derive(Debug)]
pub(crate) struct Frame<'r, 'o> {
    pub(crate) inputs: &'r Inputs<'r>,
    /// Types of the tables.
    pub(crate) table_types: &'r [Ty],
    pub(crate) outputs: &'r mut [OutputMut<'o>],
    pub(crate) registers: &'r mut Registers,
    /// The tile's first row.
    pub(crate) first_row: usize,
    /// Rows of the tile.
    pub(crate) tile_rows: usize,
    /// Rows that the steps work on: those of the tile, or those of it that are kept.
    pub(crate) rows: usize,
    /// Rows already in the outputs.
    pub(crate) written: usize,
    /// Where the rows kept are marked, while only they are worked on.
    pub(crate) keep: Place,
    /// The least row, counted from the tile's first, and ordinal that trapped.
    pub(crate) trap: Option<(usize, u32)>,
}

impl<'o> Frame<'_, 'o> {
    /// An operand of elements.
    #[inline(always)]
    pub(crate) fn operand<T: Element>(&self, place: Place) -> Operand<'_, T> {
        match place {
            Place::Scalar(index) => Operand::Scalar(self.scalar(index)),
            _ => Operand::Rows(typed(self.bytes(place, size_of::<T>(), self.rows)).expect(ALIGNED)),
        }
    }

    #[inline(always)]
    pub(crate) fn scalar<T: Element>(&self, index: u32) -> T {
        T::from_bytes(&self.registers.scalars[index as usize])
    }

    /// The bytes of the first `rows` values of `width` bytes at a place.
    #[inline(always)]
    pub(crate) fn bytes(&self, place: Place, width: usize, rows: usize) -> &[u8] {
        let bytes = match place {
            Place::Column(column) => {
                if self.registers.unaligned.contains(&column) {
                    self.registers.aligned[column as usize].bytes()
                } else {
                    &self.inputs.columns[column as usize].values[self.first_row * width..]
                }
            }
            Place::Vector(register) => self.registers.vectors[register as usize].bytes(),
            Place::Output(output) => &self.outputs[output as usize].values[self.written * width..],
            other => unreachable!("{other:?} holds no elements"),
        };
        &bytes[..rows * width]
    }

    /// The rows of a column that the next tile will have, for whoever asks the CPU for them early;
    /// none of any other place.
    #[inline(always)]
    pub(crate) fn next_tile<T: Element>(&self, place: Place) -> &[T] {
        let Place::Column(column) = place else {
            return &[];
        };
        let first = self.first_row + self.tile_rows;
        let end = (first + self.tile_rows).min(self.inputs.rows);
        let width = size_of::<T>();
        let values = self.inputs.columns[column as usize].values;
        // Of a column that is not aligned, tiles are copied before they are read.
        values
            .get(first * width..end * width)
            .and_then(typed)
            .unwrap_or_default()
    }

    /// Takes the memory of a place out of the frame to write to it, so that no operand can be the
    /// same memory; [`Frame::put`] brings it back.
    #[inline(always)]
    pub(crate) fn take(&mut self, to: Place, width: usize) -> Taken<'o> {
        match to {
            Place::Vector(register) => {
                let taken = &mut self.registers.vectors[register as usize];
                Taken::Vector(register, std::mem::take(taken))
            }
            Place::Output(output) => {
                let taken = &mut self.outputs[output as usize].values;
                Taken::Output(output, std::mem::take(taken), self.written * width)
            }
            other => unreachable!("elements cannot be written to {other:?}"),
        }
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, taken: Taken<'o>) {
        match taken {
            Taken::Vector(index, register) => self.registers.vectors[index as usize] = register,
            Taken::Output(index, values, _) => self.outputs[index as usize].values = values,
        }
    }

    /// An operand of bits.
    #[inline(always)]
    pub(crate) fn mask(&self, place: Place) -> MaskView<'_> {
        match place {
            Place::Mask(register) => {
                let register = &self.registers.masks[register as usize];
                match register.extent {
                    Extent::None => MaskView::None,
                    Extent::All => MaskView::All,
                    // Longer than the rows at hand: whoever iterates is bounded by what it writes.
                    Extent::Some(_) => MaskView::Some(&register.words),
                }
            }
            Place::Scalar(index) if self.registers.scalars[index as usize][0] & 1 == 0 => {
                MaskView::None
            }
            Place::Scalar(_) | Place::AllRows => MaskView::All,
            other => unreachable!("{other:?} holds no mask"),
        }
    }

    /// A mask as words also where it sets all rows; nothing where it sets none.
    #[inline(always)]
    pub(crate) fn words(&self, place: Place) -> Option<&[u64]> {
        static ALL: [u64; MAX_TILE / WORD] = [u64::MAX; MAX_TILE / WORD];
        match self.mask(place) {
            MaskView::None => None,
            MaskView::All => Some(&ALL),
            MaskView::Some(words) => Some(words),
        }
    }

    /// How many of the tile's rows a mask sets.
    #[inline(always)]
    pub(crate) fn count(&self, place: Place) -> usize {
        match place {
            Place::Mask(register) => match self.registers.masks[register as usize].extent {
                Extent::None => 0,
                Extent::All => self.rows,
                Extent::Some(set) => set,
            },
            uniform => match self.mask(uniform) {
                MaskView::None => 0,
                MaskView::All => self.rows,
                MaskView::Some(_) => unreachable!("only registers have words"),
            },
        }
    }

    /// [`Frame::take`] for a register of bits.
    #[inline(always)]
    pub(crate) fn take_mask(&mut self, to: Place) -> MaskRegister {
        match to {
            Place::Mask(register) => std::mem::take(&mut self.registers.masks[register as usize]),
            other => unreachable!("bits cannot be written to {other:?}"),
        }
    }

    #[inline(always)]
    pub(crate) fn put_mask(&mut self, to: Place, taken: MaskRegister) {
        if let Place::Mask(register) = to {
            self.registers.masks[register as usize] = taken;
        }
    }

    /// The bits of an input bitmap that belong to the tile.
    #[inline(always)]
    pub(crate) fn read_bits(&self, bits: BitsRef<'_>, words: &mut [u64]) -> Extent {
        mask::copy_words(bits, self.first_row, self.tile_rows, words);
        mask::extent(self.tile_rows, words)
    }

    /// Notes that a row, counted from the tile's first, traps.
    pub(crate) fn note_trap(&mut self, row: usize, ordinal: u32) {
        let trap = (row, ordinal);
        self.trap = Some(self.trap.map_or(trap, |earlier| earlier.min(trap)));
    }
}

/// Places that elements are read from and written to are aligned: registers by their type,
/// columns by a copy where need be, outputs by the check before the first tile.
const ALIGNED: &str = "operands are aligned";

impl Extent {
    /// From the number of rows set, of so many.
    #[inline(always)]
    pub(crate) fn of(set: usize, rows: usize) -> Extent {
        if set == 0 {
            Extent::None
        } else if set == rows {
            Extent::All
        } else {
            Extent::Some(set)
        }
    }
}
