//! What an execution reads and what it leaves, as plain bytes.

use unlade_program::{Program, Trap, Ty};

/// A run of bits somewhere in a byte buffer, least significant bit first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits<'a> {
    /// The buffer.
    pub bytes: &'a [u8],
    /// Where in it the first row's bit is.
    pub bit_offset: u64,
}

impl Bits<'_> {
    pub(crate) fn get(&self, row: u64) -> bool {
        let bit = self.bit_offset + row;
        self.bytes[(bit / 8) as usize] >> (bit % 8) & 1 == 1
    }
}

/// One column of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnInput<'a> {
    /// The values, little-endian, one after the other. The bit offset counts for masks only and
    /// must be 0 for every other type.
    pub values: Bits<'a>,
    /// Which rows are not null, or `None` where all are.
    pub validity: Option<Bits<'a>>,
}

/// Everything an execution of a program reads, in the order of [`unlade_program::args`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs<'a> {
    /// How many rows there are.
    pub rows: u64,
    /// One per column of the program.
    pub columns: Vec<ColumnInput<'a>>,
    /// One per parameter, extended to 16 bytes.
    pub params: Vec<[u8; 16]>,
    /// One per table, its entries little-endian; of a mask table, a bit each, padded to bytes.
    pub tables: Vec<&'a [u8]>,
    /// One per set, its entries little-endian, ascending and without duplicates.
    pub sets: Vec<&'a [u8]>,
}

/// What an execution leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// How many rows were kept.
    pub kept: u64,
    /// The keep mask, a bit per input row, padded with zeros; where the program emits it.
    pub mask: Option<Vec<u8>>,
    /// One per output of the program.
    pub columns: Vec<OutputColumn>,
}

/// One output, a value for each kept row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputColumn {
    /// The values, little-endian; of a mask, a bit each, padded with zeros.
    pub values: Vec<u8>,
    /// Which rows are not null, padded with zeros, or `None` where the output has no validity.
    pub validity: Option<Vec<u8>>,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A row cannot be computed.
    #[error("row {} traps, ordinal {}", .0.row, .0.ordinal)]
    Trap(Trap),
    /// What was handed in does not fit the program.
    #[error("{what}: {found}, but the program needs {needed}")]
    Input {
        /// Which input: `columns`, `values of column 3`, `validity of column 0` ...
        what: String,
        /// What was handed in, in bytes, bits or entries, as `what` is counted.
        found: u64,
        /// What the program needs.
        needed: u64,
    },
}

impl From<Trap> for RunError {
    fn from(trap: Trap) -> Self {
        RunError::Trap(trap)
    }
}

impl Inputs<'_> {
    /// Checks that every input is there and long enough.
    ///
    /// # Errors
    /// [`RunError::Input`], naming the first that is not.
    pub fn check(&self, program: &Program) -> Result<(), RunError> {
        exact("columns", self.columns.len(), program.columns.len())?;
        exact("parameters", self.params.len(), program.params.len())?;
        exact("tables", self.tables.len(), program.tables.len())?;
        exact("sets", self.sets.len(), program.sets.len())?;
        for (index, (column, input)) in program.columns.iter().zip(&self.columns).enumerate() {
            let values = || format!("values of column {index}, in bits");
            if column.ty == Ty::Mask {
                enough(values, input.values, self.rows)?;
            } else {
                let offset = || format!("bit offset of column {index}");
                equal(offset, input.values.bit_offset, 0)?;
                let needed = self.rows.saturating_mul(u64::from(column.ty.bits()));
                enough(values, input.values, needed)?;
            }
            if let Some(validity) = input.validity {
                let what = || format!("validity of column {index}, in bits");
                enough(what, validity, self.rows)?;
            }
        }
        for (index, (ty, entries)) in program.tables.iter().zip(&self.tables).enumerate() {
            whole(|| format!("bytes of table {index}"), *ty, entries)?;
        }
        for (index, (ty, entries)) in program.sets.iter().zip(&self.sets).enumerate() {
            whole(|| format!("bytes of set {index}"), *ty, entries)?;
        }
        Ok(())
    }
}

fn exact(what: &str, found: usize, needed: usize) -> Result<(), RunError> {
    equal(|| what.to_owned(), found as u64, needed as u64)
}

fn equal(what: impl Fn() -> String, found: u64, needed: u64) -> Result<(), RunError> {
    if found == needed {
        return Ok(());
    }
    Err(RunError::Input {
        what: what(),
        found,
        needed,
    })
}

fn enough(what: impl Fn() -> String, bits: Bits<'_>, needed: u64) -> Result<(), RunError> {
    let found = (bits.bytes.len() as u64 * 8).saturating_sub(bits.bit_offset);
    if found >= needed {
        return Ok(());
    }
    Err(RunError::Input {
        what: what(),
        found,
        needed,
    })
}

/// Entries of whole bytes must not be cut in the middle.
fn whole(what: impl Fn() -> String, ty: Ty, entries: &[u8]) -> Result<(), RunError> {
    let width = ty.bytes_for(1);
    let found = entries.len() as u64;
    equal(what, found, found / width * width)
}
