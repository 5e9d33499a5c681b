//! Calls of users' functions: done for a batch as it was handed over, before the program of its query.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use unlade_expr::{Called, Checked, Staged};
use unlade_hal::thread_cpu_time;

use super::KernelCore;
use crate::arrays::malformed;
use crate::call::Call;
use crate::error::Error;
use crate::functions::Function;
use crate::portion::Read;
use crate::receipt::{CallReceipt, Path, Reason, Receipt};
use crate::route::HostPlan;
use crate::runtime::Core;

/// Calls of a query that need nothing of each other, prepared.
#[derive(Debug)]
pub(crate) struct Stage {
    arguments: Checked,
    host: HostPlan,
    functions: Vec<Function>,
    /// The columns of the batch and the results of this stage and those before it.
    columns: SchemaRef,
}

/// What became of the calls for a batch.
#[derive(Debug)]
pub(crate) struct Calling {
    calls: Vec<CallReceipt>,
    /// With what computing their arguments took.
    taken: Duration,
    host_cpu: Option<Duration>,
}

impl Stage {
    /// Prepares all stages of a query.
    ///
    /// # Errors
    /// [`Error::Expr`] for a function that is not registered; [`Error::Unplaceable`] without a CPU.
    pub(super) fn all(runtime: &Core, staged: &Staged) -> Result<Vec<Stage>, Error> {
        let mut calls = staged.calls.iter();
        let mut stages = Vec::with_capacity(staged.stages.len());
        for stage in &staged.stages {
            let called: Vec<&Called> = calls.by_ref().take(stage.calls).collect();
            let functions = called
                .iter()
                .map(|called| runtime.functions.find(called.function()))
                .collect::<Result<_, _>>()?;
            let (host, _) = HostPlan::new(runtime, &stage.arguments)?;
            stages.push(Stage {
                columns: with_results(&stage.arguments.input, &called),
                arguments: stage.arguments.clone(),
                host,
                functions,
            });
        }
        Ok(stages)
    }

    /// The columns of the batch that the arguments are made of, those of earlier results aside.
    pub(super) fn input_columns(&self, of_batch: usize) -> impl Iterator<Item = usize> {
        let columns = self.host.binding.input_columns();
        columns.into_iter().filter(move |column| *column < of_batch)
    }
}

fn with_results(schema: &Schema, called: &[&Called]) -> SchemaRef {
    let results = called.iter().map(|called| called.result());
    let fields: Vec<_> = schema.fields().iter().chain(results).cloned().collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

impl KernelCore {
    /// A batch that was taken on, of the right schema, with what users' functions give for it. Their rows
    /// are those of the batch, whatever it is joined with or cut into.
    pub(crate) fn with_calls(
        &self,
        given_up: &AtomicBool,
        number: u64,
        batch: RecordBatch,
    ) -> Result<Read, Error> {
        if self.stages.is_empty() {
            let calling = None;
            return Ok(Read { batch, calling });
        }
        let call = self.call(number, 1, Some(given_up));
        call.check()?;
        let (batch, calling) = self.do_calls(&call, &batch).inspect_err(|_| {
            self.session.count_batches(1);
            self.metrics.error();
        })?;
        Ok(Read {
            batch,
            calling: Some(Arc::new(calling)),
        })
    }

    /// Does the calls for a batch of the right schema; the batch comes back with their results behind
    /// its columns.
    ///
    /// # Errors
    /// [`Error::Function`] for the first call that has no result; else as for a batch on the CPU, of
    /// the arguments.
    pub(super) fn do_calls(
        &self,
        call: &Call<'_>,
        batch: &RecordBatch,
    ) -> Result<(RecordBatch, Calling), Error> {
        let clock = &self.runtime.clock;
        let start = clock.now();
        let cpu = self.runtime.options.host_cpu.then(thread_cpu_time);
        let mut calls = Vec::new();
        let mut batch = batch.clone();
        for stage in &self.stages {
            batch = self.do_stage(call, stage, &batch, &mut calls)?;
        }
        let calling = Calling {
            calls,
            taken: clock.now().since(start),
            host_cpu: cpu.map(|before| thread_cpu_time().saturating_sub(before)),
        };
        Ok((batch, calling))
    }

    fn do_stage(
        &self,
        call: &Call<'_>,
        stage: &Stage,
        batch: &RecordBatch,
        receipts: &mut Vec<CallReceipt>,
    ) -> Result<RecordBatch, Error> {
        let clock = &self.runtime.clock;
        let rows = batch.num_rows();
        let way = (Reason::OnlyCandidate, Path::Inline);
        let query = (&stage.host, &stage.arguments);
        let (evaluated, _, _) = self.evaluate_inline(call, query, batch, way)?;
        let mut arguments = evaluated.columns.into_iter();
        let mut columns = batch.columns().to_vec();
        for function in &stage.functions {
            let taken = function.signature.arguments().len();
            let arguments: Vec<ArrayRef> = arguments.by_ref().take(taken).collect();
            call.check()?;
            let start = clock.now();
            columns.push(function.call(self.runtime.id(), &arguments, rows)?);
            let taken = clock.now().since(start);
            let device = &stage.host.device;
            self.runtime.trace.inline(device, call, start, taken);
            receipts.push(CallReceipt {
                function: Arc::clone(&function.name),
                rows: rows as u64,
                taken,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&stage.columns);
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(malformed)
    }
}

impl Calling {
    /// Adds to the receipt of the batch, whose own account begins after the calls.
    pub(crate) fn note(&self, receipt: &mut Receipt) {
        receipt.calls.extend(self.calls.iter().cloned());
        receipt.taken += self.taken;
        if let (Some(cpu), Some(before)) = (&mut receipt.host_cpu, self.host_cpu) {
            *cpu += before;
        }
    }
}
