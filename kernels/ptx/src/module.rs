//! What a lowered program is: text, kernels and what they need.

use std::fmt;

/// Where the spans of a dispatch begin: a multiple of this many bytes is what kernels need of all
/// that they write, and what they read fastest. What they read may begin at any multiple of its
/// elements' width, or of 8 where that is less, and a bitmap at any byte.
pub const ALIGNMENT: u64 = 16;

/// Bytes that a kernel may write beyond the rows of what it writes: bitmaps are written in words
/// of four bytes.
pub const SLACK: u64 = 4;

/// Most rows of one launch: a row and an ordinal share 64 bits.
pub const MAX_ROWS: u64 = 1 << 31;

/// Most bytes of parameters that every driver takes.
pub(crate) const MAX_PARAM_BYTES: u32 = 4096;

/// PTX text for one program, and how to launch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The text: one translation unit, for `cuModuleLoadDataEx`.
    pub text: String,
    /// What to launch, in order, on one stream.
    pub kernels: Vec<Kernel>,
    /// Memory beside the arguments.
    pub scratch: Scratch,
    /// Arguments, by position, that have to be zeroed before the launch: bitmaps whose words
    /// several blocks share. Of each, `ceil(rows / 32)` words of four bytes.
    pub zeroed: Vec<usize>,
}

/// One kernel of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The entry point.
    pub name: String,
    /// What it is handed, in order.
    pub params: Vec<Param>,
    /// Threads of a block.
    pub block: u32,
    /// Rows of a block. The grid has `ceil(rows / rows_per_block)` blocks, but at least one: it
    /// writes the status even of no rows.
    pub rows_per_block: u32,
}

impl Kernel {
    /// Blocks to launch for a number of rows.
    ///
    /// # Panics
    /// On many more rows than [`MAX_ROWS`].
    pub fn grid(&self, rows: u64) -> u32 {
        let blocks = rows.div_ceil(u64::from(self.rows_per_block)).max(1);
        u32::try_from(blocks).expect("at most MAX_ROWS rows")
    }
}

/// One parameter of a kernel. `arg` is a position in the order of [`unlade_program::args`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Param {
    /// The number of rows: 8 bytes.
    Rows,
    /// The address of an argument's span, 0 where the argument is absent: 8 bytes.
    Address {
        /// Which argument.
        arg: usize,
    },
    /// The length of an argument's span in bytes: 8 bytes.
    Length {
        /// Which argument.
        arg: usize,
    },
    /// The position, 0 to 7, of an argument's first bit in its first byte: 4 bytes.
    BitOffset {
        /// Which argument.
        arg: usize,
    },
    /// A scalar argument: the first bytes of its sixteen. A driver that is handed the address of
    /// all sixteen takes as many as the kernel declares.
    Scalar {
        /// Which argument.
        arg: usize,
        /// How many: 4, 8 or 16.
        bytes: u32,
    },
    /// The address of the dispatch's status block: 8 bytes.
    Status,
    /// The address of the scratch memory: 8 bytes.
    Scratch,
}

impl Param {
    /// How many bytes it takes.
    pub fn bytes(self) -> u32 {
        match self {
            Param::Rows
            | Param::Address { .. }
            | Param::Length { .. }
            | Param::Status
            | Param::Scratch => 8,
            Param::BitOffset { .. } => 4,
            Param::Scalar { bytes, .. } => bytes,
        }
    }
}

impl fmt::Display for Param {
    /// Its name in the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Param::Rows => f.write_str("rows"),
            Param::Address { arg } => write!(f, "arg{arg}"),
            Param::Length { arg } => write!(f, "arg{arg}_bytes"),
            Param::BitOffset { arg } => write!(f, "arg{arg}_bit"),
            Param::Scalar { arg, .. } => write!(f, "arg{arg}_value"),
            Param::Status => f.write_str("status"),
            Param::Scratch => f.write_str("scratch"),
        }
    }
}

/// Memory that a module's kernels share, aligned to 16 bytes and zeroed before every launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// Bytes, however many rows there are.
    pub fixed: u64,
    /// Bytes for each block of the first kernel.
    pub per_block: u64,
}

impl Scratch {
    /// Bytes for so many blocks of the first kernel.
    pub fn bytes(self, blocks: u32) -> u64 {
        self.fixed + self.per_block * u64::from(blocks)
    }
}

/// Why a program has no kernels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// More parameters than a kernel takes.
    #[error(
        "its kernel needs {bytes} bytes of parameters, more than {MAX_PARAM_BYTES}; split the program"
    )]
    TooManyParams {
        /// What it needs.
        bytes: u32,
    },
}
