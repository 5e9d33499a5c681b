//! Batches whose device is known from the start.

use arrow_array::RecordBatch;

use super::{KernelCore, Output};
use crate::call::Call;
use crate::device_plan::Tally;
use crate::error::Error;
use crate::forecast::RanOnDevice;
use crate::placement::DeviceIndex;

impl KernelCore {
    /// Runs a batch of the right schema on the device that was named, or the only one.
    pub(super) fn run_where_told(
        &self,
        call: &Call<'_>,
        batch: &RecordBatch,
    ) -> Result<Output, Error> {
        match &self.route.device {
            Some(plan) => self.run_on_device(call, plan, batch, None, Tally::default()),
            None => {
                let (reason, path) = self.route.inline.clone();
                self.run_inline(call, batch, reason, path)
            }
        }
    }

    /// As [`run_where_told`](Self::run_where_told), with a prediction, which learns from the batch.
    pub(super) fn run_predicted(
        &self,
        call: &Call<'_>,
        batch: &RecordBatch,
    ) -> Result<Output, Error> {
        let runtime = &self.runtime;
        let device = match (&self.route.device, &self.host) {
            (Some(plan), _) => Some(plan.slot),
            (None, Some(host)) => runtime
                .devices
                .iter()
                .position(|slot| slot.name == host.device),
            (None, None) => None,
        };
        let device = DeviceIndex(device.expect("a kernel runs somewhere"));
        let work = self.work(batch);
        let predicted = self.forecast.of(runtime, device, &work);
        let mut output = self.run_where_told(call, batch)?;
        let receipt = &mut output.receipt;
        receipt.predicted = Some(predicted);
        receipt.predicted_clock = Some(runtime.devices[device.0].clock);
        if self.route.device.is_none() {
            self.forecast
                .ran_inline(runtime, device, &work, receipt.taken, receipt.rows_out);
        } else {
            let ran = RanOnDevice::of(receipt);
            self.forecast.ran_on_device(runtime, device, &work, &ran);
            self.forecast.selected(receipt.rows_out, work.rows);
        }
        Ok(output)
    }
}
