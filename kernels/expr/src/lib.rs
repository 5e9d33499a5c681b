//! Expressions over Arrow columns.
#![forbid(unsafe_code)]

mod check;
mod error;
mod fold;
mod literal;
mod lower;
mod lowered;
mod narrow;
mod physical;
mod semantics;
mod typed;

pub use check::casts::{CASTS, CastRow, can_cast, cast_makes_nulls, cast_row, computable_types};
pub use error::{ExprError, ExprErrorKind, Span};
pub use literal::Literal;
pub use lower::lower;
pub use lowered::{Destination, DictionaryStage, Lowered, Payload, Table};
pub use semantics::{Dialect, FloatZeroDivision, OnError, Semantics, UnknownSemantics};
pub use typed::{ArithmeticOp, Checked, IsTest, Node, OutputColumn, Typed};
