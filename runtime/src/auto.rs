//! Placement by cost: batch by batch, the device that is predicted to be the fastest.

use std::sync::Arc;
use std::time::Duration;

use unlade_hal::DeviceKind;

use crate::device_plan::DevicePlan;
use crate::explain::CostTerm;
use crate::forecast::Forecast;
use crate::placement::{
    Because, Candidates, Choice, DeviceIndex, Ineligible, Load, Modelled, Placer, Policy, Profile,
    Work,
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
    pub(crate) forecast: Forecast,
}

/// A model of every device of a runtime.
pub(crate) fn placer(devices: &[DeviceSlot]) -> Mutex<Placer> {
    let modelled = devices.iter().map(|slot| {
        let profile = match slot.kind {
            DeviceKind::Cpu => Profile::cpu(),
            _ => Profile::gpu(),
        };
        let model = Modelled::new(&slot.name, slot.device.info().clock, profile);
        match slot.kind {
            DeviceKind::Simulator => model.simulated(),
            _ => model,
        }
    });
    Mutex::new(Placer::new(modelled.collect(), Policy::default()))
}

impl AutoRoute {
    pub(crate) fn new(
        plans: Vec<Option<Arc<DevicePlan>>>,
        ineligible: Vec<Option<Ineligible>>,
        forecast: Forecast,
    ) -> Self {
        AutoRoute {
            plans,
            ineligible,
            forecast,
        }
    }

    /// Chooses for a batch; `None` where no device is eligible.
    pub(crate) fn choose(&self, runtime: &Core, work: &Work) -> Option<Choice> {
        lock(&runtime.placer).place(work, &self.loads(runtime)).ok()
    }

    /// What every device is predicted to take for so much work.
    pub(crate) fn predict(&self, runtime: &Core, work: &Work) -> Candidates {
        lock(&runtime.placer).predict(work, &self.loads(runtime))
    }

    fn loads(&self, runtime: &Core) -> Vec<Load> {
        let slots = runtime.devices.iter().zip(&self.ineligible).enumerate();
        let loads = slots.map(|(index, (slot, ineligible))| {
            let device = DeviceIndex(index);
            // Threads wait by the runtime's clock, which is not every device's.
            let same_clock = slot.device.info().clock == runtime.clock.kind();
            let queue_wait = same_clock.then(|| runtime.dispatcher.queue_wait(device));
            Load {
                queue_wait: queue_wait.unwrap_or_default(),
                ineligible: ineligible.clone().or_else(|| runtime.ineligible(device)),
                ..Load::default()
            }
        });
        loads.collect()
    }
}

/// A choice's reason, as receipts and `explain` tell it.
pub(crate) fn reason(choice: &Choice) -> Reason {
    let mut others = choice
        .candidates
        .iter()
        .enumerate()
        .filter(|(index, each)| *index != choice.device.0 && each.ineligible.is_none())
        .map(|(_, each)| each);
    match choice.because {
        Because::Only => Reason::OnlyCandidate,
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
        ("queue", terms.queue_wait + terms.link_wait),
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
