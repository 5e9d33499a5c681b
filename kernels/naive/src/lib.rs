//! The oracle: what an expression and a program mean, a row at a time.
//!
//! Everything here is written to be read, not to be fast. The CPU evaluator, the simulated and the
//! real devices are all compared with it, and it shares no code with them.
//!
//! - [`evaluate`], [`evaluate_row`], [`evaluate_query`]: the meaning of a typed tree on a row, and
//!   of a query on a row and on a batch.
//! - [`describe`]: the words of an error, for the one row that a device reported.
#![forbid(unsafe_code)]

mod tree;

pub use tree::{
    Description, Kept, QueryError, RowError, describe, evaluate, evaluate_query, evaluate_row,
};
