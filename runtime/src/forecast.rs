//! What a batch of one query is predicted to take, and what is learnt from it.

use std::time::Duration;

use arrow_array::RecordBatch;
use unlade_expr::{Checked, Destination, OutputColumn};
use unlade_hal::Slab;
use unlade_program::{Cost, Op, Program, ShapeHash, Ty};

use crate::arrays;
use crate::bind::Binding;
use crate::device_slot::DeviceSlot;
use crate::placement::{
    Candidates, DeviceIndex, HostBuffer, Load, Measured, Operation, ProgramId, Selectivity,
    TypeClass, Work, WorkKey,
};
use crate::receipt::{PartReceipt, Path, Receipt};
use crate::runtime::Core;
use crate::sync::{Mutex, MutexGuard, lock};

/// What became of a batch that was meant for a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RanOnDevice<'a> {
    pub(crate) parts: &'a [PartReceipt],
    pub(crate) staged: Duration,
    pub(crate) gathered: Duration,
}

impl<'a> RanOnDevice<'a> {
    /// By its receipt.
    pub(crate) fn of(receipt: &'a Receipt) -> Self {
        RanOnDevice {
            parts: &receipt.parts,
            staged: receipt.staged,
            gathered: receipt.gathered,
        }
    }
}

/// What predictions need to know of one query.
#[derive(Debug)]
pub(crate) struct Forecast {
    key: WorkKey,
    program: ProgramId,
    cost_per_row: f64,
    bits_out_per_row: f64,
    selectivity: Mutex<Selectivity>,
}

impl Forecast {
    /// Of a query whose program has this shape.
    pub(crate) fn new(checked: &Checked, host: &Binding, shape: &ShapeHash) -> Self {
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
        Forecast {
            key: WorkKey {
                operation,
                ty: type_class(program),
            },
            program: program_id(shape),
            cost_per_row: cost_per_row(program),
            bits_out_per_row: computed_bits.sum::<f64>(),
            selectivity: Mutex::default(),
        }
    }

    /// A batch as far as its cost is concerned. `slab` is what devices reach of the host's memory.
    pub(crate) fn work(&self, host: &Binding, batch: &RecordBatch, slab: Option<&Slab>) -> Work {
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
            program: Some(self.program),
            rows,
            cost_per_row: self.cost_per_row,
            bytes_in,
            bytes_out: rows.div_ceil(8)
                + (rows as f64 * self.bits_out_per_row * share / 8.0) as u64,
            bytes_gathered: (payload as f64 * share) as u64,
            buffer: match slab {
                Some(slab) if host.reads_only(slab, batch) => HostBuffer::Pinned,
                _ => HostBuffer::Pageable,
            },
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
            program: Some(self.program),
            rows,
            cost_per_row: self.cost_per_row,
            bytes_in: rows * bits_in / 8,
            bytes_out: rows.div_ceil(8)
                + (rows as f64 * self.bits_out_per_row * share / 8.0) as u64,
            ..Work::default()
        }
    }

    /// What a batch is predicted to take on one device, without others to compare it with: by the
    /// device's clock, so that where it is not the runtime's the host's part is left out.
    pub(crate) fn of(&self, runtime: &Core, device: DeviceIndex, work: &Work) -> Duration {
        let candidates = self.on_idle_devices(runtime, work);
        let candidate = candidates.iter().nth(device.0);
        let candidate = candidate.expect("one for every device");
        candidate.predicted(runtime.clock.kind())
    }

    /// What a batch is predicted to take on every device that has nothing else to do.
    pub(crate) fn on_idle_devices(&self, runtime: &Core, work: &Work) -> Candidates {
        let loads = vec![Load::default(); runtime.devices.len()];
        lock(&runtime.placer).predict(work, &loads)
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

    /// Learns from a batch, or a probe, that was meant for a device; nothing where the device failed
    /// or did not come to run any of it.
    pub(crate) fn ran_on_device(
        &self,
        runtime: &Core,
        device: DeviceIndex,
        work: &Work,
        ran: &RanOnDevice<'_>,
    ) {
        let RanOnDevice {
            parts,
            staged,
            gathered,
        } = *ran;
        let all_completed = parts.iter().all(|part| part.completed);
        let DeviceSlot { name, clock, .. } = &runtime.devices[device.0];
        let ran = |part: &&PartReceipt| part.path == Path::Queued && part.device == *name;
        let parts = || parts.iter().filter(ran);
        if !all_completed || parts().next().is_none() || !parts().all(PartReceipt::is_timed) {
            return;
        }
        // The host's part is by its own clock.
        let same_clock = *clock == runtime.clock.kind();
        let measured = Measured {
            stage: same_clock.then_some(staged),
            copy_in: Some(parts().map(|part| part.copy_in).sum()),
            compute: Some(parts().map(|part| part.compute).sum()),
            copy_out: Some(parts().map(|part| part.copy_out).sum()),
            gather: same_clock.then_some(gathered),
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

fn program_id(shape: &ShapeHash) -> ProgramId {
    let first = shape.as_bytes().first_chunk().expect("16 bytes");
    ProgramId(u64::from_le_bytes(*first))
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
