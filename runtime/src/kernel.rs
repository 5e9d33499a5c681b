//! Kernels: compiled queries, and what they make of batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions, RecordBatchReader};
use arrow_schema::SchemaRef;
use unlade_expr::{Checked, Dialect, Payload, Query, Semantics};
use unlade_hal::{Executable, Timestamp};
use unlade_naive::Description;
use unlade_program::{ShapeHash, Trap};

use crate::arrays::malformed;
use crate::bind::{Binding, check_schema};
use crate::error::{DataError, Error, Unplaceable};
use crate::explain::{EXPLAIN_VERSION, Explain, ExplainPart};
use crate::inline::{self, Evaluated, InlineFailure};
use crate::metrics::KernelMetrics;
use crate::receipt::{PartReceipt, Path, Reason, Receipt, Verified};
use crate::runtime::{Core, DeviceSlot};
use crate::stream::KernelStream;
use crate::ticket::{Ticket, ticket};
use crate::trace::{self, TraceEvent};
use crate::workers::panic_message;

/// A query compiled for batches of one schema. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(crate) core: Arc<KernelCore>,
}

#[derive(Debug)]
pub(crate) struct KernelCore {
    pub(crate) runtime: Arc<Core>,
    pub(crate) number: u64,
    pub(crate) checked: Checked,
    pub(crate) dialect: Dialect,
    pub(crate) shape: ShapeHash,
    pub(crate) host: HostPlan,
    pub(crate) metrics: KernelMetrics,
    batches: AtomicU64,
}

/// How the CPU runs the query.
#[derive(Debug)]
pub(crate) struct HostPlan {
    pub(crate) device: Arc<str>,
    pub(crate) executable: Executable,
    pub(crate) binding: Binding,
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
        let checked = unlade_expr::check(query, schema, semantics)?;
        let lowered = unlade_expr::lower(&checked, Payload::Fused)?;
        let shape = ShapeHash::of(&lowered.program);
        let cpu = runtime.cpu().ok_or_else(|| no_cpu(runtime))?;
        let executable = runtime
            .executables
            .get(&*cpu.device, &cpu.architecture, shape, &lowered.program)
            .map_err(|error| Unplaceable {
                reasons: vec![(Arc::clone(&cpu.name), error.to_string())],
            })?;
        Ok(Kernel {
            core: Arc::new(KernelCore {
                runtime: Arc::clone(runtime),
                number: runtime.next_kernel(),
                shape,
                host: HostPlan {
                    device: Arc::clone(&cpu.name),
                    executable,
                    binding: Binding::new(lowered),
                },
                metrics: KernelMetrics::new(&cpu.name),
                batches: AtomicU64::new(0),
                checked,
                dialect: semantics.dialect,
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
        let core = &self.core;
        let name = |column: &usize| core.checked.input.field(*column).name().clone();
        let host = &core.host;
        Explain {
            version: EXPLAIN_VERSION,
            shape: core.shape.to_string(),
            reads: self.input_columns().iter().map(name).collect(),
            parts: vec![ExplainPart {
                device: Arc::clone(&host.device),
                reason: Reason::OnlyCandidate,
                payload: "compacted with the filter",
                program: host.binding.lowered.program.to_string(),
            }],
            candidates: Vec::new(),
            notes: core.checked.notes.clone(),
        }
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
        self.core.host.binding.input_columns()
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

impl KernelCore {
    /// Runs a batch.
    pub(crate) fn run(&self, batch: &RecordBatch) -> Result<Output, Error> {
        unlade_hal::fork::check()?;
        check_schema(&self.checked.input, batch)?;
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        self.run_inline(batch, number, Reason::OnlyCandidate, Path::Inline)
    }

    /// Runs a batch of the right schema on the CPU, on this thread.
    pub(crate) fn run_inline(
        &self,
        batch: &RecordBatch,
        number: u64,
        reason: Reason,
        path: Path,
    ) -> Result<Output, Error> {
        let clock = &self.runtime.clock;
        let start = clock.now();
        let executable = self.host.executable.code().ok_or_else(|| {
            Error::Config(format!(
                "`{}` is no CPU that can run inline",
                self.host.device
            ))
        })?;
        let binding = &self.host.binding;
        let evaluated = inline::evaluate(
            executable,
            binding,
            &self.checked,
            batch,
            &self.runtime.memory,
        )
        .map_err(|failure| match failure {
            InlineFailure::Error(error) => error,
            InlineFailure::Trap(trap) => {
                describe(&self.checked, self.dialect, batch, trap, 0).into()
            }
        })?;
        let taken = clock.now().since(start);
        self.record(number, start, taken);
        let part = PartReceipt {
            device: Arc::clone(&self.host.device),
            path,
            reason,
            rows: batch.num_rows() as u64,
            completed: true,
            queued: Default::default(),
            copy_in: Default::default(),
            compute: taken,
            copy_out: Default::default(),
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

    fn record(&self, batch: u64, start: Timestamp, taken: std::time::Duration) {
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

fn no_cpu(runtime: &Core) -> Unplaceable {
    let reason = |slot: &DeviceSlot| (Arc::clone(&slot.name), "is no CPU".to_owned());
    Unplaceable {
        reasons: runtime.devices.iter().map(reason).collect(),
    }
}
