//! What there is to do: queries, batches, and what the CPU alone makes of them.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchIterator, StringArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use unlade_cpu::CpuDevice;
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_runtime::{Error, Output, Runtime};

/// Queries, as what they select and what they keep.
const QUERIES: [(&str, &str); 6] = [
    ("", "a > 41 and flag"),
    ("text, a + 1 as x", "b % 3 = 0"),
    ("cast(a as bigint) * b", ""),
    // A row in some of the batches has no result.
    ("b / (a - 100) as q", ""),
    ("", "b < 0"),
    ("b, flag", "a < 50 or b > 3000"),
];

/// Rows of the batches, the last of which has a row that one of the queries has no result for.
const ROWS: [usize; 7] = [0, 1, 37, 700, 2500, 6000, 900];

/// That row.
const BAD_ROW: usize = 811;

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
            .map(|(select, keep)| query(select, keep))
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

pub(crate) fn schema() -> SchemaRef {
    let field = |name: &str, ty| Field::new(name, ty, true);
    Arc::new(Schema::new(vec![
        field("a", DataType::Int32),
        field("b", DataType::Int64),
        field("flag", DataType::Boolean),
        field("text", DataType::Utf8),
    ]))
}

fn query(select: &str, keep: &str) -> Query {
    let query = match keep {
        "" => Query::all(),
        keep => Query::filter(parse_expr(keep).expect("it is an expression")),
    };
    match select {
        "" => query,
        select => query.select(parse_select_list(select).expect("it is a list")),
    }
}

fn batch(number: usize) -> RecordBatch {
    let rows = number * 1000..number * 1000 + ROWS[number];
    let bad = (number + 1 == ROWS.len()).then_some(rows.start + BAD_ROW);
    let a = |row: usize| match bad == Some(row) {
        true => Some(100),
        false => (row % 11 != 5).then_some(row as i32 % 100),
    };
    let a: Int32Array = rows.clone().map(a).collect();
    let b = Int64Array::from_iter_values(rows.clone().map(|row| row as i64));
    let flag: BooleanArray = rows
        .clone()
        .map(|row| (row % 7 != 0).then_some(row % 2 == 0))
        .collect();
    let text = StringArray::from_iter_values(rows.map(|row| format!("row {row}")));
    let columns: Vec<ArrayRef> = vec![Arc::new(a), Arc::new(b), Arc::new(flag), Arc::new(text)];
    RecordBatch::try_new(schema(), columns).expect("columns of one length")
}
