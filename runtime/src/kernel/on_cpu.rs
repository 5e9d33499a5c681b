//! Batches on the CPU, on the calling thread.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use unlade_expr::Checked;

use super::describe::describe;
use super::room::is_exhausted;
use super::{KernelCore, Output};
use crate::call::Call;
use crate::device_plan::Tally;
use crate::error::{DataError, Error};
use crate::inline::{Evaluated, InlineFailure};
use crate::receipt::{PartReceipt, Path, Reason};
use crate::route::HostPlan;

impl KernelCore {
    /// Runs a batch of the right schema on the CPU, on this thread.
    pub(super) fn run_inline(
        &self,
        call: &Call<'_>,
        batch: &RecordBatch,
        reason: Reason,
        path: Path,
    ) -> Result<Output, Error> {
        let (evaluated, part, retries) =
            self.evaluate_inline(call, self.on_host(), batch, (reason, path))?;
        let taken = part.compute;
        let tally = Tally {
            parts: vec![part],
            retries,
            ..Tally::default()
        };
        self.finish(call, batch, evaluated, tally, taken, None)
    }

    /// The query as the CPU runs it, of a kernel that the CPU may run.
    pub(super) fn on_host(&self) -> (&HostPlan, &Checked) {
        let host = self.host.as_ref();
        let host = host.expect("a route without a device has a CPU");
        (host, &self.checked)
    }

    /// Evaluates a batch on this thread, and says what that took and how often it was in vain.
    pub(super) fn evaluate_inline(
        &self,
        call: &Call<'_>,
        (host, checked): (&HostPlan, &Checked),
        batch: &RecordBatch,
        (reason, path): (Reason, Path),
    ) -> Result<(Evaluated, PartReceipt, u32), Error> {
        let clock = &self.runtime.clock;
        let start = clock.now();
        let evaluate = |batch: &RecordBatch, first_row: usize| {
            call.check()?;
            host.evaluate(&call.session.memory, checked, batch)
                .map_err(|failure| failure.moved_by(first_row))
        };
        let mut retries = 0;
        let evaluated = match evaluate(batch, 0) {
            Err(failure) if is_exhausted(&failure) => {
                let found = self.evaluate_when_there_is_room(call, batch, evaluate);
                found.map(|(evaluated, failed)| {
                    retries = failed;
                    evaluated
                })
            }
            other => other,
        };
        let evaluated = evaluated.map_err(|failure| match failure {
            InlineFailure::Error(error) => error,
            InlineFailure::Trap(trap) => {
                describe(checked, self.semantics.dialect, batch, trap).into()
            }
        })?;
        let taken = clock.now().since(start);
        self.runtime.trace.inline(&host.device, call, start, taken);
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
            bytes_compacted: 0,
            clock: clock.kind(),
        };
        Ok((evaluated, part, retries))
    }

    /// The error of a batch of which some part trapped: the whole is run on the CPU to find it.
    pub(super) fn first_error(&self, batch: &RecordBatch) -> Option<DataError> {
        let host = self.host.as_ref()?;
        match host.evaluate(&self.session.memory, &self.checked, batch) {
            Err(InlineFailure::Trap(trap)) => {
                Some(describe(&self.checked, self.semantics.dialect, batch, trap))
            }
            _ => None,
        }
    }
}
