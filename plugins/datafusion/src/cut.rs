//! Results at a session's batch size, and up to a limit.

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::coalesce::BatchCoalescer;
use arrow_select::filter::filter_record_batch;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::metrics::RecordOutput;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};

use crate::meters::Meters;

/// What a kernel leaves of a batch.
#[derive(Debug)]
pub(crate) enum Kept {
    /// All of these rows.
    All(RecordBatch),
    /// The rows of which the bit is set: they are copied once, to where they are put out.
    Where(RecordBatch, BooleanArray),
}

impl Kept {
    /// These rows alone.
    fn compacted(self) -> Result<RecordBatch> {
        Ok(match self {
            Kept::All(batch) => batch,
            Kept::Where(batch, keep) => filter_record_batch(&batch, &keep)?,
        })
    }
}

/// Rows to a batch, and the rows in all where these are limited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutAt {
    pub(crate) rows: usize,
    pub(crate) fetch: Option<usize>,
}

/// Results as batches of a schema, cut where that is given.
pub(crate) fn cut(
    results: BoxStream<'static, Result<Kept>>,
    schema: SchemaRef,
    at: Option<CutAt>,
    meters: Meters,
) -> SendableRecordBatchStream {
    let record = move |result: Result<RecordBatch>| {
        result.map(|batch| batch.record_output(&meters.baseline))
    };
    match at {
        None => {
            let results = results.map(|kept| kept?.compacted()).map(record);
            Box::pin(RecordBatchStreamAdapter::new(schema, results))
        }
        Some(at) => {
            let coalescer = Coalescer::new(SchemaRef::clone(&schema), at);
            let results = coalesced(results, coalescer).map(record);
            Box::pin(RecordBatchStreamAdapter::new(schema, results))
        }
    }
}

fn coalesced(
    results: BoxStream<'static, Result<Kept>>,
    coalescer: Coalescer,
) -> impl Stream<Item = Result<RecordBatch>> {
    let begun = (Some(results), coalescer);
    stream::try_unfold(begun, |(mut results, mut coalescer)| async move {
        loop {
            if let Some(batch) = coalescer.inner.next_completed_batch() {
                return Ok(Some((batch, (results, coalescer))));
            }
            let Some(open) = &mut results else {
                return Ok(None);
            };
            let is_last = match open.next().await {
                Some(kept) => coalescer.push(kept?)?,
                None => true,
            };
            if is_last {
                // What is below has no more to do.
                results = None;
                coalescer.inner.finish_buffered_batch()?;
            }
        }
    })
}

/// Gathers batches of one size. DataFusion's own takes no rows by a mask.
struct Coalescer {
    inner: BatchCoalescer,
    /// Rows that are still to come, where these are limited.
    left: Option<usize>,
}

impl Coalescer {
    fn new(schema: SchemaRef, at: CutAt) -> Self {
        // What is half a batch or more is handed on as it is, as filters of DataFusion's do.
        let inner = BatchCoalescer::new(schema, at.rows);
        Coalescer {
            inner: inner.with_biggest_coalesce_batch_size(Some(at.rows / 2)),
            left: at.fetch,
        }
    }

    /// Takes rows in, and says whether no more are wanted.
    fn push(&mut self, kept: Kept) -> Result<bool> {
        if let Some(left) = &mut self.left {
            let batch = kept.compacted()?;
            let taken = batch.num_rows().min(*left);
            *left -= taken;
            let is_last = *left == 0;
            self.inner.push_batch(batch.slice(0, taken))?;
            return Ok(is_last);
        }
        match kept {
            Kept::All(batch) => self.inner.push_batch(batch)?,
            Kept::Where(batch, keep) => self.inner.push_batch_with_filter(batch, &keep)?,
        }
        Ok(false)
    }
}
