//! Batches that go where placement predicts them to be done first, and probes of the others.

use std::time::Duration;

use arrow_array::RecordBatch;

use super::{KernelCore, Output, given_up};
use crate::auto::{self, AutoRoute, Placed};
use crate::call::Call;
use crate::device_plan::{DeviceFailure, Parts, Tally};
use crate::error::Error;
use crate::placement::{DeviceIndex, Work};
use crate::receipt::{Path, Reason, Receipt};

impl KernelCore {
    /// Runs a batch of the right schema where placement predicts it to be done first.
    pub(super) fn run_where_fastest(
        &self,
        call: &Call<'_>,
        auto: &AutoRoute,
        batch: &RecordBatch,
    ) -> Result<Output, Error> {
        let work = self.forecast.work(self.binding(), batch);
        // Whoever calls has a processor of its own.
        match auto.choose(&self.runtime, work, Duration::ZERO) {
            Some(placed) => self.run_placed(call, auto, placed, batch),
            None => self.run_inline(call, batch, Reason::OnlyCandidate, Path::Inline),
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
        let runtime = &self.runtime;
        let Placed { choice, work, busy } = placed;
        let reason = auto::reason(&choice, runtime.options.objective);
        let chosen = choice.chosen();
        let mut output = match &auto.plans[choice.device.0] {
            Some(plan) => {
                let tally = Tally {
                    reason: Some(reason),
                    ..Tally::default()
                };
                let output = self.run_on_device(call, plan, batch, None, tally)?;
                let parts = &output.receipt.parts;
                self.forecast
                    .ran_on_device(runtime, choice.device, &work, parts);
                self.forecast.selected(output.receipt.rows_out, work.rows);
                output
            }
            None => {
                let output = self.run_inline(call, batch, reason, Path::Inline)?;
                let Receipt {
                    taken, rows_out, ..
                } = output.receipt;
                self.forecast
                    .ran_inline(runtime, choice.device, &work, taken, rows_out);
                output
            }
        };
        output.receipt.predicted = Some(chosen.terms.latency());
        output.receipt.predicted_clock = Some(chosen.clock);
        if let Some(probe) = choice.probe {
            drop(busy);
            self.probe(call, auto, batch, probe.device, probe.rows, &work);
        }
        Ok(output)
    }

    /// Runs the start of a batch on a device that was not chosen, to learn how fast it is by now.
    fn probe(
        &self,
        call: &Call<'_>,
        auto: &AutoRoute,
        batch: &RecordBatch,
        device: DeviceIndex,
        rows: u64,
        work: &Work,
    ) {
        let runtime = &self.runtime;
        let slot = &runtime.devices[device.0];
        let rows = usize::try_from(rows)
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
        let Ok(permit) = runtime.enter(device.0, call, work.bytes_in) else {
            return;
        };
        let Parts::Ready(parts) = plan.parts(runtime) else {
            return;
        };
        let mut tally = Tally {
            reason: Some(Reason::Probe),
            ..Tally::default()
        };
        match plan.run(call, &parts, &self.checked, &slice, None, &mut tally) {
            Ok(_) => {
                let used = tally.device_time(0, slot);
                self.session.count_device_time(used.unwrap_or_default());
                permit.done(used);
                self.forecast
                    .ran_on_device(runtime, device, &work, &tally.parts);
            }
            Err(DeviceFailure::Fault(lost)) => {
                slot.fault(&lost);
                let _ended = permit.lost();
            }
            Err(DeviceFailure::GivenUp(point)) => {
                let _why = given_up::leave(call, permit, point);
            }
            // A probe that fails for the data's sake says nothing of the device.
            Err(_) => {}
        }
    }
}
