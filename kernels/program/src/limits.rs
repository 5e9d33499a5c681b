//! How large a program may be.
//!
//! The limits are far above what an expression needs and far below what would exhaust memory or a
//! `u16` index; [`crate::verify`] enforces them, so that no device has to think of a larger
//! program. A device may have lower limits of its own, which [`crate::split`] takes.

/// Instructions of one program, traps included.
pub const INSTRUCTIONS: usize = 1 << 16;

/// Columns that one program reads.
pub const COLUMNS: usize = 1 << 12;

/// Scalars handed to each execution. A longer list of literals is a set.
pub const PARAMS: usize = 1 << 14;

/// Tables that one program looks values up in.
pub const TABLES: usize = 1 << 10;

/// Sorted sets that one program tests membership of.
pub const SETS: usize = 1 << 10;

/// Columns that one program writes.
pub const OUTPUTS: usize = 1 << 12;

/// Decimal digits that one [`crate::Inst::Rescale`] adds or drops: ten to this power is the
/// greatest that an `i128` holds.
pub const RESCALE_DIGITS: i8 = 38;
