//! Kernels: compiled queries, and what they make of batches.
//!
//! What is compiled is in [`plan`]; after the [`calls`] of users' functions a batch runs where it was [`told`] to or wherever it is
//! [`fastest`]: [`on_cpu`] or [`on_device`], with the CPU in its place where that fails;
//! [`finish`] makes the output of it, and [`describe`] words a row's error; [`foreign`] brings what lies in a
//! device's memory.

mod calls;
mod describe;
mod fastest;
mod finish;
mod foreign;
pub(crate) mod given_up;
mod on_cpu;
mod on_device;
mod plan;
mod portions;
mod room;
mod submitted;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_array::{BooleanArray, RecordBatch, RecordBatchReader};
use arrow_schema::{Schema, SchemaRef};
use tracing::level_filters::LevelFilter;
use unlade_expr::{Checked, Query, Semantics};
use unlade_hal::thread_cpu_time;
use unlade_program::ShapeHash;

use self::submitted::Submitted;
use crate::auto::Placed;
use crate::bind::check_schema;
use crate::call::Call;
use crate::error::{Error, SchemaError};
use crate::explain::{self, Explain};
use crate::placement::{HostBuffer, Work};
use crate::receipt::Receipt;
use crate::recorder::Origin;
use crate::resident::Resident;
use crate::runtime::Core;
use crate::session::SessionCore;
use crate::stream::KernelStream;
use crate::sync::Mutex;
use crate::ticket::{Ticket, TicketPlace, ticket};

pub(crate) use calls::Calling;
pub(crate) use plan::Plan;
pub(crate) use portions::{Assignment, Joint, Lane, Record};

/// A query compiled for batches of one schema. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(crate) core: Arc<KernelCore>,
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
        session: &Arc<SessionCore>,
        query: &Query,
        schema: &SchemaRef,
        semantics: &Semantics,
    ) -> Result<Self, Error> {
        let allowed = &session.allowed;
        let plans = &runtime.plans;
        let plan = plans.get_or_make(query, schema, semantics, allowed, || {
            Plan::new(runtime, allowed, query, schema, semantics)
        })?;
        Ok(Kernel::of_plan(runtime, session, plan))
    }

    fn of_plan(runtime: &Arc<Core>, session: &Arc<SessionCore>, plan: Arc<Plan>) -> Self {
        Kernel {
            core: Arc::new(KernelCore {
                runtime: Arc::clone(runtime),
                session: Arc::clone(session),
                number: runtime.next_kernel(),
                plan,
                batches: AtomicU64::new(0),
                joint: Mutex::default(),
            }),
        }
    }

    /// Runs the query on a batch; on the calling thread where that is the CPU's part.
    ///
    /// # Errors
    /// [`Error::Schema`] for a batch of another schema; [`Error::Data`] where a row has no result;
    /// [`Error::Function`] where a user's function has none;
    /// [`Error::Exhausted`] without memory; [`Error::DeviceFault`] where a device failed and
    /// nothing else may take its work; [`Error::Cancelled`] and [`Error::DeadlineExceeded`] where
    /// its session has ended.
    pub fn run(&self, batch: &RecordBatch) -> Result<Output, Error> {
        self.core.run(batch)
    }

    /// Runs the query on every batch that was pinned, in order, where they lie. A query that calls users'
    /// functions runs on the batches as the host has them: what these give is not pinned.
    ///
    /// # Errors
    /// As [`run`](Kernel::run), for the first batch that has one.
    pub fn run_resident(&self, resident: &Resident) -> Result<Vec<Output>, Error> {
        self.check_resident(resident, resident.batches())?;
        (0..resident.batches().len())
            .map(|position| self.core.run_resident(&resident.core, position))
            .collect()
    }

    /// Runs the query on one of the batches that were pinned, counted from 0, where it lies.
    ///
    /// # Errors
    /// As [`run_resident`](Kernel::run_resident), and [`Error::Config`] where there is no such batch.
    pub fn run_resident_batch(&self, resident: &Resident, batch: usize) -> Result<Output, Error> {
        let pinned = resident.batches();
        let Some(one) = pinned.get(batch) else {
            let count = pinned.len();
            let why = format!("there is no batch {batch} of {count} that were pinned");
            return Err(Error::Config(why));
        };
        self.check_resident(resident, std::slice::from_ref(one))?;
        self.core.run_resident(&resident.core, batch)
    }

    /// Whether these batches of what was pinned are the kernel's to run.
    fn check_resident(&self, resident: &Resident, batches: &[RecordBatch]) -> Result<(), Error> {
        if !resident.is_pinned_for(self) {
            let why = "the batches were pinned by another runtime: pin them with the kernel's";
            return Err(Error::Config(why.to_owned()));
        }
        // Each: one that may have nulls need not have any in the first.
        let mut batches = batches.iter();
        batches.try_for_each(|batch| check_schema(&self.core.input, batch))
    }

    /// Hands a batch over; the result comes with the ticket.
    ///
    /// # Errors
    /// [`Error::Schema`] for a batch of another schema, [`Error::Limit`] where too many tickets are
    /// not done; the batch's own errors come with the ticket.
    pub fn submit(&self, batch: RecordBatch) -> Result<Ticket, Error> {
        unlade_hal::fork::check()?;
        check_schema(&self.core.input, &batch)?;
        let place = TicketPlace::take(&self.core.runtime)?;
        self.core.runtime.door.may_begin()?;
        let (ticket, completer) = ticket(&self.core.session, self.core.runtime.id());
        let submitted = Submitted {
            kernel: Arc::clone(&self.core),
            place,
            completer,
            came: self
                .core
                .runtime
                .options
                .record
                .then(|| self.core.runtime.clock.now()),
        };
        submitted.begin(batch);
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

    /// Names of the devices of its runtime.
    pub fn devices(&self) -> Vec<Arc<str>> {
        let devices = self.core.runtime.devices.iter();
        devices.map(|slot| Arc::clone(&slot.name)).collect()
    }

    /// The schema of the batches that it makes.
    pub fn schema(&self) -> &SchemaRef {
        &self.core.checked.output
    }

    /// The schema of the batches that it takes.
    pub fn input_schema(&self) -> &SchemaRef {
        &self.core.input
    }

    /// The columns of a batch that it reads, ascending. A reader need not decode the others, but
    /// must leave something in their place: positions count.
    pub fn input_columns(&self) -> Vec<usize> {
        self.core.plan.input_columns()
    }

    /// That the columns which it reads have the names in this schema that they have in its own. Running does
    /// not ask for that: columns go by position, and engines may rename them. Where names are what callers
    /// go by, columns in another order are found by this.
    ///
    /// # Errors
    /// [`SchemaError::Name`]; what differs but for names is left to running.
    pub fn check_names(&self, given: &Schema) -> Result<(), Error> {
        let (expected, given) = (self.input_schema().fields(), given.fields());
        if expected.len() != given.len() {
            return Ok(());
        }
        let names = |index: usize| (expected[index].name(), given[index].name());
        let mut columns = self.input_columns().into_iter();
        if let Some(index) = columns.find(|index| names(*index).0 != names(*index).1) {
            let (expected, given) = names(index);
            let (expected, given) = (expected.clone(), given.clone());
            return Err(SchemaError::Name {
                index,
                expected,
                given,
            }
            .into());
        }
        Ok(())
    }

    /// Names the program whatever its literals are.
    pub fn shape(&self) -> ShapeHash {
        self.core.shape
    }

    /// The query as it was understood. Where it calls users' functions, their results are columns of
    /// its input behind those of the batches.
    pub fn checked(&self) -> &Checked {
        &self.core.checked
    }
}

/// One kernel: a plan, and a count of the batches it was given.
#[derive(Debug)]
pub(crate) struct KernelCore {
    pub(crate) runtime: Arc<Core>,
    pub(crate) session: Arc<SessionCore>,
    pub(crate) number: u64,
    pub(crate) plan: Arc<Plan>,
    batches: AtomicU64,
    /// What runs several batches as one, if anything does, once that was asked for.
    joint: Mutex<Option<Option<Arc<Joint>>>>,
}

impl std::ops::Deref for KernelCore {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

impl KernelCore {
    /// Runs a batch.
    pub(crate) fn run(&self, batch: &RecordBatch) -> Result<Output, Error> {
        let call = self.call(self.next_batches(1), 1, None);
        let run = |call: &Call<'_>| self.run_whole(call, batch);
        self.recorded(call, batch, None, run)
    }

    /// A batch in the host's memory as far as its cost is concerned.
    pub(crate) fn work(&self, batch: &RecordBatch) -> Work {
        let slab = self.runtime.within_reach().reserve();
        self.forecast.work(self.binding(), batch, slab)
    }

    /// Runs a batch that is handed over by itself, and records that, if anything is recorded.
    fn recorded(
        &self,
        call: Call<'_>,
        batch: &RecordBatch,
        resident: Option<HostBuffer>,
        run: impl FnOnce(&Call<'_>) -> Result<Output, Error>,
    ) -> Result<Output, Error> {
        let runtime = &self.runtime;
        let work = || {
            let fits = check_schema(&self.input, batch).is_ok();
            let work = || match self.stages.is_empty() {
                true => self.work(batch),
                // What calls give is not there yet.
                false => {
                    let rows = batch.num_rows() as u64;
                    self.forecast.typical_work(self.binding(), rows)
                }
            };
            fits.then(|| {
                let work = work();
                let buffer = resident.unwrap_or(work.buffer);
                Work { buffer, ..work }
            })
        };
        let Some(begun) = runtime.recorder.begin(&*runtime.clock, work) else {
            return run(&call);
        };
        let result = run(&Call {
            account: Some(&begun.account),
            ..call
        });
        if let Ok(output) = &result {
            let origin = Origin {
                batch: call.number,
                together: call.together,
                place: None,
                read: None,
            };
            let receipts = std::iter::once(&output.receipt);
            runtime.recorder.end(self, begun, origin, receipts);
        }
        result
    }

    /// The number that the next batch gets, if no other comes before it.
    pub(crate) fn next_batch(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Numbers for so many batches that no other of the kernel has; returns the first.
    pub(crate) fn next_batches(&self, count: u64) -> u64 {
        self.batches.fetch_add(count, Ordering::Relaxed)
    }

    /// Runs a batch as it was handed over.
    fn run_whole(&self, call: &Call<'_>, batch: &RecordBatch) -> Result<Output, Error> {
        unlade_hal::fork::check()?;
        check_schema(&self.input, batch)?;
        self.observe(call, || {
            if self.stages.is_empty() {
                return self.run_routed(call, batch, None);
            }
            let (called, calling) = self.do_calls(call, batch)?;
            let mut output = self.run_routed(call, &called, None)?;
            calling.note(&mut output.receipt);
            Ok(output)
        })
    }

    /// Runs a batch whose calls are done, where placement has chosen, if it has.
    fn run_called(
        &self,
        call: &Call<'_>,
        batch: &RecordBatch,
        placed: Option<Placed>,
    ) -> Result<Output, Error> {
        unlade_hal::fork::check()?;
        check_schema(&self.checked.input, batch)?;
        self.observe(call, || self.run_routed(call, batch, placed))
    }

    /// Runs a batch of the right schema where placement has chosen, if it has.
    fn run_routed(
        &self,
        call: &Call<'_>,
        batch: &RecordBatch,
        placed: Option<Placed>,
    ) -> Result<Output, Error> {
        let predicts = self.runtime.options.predictions && self.host.is_some();
        match (&self.route.auto, placed) {
            (Some(auto), Some(placed)) => self.run_placed(call, auto, placed, batch),
            (Some(auto), None) => self.run_where_fastest(call, auto, batch),
            (None, _) if predicts => self.run_predicted(call, batch),
            (None, _) => self.run_where_told(call, batch),
        }
    }

    /// A batch on its way, with its number, made of so many.
    pub(crate) fn call<'a>(
        &'a self,
        number: u64,
        together: u64,
        given_up: Option<&'a AtomicBool>,
    ) -> Call<'a> {
        Call {
            runtime: &self.runtime,
            session: &self.session,
            kernel: self.number,
            number,
            together,
            taken_on: false,
            account: None,
            given_up,
        }
    }

    /// Runs a batch under its number, within a span, and notes what is noted of every batch wherever
    /// it runs.
    fn observe(
        &self,
        call: &Call<'_>,
        run: impl FnOnce() -> Result<Output, Error>,
    ) -> Result<Output, Error> {
        self.session.count_batches(call.together);
        // A ticket's is in hand since it was submitted.
        let _in_hand = (!call.taken_on).then(|| self.session.take_in_hand(call.together));
        if !call.taken_on {
            self.runtime.door.may_begin()?;
        }
        call.check()?;
        // Nobody asks for it, mostly: then not even its fields are brought together.
        let _span = (LevelFilter::current() >= LevelFilter::TRACE).then(|| {
            tracing::trace_span!("batch", kernel = self.number, batch = call.number).entered()
        });
        let cpu = self.runtime.options.host_cpu.then(thread_cpu_time);
        let mut result = run();
        if let Err(error @ Error::Exhausted(_)) = &mut result
            && let Err(ended) = call.check()
        {
            // Who is ended while it waits for memory is told that there is none.
            *error = ended;
        }
        match &mut result {
            Ok(output) => {
                let used = |before| thread_cpu_time().saturating_sub(before);
                output.receipt.host_cpu = cpu.map(used);
                let (runtime, receipt) = (&self.runtime, &output.receipt);
                self.session.count_host_time(receipt.host_time());
                runtime.recent.note(self.number, receipt, &runtime.devices);
            }
            Err(_) => self.metrics.error(),
        }
        result
    }
}
