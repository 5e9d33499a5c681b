//! What the tests of the whole workspace share.
//!
//! The tests themselves are in `tests/tests/`:
//! - `imports`: the borders between crates;
//! - `program_differential`: the evaluator against the naive interpreter, every cell.
#![forbid(unsafe_code)]

pub mod evaluator;
