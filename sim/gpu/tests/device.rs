//! The GPU's device, `unlade-cuda`, unmodified, on the simulated driver: the conformance suite and
//! random programs against the oracle, however streams and blocks interleave.
//!
//! `UNLADE_FUZZ_CASES` sets how many random programs run in each mode.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unlade_hal::{Device, DeviceKind};
use unlade_sim_gpu::{Driver, DriverConfig, Mode, Profile};
use unlade_tests::conformance::suite;
use unlade_tests::devices;
use unlade_tests::fuzz::{Cases, fuzz};

const MODES: [Mode; 3] = [Mode::Eager, Mode::Lazy, Mode::Concurrent];

/// The one device of the process's one driver. It keeps its context for as long as the process
/// lives, so the driver is steered, never restarted.
fn device(mode: Mode, seed: u64) -> (MutexGuard<'static, ()>, Arc<dyn Device>) {
    static ONE: Mutex<()> = Mutex::new(());
    static FIRST: std::sync::Once = std::sync::Once::new();
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    FIRST.call_once(|| {
        Driver::get().restart(DriverConfig::default().with_devices([Profile::h200()]));
    });
    Driver::get().set_mode(mode);
    Driver::get().set_seed(seed);
    let device = devices::named("sim-gpu:0").expect("the simulated driver is found");
    assert_eq!(
        device.info().kind,
        DeviceKind::Simulator,
        "it is never mistaken for a GPU"
    );
    (guard, device)
}

#[test]
fn the_device_conforms_in_every_mode() {
    for (seed, mode) in (1..).zip(MODES) {
        let (_one, device) = device(mode, seed);
        let report = suite(&device).unwrap_or_else(|what| panic!("{mode:?}: {what}"));
        assert!(report.cells_run > 100, "{report}");
        assert_eq!(Driver::get().findings(), [], "{mode:?}");
    }
}

#[test]
fn random_programs_give_the_oracles_results_in_every_mode() {
    let cases = std::env::var("UNLADE_FUZZ_CASES").ok();
    let count = cases.map_or(60, |cases| cases.parse().expect("a number of cases"));
    for (seed, mode) in (10..).zip(MODES) {
        let (_one, device) = device(mode, seed);
        let cases = Cases {
            first_seed: 1 + seed * 1_000_000,
            count,
        };
        let report = fuzz(&device, cases);
        assert!(
            report.failures.is_empty(),
            "{mode:?}: {}",
            report.failures.join("\n")
        );
        assert_eq!(Driver::get().findings(), [], "{mode:?}");
    }
}
