//! Executors that end while there is work: as they are told, or all at once.

use rustix::process::Signal;

use crate::cluster::{Cluster, run};
use crate::data::lines;

const SQL: &str = "SELECT kind, count(*), sum(id) FROM trips WHERE id % 7 <> 3 GROUP BY kind";

const TWO: [&[&str]; 2] = [&["--devices", "cpu"], &["--devices", "cpu"]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_was_killed_is_done_without() {
    let mut cluster = Cluster::start(&TWO).await;
    let client = cluster.client(true).await;
    let reference = cluster.plain().await;
    let expected = lines(&run(&reference, SQL).await.unwrap(), SQL);
    assert_eq!(lines(&run(&client, SQL).await.unwrap(), SQL), expected);

    // Before a query: the scheduler still counts on it, and finds out.
    cluster.executors[1].signal(Signal::KILL);
    cluster.executors[1].ended();
    match run(&client, SQL).await {
        Ok(answer) => assert_eq!(lines(&answer, SQL), expected),
        Err(error) => println!("a query while nobody knew: {error}"),
    }
    cluster.has(1).await;
    let answer = run(&client, SQL).await.expect("one is left");
    assert_eq!(lines(&answer, SQL), expected);
    assert!(!cluster.executors[0].receipts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_ends_as_it_is_told() {
    let mut cluster = Cluster::start(&TWO).await;
    let client = cluster.client(true).await;
    run(&client, SQL).await.unwrap();
    for (executor, signal) in cluster
        .executors
        .iter_mut()
        .zip([Signal::TERM, Signal::INT])
    {
        executor.signal(signal);
        let status = executor.ended();
        assert!(status.success(), "{signal:?}: {status}");
        let metrics = std::fs::read_to_string(&executor.metrics).unwrap();
        let counted = metrics
            .lines()
            .any(|line| line.starts_with("unlade_") && line.contains("device=\"cpu\""));
        assert!(counted, "{metrics}");
    }
    cluster.has(0).await;
}
