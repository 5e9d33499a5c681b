//! What was computed where of a task.

use std::collections::BTreeMap;

use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use serde::Serialize;

/// What Unlade computed of a task, which is one stage of a query for some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskReceipt {
    /// Ballista's name for the query.
    pub job: String,
    /// The stage's number in it.
    pub stage: usize,
    /// The task's number in the stage.
    pub task: usize,
    /// Whether the task ended without an error.
    pub completed: bool,
    /// The nodes of Unlade's in the plan that was run, topmost first.
    pub nodes: Vec<NodeReceipt>,
}

/// What a node of Unlade's did in a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NodeReceipt {
    /// The operator that it stood for: `FilterExec` or `ProjectionExec`.
    pub stands_for: String,
    /// The node, as `EXPLAIN` shows it.
    pub node: String,
    /// What it counted while it ran, over all partitions of the task: `output_rows`, `rows_on_DEVICE` for
    /// each device, `batches`, `bytes_to_device` and so on, as `EXPLAIN ANALYZE` names them.
    pub counters: BTreeMap<String, u64>,
}

/// The counters of a node that has run. Of one name there are as many as there were partitions.
pub(crate) fn counters(metrics: &MetricsSet) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for metric in metrics.iter() {
        let value = metric.value();
        if matches!(
            value,
            MetricValue::Count { .. } | MetricValue::OutputRows(_)
        ) {
            *counters.entry(value.name().to_owned()).or_default() += value.as_usize() as u64;
        }
    }
    counters
}
