//! Expressions over Arrow columns.
#![forbid(unsafe_code)]

mod builder;
mod calendar;
mod check;
mod display;
mod error;
mod functions;
pub mod limits;
mod literal;
mod lower;
mod lowered;
mod narrow;
mod parse;
mod physical;
mod query;
mod semantics;
mod tree;
mod type_name;
mod typed;

pub use builder::{
    Case, IntoLiteral, When, all, case, coalesce, col, if_, lit, null, nullif, when,
};
pub use check::casts::{CASTS, CastRow, can_cast, cast_makes_nulls, cast_row, computable_types};
pub use check::check;
pub use error::{Clause, ExprError, ExprErrorKind, Span};
pub use functions::{EXAMPLE_COLUMNS, FUNCTIONS, Function, Group};
pub use literal::Literal;
pub use lower::lower;
pub use lowered::{Destination, DictionaryStage, Lowered, Payload, Table};
pub use parse::{parse_expr, parse_select_list};
pub use query::{Query, Select};
pub use semantics::{Dialect, FloatZeroDivision, OnError, Semantics, UnknownSemantics};
pub use tree::Expr;
pub use typed::{ArithmeticOp, Checked, IsTest, Node, OutputColumn, Typed};
