//! What there is to do: queries, batches, and what the CPU alone makes of them.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::ArrowError;
use unlade_cpu::CpuDevice;
use unlade_expr::{Query, Semantics};
use unlade_runtime::{Error, Output, Runtime};
use unlade_tests::table::{self, schema};

/// Queries, as what they select and what they keep.
const QUERIES: [(&str, &str); 6] = [
    ("", "a > 41 and flag"),
    ("text, a + 1 as x", "b % 3 = 0"),
    ("cast(a as bigint) * b", ""),
    // Row 811 of the last batch has no result.
    ("b / (b - 60811) as q", ""),
    ("", "b < 0"),
    ("b, flag", "a < 50 or b > 3000"),
];

/// Rows of the batches.
const ROWS: [usize; 7] = [0, 1, 37, 700, 2500, 6000, 900];

/// A batch's result, or the row and the operation that fail.
type Expected = Result<RecordBatch, (u64, u32)>;

/// Queries and batches, each by its number.
pub(crate) struct Work {
    queries: Vec<Query>,
    batches: Vec<RecordBatch>,
    expected: Vec<Vec<Expected>>,
}

impl Work {
    pub(crate) fn new() -> Work {
        let runtime = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .build()
            .expect("a runtime with the CPU");
        let queries: Vec<Query> = QUERIES
            .map(|(select, keep)| table::query(select, keep))
            .into_iter()
            .collect();
        let batches: Vec<RecordBatch> = (0..ROWS.len()).map(batch).collect();
        let on_cpu = |query: &Query| -> Vec<Expected> {
            let kernel = runtime.compile(query, &schema(), &Semantics::arrow());
            let kernel = kernel.expect("it is a query of this schema");
            let run = |batch| match kernel.run(batch) {
                Ok(output) => Ok(output.batch),
                Err(Error::Data(error)) => Err((error.row, error.ordinal)),
                Err(error) => panic!("the CPU alone: {error}"),
            };
            batches.iter().map(run).collect()
        };
        let expected: Vec<Vec<Expected>> = queries.iter().map(on_cpu).collect();
        let bad = expected.iter().flatten().filter(|each| each.is_err());
        assert_eq!(bad.count(), 1, "one query has no result for one batch");
        Work {
            queries,
            batches,
            expected,
        }
    }

    pub(crate) fn queries(&self) -> usize {
        self.queries.len()
    }

    pub(crate) fn batches(&self) -> usize {
        self.batches.len()
    }

    pub(crate) fn query(&self, query: usize) -> &Query {
        &self.queries[query]
    }

    pub(crate) fn batch(&self, batch: usize) -> &RecordBatch {
        &self.batches[batch]
    }

    /// Whether this query has a result for this batch.
    pub(crate) fn has_result(&self, query: usize, batch: usize) -> bool {
        self.expected[query][batch].is_ok()
    }

    /// A reader of these batches.
    pub(crate) fn reader(
        &self,
        batches: &[usize],
    ) -> RecordBatchIterator<std::vec::IntoIter<Result<RecordBatch, ArrowError>>> {
        let read: Vec<_> = batches
            .iter()
            .map(|batch| Ok(self.batch(*batch).clone()))
            .collect();
        RecordBatchIterator::new(read.into_iter(), schema())
    }

    /// Panics unless this is what the CPU makes of a batch.
    pub(crate) fn check(&self, query: usize, batch: usize, found: Result<&Output, (u64, u32)>) {
        let found = found.map(|output| &output.batch);
        let expected = self.expected[query][batch].as_ref().map_err(|at| *at);
        assert_eq!(found, expected, "query {query} on batch {batch}");
    }
}

fn batch(number: usize) -> RecordBatch {
    let first = number * 10_000;
    table::rows(first..first + ROWS[number])
}
