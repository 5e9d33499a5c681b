//! A GPU that reaches the host's memory by the host's own addresses, as a GB10 does.

use std::sync::Arc;

use unlade_hal::Device;
use unlade_sim_gpu::{Driver, DriverConfig, Mode, Profile};
use unlade_tests::conformance::suite;

#[test]
fn the_device_conforms_on_host_memory() {
    let config = DriverConfig::default().with_devices([Profile::gb10()]);
    Driver::get().restart(config.with_mode(Mode::Concurrent));
    let device = unlade_cuda::open(0).expect("the simulated driver is found");
    assert!(device.capabilities().coherent && device.capabilities().foreign_read);
    let device: Arc<dyn Device> = Arc::new(device);
    let report = suite(&device).unwrap_or_else(|what| panic!("{what}"));
    assert_eq!(report.cells_refused, 0, "{report}");
    assert!(report.strings > 0, "{report}");
    assert_eq!(Driver::get().findings(), []);
}
