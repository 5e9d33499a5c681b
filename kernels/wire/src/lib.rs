//! Expressions, queries and kernel requests as bytes that go between processes.
//!
//! ```
//! use unlade_expr::{Query, parse_expr};
//! use unlade_wire::{WireError, decode_query, encode_query};
//!
//! let query = Query::filter(parse_expr("price BETWEEN 10 AND 20 OR unit IS NULL")?);
//! let bytes = encode_query(&query)?;
//! assert_eq!(decode_query(&bytes)?, query);
//!
//! // What is not whole is refused, and so is what this version does not know.
//! assert!(matches!(decode_query(&bytes[..40]), Err(WireError::Length { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Users' functions
//! A call travels by its function's name and types. Whoever reads it has the same function registered
//! and says so; else the bytes are refused:
//!
//! ```
//! use arrow_schema::DataType::Int64;
//! use unlade_expr::{Signature, Signatures, col};
//! use unlade_wire::{WireError, decode_expr, decode_expr_with, encode_expr};
//!
//! let mut known = Signatures::default();
//! let gcd = known.insert(Signature::new("gcd", [Int64, Int64], Int64)?)?;
//! let expr = gcd.call([col("a"), col("b")]);
//! let bytes = encode_expr(&expr)?;
//! assert_eq!(decode_expr_with(&bytes, &known)?, expr);
//! assert!(matches!(decode_expr(&bytes), Err(WireError::Function(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The format
//! docs/WIRE.md documents every byte for readers and writers in other languages. Bytes are a header
//! of 16 (magic, version, kind, length, CRC-32C) and a body: CBOR in the deterministic encoding of
//! RFC 8949, section 4.2.1, of which the crate `ciborium-ll` reads and writes the items;
//! docs/decisions says why it is that. Arrow types and literals are carried exactly, floats by their
//! bits.
//!
//! # What holds
//! - One value has one encoding, and bytes that decode are the ones that [`encode_query`] and its
//!   neighbours make of what they decode to: any other form is [`WireError::NotCanonical`].
//! - What is decoded was made by the builder or the text front of [`unlade_expr`], which hold it to
//!   what they could have made.
//! - An unknown version, kind or number is refused, and so is a byte too many; nothing is guessed.
//! - [`limits`] bound bytes, depth and counts, for writers as for readers. Nothing is allocated for
//!   a length before as many bytes are seen to be there.
//!
//! What is not carried is what equality does not look at: the places in a text that errors
//! underline, and ids and order of Arrow dictionaries.
//!
//! # What is inside
//! - `envelope`: the header. `cbor`: items of a body, read and written within the limits
//! - `expr`, `types`, `request`: what is made of them. `numbers`: the numbers of choices
//! - [`limits`], [`WireError`]
#![forbid(unsafe_code)]

mod cbor;
mod envelope;
mod error;
mod expr;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod limits;
mod numbers;
mod request;
mod types;

use unlade_expr::{Expr, Query, Signatures};

use cbor::{Item, Reader, Writer};
pub use envelope::VERSION;
use envelope::{Kind, open, seal};
pub use error::WireError;
pub use request::KernelRequest;

/// An expression as bytes.
///
/// # Errors
/// An expression beyond the [`limits`], or with a literal whose value is not of its type.
pub fn encode_expr(expr: &Expr) -> Result<Vec<u8>, WireError> {
    encode(Kind::Expression, expr)
}

/// The expression that bytes of [`encode_expr`] are.
///
/// # Errors
/// Bytes that are no such encoding: damaged, of another version or kind, beyond the limits.
pub fn decode_expr(bytes: &[u8]) -> Result<Expr, WireError> {
    decode_expr_with(bytes, Signatures::none())
}

/// As [`decode_expr`], where users' functions may be called that the reader has, too.
///
/// # Errors
/// As of [`decode_expr`]; [`WireError::Function`] for one that is none of these.
pub fn decode_expr_with(bytes: &[u8], functions: &Signatures) -> Result<Expr, WireError> {
    decode(Kind::Expression, bytes, functions)
}

/// A query as bytes.
///
/// # Errors
/// As of [`encode_expr`].
pub fn encode_query(query: &Query) -> Result<Vec<u8>, WireError> {
    encode(Kind::Query, query)
}

/// The query that bytes of [`encode_query`] are.
///
/// # Errors
/// As of [`decode_expr`].
pub fn decode_query(bytes: &[u8]) -> Result<Query, WireError> {
    decode_query_with(bytes, Signatures::none())
}

/// As [`decode_query`], where users' functions may be called that the reader has, too.
///
/// # Errors
/// As of [`decode_expr`]; [`WireError::Function`] for one that is none of these.
pub fn decode_query_with(bytes: &[u8], functions: &Signatures) -> Result<Query, WireError> {
    decode(Kind::Query, bytes, functions)
}

/// A kernel request as bytes.
///
/// # Errors
/// As of [`encode_expr`]; and rules by which an integer division by zero wraps, which none does.
pub fn encode_kernel(request: &KernelRequest) -> Result<Vec<u8>, WireError> {
    encode(Kind::Kernel, request)
}

/// The kernel request that bytes of [`encode_kernel`] are.
///
/// # Errors
/// As of [`decode_expr`].
pub fn decode_kernel(bytes: &[u8]) -> Result<KernelRequest, WireError> {
    decode_kernel_with(bytes, Signatures::none())
}

/// As [`decode_kernel`], where users' functions may be called that the reader has, too.
///
/// # Errors
/// As of [`decode_expr`]; [`WireError::Function`] for one that is none of these.
pub fn decode_kernel_with(
    bytes: &[u8],
    functions: &Signatures,
) -> Result<KernelRequest, WireError> {
    decode(Kind::Kernel, bytes, functions)
}

fn encode<T: Item>(kind: Kind, value: &T) -> Result<Vec<u8>, WireError> {
    let mut writer = Writer::default();
    value.write(&mut writer)?;
    let (body, version) = writer.body();
    seal(kind, version, &body)
}

fn decode<T: Item>(kind: Kind, bytes: &[u8], functions: &Signatures) -> Result<T, WireError> {
    let body = open(kind, bytes)?;
    let mut reader = Reader::new(body, functions);
    let value = T::read(&mut reader)?;
    reader.finish()?;
    // The writer is the one authority on what is canonical.
    let again = encode(kind, &value)?;
    if again == bytes {
        return Ok(value);
    }
    let differ = again
        .iter()
        .zip(bytes)
        .position(|(ours, theirs)| ours != theirs);
    let offset = differ.unwrap_or(again.len().min(bytes.len()));
    Err(WireError::NotCanonical { offset })
}
