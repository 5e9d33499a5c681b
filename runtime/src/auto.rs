//! Placement by cost: batch by batch, the device that is predicted to be the fastest.

use std::sync::Arc;
use std::time::Duration;

use unlade_hal::{DeviceInfo, DeviceKind};

use crate::calibration;
use crate::device_plan::DevicePlan;
use crate::explain::CostTerm;
use crate::options::Options;
use crate::placement::{
    Because, Candidates, Choice, DeviceIndex, Ineligible, Load, Modelled, Objective, Placer,
    Policy, Profile, Work,
};
use crate::receipt::Reason;
use crate::runtime::{Core, DeviceSlot};
use crate::sync::{Mutex, lock};

/// The devices to choose from for one query.
#[derive(Debug)]
pub(crate) struct AutoRoute {
    /// For each device how it runs the query, if it is one to be considered.
    pub(crate) plans: Vec<Option<Arc<DevicePlan>>>,
    /// For each device why it cannot, if it cannot.
    ineligible: Vec<Option<Ineligible>>,
}

/// A model of every device of a runtime.
pub(crate) fn placer(options: &Options, devices: &[DeviceSlot]) -> Mutex<Placer> {
    let modelled = devices.iter().map(|slot| {
        let profile = match slot.kind {
            DeviceKind::Cpu => Profile::cpu(),
            _ => Profile::gpu(),
        };
        let info = slot.device.info();
        let model = Modelled::new(&slot.name, info.clock, profile).hardware(hardware(info));
        match slot.kind {
            DeviceKind::Simulator => model.simulated(),
            _ => model,
        }
    });
    let policy = Policy {
        objective: options.objective,
        ..Policy::default()
    };
    let mut placer = Placer::new(modelled.collect(), policy);
    if let Some(file) = &options.calibration {
        calibration::recall(file, &mut placer);
    }
    Mutex::new(placer)
}

/// What a device is, down to its place in the machine.
fn hardware(info: &DeviceInfo) -> String {
    let address = info.address.as_deref().unwrap_or("no address");
    let DeviceInfo {
        name,
        description,
        architecture,
        memory,
        ..
    } = info;
    format!("{name}, {description}, {architecture}, {memory} bytes, {address}")
}

impl AutoRoute {
    pub(crate) fn new(
        plans: Vec<Option<Arc<DevicePlan>>>,
        ineligible: Vec<Option<Ineligible>>,
    ) -> Self {
        AutoRoute { plans, ineligible }
    }

    /// Chooses for a batch, the CPU being busy for so long; `None` where no device is eligible.
    pub(crate) fn choose(
        &self,
        runtime: &Arc<Core>,
        work: Work,
        cpu_wait: Duration,
    ) -> Option<Placed> {
        let mut placer = lock(&runtime.placer);
        let loads = self.loads(runtime, &placer, cpu_wait);
        let choice = placer.place(&work, &loads).ok()?;
        let device = choice.device;
        let queued = self.plans[device.0].is_some();
        let busy = queued.then(|| {
            let takes = choice.chosen().terms.per_batch();
            placer.begin(device, takes, runtime.clock.now());
            Busy {
                runtime: Arc::clone(runtime),
                device,
                takes,
            }
        });
        drop(placer);
        Some(Placed { choice, work, busy })
    }

    /// What every device is predicted to take for so much work.
    pub(crate) fn predict(&self, runtime: &Core, work: &Work) -> Candidates {
        let placer = lock(&runtime.placer);
        let loads = self.loads(runtime, &placer, Duration::ZERO);
        placer.predict(work, &loads)
    }

    fn loads(&self, runtime: &Core, placer: &Placer, cpu_wait: Duration) -> Vec<Load> {
        let now = runtime.clock.now();
        let slots = runtime.devices.iter().zip(&self.ineligible).enumerate();
        let loads = slots.map(|(index, (slot, ineligible))| {
            let device = DeviceIndex(index);
            // Threads wait by the runtime's clock, which is not every device's.
            let same_clock = slot.device.info().clock == runtime.clock.kind();
            let queue_wait = match slot.kind {
                DeviceKind::Cpu => cpu_wait,
                // What was placed here, or what waits there on whoever's behalf.
                _ if same_clock => {
                    let waiting = runtime.dispatcher.queue_wait(device);
                    waiting.max(placer.wait(device, now))
                }
                _ => Duration::ZERO,
            };
            Load {
                queue_wait,
                ineligible: ineligible.clone().or_else(|| runtime.ineligible(device)),
                ..Load::default()
            }
        });
        loads.collect()
    }
}

/// A batch that placement has chosen a device for.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) choice: Choice,
    pub(crate) work: Work,
    /// Where that is a device behind a queue; until it is dropped.
    pub(crate) busy: Option<Busy>,
}

impl Placed {
    /// How long it is predicted to take on the CPU, if that is the choice.
    pub(crate) fn inline(&self) -> Option<Duration> {
        let terms = &self.choice.chosen().terms;
        self.busy.is_none().then(|| terms.per_batch())
    }
}

/// A device is busy for so long with a batch that was placed there and is not done.
#[derive(Debug)]
pub(crate) struct Busy {
    runtime: Arc<Core>,
    device: DeviceIndex,
    takes: Duration,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.runtime.clock.now();
        lock(&self.runtime.placer).end(self.device, self.takes, now);
    }
}

/// A choice's reason, as receipts and `explain` tell it.
pub(crate) fn reason(choice: &Choice, objective: Objective) -> Reason {
    let mut others = choice
        .candidates
        .iter()
        .enumerate()
        .filter(|(index, each)| *index != choice.device.0 && each.ineligible.is_none())
        .map(|(_, each)| each);
    match choice.because {
        Because::Only => Reason::OnlyCandidate,
        _ if objective == Objective::HostCpu => Reason::SparesHost,
        Because::Cheapest | Because::Kept => {
            let next = others.by_ref().min_by_key(|each| each.terms.latency());
            Reason::Cheapest {
                next: next.map(|each| Arc::clone(&each.device)),
                next_predicted: next.map(|each| each.terms.latency()),
            }
        }
    }
}

/// A prediction, term by term, for `explain`.
pub(crate) fn cost_terms(candidates: &Candidates, device: usize) -> Vec<CostTerm> {
    let Some(candidate) = candidates.iter().nth(device) else {
        return Vec::new();
    };
    let terms = &candidate.terms;
    let named = [
        ("queue", terms.queue_wait),
        ("link", terms.link_wait),
        ("compile", terms.compile),
        ("launch", terms.launch),
        ("stage", terms.stage),
        ("in", terms.copy_in),
        ("compute", terms.compute),
        ("out", terms.copy_out),
        ("gather", terms.host_gather),
        ("total", terms.latency()),
    ];
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    named
        .map(|(term, time)| CostTerm {
            term,
            nanos: nanos(time),
        })
        .into()
}
