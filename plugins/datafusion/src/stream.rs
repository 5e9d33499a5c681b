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
use datafusion::common::{Result, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::coalesce::{LimitedBatchCoalescer, PushBatchStatus};
use datafusion::physical_plan::metrics::RecordOutput;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use unlade::{Canceller, Output, Path, Resident};

use crate::config::Mode;
use crate::error::from_runtime;
use crate::exec::Work;
use crate::latest::Latest;
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
pub(crate) fn computed(batches: Batches) -> SendableRecordBatchStream {
    match batches.work.may_queue() {
        true => on_devices(batches),
        false => inline(batches),
    }
}

fn inline(batches: Batches) -> SendableRecordBatchStream {
    let Batches {
        work,
        mut kernel,
        input,
        schema,
        meters,
        ..
    } = batches;
    let of = Arc::clone(&schema);
    let run = move |batch: Result<RecordBatch>| {
        let batch = batch?;
        let _timer = meters.baseline.elapsed_compute().timer();
        let kernel = kernel.for_batch(batch.num_rows());
        let output = kernel.run(&batch).map_err(from_runtime)?;
        result(output, &work, &of, &meters)
    };
    Box::pin(RecordBatchStreamAdapter::new(schema, input.map(run)))
}

fn on_devices(batches: Batches) -> SendableRecordBatchStream {
    let Batches {
        work,
        mut kernel,
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
    let kernel = kernel.for_batch(0);
    let taken = Arc::clone(kernel.input_schema());
    let reader = std::iter::from_fn(move || receiver.blocking_recv().map(Ok::<_, ArrowError>));
    let outputs = kernel.stream(RecordBatchIterator::new(reader, taken));
    let cancel = CancelOnDrop(outputs.canceller());
    let of = Arc::clone(&schema);
    builder.spawn_blocking(move || {
        for output in outputs {
            let output = output.map_err(from_runtime)?;
            held.give_back();
            let result = result(output, &work, &of, &meters)?;
            if results.blocking_send(Ok(result)).is_err() {
                break;
            }
        }
        Ok(())
    });
    let results = builder.build().map(move |result| {
        let _until_dropped = &cancel;
        result
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, results))
}

/// The kernel's results on batches that are pinned, where they lie.
pub(crate) fn where_it_lies(
    pinned: Arc<[Resident]>,
    work: Arc<Work>,
    schema: SchemaRef,
    meters: Meters,
) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&schema), WAITING);
    let results = builder.tx();
    builder.spawn_blocking(move || {
        for resident in pinned.iter() {
            for output in work.kernel.run_resident(resident).map_err(from_runtime)? {
                let result = result(output, &work, &schema, &meters)?;
                if results.blocking_send(Ok(result)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    builder.build()
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

/// A kernel's output as a batch of the node.
fn result(output: Output, work: &Work, schema: &SchemaRef, meters: &Meters) -> Result<RecordBatch> {
    meters.note(&output.receipt);
    if work.mode == Mode::Require
        && let Some(part) = output
            .receipt
            .parts
            .iter()
            .find(|part| part.path == Path::Fallback)
    {
        return exec_err!(
            "unlade.mode is require, and {} had to take a batch: {}",
            part.device,
            part.reason
        );
    }
    let rows = output.receipt.rows_out as usize;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = match schema.fields().is_empty() {
        true => Vec::new(),
        false => output.batch.columns().to_vec(),
    };
    let schema = Arc::clone(schema);
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

/// Results at a batch size and up to so many rows, where these are given.
pub(crate) fn cut(
    results: SendableRecordBatchStream,
    at: Option<(usize, Option<usize>)>,
    meters: Meters,
) -> SendableRecordBatchStream {
    let schema = results.schema();
    let record = move |result: Result<RecordBatch>| {
        result.map(|batch| batch.record_output(&meters.baseline))
    };
    match at {
        None => Box::pin(RecordBatchStreamAdapter::new(schema, results.map(record))),
        Some((size, fetch)) => {
            let coalescer = LimitedBatchCoalescer::new(Arc::clone(&schema), size, fetch);
            let results = coalesced(results, coalescer).map(record);
            Box::pin(RecordBatchStreamAdapter::new(schema, results))
        }
    }
}

fn coalesced(
    results: SendableRecordBatchStream,
    coalescer: LimitedBatchCoalescer,
) -> impl Stream<Item = Result<RecordBatch>> {
    let begun = (Some(results), coalescer);
    stream::try_unfold(begun, |(mut results, mut coalescer)| async move {
        loop {
            if let Some(batch) = coalescer.next_completed_batch() {
                return Ok(Some((batch, (results, coalescer))));
            }
            let Some(open) = &mut results else {
                return Ok(None);
            };
            let is_last = match open.next().await {
                Some(batch) => coalescer.push_batch(batch?)? == PushBatchStatus::LimitReached,
                None => true,
            };
            if is_last {
                // What is below has no more to do.
                results = None;
                coalescer.finish()?;
            }
        }
    })
}
