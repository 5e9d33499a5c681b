//! Kernels of filters that change while they run: new values, and no new compile.
//!
//! Whoever changes a filter, a join or a `LIMIT` above, drops itself what that lets pass: it is there
//! to save work. So a batch may be filtered by what was known a moment ago.

use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_plan::ExecutionPlan;
use unlade::Kernel;

use crate::exec::Work;
use crate::meters::Meters;
use crate::shape::{Extent, Shape};

/// The kernel of a node, by its filter as that is now.
pub(crate) struct Latest {
    kernel: Kernel,
    changing: Option<Changing>,
}

/// A filter that may change.
struct Changing {
    work: Arc<Work>,
    /// What is read anew.
    replaced: Arc<dyn ExecutionPlan>,
    extent: Extent,
    /// What the filter was when it was read.
    generation: u64,
    /// Rows that were filtered since.
    rows: usize,
    meters: Meters,
}

/// Rows between two readings: a filter that follows the least ten values may change with every batch,
/// and reading it takes about as long as filtering so many.
const ROWS_BETWEEN: usize = 1 << 16;

impl Latest {
    /// The kernel of a node that stands for operators.
    pub(crate) fn of(
        work: &Arc<Work>,
        replaced: &Arc<dyn ExecutionPlan>,
        extent: Extent,
        meters: &Meters,
    ) -> Self {
        let filter = Shape::of(replaced, extent).and_then(|shape| shape.filter);
        let changes = filter.is_some_and(|filter| changes(filter.predicate()));
        let changing = changes.then(|| Changing {
            work: Arc::clone(work),
            replaced: Arc::clone(replaced),
            extent,
            // Whatever is known by the first batch is read then.
            generation: 0,
            rows: ROWS_BETWEEN,
            meters: meters.clone(),
        });
        Latest {
            kernel: work.kernel.clone(),
            changing,
        }
    }

    /// The kernel for a batch of so many rows.
    pub(crate) fn for_batch(&mut self, rows: usize) -> &Kernel {
        if let Some(renewed) = self.changing.as_mut().and_then(|each| each.renewed(rows)) {
            self.kernel = renewed;
        }
        &self.kernel
    }
}

impl Changing {
    /// Another kernel, if the filter is another since. One that cannot be had leaves the last, which lets more
    /// pass.
    fn renewed(&mut self, rows: usize) -> Option<Kernel> {
        let due = self.rows >= ROWS_BETWEEN;
        self.rows = self.rows.saturating_add(rows);
        if !due {
            return None;
        }
        let shape = Shape::of(&self.replaced, self.extent)?;
        let generation = snapshot_generation(shape.filter?.predicate());
        if generation == self.generation {
            return None;
        }
        (self.generation, self.rows) = (generation, rows);
        let request = shape.request().ok()?;
        let kernel = self.work.renewed(&request, &self.replaced.schema()).ok()?;
        self.meters.filter_read();
        Some(kernel)
    }
}

/// Whether some condition of a predicate may change while it is evaluated.
pub(crate) fn changes(predicate: &Arc<dyn PhysicalExpr>) -> bool {
    DynamicFilterTracking::classify(predicate).contains_dynamic_filter()
}
