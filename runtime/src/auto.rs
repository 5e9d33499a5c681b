//! Placement by cost: batch by batch, the device that is predicted to be the fastest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use unlade_hal::{ClockKind, DeviceInfo, DeviceKind};

use crate::calibration;
use crate::device_plan::{DevicePlan, Readiness};
use crate::device_slot::DeviceSlot;
use crate::explain::CostTerm;
use crate::kernel::Lane;
use crate::options::Options;
use crate::placement;
use crate::placement::{
    Because, Begun, Candidates, Choice, DeviceIndex, Ineligible, LinkId, Load, Modelled, Objective,
    Placer, Policy, Profile, Terms, Work,
};
use crate::receipt::{Reason, clock_text};
use crate::runtime::Core;
use crate::sync::{Mutex, lock};

/// The devices to choose from for one query.
#[derive(Debug)]
pub(crate) struct AutoRoute {
    /// For each device how it runs the query, if it is one to be considered.
    pub(crate) plans: Vec<Option<Arc<DevicePlan>>>,
    /// For each device why it cannot, if it cannot.
    ineligible: Vec<Option<Ineligible>>,
    /// Batches placed so far.
    batches: AtomicU64,
}

/// A model of every device of a runtime.
pub(crate) fn placer(options: &Options, devices: &[DeviceSlot]) -> Mutex<Placer> {
    let modelled = devices
        .iter()
        .zip(profiles(devices))
        .map(|(slot, profile)| {
            let info = slot.device.info();
            let model = Modelled::new(&slot.name, slot.clock, profile).hardware(hardware(info));
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

/// What is known of the devices' speed before anything is measured, and which of them share a link.
pub(crate) fn profiles(devices: &[DeviceSlot]) -> Vec<Profile> {
    let mut links = BTreeMap::new();
    let profiles = devices.iter().map(|slot| {
        let link = slot.device.info().link.as_deref().map(|link| {
            let next = LinkId(links.len() as u32);
            *links.entry(link).or_insert(next)
        });
        Profile {
            link,
            ..profile(slot)
        }
    });
    profiles.collect()
}

fn profile(slot: &DeviceSlot) -> Profile {
    let reads_host = slot.device.capabilities().coherent;
    match slot.kind {
        DeviceKind::Cpu => Profile::cpu(),
        // Where it reads what is not pinned as well, nothing is copied there first.
        _ if slot.is_coherent() => Profile {
            stage: f64::INFINITY,
            ..Profile::card()
        },
        _ if reads_host => Profile::card(),
        _ => Profile::gpu(),
    }
}

/// What a device is, down to its place in the machine.
pub(crate) fn hardware(info: &DeviceInfo) -> String {
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
        AutoRoute {
            plans,
            ineligible,
            batches: AtomicU64::new(0),
        }
    }

    /// Devices that cannot run the query.
    pub(crate) fn cannot(&self, runtime: &Core) -> Vec<Arc<str>> {
        let slots = runtime.devices.iter().zip(&self.ineligible);
        let cannot = slots.filter(|(_, why)| matches!(why, Some(Ineligible::Unsupported(_))));
        cannot.map(|(slot, _)| Arc::clone(&slot.name)).collect()
    }

    /// Chooses for a batch, the CPU being busy for so long; `None` where no device is eligible. The
    /// device on which the batch lies runs it by a plan of its own.
    pub(crate) fn choose(
        &self,
        runtime: &Arc<Core>,
        work: Work,
        resident: Option<&Arc<DevicePlan>>,
        cpu_wait: Duration,
    ) -> Option<Placed> {
        let mut placer = lock(&runtime.placer);
        let loads = self.loads(runtime, &placer, resident, cpu_wait);
        let choice = placer.place(&work, &loads).ok()?;
        let device = choice.device;
        let queued = self.plans[device.0].is_some();
        let busy =
            queued.then(|| Busy::begin(runtime, &mut placer, device, &choice.chosen().terms));
        drop(placer);
        self.batches.fetch_add(1, Ordering::Relaxed);
        Some(Placed { choice, work, busy })
    }

    /// What every device is predicted to take for so much work.
    pub(crate) fn predict(&self, runtime: &Core, work: &Work) -> Candidates {
        let placer = lock(&runtime.placer);
        let loads = self.loads(runtime, &placer, None, Duration::ZERO);
        placer.predict(work, &loads)
    }

    fn loads(
        &self,
        runtime: &Core,
        placer: &Placer,
        resident: Option<&Arc<DevicePlan>>,
        cpu_wait: Duration,
    ) -> Vec<Load> {
        let now = runtime.clock.now();
        let slots = runtime.devices.iter().zip(&self.ineligible).enumerate();
        let loads = slots.map(|(index, (slot, ineligible))| {
            let device = DeviceIndex(index);
            let ineligible = ineligible.clone().or_else(|| runtime.ineligible(device));
            // Threads wait by the runtime's clock, which is not every device's.
            let same_clock = slot.clock == runtime.clock.kind();
            let lies_there = resident.filter(|plan| plan.slot == index);
            let load = match (slot.kind, lies_there.or(self.plans[index].as_ref())) {
                (DeviceKind::Cpu, _) => Load {
                    queue_wait: cpu_wait,
                    ..Load::default()
                },
                (_, Some(plan)) if same_clock && ineligible.is_none() => {
                    self.load(runtime, placer, plan, placer.load(device, now))
                }
                _ => Load::default(),
            };
            Load {
                ineligible: ineligible.or(load.ineligible),
                ..load
            }
        });
        loads.collect()
    }

    /// How a device is, beside what was placed there.
    fn load(&self, runtime: &Core, placer: &Placer, plan: &DevicePlan, placed: Load) -> Load {
        let device = DeviceIndex(plan.slot);
        // What waits there on whoever's behalf counts as well.
        let queue_wait = placed.queue_wait.max(runtime.dispatcher.queue_wait(device));
        let load = Load {
            queue_wait,
            ..placed
        };
        match plan.readiness(runtime) {
            Readiness::Ready => load,
            // As many more batches are to be expected as have come so far.
            Readiness::Uncompiled { instructions } => Load {
                compile: placer.compiling(device, instructions),
                compile_batches: self.batches.load(Ordering::Relaxed),
                ..load
            },
            Readiness::Compiling => Load {
                ineligible: Some(Ineligible::Compiling),
                ..load
            },
            Readiness::Failed(error) => Load {
                ineligible: Some(Ineligible::CompileFailed(error.to_string())),
                ..load
            },
        }
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
    pub(crate) fn lane(&self) -> Lane {
        match self.busy {
            Some(_) => Lane::Queue(self.choice.device.0),
            None => Lane::Inline(self.choice.chosen().terms.per_batch()),
        }
    }
}

/// A device is busy with a batch that was placed there and is not done.
#[derive(Debug)]
pub(crate) struct Busy {
    runtime: Arc<Core>,
    /// There until it is dropped.
    begun: Option<Begun>,
}

impl Busy {
    fn begin(runtime: &Arc<Core>, placer: &mut Placer, device: DeviceIndex, terms: &Terms) -> Self {
        Busy {
            begun: Some(placer.begin(device, terms, runtime.clock.now())),
            runtime: Arc::clone(runtime),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.runtime.clock.now();
        if let Some(begun) = self.begun.take() {
            lock(&self.runtime.placer).end(begun, now);
        }
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
    let compiling = |each: &&placement::Candidate| each.ineligible == Some(Ineligible::Compiling);
    match choice.because {
        Because::Only => match choice.candidates.iter().find(compiling) {
            Some(each) => Reason::Compiling {
                device: Arc::clone(&each.device),
            },
            None => Reason::OnlyCandidate,
        },
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

/// A prediction, term by term, for `explain`, where the runtime's clock is `host`.
pub(crate) fn cost_terms(candidates: &Candidates, device: usize, host: ClockKind) -> Vec<CostTerm> {
    let Some(candidate) = candidates.iter().nth(device) else {
        return Vec::new();
    };
    let terms = &candidate.terms;
    let own = candidate.clock;
    let named = [
        ("queue", terms.queue_wait, host),
        ("link", terms.link_wait, host),
        ("compile", terms.compile, host),
        ("launch", terms.launch, own),
        ("stage", terms.stage, host),
        ("in", terms.copy_in, own),
        ("compute", terms.compute, own),
        ("out", terms.copy_out, own),
        ("gather", terms.host_gather, host),
        ("total", candidate.predicted(host), own),
    ];
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    named
        .map(|(term, time, clock)| CostTerm {
            term,
            nanos: nanos(time),
            clock: clock_text(clock),
        })
        .into()
}

#[cfg(test)]
mod tests {
    use unlade_hal::{Device, WallClock};
    use unlade_sim_device::{Link, Profile as SimProfile, SimDevice};

    use super::*;
    use crate::Runtime;

    #[test]
    fn devices_on_one_link_share_it() {
        let link = Link::new();
        let device = |name: &str, link: &Link| -> Arc<dyn Device> {
            let sim = SimDevice::builder(SimProfile::gpu());
            Arc::new(sim.name(name).link(link.clone()).build())
        };
        let runtime = Runtime::builder()
            .device(Arc::new(unlade_cpu::CpuDevice::new()))
            .device(device("a", &link))
            .device(device("b", &link))
            .device(device("c", &Link::new()))
            .clock(Arc::new(WallClock::new()))
            .build()
            .unwrap();
        let mut placer = lock(&runtime.core.placer);
        let now = runtime.core.clock.now();
        let taken = Duration::from_millis(5);
        let terms = Terms {
            link_in: taken,
            ..Terms::default()
        };
        let begun = placer.begin(DeviceIndex(1), &terms, now);
        let others = |placer: &Placer| {
            [0, 1, 2, 3].map(|device| placer.load(DeviceIndex(device), now).link_in.others)
        };
        let none = Duration::ZERO;
        assert_eq!(others(&placer), [none, none, taken, none]);
        placer.end(begun, now);
        assert_eq!(others(&placer), [none; 4]);
    }
}
