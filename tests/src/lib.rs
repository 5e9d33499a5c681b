//! What the tests of the whole workspace share.
//!
//! The tests themselves are in `tests/tests/`:
//! - `imports`: the borders between crates.
#![forbid(unsafe_code)]
