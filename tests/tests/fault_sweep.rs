//! Every fault at every operation: the first chance of a kind fails, then the second, and so on,
//! until a run has no more. Results equal the CPU's, no lease leaks, and what must be abandoned to
//! a lost device is counted.
#![allow(clippy::print_stdout)] // how much was swept is what this test reports

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchIterator, StringArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use unlade_cpu::CpuDevice;
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::Device;
use unlade_runtime::{Kernel, Path, Placement, Runtime, Verified};
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};

/// Batches of one run: after a fault the device is used again, as far as it is to be had.
const BATCHES: usize = 3;

/// More operations than a run has.
const MOST: u64 = 200;

const QUERIES: [(&str, &str); 3] = [
    ("", "a > 41 and flag"),
    ("text, a + 1 as x", "b % 3 = 0"),
    ("cast(a as bigint) * b", ""),
];

fn schema() -> SchemaRef {
    let field = |name: &str, ty| Field::new(name, ty, true);
    Arc::new(Schema::new(vec![
        field("a", DataType::Int32),
        field("b", DataType::Int64),
        field("flag", DataType::Boolean),
        field("text", DataType::Utf8),
    ]))
}

fn batch(first: usize) -> RecordBatch {
    let rows = first..first + 700;
    let a: Int32Array = rows
        .clone()
        .map(|row| (row % 11 != 5).then_some(row as i32 % 100))
        .collect();
    let b = Int64Array::from_iter_values(rows.clone().map(|row| row as i64));
    let flag: BooleanArray = rows
        .clone()
        .map(|row| (row % 7 != 0).then_some(row % 2 == 0))
        .collect();
    let text = StringArray::from_iter_values(rows.map(|row| format!("row {row}")));
    let columns: Vec<ArrayRef> = vec![Arc::new(a), Arc::new(b), Arc::new(flag), Arc::new(text)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn compile(runtime: &Runtime, select: &str, filter: &str) -> Kernel {
    let query = match filter {
        "" => Query::all(),
        filter => Query::filter(parse_expr(filter).unwrap()),
    };
    let query = match select {
        "" => query,
        select => query.select(parse_select_list(select).unwrap()),
    };
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
        .map(|at| kernel.run(&batch(at * 1000)).unwrap().batch)
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

/// After all results are dropped: what is still leased was abandoned, and is counted.
fn check_memory(runtime: &Runtime, what: &str) -> u64 {
    unlade_runtime::pool::Pool::flush_thread();
    let memory = runtime.memory();
    let leaked = runtime.devices()[1].leaked_bytes;
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
                        let output = kernel.run(&batch(at * 1000)).unwrap();
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
                        assert!(!failed || receipt.retries > 0, "{what}: {receipt:?}");
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
    // A reset is only tried after a loss, of which a plan of one fault has none.
    let unreached = FaultKind::ALL
        .into_iter()
        .filter(|kind| !swept.contains_key(kind));
    assert_eq!(unreached.collect::<Vec<_>>(), [FaultKind::ResetFails]);
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
                        let output = kernel.run(&batch(at * 1000)).unwrap();
                        assert_eq!(&output.batch, expected, "seed {seed}");
                    }
                    unlade_runtime::pool::Pool::flush_thread();
                });
            }
        });
        let batches = (0..BATCHES).map(|at| Ok(batch(at * 1000)));
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
