//! Compaction of strings on every device that needs no hardware, and on the one that is asked for.

mod strings;

use std::sync::Arc;

use unlade_cpu::CpuDevice;
use unlade_hal::Device;
use unlade_sim_device::{Profile, SimDevice};
use unlade_tests::devices;

fn conforms(device: Arc<dyn Device>) {
    strings::check(&device).unwrap_or_else(|what| panic!("{}: {what}", device.info().name));
}

#[test]
fn simulated_devices_compact_strings() {
    for profile in [Profile::gpu(), Profile::coherent_gpu()] {
        let device = SimDevice::builder(profile).build();
        assert!(device.capabilities().strings);
        conforms(Arc::new(device));
    }
}

#[test]
fn devices_without_strings_say_so() {
    let card = SimDevice::builder(Profile::card()).build();
    assert!(!card.capabilities().strings);
    conforms(Arc::new(card));
    conforms(Arc::new(CpuDevice::new()));
}

/// The one that `UNLADE_TEST_DEVICE` names.
#[test]
fn the_chosen_device_conforms() {
    conforms(devices::chosen());
}
