//! Arrow's C Data, C Stream and C Device Data structs, in and out, for doors to other languages.
//!
//! arrow-rs has the same structs and trusts what is in them. What comes from outside is looked at here
//! first, with limits, and taken in on the memory where it is; what lies less aligned than arrow-rs
//! computes on is copied, and counted.
//!
//! | module | what it does |
//! |---|---|
//! | [`raw`] | the structs |
//! | [`schema`] | schemas that came from outside, looked at and read |
//! | [`check`] | arrays that came from outside, looked at before arrow-rs trusts them |
//! | [`import`] | arrays as record batches, on the memory where they are |
//! | [`elsewhere`] | arrays in a device's memory, brought to the host |
//! | [`on_device`] | columns that stay in a device's memory as arrays |
//! | [`export`] | record batches as arrays, likewise |
//! | [`stream`] | streams that came from outside, as readers |
//! | `readable` | arrays as arrow-rs can read them |
//! | `plain` | columns of values and strings, in and out by the shortest way |

mod ascending;
pub mod check;
pub mod elsewhere;
mod error;
pub mod export;
pub mod import;
mod made;
pub mod on_device;
mod plain;
pub mod raw;
mod readable;
pub mod schema;
pub mod stream;
#[cfg(test)]
mod tests;

pub use error::CDataError;
