//! Several GPUs in one process, each with memory and code of its own, and pages of the host that are
//! pinned once for all of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use unlade_cpu::CpuDevice;
use unlade_cuda::CudaDevice;
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::{Device, Health, MemoryKind};
use unlade_runtime::{Fallback, Path, Placement, Runtime};
use unlade_sim_fault::FaultPlan;
use unlade_sim_gpu::{Driver, DriverConfig, DriverFault, Mode, Profile};

/// The driver is the process's: one test at a time has it, and begins anew.
fn driver(mode: Mode) -> (MutexGuard<'static, ()>, Driver) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config =
        DriverConfig::default().with_devices([Profile::h200(), Profile::l4(), Profile::gb10()]);
    Driver::get().restart(config.with_mode(mode).with_seed(11));
    (guard, Driver::get())
}

fn gpus() -> Vec<CudaDevice> {
    (0..3)
        .map(|ordinal| unlade_cuda::open(ordinal).expect("the simulated driver is found"))
        .collect()
}

fn runtime(gpus: &[CudaDevice], placement: Placement, fallback: Fallback) -> Runtime {
    let mut builder = Runtime::builder().device(Arc::new(CpuDevice::new()));
    for gpu in gpus {
        builder = builder.device(Arc::new(gpu.clone()));
    }
    builder
        .placement(placement)
        .fallback(fallback)
        .pool_reserve(4 << 20)
        .build()
        .expect("a runtime")
}

fn named(gpu: &CudaDevice) -> Placement {
    Placement::Device(gpu.info().name.as_str().into())
}

fn batch(first: i64) -> RecordBatch {
    let rows = first..first + 5000;
    let a = Arc::new(Int64Array::from_iter_values(rows.clone())) as _;
    let text = StringArray::from_iter_values(rows.map(|row| format!("row {row}")));
    RecordBatch::try_from_iter([("a", a), ("text", Arc::new(text) as _)]).expect("a batch")
}

/// The rows that a query keeps of a batch, and where all of it ran.
fn run(runtime: &Runtime, first: i64) -> (RecordBatch, BTreeSet<String>) {
    let query = Query::filter(parse_expr("a % 3 = 0").expect("a filter"))
        .select(parse_select_list("a * 2 as x, text").expect("a list"));
    let batch = batch(first);
    let kernel = runtime.compile(&query, &batch.schema(), &Semantics::arrow());
    let output = kernel.expect("it compiles").run(&batch).expect("it runs");
    let done = output.receipt.parts.iter().filter(|part| part.completed);
    let queued = done.filter(|part| part.path == Path::Queued);
    let devices = queued.map(|part| part.device.to_string()).collect();
    (output.batch, devices)
}

fn expected(first: i64) -> RecordBatch {
    run(&runtime(&[], Placement::Auto, Fallback::Allow), first).0
}

#[test]
fn each_computes_the_same_while_the_others_do() {
    for mode in [Mode::Eager, Mode::Lazy, Mode::Concurrent] {
        let (_one, driver) = driver(mode);
        let gpus = gpus();
        let names: Vec<&str> = gpus.iter().map(|gpu| gpu.info().name.as_str()).collect();
        assert_eq!(names, ["sim-gpu:0", "sim-gpu:1", "sim-gpu:2"]);
        let addresses: BTreeSet<_> = gpus.iter().map(|gpu| &gpu.info().address).collect();
        assert_eq!(addresses.len(), 3, "{addresses:?}");
        thread::scope(|scope| {
            for gpu in &gpus {
                let runtime = runtime(&gpus, named(gpu), Fallback::Forbid);
                scope.spawn(move || {
                    for first in (0..20_000).step_by(5000) {
                        let (found, devices) = run(&runtime, first);
                        assert_eq!(found, expected(first), "{mode:?}");
                        assert_eq!(devices, [gpu.info().name.clone()].into(), "{mode:?}");
                    }
                });
            }
        });
        assert_eq!(driver.findings(), [], "{mode:?}");
    }
}

#[test]
fn memory_of_one_is_not_memory_of_another() {
    let (_one, _driver) = driver(Mode::Lazy);
    let gpus = gpus();
    let slab = gpus[1].allocate(MemoryKind::DeviceLocal, 1 << 20);
    let used: Vec<u64> = gpus.iter().map(CudaDevice::used_memory).collect();
    assert_eq!(used, [0, 1 << 20, 0]);
    drop(slab);
    // It goes back with the next call.
    drop(gpus[1].allocate(MemoryKind::DeviceLocal, 1));
    assert!(gpus[1].used_memory() < 1 << 20);
}

#[test]
fn what_one_loses_another_does() {
    let (_one, driver) = driver(Mode::Concurrent);
    let gpus = gpus();
    let runtime = runtime(&gpus, named(&gpus[0]), Fallback::Allow);
    let (_, devices) = run(&runtime, 0);
    assert_eq!(devices, ["sim-gpu:0".to_owned()].into());
    driver.set_faults(FaultPlan::nth(1, DriverFault::LaunchFails));
    let (found, devices) = run(&runtime, 0);
    assert_eq!(found, expected(0));
    assert!(!devices.contains("sim-gpu:0"), "{devices:?}");
    assert!(matches!(gpus[0].health(), Health::Lost(_)));
    for gpu in &gpus[1..] {
        assert_eq!(gpu.health(), Health::Ready, "{}", gpu.info().name);
    }
}
