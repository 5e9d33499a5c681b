//! Batches on a device behind a queue, and on the CPU in its place where it fails.

use std::sync::{Arc, PoisonError};

use arrow_array::RecordBatch;
use unlade_hal::{DeviceLost, Timestamp};

use super::describe::describe;
use super::{KernelCore, Output};
use crate::device_plan::{DeviceFailure, DevicePlan, Parts, Tally, failed_receipt};
use crate::error::Error;
use crate::offload;
use crate::options::Fallback;
use crate::receipt::{Path, Reason};
use crate::resident::{OnDevice, ResidentCore};
use crate::runtime::DeviceSlot;
use crate::scheduler::Permit;
use crate::trace::{self, TraceEvent};

impl KernelCore {
    /// Runs a pinned batch where it lies.
    pub(super) fn run_resident(
        &self,
        resident: &ResidentCore,
        position: usize,
    ) -> Result<Output, Error> {
        let batch = &resident.batches[position];
        let Some(slot) = resident.slot else {
            return self.run(batch);
        };
        unlade_hal::fork::check()?;
        let plan = self.plan.for_resident(&self.runtime, slot)?;
        if plan.refuses(&self.runtime.devices[slot]).is_some() {
            return self.run(batch);
        }
        self.observe(|number| {
            // Brought back where it was evicted; without room the batch is staged as any other.
            let there = resident.on_device(&self.runtime, position);
            let mut tally = Tally::default();
            if there.is_none() {
                let device = Arc::clone(&self.runtime.devices[slot].name);
                tally.reason = Some(Reason::Evicted { device });
            }
            self.run_on_device(&plan, batch, number, there.as_deref(), &mut tally)
        })
    }

    /// Runs a batch of the right schema on a device; on the CPU where the device cannot.
    pub(super) fn run_on_device(
        &self,
        plan: &Arc<DevicePlan>,
        batch: &RecordBatch,
        number: u64,
        on_device: Option<&OnDevice>,
        tally: &mut Tally,
    ) -> Result<Output, Error> {
        let runtime = &self.runtime;
        let slot = &runtime.devices[plan.slot];
        let device = Arc::clone(&slot.name);
        let start = runtime.clock.now();
        let mut tally = std::mem::take(tally);
        let Some(permit) = runtime.enter(plan.slot, self.number, self.binding().bytes_read(batch))
        else {
            let lost = offload::lost(slot, "it failed and is not trusted yet".to_owned());
            return self.instead(
                batch,
                number,
                start,
                tally,
                Reason::Quarantined { device },
                lost,
            );
        };
        let parts = match plan.parts(runtime) {
            Parts::Ready(parts) => parts,
            Parts::Compiling => {
                drop(permit);
                let lost = offload::lost(slot, "its program is still being compiled".to_owned());
                return self.instead(
                    batch,
                    number,
                    start,
                    tally,
                    Reason::Compiling { device },
                    lost,
                );
            }
            Parts::Failed(error) => {
                drop(permit);
                let lost = offload::lost(slot, error.to_string());
                let reason = Reason::DeviceFault {
                    device,
                    reason: error.to_string().into(),
                };
                tally.retries += 1;
                return self.instead(batch, number, start, tally, reason, lost);
            }
        };
        let fault = |permit: Permit<'_>, mut tally: Tally, lost: DeviceLost| {
            slot.fault(&lost);
            let _ended = permit.lost();
            tally.retries += 1;
            let why = tally.reason.clone();
            let why = why.unwrap_or_else(|| plan.reason.clone());
            tally
                .parts
                .push(failed_receipt(slot, why, batch.num_rows()));
            let device = Arc::clone(&slot.name);
            let reason = Reason::DeviceFault {
                device,
                reason: lost.reason.as_str().into(),
            };
            self.instead(batch, number, start, tally, reason, lost)
        };
        let evaluated = match plan.run(runtime, &parts, &self.checked, batch, on_device, &mut tally)
        {
            Ok(evaluated) => evaluated,
            Err(DeviceFailure::Error(error)) => return Err(error),
            Err(DeviceFailure::Fault(lost)) => return fault(permit, tally, lost),
            Err(DeviceFailure::OutOfMemory) => {
                drop(permit);
                let lost = offload::lost(slot, "one row does not fit into its memory".to_owned());
                tally.retries += 1;
                return self.instead(
                    batch,
                    number,
                    start,
                    tally,
                    Reason::OutOfMemory { device },
                    lost,
                );
            }
            Err(DeviceFailure::Trap(trap)) => {
                let error = match trap {
                    Some(trap) => Some(describe(&self.checked, self.dialect, batch, trap)),
                    None => self.first_error(batch),
                };
                return match error.filter(|error| error.description.is_some()) {
                    Some(error) => {
                        permit.done();
                        Err(error.into())
                    }
                    None => {
                        let reason =
                            "it reported an error that evaluating the row again does not show";
                        fault(permit, tally, offload::lost(slot, reason.to_owned()))
                    }
                };
            }
        };
        permit.done();
        self.record_device(slot, number, &tally);
        let taken = runtime.clock.now().since(start);
        self.finish(batch, number, evaluated, tally, taken, Some(plan))
    }

    /// Runs on the CPU what was meant for a device, if that is allowed.
    fn instead(
        &self,
        batch: &RecordBatch,
        number: u64,
        start: Timestamp,
        mut tally: Tally,
        reason: Reason,
        lost: DeviceLost,
    ) -> Result<Output, Error> {
        if self.runtime.options.fallback == Fallback::Forbid || self.host.is_none() {
            return Err(Error::DeviceFault(lost));
        }
        let (evaluated, part, retries) =
            self.evaluate_inline(batch, number, reason, Path::Fallback)?;
        tally.retries += retries;
        tally.parts.push(part);
        let taken = self.runtime.clock.now().since(start);
        self.finish(batch, number, evaluated, tally, taken, None)
    }

    /// A device says how long things took, not when: they are laid end to end on its track.
    fn record_device(&self, slot: &DeviceSlot, batch: u64, tally: &Tally) {
        if !self.runtime.trace.is_enabled() {
            return;
        }
        let mut reached = slot.traced.lock().unwrap_or_else(PoisonError::into_inner);
        for part in tally.parts.iter().filter(|part| part.path == Path::Queued) {
            let steps = [
                ("copy in", part.copy_in),
                ("compute", part.compute),
                ("copy out", part.copy_out),
            ];
            for (name, taken) in steps {
                self.runtime.trace.record(|| TraceEvent {
                    track: Arc::clone(&slot.name),
                    name,
                    batch,
                    kernel: self.number,
                    start_ns: trace::duration_nanos(*reached),
                    duration_ns: trace::duration_nanos(taken),
                    clock: part.clock,
                });
                *reached += taken;
            }
        }
    }
}
