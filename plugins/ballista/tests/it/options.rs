//! What a client's session says of Unlade holds on the executors, as far as their devices go.

use crate::cluster::{Cluster, Executor, counted, run};
use crate::data::TRIPS;

const SQL: &str = "SELECT id FROM trips WHERE id % 7 = 3";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_options_hold_where_its_tasks_run() {
    let mut cluster = Cluster::start(&[
        &["--devices", "cpu"],
        &["--devices", "sim", "--task-device", "sim=0.5"],
    ])
    .await;
    let client = cluster.client(true).await;
    let set = async |text: &str| client.sql(text).await.map(drop).expect(text);
    let mut all = async |sql: &str| {
        let rows = run(&client, sql).await.map(|batches| {
            let rows = batches.iter().map(|batch| batch.num_rows());
            rows.sum::<usize>()
        });
        let receipts = cluster.executors.iter_mut().flat_map(Executor::receipts);
        (rows, receipts.collect::<Vec<_>>())
    };
    let found = (0..TRIPS).filter(|id| id % 7 == 3).count();

    let (rows, receipts) = all(SQL).await;
    assert_eq!(rows.unwrap(), found);
    let on = ["rows_on_cpu", "rows_on_sim"].map(|name| counted(&receipts, name));
    assert_eq!(on.iter().sum::<u64>(), TRIPS as u64, "{receipts:#?}");
    assert!(on.iter().all(|rows| *rows > 0), "{receipts:#?}");

    set("SET unlade.device = 'cpu'").await;
    let (rows, receipts) = all(SQL).await;
    assert_eq!(rows.unwrap(), found);
    assert_eq!(
        counted(&receipts, "rows_on_cpu"),
        TRIPS as u64,
        "{receipts:#?}"
    );

    // One of them has it, the other one does not.
    set("SET unlade.device = 'sim'").await;
    let (rows, _) = all(SQL).await;
    let error = rows.unwrap_err().to_string();
    assert!(
        error.contains("there is no device `sim`; there is cpu"),
        "{error}"
    );

    set("SET unlade.device = 'auto'").await;
    set("SET unlade.mode = 'require'").await;
    let (rows, _) = all("SELECT id FROM trips WHERE kind LIKE '%us'").await;
    let error = rows.unwrap_err().to_string();
    assert!(
        error.contains("unlade.mode is require, and FilterExec is left"),
        "{error}"
    );

    set("SET unlade.enabled = false").await;
    let (rows, receipts) = all(SQL).await;
    assert_eq!(rows.unwrap(), found);
    assert!(!receipts.is_empty());
    assert_eq!(counted(&receipts, "batches"), 0, "{receipts:#?}");
}

/// Such as the one that `ballista-scheduler` starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_knows_nothing_of_it_leaves_it_to_the_executors() {
    let given: &[&str] = &["--devices", "cpu", "--set", "unlade.force=true"];
    let mut cluster = Cluster::start_with(None, &[given, given]).await;
    let client = cluster.client(true).await;
    client.sql("SET unlade.enabled = false").await.unwrap();
    let rows = run(&client, SQL).await.unwrap();
    let rows = rows.iter().map(|batch| batch.num_rows()).sum::<usize>();
    assert_eq!(rows, (0..TRIPS).filter(|id| id % 7 == 3).count());
    let receipts = cluster.executors.iter_mut().flat_map(Executor::receipts);
    let receipts: Vec<_> = receipts.collect();
    assert_eq!(
        counted(&receipts, "rows_on_cpu"),
        TRIPS as u64,
        "{receipts:#?}"
    );
}
