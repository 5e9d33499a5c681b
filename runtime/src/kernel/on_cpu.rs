//! Batches on the CPU, on the calling thread.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, RecordBatchOptions};
use unlade_hal::Timestamp;

use super::describe::describe;
use super::{KernelCore, Output};
use crate::arrays::malformed;
use crate::error::{DataError, Error};
use crate::inline::{Evaluated, InlineFailure};
use crate::receipt::{PartReceipt, Path, Reason, Receipt, Verified};
use crate::trace::{self, TraceEvent};

impl KernelCore {
    /// Runs a batch of the right schema on the CPU, on this thread.
    pub(super) fn run_inline(
        &self,
        batch: &RecordBatch,
        number: u64,
        reason: Reason,
        path: Path,
    ) -> Result<Output, Error> {
        let clock = &self.runtime.clock;
        let start = clock.now();
        let host = self
            .host
            .as_ref()
            .expect("a route without a device has a CPU");
        let evaluated = host.evaluate(&self.runtime, &self.checked, batch);
        let evaluated = evaluated.map_err(|failure| match failure {
            InlineFailure::Error(error) => error,
            InlineFailure::Trap(trap) => describe(&self.checked, self.dialect, batch, trap).into(),
        })?;
        let taken = clock.now().since(start);
        self.record(number, start, taken);
        let part = PartReceipt {
            device: Arc::clone(&host.device),
            path,
            reason,
            rows: batch.num_rows() as u64,
            completed: true,
            queued: Duration::ZERO,
            copy_in: Duration::ZERO,
            compute: taken,
            copy_out: Duration::ZERO,
            clock: clock.kind(),
        };
        let receipt = Receipt {
            batch: number,
            rows_in: batch.num_rows() as u64,
            rows_out: evaluated.rows_out as u64,
            parts: vec![part],
            bytes_in: evaluated.bytes_in,
            bytes_out: evaluated.bytes_out,
            bytes_copied: evaluated.bytes_copied,
            bytes_to_device: 0,
            bytes_from_device: 0,
            predicted: None,
            taken,
            clock: clock.kind(),
            host_cpu: None,
            retries: 0,
            verified: Verified::Reference,
        };
        self.metrics.batch(&receipt);
        self.output(evaluated, receipt)
    }

    /// The error of a batch of which some part trapped: the whole is run on the CPU to find it.
    pub(super) fn first_error(&self, batch: &RecordBatch) -> Option<DataError> {
        let host = self.host.as_ref()?;
        match host.evaluate(&self.runtime, &self.checked, batch) {
            Err(InlineFailure::Trap(trap)) => {
                Some(describe(&self.checked, self.dialect, batch, trap))
            }
            _ => None,
        }
    }

    /// Columns and a receipt as an output.
    pub(super) fn output(&self, evaluated: Evaluated, receipt: Receipt) -> Result<Output, Error> {
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

    fn record(&self, batch: u64, start: Timestamp, taken: Duration) {
        self.runtime.trace.record(|| TraceEvent {
            track: trace::cpu_track(),
            name: "compute",
            batch,
            kernel: self.number,
            start_ns: trace::nanos(start),
            duration_ns: trace::duration_nanos(taken),
            clock: self.runtime.clock.kind(),
        });
    }
}
