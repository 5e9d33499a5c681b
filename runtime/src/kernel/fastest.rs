//! Batches that go where placement predicts them to be done first, and probes of the others.

use std::time::Duration;

use arrow_array::RecordBatch;

use super::plan::ResidentPlans;
use super::{KernelCore, Output, given_up};
use crate::auto::{self, AutoRoute, Placed};
use crate::call::Call;
use crate::device_plan::{DeviceFailure, Parts, Tally};
use crate::device_slot::Wait;
use crate::error::Error;
use crate::forecast::RanOnDevice;
use crate::placement::{DeviceIndex, HostBuffer, Probe, Work};
use crate::receipt::{Path, Reason};
use crate::resident::ResidentCore;
use crate::sync::lock;

impl KernelCore {
    /// Runs a batch of the right schema where placement predicts it to be done first.
    pub(super) fn run_where_fastest(
        &self,
        call: &Call<'_>,
        auto: &AutoRoute,
        batch: &RecordBatch,
    ) -> Result<Output, Error> {
        let work = self.work(batch);
        // Whoever calls has a processor of its own.
        match auto.choose(&self.runtime, work, None, Duration::ZERO) {
            Some(placed) => self.run_placed(call, auto, placed, batch),
            None => self.run_inline(call, batch, Reason::OnlyCandidate, Path::Inline),
        }
    }

    /// Runs a pinned batch where placement predicts it to be done first: on the device that has it,
    /// or elsewhere as any other batch.
    pub(super) fn run_resident_where_fastest(
        &self,
        call: &Call<'_>,
        auto: &AutoRoute,
        plans: &ResidentPlans,
        resident: &ResidentCore,
        position: usize,
    ) -> Result<Output, Error> {
        let holder = DeviceIndex(plans.staged.slot);
        let batch = &resident.batches[position];
        let placed = auto.plans[holder.0].as_ref().and_then(|_| {
            let plan = plans.compacting.as_ref().unwrap_or(&plans.staged);
            let compacts = plans.compacting.is_some();
            let work = Work {
                buffer: HostBuffer::Resident {
                    on: holder,
                    compacts,
                },
                ..self.work(batch)
            };
            auto.choose(&self.runtime, work, Some(plan), Duration::ZERO)
        });
        match placed {
            Some(placed) if placed.choice.device != holder => {
                self.run_placed(call, auto, placed, batch)
            }
            placed => {
                let output = self.run_where_it_lies(call, plans, resident, position)?;
                Ok(match placed {
                    Some(placed) => self.learn(call, auto, placed, batch, output),
                    None => output,
                })
            }
        }
    }

    /// Runs a batch of the right schema where placement has chosen.
    pub(super) fn run_placed(
        &self,
        call: &Call<'_>,
        auto: &AutoRoute,
        placed: Placed,
        batch: &RecordBatch,
    ) -> Result<Output, Error> {
        let choice = &placed.choice;
        let reason = auto::reason(choice, self.runtime.options.objective);
        let output = match &auto.plans[choice.device.0] {
            Some(plan) => {
                let tally = Tally {
                    reason: Some(reason),
                    ..Tally::default()
                };
                self.run_on_device(call, plan, batch, None, tally)?
            }
            None => self.run_inline(call, batch, reason, Path::Inline)?,
        };
        Ok(self.learn(call, auto, placed, batch, output))
    }

    /// Learns from a batch that ran where placement has chosen, and what there is to learn elsewhere.
    fn learn(
        &self,
        call: &Call<'_>,
        auto: &AutoRoute,
        placed: Placed,
        batch: &RecordBatch,
        mut output: Output,
    ) -> Output {
        let runtime = &self.runtime;
        let Placed { choice, work, busy } = placed;
        let receipt = &mut output.receipt;
        if auto.plans[choice.device.0].is_some() {
            let ran = RanOnDevice::of(receipt);
            self.forecast
                .ran_on_device(runtime, choice.device, &work, &ran);
            self.forecast.selected(receipt.rows_out, work.rows);
        } else {
            let (taken, rows_out) = (receipt.taken, receipt.rows_out);
            self.forecast
                .ran_inline(runtime, choice.device, &work, taken, rows_out);
        }
        let chosen = choice.chosen();
        receipt.predicted = Some(chosen.terms.latency());
        receipt.predicted_clock = Some(chosen.clock);
        if let Some(probe) = choice.probe {
            drop(busy);
            let begun = runtime.clock.now();
            let of_the_batch = Call {
                account: None,
                ..*call
            };
            self.probe(&of_the_batch, auto, batch, &probe, &work);
            let taken = runtime.clock.now().since(begun);
            call.account.inspect(|account| account.probe(taken));
            // What was predicted is by the device's clock.
            if runtime.devices[probe.device.0].clock == runtime.clock.kind() {
                lock(&runtime.placer).probed(&probe, taken);
            }
        }
        output
    }

    /// Runs the start of a batch on a device that was not chosen, to learn how fast it is by now.
    fn probe(
        &self,
        call: &Call<'_>,
        auto: &AutoRoute,
        batch: &RecordBatch,
        probe: &Probe,
        work: &Work,
    ) {
        let runtime = &self.runtime;
        let device = probe.device;
        let slot = &runtime.devices[device.0];
        let rows = usize::try_from(probe.rows)
            .unwrap_or(usize::MAX)
            .min(batch.num_rows());
        let work = work.slice(rows as u64);
        let slice = batch.slice(0, rows);
        let Some(plan) = &auto.plans[device.0] else {
            let start = runtime.clock.now();
            if let Some(host) = &self.host
                && let Ok(done) = host.evaluate(&call.session.memory, &self.checked, &slice)
            {
                let taken = runtime.clock.now().since(start);
                let rows_out = done.rows_out as u64;
                self.forecast
                    .ran_inline(runtime, device, &work, taken, rows_out);
            }
            return;
        };
        let Ok(permit) = runtime.enter(device.0, call, work.bytes_in, Wait::Never) else {
            return;
        };
        let parts = match plan.parts(call) {
            Parts::Ready(parts) => parts,
            // No batch is to wait for its compiler again.
            Parts::Late(lost) => return slot.fault(permit, &lost),
            Parts::Compiling | Parts::Failed(_) | Parts::GivenUp => return,
        };
        let mut tally = Tally {
            reason: Some(Reason::Probe),
            ..Tally::default()
        };
        match plan.run(call, &parts, &self.checked, &slice, None, &mut tally) {
            Ok(_) => {
                let used = tally.device_time(0, slot);
                call.count_device_time(plan, used);
                permit.done(used);
                let ran = RanOnDevice {
                    parts: &tally.parts,
                    staged: tally.staged,
                    gathered: tally.gathered,
                };
                self.forecast.ran_on_device(runtime, device, &work, &ran);
            }
            Err(DeviceFailure::Fault(lost)) => {
                slot.fault(permit, &lost);
            }
            Err(DeviceFailure::GivenUp(point)) => {
                let _why = given_up::leave(call, permit, point);
            }
            // A probe that fails for the data's sake says nothing of the device.
            Err(_) => {}
        }
    }
}
