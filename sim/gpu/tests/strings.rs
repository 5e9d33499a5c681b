//! Strings that the GPU's device compacts, unmodified, on the simulated driver: as payload of pinned
//! batches and of batches in coherent memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::{ArrayRef, BinaryArray, Int32Array, LargeStringArray, RecordBatch, StringArray};
use unlade_cpu::CpuDevice;
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_runtime::{Fallback, Placement, Runtime};
use unlade_sim_gpu::{Driver, DriverConfig, Mode, Profile};

const MODES: [Mode; 3] = [Mode::Eager, Mode::Lazy, Mode::Concurrent];

/// The driver is the process's: one test at a time has it, and begins anew.
fn driver(profile: Profile, mode: Mode, seed: u64) -> (MutexGuard<'static, ()>, Driver) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = DriverConfig::default().with_devices([profile]);
    Driver::get().restart(config.with_mode(mode).with_seed(seed));
    (guard, Driver::get())
}

#[test]
fn strings_of_pinned_batches_are_compacted_on_the_gpu() {
    for (seed, mode) in (1..).zip(MODES) {
        let (_one, driver) = driver(Profile::h200(), mode, seed);
        let runtime = runtime();
        let batches = [batch(0, 5000), batch(3, 700), batch(0, 0)];
        let pinned = runtime.pin(&batches, Some("sim-gpu:0")).expect("they fit");
        assert_eq!(pinned.batches_on_device(), 3);
        for filter in FILTERS {
            let kernel = runtime
                .compile(&query(filter), &batches[0].schema(), &Semantics::arrow())
                .expect("it compiles");
            let outputs = kernel.run_resident(&pinned).expect("it runs");
            for (output, batch) in outputs.iter().zip(&batches) {
                assert_eq!(output.batch, expected(filter, batch), "{mode:?}, {filter}");
                let receipt = &output.receipt;
                assert_eq!(receipt.bytes_to_device, 0);
                assert_eq!(receipt.parts[0].bytes_compacted, receipt.bytes_copied);
            }
        }
        let strings = |name: &str| driver.launches().iter().any(|launch| launch.kernel == name);
        assert!(strings("unlade_strings"), "{mode:?}");
        assert_eq!(driver.findings(), [], "{mode:?}");
    }
}

#[test]
fn strings_in_coherent_memory_are_compacted_by_the_gpu() {
    let (_one, driver) = driver(Profile::gb10(), Mode::Concurrent, 5);
    let runtime = runtime();
    for filter in FILTERS {
        let batch = batch(7, 3000);
        let kernel = runtime
            .compile(&query(filter), &batch.schema(), &Semantics::arrow())
            .expect("it compiles");
        let output = kernel.run(&batch).expect("it runs");
        assert_eq!(output.batch, expected(filter, &batch), "{filter}");
        let part = &output.receipt.parts[0];
        assert_eq!(part.bytes_compacted, output.receipt.bytes_copied);
    }
    assert_eq!(driver.findings(), []);
}

/// Some of what comes behind a row that has no result has run; nothing of it is wrong of itself.
#[test]
fn a_trap_before_strings_is_a_trap() {
    for (seed, mode) in (1..).zip(MODES) {
        let (_one, driver) = driver(Profile::h200(), mode, seed);
        let runtime = runtime();
        let batches = [batch(0, 3000)];
        let pinned = runtime.pin(&batches, Some("sim-gpu:0")).expect("they fit");
        let query = Query::filter(parse_expr("100 / (a - 7) > 1").expect("a filter"));
        let query = query.select(parse_select_list("text, large").expect("a list"));
        let kernel = runtime
            .compile(&query, &batches[0].schema(), &Semantics::arrow())
            .expect("it compiles");
        let error = kernel.run_resident(&pinned).expect_err("a is 7 somewhere");
        assert!(error.to_string().contains("row 7"), "{mode:?}: {error}");
        assert_eq!(driver.findings(), [], "{mode:?}");
    }
}

const FILTERS: [&str; 4] = ["a > 41", "a > 98", "a > 1000", "a >= 0"];

fn query(filter: &str) -> Query {
    let select = "text, a, large, binary, plain, a + 1 as b";
    Query::filter(parse_expr(filter).expect("a filter"))
        .select(parse_select_list(select).expect("a list"))
}

fn runtime() -> Runtime {
    let device = Arc::new(unlade_cuda::open(0).expect("the simulated driver is found"));
    Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(device)
        .placement(Placement::Device("sim-gpu:0".into()))
        .fallback(Fallback::Forbid)
        .pool_reserve(1 << 20)
        .build()
        .expect("a runtime")
}

fn expected(filter: &str, batch: &RecordBatch) -> RecordBatch {
    let runtime = Runtime::builder().device(Arc::new(CpuDevice::new()));
    let runtime = runtime.build().expect("a runtime");
    let kernel = runtime.compile(&query(filter), &batch.schema(), &Semantics::arrow());
    let output = kernel.expect("it compiles").run(batch).expect("it runs");
    output.batch
}

/// A slice of so many rows.
fn batch(offset: usize, rows: usize) -> RecordBatch {
    let all = offset + rows + 9;
    let text = |row: usize| "row é ".repeat(row % 4) + &row.to_string();
    let some = |row: usize| (row % 5 != 2).then(|| text(row));
    let columns: [(&str, ArrayRef, bool); 5] = [
        (
            "a",
            Arc::new(Int32Array::from_iter_values(
                (0..all).map(|row| (row % 100) as i32),
            )),
            false,
        ),
        (
            "text",
            Arc::new((0..all).map(some).collect::<StringArray>()),
            true,
        ),
        (
            "large",
            Arc::new((0..all).map(some).collect::<LargeStringArray>()),
            true,
        ),
        (
            "binary",
            Arc::new(
                (0..all)
                    .map(|row| Some(vec![7u8; row % 70]))
                    .collect::<BinaryArray>(),
            ),
            true,
        ),
        (
            "plain",
            Arc::new(StringArray::from_iter_values((0..all).map(text))),
            false,
        ),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    batch.slice(offset, rows)
}
