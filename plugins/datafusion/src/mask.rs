//! Filters by a mask: where a node computes none of its columns, the kernel may say which rows are kept,
//! and they are copied once, to where they are put out.
//!
//! A kernel that hands over rows reads and writes every column a vector at a time, whatever it keeps;
//! these rows are copied again to batches of one size. That is the better way where a good part is kept,
//! but not nearly all, and where the columns are those that the condition reads anyway.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::physical_expr::utils::collect_columns;
use unlade::{Kernel, Receipt};

use crate::exec::Work;
use crate::shape::Shape;

/// Shares of rows kept between which a kernel that hands over rows is faster, as `benches/queries` saw
/// it of eight columns of payload.
const ROWS_ARE_FASTER: std::ops::Range<f64> = 0.25..0.95;

/// The kernel of a node's mask.
#[derive(Debug)]
pub(crate) struct Mask {
    kernel: Kernel,
    /// The positions in the input of the node's columns.
    columns: Vec<usize>,
    /// The share of rows that the last batch kept; of the first nobody knows.
    kept: f64,
}

impl Mask {
    /// `None` where rows are always the better way, or the kernel cannot be had.
    pub(crate) fn of(work: &Work, shape: Shape<'_>) -> Option<Self> {
        // A device hands over rows.
        if work.may_queue() {
            return None;
        }
        let columns = shape.selected()?;
        let input = shape.input.schema();
        let read = collect_columns(shape.filter?.predicate());
        let is_read = |at: &usize| {
            let is_fixed = input.field(*at).data_type().primitive_width().is_some();
            is_fixed && read.iter().any(|column| column.index() == *at)
        };
        if columns.iter().all(is_read) {
            return None;
        }
        Some(Mask {
            kernel: kernel(work, shape)?,
            columns,
            kept: 0.0,
        })
    }

    /// Whether it is the better way to the next batch's rows.
    pub(crate) fn pays(&self) -> bool {
        !ROWS_ARE_FASTER.contains(&self.kept)
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Makes the kernel anew, by the filter as it is now.
    pub(crate) fn renew(&mut self, work: &Work, shape: Shape<'_>) {
        if let Some(renewed) = kernel(work, shape) {
            self.kernel = renewed;
        }
    }

    /// Notes how many rows a batch kept.
    pub(crate) fn note(&mut self, receipt: &Receipt) {
        self.kept = receipt.rows_out as f64 / (receipt.rows_in as f64).max(1.0);
    }

    /// The node's columns of a batch, with all its rows.
    pub(crate) fn columns(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let columns = self.columns.iter().map(|at| Arc::clone(batch.column(*at)));
        let batch = RecordBatch::try_new(Arc::clone(schema), columns.collect())?;
        Ok(batch)
    }
}

fn kernel(work: &Work, shape: Shape<'_>) -> Option<Kernel> {
    work.renewed(&shape.mask().ok()?, &Schema::empty()).ok()
}
