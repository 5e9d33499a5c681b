//! The runtime.
#![forbid(unsafe_code)]

mod arrays;
mod bind;
mod block;
mod dictionary;
mod error;
mod executables;
mod explain;
mod gather;
mod inline;
mod kernel;
mod metrics;
mod options;
pub mod placement;
pub mod pool;
mod receipt;
mod runtime;
pub mod scheduler;
mod stream;
mod sync;
mod ticket;
mod trace;
mod workers;

pub use error::{DataError, Error, Exhausted, Holder, SchemaError, Unplaceable};
pub use executables::CacheStatus;
pub use explain::{Candidate, CostTerm, EXPLAIN_VERSION, Explain, ExplainPart};
pub use kernel::{Kernel, Output};
pub use options::{Fallback, Placement, Trust};
pub use receipt::{PartReceipt, Path, RECEIPT_VERSION, Reason, Receipt, Verified};
pub use runtime::{DeviceStatus, Runtime, RuntimeBuilder};
pub use stream::KernelStream;
pub use ticket::Ticket;
pub use trace::TraceEvent;
pub use unlade_naive::Description;
