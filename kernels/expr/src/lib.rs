//! Expressions over Arrow columns: built or parsed, checked against a schema, lowered to a
//! program that devices execute.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_schema::{DataType, Field, Schema};
//! use unlade_expr::{Payload, Query, Semantics, check, col, lit, lower, parse_expr};
//!
//! let schema = Arc::new(Schema::new(vec![
//!     Field::new("quantity", DataType::Int32, false),
//!     Field::new("price", DataType::Float64, true),
//!     Field::new("comment", DataType::Utf8, true),
//! ]));
//!
//! // An expression comes from the builder or from text, and prints as text.
//! let predicate = col("quantity").cast(DataType::Int64).gt(lit(24));
//! assert_eq!(predicate, parse_expr("quantity::bigint > 24")?);
//! assert_eq!(predicate.to_string(), "CAST(quantity AS bigint) > 24");
//!
//! // A query is a predicate and what to put out of the rows it keeps.
//! let total = (col("price") * lit(1.19)).alias("total");
//! let query = Query::filter(predicate).select([col("comment"), total]);
//!
//! // The check gives it types, under the rules of one engine.
//! let checked = check(&query, &schema, &Semantics::arrow())?;
//! assert_eq!(*checked.output.field(1).data_type(), DataType::Float64);
//!
//! // Lowering gives the program: linear, verified, its literals made parameters.
//! let lowered = lower(&checked, Payload::Late)?;
//! assert!(!lowered.program.insts.is_empty());
//! # Ok::<(), unlade_expr::ExprError>(())
//! ```
//!
//! # Errors
//! An error says what is wrong, where, and what would fit:
//!
//! ```
//! # use std::sync::Arc;
//! # use arrow_schema::{DataType, Field, Schema};
//! # use unlade_expr::{Query, Semantics, check, parse_expr};
//! # let schema = Arc::new(Schema::new(vec![
//! #     Field::new("quantity", DataType::Int64, false),
//! #     Field::new("price", DataType::Float64, true),
//! # ]));
//! let text = "price < quantity";
//! let query = Query::filter(parse_expr(text)?);
//! let error = check(&query, &schema, &Semantics::arrow()).unwrap_err();
//! assert_eq!(
//!     error.render(text),
//!     "error: `price` (Float64) and `quantity` (Int64) cannot be compared without a cast\n\
//!      1 | price < quantity\n\
//!      \x20 | ^^^^^^^^^^^^^^^^\n\
//!      help: write cast(quantity as double), which rounds",
//! );
//! # Ok::<(), unlade_expr::ExprError>(())
//! ```
//!
//! # What is inside
//! - Builder: [`col`], [`lit`], [`when`] and the methods of [`Expr`]; [`Query`] puts expressions
//!   together.
//! - Text front: [`parse_expr`] and [`parse_select_list`]; an [`Expr`] prints as text that parses
//!   back to it. [`FUNCTIONS`] lists the language.
//! - The tree: [`Expr::kind`] shows what an expression is made of, by the types of [`tree`].
//! - Users' functions: a [`Signature`] is what one is called, takes and gives; [`parse_expr_with`] reads
//!   calls of those in a set of [`Signatures`], and [`check_staged`] says what to call, and on what,
//!   before the program runs.
//! - Check: [`check`] makes a [`Checked`] query of [`Typed`] trees. [`Semantics`] are the rules of
//!   an engine; [`CASTS`] lists the casts and what each computes.
//! - Lowering: [`lower`] makes a [`Lowered`] query: a program and where its arguments come from.
//! - [`ExprError`] with its [`Span`]; [`limits`] on depth, size and length.
//!
//! # What types there are
//! Expressions compute with `Boolean`, `Int8` to `Int64`, `UInt8` to `UInt64`, `Float32`,
//! `Float64`, `Date32`, `Date64`, `Timestamp` in every unit, `Decimal128` (compared and cast
//! only), and dictionaries of these. Columns of every other type are put out as they are, and can
//! be asked whether they are null.
//!
//! Where numbers differ in type, they meet where the engine's planner lets them, and a note says
//! what was cast; [`Coercion`] has the rules, for constants too. All else is widened if that keeps
//! every value, or needs a cast that the user writes.
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
mod signature;
pub mod tree;
mod type_name;
mod typed;

pub use builder::{
    Case, IntoLiteral, When, all, case, coalesce, col, exact_col, if_, lit, null, nullif, when,
};
pub use check::calls::{Called, Stage, Staged, check_staged};
pub use check::casts::{CASTS, CastRow, can_cast, cast_makes_nulls, cast_row, computable_types};
pub use check::names::closest;
pub use check::{check, check_called};
pub use error::{Clause, ExprError, ExprErrorKind, Span};
pub use functions::{EXAMPLE_COLUMNS, FUNCTIONS, Function, Group};
pub use literal::Literal;
pub use lower::lower;
pub use lowered::{Destination, DictionaryStage, Lowered, Payload, StringsPayload, Table};
pub use parse::{parse_expr, parse_expr_with, parse_select_list, parse_select_list_with};
pub use physical::physical_type;
pub use query::{Query, Select};
pub use semantics::{Coercion, Dialect, FloatZeroDivision, OnError, Semantics, UnknownSemantics};
pub use signature::{Signature, Signatures, stands_for};
pub use tree::Expr;
pub use type_name::{TypeSpelling, type_name, type_spellings};
pub use typed::{ArithmeticOp, Checked, IsTest, Node, OutputColumn, Typed};
