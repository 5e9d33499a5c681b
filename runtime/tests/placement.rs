//! What placement is told of compiling and of where batches lie, and what it makes of that.

mod common;
mod disguised;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use common::{batch, builder, compile, query, told};
use disguised::Disguised;
use unlade_runtime::{Kernel, Reason, Runtime};
use unlade_sim_device::{Profile, SimDevice};

fn input(rows: i32) -> RecordBatch {
    let a: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
    batch(vec![("a", a)])
}

/// The CPU, and what passes for a GPU.
fn with_gpu() -> Runtime {
    let sim = SimDevice::builder(Profile::gpu()).name("gpu").build();
    let gpu = Disguised::new(sim, Duration::ZERO);
    builder().device(Arc::new(gpu)).build().unwrap()
}

/// A term of what the GPU is predicted to take, in nanoseconds.
fn term(kernel: &Kernel, name: &str) -> u64 {
    let explained = kernel.explain();
    let gpu = explained
        .candidates
        .iter()
        .find(|each| &*each.device == "gpu");
    let cost = &gpu.unwrap().cost;
    cost.iter().find(|term| term.term == name).unwrap().nanos
}

#[test]
fn compiling_is_spread_over_batches_until_it_is_done() {
    let runtime = with_gpu();
    let small = input(10);
    let kernel = compile(&runtime, &query("", "a > 41"), &small.schema());
    let whole = term(&kernel, "compile");
    assert!(whole > 0);
    // Far too few rows to be sent anywhere.
    for _ in 0..10 {
        let receipt = kernel.run(&small).unwrap().receipt;
        assert_eq!(&*receipt.parts[0].device, "cpu");
    }
    assert!(term(&kernel, "compile").abs_diff(whole / 10) <= 1);
    // Another kernel of the same query has it compiled.
    let wanted = query("", "a > 41");
    let other = told(&runtime, "gpu", &wanted, &small.schema());
    other.run(&small).unwrap();
    assert_eq!(term(&kernel, "compile"), 0);
    // What it took is known for the next query.
    let other = compile(&runtime, &query("", "a > 41 and a < 77"), &small.schema());
    let learnt = term(&other, "compile");
    assert!((1..whole).contains(&learnt), "{learnt} ns after {whole} ns");
}

#[test]
fn what_lies_on_a_device_is_run_there_where_that_pays() {
    let runtime = with_gpu();
    for (rows, device) in [(100, "cpu"), (1_000_000, "gpu")] {
        let whole = input(rows);
        let pinned = runtime
            .pin(std::slice::from_ref(&whole), Some("gpu"))
            .unwrap();
        assert_eq!(pinned.batches_on_device(), 1);
        // What is being compared is running, not compiling.
        let wanted = query("", "a > 41");
        let on_gpu = told(&runtime, "gpu", &wanted, &whole.schema());
        on_gpu.run_resident(&pinned).unwrap();
        let kernel = compile(&runtime, &wanted, &whole.schema());
        let outputs = kernel.run_resident(&pinned).unwrap();
        let receipt = &outputs[0].receipt;
        let part = &receipt.parts[0];
        assert_eq!(&*part.device, device, "{rows} rows");
        assert!(receipt.predicted.is_some());
        match device {
            "gpu" => {
                assert_eq!(part.reason, Reason::Resident);
                assert_eq!(receipt.bytes_to_device, 0);
            }
            _ => assert!(matches!(part.reason, Reason::Cheapest { .. }), "{part:?}"),
        }
        assert_eq!(outputs[0].batch.num_rows(), whole.num_rows() - 42);
    }
}
