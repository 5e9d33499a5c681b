//! The CUDA driver: contexts, streams, events, memory and modules of simulated GPUs.
//!
//! One process has one driver, as with a real one. Its C entry points are in `capi`; here is what
//! they do, without unsafe code but for [host memory](crate::host). A test steers it through
//! [`Driver`].

mod attributes;
mod code;
mod control;
mod event;
mod fault;
mod memory;
mod module;
mod state;
mod stream;
mod work;

pub use control::{Alive, Driver, DriverConfig, LaunchRecord, Mode};
pub use fault::{DriverChance, DriverFault};

pub(crate) use code::{Answer, Code};
pub(crate) use memory::End;
pub(crate) use state::{State, current, pop_current, push_current, set_current};
