//! Metrics as Prometheus reads them, of runtimes that come and go.
#![cfg(feature = "prometheus-text")]

use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatch};
use unlade::prometheus::{self, CannotInstall};
use unlade::{Query, Semantics, col, lit};

/// One test: a process has one recorder.
#[test]
fn series_do_not_grow_with_sessions_and_gauges_end_with_their_runtime() {
    let metrics = prometheus::install().unwrap();
    let again = prometheus::install().unwrap_err();
    assert!(matches!(again, CannotInstall::Taken), "{again}");

    let ready = "unlade_device_state{device=\"cpu\",state=\"ready\"}";
    let value = |text: &str, series: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let column: Int32Array = (0..100).collect();
    let batch = RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap();
    let mut counts = Vec::new();
    for round in 1..=3 {
        let runtime = unlade::runtime().unwrap();
        metrics.watch(&runtime);
        for number in 0..100 {
            let session = runtime.session(format!("query {round}.{number}"));
            let session = session.open().unwrap();
            let query = Query::filter(col("n").lt(lit(number)));
            let rules = Semantics::arrow();
            let kernel = session.compile(&query, &batch.schema(), &rules).unwrap();
            kernel.run(&batch).unwrap();
            if number == 50 {
                // The runtime's own, and this one.
                assert_eq!(value(&metrics.text(), "unlade_sessions "), 2.0);
            }
        }
        let text = metrics.text();
        assert_eq!(value(&text, ready), 1.0);
        assert_eq!(value(&text, "unlade_sessions "), 1.0);
        let opened = value(&text, "unlade_sessions_opened_total ");
        assert_eq!(opened, f64::from(round * 100));
        let refused = runtime.session("greedy").device("tpu=1".parse().unwrap());
        refused.open().unwrap_err();
        let text = metrics.text();
        let refused = value(&text, "unlade_sessions_refused_total ");
        assert_eq!(refused, f64::from(round));
        counts.push(series(&text));
        drop(runtime);
        let text = metrics.text();
        assert_eq!(value(&text, ready), 0.0, "it has ended");
        assert_eq!(value(&text, "unlade_pool_reserve_bytes "), 0.0);
        assert_eq!(value(&text, "unlade_sessions_opened_total "), opened);
    }
    assert_eq!(counts[0], counts[2], "{counts:?}");
    // Whoever asks gets buckets, which can be added.
    let text = metrics.text();
    let count = "unlade_batch_seconds_count{device=\"cpu\"}";
    assert_eq!(value(&text, count), 300.0);
    let all = "unlade_batch_seconds_bucket{device=\"cpu\",le=\"+Inf\"}";
    assert_eq!(value(&text, all), 300.0);
    assert!(!text.contains("quantile"), "{text}");
}
