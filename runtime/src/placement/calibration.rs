//! What was measured on devices, to be kept between runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::estimate::{Estimate, Known};
use super::model::Modelled;
use super::work::WorkKey;

/// Version of the form; one of another version is of no use.
pub const CALIBRATION_VERSION: u32 = 2;

/// What was measured on devices.
///
/// It is for the very hardware that it was measured on: a device takes from it only what was measured
/// on one of the same description.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    version: u32,
    devices: Vec<Measurements>,
}

/// What was measured on one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measurements {
    /// What the device is, down to its place in the machine.
    hardware: Arc<str>,
    stage: Vec<Known>,
    copy_in: Vec<Known>,
    copy_out: Vec<Known>,
    gather: Vec<Known>,
    compile: Vec<Known>,
    compute: Vec<(WorkKey, Vec<Known>)>,
}

impl Calibration {
    /// Of these devices.
    pub(super) fn of(devices: &[Modelled]) -> Self {
        Calibration {
            version: CALIBRATION_VERSION,
            devices: devices.iter().map(Measurements::of).collect(),
        }
    }

    /// Whether this is of a version that is understood.
    pub fn is_current(&self) -> bool {
        self.version == CALIBRATION_VERSION
    }

    /// Has devices begin with what was measured on the same hardware; returns how many there are.
    pub(super) fn recall(&self, devices: &mut [Modelled]) -> usize {
        if !self.is_current() {
            return 0;
        }
        let mut recalled = 0;
        for device in devices {
            let same = |known: &&Measurements| known.hardware == device.hardware;
            if let Some(known) = self.devices.iter().find(same) {
                known.recall(device);
                recalled += 1;
            }
        }
        recalled
    }
}

impl Measurements {
    fn of(device: &Modelled) -> Self {
        let mut compute: Vec<_> = device
            .compute
            .iter()
            .map(|(key, estimate)| (*key, estimate.samples()))
            .collect();
        compute.sort_by_key(|(key, _)| *key);
        Measurements {
            hardware: Arc::clone(&device.hardware),
            stage: device.stage.samples(),
            copy_in: device.copy_in.samples(),
            copy_out: device.copy_out.samples(),
            gather: device.gather.samples(),
            compile: device.compile.samples(),
            compute,
        }
    }

    fn recall(&self, device: &mut Modelled) {
        device.stage = Estimate::of(&self.stage);
        device.copy_in = Estimate::of(&self.copy_in);
        device.copy_out = Estimate::of(&self.copy_out);
        device.gather = Estimate::of(&self.gather);
        device.compile = Estimate::of(&self.compile);
        let compute = self.compute.iter();
        device.compute = compute
            .map(|(key, samples)| (*key, Estimate::of(samples)))
            .collect();
    }
}
