//! Substrait's `ExtendedExpression` as expressions: what pyarrow serialises, and what DataFusion
//! produces.
//!
//! ```
//! use unlade_expr::Semantics;
//! use unlade_substrait::import;
//!
//! // pyarrow.substrait.serialize_expressions([pc.field("a") > 100], ["big"], schema)
//! let bytes = include_bytes!("../tests/pyarrow/gt.bin");
//! let imported = import(bytes)?;
//! assert_eq!(imported.expressions[0].expr.to_string(), "\"a\" > CAST(100 AS int)");
//!
//! let request = imported.request(imported.filter()?, &Semantics::arrow())?;
//! assert_eq!(request.input.field(0).name(), "a");
//! # Ok::<(), unlade_substrait::SubstraitError>(())
//! ```
//!
//! docs/SUBSTRAIT.md lists what is read. It is an import alone: between processes of ours go the
//! bytes of `unlade-wire`.
//!
//! # What holds
//! - What a message says is done or refused. An option of a function, or the failure behaviour of a
//!   cast, is asked of the rules ([`Imported::rules`]); a field that is not known, or not set where it
//!   must be, is an error, as it may say something in another version of Substrait.
//! - Versions from 0.44 on are read. What was written in fields that are given up since (URIs,
//!   timestamps and times in microseconds) is read from those.
//! - Functions are known by name and extension where the message names one, else by name. What is none of
//!   these may be a function that a user has registered under its name: [`import_with`].
//! - No bytes make it panic or allocate without bound: [`limits`].
//!
//! # What is inside
//! - `upgrade`: fields of old versions, and none that is not known. `extensions`: what anchors stand
//!   for
//! - `types`, `literals`, `expr`, [`FUNCTIONS`]: what is read. `demands`: what is asked of the rules
//! - [`Imported`], [`SubstraitError`], [`limits`]
#![forbid(unsafe_code)]

mod demands;
mod error;
mod expr;
mod extensions;
mod functions;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod imported;
pub mod limits;
mod literals;
mod types;
mod upgrade;

use unlade_expr::Signatures;

pub use error::SubstraitError;
pub use functions::{FUNCTIONS, Function, Options};
pub use imported::{Imported, Named};
pub use types::USER_DEFINED;

/// Reads a serialised `ExtendedExpression`.
///
/// # Errors
/// Bytes that are none, and whatever they say that is not known or not computed.
pub fn import(bytes: &[u8]) -> Result<Imported, SubstraitError> {
    import_with(bytes, Signatures::none())
}

/// As [`import`], where a function that is none of [`FUNCTIONS`] may be one that a user has registered
/// under its name. It has the types of the one that is registered: arguments of others are refused by
/// [`Imported::rules`], and so is another type of the result.
///
/// # Errors
/// As of [`import`].
pub fn import_with(bytes: &[u8], functions: &Signatures) -> Result<Imported, SubstraitError> {
    imported::import(bytes, functions)
}
