//! The GPU's device, `unlade-cuda`, unmodified, on the simulated driver: the conformance suite,
//! and random programs against the oracle, however streams and blocks interleave.
//!
//! `UNLADE_FUZZ_CASES` sets how many random programs run in each mode.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unlade_hal::{Device, DeviceKind};
use unlade_sim_gpu::{Driver, DriverConfig, Mode, Profile};
use unlade_tests::conformance::suite;
use unlade_tests::fuzz::{Cases, fuzz};

const MODES: [Mode; 3] = [Mode::Eager, Mode::Lazy, Mode::Concurrent];

/// The driver is the process's: one test at a time has it, and begins anew.
fn driver(mode: Mode, seed: u64) -> (MutexGuard<'static, ()>, Driver) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = DriverConfig::default().with_devices([Profile::h200()]);
    Driver::get().restart(config.with_mode(mode).with_seed(seed));
    (guard, Driver::get())
}

fn device() -> Arc<dyn Device> {
    let device = unlade_cuda::open(0).expect("the simulated driver is found");
    assert_eq!(
        device.info().kind,
        DeviceKind::Simulator,
        "it is never mistaken for a GPU"
    );
    Arc::new(device)
}

#[test]
fn the_device_conforms_in_every_mode() {
    for (seed, mode) in (1..).zip(MODES) {
        let (_one, driver) = driver(mode, seed);
        let report = suite(&device()).unwrap_or_else(|what| panic!("{mode:?}: {what}"));
        assert_eq!(report.cells_refused, 0, "{report}");
        assert_eq!(driver.findings(), [], "{mode:?}");
    }
}

#[test]
fn random_programs_give_the_oracles_results_in_every_mode() {
    let cases = std::env::var("UNLADE_FUZZ_CASES").ok();
    let count = cases.map_or(60, |cases| cases.parse().expect("a number of cases"));
    for (seed, mode) in (10..).zip(MODES) {
        let (_one, driver) = driver(mode, seed);
        let cases = Cases {
            first_seed: 1 + seed * 1_000_000,
            count,
            threads: 1,
        };
        let report = fuzz(&device(), cases);
        assert!(
            report.failures.is_empty(),
            "{mode:?}: {}",
            report.failures.join("\n")
        );
        assert_eq!(driver.findings(), [], "{mode:?}");
    }
}
