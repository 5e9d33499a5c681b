//! Filters that change while a query runs: the first rows of many, in order.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::util::pretty::pretty_format_batches;
use unlade::Runtime;

use crate::common::{DEVICES, forced, metric, nodes, plain, run, runtime, table};

/// Rows of a batch, and batches: enough to read a filter anew several times.
const ROWS: i64 = 1 << 15;
const BATCHES: i64 = 24;

/// All numbers up to so many, far apart: the least known changes now and then.
fn batches() -> Vec<RecordBatch> {
    let batch = |at: i64| {
        let values = (at * ROWS..(at + 1) * ROWS).map(|row| row * 7919 % (ROWS * BATCHES));
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(values.clone()));
        let m: ArrayRef = Arc::new(Int64Array::from_iter(
            values.map(|value| (value % 7 != 0).then_some(-value)),
        ));
        RecordBatch::try_from_iter([("n", n), ("m", m)]).expect("columns are of one length")
    };
    (0..BATCHES).map(batch).collect()
}

const SQL: &[&str] = &[
    "SELECT n FROM t WHERE n % 2 = 0 ORDER BY n LIMIT 5",
    "SELECT m, n FROM t WHERE n % 2 = 0 ORDER BY m DESC NULLS LAST, n LIMIT 5",
    "SELECT m, n FROM t WHERE n % 2 = 0 ORDER BY m NULLS FIRST, n LIMIT 5",
    "SELECT n * 2 AS twice, m FROM t WHERE n % 2 = 0 ORDER BY twice LIMIT 5",
    "SELECT m FROM t WHERE n % 2 = 0 ORDER BY n LIMIT 5",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_rows_in_order_are_those_of_plain_datafusion() {
    let reference = plain();
    table(&reference, "t", &batches());
    for device in DEVICES {
        let context = forced(&runtime(device));
        table(&context, "t", &batches());
        for sql in SQL {
            let (_, expected) = run(&reference, sql).await.expect(sql);
            let (plan, answer) = run(&context, sql).await.expect(sql);
            let text = |batches: &[RecordBatch]| {
                pretty_format_batches(batches)
                    .expect("they are numbers")
                    .to_string()
            };
            assert_eq!(text(&answer), text(&expected), "{device}: {sql}");
            let shown = format!("{:?}", nodes(&plan)[0]);
            assert!(shown.contains("DynamicFilter"), "{device}: {sql}: {shown}");
        }
    }
}

#[tokio::test]
async fn new_values_are_read_and_no_program_is_compiled_for_them() {
    let runtime = runtime("cpu");
    let context = forced(&runtime);
    table(&context, "t", &batches());
    let compiles = |runtime: &Runtime| runtime.cache().compiles;
    let (plan, _) = run(&context, SQL[0]).await.unwrap();
    let read = metric(&plan, "filters_read");
    assert!(read >= 3, "{read} values were read of {BATCHES} batches");
    // Without a value, with one, and nothing else.
    assert!(compiles(&runtime) <= 2, "{}", compiles(&runtime));
    let (rows_in, rows_out) = (
        ROWS * BATCHES,
        nodes(&plan)[0].metrics().unwrap().output_rows(),
    );
    let rows_out = rows_out.unwrap() as i64;
    assert!(
        rows_out * 4 < rows_in,
        "{rows_out} of {rows_in} rows pass a filter that keeps half"
    );

    let before = compiles(&runtime);
    let (_, answer) = run(
        &context,
        "SELECT n FROM t WHERE n % 3 = 0 ORDER BY n LIMIT 7",
    )
    .await
    .unwrap();
    assert_eq!(answer.iter().map(RecordBatch::num_rows).sum::<usize>(), 7);
    assert_eq!(compiles(&runtime), before);
}
