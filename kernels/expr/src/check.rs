//! The type check.

pub(crate) mod casts;
