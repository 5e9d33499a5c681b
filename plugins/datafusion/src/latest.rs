//! Kernels of filters that change while they run: new values, and no new compile.
//!
//! Whoever changes a filter, a join or a `LIMIT` above, drops itself what that lets pass: it is there
//! to save work. So a batch may be filtered by what was known a moment ago.

use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_plan::ExecutionPlan;
use unlade::{Kernel, Receipt};

use crate::exec::Work;
use crate::mask::Mask;
use crate::meters::Meters;
use crate::shape::{Extent, Shape};

/// The kernels of a node, by its filter as that is now.
pub(crate) struct Latest {
    /// Of the node's rows.
    rows: Kernel,
    mask: Option<Mask>,
    changing: Option<Changing>,
}

/// A kernel, by what it hands over.
pub(crate) enum Way<'a> {
    Rows(&'a Kernel),
    Mask(&'a Mask),
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
    /// The kernels of a node that stands for operators.
    pub(crate) fn of(
        work: &Arc<Work>,
        replaced: &Arc<dyn ExecutionPlan>,
        extent: Extent,
        meters: &Meters,
    ) -> Self {
        let shape = Shape::of(replaced, extent);
        let filter = shape.and_then(|shape| shape.filter);
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
            rows: work.kernel.clone(),
            mask: shape.and_then(|shape| Mask::of(work, shape)),
            changing,
        }
    }

    /// The kernel of all batches' rows, by the filter as it is now.
    pub(crate) fn into_rows(mut self) -> Kernel {
        self.renew(0);
        self.rows
    }

    /// How a batch of so many rows is to be filtered.
    pub(crate) fn for_batch(&mut self, rows: usize) -> Way<'_> {
        self.renew(rows);
        match &self.mask {
            Some(mask) if mask.pays() => Way::Mask(mask),
            _ => Way::Rows(&self.rows),
        }
    }

    fn renew(&mut self, rows: usize) {
        if let Some(changing) = &mut self.changing {
            changing.renew(rows, &mut self.rows, self.mask.as_mut());
        }
    }

    /// Notes what became of a batch.
    pub(crate) fn note(&mut self, receipt: &Receipt) {
        if let Some(mask) = &mut self.mask {
            mask.note(receipt);
        }
    }
}

impl Changing {
    /// Makes kernels anew, if the filter is another since. One that cannot be had leaves the last, which lets
    /// more pass.
    fn renew(&mut self, rows: usize, kernel: &mut Kernel, mask: Option<&mut Mask>) {
        let due = self.rows >= ROWS_BETWEEN;
        self.rows = self.rows.saturating_add(rows);
        if !due {
            return;
        }
        let shape = Shape::of(&self.replaced, self.extent);
        let Some((shape, filter)) = shape.and_then(|shape| Some((shape, shape.filter?))) else {
            return;
        };
        let generation = snapshot_generation(filter.predicate());
        if generation == self.generation {
            return;
        }
        let _compiling = self.meters.baseline.elapsed_compute().timer();
        (self.generation, self.rows) = (generation, rows);
        let renewed = shape
            .request()
            .and_then(|request| self.work.renewed(&request, &self.replaced.schema()));
        if let Ok(renewed) = renewed {
            *kernel = renewed;
            self.meters.filter_read();
        }
        if let Some(mask) = mask {
            mask.renew(&self.work, shape);
        }
    }
}

/// Whether some condition of a predicate may change while it is evaluated.
pub(crate) fn changes(predicate: &Arc<dyn PhysicalExpr>) -> bool {
    DynamicFilterTracking::classify(predicate).contains_dynamic_filter()
}
