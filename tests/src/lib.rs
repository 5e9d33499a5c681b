//! What the tests of the whole workspace share.
//!
//! - [`batches`]: random columns with everything in them that goes wrong.
//! - [`any_array`]: random arrays of every Arrow type.
//! - [`trees`]: random expressions, and what they are grown from.
//! - [`differential`]: a query and a batch, computed by everyone and compared.
//! - [`cells`]: what there is to cover, and how often it was.
//! - [`execute`]: lowered queries on batches, by the evaluator or the interpreter of programs.
//! - [`evaluator`]: the evaluator, called as the interpreter of programs is.
//! - [`arrow_rs`]: typed trees by arrow-rs's kernels.
//! - [`conformance`]: what a device must pass, and [`device_runner`], which runs a program on one.
//! - [`figures`]: figures of benchmarks for `cargo xtask bench`.
//! - [`fuzz`]: random programs on a device, several under way at once.
//! - [`cards`]: lists for a card, and what the driver must make of one that fails.
//! - [`devices`]: devices by name, so that a test or a check runs on the one that is asked for.
//! - [`process`]: what a process holds, to see that nothing is left behind.
//! - [`special_values`]: where careless implementations differ.
//! - [`table`]: a table and queries, for tests of how a batch gets to its result.
//!
//! The tests themselves are in `tests/tests/`:
//! - `card_ends`: how every fault of a card ends, and that it leaves nothing behind;
//! - `conformance`: every device, cell by cell;
//! - `device_differential`: random programs on a device, against the oracle;
//! - `differential`: random queries on random batches, against the oracle and arrow-rs;
//! - `end_to_end`: random queries through the runtime, against the oracle;
//! - `fault_sweep`: every fault at every operation of a device, alone and with others at work;
//! - `features`: that a crate built alone finds what the workspace has built;
//! - `imports`: the borders between crates;
//! - `lost_under_load`: a device lost while all are busy: all is done, and little is repeated;
//! - `payload`: every Arrow type through a filter and asked for nulls, against arrow-rs;
//! - `program_differential`: the evaluator against the naive interpreter, every cell;
//! - `qemu`: says what is left out of `cargo test`;
//! - `spark`: Spark's own answers, recorded;
//! - `stress`: the runtime under load on all simulated devices at once, while these fail.
//!
//! A simulated card is among the devices of `device_differential`, `end_to_end`, `payload` and `spark`.
//! `UNLADE_TEST_DEVICE=cuda:0`, or `sim-dpu`, has `conformance`, `device_differential` and `end_to_end` run on that
//! device, too. The binary `unlade-check` runs the first two, and measures, where there is no
//! cargo: see `cargo xtask gpu`. The binary `unlade-check-card` runs them, and what goes wrong with
//! cards, in a virtual machine: see `cargo xtask qemu`.
#![forbid(unsafe_code)]

pub mod any_array;
pub mod arrow_rs;
pub mod batches;
pub mod cards;
pub mod cells;
mod compact_strings;
pub mod conformance;
mod counted_copy;
pub mod device_runner;
pub mod devices;
pub mod differential;
pub mod evaluator;
pub mod execute;
pub mod figures;
pub mod fuzz;
mod lists;
mod pinned;
pub mod process;
pub mod special_values;
pub mod table;
pub mod trees;
