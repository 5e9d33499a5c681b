//! The runtime: queries on Arrow batches, on whichever device is best, with a receipt.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow_array::{Int64Array, RecordBatch};
//! use unlade_cpu::CpuDevice;
//! use unlade_expr::{Query, Semantics, col, lit};
//! use unlade_runtime::Runtime;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::builder().device(Arc::new(CpuDevice::new())).build()?;
//! let numbers = Arc::new(Int64Array::from(vec![1, 20, 300])) as _;
//! let batch = RecordBatch::try_from_iter([("n", numbers)])?;
//!
//! let query = Query::filter(col("n").gt(lit(10i64)));
//! let kernel = runtime.compile(&query, &batch.schema(), &Semantics::arrow())?;
//! let output = kernel.run(&batch)?;
//! assert_eq!(output.receipt.rows_out, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a batch
//! [`Runtime::compile`] checks a query, lowers it to a program and chooses where it may run. The
//! CPU runs inline, on the thread that calls [`Kernel::run`], on the batch where it lies. A device
//! behind a queue gets the columns that its program reads, staged in pinned memory that is leased
//! all at once; back come a mask and computed columns, and payload is compacted on the host, once,
//! into its final place. What a device lacks is cut off and runs on the CPU; when it fails, the CPU
//! takes the batch, and the device is left alone for a while. Each [`Receipt`] says so.
//!
//! # What is inside
//! - [`Runtime`], [`RuntimeBuilder`]: devices, memory, threads; [`DeviceStatus`], [`MemoryStatus`]
//! - [`Kernel`]: [`run`](Kernel::run), [`submit`](Kernel::submit) for a [`Ticket`],
//!   [`stream`](Kernel::stream) for a [`KernelStream`], [`explain`](Kernel::explain) for an
//!   [`Explain`]
//! - [`Session`]: one who shares devices and memory with others, with a weight, a priority, a budget,
//!   a deadline and [devices](DeviceRequest) to count on
//! - [`UserFunction`]: what users have written, called by queries and computed on the CPU
//! - [`Output`], [`Receipt`], [`TraceEvent`]: what happened
//! - [`Error`]: what can go wrong
//! - [`placement`]: the model of what a batch costs where; [`pool`]: pinned memory
//!
//! [`METRICS`] go to the `metrics` facade, spans and warnings to `tracing`.
#![forbid(unsafe_code)]

mod ahead;
mod arrays;
mod auto;
mod bind;
mod block;
mod calibration;
mod call;
mod device_plan;
mod device_slot;
mod dictionary;
mod driver;
mod errand;
mod error;
mod executables;
mod explain;
mod fallbacks;
#[cfg(test)]
mod figures;
mod forecast;
mod functions;
mod gather;
mod halving;
mod heap;
mod inline;
mod kernel;
mod metrics;
mod offload;
mod options;
mod parts;
pub mod placement;
mod plans;
pub mod pool;
mod portion;
mod receipt;
mod recent;
mod recorder;
mod recording;
mod replay;
pub mod residency;
mod resident;
mod resources;
mod route;
mod runtime;
pub mod scheduler;
mod session;
mod shape;
mod shortage;
mod shutdown;
#[cfg(all(test, shuttle))]
mod simulation;
mod snapshot;
mod stream;
mod strings;
mod sync;
mod ticket;
mod trace;
mod within;
mod workers;

pub use device_slot::{DeviceState, DeviceStatus};
pub use error::{
    DataError, Error, Exhausted, FunctionError, FunctionErrorKind, Holder, Refused, SchemaError,
    Unplaceable, Within,
};
pub use executables::CacheStatus;
pub use explain::{
    Candidate, CostTerm, EXPLAIN_VERSION, Explain, ExplainCall, ExplainPart, ExplainPinned,
    TYPICAL_ROWS,
};
pub use fallbacks::FallbackStatus;
pub use functions::{FunctionFailure, UserFunction};
pub use kernel::{Kernel, Output};
pub use metrics::{METRICS, Metric, MetricKind, MetricUnit};
pub use options::{Fallback, Placement, Trust};
pub use pool::PoolStatus as MemoryStatus;
pub use receipt::{CallReceipt, PartReceipt, Path, RECEIPT_VERSION, Reason, Receipt, Verified};
pub use recording::{
    RECORDING_VERSION, RecordedBatch, RecordedDevice, RecordedKernel, RecordedRun, RecordedSession,
    Recording, RecordingError,
};
pub use replay::{DeviceChoice, DeviceOutcome, Outcome, Replay, ReplayError, SessionOutcome};
pub use resident::{Resident, ResidentValues, Sent};
pub use resources::DeviceRequest;
pub use runtime::{Runtime, RuntimeBuilder, WeakRuntime};
pub use scheduler::Priority;
pub use session::{Session, SessionBuilder, SessionStatus};
pub use shutdown::Ended;
pub use snapshot::{
    DeviceSnapshot, FallbackSnapshot, PoolSnapshot, ReceiptSnapshot, SNAPSHOT_VERSION,
    SessionSnapshot, Snapshot,
};
pub use stream::{Canceller, KernelStream};
pub use ticket::Ticket;
pub use trace::{Activity, TraceEvent};
pub use unlade_hal::DeviceAddr;
pub use unlade_naive::Description;
