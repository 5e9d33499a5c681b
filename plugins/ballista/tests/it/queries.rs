//! Answers are those of plain DataFusion, computed on both executors by nodes of ours.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::cluster::{Cluster, Executor, counted, run};
use crate::data::{TRIPS, lines};

/// One executor computes on the CPU, the other one on a simulated GPU.
const EXECUTORS: [&[&str]; 2] = [&["--devices", "cpu"], &["--devices", "sim-gpu"]];

/// What rows are counted as that one of them computed.
const ROWS_ON: [&str; 2] = ["rows_on_cpu", "rows_on_sim-gpu:0"];

/// Queries, and of how many rows nodes of ours compute something. Of `stops` there are some, too.
const QUERIES: [(&str, RangeInclusive<u64>); 7] = [
    ("SELECT id, kind FROM trips WHERE id % 7 = 3", ONCE),
    (
        "SELECT id + 1 AS next, distance * 2 AS twice FROM trips WHERE id % 2 = 1",
        ONCE_AND_HALF,
    ),
    (
        "SELECT count(*), sum(distance) FROM trips WHERE id % 10 < 4",
        ONCE,
    ),
    (
        "SELECT kind, count(*), min(id) FROM trips WHERE id % 5 <> 2 GROUP BY kind",
        ONCE,
    ),
    (
        "SELECT stop, distance FROM trips JOIN stops ON id = trip WHERE id % 2 = 0 AND stop % 3 = 1",
        ONCE,
    ),
    // Files whose rows cannot be among the first any more are not read.
    (
        "SELECT id, distance FROM trips WHERE id % 3 = 1 ORDER BY id DESC LIMIT 10",
        1..=ALL,
    ),
    // A function that is left, over a filter that is taken.
    ("SELECT upper(kind), id FROM trips WHERE id % 11 = 0", ONCE),
];

const ALL: u64 = TRIPS as u64;

const ONCE: RangeInclusive<u64> = ALL..=ALL + 1_000;

const ONCE_AND_HALF: RangeInclusive<u64> = ALL * 3 / 2..=ALL * 3 / 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_those_of_plain_datafusion() {
    let mut cluster = Cluster::start(&EXECUTORS).await;
    let reference = cluster.plain().await;
    for is_adaptive in [true, false] {
        let client = cluster.client(is_adaptive).await;
        let mut of_each = [0; 2];
        for (sql, looked_at) in QUERIES {
            let expected = run(&reference, sql).await.expect(sql);
            let answer = run(&client, sql).await;
            let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(lines(&answer, sql), lines(&expected, sql), "{sql}");

            let receipts = cluster.executors.iter_mut().map(Executor::receipts);
            let receipts: Vec<Vec<Value>> = receipts.collect();
            let rows: Vec<u64> = ROWS_ON
                .iter()
                .zip(&receipts)
                .map(|(name, receipts)| counted(receipts, name))
                .collect();
            assert!(
                looked_at.contains(&rows.iter().sum()),
                "{sql}: {rows:?}, not {looked_at:?}: {receipts:#?}"
            );
            // Each computes on its own devices, and on no other.
            for (name, others) in ROWS_ON.iter().zip(receipts.iter().rev()) {
                assert_eq!(counted(others, name), 0, "{sql}: {others:#?}");
            }
            for receipt in receipts.iter().flatten() {
                assert_eq!(receipt["completed"], true, "{sql}: {receipt:#}");
                assert_eq!(
                    counted(std::slice::from_ref(receipt), "fallbacks"),
                    0,
                    "{sql}"
                );
            }
            for (sum, rows) in of_each.iter_mut().zip(rows) {
                *sum += rows;
            }
        }
        assert!(
            of_each.iter().all(|rows| *rows > 0),
            "{is_adaptive}: one has done nothing: {of_each:?}"
        );
    }
}

/// What a node of ours counts comes to the scheduler as that of the operator that it stands for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_of_a_stage_come_to_the_scheduler() {
    let cluster = Cluster::start(&[&["--devices", "cpu"], &["--devices", "cpu"]]).await;
    let client = cluster.client(false).await;
    let sql = "EXPLAIN ANALYZE SELECT id + 1 AS next FROM trips WHERE id % 10 = 3";
    let answer = run(&client, sql).await.expect(sql);
    let told = lines(&answer, sql).join("\n");
    for operator in ["FilterExec", "ProjectionExec"] {
        let line = told.lines().find(|line| line.contains(operator));
        let line = line.unwrap_or_else(|| panic!("no {operator}: {told}"));
        assert!(line.contains("output_rows=2.00 K"), "{told}");
        assert!(line.contains("rows_on_cpu="), "{told}");
    }
}
