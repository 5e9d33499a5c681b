//! Answers on every device are those of plain DataFusion.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};

use crate::common::{
    BATCH, DEVICES, chosen, forced, metric, nodes, plain, rows, run, runtime, table,
};
use crate::tables::mixed;

/// Queries of which all filters and projections are taken.
const TAKEN: &[&str] = &[
    "SELECT * FROM t WHERE a = 3",
    "SELECT a, s FROM t WHERE a > 5 AND f < 2.5",
    "SELECT a + 1 AS x, s FROM t WHERE b BETWEEN -10 AND 10",
    "SELECT count(*) FROM t WHERE a > 3",
    "SELECT a * 2, b - a, f / 3 FROM t",
    "SELECT sum(b) FROM t WHERE a IN (1, 2, 3) OR a IS NULL",
    "SELECT CAST(a AS BIGINT) + b FROM t WHERE NOT p",
    "SELECT CASE WHEN a > 3 THEN b WHEN a < -3 THEN 0 END AS x FROM t",
    "SELECT x + 1 FROM (SELECT a + 1 AS x FROM t WHERE p) WHERE x > 2",
    "SELECT d, at FROM t WHERE d >= DATE '1994-01-01' AND at < TIMESTAMP '2024-01-01 00:00:00'",
    "SELECT m FROM t WHERE m < 24.5",
    "SELECT try_cast(f AS INT), u % 7 FROM t WHERE u > 3",
    "SELECT a FROM t WHERE a > 0 ORDER BY a, b LIMIT 7",
    "SELECT t.a, o.b FROM t JOIN t o ON t.b = o.b WHERE t.a > 4 AND o.f < 1.0",
    "SELECT a FROM t WHERE b IN (SELECT b + 1 FROM t WHERE a > 2)",
    "SELECT nullif(a, 3), coalesce(a, 0) FROM t WHERE a IS DISTINCT FROM 4",
    "SELECT -a, -f FROM t WHERE f = f",
];

/// Queries of which some is beyond the language.
const LEFT: &[&str] = &[
    "SELECT * FROM t WHERE s LIKE '%1%'",
    "SELECT upper(s) FROM t WHERE a > 2",
    "SELECT a FROM t WHERE a > 2 AND s LIKE '%1%' AND f < 3",
    "SELECT m * 2 FROM t WHERE m > 1",
    "SELECT date_trunc('month', d) FROM t WHERE a > 2",
    "SELECT s FROM t WHERE s > 'k' AND 10 / (a - 100) < 3",
];

/// Queries that end in an error.
const ERRORS: &[&str] = &[
    "SELECT 10 / (a - a) FROM t WHERE a > 1",
    "SELECT CAST(b * 100000000 AS INT) FROM t",
    "SELECT a FROM t WHERE b % (a - a) = 1 AND a > 0",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_those_of_plain_datafusion() {
    let batches = mixed();
    let reference = plain();
    table(&reference, "t", &batches);
    for device in DEVICES {
        let runtime = runtime(device);
        let context = forced(&runtime);
        table(&context, "t", &batches);
        let rows_on = format!("rows_on_{}", chosen(&runtime));
        for (sql, is_taken) in all() {
            let (_, expected) = run(&reference, sql).await.expect(sql);
            let (plan, answer) = run(&context, sql)
                .await
                .unwrap_or_else(|error| panic!("{device}: {sql}: {error}"));
            assert_eq!(rows(&answer), rows(&expected), "{device}: {sql}");
            assert!(
                answer.iter().all(|batch| batch.num_rows() <= BATCH),
                "{device}: {sql}"
            );
            if is_taken {
                assert!(!nodes(&plan).is_empty(), "{device}: {sql}");
                assert!(metric(&plan, &rows_on) > 0, "{device}: {sql}: {plan:?}");
                assert_eq!(metric(&plan, "fallbacks"), 0, "{device}: {sql}");
            }
        }
        for sql in ERRORS {
            run(&reference, sql).await.expect_err(sql);
            let error = run(&context, sql).await.expect_err(sql).to_string();
            assert!(error.contains("row "), "{device}: {sql}: {error}");
        }
    }
}

pub(crate) fn all() -> impl Iterator<Item = (&'static str, bool)> {
    let taken = TAKEN.iter().map(|sql| (*sql, true));
    taken.chain(LEFT.iter().map(|sql| (*sql, false)))
}

/// On the CPU rows are handed over by the kernel or taken by its mask, as the batch before suggests.
#[tokio::test]
async fn batches_that_keep_ever_other_shares_have_the_same_rows() {
    let batch = |every: i32| {
        let numbers = Int32Array::from_iter_values((0..500).map(|n| i32::from(n % every == 0)));
        let names = StringArray::from_iter_values((0..500).map(|n| format!("{every}: {n}")));
        let columns: [(&str, ArrayRef); 2] = [("a", Arc::new(numbers)), ("s", Arc::new(names))];
        RecordBatch::try_from_iter(columns).expect("columns are of one length")
    };
    // All, half, few and none; what one of them suggests is wrong of the next.
    let batches = [1, 2, 1, 100, 2, 2, 1000, 100, 1].map(batch);
    let reference = plain();
    table(&reference, "t", &batches);
    let context = forced(&runtime("cpu"));
    table(&context, "t", &batches);
    for sql in [
        "SELECT s FROM t WHERE a = 1",
        "SELECT s, a, s AS again FROM t WHERE a = 1",
        "SELECT a FROM t WHERE a = 1",
        "SELECT count(*) FROM t WHERE a = 1",
        "SELECT s FROM (SELECT s FROM t WHERE a = 1 LIMIT 777)",
    ] {
        let (_, expected) = run(&reference, sql).await.expect(sql);
        let (plan, answer) = run(&context, sql).await.expect(sql);
        assert_eq!(nodes(&plan).len(), 1, "{sql}");
        match sql.contains("LIMIT") {
            // Which ones is for the partitions to race for.
            true => assert_eq!(rows(&answer).len(), 777),
            false => assert_eq!(rows(&answer), rows(&expected), "{sql}"),
        }
        let sizes: Vec<usize> = answer.iter().map(|batch| batch.num_rows()).collect();
        let largest = sizes.iter().max().expect("there are rows");
        assert!(*largest <= BATCH.max(500), "{sql}: {sizes:?}");
    }
}
