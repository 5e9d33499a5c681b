//! What becomes of a batch on the CPU that finds too little memory.

use arrow_array::RecordBatch;

use super::KernelCore;
use crate::call::{Call, MEMORY_WAIT};
use crate::error::Error;
use crate::halving::in_halves;
use crate::inline::{Evaluated, InlineFailure};
use crate::sync::Instant;

impl KernelCore {
    /// Evaluates a batch that has just failed for want of memory: once more whenever other batches
    /// give some back, and when none will, in halves. `evaluate` is told at which row its batch
    /// begins; the result comes with how many attempts failed.
    ///
    /// Whoever waits here holds no memory, and but one batch at a time takes what comes back: so
    /// those that run end, and those that wait have all that there is, one after another.
    ///
    /// # Errors
    /// As `evaluate`; [`Error::Exhausted`] where one row does not find room.
    pub(super) fn evaluate_when_there_is_room(
        &self,
        call: &Call<'_>,
        batch: &RecordBatch,
        evaluate: impl Fn(&RecordBatch, usize) -> Result<Evaluated, InlineFailure>,
    ) -> Result<(Evaluated, u32), InlineFailure> {
        let runtime = &self.runtime;
        let session = call.session.memory.session();
        let gives_up = || call.check().is_err();
        let Some(_turn) = runtime.shortage.enter(gives_up) else {
            return Err(InlineFailure::Error(call.why_ended()));
        };
        let deadline = Instant::now() + MEMORY_WAIT;
        let mut failed = 1;
        loop {
            let asked = match evaluate(batch, 0) {
                Err(InlineFailure::Error(Error::Exhausted(exhausted))) => exhausted.asked,
                other => return Ok((other?, failed)),
            };
            failed += 1;
            if !runtime
                .pool
                .await_return(session, asked, deadline, gives_up)
            {
                break;
            }
        }
        let evaluated = in_halves(
            batch,
            &call.session.memory,
            is_exhausted,
            |piece, first_row| {
                evaluate(piece, first_row)
                    .inspect_err(|failure| failed += u32::from(is_exhausted(failure)))
            },
        )?;
        Ok((evaluated, failed))
    }
}

/// Whether more memory would help.
pub(super) fn is_exhausted(failure: &InlineFailure) -> bool {
    matches!(failure, InlineFailure::Error(Error::Exhausted(_)))
}
