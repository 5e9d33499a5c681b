//! Batches of tickets, on threads of the runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use unlade_hal::Timestamp;

use super::{Assignment, KernelCore, Lane, Output, Record};
use crate::call::Call;
use crate::error::Error;
use crate::portion::{Portion, Read};
use crate::runtime::Core;
use crate::ticket::{Call as Callback, Completer, TicketPlace};
use crate::workers::panic_message;

/// A batch that was handed over for a ticket.
pub(super) struct Submitted {
    pub(super) kernel: Arc<KernelCore>,
    pub(super) place: TicketPlace,
    pub(super) completer: Completer,
    /// When it was handed over, where that is recorded.
    pub(super) came: Option<Timestamp>,
}

impl Submitted {
    /// Has it run: on a thread of its device's, so that who waits for a device holds up those alone
    /// who want the same one. Where there is more to it, a thread that computes prepares that.
    pub(super) fn begin(self, batch: RecordBatch) {
        let kernel = Arc::clone(&self.kernel);
        if let Some(device) = kernel.queue_of_any_batch() {
            let calling = None;
            let portion = Portion::whole(Read { batch, calling }, kernel.next_batches(1));
            let assignment = self.assign(portion);
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
            Ok(self.assign(Portion::whole(read, number)))
        };
        match caught(prepare) {
            Err(error) => self.end(Err(error), false),
            Ok(assignment) => match assignment.lane {
                Lane::Queue(device) => self.have_run(device, assignment),
                Lane::Inline(_) => {
                    self.run(assignment);
                }
            },
        }
    }

    fn assign(&self, portion: Portion) -> Assignment {
        Assignment {
            read: self.came.map(|came| (came, Duration::ZERO)),
            // It has a processor of its own.
            ..self.kernel.assign(portion, Duration::ZERO)
        }
    }

    fn have_run(self, device: usize, assignment: Assignment) {
        let runtime = Arc::clone(&self.kernel.runtime);
        let task = self.kernel.session.task();
        let workers = &runtime.devices[device].workers;
        workers.spawn(task, move || self.run(assignment));
    }

    /// Runs it; returns for how long devices have worked for it, if any have that tell.
    fn run(self, assignment: Assignment) -> Option<Duration> {
        let kernel = &self.kernel;
        let given_up = Some(self.completer.given_up());
        let call = Call {
            taken_on: true,
            ..kernel.call(assignment.portion.number, 1, given_up)
        };
        let on_device = matches!(assignment.lane, Lane::Queue(_));
        let (mut results, _) = kernel.run_assigned(assignment, &call, Record::Alone);
        let result = results.pop_front().expect("a batch has a result");
        let used = result.as_ref().ok();
        let used = used.and_then(|output| output.receipt.device_time());
        self.end(result, on_device);
        used
    }

    /// Tells the result; a callback, which may take as long as it likes, on no thread of a device's.
    fn end(self, result: Result<Output, Error>, on_device: bool) {
        let Submitted {
            kernel,
            place,
            completer,
            ..
        } = self;
        let (runtime, task) = (Arc::downgrade(&kernel.runtime), kernel.session.task());
        // Whoever is told finds nothing of it left.
        drop((place, kernel));
        completer.complete(result, |callback| match runtime.upgrade() {
            Some(runtime) if on_device => {
                let called = Called {
                    callback: Some(callback),
                    _until_then: Arc::clone(&runtime),
                };
                runtime.workers.spawn(task, move || {
                    drop(called);
                    None
                });
            }
            _ => callback(),
        });
    }
}

/// A callback, called when this is dropped: also where no thread can be had for it.
struct Called {
    callback: Option<Callback>,
    /// It goes on at least as long as the callback.
    _until_then: Arc<Core>,
}

impl Drop for Called {
    fn drop(&mut self) {
        if let Some(callback) = self.callback.take() {
            callback();
        }
    }
}

/// The result of what may panic.
fn caught<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let caught = catch_unwind(AssertUnwindSafe(run));
    caught.unwrap_or_else(|panic| Err(Error::Panicked(panic_message(panic))))
}
