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
//! - [`difference`], [`clear_nulls`]: what another execution of the program gave otherwise.
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
//!
//! The same of a query, and the words of its error:
//! ```
//! use std::sync::Arc;
//! use arrow_array::{Int32Array, RecordBatch};
//! use unlade_expr::{Query, Semantics, check, parse_expr};
//! use unlade_naive::{describe, evaluate_query};
//!
//! let a = Arc::new(Int32Array::from(vec![Some(5), None, Some(0), Some(2)]));
//! let batch = RecordBatch::try_from_iter([("a", a as _)])?;
//! let checked = |filter: &str| {
//!     let query = Query::filter(parse_expr(filter)?).select([parse_expr("10 / a")?]);
//!     check(&query, &batch.schema(), &Semantics::arrow())
//! };
//! // The division is evaluated on the rows kept, and on no other.
//! let kept = evaluate_query(&checked("a > 0")?, &batch).expect("no zero is kept");
//! assert_eq!(kept.iter().map(|row| row.row).collect::<Vec<_>>(), [0, 3]);
//!
//! let query = checked("a >= 0")?;
//! let error = evaluate_query(&query, &batch).expect_err("row 2 is kept");
//! let words = describe(&query, &batch, error.row as u64).expect("the row has an error");
//! assert_eq!(words.to_string(), "row 2: `10 / a` divides by zero: 10 / 0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod difference;
mod float;
pub mod generate;
mod inputs;
pub mod program;
mod tree;
mod value;

pub use difference::{clear_nulls, difference};
pub use inputs::{Bits, ColumnInput, Inputs, OutputColumn, Outputs, RunError};
pub use program::run;
pub use tree::{
    Description, Kept, QueryError, RowError, describe, evaluate, evaluate_query, evaluate_row,
    value_at,
};
