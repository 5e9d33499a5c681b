//! What the benchmarks share: data, queries, and arrow-rs doing the same.
//!
//! `cargo xtask bench` runs them, against the peers and the machine's own floors in the same run,
//! and says which targets were met; docs/BENCHMARKS.md has what was seen. A benchmark's name is
//! `workload/who`; every `who` of a workload does the same work on the same data.
//!
//! - [`Workload`]: a predicate over a table and what is put out, for Unlade and for arrow-rs
//! - [`table`]: the data
//! - [`floor`]: how fast the machine reads the same columns

#![forbid(unsafe_code)]

pub mod floor;
pub mod table;
mod workload;

pub use workload::{Workload, workloads};

/// Rows of the tables.
pub const ROWS: usize = 10_000_000;
/// Rows of a batch where a table comes in slices: small ones, as engines have them, and Unlade's
/// own default.
pub const SLICES: [usize; 2] = [8_192, 65_536];
