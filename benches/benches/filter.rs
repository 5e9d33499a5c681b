//! Filters over ten million rows: Unlade, arrow-rs, and the sum of the same columns.
//!
//! `BENCH_BUILD` names the build in the peer's ids, so that a build for the machine's own processor
//! stands beside the portable one.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use unlade::{Query, Runtime, Semantics};
use unlade_benches::{ROWS, SLICES, Workload, floor, table, workloads};

fn filters(criterion: &mut Criterion) {
    let runtime = runtime(1);
    let numbers = table::numbers(ROWS);
    let payload = table::payload(ROWS / 5);
    for workload in workloads() {
        let batch = if workload.payload { &payload } else { &numbers };
        let mut group = criterion.benchmark_group(&workload.name);
        one_workload(&mut group, &runtime, &workload, batch);
        group.finish();
    }
}

fn one_workload(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    workload: &Workload,
    batch: &arrow_array::RecordBatch,
) {
    let build = std::env::var("BENCH_BUILD").unwrap_or_else(|_| "portable".to_owned());
    let kernel = runtime
        .compile(&workload.query(), &batch.schema(), &Semantics::arrow())
        .expect("workloads are well-formed");
    group.bench_function("floor", |bencher| {
        bencher.iter(|| floor::sum(black_box(batch), &workload.reads));
    });
    group.bench_function("unlade-whole", |bencher| {
        bencher.iter(|| {
            kernel
                .run(black_box(batch))
                .expect("no row fails")
                .batch
                .num_rows()
        });
    });
    for slice in SLICES {
        let slices = table::sliced(batch, slice);
        group.bench_function(format!("unlade-{slice}"), |bencher| {
            bencher.iter(|| {
                slices
                    .iter()
                    .map(|batch| {
                        kernel
                            .run(black_box(batch))
                            .expect("no row fails")
                            .batch
                            .num_rows()
                    })
                    .sum::<usize>()
            });
        });
    }
    group.bench_function(format!("arrow-{build}-whole"), |bencher| {
        bencher.iter(|| {
            workload
                .with_arrow(black_box(batch))
                .expect("no row fails")
                .num_rows()
        });
    });
    let slices = table::sliced(batch, SLICES[0]);
    group.bench_function(format!("arrow-{build}-{}", SLICES[0]), |bencher| {
        bencher.iter(|| {
            slices
                .iter()
                .map(|batch| {
                    workload
                        .with_arrow(black_box(batch))
                        .expect("no row fails")
                        .num_rows()
                })
                .sum::<usize>()
        });
    });
}

/// Two threads against one: our stream, and the sum of the same column.
fn threads(criterion: &mut Criterion) {
    let numbers = table::numbers(ROWS);
    let slices = table::sliced(&numbers, SLICES[1]);
    let workload = &workloads()[1];
    let mut group = criterion.benchmark_group("threads");
    for threads in [1, 2] {
        let runtime = runtime(threads);
        let query: Query = workload.query();
        let kernel = runtime
            .compile(&query, &numbers.schema(), &Semantics::arrow())
            .expect("workloads are well-formed");
        group.bench_function(format!("unlade-{threads}"), |bencher| {
            bencher.iter(|| {
                let batches = slices.clone().into_iter().map(Ok);
                let reader = arrow_array::RecordBatchIterator::new(batches, numbers.schema());
                kernel
                    .stream(reader)
                    .map(|output| output.expect("no row fails").batch.num_rows())
                    .sum::<usize>()
            });
        });
        group.bench_function(format!("floor-{threads}"), |bencher| {
            bencher.iter(|| {
                std::thread::scope(|scope| {
                    let sums: Vec<_> = table::sliced(&numbers, ROWS / threads)
                        .into_iter()
                        .map(|part| scope.spawn(move || floor::sum(&part, &["a"])))
                        .collect();
                    sums.into_iter()
                        .map(|sum| sum.join().expect("a sum does not panic"))
                        .fold(0, u64::wrapping_add)
                })
            });
        });
    }
    group.finish();
}

fn runtime(threads: usize) -> Runtime {
    unlade::discover()
        .into_iter()
        .fold(Runtime::builder(), unlade::RuntimeBuilder::device)
        .threads(threads)
        .memory_budget(8 << 30)
        .build()
        .expect("the CPU is there")
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700));
    targets = filters, threads
}
criterion_main!(benches);
