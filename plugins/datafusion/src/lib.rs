//! DataFusion's filters and projections on the devices of Unlade: one line for who builds a session,
//! and queries stay as they are.
//!
//! ```
//! use datafusion::execution::SessionStateBuilder;
//! use datafusion::prelude::SessionContext;
//! use unlade_datafusion::SessionStateBuilderExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = unlade::runtime()?;
//! let state = SessionStateBuilder::new().with_default_features().with_unlade(&runtime);
//! let context = SessionContext::new_with_state(state.build());
//!
//! context.sql("SET unlade.force = true").await?; // of so few rows nothing is worth it
//! let rows = context.sql("SELECT v + 1 AS w FROM (VALUES (1), (5), (9)) AS t(v) WHERE v > 3");
//! assert_eq!(rows.await?.count().await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What is taken
//! `FilterExec`, `ProjectionExec`, and a projection over a filter as one, where all their expressions
//! are in the language; of a filter that is not wholly in it, the conditions of its conjunction that
//! are. [`UnladeConfig`] says what a session wants: `SET unlade.device = 'cuda:0'`, for one. What is
//! left to DataFusion is told with its reason in `EXPLAIN`, and what ran where in `EXPLAIN ANALYZE`.
//!
//! Results are DataFusion's own: `Semantics::datafusion` are the rules. What it would compute
//! although nobody asks for it, the other side of an `AND` for one, is not computed here, and so has
//! no error.
//!
//! # What is inside
//! - [`SessionStateBuilderExt`], [`UnladeConfig`], [`Mode`]: how a session is given it
//! - [`UnladeRule`]: the physical optimizer rule; [`UnladeExec`]: the node that it puts in
//! - [`ResidentTable`], [`ResidentExec`]: tables that stay in a device's memory, and their scans
//! - [`UnladeCodec`]: plans as bytes, between processes
//! - `shape`, `expr`, `literal`, `share`: what is taken of a plan, how it is read, and what it may keep
//! - `stream`, `latest`, `mask`, `cut`, `meters`: how batches pass, by filters that change, by a mask or not,
//!   at what size they come out, and what is told of them
#![forbid(unsafe_code)]

mod codec;
mod compiler;
mod config;
mod cut;
mod error;
mod exec;
mod expr;
mod extension;
mod latest;
mod left;
mod literal;
mod mask;
mod meters;
mod resident;
mod rule;
mod shape;
mod share;
mod stream;

pub use codec::UnladeCodec;
pub use config::{Mode, UnladeConfig};
pub use exec::UnladeExec;
pub use extension::SessionStateBuilderExt;
pub use left::LeftExec;
pub use resident::{ResidentExec, ResidentTable};
pub use rule::UnladeRule;
