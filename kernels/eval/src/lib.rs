//! The CPU evaluator: runs a [`Program`](unlade_program::Program) over slices of memory.
//!
//! It is both the fallback of every other device and the fastest filter and projection engine
//! that a CPU can be. It knows nothing of Arrow, threads or devices: slices in, slices out, on the
//! calling thread.
//!
//! [`Executable::new`] plans a program once; [`run`] executes it over any number of rows. See
//! [`run`] for an example.
//!
//! # How it works
//! - Rows are computed in **tiles** whose values stay in the first-level cache. Columns are read
//!   where they lie, results are written where they belong; what is in between lives in a few
//!   registers of one tile each.
//! - **Masks are words**, and each knows whether it is empty or full: a tile without nulls never
//!   looks at validity, a tile of which nothing is kept is not projected.
//! - There are **two stages**. What decides about a row is computed for all rows; what only an
//!   output needs is computed for the rows that are kept, after compacting its inputs.
//! - Every kernel is compiled for several [`Level`]s of CPU features and the best one is chosen
//!   when the program is planned, so that one binary is fast everywhere.
//!
//! # What is inside
//! - [`Executable`]: a planned program; [`run`], [`Inputs`], [`Outputs`], [`Scratch`]: using it.
//! - [`compact`]: moving the rows that a mask keeps together, for payload the program never sees.
//! - [`mask`]: counting and iterating over bitmaps.
//! - [`Level`]: the CPU features in use.
//!
//! Unsafe code is confined to views of bytes as numbers (`element`, `frame`), vector
//! instructions (`isa`) and the calls of kernels compiled with CPU features (`level`, `run`).

pub mod compact;
mod element;
mod float_env;
mod frame;
mod io;
mod isa;
mod kernels;
mod level;
pub mod mask;
mod plan;
mod run;
#[cfg(test)]
mod testing;

pub use io::{BadArgs, BitsRef, ColumnRef, Done, Failure, Inputs, OutputMut, Outputs, SLACK};
pub use level::Level;
pub use plan::Executable;
pub use run::{Scratch, run};
