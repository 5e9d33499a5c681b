//! The GPU's device, `unlade-cuda`, unmodified, on the simulated driver: the conformance suite,
//! random programs against the oracle, and faults of the driver, however streams and blocks
//! interleave.
//!
//! `UNLADE_FUZZ_CASES` sets how many random programs run in each mode.
#![allow(clippy::print_stdout)] // how much was swept is what this test reports

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use unlade_cpu::CpuDevice;
use unlade_cuda::CudaDevice;
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::{Device, DeviceKind};
use unlade_runtime::{Placement, Runtime};
use unlade_sim_fault::FaultPlan;
use unlade_sim_gpu::{Driver, DriverConfig, DriverFault, Mode, Profile};
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

/// More chances than a run has.
const MOST: u64 = 20_000;

/// The first chances are swept one by one, later ones in steps: what a batch calls, the next one
/// calls again.
fn next(nth: u64) -> u64 {
    nth + 1 + nth / 40
}

/// Fails a call of the driver, and then another, until a run has no more. Queries give what the
/// CPU gives, and nothing stays leased.
#[test]
fn every_call_of_the_driver_may_fail() {
    let expected = run(&runtime(None));
    for kind in DriverFault::ALL {
        let (mut nth, mut swept) = (1, 0);
        loop {
            assert!(nth < MOST, "{kind:?}: the sweep has no end");
            let what = format!("{kind:?} at {nth}");
            let (_one, driver) = driver(Mode::Eager, nth);
            driver.set_faults(FaultPlan::nth(nth, kind));
            // A fault while the device is opened leaves none to be had.
            let runtime = runtime(unlade_cuda::open(0).ok());
            assert_eq!(run(&runtime), expected, "{what}");
            unlade_runtime::pool::Pool::flush_thread();
            let (leased, devices) = (runtime.memory().leased, runtime.devices());
            let leaked = devices.get(1).map_or(0, |device| device.leaked_bytes);
            assert!(
                leased <= leaked,
                "{what}: {leased} bytes leased, {leaked} leaked"
            );
            if driver.injected().is_empty() {
                break;
            }
            (nth, swept) = (next(nth), swept + 1);
        }
        println!("{kind:?}: {swept} calls failed, of {nth} at most");
        assert!(swept > 0, "{kind:?} never struck");
    }
}

fn runtime(device: Option<CudaDevice>) -> Runtime {
    let mut builder = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device_timeout(Duration::from_millis(20))
        .pool_reserve(1 << 20);
    if let Some(device) = device {
        let name = device.info().name.as_str().into();
        builder = builder
            .device(Arc::new(device))
            .placement(Placement::Device(name));
    }
    builder.build().expect("a runtime")
}

/// Two batches: after a fault the device is used again, as far as it is to be had.
fn run(runtime: &Runtime) -> Vec<RecordBatch> {
    let filter = parse_expr("a > 41 and b % 3 = 0").expect("a filter");
    let select = parse_select_list("b, a + 1 as x").expect("a list");
    let query = Query::filter(filter).select(select);
    (0..2)
        .map(|at| {
            let rows = at * 1000..at * 1000 + 700;
            let a: Int32Array = rows
                .clone()
                .map(|row| (row % 11 != 5).then_some(row % 100))
                .collect();
            let b = Int64Array::from_iter_values(rows.map(i64::from));
            let columns: [(&str, ArrayRef); 2] = [("a", Arc::new(a)), ("b", Arc::new(b))];
            let batch = RecordBatch::try_from_iter(columns).expect("a batch");
            let kernel = runtime.compile(&query, &batch.schema(), &Semantics::arrow());
            kernel
                .expect("it compiles")
                .run(&batch)
                .expect("it runs")
                .batch
        })
        .collect()
}
