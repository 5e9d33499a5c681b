//! What a batch, a compile and a lease cost whatever the data: beside evaluation, a hash map's
//! look-up, and malloc.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use criterion::{Criterion, criterion_group, criterion_main};
use unlade::{Expr, Query, Semantics, ShapeHash, col, lit};
use unlade_eval::{ColumnRef, Executable, Inputs, OutputMut, Outputs, SLACK, Scratch};
use unlade_expr::{Payload, check, lower};

/// Rows of the batches: one tile's worth of nothing, so that the rest is what a batch costs.
const FEW: usize = 8;

/// A batch of four columns of few rows through the runtime, and the same program evaluated on the
/// same slices without one.
fn batch(criterion: &mut Criterion) {
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..FEW as i32));
    let names = ["a", "b", "c", "d"];
    let batch = RecordBatch::try_from_iter(names.map(|name| (name, column.clone())))
        .expect("columns are of one length");
    let query = Query::filter(col("a").gt(lit(3)));
    let runtime = unlade::runtime().expect("the CPU is there");
    let kernel = runtime
        .compile(&query, &batch.schema(), &Semantics::arrow())
        .expect("the query is well-formed");
    let mut group = criterion.benchmark_group("batch");
    group.bench_function("runtime", |bencher| {
        bencher.iter(|| {
            kernel
                .run(black_box(&batch))
                .expect("no row fails")
                .batch
                .num_rows()
        });
    });

    let checked = check(&query, &batch.schema(), &Semantics::arrow()).expect("it is well-formed");
    let lowered = lower(&checked, Payload::Fused).expect("it can be lowered");
    let executable = Executable::new(&lowered.program);
    let bytes: Vec<u8> = (0..FEW as i32).flat_map(i32::to_le_bytes).collect();
    let columns: Vec<ColumnRef<'_>> = lowered
        .columns
        .iter()
        .map(|_| ColumnRef {
            values: &bytes,
            bit_offset: 0,
            validity: None,
        })
        .collect();
    let params: Vec<[u8; 16]> = lowered
        .params
        .iter()
        .map(|value| value.to_le_bytes())
        .collect();
    let inputs = Inputs {
        rows: FEW,
        columns: &columns,
        params: &params,
        tables: &[],
        sets: &[],
    };
    let mut blocks = vec![vec![0_u8; FEW * 4 + SLACK]; lowered.program.outputs.len()];
    let mut validity = vec![vec![0_u8; FEW + SLACK]; lowered.program.outputs.len()];
    let mut scratch = Scratch::new();
    group.bench_function("evaluation", |bencher| {
        bencher.iter(|| {
            let mut columns: Vec<OutputMut<'_>> = blocks
                .iter_mut()
                .zip(&mut validity)
                .zip(&lowered.program.outputs)
                .map(|((values, validity), output)| OutputMut {
                    values,
                    validity: output.valid.map(|_| validity.as_mut_slice()),
                })
                .collect();
            let mut outputs = Outputs {
                mask: None,
                columns: &mut columns,
            };
            unlade_eval::run(&executable, black_box(&inputs), &mut outputs, &mut scratch)
                .expect("no row fails")
                .kept
        });
    });
    group.finish();
}

/// An expression of ten nodes.
fn ten_nodes(literal: i32) -> Expr {
    col("a")
        .gt(lit(literal))
        .and((col("b") + col("c")).lt(col("d")))
}

/// Compiling what was never seen, compiling what was seen with other literals, and a look-up.
fn compile(criterion: &mut Criterion) {
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..FEW as i32));
    let batch = RecordBatch::try_from_iter(["a", "b", "c", "d"].map(|name| (name, column.clone())))
        .expect("columns are of one length");
    let schema = batch.schema();
    let runtime = unlade::runtime().expect("the CPU is there");
    let mut group = criterion.benchmark_group("compile");
    let query = Query::filter(ten_nodes(3));
    group.bench_function("tree-to-executable", |bencher| {
        bencher.iter(|| {
            let checked = check(black_box(&query), &schema, &Semantics::arrow()).expect("fits");
            let lowered = lower(&checked, Payload::Fused).expect("fits");
            let hash = ShapeHash::of(&lowered.program);
            (Executable::new(&lowered.program), hash)
        });
    });
    group.bench_function("lowering", |bencher| {
        bencher.iter(|| {
            let checked = check(black_box(&query), &schema, &Semantics::arrow()).expect("fits");
            let lowered = lower(&checked, Payload::Fused).expect("fits");
            let hash = ShapeHash::of(&lowered.program);
            (checked, lowered, hash)
        });
    });
    group.bench_function("runtime-cached", |bencher| {
        bencher.iter(|| {
            runtime
                .compile(black_box(&query), &schema, &Semantics::arrow())
                .expect("fits")
        });
    });
    let map: HashMap<ShapeHash, u32> = [(
        runtime
            .compile(&query, &schema, &Semantics::arrow())
            .expect("fits")
            .shape(),
        1,
    )]
    .into();
    let hash = *map.keys().next().expect("one entry");
    group.bench_function("hash-map", |bencher| {
        bencher.iter(|| map.get(black_box(&hash)));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000));
    targets = batch, compile
}
criterion_main!(benches);
