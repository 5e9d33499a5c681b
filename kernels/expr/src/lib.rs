//! Expressions over Arrow columns.
#![forbid(unsafe_code)]

mod error;
mod literal;
mod lowered;
mod semantics;
mod typed;

pub use error::{ExprError, ExprErrorKind, Span};
pub use literal::Literal;
pub use lowered::{Destination, DictionaryStage, Lowered, Payload, Table};
pub use semantics::{Dialect, FloatZeroDivision, OnError, Semantics, UnknownSemantics};
pub use typed::{ArithmeticOp, Checked, IsTest, Node, OutputColumn, Typed};
