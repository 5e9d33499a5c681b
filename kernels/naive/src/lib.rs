//! The oracle: what an expression and a program mean, a row at a time.
//!
//! Everything here is written to be read, not to be fast. The CPU evaluator, the simulated and the
//! real devices are all compared with it, and it shares no code with them.
//!
//! - [`evaluate`], [`evaluate_row`], [`evaluate_query`]: the meaning of a typed tree on a row, and
//!   of a query on a row and on a batch.
//! - [`value_at`]: the value of a row of a column.
//! - [`describe`]: the words of an error, for the one row that a device reported.
//! - [`run`]: a [`Program`](unlade_program::Program) over plain bytes.
//! - [`generate`]: random programs and inputs from a seed, for differential tests.
//!
//! ```
//! use unlade_naive::{Inputs, run};
//!
//! // The remainder takes the sign of the dividend; there is one row and no column.
//! let program: unlade_program::Program = "
//!     %0 = const i8 -7
//!     %1 = const i8 2
//!     %2 = rem %0, %1
//!     output %2
//! "
//! .parse()?;
//! let outputs = run(&program, &Inputs { rows: 1, ..Inputs::default() })?;
//! assert_eq!(outputs.columns[0].values, [(-1i8) as u8]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod float;
pub mod generate;
mod inputs;
pub mod program;
mod tree;
mod value;

pub use inputs::{Bits, ColumnInput, Inputs, OutputColumn, Outputs, RunError};
pub use program::run;
pub use tree::{
    Description, Kept, QueryError, RowError, describe, evaluate, evaluate_query, evaluate_row,
    value_at,
};
