//! How a test, or a program, steers the driver.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use unlade_sim_clock::VirtualClock;
use unlade_sim_fault::{FaultPlan, Injected};

use super::DriverFault;
use super::state::State;
use crate::exec::{Counters, Interleaving};
use crate::finding::Finding;
use crate::profile::Profile;

/// When work that a stream was given runs. A program must be right in all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// At once, inside of the call that gives it.
    #[default]
    Eager,
    /// Only when something waits for it, or has asked for it often.
    Lazy,
    /// Some of it at every call, streams out of step, drawn from the seed.
    Concurrent,
}

/// What the driver finds in the machine, and how it runs it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DriverConfig {
    /// The GPUs, by ordinal: one to eight.
    pub devices: Vec<Profile>,
    /// When work runs.
    pub mode: Mode,
    /// How kernels run. Each launch draws a seed of its own from this one.
    pub interleaving: Interleaving,
}

impl Default for DriverConfig {
    /// One H200, eager; or as the environment says: `UNLADE_SIM_GPU` names profiles (`h200`, `l4`,
    /// `gb10`), separated by commas, `UNLADE_SIM_GPU_MODE` is `eager`, `lazy` or `concurrent`, and
    /// `UNLADE_SIM_GPU_SEED` is a number. What is not understood is left out.
    fn default() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let profile = |name: &str| match name.trim() {
            "h200" => Some(Profile::h200()),
            "l4" => Some(Profile::l4()),
            "gb10" => Some(Profile::gb10()),
            _ => None,
        };
        let mut devices: Vec<Profile> = variable("UNLADE_SIM_GPU")
            .split(',')
            .filter_map(profile)
            .take(8)
            .collect();
        if devices.is_empty() {
            devices.push(Profile::h200());
        }
        let mode = match variable("UNLADE_SIM_GPU_MODE").as_str() {
            "lazy" => Mode::Lazy,
            "concurrent" => Mode::Concurrent,
            _ => Mode::Eager,
        };
        let seed = variable("UNLADE_SIM_GPU_SEED").parse().unwrap_or(0);
        DriverConfig {
            devices,
            mode,
            interleaving: Interleaving {
                seed,
                ..Interleaving::default()
            },
        }
    }
}

impl DriverConfig {
    /// The same, with these GPUs.
    #[must_use]
    pub fn with_devices(self, devices: impl IntoIterator<Item = Profile>) -> Self {
        DriverConfig {
            devices: devices.into_iter().collect(),
            ..self
        }
    }

    /// The same, with work run so.
    #[must_use]
    pub fn with_mode(self, mode: Mode) -> Self {
        DriverConfig { mode, ..self }
    }

    /// The same, with what is drawn drawn from this seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.interleaving.seed = seed;
        self
    }
}

/// The process's driver, to be steered. Whoever calls the C entry points calls the same one.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Driver;

/// A kernel that ran to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchRecord {
    /// Its name.
    pub kernel: String,
    /// Blocks: x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block: x, y and z.
    pub threads: [u32; 3],
    /// What it did.
    pub counters: Counters,
    /// As the profile estimates it.
    pub time: Duration,
}

/// What the driver holds at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alive {
    /// How often primary contexts are retained.
    pub contexts: usize,
    /// Allocations of device memory.
    pub allocations: usize,
    /// Their bytes, less what a stream has yet to free.
    pub device_bytes: u64,
    /// Streams that were created.
    pub streams: usize,
    /// Events.
    pub events: usize,
    /// Modules.
    pub modules: usize,
    /// Ranges of host memory: registered, or allocated by the driver.
    pub host_ranges: usize,
}

static STATE: LazyLock<Mutex<State>> =
    LazyLock::new(|| Mutex::new(State::new(DriverConfig::default())));

pub(super) fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver {
    /// The process's driver.
    pub fn get() -> Self {
        Driver
    }

    /// Begins anew, as a new process does: nothing is alive, no error sticks. Handles of before are
    /// void. Memory that the driver allocated on the host is leaked, as it may be in use.
    ///
    /// # Panics
    /// With no device, or more than eight.
    pub fn restart(self, config: DriverConfig) {
        assert!(
            (1..=8).contains(&config.devices.len()),
            "a machine has 1 to 8 GPUs"
        );
        lock().restart(config);
    }

    /// When work runs from now on.
    pub fn set_mode(self, mode: Mode) {
        lock().config.mode = mode;
    }

    /// What is drawn from now on.
    pub fn set_seed(self, seed: u64) {
        lock().reseed(seed);
    }

    /// Which faults strike from now on.
    pub fn set_faults(self, plan: FaultPlan<DriverFault>) {
        lock().faults = plan;
    }

    /// The faults that struck.
    pub fn injected(self) -> Vec<Injected<DriverFault>> {
        lock().faults.log().to_vec()
    }

    /// The entry points that a fault struck, in order: one for each of [`injected`](Self::injected).
    pub fn struck(self) -> Vec<&'static str> {
        lock().struck.clone()
    }

    /// Calls since the start, by entry point.
    pub fn calls(self) -> BTreeMap<&'static str, u64> {
        lock().calls.clone()
    }

    /// What kernels did wrong since the start.
    pub fn findings(self) -> Vec<Finding> {
        lock().findings.clone()
    }

    /// What all kernels did since the start.
    pub fn counters(self) -> Counters {
        lock().counters
    }

    /// The last kernels that ran, oldest first: as many as 1024.
    pub fn launches(self) -> Vec<LaunchRecord> {
        lock().launches.iter().cloned().collect()
    }

    /// What is alive.
    pub fn alive(self) -> Alive {
        lock().alive()
    }

    /// The ranges of host memory that are [alive](Alive::host_ranges), by address. They have to be
    /// mapped: the GPU may reach them.
    pub fn host_ranges(self) -> Vec<Range<usize>> {
        let known = lock().known_ranges();
        known
            .into_iter()
            .map(|range| range.start()..range.start() + range.len())
            .collect()
    }

    /// The clock of the simulated GPUs.
    pub fn clock(self) -> VirtualClock {
        lock().clock.clone()
    }
}
