//! One stream on all devices at once, by the time at which it is done.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatchIterator;
use unlade_cpu::CpuDevice;
use unlade_expr::{Query, Semantics, parse_expr};
use unlade_hal::Clock;
use unlade_sim_clock::VirtualClock;

use super::awaited::Awaited;
use super::simulate;
use super::world::{batch, come_to_rest, in_time};
use crate::figures::note;
use crate::kernel::Kernel;
use crate::options::Placement;
use crate::runtime::Runtime;

const SEEDS: u64 = 4;

/// Rows of a batch, for which the simulated processor takes a millisecond.
const ROWS: usize = 5000;

const BATCHES: usize = 150;

/// How much longer a stream may take that is spread than on the best single device: a twentieth.
const TOLERANCE: f64 = 1.05;

#[test]
fn a_stream_on_equal_devices_is_nearly_as_fast_as_both() {
    // The GPU's bus takes about as long as the processor.
    let ratio = worst_ratio(40_000_000);
    assert!(ratio < 0.55, "{ratio}");
}

#[test]
fn a_stream_is_no_slower_than_on_the_best_device() {
    for speed in [1_000_000, 8_000_000, 200_000_000, 5_000_000_000] {
        let ratio = worst_ratio(speed);
        assert!(ratio < TOLERANCE, "{speed} bytes a second: {ratio}");
    }
}

/// How long a spread stream takes, relative to the best device alone, with a GPU behind a bus of this
/// speed: the worst of some runs.
fn worst_ratio(speed: u64) -> f64 {
    let ratios = (0..SEEDS).map(|seed| {
        let times = simulate(seed, move || in_time(|clock| times(speed, clock)));
        let [cpu, gpu, both] = times.unwrap();
        println!("{speed} bytes a second: {cpu:?} and {gpu:?} alone, {both:?} spread");
        both.as_secs_f64() / cpu.min(gpu).as_secs_f64()
    });
    let worst = ratios.fold(0.0, f64::max);
    note("times the best device alone, a stream over two", worst);
    worst
}

/// How long a stream takes on the processor, on the GPU, and on both.
fn times(speed: u64, clock: &VirtualClock) -> [Duration; 3] {
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(Awaited::behind_a_bus("gpu", speed, clock))
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let kernel = |placement: Placement| {
        let session = runtime.session(format!("{placement:?}"));
        let session = session.placement(placement).open().unwrap();
        let query = Query::filter(parse_expr("n % 2 = 0").unwrap());
        session
            .compile(&query, &batch(0, 0).schema(), &Semantics::arrow())
            .unwrap()
    };
    let [cpu, gpu] = ["cpu", "gpu"].map(|name| kernel(Placement::Device(name.into())));
    let both = kernel(Placement::Auto);
    // What is placed is learnt from first.
    let _learnt = time(&both, clock);
    let times = [&cpu, &gpu, &both].map(|kernel| time(kernel, clock));
    drop((cpu, gpu, both));
    come_to_rest(&runtime.core);
    times
}

/// How long a stream takes.
fn time(kernel: &Kernel, clock: &VirtualClock) -> Duration {
    let one = batch(0, ROWS);
    let batches = std::iter::repeat_n(one.clone(), BATCHES).map(Ok);
    let start = clock.now();
    let stream = kernel.stream(RecordBatchIterator::new(batches, one.schema()));
    let results = stream.map(Result::unwrap).count();
    assert_eq!(results, BATCHES);
    clock.now().since(start)
}
