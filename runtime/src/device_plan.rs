//! A query on a device behind a queue: which parts of it run there, and a batch through them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, NullBuffer};
use arrow_schema::SchemaRef;
use unlade_expr::{Checked, Destination, Lowered, OutputColumn, Payload};
use unlade_hal::{CompileError, DeviceLost, Entries, EntryLimits, Timestamp, Timing};
use unlade_program::{LargeSet, On, Part, Program, ShapeHash, Split, Trap, split};

use crate::arrays;
use crate::bind::Binding;
use crate::call::Call;
use crate::device_slot::DeviceSlot;
use crate::driver::Point;
use crate::errand::{Errand, Waited};
use crate::error::Error;
use crate::halving::in_halves;
use crate::inline::{self, Evaluated, InlineFailure, Results};
use crate::metrics::KernelMetrics;
use crate::offload::{self, OffloadFailure, Offloaded};
use crate::parts::{Arguments, Brings, Collected, PlannedPart, PlannedStrings, arguments, lacks};
use crate::placement::DeviceIndex;
use crate::receipt::{PartReceipt, Path, Reason};
use crate::resident::OnDevice;
use crate::runtime::Core;
use crate::strings::offset_width;
use crate::sync::{Mutex, MutexGuard, lock};

/// How a device runs a query, alone or with the CPU.
#[derive(Debug)]
pub(crate) struct DevicePlan {
    /// Position of the device.
    pub(crate) slot: usize,
    pub(crate) binding: Binding,
    input: SchemaRef,
    pub(crate) payload: Payload,
    pub(crate) split: Split,
    /// Why this device.
    pub(crate) reason: Reason,
    pub(crate) metrics: KernelMetrics,
    compiled: Mutex<Compiled>,
}

/// Parts that are being compiled.
type Compiling = Errand<Result<Vec<PlannedPart>, CompileError>>;

/// The parts, compiled; void once the device was reset.
#[derive(Debug, Default)]
struct Compiled {
    generation: u64,
    parts: Option<Result<Arc<Vec<PlannedPart>>, CompileError>>,
    /// Compiles them, until somebody has taken what came of it.
    pending: Option<Arc<Compiling>>,
}

/// The parts, or why there are none yet.
pub(crate) enum Parts {
    Ready(Arc<Vec<PlannedPart>>),
    Compiling,
    Failed(CompileError),
    /// The device's compiler takes longer than it may.
    Late(DeviceLost),
    /// Whoever wants them does not any more.
    GivenUp,
}

/// How far the parts are, without compiling them.
#[derive(Debug)]
pub(crate) enum Readiness {
    Ready,
    Compiling,
    Failed(CompileError),
    /// So many instructions are still to be compiled for the device.
    Uncompiled {
        instructions: usize,
    },
}

impl Compiled {
    /// Takes what came of compiling, once that has ended.
    fn collect(&mut self) {
        if let Some(ended) = self.pending.take_if(|errand| errand.has_ended()) {
            let nothing = || CompileError::Failed("its compiler ended without a word".to_owned());
            let parts = ended.take().unwrap_or_else(|| Err(nothing()));
            self.parts = Some(parts.map(Arc::new));
        }
    }

    fn parts(&self) -> Option<Parts> {
        self.parts.as_ref().map(|parts| match parts {
            Ok(parts) => Parts::Ready(Arc::clone(parts)),
            Err(error) => Parts::Failed(error.clone()),
        })
    }
}

/// What running a batch has cost so far on all devices that had it, in whatever way it ends.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// When it was handed over, where something was done for it before it came to a device.
    pub(crate) since: Option<Timestamp>,
    /// Why the device was chosen for this batch, where that is not the plan's own reason.
    pub(crate) reason: Option<Reason>,
    pub(crate) parts: Vec<PartReceipt>,
    pub(crate) bytes_to_device: u64,
    pub(crate) bytes_from_device: u64,
    /// Time of the host's, by the runtime's clock, copying columns to where a device reads them.
    pub(crate) staged: Duration,
    /// The same, making the output of what a device gave back.
    pub(crate) gathered: Duration,
    pub(crate) retries: u32,
}

impl Tally {
    /// How long a device worked for the parts from the `earlier` first ones on, copies included;
    /// `None` where it does not tell.
    pub(crate) fn device_time(&self, earlier: usize, device: &DeviceSlot) -> Option<Duration> {
        let parts = self.parts[earlier..].iter();
        parts
            .filter(|part| part.device == device.name)
            .filter_map(PartReceipt::device_time)
            .reduce(|sum, each| sum + each)
    }
}

/// Why a device has no result for a batch.
#[derive(Debug)]
pub(crate) enum DeviceFailure {
    /// A row of the batch has none; which, and why, is still to be found by the CPU where `None`.
    Trap(Option<Trap>),
    /// The device failed.
    Fault(DeviceLost),
    /// Not even one row fits into its memory.
    OutOfMemory,
    /// It lacks this for what the batch brings with it, however few rows it has.
    Lacks(Arc<str>),
    /// Nobody waits for it any more; the device still has the list.
    GivenUp(Point),
    /// It cannot be had anywhere else either.
    Error(Error),
}

impl DeviceFailure {
    /// Whether fewer bytes would fare better.
    pub(crate) fn is_want_of_memory(&self) -> bool {
        matches!(
            self,
            DeviceFailure::OutOfMemory | DeviceFailure::Error(Error::Exhausted(_))
        )
    }
}

impl From<Error> for DeviceFailure {
    fn from(error: Error) -> Self {
        DeviceFailure::Error(error)
    }
}

impl DevicePlan {
    /// Lowers the query for a device and batches in the host's memory, and cuts off what the device
    /// lacks.
    pub(crate) fn new(
        runtime: &Core,
        slot: usize,
        checked: &Checked,
        reason: Reason,
    ) -> Result<Self, Error> {
        let device = &runtime.devices[slot];
        let capabilities = device.device.capabilities();
        // Where nothing crosses a bus, the device compacts what it has in its hands anyway.
        let payload = match capabilities.coherent && capabilities.compaction {
            true if device.is_coherent() && capabilities.strings => Payload::FusedWithStrings,
            true => Payload::Fused,
            false => Payload::Late,
        };
        let plan = DevicePlan::with(runtime, slot, checked, reason.clone(), payload)?;
        match plan.is_whole() || payload != Payload::FusedWithStrings {
            true => Ok(plan),
            // Which rows are kept is known only behind the last part, which another device runs.
            false => DevicePlan::with(runtime, slot, checked, reason, Payload::Fused),
        }
    }

    /// The same for batches that lie in the device's own memory: it compacts what it can of them
    /// there, so that only what is kept crosses the bus. `None` where the program does not run there
    /// as a whole; then the mask crosses.
    pub(crate) fn for_resident(
        runtime: &Core,
        slot: usize,
        checked: &Checked,
    ) -> Result<Option<Self>, Error> {
        let capabilities = runtime.devices[slot].device.capabilities();
        let payload = match capabilities.strings {
            _ if !capabilities.compaction => return Ok(None),
            true => Payload::FusedWithStrings,
            false => Payload::Fused,
        };
        let plan = DevicePlan::with(runtime, slot, checked, Reason::Resident, payload)?;
        Ok(plan.is_whole().then_some(plan))
    }

    fn with(
        runtime: &Core,
        slot: usize,
        checked: &Checked,
        reason: Reason,
        payload: Payload,
    ) -> Result<Self, Error> {
        let capabilities = runtime.devices[slot].device.capabilities();
        let lowered = unlade_expr::lower(checked, payload)?;
        let split = split(
            &lowered.program,
            &capabilities.cells,
            capabilities.max_insts as usize,
            &large_sets(&lowered, &capabilities.entries),
        );
        Ok(DevicePlan {
            slot,
            binding: Binding::new(lowered, &checked.input),
            input: Arc::clone(&checked.input),
            payload,
            split,
            reason,
            metrics: KernelMetrics::new(&runtime.devices[slot]),
            compiled: Mutex::default(),
        })
    }

    /// Whether the device runs all of the program.
    fn is_whole(&self) -> bool {
        matches!(&self.split.parts[..], [part] if part.on == On::Device)
    }

    /// How the results of a part come to the host. What is not resident comes with the list: it was
    /// sent, and is as large.
    fn brings(&self, checked: &Checked, arguments: &Arguments<'_>) -> Brings {
        if arguments.resident.is_none() || self.payload == Payload::Late || !self.is_whole() {
            return Brings::Everything;
        }
        let compacted = |column: usize| {
            let mut strings = arguments.strings.iter();
            strings.any(|strings| strings.planned.column == column)
        };
        let by_mask = |destination: &Destination| match *destination {
            Destination::Payload { column } => !compacted(column),
            Destination::Program { .. } | Destination::Keys { .. } => false,
        };
        let mask = checked.emit_mask || self.binding.lowered.outputs.iter().any(by_mask);
        Brings::Kept { mask }
    }

    /// Bytes of payload among what a part has put out: what its device has compacted.
    fn payload_bytes(&self, checked: &Checked, part: &PlannedPart, results: &Results) -> u64 {
        let size = |values: usize, nulls: Option<&NullBuffer>| {
            values as u64 + arrays::validity_size(nulls)
        };
        let destinations = self.binding.lowered.outputs.iter().zip(&checked.columns);
        let payload = destinations.filter_map(|(destination, column)| match *destination {
            Destination::Program { output } | Destination::Keys { output, .. }
                if matches!(column, OutputColumn::Payload(_)) =>
            {
                let mut own = part.outputs.iter().zip(&results.outputs);
                let (_, written) = own.find(|(of, _)| usize::from(**of) == output)?;
                Some(size(written.values.len(), written.nulls.as_ref()))
            }
            Destination::Payload { column } => {
                let mut strings = results.strings.iter();
                let written = strings.find(|strings| strings.column == column)?;
                let validity = self.binding.validity_of_strings(column).and_then(|output| {
                    let bits = results.outputs[output].values.clone();
                    arrays::nulls(bits, results.kept)
                });
                Some(written.size() + arrays::validity_size(validity.as_ref()))
            }
            Destination::Program { .. } | Destination::Keys { .. } => None,
        });
        payload.sum()
    }

    /// What the device lacks, if it can do none of it.
    pub(crate) fn refuses(&self, slot: &DeviceSlot) -> Option<Arc<str>> {
        if self.split.parts.iter().all(|part| part.on == On::Cpu) {
            return Some(lacks(&self.split));
        }
        let device = self.split.parts.iter().filter(|part| part.on == On::Device);
        let makes_columns =
            |program: &Program| program.keep.is_some() && !program.outputs.is_empty();
        let compacts = device.into_iter().any(|part| makes_columns(&part.program));
        (compacts && !slot.device.capabilities().compaction).then(|| "compaction of columns".into())
    }

    /// What the device lacks, if anything.
    pub(crate) fn lacks(&self) -> Option<Arc<str>> {
        (!self.split.lacks.is_empty()).then(|| lacks(&self.split))
    }

    /// The compiled parts. They are compiled on a thread of their own, which a caller waits for as long as
    /// its call goes on, unless the CPU is to stand in meanwhile.
    pub(crate) fn parts(self: &Arc<Self>, call: &Call<'_>) -> Parts {
        let runtime = call.runtime;
        let slot = &runtime.devices[self.slot];
        let generation = slot.generation.load(Ordering::Acquire);
        let pending = {
            let mut compiled = self.lock();
            if compiled.generation != generation {
                *compiled = Compiled {
                    generation,
                    ..Compiled::default()
                };
            }
            compiled.collect();
            if let Some(parts) = compiled.parts() {
                return parts;
            }
            let begin = || {
                let (plan, core) = (Arc::clone(self), Arc::clone(runtime));
                Arc::new(Errand::begin(move || plan.compile(&core)))
            };
            Arc::clone(compiled.pending.get_or_insert_with(begin))
        };
        if runtime.options.background_compile {
            return Parts::Compiling;
        }
        let within = runtime.options.patience().driver;
        let waited = pending.wait(within, || call.check().is_err());
        let mut compiled = self.lock();
        compiled.collect();
        match (compiled.parts(), waited) {
            (Some(parts), _) => parts,
            (None, Waited::Late) => {
                let reason = format!("its compiler gave nothing within {within:?}");
                Parts::Late(offload::lost(slot, reason))
            }
            (None, Waited::GivenUp) => Parts::GivenUp,
            // It was reset meanwhile.
            (None, Waited::Ended) => Parts::Compiling,
        }
    }

    /// How far the parts are; nothing is compiled.
    pub(crate) fn readiness(&self, runtime: &Core) -> Readiness {
        let slot = &runtime.devices[self.slot];
        let generation = slot.generation.load(Ordering::Acquire);
        {
            let mut compiled = self.lock();
            compiled.collect();
            let current = compiled.generation == generation;
            match &compiled.parts {
                Some(Ok(_)) if current => return Readiness::Ready,
                Some(Err(error)) if current => return Readiness::Failed(error.clone()),
                _ if current && compiled.pending.is_some() => return Readiness::Compiling,
                _ => {}
            }
        }
        let parts = self.split.parts.iter().filter(|part| part.on == On::Device);
        let of_others = |part: &&Part| {
            let shape = ShapeHash::of(&part.program);
            runtime.executables.has(&slot.name, shape)
        };
        let left = parts.filter(|part| !of_others(part));
        Readiness::Uncompiled {
            instructions: left.map(|part| part.program.insts.len()).sum(),
        }
    }

    fn compile(&self, runtime: &Core) -> Result<Vec<PlannedPart>, CompileError> {
        let parts = self.split.parts.iter().map(|part| {
            PlannedPart::new(part, &self.binding, |shape, program| {
                let slot = match part.on {
                    On::Device => &runtime.devices[self.slot],
                    On::Cpu => runtime.cpu().ok_or_else(|| {
                        CompileError::Failed("there is no CPU for what the device lacks".to_owned())
                    })?,
                };
                let compiled = runtime.executables.get(
                    &*slot.device,
                    &slot.name,
                    shape,
                    program,
                    &*runtime.clock,
                )?;
                if let (On::Device, Some(took)) = (part.on, compiled.took) {
                    let device = DeviceIndex(self.slot);
                    lock(&runtime.placer).compiled(device, program.insts.len(), took);
                }
                Ok(compiled.executable)
            })
        });
        let mut parts: Vec<PlannedPart> = parts.collect::<Result<_, CompileError>>()?;
        if let ([part], true) = (&mut parts[..], self.is_whole()) {
            part.strings = self.compile_strings(runtime)?;
        }
        Ok(parts)
    }

    /// What compacts the query's columns of strings behind its program.
    fn compile_strings(&self, runtime: &Core) -> Result<Vec<PlannedStrings>, CompileError> {
        let device = &runtime.devices[self.slot].device;
        let strings = self.binding.lowered.strings.iter();
        let planned = strings.map(|strings| {
            let data_type = self.input.field(strings.column).data_type();
            let width = offset_width(data_type).expect("lowered as a column of strings");
            Ok(PlannedStrings {
                column: strings.column,
                executable: device.compile_strings(width)?,
            })
        });
        planned.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Compiled> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a batch. One that is too large for the device, or for what the host has left, is halved,
    /// as often as it takes.
    pub(crate) fn run(
        &self,
        call: &Call<'_>,
        parts: &[PlannedPart],
        checked: &Checked,
        batch: &RecordBatch,
        on_device: Option<&OnDevice>,
        tally: &mut Tally,
    ) -> Result<Evaluated, DeviceFailure> {
        let mut run = Run {
            plan: self,
            call,
            parts,
            checked,
            tally,
        };
        // What is resident is compacted as a whole, or by the mask.
        let by_halves = on_device.is_none() || self.payload == Payload::Late;
        let is_too_large = |failure: &DeviceFailure| by_halves && failure.is_want_of_memory();
        let memory = &call.session.memory;
        in_halves(batch, memory, is_too_large, |piece, first_row| {
            call.check()?;
            // What is resident are all rows of the batch.
            let on_device = on_device.filter(|_| piece.num_rows() == batch.num_rows());
            run.piece(piece, on_device).map_err(|failure| {
                let again = is_too_large(&failure) && piece.num_rows() > 1;
                run.tally.retries += u32::from(again);
                match failure {
                    DeviceFailure::Trap(Some(trap)) => {
                        let row = trap.row + first_row as u64;
                        DeviceFailure::Trap(Some(Trap { row, ..trap }))
                    }
                    other => other,
                }
            })
        })
    }

    /// Whether the device takes the tables of a batch, which come from its dictionaries, beside the
    /// query's sets.
    fn check_tables(
        &self,
        slot: &DeviceSlot,
        parts: &[PlannedPart],
        tables: &[Buffer],
    ) -> Result<(), DeviceFailure> {
        let limits = slot.device.capabilities().entries;
        for part in parts.iter().filter(|part| part.on == On::Device) {
            let sets = part.sets.iter();
            let sets = sets.map(|set| set_entries(&self.binding.lowered.sets[usize::from(*set)]));
            let of_batch = part.tables.iter().map(|table| &tables[usize::from(*table)]);
            let tables = of_batch.map(|table| Entries::Table(table.len() as u64));
            if let Some(excess) = limits.excess(sets.chain(tables)).next() {
                return Err(DeviceFailure::Lacks(format!("room for {excess}").into()));
            }
        }
        Ok(())
    }

    fn cpu_receipt(
        &self,
        runtime: &Core,
        lacking: &DeviceSlot,
        batch: &RecordBatch,
        taken: Duration,
    ) -> PartReceipt {
        PartReceipt {
            device: runtime
                .cpu()
                .map_or_else(|| "cpu".into(), |cpu| Arc::clone(&cpu.name)),
            path: Path::Fallback,
            reason: Reason::Unsupported {
                device: Arc::clone(&lacking.name),
                lacks: lacks(&self.split),
            },
            rows: batch.num_rows() as u64,
            completed: true,
            queued: Duration::ZERO,
            copy_in: Duration::ZERO,
            compute: taken,
            copy_out: Duration::ZERO,
            bytes_compacted: 0,
            clock: runtime.clock.kind(),
        }
    }
}

/// The query's sets for which a device has no room.
fn large_sets(lowered: &Lowered, limits: &EntryLimits) -> Vec<LargeSet> {
    let sets = lowered.sets.iter().map(|set| set_entries(set));
    let large = limits.excess(sets).map(|excess| LargeSet {
        set: u16::try_from(excess.position).expect("a program numbers its sets by 16 bits"),
        bytes: excess.entries.bytes(),
        most: excess.most,
    });
    large.collect()
}

fn set_entries(set: &[u8]) -> Entries {
    Entries::Set(set.len() as u64)
}

/// A batch on its way.
struct Run<'a> {
    plan: &'a DevicePlan,
    call: &'a Call<'a>,
    parts: &'a [PlannedPart],
    checked: &'a Checked,
    tally: &'a mut Tally,
}

impl Run<'_> {
    fn piece(
        &mut self,
        batch: &RecordBatch,
        on_device: Option<&OnDevice>,
    ) -> Result<Evaluated, DeviceFailure> {
        let Run {
            plan,
            call,
            parts,
            checked,
            tally,
        } = self;
        let (runtime, memory) = (call.runtime, &call.session.memory);
        let slot = &runtime.devices[plan.slot];
        let tables = plan.binding.dictionaries.tables(batch)?;
        plan.check_tables(slot, parts, &tables)?;
        let validities = plan.binding.validities(batch);
        let mut collected = Collected::of(plan.binding.lowered.program.outputs.len());
        for part in *parts {
            let mask = collected.mask.clone();
            let mut arguments = arguments(
                part,
                &plan.binding,
                batch,
                &validities,
                &tables,
                mask.as_ref(),
                on_device.filter(|_| part.on == On::Device),
            )?;
            arguments.reach_strings(part, batch, on_device, slot.is_coherent());
            arguments.brings = plan.brings(checked, &arguments);
            let results = match part.on {
                On::Cpu => {
                    let start = runtime.clock.now();
                    let results = inline::execute_part(part, &arguments, memory);
                    let results = results.map_err(|failure| match failure {
                        InlineFailure::Trap(_) => DeviceFailure::Trap(None),
                        InlineFailure::Error(error) => DeviceFailure::Error(error),
                    })?;
                    let taken = runtime.clock.now().since(start);
                    tally
                        .parts
                        .push(plan.cpu_receipt(runtime, slot, batch, taken));
                    results
                }
                On::Device => {
                    let offloaded = offload::run(slot, part, &arguments, call);
                    let Offloaded {
                        results,
                        timing,
                        staged,
                        bytes_to_device,
                        bytes_from_device,
                    } = offloaded.map_err(|failure| match failure {
                        OffloadFailure::Trap(trap) if parts.len() == 1 => {
                            DeviceFailure::Trap(Some(trap))
                        }
                        OffloadFailure::Trap(_) => DeviceFailure::Trap(None),
                        OffloadFailure::Fault(lost) => DeviceFailure::Fault(lost),
                        OffloadFailure::OutOfMemory => DeviceFailure::OutOfMemory,
                        OffloadFailure::GivenUp(point) => DeviceFailure::GivenUp(point),
                        OffloadFailure::Error(error) => DeviceFailure::Error(error),
                    })?;
                    tally.staged += staged;
                    tally.bytes_to_device += bytes_to_device;
                    tally.bytes_from_device += bytes_from_device;
                    let reason = tally.reason.clone().unwrap_or_else(|| plan.reason.clone());
                    tally.parts.push(PartReceipt {
                        bytes_compacted: plan.payload_bytes(checked, part, &results),
                        ..device_receipt(slot, reason, batch, timing)
                    });
                    results
                }
            };
            collected.add(part, results);
        }
        let results = collected.finish();
        let start = runtime.clock.now();
        let evaluated = inline::assemble(&plan.binding, checked, batch, results, memory);
        tally.gathered += runtime.clock.now().since(start);
        evaluated.map_err(|error| match error {
            // The batch's own columns are arrays already.
            Error::Malformed(wrong) => DeviceFailure::Fault(offload::lost(
                slot,
                format!("what it wrote makes no array: {wrong}"),
            )),
            error => DeviceFailure::Error(error),
        })
    }
}

fn device_receipt(
    slot: &DeviceSlot,
    reason: Reason,
    batch: &RecordBatch,
    timing: Timing,
) -> PartReceipt {
    PartReceipt {
        device: Arc::clone(&slot.name),
        path: Path::Queued,
        reason,
        rows: batch.num_rows() as u64,
        completed: true,
        queued: timing.queued,
        copy_in: timing.copy_in,
        compute: timing.compute,
        copy_out: timing.copy_out,
        bytes_compacted: 0,
        clock: timing.clock.unwrap_or(slot.clock),
    }
}

/// A part's receipt where its device failed.
pub(crate) fn failed_receipt(slot: &DeviceSlot, reason: Reason, rows: usize) -> PartReceipt {
    PartReceipt {
        device: Arc::clone(&slot.name),
        path: Path::Queued,
        reason,
        rows: rows as u64,
        completed: false,
        queued: Duration::ZERO,
        copy_in: Duration::ZERO,
        compute: Duration::ZERO,
        copy_out: Duration::ZERO,
        bytes_compacted: 0,
        clock: slot.clock,
    }
}
