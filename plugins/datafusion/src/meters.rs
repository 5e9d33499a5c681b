//! What `EXPLAIN ANALYZE` tells of a node: its rows and times as of every operator, and what the
//! receipts say.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder,
};
use unlade::{Path, Receipt};

/// The metrics of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    pub(crate) baseline: BaselineMetrics,
    batches: Count,
    together: Count,
    to_device: Count,
    from_device: Count,
    copied: Count,
    fallbacks: Count,
    retries: Count,
    filters_read: Count,
    /// Rows by the device that took them, as they turn up: few, so that looking through them is fastest.
    rows_on: Arc<Mutex<Vec<RowsOn>>>,
    metrics: ExecutionPlanMetricsSet,
    partition: usize,
}

/// Rows that a device took.
#[derive(Clone, Debug)]
struct RowsOn {
    device: Arc<str>,
    rows: Count,
}

impl Meters {
    pub(crate) fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let count = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Meters {
            baseline: BaselineMetrics::new(metrics, partition),
            batches: count("batches"),
            together: count("batches_together"),
            to_device: count("bytes_to_device"),
            from_device: count("bytes_from_device"),
            copied: count("bytes_copied"),
            fallbacks: count("fallbacks"),
            retries: count("retries"),
            filters_read: count("filters_read"),
            rows_on: Arc::default(),
            metrics: metrics.clone(),
            partition,
        }
    }

    /// Notes that a filter that changes was read anew.
    pub(crate) fn filter_read(&self) {
        self.filters_read.add(1);
    }

    pub(crate) fn note(&self, receipt: &Receipt) {
        self.batches.add(1);
        if receipt.together > 1 {
            self.together.add(1);
        }
        for (count, more) in [
            (&self.to_device, receipt.bytes_to_device),
            (&self.from_device, receipt.bytes_from_device),
            (&self.copied, receipt.bytes_copied),
            (&self.retries, receipt.retries.into()),
        ] {
            // Of most there is nothing to add, which costs as much as something.
            if more > 0 {
                count.add(more as usize);
            }
        }
        let mut rows_on = self.rows_on.lock().unwrap_or_else(PoisonError::into_inner);
        for part in &receipt.parts {
            if part.path == Path::Fallback {
                self.fallbacks.add(1);
            }
            if part.completed {
                let known = rows_on.iter().position(|of| of.device == part.device);
                let at = known.unwrap_or_else(|| {
                    let name = format!("rows_on_{}", part.device);
                    rows_on.push(RowsOn {
                        device: Arc::clone(&part.device),
                        rows: MetricBuilder::new(&self.metrics).counter(name, self.partition),
                    });
                    rows_on.len() - 1
                });
                rows_on[at].rows.add(part.rows as usize);
            }
        }
    }
}
