//! What a runtime can be told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::{Clock, Device, WallClock};

use crate::driver::Patience;
use crate::errand;
use crate::placement::Objective;

/// Which device runs a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Placement {
    /// The one that is predicted to be the fastest; never a simulator.
    #[default]
    Auto,
    /// The device of this name or address, or of the name without its number (`cuda` for `cuda:0`) where
    /// one has that.
    Device(Arc<str>),
}

/// What happens where the chosen device lacks an operation or fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Another device or the CPU takes that part of the work; the receipt says so.
    #[default]
    Allow,
    /// The query is refused, or the batch fails.
    Forbid,
}

/// Whether results of devices are taken at their word.
///
/// A device with DMA can read and write the memory mapped to it at any time, also after it said that
/// it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Devices reach the whole pool, and results become Arrow arrays where the device wrote them.
    #[default]
    Trusted,
    /// Devices reach a part of the pool of their own, a quarter of the memory. Results are copied
    /// out of it, once, before anything is read of them, and checked before they become arrays:
    /// counts, masks, and keys of dictionaries. It costs that copy. Of what values there should be a
    /// device is still believed.
    Untrusted,
}

/// Options of a runtime, with their defaults.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) devices: Vec<Arc<dyn Device>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) memory_budget: u64,
    pub(crate) pool_reserve: u64,
    pub(crate) threads: usize,
    pub(crate) gather_within: Duration,
    pub(crate) max_tickets: usize,
    pub(crate) placement: Placement,
    pub(crate) objective: Objective,
    pub(crate) calibration: Option<PathBuf>,
    pub(crate) fallback: Fallback,
    pub(crate) trust: Trust,
    pub(crate) trace: bool,
    pub(crate) record: bool,
    pub(crate) host_cpu: bool,
    pub(crate) predictions: bool,
    pub(crate) background_compile: bool,
    /// Lists that a device has at once: in all, and of a stream.
    pub(crate) queue_depth: u32,
    pub(crate) device_timeout: Duration,
    /// Of its driver; without it what a list has, and no less than is usual.
    pub(crate) driver_timeout: Option<Duration>,
}

impl Options {
    /// How long a device may take before it is held to have failed.
    pub(crate) fn patience(&self) -> Patience {
        let usual = || self.device_timeout.max(errand::LONG);
        Patience {
            list: self.device_timeout,
            driver: self.driver_timeout.unwrap_or_else(usual),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            devices: Vec::new(),
            clock: Arc::new(WallClock::new()),
            memory_budget: 4 << 30,
            pool_reserve: 256 << 20,
            threads: 1,
            gather_within: Duration::from_millis(1),
            max_tickets: 1024,
            placement: Placement::Auto,
            objective: Objective::default(),
            calibration: None,
            fallback: Fallback::Allow,
            trust: Trust::Trusted,
            trace: false,
            record: false,
            host_cpu: false,
            predictions: false,
            background_compile: false,
            queue_depth: 4,
            device_timeout: Duration::from_secs(60),
            driver_timeout: None,
        }
    }
}
