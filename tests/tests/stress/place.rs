//! Where it is done: a runtime with the CPU and simulated devices that fail.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use unlade_cpu::CpuDevice;
use unlade_dpu::{Options, connect};
use unlade_hal::{Device, DeviceKind, MemoryKind};
use unlade_runtime::{DeviceStatus, Runtime};
use unlade_sim_card::{Config, Served};
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};
use unlade_tests::devices::simulated_gpu;
use unlade_tests::process::settle;

use crate::posing::Posing;

/// Names devices that are left out, with commas between them: for a tool that cannot look into one.
const WITHOUT: &str = "UNLADE_STRESS_WITHOUT";

/// How often each kind strikes where it can: often enough to be seen within seconds, and seldom
/// enough that devices work most of the time.
const RATES: [(FaultKind, f64); 14] = [
    (FaultKind::CompileFails, 0.02),
    (FaultKind::AllocationFails, 0.03),
    (FaultKind::RegistrationFails, 0.15),
    (FaultKind::OpenQueueFails, 0.12),
    (FaultKind::ResetFails, 0.15),
    (FaultKind::QueueFull, 0.01),
    (FaultKind::LostAtSubmit, 0.003),
    (FaultKind::WaitTimesOut, 0.02),
    (FaultKind::LateCompletion, 0.02),
    (FaultKind::LostCompletion, 0.01),
    (FaultKind::DuplicateCompletion, 0.02),
    (FaultKind::PartialWrite, 0.002),
    (FaultKind::LostInFlight, 0.002),
    (FaultKind::CountTooLarge, 0.002),
];

/// How long a device may take: more than these batches take anywhere, and no longer than a test can
/// wait for a completion that never comes.
const TIMEOUT: Duration = Duration::from_millis(400);

/// Whether a device is among those that work.
pub(crate) fn is_wanted(name: &str) -> bool {
    let without = env::var(WITHOUT).unwrap_or_default();
    !without.split(',').any(|other| other == name)
}

/// A runtime and its devices.
pub(crate) struct Place {
    pub(crate) runtime: Runtime,
    /// All but the CPU, by name.
    pub(crate) faulty: BTreeMap<String, Arc<FaultDevice>>,
    /// Serves the card as long as it is there.
    _card: Served,
}

impl Place {
    /// With faults by a seed; where they are to `leak`, memory may have to be abandoned to a device
    /// that does not say what it does with it.
    pub(crate) fn new(seed: u64, leak: bool) -> Place {
        let card = Served::start(Config::default()).expect("a socket can be made");
        let mut devices: Vec<Posing> = Vec::new();
        if is_wanted("sim") {
            let sim = SimDevice::builder(Profile::gpu()).build();
            devices.push(Posing::new(Arc::new(sim), DeviceKind::Gpu));
        }
        if is_wanted("sim-gpu") {
            devices.push(Posing::new(simulated_gpu(), DeviceKind::Gpu));
        }
        if is_wanted("sim-dpu") {
            let dpu = connect(card.path(), &Options::default());
            let dpu = dpu.unwrap_or_else(|error| panic!("{error}"));
            devices.push(Posing::new(dpu, DeviceKind::Dpu));
        }
        let rates = RATES.into_iter();
        let rates = rates.filter(|(kind, _)| leak || *kind != FaultKind::LostCompletion);
        let rates: Vec<(FaultKind, f64)> = rates.collect();
        let mut builder = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .threads(3)
            .pool_reserve(32 << 20)
            .device_timeout(TIMEOUT);
        let mut faulty = BTreeMap::new();
        for (number, device) in (1..).zip(devices) {
            let plan = FaultPlan::random(seed ^ (number << 32), rates.clone());
            let name = device.info().name.clone();
            let device = Arc::new(FaultDevice::new(Arc::new(device), plan));
            builder = builder.device(device.clone());
            faulty.insert(name, device);
        }
        Place {
            runtime: builder.build().expect("devices of different names"),
            faulty,
            _card: card,
        }
    }

    /// Names of all devices.
    pub(crate) fn names(&self) -> Vec<&str> {
        let faulty = self.faulty.keys().map(String::as_str);
        ["cpu"].into_iter().chain(faulty).collect()
    }

    /// Bytes abandoned to lost devices.
    pub(crate) fn leaked(&self) -> u64 {
        let devices = self.runtime.devices();
        devices.iter().map(|device| device.leaked_bytes).sum()
    }

    /// Bytes that are leased and were not abandoned.
    pub(crate) fn leased(&self) -> u64 {
        let leased = self.runtime.memory().leased;
        leased.saturating_sub(self.leaked())
    }

    /// Devices give back what was dropped with their next request, so here is one.
    pub(crate) fn have_memory_given_back(&self) {
        for device in self.faulty.values() {
            // One that is lost, or fails now, has a request to come.
            let _made = device.allocate(MemoryKind::DeviceLocal, 1);
        }
    }

    /// Nobody works: all leases come home, no list is on a device, and nobody waits for memory.
    pub(crate) fn check_idle(&self) {
        let on_devices = |devices: Vec<DeviceStatus>| -> u32 {
            devices.iter().map(|device| device.in_flight).sum()
        };
        settle(
            "bytes leased, requests that wait, lists on devices",
            || {
                let memory = self.runtime.memory();
                let lists = on_devices(self.runtime.devices());
                (self.leased(), memory.waiting, lists)
            },
            &(0, 0, 0),
        );
    }
}
