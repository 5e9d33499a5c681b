//! How batches pass through a node.
//!
//! On the CPU a batch runs on the thread that asks for the result, as in every operator of
//! DataFusion's. For a device behind a queue batches go through a stream of the runtime, on a thread
//! that may block: it takes small ones together, up to what is a good size for the device, and has
//! several under way. Filtered batches come out at the session's batch size.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchOptions};
use arrow_schema::{ArrowError, SchemaRef};
use datafusion::common::{Result, exec_err, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use unlade::{Canceller, Output, Path, Resident};

use crate::config::Mode;
use crate::cut::Kept;
use crate::error::from_runtime;
use crate::exec::Work;
use crate::latest::{Latest, Way};
use crate::meters::Meters;

/// Batches on their way to a kernel, of one partition.
pub(crate) struct Batches {
    pub(crate) work: Arc<Work>,
    pub(crate) kernel: Latest,
    pub(crate) input: SendableRecordBatchStream,
    /// Of what comes out.
    pub(crate) schema: SchemaRef,
    pub(crate) meters: Meters,
    /// What batches take that wait for a device, or are on it.
    pub(crate) reservation: MemoryReservation,
}

/// Batches that wait for the kernel, or for who takes its results: few, for it looks ahead itself.
const WAITING: usize = 2;

/// The kernel's results: one for each batch, in order.
pub(crate) fn computed(batches: Batches) -> BoxStream<'static, Result<Kept>> {
    match batches.work.may_queue() {
        true => on_devices(batches),
        false => inline(batches),
    }
}

fn inline(batches: Batches) -> BoxStream<'static, Result<Kept>> {
    let Batches {
        work,
        mut kernel,
        input,
        schema,
        meters,
        ..
    } = batches;
    let mut results = Results::new(work, schema, meters.clone());
    let run = move |batch: Result<RecordBatch>| {
        let batch = batch?;
        let (output, masked) = match kernel.for_batch(batch.num_rows()) {
            Way::Rows(rows) => (rows.run(&batch), None),
            Way::Mask(mask) => (
                mask.kernel().run(&batch),
                Some(mask.columns(&batch, &results.schema)?),
            ),
        };
        let output = output.map_err(from_runtime)?;
        kernel.note(&output.receipt);
        // As the runtime has it: another look at the clock would take a hundredth of a batch's time.
        let taken = output.receipt.taken;
        meters.baseline.elapsed_compute().add_duration(taken);
        let Some(masked) = masked else {
            return results.of(output).map(Kept::All);
        };
        results.note(&output)?;
        let keep = output.mask;
        let keep = keep.ok_or_else(|| internal_datafusion_err!("a mask was asked for"))?;
        Ok(Kept::Where(masked, keep))
    };
    input.map(run).boxed()
}

fn on_devices(batches: Batches) -> BoxStream<'static, Result<Kept>> {
    let Batches {
        work,
        kernel,
        mut input,
        schema,
        meters,
        reservation,
    } = batches;
    let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&schema), WAITING);
    let (sender, mut receiver) = mpsc::channel::<RecordBatch>(WAITING);
    let held = Arc::new(Held {
        reservation,
        sizes: Mutex::default(),
    });
    let holding = Arc::clone(&held);
    builder.spawn(async move {
        while let Some(batch) = input.next().await {
            let batch = batch?;
            holding.take(&batch)?;
            // Nobody receives any more where the results are not wanted, or one was an error.
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });

    let results = builder.tx();
    let kernel = kernel.into_rows();
    let taken = Arc::clone(kernel.input_schema());
    let reader = std::iter::from_fn(move || receiver.blocking_recv().map(Ok::<_, ArrowError>));
    let outputs = kernel.stream(RecordBatchIterator::new(reader, taken));
    let cancel = CancelOnDrop(outputs.canceller());
    builder.spawn_blocking(move || {
        let mut kernels = Results::new(work, schema, meters);
        for output in outputs {
            let output = output.map_err(from_runtime)?;
            held.give_back();
            let result = kernels.of(output)?;
            if results.blocking_send(Ok(result)).is_err() {
                break;
            }
        }
        Ok(())
    });
    let results = builder.build().map(move |result| {
        let _until_dropped = &cancel;
        result.map(Kept::All)
    });
    results.boxed()
}

/// The kernel's results on batches that are pinned, where they lie.
pub(crate) fn where_it_lies(
    pinned: Arc<[Resident]>,
    work: Arc<Work>,
    schema: SchemaRef,
    meters: Meters,
) -> BoxStream<'static, Result<Kept>> {
    let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&schema), WAITING);
    let results = builder.tx();
    builder.spawn_blocking(move || {
        let kernel = work.kernel.clone();
        let mut kernels = Results::new(work, schema, meters);
        for resident in pinned.iter() {
            for output in kernel.run_resident(resident).map_err(from_runtime)? {
                let result = kernels.of(output)?;
                if results.blocking_send(Ok(result)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    builder.build().map(|result| result.map(Kept::All)).boxed()
}

/// Ends what devices do for a stream that nobody reads any more.
struct CancelOnDrop(Canceller);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Memory of the batches that are under way, in their order.
struct Held {
    reservation: MemoryReservation,
    sizes: Mutex<VecDeque<usize>>,
}

impl Held {
    fn take(&self, batch: &RecordBatch) -> Result<()> {
        let size = batch.get_array_memory_size();
        self.reservation.try_grow(size)?;
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.push_back(size);
        Ok(())
    }

    fn give_back(&self) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(size) = sizes.pop_front() {
            self.reservation.shrink(size);
        }
    }
}

/// A kernel's outputs as batches of the node.
struct Results {
    work: Arc<Work>,
    /// Of the node.
    schema: SchemaRef,
    meters: Meters,
    /// The schema of the last output, and whether it is the node's: comparing them takes longer than a
    /// look at where they lie.
    seen: Option<(SchemaRef, bool)>,
}

impl Results {
    fn new(work: Arc<Work>, schema: SchemaRef, meters: Meters) -> Self {
        Results {
            work,
            schema,
            meters,
            seen: None,
        }
    }

    /// The batch of an output.
    fn of(&mut self, output: Output) -> Result<RecordBatch> {
        self.note(&output)?;
        if self.is_of_the_node(output.batch.schema_ref()) {
            return Ok(output.batch);
        }
        let (_, mut columns, rows) = output.batch.into_parts();
        if self.schema.fields().is_empty() {
            // Rows are counted, by a kernel that has some columns.
            columns.clear();
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }

    fn is_of_the_node(&mut self, schema: &SchemaRef) -> bool {
        match &self.seen {
            Some((seen, is)) if Arc::ptr_eq(seen, schema) => *is,
            _ => {
                let is = *schema == self.schema;
                self.seen = Some((Arc::clone(schema), is));
                is
            }
        }
    }

    /// Notes what a receipt says.
    ///
    /// # Errors
    /// A batch that another device had to take, where that is not allowed.
    fn note(&self, output: &Output) -> Result<()> {
        let receipt = &output.receipt;
        self.meters.note(receipt);
        let mut parts = receipt.parts.iter();
        match parts.find(|part| part.path == Path::Fallback) {
            Some(part) if self.work.mode == Mode::Require => exec_err!(
                "unlade.mode is require, and {} had to take a batch: {}",
                part.device,
                part.reason
            ),
            _ => Ok(()),
        }
    }
}
