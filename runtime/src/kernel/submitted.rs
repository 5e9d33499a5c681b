//! Batches of tickets, on threads of the runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;

use super::{Assignment, KernelCore, Lane, Output, Record};
use crate::call::Call;
use crate::error::Error;
use crate::portion::{Portion, Read};
use crate::ticket::{Completer, TicketPlace};
use crate::workers::panic_message;

/// A batch that was handed over for a ticket.
pub(super) struct Submitted {
    pub(super) kernel: Arc<KernelCore>,
    pub(super) place: TicketPlace,
    pub(super) completer: Completer,
}

impl Submitted {
    /// Has it run: on a thread of its device's, so that who waits for a device holds up those alone
    /// who want the same one. Where there is more to it, a thread that computes prepares that.
    pub(super) fn begin(self, batch: RecordBatch) {
        let kernel = Arc::clone(&self.kernel);
        if let Some(device) = kernel.queue_of_any_batch() {
            let calling = None;
            let portion = Portion::whole(Read { batch, calling }, kernel.next_batches(1));
            let assignment = kernel.assign(portion, Duration::ZERO);
            return self.have_run(device, assignment);
        }
        kernel
            .runtime
            .workers
            .spawn(kernel.session.task(), move || {
                self.prepare(batch);
                None
            });
    }

    /// Calls users' functions, chooses a device, and computes the batch where that is the CPU.
    fn prepare(self, batch: RecordBatch) {
        let kernel = &self.kernel;
        let prepare = || {
            let number = kernel.next_batches(1);
            let read = kernel.with_calls(self.completer.given_up(), number, batch)?;
            // It has a processor of its own.
            Ok(kernel.assign(Portion::whole(read, number), Duration::ZERO))
        };
        match caught(prepare) {
            Err(error) => self.end(Err(error)),
            Ok(assignment) => match assignment.lane {
                Lane::Queue(device) => self.have_run(device, assignment),
                Lane::Inline(_) => {
                    self.run(assignment);
                }
            },
        }
    }

    fn have_run(self, device: usize, assignment: Assignment) {
        let kernel = Arc::clone(&self.kernel);
        let workers = &kernel.runtime.devices[device].workers;
        workers.spawn(kernel.session.task(), move || self.run(assignment));
    }

    /// Runs it; returns for how long devices have worked for it, if any have that tell.
    fn run(self, assignment: Assignment) -> Option<Duration> {
        let kernel = &self.kernel;
        let given_up = Some(self.completer.given_up());
        let call = Call {
            taken_on: true,
            ..kernel.call(assignment.portion.number, 1, given_up)
        };
        let (mut results, _) = kernel.run_assigned(assignment, &call, Record::Alone);
        let result = results.pop_front().expect("a batch has a result");
        let used = result.as_ref().ok();
        let used = used.and_then(|output| output.receipt.device_time());
        self.end(result);
        used
    }

    fn end(self, result: Result<Output, Error>) {
        let Submitted {
            kernel,
            place,
            completer,
        } = self;
        // Whoever is told finds nothing of it left.
        drop((place, kernel));
        completer.complete(result);
    }
}

/// The result of what may panic.
fn caught<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let caught = catch_unwind(AssertUnwindSafe(run));
    caught.unwrap_or_else(|panic| Err(Error::Panicked(panic_message(panic))))
}
