//! What an execution reads, writes and says.

use unlade_program::{Program, Trap, Ty};

use crate::element;

/// Bytes that an output needs beyond those of `rows` values, so that compaction can store whole
/// vectors.
pub const SLACK: usize = 64;

/// Bits in memory, least significant first, as in an Arrow bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitsRef<'a> {
    /// The bytes that hold the bits.
    pub bytes: &'a [u8],
    /// Where the first bit is, in bits from the first byte.
    pub offset: usize,
}

/// The rows of one input column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnRef<'a> {
    /// The values, the first row first. An unaligned slice is legal and costs a copy.
    pub values: &'a [u8],
    /// Where the first row's bit is in the first byte, for a column of masks; else zero.
    pub bit_offset: u8,
    /// Which rows are not null, or `None` where all are.
    pub validity: Option<BitsRef<'a>>,
}

/// The arguments of one execution, in the order in which the program declares them.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Rows of every column.
    pub rows: usize,
    /// The columns.
    pub columns: &'a [ColumnRef<'a>],
    /// The parameters, little-endian, extended to 16 bytes.
    pub params: &'a [[u8; 16]],
    /// The entries of each table.
    pub tables: &'a [&'a [u8]],
    /// The ascending entries of each set.
    pub sets: &'a [&'a [u8]],
}

/// Where one output column goes.
#[derive(Debug, Default)]
pub struct OutputMut<'a> {
    /// Room for `rows` values and [`SLACK`] bytes, aligned for the type of the output.
    pub values: &'a mut [u8],
    /// Room for `rows` bits and [`SLACK`] bytes; present exactly where the program's output has
    /// validity.
    pub validity: Option<&'a mut [u8]>,
}

/// Where the results of one execution go.
///
/// Contents are meaningful once the execution is [`Done`], and only up to the rows kept.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// The keep mask, one bit per input row and [`SLACK`] bytes, where the program emits it.
    pub mask: Option<&'a mut [u8]>,
    /// The output columns.
    pub columns: &'a mut [OutputMut<'a>],
}

/// The result of an execution that did not trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Rows written to each output: those the program keeps.
    pub kept: usize,
}

/// Why an execution has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The program trapped; the host finds the words.
    #[error("row {} traps at ordinal {}", .0.row, .0.ordinal)]
    Trap(Trap),
    /// The arguments do not fit the program.
    #[error(transparent)]
    BadArgs(#[from] BadArgs),
}

/// How arguments do not fit their program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadArgs {
    /// A list has the wrong length.
    #[error("the program takes {expected} {what}, {given} were given")]
    Count {
        /// What is listed.
        what: &'static str,
        /// How many the program declares.
        expected: usize,
        /// How many there were.
        given: usize,
    },
    /// A buffer is too short for the rows of the execution.
    #[error("{what} {index} needs {needed} bytes, {given} were given")]
    TooShort {
        /// What the buffer is.
        what: &'static str,
        /// Which of them.
        index: usize,
        /// Bytes needed, [`SLACK`] included for what is written.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// Validity is there although the program says it is not, or the other way round.
    #[error("{what} {index}: validity and the program disagree on whether there is any")]
    Validity {
        /// Column or output.
        what: &'static str,
        /// Which of them.
        index: usize,
    },
    /// The keep mask is there although the program emits none, or the other way round.
    #[error("the keep mask must be given exactly where the program emits it")]
    Mask,
    /// An output does not begin at a multiple of its type's width.
    #[error("output {index} must be aligned to {alignment} bytes")]
    Unaligned {
        /// Which output.
        index: usize,
        /// What its address must be a multiple of.
        alignment: usize,
    },
    /// A table or set is not a whole number of entries long.
    #[error("{what} {index}: {given} bytes are no whole number of {width}-byte entries")]
    PartialEntry {
        /// Table or set.
        what: &'static str,
        /// Which of them.
        index: usize,
        /// Bytes of one entry.
        width: usize,
        /// Bytes given.
        given: usize,
    },
}

/// Checks everything that the tile loop relies on.
pub(crate) fn check(
    program: &Program,
    output_types: &[Ty],
    inputs: &Inputs<'_>,
    outputs: &Outputs<'_>,
) -> Result<(), BadArgs> {
    let rows = inputs.rows;
    count("columns", program.columns.len(), inputs.columns.len())?;
    count("parameters", program.params.len(), inputs.params.len())?;
    count("tables", program.tables.len(), inputs.tables.len())?;
    count("sets", program.sets.len(), inputs.sets.len())?;
    count("outputs", program.outputs.len(), outputs.columns.len())?;
    for (index, (column, given)) in program.columns.iter().zip(inputs.columns).enumerate() {
        let offset = if column.ty == Ty::Mask {
            usize::from(given.bit_offset)
        } else {
            0
        };
        long_enough(
            "column",
            index,
            bytes(column.ty, offset, rows),
            given.values,
        )?;
        if let Some(validity) = given.validity {
            if !column.nullable {
                return Err(BadArgs::Validity {
                    what: "column",
                    index,
                });
            }
            let needed = bytes(Ty::Mask, validity.offset, rows);
            long_enough("validity of column", index, needed, validity.bytes)?;
        }
    }
    for (index, (ty, table)) in program.tables.iter().zip(inputs.tables).enumerate() {
        whole_entries("table", index, *ty, table)?;
    }
    for (index, (ty, set)) in program.sets.iter().zip(inputs.sets).enumerate() {
        whole_entries("set", index, *ty, set)?;
    }
    match &outputs.mask {
        Some(mask) if program.emit_mask => {
            let needed = bytes(Ty::Mask, 0, rows).saturating_add(SLACK);
            long_enough("keep mask", 0, needed, mask)?;
        }
        None if !program.emit_mask => {}
        _ => return Err(BadArgs::Mask),
    }
    for (index, given) in outputs.columns.iter().enumerate() {
        let ty = output_types[index];
        let needed = bytes(ty, 0, rows).saturating_add(SLACK);
        long_enough("output", index, needed, given.values)?;
        if !aligned(ty, given.values) {
            let alignment = (ty.bits() as usize / 8).max(1);
            return Err(BadArgs::Unaligned { index, alignment });
        }
        if given.validity.is_some() != program.outputs[index].valid.is_some() {
            return Err(BadArgs::Validity {
                what: "output",
                index,
            });
        }
        if let Some(validity) = &given.validity {
            let needed = bytes(Ty::Mask, 0, rows).saturating_add(SLACK);
            long_enough("validity of output", index, needed, validity)?;
        }
    }
    Ok(())
}

/// Whether a slice of the type can begin where these bytes do.
pub(crate) fn aligned(ty: Ty, bytes: &[u8]) -> bool {
    ty == Ty::Mask || element::with_bits_of!(ty, Bits => element::typed::<Bits>(bytes).is_some())
}

/// Bytes of `rows` values, the first of them `offset` rows after the first byte; huge, and so
/// never available, where it overflows.
fn bytes(ty: Ty, offset: usize, rows: usize) -> usize {
    let bits = rows
        .checked_add(offset)
        .and_then(|rows| rows.checked_mul(ty.bits() as usize));
    bits.map_or(usize::MAX, |bits| bits.div_ceil(8))
}

fn count(what: &'static str, expected: usize, given: usize) -> Result<(), BadArgs> {
    if expected == given {
        Ok(())
    } else {
        Err(BadArgs::Count {
            what,
            expected,
            given,
        })
    }
}

fn long_enough(
    what: &'static str,
    index: usize,
    needed: usize,
    given: &[u8],
) -> Result<(), BadArgs> {
    if needed <= given.len() {
        Ok(())
    } else {
        let given = given.len();
        Err(BadArgs::TooShort {
            what,
            index,
            needed,
            given,
        })
    }
}

fn whole_entries(what: &'static str, index: usize, ty: Ty, given: &[u8]) -> Result<(), BadArgs> {
    let width = (ty.bits() as usize / 8).max(1);
    let given = given.len();
    if given.is_multiple_of(width) {
        Ok(())
    } else {
        Err(BadArgs::PartialEntry {
            what,
            index,
            width,
            given,
        })
    }
}
