//! Every fault at every operation: the first chance of a kind fails, then the second, and so on,
//! until a run has no more. Results equal the CPU's, no lease leaks, and what must be abandoned to
//! a lost device is counted.
#![allow(clippy::print_stdout)] // how much was swept is what this test reports

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, RecordBatchIterator};
use unlade_cpu::CpuDevice;
use unlade_expr::Semantics;
use unlade_hal::Device;
use unlade_runtime::{Kernel, Output, Path, Placement, Runtime, Verified};
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};
use unlade_tests::devices::{simulated_card, simulated_gpu};
use unlade_tests::table::{self, schema};

/// Batches of one run: after a fault the device is used again, as far as it is to be had.
const BATCHES: usize = 3;

/// More operations than a run has.
const MOST: u64 = 200;

/// A reset is only tried after a loss, of which a plan of one fault has none.
const UNREACHED: [FaultKind; 1] = [FaultKind::ResetFails];

const QUERIES: [(&str, &str); 3] = [
    ("", "a > 41 and flag"),
    ("text, a + 1 as x", "b % 3 = 0"),
    ("cast(a as bigint) * b", ""),
];

fn batch(at: usize) -> RecordBatch {
    table::rows(at * 1000..at * 1000 + 700)
}

fn compile(runtime: &Runtime, select: &str, filter: &str) -> Kernel {
    let query = table::query(select, filter);
    runtime
        .compile(&query, &schema(), &Semantics::arrow())
        .unwrap()
}

/// What the CPU makes of the batches.
fn expected(select: &str, filter: &str) -> Vec<RecordBatch> {
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .build()
        .unwrap();
    let kernel = compile(&runtime, select, filter);
    (0..BATCHES)
        .map(|at| kernel.run(&batch(at)).unwrap().batch)
        .collect()
}

/// A runtime whose queries go to a device with faults, as long as that is to be had.
fn faulty(profile: &Profile, plan: FaultPlan) -> (Arc<FaultDevice>, Runtime) {
    let sim: Arc<dyn Device> = Arc::new(SimDevice::builder(profile.clone()).build());
    let device = Arc::new(FaultDevice::new(sim, plan));
    let name = device.info().name.as_str().into();
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(device.clone())
        .placement(Placement::Device(name))
        .device_timeout(Duration::from_millis(20))
        .pool_reserve(1 << 20)
        .build()
        .unwrap();
    (device, runtime)
}

/// It is what the CPU makes of the batch, as far as anybody can tell, and says where it was repeated.
fn check_output(kind: FaultKind, output: &Output, expected: &RecordBatch, what: &str) {
    let receipt = &output.receipt;
    let by_device = receipt
        .parts
        .iter()
        .any(|part| part.completed && part.path == Path::Queued);
    if kind.is_silent() && by_device {
        assert_eq!(receipt.verified, Verified::Unverified, "{what}");
    } else {
        assert_eq!(&output.batch, expected, "{what}");
    }
    let failed = receipt.parts.iter().any(|part| !part.completed);
    // Of batches that were done together only one says so.
    let says_so = receipt.retries > 0 || receipt.together > 1;
    assert!(!failed || says_so, "{what}: {receipt:?}");
}

/// After all results are dropped: what is still leased was abandoned, and is counted.
fn check_memory(runtime: &Runtime, what: &str) -> u64 {
    unlade_runtime::pool::Pool::flush_thread();
    let memory = runtime.memory();
    let leaked = runtime
        .devices()
        .iter()
        .map(|device| device.leaked_bytes)
        .sum();
    assert!(
        memory.leased <= leaked,
        "{what}: {memory:?}, {leaked} bytes leaked"
    );
    assert_eq!(memory.waiting, 0, "{what}");
    leaked
}

#[test]
fn every_fault_at_every_operation() {
    let mut swept: BTreeMap<FaultKind, u64> = BTreeMap::new();
    for (select, filter) in QUERIES {
        let expected = expected(select, filter);
        for profile in [Profile::gpu(), Profile::coherent_gpu(), Profile::card()] {
            for kind in FaultKind::ALL {
                for nth in 1..=MOST {
                    assert!(nth < MOST, "{kind:?}: the sweep has no end");
                    let what = format!("{kind:?} at {nth}, {select} where {filter}");
                    let (device, runtime) = faulty(&profile, FaultPlan::nth(nth, kind));
                    let kernel = compile(&runtime, select, filter);
                    for (at, expected) in expected.iter().enumerate() {
                        let output = kernel.run(&batch(at)).unwrap();
                        check_output(kind, &output, expected, &what);
                    }
                    let struck = !device.log().is_empty();
                    let leaked = check_memory(&runtime, &what);
                    let abandons = kind == FaultKind::LostCompletion && struck;
                    assert_eq!(leaked > 0, abandons, "{what}: {leaked} bytes leaked");
                    if !struck {
                        break;
                    }
                    *swept.entry(kind).or_default() += 1;
                }
            }
        }
    }
    println!("operations failed: {swept:?}");
    let unreached = FaultKind::ALL
        .into_iter()
        .filter(|kind| !swept.contains_key(kind));
    assert_eq!(unreached.collect::<Vec<_>>(), UNREACHED);
}

/// As above with four devices at work at the same time, each for a session of its own, by single
/// batches and by a stream; one of them fails. Of the queries it is the one with strings and a
/// computed column: the others differ in what is staged, which the sweep of one device has covered.
#[test]
fn every_fault_of_one_device_while_others_work() {
    let (select, filter) = QUERIES[1];
    let expected = expected(select, filter);
    let sim = || -> Arc<dyn Device> { Arc::new(SimDevice::builder(Profile::gpu()).build()) };
    let devices = [sim(), simulated_gpu(), simulated_card()];
    let mut swept: BTreeMap<(&str, FaultKind), u64> = BTreeMap::new();
    for failing in 0..devices.len() {
        for kind in FaultKind::ALL {
            for nth in 1..=MOST {
                assert!(nth < MOST, "{kind:?}: the sweep has no end");
                let name = devices[failing].info().name.as_str();
                let what = format!("{kind:?} at {nth} of {name}");
                let faulty = devices.each_ref().map(|device| {
                    let fails = device.info().name == name;
                    let plan = match fails {
                        true => FaultPlan::nth(nth, kind),
                        false => FaultPlan::none(),
                    };
                    Arc::new(FaultDevice::new(device.clone(), plan))
                });
                // Only what never comes is waited for until then.
                let timeout = match kind {
                    FaultKind::LostCompletion => Duration::from_millis(300),
                    _ => Duration::from_secs(10),
                };
                let builder = Runtime::builder()
                    .device(Arc::new(CpuDevice::new()))
                    .device_timeout(timeout)
                    .pool_reserve(1 << 20);
                let builder = faulty
                    .iter()
                    .fold(builder, |builder, device| builder.device(device.clone()));
                let runtime = builder.build().unwrap();
                std::thread::scope(|scope| {
                    for device in runtime.devices() {
                        let (runtime, expected, what) = (&runtime, &expected, &what);
                        scope.spawn(move || work_on(runtime, &device.name, kind, expected, what));
                    }
                });
                let leaked = check_memory(&runtime, &what);
                let struck = !faulty[failing].log().is_empty();
                let abandons = kind == FaultKind::LostCompletion && struck;
                assert_eq!(leaked > 0, abandons, "{what}: {leaked} bytes leaked");
                if !struck {
                    break;
                }
                *swept.entry((name, kind)).or_default() += 1;
            }
        }
    }
    println!("operations failed: {swept:?}");
    for device in &devices {
        let name = device.info().name.as_str();
        let reached = |kind: &FaultKind| swept.contains_key(&(name, *kind));
        let unreached: Vec<FaultKind> = FaultKind::ALL
            .into_iter()
            .filter(|kind| !reached(kind))
            .collect();
        // What works on the host's memory is not asked for any of its own.
        let asks_for_none = [FaultKind::AllocationFails, FaultKind::ResetFails];
        match device.capabilities().coherent {
            true => assert_eq!(unreached, asks_for_none, "{name}"),
            false => assert_eq!(unreached, UNREACHED, "{name}"),
        }
    }
}

/// What one session does on its device.
fn work_on(
    runtime: &Runtime,
    device: &Arc<str>,
    kind: FaultKind,
    expected: &[RecordBatch],
    what: &str,
) {
    let (select, filter) = QUERIES[1];
    let session = runtime
        .session(device.clone())
        .placement(Placement::Device(device.clone()))
        .open()
        .unwrap();
    let query = table::query(select, filter);
    let kernel = session
        .compile(&query, &schema(), &Semantics::arrow())
        .unwrap();
    for (at, expected) in expected.iter().enumerate() {
        let output = kernel.run(&batch(at)).unwrap();
        check_output(kind, &output, expected, what);
    }
    let batches: Vec<_> = (0..BATCHES).map(|at| Ok(batch(at))).collect();
    let mut stream = kernel.stream(RecordBatchIterator::new(batches, schema()));
    for expected in expected {
        let output = stream.next().unwrap().unwrap();
        check_output(kind, &output, expected, what);
    }
    assert!(stream.next().is_none(), "{what}");
    unlade_runtime::pool::Pool::flush_thread();
}

#[test]
fn many_faults_by_chance_under_threads() {
    let kinds = FaultKind::ALL.into_iter().filter(|kind| !kind.is_silent());
    let rates: Vec<(FaultKind, f64)> = kinds.map(|kind| (kind, 0.04)).collect();
    let (select, filter) = QUERIES[1];
    let expected = expected(select, filter);
    let mut struck = 0;
    for seed in 0..40 {
        let plan = FaultPlan::random(seed, rates.clone());
        let (device, runtime) = faulty(&Profile::gpu(), plan);
        let kernel = compile(&runtime, select, filter);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for (at, expected) in expected.iter().enumerate() {
                        let output = kernel.run(&batch(at)).unwrap();
                        assert_eq!(&output.batch, expected, "seed {seed}");
                    }
                    unlade_runtime::pool::Pool::flush_thread();
                });
            }
        });
        let batches = (0..BATCHES).map(|at| Ok(batch(at)));
        let reader = RecordBatchIterator::new(batches.collect::<Vec<_>>(), schema());
        let streamed: Vec<RecordBatch> = kernel
            .stream(reader)
            .map(|output| output.unwrap().batch)
            .collect();
        assert_eq!(streamed, expected, "seed {seed}");
        drop(streamed);
        check_memory(&runtime, &format!("seed {seed}"));
        struck += device.log().len();
    }
    println!("{struck} faults in 40 runs");
    assert!(struck > 100, "{struck}");
}
