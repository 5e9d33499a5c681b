//! Ballista's executors with Unlade's devices: filters and projections of a distributed query run on
//! GPU, DPU card or CPU, on each executor by what it has.
//!
//! Ballista's scheduler cuts a query into stages, and hands tasks of them to executors. [`UnladeEngine`]
//! is what an executor has run them: it rewrites a task's plan with the rule of `unlade-datafusion` just
//! before it runs, node by node, and hands it on to the engine that it wraps. Scheduler and clients are
//! those that they were, and know nothing of devices; the `unlade-executor` command of this package is
//! such an executor, ready to run.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use ballista_executor::execution_engine::DefaultExecutionEngine;
//! use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
//! use unlade_ballista::{UnladeConfig, UnladeEngine, config_producer};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = unlade::runtime()?;
//! let inner = Arc::new(DefaultExecutionEngine::new());
//! let engine = UnladeEngine::new(&runtime, inner);
//! let process = ExecutorProcessConfig {
//!     scheduler_host: "scheduler.example".to_owned(),
//!     override_execution_engine: Some(Arc::new(engine)),
//!     override_config_producer: Some(config_producer(&UnladeConfig::default())),
//!     ..ExecutorProcessConfig::default()
//! };
//! start_executor_process(Arc::new(process)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! docs/DISTRIBUTED.md says how schedulers, executors and clients go together, and what its limits are.
//!
//! # What is inside
//! - [`UnladeEngine`]: the engine; [`config_producer`]: sessions in which `unlade.*` travels
//! - [`TaskReceipt`], [`NodeReceipt`]: what was computed where of each task
//! - `stage`: a task's plan, rewritten and run
#![forbid(unsafe_code)]

mod engine;
mod receipt;
mod stage;

pub use engine::{UnladeEngine, config_producer};
pub use receipt::{NodeReceipt, TaskReceipt};
pub use unlade_datafusion::UnladeConfig;
