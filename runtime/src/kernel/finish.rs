//! Results as the caller gets them, with a receipt.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, RecordBatchOptions};

use super::{KernelCore, Output};
use crate::arrays::malformed;
use crate::device_plan::{DevicePlan, Tally};
use crate::error::Error;
use crate::inline::Evaluated;
use crate::receipt::{Receipt, Verified};

impl KernelCore {
    /// What became of a batch: computed by the CPU, or by a device. `taken` is the time since it was
    /// handed over, whatever was tried before.
    pub(super) fn finish(
        &self,
        batch: &RecordBatch,
        number: u64,
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
            batch: number,
            rows_in: batch.num_rows() as u64,
            rows_out: evaluated.rows_out as u64,
            parts: tally.parts,
            bytes_in: evaluated.bytes_in,
            bytes_out: evaluated.bytes_out,
            bytes_copied: evaluated.bytes_copied,
            bytes_to_device: tally.bytes_to_device,
            bytes_from_device: tally.bytes_from_device,
            predicted: None,
            predicted_clock: None,
            taken,
            taken_clock: self.runtime.clock.kind(),
            host_cpu: None,
            retries: tally.retries,
            verified,
        };
        metrics.batch(&receipt);
        let options = RecordBatchOptions::new().with_row_count(Some(evaluated.rows_out));
        let schema = Arc::clone(&self.checked.output);
        let batch = RecordBatch::try_new_with_options(schema, evaluated.columns, &options)
            .map_err(malformed)?;
        Ok(Output {
            batch,
            mask: evaluated.mask,
            receipt,
        })
    }
}
