//! Any device, with faults.
//!
//! A [`FaultDevice`] wraps another device and does what it does, but for the faults of its
//! [`FaultPlan`]: the nth chance of one kind, or seeded chances of many. Every fault that was
//! injected is in [`FaultDevice::log`]. Between the faults the wrapped device runs undisturbed, so
//! the same decorator breaks the CPU, a simulator or real hardware.
//!
//! A sweep fails the first chance, the second, and so on, until a run has no more:
//!
//! ```
//! use std::sync::Arc;
//! use unlade_hal::{Device, MemoryKind};
//! use unlade_sim_device::{Profile, SimDevice};
//! use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};
//!
//! let mut failed = 0;
//! for nth in 1.. {
//!     let inner = Arc::new(SimDevice::builder(Profile::gpu()).build());
//!     let device = FaultDevice::new(inner, FaultPlan::nth(nth, FaultKind::AllocationFails));
//!     // What is under test; here, three allocations.
//!     for _ in 0..3 {
//!         failed += u32::from(device.allocate(MemoryKind::DeviceLocal, 1).is_err());
//!     }
//!     if device.log().is_empty() {
//!         assert_eq!(nth, 4, "there is no fourth allocation to fail");
//!         break;
//!     }
//! }
//! assert_eq!(failed, 3);
//! ```
//!
//! # What is inside
//! - [`FaultKind`]: what can go wrong, and what it looks like
//! - [`FaultPlan`]: when it does; [`Fault`]: for plans of other kinds of faults
//! - [`FaultDevice`]: the decorator; [`Injected`]: an entry of its log
#![forbid(unsafe_code)]

mod device;
mod harm;
mod kind;
mod plan;
mod queue;

pub use device::FaultDevice;
pub use kind::{Chance, FaultKind};
pub use plan::{Fault, FaultPlan, Injected};
