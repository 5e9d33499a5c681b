//! Batches on a device behind a queue, and on the CPU in its place where it fails.

use std::sync::Arc;

use arrow_array::RecordBatch;
use unlade_expr::Payload;
use unlade_hal::DeviceLost;

use super::describe::describe;
use super::given_up;
use super::plan::ResidentPlans;
use super::{KernelCore, Output};
use crate::call::Call;
use crate::device_plan::{DeviceFailure, DevicePlan, Parts, Tally, failed_receipt};
use crate::device_slot::{DeviceSlot, Wait};
use crate::error::{Error, Unplaceable};
use crate::inline::Evaluated;
use crate::offload;
use crate::options::Fallback;
use crate::placement::{DeviceIndex, HostBuffer};
use crate::receipt::{Path, Reason};
use crate::resident::{OnDevice, ResidentCore};
use crate::scheduler::Permit;

impl KernelCore {
    /// Runs a pinned batch where it lies.
    pub(super) fn run_resident(
        &self,
        resident: &ResidentCore,
        position: usize,
    ) -> Result<Output, Error> {
        let batch = &resident.batches[position];
        let Some(slot) = resident.slot.filter(|_| self.stages.is_empty()) else {
            return self.run(batch);
        };
        unlade_hal::fork::check()?;
        if !self.session.allowed.permits(&self.runtime, slot) {
            return self.run(batch);
        }
        let plans = self.plan.for_resident(&self.runtime, slot)?;
        if plans.staged.refuses(&self.runtime.devices[slot]).is_some() {
            return self.run(batch);
        }
        let call = self.call(self.next_batches(1), 1, None);
        let on = DeviceIndex(slot);
        let buffer = HostBuffer::Resident {
            on,
            compacts: plans.compacting.is_some(),
        };
        self.recorded(call, batch, Some(buffer), |call| {
            self.observe(call, || match &self.route.auto {
                Some(auto) => {
                    self.run_resident_where_fastest(call, auto, &plans, resident, position)
                }
                None => self.run_where_it_lies(call, &plans, resident, position),
            })
        })
    }

    /// Runs a pinned batch on the device that has it.
    pub(super) fn run_where_it_lies(
        &self,
        call: &Call<'_>,
        plans: &ResidentPlans,
        resident: &ResidentCore,
        position: usize,
    ) -> Result<Output, Error> {
        let mut tally = Tally {
            since: Some(self.runtime.clock.now()),
            ..Tally::default()
        };
        // Brought back where it was evicted; without room the batch is staged as any other.
        let found = resident.on_device(call, position, self.wait());
        match &found {
            Some(found) => tally.bytes_to_device += found.sent,
            None => {
                let device = Arc::clone(&self.runtime.devices[plans.staged.slot].name);
                tally.reason = Some(Reason::Evicted { device });
            }
        }
        let plan = plans.compacting.as_ref().filter(|_| found.is_some());
        let plan = plan.unwrap_or(&plans.staged);
        let batch = &resident.batches[position];
        let there = found.as_ref().map(|found| &*found.there);
        self.run_on_device(call, plan, batch, there, tally)
    }

    /// Runs a batch of the right schema on a device; where that cannot, on the best of the devices
    /// that placement may choose and that were not tried, and last on the CPU.
    pub(super) fn run_on_device(
        &self,
        call: &Call<'_>,
        plan: &Arc<DevicePlan>,
        batch: &RecordBatch,
        on_device: Option<&OnDevice>,
        mut tally: Tally,
    ) -> Result<Output, Error> {
        let runtime = &self.runtime;
        let start = tally.since.unwrap_or_else(|| runtime.clock.now());
        let mut plan = Arc::clone(plan);
        let mut tried = Vec::new();
        loop {
            tried.push(plan.slot);
            // What is resident is so on the first device.
            let on_device = on_device.filter(|_| plan.slot == tried[0]);
            let (reason, otherwise) = match self.attempt(call, &plan, batch, on_device, &mut tally)
            {
                Ok(evaluated) => {
                    let taken = runtime.clock.now().since(start);
                    return self.finish(call, batch, evaluated, tally, taken, Some(&plan));
                }
                Err(Missed::Error(error)) => return Err(error),
                Err(Missed::Room) => {
                    plan = self.plan.for_resident(runtime, plan.slot)?.staged;
                    continue;
                }
                Err(Missed::Elsewhere { reason, otherwise }) => (reason, otherwise),
            };
            call.check()?;
            if !self.may_go_elsewhere() {
                return Err(otherwise);
            }
            if let Some(next) = self.next_device(batch, &tried) {
                plan = Arc::clone(next);
                tally.reason = Some(reason);
                continue;
            }
            let (evaluated, part, retries) =
                self.evaluate_inline(call, self.on_host(), batch, (reason, Path::Fallback))?;
            tally.retries += retries;
            tally.parts.push(part);
            let taken = runtime.clock.now().since(start);
            return self.finish(call, batch, evaluated, tally, taken, None);
        }
    }

    /// Runs a batch on a device, once.
    fn attempt(
        &self,
        call: &Call<'_>,
        plan: &Arc<DevicePlan>,
        batch: &RecordBatch,
        on_device: Option<&OnDevice>,
        tally: &mut Tally,
    ) -> Result<Evaluated, Missed> {
        let runtime = &self.runtime;
        let slot = &runtime.devices[plan.slot];
        let device = || Arc::clone(&slot.name);
        let bytes = self.binding().bytes_read(batch);
        let permit = match runtime.enter(plan.slot, call, bytes, self.wait()) {
            Ok(permit) => permit,
            Err(end) => {
                return Err(match call.ended(end) {
                    Some(error) => Missed::Error(error),
                    None => Missed::Elsewhere {
                        reason: Reason::Quarantined { device: device() },
                        otherwise: Error::DeviceFault(slot.distrust()),
                    },
                });
            }
        };
        let parts = match plan.parts(call) {
            Parts::Ready(parts) => parts,
            Parts::Compiling => {
                let lost = offload::lost(slot, "its program is still being compiled".to_owned());
                return Err(Missed::Elsewhere {
                    reason: Reason::Compiling { device: device() },
                    otherwise: Error::DeviceFault(lost),
                });
            }
            Parts::Failed(error) => {
                return Err(Missed::failed(offload::lost(slot, error.to_string())));
            }
            Parts::Late(lost) => return Err(failed_on(slot, permit, plan, batch, tally, lost)),
            Parts::GivenUp => return Err(Missed::Error(call.why_ended())),
        };
        let earlier = tally.parts.len();
        let ran = plan.run(call, &parts, &self.checked, batch, on_device, tally);
        let used = tally.device_time(earlier, slot);
        call.count_device_time(plan, used);
        match ran {
            Ok(evaluated) => {
                permit.done(used);
                Ok(evaluated)
            }
            Err(failure)
                if on_device.is_some()
                    && plan.payload != Payload::Late
                    && failure.is_want_of_memory() =>
            {
                tally.retries += 1;
                Err(Missed::Room)
            }
            // The host has not enough to hand the device one row. The CPU is handed nothing.
            Err(DeviceFailure::Error(error @ Error::Exhausted(_))) => {
                tally.retries += 1;
                Err(Missed::Elsewhere {
                    reason: Reason::OutOfMemory { device: device() },
                    otherwise: error,
                })
            }
            Err(DeviceFailure::Error(error)) => Err(Missed::Error(error)),
            Err(DeviceFailure::GivenUp(point)) => {
                Err(Missed::Error(given_up::leave(call, permit, point)))
            }
            Err(DeviceFailure::Fault(lost)) => {
                Err(failed_on(slot, permit, plan, batch, tally, lost))
            }
            Err(DeviceFailure::OutOfMemory) => {
                tally.retries += 1;
                let lost = offload::lost(slot, "one row does not fit into its memory".to_owned());
                Err(Missed::Elsewhere {
                    reason: Reason::OutOfMemory { device: device() },
                    otherwise: Error::DeviceFault(lost),
                })
            }
            Err(DeviceFailure::Lacks(lacks)) => Err(Missed::Elsewhere {
                otherwise: Error::from(Unplaceable {
                    reasons: vec![(device(), format!("it lacks {lacks}"))],
                }),
                reason: Reason::Unsupported {
                    device: device(),
                    lacks,
                },
            }),
            Err(DeviceFailure::Trap(trap)) => {
                let error = match trap {
                    Some(trap) => {
                        Some(describe(&self.checked, self.semantics.dialect, batch, trap))
                    }
                    None => self.first_error(batch),
                };
                match error.filter(|error| error.description.is_some()) {
                    Some(error) => {
                        permit.done(used);
                        Err(Missed::Error(error.into()))
                    }
                    None => {
                        let reason =
                            "it reported an error that evaluating the row again does not show";
                        let lost = offload::lost(slot, reason.to_owned());
                        Err(failed_on(slot, permit, plan, batch, tally, lost))
                    }
                }
            }
        }
    }

    /// Whether another device, and last the CPU, may do what the one that was meant does not.
    fn may_go_elsewhere(&self) -> bool {
        self.runtime.options.fallback == Fallback::Allow && self.host.is_some()
    }

    /// For how long it is waited for a device that is reset.
    fn wait(&self) -> Wait {
        match self.may_go_elsewhere() {
            true => Wait::Briefly,
            false => Wait::ToTheEnd,
        }
    }

    /// Of the devices that placement may choose and that were not tried, the one that is predicted
    /// to be the fastest.
    fn next_device(&self, batch: &RecordBatch, tried: &[usize]) -> Option<&Arc<DevicePlan>> {
        let auto = self.route.auto.as_ref()?;
        let work = self.work(batch);
        let candidates = auto.predict(&self.runtime, &work);
        let plans = auto.plans.iter().zip(candidates.iter());
        plans
            .filter(|(_, candidate)| candidate.ineligible.is_none())
            .filter_map(|(plan, candidate)| Some((plan.as_ref()?, candidate.terms.latency())))
            .filter(|(plan, _)| !tried.contains(&plan.slot))
            .min_by_key(|(_, latency)| *latency)
            .map(|(plan, _)| plan)
    }
}

/// Why a device gave no result for a batch.
enum Missed {
    /// Nor would any other.
    Error(Error),
    /// The same device may by the mask: there is no room for columns compacted there.
    Room,
    /// Another may; `otherwise` is the error where none may be asked.
    Elsewhere { reason: Reason, otherwise: Error },
}

impl Missed {
    fn failed(lost: DeviceLost) -> Self {
        let reason = Reason::DeviceFault {
            device: lost.device.as_str().into(),
            reason: lost.reason.as_str().into(),
        };
        Missed::Elsewhere {
            reason,
            otherwise: Error::DeviceFault(lost),
        }
    }
}

/// Takes note of a device that failed while it ran a batch.
fn failed_on(
    slot: &DeviceSlot,
    permit: Permit<'_>,
    plan: &DevicePlan,
    batch: &RecordBatch,
    tally: &mut Tally,
    lost: DeviceLost,
) -> Missed {
    slot.fault(permit, &lost);
    tally.retries += 1;
    let reason = tally.reason.clone();
    let reason = reason.unwrap_or_else(|| plan.reason.clone());
    tally
        .parts
        .push(failed_receipt(slot, reason, batch.num_rows()));
    Missed::failed(lost)
}
