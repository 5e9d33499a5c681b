//! Placement by cost: batch by batch, the device that is predicted to be the fastest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use unlade_expr::{Checked, Destination, OutputColumn};
use unlade_hal::DeviceKind;
use unlade_program::{Cost, Op, Program, Ty};

use crate::arrays;
use crate::bind::Binding;
use crate::device_plan::{DevicePlan, Tally};
use crate::explain::CostTerm;
use crate::placement::{
    Because, Candidates, Choice, DeviceIndex, Ineligible, Load, Measured, Modelled, Operation,
    Placer, Policy, Profile, Selectivity, TypeClass, Work, WorkKey,
};
use crate::receipt::{Path, Reason};
use crate::runtime::{Core, DeviceSlot};

/// What placement needs to know of one query.
#[derive(Debug)]
pub(crate) struct AutoRoute {
    /// For each device how it runs the query, if it is one to be considered.
    pub(crate) plans: Vec<Option<Arc<DevicePlan>>>,
    /// For each device why it cannot, if it cannot.
    ineligible: Vec<Option<Ineligible>>,
    key: WorkKey,
    cost_per_row: f64,
    bits_out_per_row: f64,
    selectivity: Mutex<Selectivity>,
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
        checked: &Checked,
        host: &Binding,
    ) -> Self {
        let program = &host.lowered.program;
        let computed = |column: &OutputColumn| matches!(column, OutputColumn::Computed(_));
        let operation = match (&checked.filter, checked.columns.iter().any(computed)) {
            (Some(_), false) => Operation::Filter,
            (Some(_), true) => Operation::FilterProject,
            (None, _) => Operation::Project,
        };
        let outputs = host.lowered.outputs.iter().zip(&checked.columns);
        let computed_bits = outputs.filter_map(|(destination, column)| match destination {
            Destination::Program { output } if computed(column) => {
                Some(f64::from(host.output_types[*output].bits()))
            }
            _ => None,
        });
        AutoRoute {
            plans,
            ineligible,
            key: WorkKey {
                operation,
                ty: type_class(program),
            },
            cost_per_row: cost_per_row(program),
            bits_out_per_row: computed_bits.sum::<f64>(),
            selectivity: Mutex::default(),
        }
    }

    /// A batch as far as its cost is concerned.
    pub(crate) fn work(&self, host: &Binding, batch: &RecordBatch) -> Work {
        let rows = batch.num_rows() as u64;
        let share = self.selectivity().share();
        let bytes_in = host.bytes_read(batch);
        let payload = host
            .lowered
            .outputs
            .iter()
            .filter_map(|destination| match *destination {
                Destination::Payload { column } | Destination::Keys { column, .. } => Some(column),
                Destination::Program { .. } => None,
            });
        let payload: u64 = payload
            .map(|column| arrays::byte_size(batch.column(column)))
            .sum();
        Work {
            key: self.key,
            rows,
            cost_per_row: self.cost_per_row,
            bytes_in,
            bytes_out: rows.div_ceil(8)
                + (rows as f64 * self.bits_out_per_row * share / 8.0) as u64,
            bytes_gathered: (payload as f64 * share) as u64,
            ..Work::default()
        }
    }

    /// A batch of so many rows that does not exist yet, for `explain`: payload is not counted.
    pub(crate) fn typical_work(&self, host: &Binding, rows: u64) -> Work {
        let bits = |column: &unlade_program::Column| u64::from(column.ty.bits());
        let bits_in: u64 = host.lowered.program.columns.iter().map(bits).sum();
        let share = self.selectivity().share();
        Work {
            key: self.key,
            rows,
            cost_per_row: self.cost_per_row,
            bytes_in: rows * bits_in / 8,
            bytes_out: rows.div_ceil(8)
                + (rows as f64 * self.bits_out_per_row * share / 8.0) as u64,
            ..Work::default()
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

    /// Learns from a batch that ran on the CPU.
    pub(crate) fn ran_inline(
        &self,
        runtime: &Core,
        device: DeviceIndex,
        work: &Work,
        taken: Duration,
        rows_out: u64,
    ) {
        self.selectivity().observe(rows_out, work.rows);
        let measured = Measured {
            compute: Some(taken),
            ..Measured::default()
        };
        lock(&runtime.placer).observe(device, work, &measured);
    }

    /// Learns from a batch, or a probe, that ran on a device.
    pub(crate) fn ran_on_device(
        &self,
        runtime: &Core,
        device: DeviceIndex,
        work: &Work,
        tally: &Tally,
    ) {
        let parts = || tally.parts.iter().filter(|part| part.path == Path::Queued);
        let measured = Measured {
            copy_in: Some(parts().map(|part| part.copy_in).sum()),
            compute: Some(parts().map(|part| part.compute).sum()),
            copy_out: Some(parts().map(|part| part.copy_out).sum()),
            ..Measured::default()
        };
        lock(&runtime.placer).observe(device, work, &measured);
    }

    /// Learns how many rows the filter keeps.
    pub(crate) fn selected(&self, rows_out: u64, rows: u64) {
        self.selectivity().observe(rows_out, rows);
    }

    fn selectivity(&self) -> MutexGuard<'_, Selectivity> {
        lock(&self.selectivity)
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

fn cost_per_row(program: &Program) -> f64 {
    let costs = program
        .insts
        .iter()
        .map(|inst| match Op::of(inst).row().cost {
            Cost::Source => 0.0,
            Cost::Simple => 1.0,
            Cost::Multiply => 2.0,
            Cost::Divide => 8.0,
            Cost::Gather => 4.0,
        });
    costs.sum::<f64>().max(1.0)
}

fn type_class(program: &Program) -> TypeClass {
    let types = || program.columns.iter().map(|column| column.ty);
    if types().any(|ty| ty == Ty::I128) {
        TypeClass::Decimal
    } else if types().any(Ty::is_float) {
        TypeClass::Float
    } else if types().any(|ty| ty.bits() > 32) {
        TypeClass::Wide
    } else {
        TypeClass::Narrow
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
