//! Arrow's C interfaces, in and out.
//!
//! | module | what it does |
//! |---|---|
//! | [`raw`] | the structs |
//! | [`schema`] | schemas that came from outside, looked at and read |
//! | [`check`] | arrays that came from outside, looked at before arrow-rs trusts them |
//! | [`import`] | arrays as record batches, on the memory where they are |
//! | [`export`] | record batches as arrays, likewise |
//! | [`plain`] | columns of values and strings, in and out by the shortest way |
//! | [`stream`] | streams that came from outside, as readers |

pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod import;
mod plain;
pub(crate) mod raw;
pub(crate) mod schema;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
