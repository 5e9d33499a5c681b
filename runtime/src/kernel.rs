//! Kernels: compiled queries, and what they make of batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions, RecordBatchReader};
use arrow_schema::SchemaRef;
use unlade_expr::{Checked, Dialect, Query, Semantics};
use unlade_hal::{DeviceLost, Timestamp};
use unlade_naive::Description;
use unlade_program::{ShapeHash, Trap};

use crate::arrays::{self, malformed};
use crate::auto::{self, AutoRoute};
use crate::bind::{Binding, check_schema};
use crate::device_plan::{DeviceFailure, DevicePlan, Parts, Tally, failed_receipt};
use crate::error::{DataError, Error};
use crate::explain::{self, Explain};
use crate::inline::{self, Evaluated, InlineFailure};
use crate::metrics::KernelMetrics;
use crate::offload;
use crate::options::Fallback;
use crate::placement::{DeviceIndex, Work};
use crate::receipt::{PartReceipt, Path, Reason, Receipt, Verified};
use crate::resident::{OnDevice, Resident, ResidentCore};
use crate::route::{HostPlan, Route};
use crate::runtime::{Core, DeviceSlot};
use crate::scheduler::Permit;
use crate::stream::KernelStream;
use crate::ticket::{Ticket, ticket};
use crate::trace::{self, TraceEvent};
use crate::workers::panic_message;

/// A query compiled for batches of one schema. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(crate) core: Arc<KernelCore>,
}

/// One kernel: a plan, and a count of the batches it was given.
#[derive(Debug)]
pub(crate) struct KernelCore {
    pub(crate) runtime: Arc<Core>,
    pub(crate) number: u64,
    pub(crate) plan: Arc<Plan>,
    batches: AtomicU64,
}

/// A compiled query. Kernels of one query share it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) checked: Checked,
    pub(crate) dialect: Dialect,
    pub(crate) shape: ShapeHash,
    /// How the CPU runs it, if there is one.
    pub(crate) host: Option<HostPlan>,
    pub(crate) route: Route,
    pub(crate) metrics: KernelMetrics,
    /// Plans for devices on which data was found, at most one for each.
    resident_plans: Mutex<Vec<Arc<DevicePlan>>>,
}

impl std::ops::Deref for KernelCore {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Output {
    /// The query's columns, for the rows it keeps.
    pub batch: RecordBatch,
    /// Which rows it keeps, one bit per row of the input; where the query asks for it.
    pub mask: Option<BooleanArray>,
    /// What ran where, why, and what it cost.
    pub receipt: Receipt,
}

impl Kernel {
    pub(crate) fn compile(
        runtime: &Arc<Core>,
        query: &Query,
        schema: &SchemaRef,
        semantics: &Semantics,
    ) -> Result<Self, Error> {
        let plan = runtime.plans.get_or_make(query, schema, semantics, || {
            Plan::new(runtime, query, schema, semantics)
        })?;
        Ok(Kernel {
            core: Arc::new(KernelCore {
                runtime: Arc::clone(runtime),
                number: runtime.next_kernel(),
                plan,
                batches: AtomicU64::new(0),
            }),
        })
    }

    /// Runs the query on a batch; on the calling thread where that is the CPU's part.
    ///
    /// # Errors
    /// [`Error::Schema`] for a batch of another schema; [`Error::Data`] where a row has no result;
    /// [`Error::Exhausted`] without memory; [`Error::DeviceFault`] where a device failed and
    /// nothing else may take its work.
    pub fn run(&self, batch: &RecordBatch) -> Result<Output, Error> {
        self.core.run(batch)
    }

    /// Runs the query on every batch that was pinned, in order, where they lie.
    ///
    /// # Errors
    /// As [`run`](Kernel::run), for the first batch that has one.
    pub fn run_resident(&self, resident: &Resident) -> Result<Vec<Output>, Error> {
        let core = &resident.core;
        if !Arc::ptr_eq(&core.runtime, &self.core.runtime) {
            return Err(Error::Config("pinned by another runtime".to_owned()));
        }
        if let Some(first) = core.batches.first() {
            check_schema(&self.core.checked.input, first)?;
        }
        (0..core.batches.len())
            .map(|position| self.core.run_resident(core, position))
            .collect()
    }

    /// Hands a batch over; the result comes with the ticket.
    ///
    /// # Errors
    /// [`Error::Schema`] for a batch of another schema, [`Error::Limit`] where too many tickets are
    /// not done; the batch's own errors come with the ticket.
    pub fn submit(&self, batch: RecordBatch) -> Result<Ticket, Error> {
        unlade_hal::fork::check()?;
        check_schema(&self.core.checked.input, &batch)?;
        let place = TicketPlace::take(&self.core.runtime)?;
        let (ticket, completer) = ticket();
        let core = Arc::clone(&self.core);
        self.core.runtime.workers.spawn(move || {
            let outcome = if completer.is_cancelled() {
                Err(Error::Cancelled)
            } else {
                catch_unwind(AssertUnwindSafe(|| core.run(&batch)))
                    .unwrap_or_else(|panic| Err(Error::Panicked(panic_message(panic))))
            };
            drop((batch, place, core));
            completer.complete(outcome);
        });
        Ok(ticket)
    }

    /// Runs the query on every batch of a reader: results in order, computed on as many threads
    /// as the runtime was given, with a bounded number of batches in flight.
    pub fn stream<R: RecordBatchReader + Send + 'static>(&self, reader: R) -> KernelStream {
        KernelStream::new(self.clone(), reader)
    }

    /// What runs where, and why; nothing is run.
    pub fn explain(&self) -> Explain {
        explain::explain(&self.core)
    }

    /// The schema of the batches that it makes.
    pub fn schema(&self) -> &SchemaRef {
        &self.core.checked.output
    }

    /// The schema of the batches that it takes.
    pub fn input_schema(&self) -> &SchemaRef {
        &self.core.checked.input
    }

    /// The columns of a batch that it reads, ascending. A reader need not decode the others, but
    /// must leave something in their place: positions count.
    pub fn input_columns(&self) -> Vec<usize> {
        self.core.binding().input_columns()
    }

    /// Names the program whatever its literals are.
    pub fn shape(&self) -> ShapeHash {
        self.core.shape
    }

    /// The query as it was understood.
    pub fn checked(&self) -> &Checked {
        &self.core.checked
    }
}

impl Plan {
    fn new(
        runtime: &Core,
        query: &Query,
        schema: &SchemaRef,
        semantics: &Semantics,
    ) -> Result<Self, Error> {
        let checked = unlade_expr::check(query, schema, semantics)?;
        // Without a CPU a device has to do it all.
        let host = HostPlan::new(runtime, &checked);
        let host_plan = host.as_ref().ok().map(|(host, _)| host);
        let route = Route::choose(runtime, &checked, host_plan)?;
        let (host, shape) = match (host, &route.device) {
            (Ok((host, shape)), _) => (Some(host), shape),
            (Err(_), Some(plan)) => (None, ShapeHash::of(&plan.binding.lowered.program)),
            (Err(error), None) => return Err(error),
        };
        let device = host.as_ref().map(|host| &host.device);
        Ok(Plan {
            shape,
            metrics: KernelMetrics::new(device.unwrap_or(&runtime.devices[0].name)),
            host,
            route,
            dialect: semantics.dialect,
            checked,
            resident_plans: Mutex::default(),
        })
    }
}

impl KernelCore {
    /// Runs a batch.
    pub(crate) fn run(&self, batch: &RecordBatch) -> Result<Output, Error> {
        unlade_hal::fork::check()?;
        check_schema(&self.checked.input, batch)?;
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        let _span = tracing::trace_span!("batch", kernel = self.number, batch = number).entered();
        let result = match (&self.route.device, &self.route.auto) {
            (None, None) => {
                let (reason, path) = self.route.inline.clone();
                self.run_inline(batch, number, reason, path)
            }
            (Some(plan), _) => self.run_on_device(plan, batch, number, None, &mut Tally::default()),
            (None, Some(auto)) => self.run_where_fastest(auto, batch, number),
        };
        if result.is_err() {
            self.metrics.error();
        }
        result
    }

    /// Runs a pinned batch where it lies.
    fn run_resident(&self, resident: &ResidentCore, position: usize) -> Result<Output, Error> {
        let batch = &resident.batches[position];
        let Some(slot) = resident.slot else {
            return self.run(batch);
        };
        unlade_hal::fork::check()?;
        let plan = self.plan_for_resident(slot)?;
        if plan.refuses(&self.runtime.devices[slot]).is_some() {
            return self.run(batch);
        }
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        // Brought back where it was evicted; without room the batch is staged as any other.
        let there = resident.on_device(&self.runtime, position);
        let mut tally = Tally::default();
        if there.is_none() {
            let device = Arc::clone(&self.runtime.devices[slot].name);
            tally.reason = Some(Reason::Evicted { device });
        }
        let result = self.run_on_device(&plan, batch, number, there.as_deref(), &mut tally);
        if result.is_err() {
            self.metrics.error();
        }
        result
    }

    /// How the device on which data lies runs the query; lowered when first asked for.
    fn plan_for_resident(&self, slot: usize) -> Result<Arc<DevicePlan>, Error> {
        let mut plans = self
            .resident_plans
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.iter().find(|plan| plan.slot == slot) {
            return Ok(Arc::clone(plan));
        }
        let plan = DevicePlan::new(&self.runtime, slot, &self.checked, Reason::Resident)?;
        let plan = Arc::new(plan);
        plans.push(Arc::clone(&plan));
        Ok(plan)
    }

    /// What is bound for the CPU; without one, for the device.
    pub(crate) fn binding(&self) -> &Binding {
        let device = self.route.device.as_ref().map(|plan| &plan.binding);
        let host = self.host.as_ref().map(|host| &host.binding);
        host.or(device).expect("a kernel runs somewhere")
    }

    /// Runs a batch of the right schema where placement predicts it to be done first.
    fn run_where_fastest(
        &self,
        auto: &AutoRoute,
        batch: &RecordBatch,
        number: u64,
    ) -> Result<Output, Error> {
        let runtime = &self.runtime;
        let work = auto.work(self.binding(), batch);
        let Some(choice) = auto.choose(runtime, &work) else {
            return self.run_inline(batch, number, Reason::OnlyCandidate, Path::Inline);
        };
        let reason = auto::reason(&choice);
        let chosen = choice.candidates.iter().nth(choice.device.0);
        let predicted = chosen.map(|candidate| candidate.terms.latency());
        let mut output = match &auto.plans[choice.device.0] {
            Some(plan) => {
                let mut tally = Tally {
                    reason: Some(reason),
                    predicted,
                    ..Tally::default()
                };
                let output = self.run_on_device(plan, batch, number, None, &mut tally)?;
                if output.receipt.parts.iter().all(|part| part.completed) {
                    let measured = Tally {
                        parts: output.receipt.parts.clone(),
                        ..Tally::default()
                    };
                    auto.ran_on_device(runtime, choice.device, &work, &measured);
                }
                auto.selected(output.receipt.rows_out, work.rows);
                output
            }
            None => {
                let output = self.run_inline(batch, number, reason, Path::Inline)?;
                let Receipt {
                    taken, rows_out, ..
                } = output.receipt;
                auto.ran_inline(runtime, choice.device, &work, taken, rows_out);
                output
            }
        };
        output.receipt.predicted = predicted;
        if let Some(probe) = choice.probe {
            self.probe(auto, batch, probe.device, probe.rows, &work);
        }
        Ok(output)
    }

    /// Runs the start of a batch on a device that was not chosen, to learn how fast it is by now.
    fn probe(
        &self,
        auto: &AutoRoute,
        batch: &RecordBatch,
        device: DeviceIndex,
        rows: u64,
        work: &Work,
    ) {
        let runtime = &self.runtime;
        let slot = &runtime.devices[device.0];
        let rows = usize::try_from(rows)
            .unwrap_or(usize::MAX)
            .min(batch.num_rows());
        let work = work.slice(rows as u64);
        let slice = batch.slice(0, rows);
        let Some(plan) = &auto.plans[device.0] else {
            let start = runtime.clock.now();
            if let Some(host) = &self.host
                && let Some(executable) = host.executable.code()
            {
                let memory = &runtime.memory;
                let done =
                    inline::evaluate(executable, &host.binding, &self.checked, &slice, memory);
                if let Ok(done) = done {
                    let taken = runtime.clock.now().since(start);
                    auto.ran_inline(runtime, device, &work, taken, done.rows_out as u64);
                }
            }
            return;
        };
        let Some(permit) = runtime.enter(device.0, self.number, work.bytes_in) else {
            return;
        };
        let Parts::Ready(parts) = plan.parts(runtime) else {
            return;
        };
        let mut tally = Tally {
            reason: Some(Reason::Probe),
            ..Tally::default()
        };
        match plan.run(runtime, &parts, &self.checked, &slice, None, &mut tally) {
            Ok(_) => {
                permit.done();
                auto.ran_on_device(runtime, device, &work, &tally);
            }
            Err(DeviceFailure::Fault(lost)) => {
                slot.fault(&lost);
                let _ended = permit.lost();
            }
            // A probe that fails for the data's sake says nothing of the device.
            Err(_) => {}
        }
    }

    /// Runs a batch of the right schema on a device; on the CPU where the device cannot.
    fn run_on_device(
        &self,
        plan: &Arc<DevicePlan>,
        batch: &RecordBatch,
        number: u64,
        on_device: Option<&OnDevice>,
        tally: &mut Tally,
    ) -> Result<Output, Error> {
        let runtime = &self.runtime;
        let slot = &runtime.devices[plan.slot];
        let device = Arc::clone(&slot.name);
        let start = runtime.clock.now();
        let predicted = tally.predicted;
        let mut tally = std::mem::take(tally);
        let Some(permit) = runtime.enter(plan.slot, self.number, self.bytes_read(batch)) else {
            let lost = offload::lost(slot, "it failed and is not trusted yet".to_owned());
            return self.instead(batch, number, tally, Reason::Quarantined { device }, lost);
        };
        let parts = match plan.parts(runtime) {
            Parts::Ready(parts) => parts,
            Parts::Compiling => {
                drop(permit);
                let lost = offload::lost(slot, "its program is still being compiled".to_owned());
                return self.instead(batch, number, tally, Reason::Compiling { device }, lost);
            }
            Parts::Failed(error) => {
                drop(permit);
                let lost = offload::lost(slot, error.to_string());
                let reason = Reason::DeviceFault {
                    device,
                    reason: error.to_string().into(),
                };
                tally.retries += 1;
                return self.instead(batch, number, tally, reason, lost);
            }
        };
        let fault = |permit: Permit<'_>, mut tally: Tally, lost: DeviceLost| {
            slot.fault(&lost);
            let _ended = permit.lost();
            tally.retries += 1;
            tally
                .parts
                .push(failed_receipt(slot, plan.reason.clone(), batch.num_rows()));
            let device = Arc::clone(&slot.name);
            let reason = Reason::DeviceFault {
                device,
                reason: lost.reason.as_str().into(),
            };
            self.instead(batch, number, tally, reason, lost)
        };
        let evaluated = match plan.run(runtime, &parts, &self.checked, batch, on_device, &mut tally)
        {
            Ok(evaluated) => evaluated,
            Err(DeviceFailure::Error(error)) => return Err(error),
            Err(DeviceFailure::Fault(lost)) => return fault(permit, tally, lost),
            Err(DeviceFailure::OutOfMemory) => {
                drop(permit);
                let lost = offload::lost(slot, "one row does not fit into its memory".to_owned());
                tally.retries += 1;
                return self.instead(batch, number, tally, Reason::OutOfMemory { device }, lost);
            }
            Err(DeviceFailure::Trap(trap)) => {
                let error = match trap {
                    Some(trap) => Some(describe(&self.checked, self.dialect, batch, trap, 0)),
                    None => self.first_error(batch),
                };
                return match error.filter(|error| error.description.is_some()) {
                    Some(error) => {
                        permit.done();
                        Err(error.into())
                    }
                    None => {
                        let reason =
                            "it reported an error that evaluating the row again does not show";
                        fault(permit, tally, offload::lost(slot, reason.to_owned()))
                    }
                };
            }
        };
        permit.done();
        self.record_device(slot, number, &tally);
        let taken = runtime.clock.now().since(start);
        let receipt = Receipt {
            batch: number,
            rows_in: batch.num_rows() as u64,
            rows_out: evaluated.rows_out as u64,
            parts: tally.parts,
            bytes_in: evaluated.bytes_in,
            bytes_out: evaluated.bytes_out,
            bytes_copied: evaluated.bytes_copied,
            bytes_to_device: tally.bytes_to_device,
            bytes_from_device: tally.bytes_from_device,
            predicted,
            taken,
            clock: runtime.clock.kind(),
            host_cpu: None,
            retries: tally.retries,
            verified: Verified::Unverified,
        };
        plan.metrics.batch(&receipt);
        self.output(evaluated, receipt)
    }

    /// Bytes of the columns that the query reads.
    fn bytes_read(&self, batch: &RecordBatch) -> u64 {
        let columns = self.binding().lowered.columns.iter();
        columns
            .map(|column| arrays::byte_size(batch.column(*column)))
            .sum()
    }

    /// Runs on the CPU what was meant for a device, if that is allowed.
    fn instead(
        &self,
        batch: &RecordBatch,
        number: u64,
        tally: Tally,
        reason: Reason,
        lost: DeviceLost,
    ) -> Result<Output, Error> {
        if self.runtime.options.fallback == Fallback::Forbid || self.host.is_none() {
            return Err(Error::DeviceFault(lost));
        }
        let mut output = self.run_inline(batch, number, reason, Path::Fallback)?;
        output.receipt.retries += tally.retries;
        output.receipt.bytes_to_device += tally.bytes_to_device;
        output.receipt.bytes_from_device += tally.bytes_from_device;
        output.receipt.parts.splice(0..0, tally.parts);
        Ok(output)
    }

    /// The error of a batch of which some part trapped: the whole is run on the CPU to find it.
    fn first_error(&self, batch: &RecordBatch) -> Option<DataError> {
        let host = self.host.as_ref()?;
        let executable = host.executable.code()?;
        let memory = &self.runtime.memory;
        match inline::evaluate(executable, &host.binding, &self.checked, batch, memory) {
            Err(InlineFailure::Trap(trap)) => {
                Some(describe(&self.checked, self.dialect, batch, trap, 0))
            }
            _ => None,
        }
    }

    /// Runs a batch of the right schema on the CPU, on this thread.
    fn run_inline(
        &self,
        batch: &RecordBatch,
        number: u64,
        reason: Reason,
        path: Path,
    ) -> Result<Output, Error> {
        let clock = &self.runtime.clock;
        let start = clock.now();
        let host = self
            .host
            .as_ref()
            .expect("a route without a device has a CPU");
        let executable = host.executable.code().ok_or_else(|| {
            Error::Config(format!("`{}` is no CPU that can run inline", host.device))
        })?;
        let memory = &self.runtime.memory;
        let evaluated = inline::evaluate(executable, &host.binding, &self.checked, batch, memory)
            .map_err(|failure| match failure {
            InlineFailure::Error(error) => error,
            InlineFailure::Trap(trap) => {
                describe(&self.checked, self.dialect, batch, trap, 0).into()
            }
        })?;
        let taken = clock.now().since(start);
        self.record(number, start, taken);
        let part = PartReceipt {
            device: Arc::clone(&host.device),
            path,
            reason,
            rows: batch.num_rows() as u64,
            completed: true,
            queued: Duration::ZERO,
            copy_in: Duration::ZERO,
            compute: taken,
            copy_out: Duration::ZERO,
            clock: clock.kind(),
        };
        let receipt = Receipt {
            batch: number,
            rows_in: batch.num_rows() as u64,
            rows_out: evaluated.rows_out as u64,
            parts: vec![part],
            bytes_in: evaluated.bytes_in,
            bytes_out: evaluated.bytes_out,
            bytes_copied: evaluated.bytes_copied,
            bytes_to_device: 0,
            bytes_from_device: 0,
            predicted: None,
            taken,
            clock: clock.kind(),
            host_cpu: None,
            retries: 0,
            verified: Verified::Reference,
        };
        self.metrics.batch(&receipt);
        self.output(evaluated, receipt)
    }

    /// Columns and a receipt as an output.
    pub(crate) fn output(&self, evaluated: Evaluated, receipt: Receipt) -> Result<Output, Error> {
        let options = RecordBatchOptions::new().with_row_count(Some(evaluated.rows_out));
        let schema = Arc::clone(&self.checked.output);
        let batch = RecordBatch::try_new_with_options(schema, evaluated.columns, &options)
            .map_err(malformed)?;
        Ok(Output {
            batch,
            mask: evaluated.mask,
            receipt,
        })
    }

    fn record(&self, batch: u64, start: Timestamp, taken: Duration) {
        self.runtime.trace.record(|| TraceEvent {
            track: trace::cpu_track(),
            name: "compute",
            batch,
            kernel: self.number,
            start_ns: trace::nanos(start),
            duration_ns: trace::duration_nanos(taken),
            clock: self.runtime.clock.kind(),
        });
    }

    /// A device says how long things took, not when: they are laid end to end on its track.
    fn record_device(&self, slot: &DeviceSlot, batch: u64, tally: &Tally) {
        if !self.runtime.trace.is_enabled() {
            return;
        }
        let mut reached = slot.traced.lock().unwrap_or_else(PoisonError::into_inner);
        for part in tally.parts.iter().filter(|part| part.path == Path::Queued) {
            let steps = [
                ("copy in", part.copy_in),
                ("compute", part.compute),
                ("copy out", part.copy_out),
            ];
            for (name, taken) in steps {
                self.runtime.trace.record(|| TraceEvent {
                    track: Arc::clone(&slot.name),
                    name,
                    batch,
                    kernel: self.number,
                    start_ns: trace::duration_nanos(*reached),
                    duration_ns: trace::duration_nanos(taken),
                    clock: part.clock,
                });
                *reached += taken;
            }
        }
    }
}

/// One of the tickets that may be outstanding.
struct TicketPlace {
    runtime: Arc<Core>,
}

impl TicketPlace {
    fn take(runtime: &Arc<Core>) -> Result<Self, Error> {
        let limit = runtime.options.max_tickets as u64;
        let place = TicketPlace {
            runtime: Arc::clone(runtime),
        };
        let outstanding = runtime.tickets.fetch_add(1, Ordering::Relaxed);
        if outstanding >= limit {
            return Err(Error::Limit {
                what: "tickets not yet done; wait for one first",
                asked: outstanding + 1,
                limit,
            });
        }
        Ok(place)
    }
}

impl Drop for TicketPlace {
    fn drop(&mut self) {
        self.runtime.tickets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The words of a trap: the row is evaluated once more, as a tree. `first_row` is where the batch
/// begins in the one that the caller handed over.
pub(crate) fn describe(
    checked: &Checked,
    dialect: Dialect,
    batch: &RecordBatch,
    trap: Trap,
    first_row: u64,
) -> DataError {
    let description = (trap.row < batch.num_rows() as u64)
        .then(|| unlade_naive::describe(checked, batch, trap.row))
        .flatten()
        .map(|mut description| {
            description.row += first_row;
            description
        });
    let spark = dialect == Dialect::Spark;
    DataError {
        row: trap.row + first_row,
        ordinal: description
            .as_ref()
            .map_or(trap.ordinal, |description| description.ordinal),
        spark_class: description
            .as_ref()
            .filter(|_| spark)
            .and_then(Description::spark_class),
        description,
    }
}
