//! What a batch costs beyond its evaluation, and what compiling costs.
//!
//! `batch/run` less `batch/evaluation` is the fixed cost: checks, buffers, arrays, receipt, and
//! dropping all of it. The evaluation alone is the same program over the same columns into memory
//! that is there already. A line after the two says whether the target is met.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow_buffer::MutableBuffer;
use arrow_data::ArrayData;
use criterion::{Criterion, criterion_group, criterion_main};
use unlade_cpu::CpuDevice;
use unlade_eval::{ColumnRef, Executable, Inputs, OutputMut, Outputs, SLACK, Scratch};
use unlade_expr::{Lowered, Payload, Query, Semantics, check, lower, parse_expr};
use unlade_hal::thread_cpu_time;
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

/// What a batch may cost beyond its evaluation.
const TARGET: Duration = Duration::from_nanos(1500);

/// The same program over the same columns as a kernel's, into memory that is there already.
struct Evaluation {
    executable: Executable,
    lowered: Lowered,
    data: Vec<ArrayData>,
    blocks: Vec<(MutableBuffer, Option<MutableBuffer>)>,
    params: Vec<[u8; 16]>,
    scratch: Scratch,
}

impl Evaluation {
    fn new(query: &Query, batch: &RecordBatch) -> Self {
        let checked = check(query, &batch.schema(), &Semantics::arrow()).unwrap();
        let lowered = lower(&checked, Payload::Fused).unwrap();
        let room = || MutableBuffer::from_len_zeroed(8 * ROWS + SLACK);
        let outputs = lowered.program.outputs.iter();
        Evaluation {
            executable: Executable::new(&lowered.program),
            data: lowered
                .columns
                .iter()
                .map(|at| batch.column(*at).to_data())
                .collect(),
            blocks: outputs
                .map(|output| (room(), output.valid.map(|_| room())))
                .collect(),
            params: lowered
                .params
                .iter()
                .map(|value| value.to_le_bytes())
                .collect(),
            scratch: Scratch::new(),
            lowered,
        }
    }

    /// Calls `measured` with what evaluates the batch once.
    fn with<R>(&mut self, measured: impl FnOnce(&mut dyn FnMut()) -> R) -> R {
        assert!(!self.lowered.program.emit_mask && self.lowered.sets.is_empty());
        let columns: Vec<ColumnRef<'_>> = self
            .data
            .iter()
            .map(|data| ColumnRef {
                values: data.buffers()[0].as_slice(),
                bit_offset: 0,
                validity: None,
            })
            .collect();
        let inputs = Inputs {
            rows: ROWS,
            columns: &columns,
            params: &self.params,
            tables: &[],
            sets: &[],
        };
        let mut outputs: Vec<OutputMut<'_>> = self
            .blocks
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
        measured(&mut || {
            let inputs = black_box(&inputs);
            unlade_eval::run(&self.executable, inputs, &mut outputs, &mut self.scratch).unwrap();
        })
    }
}

fn one_batch(criterion: &mut Criterion) {
    let batch = batch();
    let query = Query::filter(parse_expr("a > 10 and c < 60").unwrap());
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .build()
        .unwrap();
    let kernel = runtime
        .compile(&query, &batch.schema(), &Semantics::arrow())
        .unwrap();
    let mut run = || drop(black_box(kernel.run(black_box(&batch)).unwrap()));
    let mut evaluation = Evaluation::new(&query, &batch);

    let mut group = criterion.benchmark_group("batch");
    group.bench_function("run", |bencher| bencher.iter(&mut run));
    evaluation.with(|evaluate| {
        group.bench_function("evaluation", |bencher| bencher.iter(&mut *evaluate));
    });
    group.finish();
    evaluation.with(|evaluate| verdict(&mut run, evaluate));
}

/// Says whether the target is met: the median of many short rounds, in each of which both sides are
/// measured in CPU time, so that what else the machine does disturbs little.
#[allow(clippy::print_stdout)] // the report is for people
fn verdict(run: &mut dyn FnMut(), evaluate: &mut dyn FnMut()) {
    const ROUNDS: usize = 501;
    const REPEATS: u32 = 200;
    let time = |what: &mut dyn FnMut()| {
        let start = thread_cpu_time();
        (0..REPEATS).for_each(|_| what());
        (thread_cpu_time() - start) / REPEATS
    };
    let mut beyond: Vec<Duration> = (0..ROUNDS)
        .map(|_| time(run).saturating_sub(time(evaluate)))
        .collect();
    beyond.sort();
    let median = beyond[ROUNDS / 2];
    let met = if median <= TARGET { "PASS" } else { "FAIL" };
    let (low, high) = (beyond[ROUNDS / 4], beyond[ROUNDS * 3 / 4]);
    println!(
        "a batch of 4 columns beyond its evaluation: {median:?} of CPU time, quartiles {low:?} to \
         {high:?}; target at most {TARGET:?}: {met}"
    );
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

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700));
    targets = one_batch, compiling
}
criterion_main!(benches);
