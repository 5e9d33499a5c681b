//! What a batch costs beyond its evaluation, and what compiling costs.
//!
//! `batch/run` less `batch/evaluation` is the fixed cost: checks, buffers, arrays, receipt. The
//! evaluation alone is the same program over the same columns into memory that is there already.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{Array, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow_buffer::MutableBuffer;
use criterion::{Criterion, criterion_group, criterion_main};
use unlade_cpu::CpuDevice;
use unlade_eval::{ColumnRef, Executable, Inputs, OutputMut, Outputs, SLACK, Scratch};
use unlade_expr::{Payload, Query, Semantics, check, lower, parse_expr};
use unlade_program::ShapeHash;
use unlade_runtime::Runtime;

const ROWS: usize = 64;

fn batch() -> RecordBatch {
    let integers = || Arc::new(Int32Array::from_iter_values(0..ROWS as i32)) as _;
    let wide = Int64Array::from_iter_values(0..ROWS as i64);
    let floats = Float64Array::from_iter_values((0..ROWS).map(|row| row as f64));
    RecordBatch::try_from_iter([
        ("a", integers()),
        ("b", integers()),
        ("c", Arc::new(wide) as _),
        ("d", Arc::new(floats) as _),
    ])
    .unwrap()
}

fn one_batch(criterion: &mut Criterion) {
    let batch = batch();
    let query = Query::filter(parse_expr("a > 10 and c < 60").unwrap());
    let semantics = Semantics::arrow();
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .build()
        .unwrap();
    let kernel = runtime
        .compile(&query, &batch.schema(), &semantics)
        .unwrap();
    let mut group = criterion.benchmark_group("batch");
    group.bench_function("run", |bencher| {
        bencher.iter(|| kernel.run(black_box(&batch)).unwrap())
    });

    let checked = check(&query, &batch.schema(), &semantics).unwrap();
    let lowered = lower(&checked, Payload::Fused).unwrap();
    let executable = Executable::new(&lowered.program);
    let data: Vec<_> = lowered
        .columns
        .iter()
        .map(|at| batch.column(*at).to_data())
        .collect();
    let columns: Vec<ColumnRef<'_>> = data
        .iter()
        .map(|data| ColumnRef {
            values: data.buffers()[0].as_slice(),
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
        rows: ROWS,
        columns: &columns,
        params: &params,
        tables: &[],
        sets: &[],
    };
    let room = || MutableBuffer::from_len_zeroed(8 * ROWS + SLACK);
    let mut blocks: Vec<(MutableBuffer, Option<MutableBuffer>)> = lowered
        .program
        .outputs
        .iter()
        .map(|output| (room(), output.valid.map(|_| room())))
        .collect();
    let mut scratch = Scratch::new();
    group.bench_function("evaluation", |bencher| {
        bencher.iter(|| {
            let mut outputs: Vec<OutputMut<'_>> = blocks
                .iter_mut()
                .map(|(values, validity)| OutputMut {
                    values: values.as_slice_mut(),
                    validity: validity.as_mut().map(|bits| bits.as_slice_mut()),
                })
                .collect();
            let mut outputs = Outputs {
                mask: None,
                columns: &mut outputs,
            };
            unlade_eval::run(&executable, black_box(&inputs), &mut outputs, &mut scratch).unwrap()
        });
    });
    group.finish();
}

fn compiling(criterion: &mut Criterion) {
    let batch = batch();
    let text = "a > 10 and c < 60 and d + 1.5 > 3.0 and b <> 7";
    let semantics = Semantics::arrow();
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .build()
        .unwrap();
    let mut group = criterion.benchmark_group("compile");
    let query = Query::mask(parse_expr(text).unwrap());
    group.bench_function("new literals", |bencher| {
        let mut literal = 0;
        bencher.iter(|| {
            literal += 1;
            let text = format!("a > {literal} and c < 60 and d + 1.5 > 3.0 and b <> 7");
            let query = Query::mask(parse_expr(&text).unwrap());
            runtime
                .compile(&query, &batch.schema(), &semantics)
                .unwrap()
        });
    });
    group.bench_function("same query", |bencher| {
        let schema = batch.schema();
        bencher.iter(|| {
            runtime
                .compile(black_box(&query), &schema, &semantics)
                .unwrap()
        });
    });
    group.bench_function("a fresh shape, without a cache", |bencher| {
        let schema = batch.schema();
        bencher.iter(|| {
            let checked = check(black_box(&query), &schema, &semantics).unwrap();
            let lowered = lower(&checked, Payload::Fused).unwrap();
            (
                ShapeHash::of(&lowered.program),
                Executable::new(&lowered.program),
            )
        });
    });
    let shape = runtime
        .compile(&query, &batch.schema(), &semantics)
        .unwrap()
        .shape();
    let map = HashMap::from([(shape, ())]);
    group.bench_function("look-up in a hash map", |bencher| {
        bencher.iter(|| map.get(black_box(&shape)));
    });
    group.finish();
}

criterion_group!(benches, one_batch, compiling);
criterion_main!(benches);
