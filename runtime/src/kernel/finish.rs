//! Results as the caller gets them, with a receipt.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};

use super::{KernelCore, Output};
use crate::arrays::malformed;
use crate::call::Call;
use crate::device_plan::{DevicePlan, Tally};
use crate::error::Error;
use crate::inline::Evaluated;
use crate::receipt::{Receipt, Verified};

impl KernelCore {
    /// What became of a batch: computed by the CPU, or by a device. `taken` is the time since it was
    /// handed over, whatever was tried before.
    pub(super) fn finish(
        &self,
        call: &Call<'_>,
        batch: &RecordBatch,
        evaluated: Evaluated,
        tally: Tally,
        taken: Duration,
        by: Option<&DevicePlan>,
    ) -> Result<Output, Error> {
        let (metrics, verified) = match by {
            None => (&self.metrics, Verified::Reference),
            Some(plan) => (&plan.metrics, Verified::Unverified),
        };
        let receipt = Receipt {
            batch: call.number,
            together: call.together,
            rows_in: batch.num_rows() as u64,
            rows_out: evaluated.rows_out as u64,
            calls: Vec::new(),
            parts: tally.parts,
            bytes_in: evaluated.bytes_in,
            bytes_out: evaluated.bytes_out,
            bytes_copied: evaluated.bytes_copied,
            bytes_to_device: tally.bytes_to_device,
            bytes_from_device: tally.bytes_from_device,
            staged: tally.staged,
            gathered: tally.gathered,
            predicted: None,
            predicted_clock: None,
            taken,
            taken_clock: self.runtime.clock.kind(),
            host_cpu: None,
            retries: tally.retries,
            verified,
        };
        metrics.batch(&receipt);
        for part in &receipt.parts {
            self.runtime.fallbacks.note(part);
        }
        Ok(Output {
            batch: self.output_batch(evaluated.columns, evaluated.rows_out)?,
            mask: evaluated.mask,
            receipt,
        })
    }

    pub(super) fn output_batch(
        &self,
        columns: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch, Error> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.checked.output);
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(malformed)
    }
}
