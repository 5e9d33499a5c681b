//! The runtime.
#![forbid(unsafe_code)]

mod arrays;
mod block;
mod error;
mod gather;
mod receipt;

pub use error::{DataError, Error, Exhausted, Holder, SchemaError, Unplaceable};
pub use receipt::{PartReceipt, Path, RECEIPT_VERSION, Reason, Receipt, Verified};
