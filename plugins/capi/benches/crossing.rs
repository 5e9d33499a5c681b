//! What it costs to cross the C interface with a batch: in as an `ArrowArray`, which is looked at, and
//! out as one, which is released, beside the same batch from Rust.
//!
//! `numbers` is four columns of 64 rows, the batch of `fixed_cost`, so that there is little else to
//! measure; `strings` has one of 8,192 strings, whose offsets are each looked at. Of both, last and only
//! printed, the difference of runs that take turns, so that whatever else the machine does disturbs both
//! sides. What the engine does to make the struct is not in it: a copy of one that is there.

#![allow(clippy::print_stdout)] // differences are for people

use std::ffi::CString;
use std::hint::black_box;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::{
    Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
};
use criterion::Criterion;
use unlade::{Kernel, Query, Runtime, Semantics, parse_expr};
use unlade_c::code::unlade_code::UNLADE_OK;
use unlade_c::kernel::{
    unlade_kernel, unlade_kernel_compile, unlade_kernel_free, unlade_kernel_run,
};
use unlade_c::output::{unlade_output, unlade_output_release};
use unlade_c::query::{unlade_query, unlade_query_free, unlade_query_text};
use unlade_c::runtime::{
    unlade_runtime, unlade_runtime_free, unlade_runtime_open, unlade_runtime_options,
};
use unlade_c::{ArrowArray, ArrowSchema};
use unlade_tests::figures::{is_asked_for, note};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let cases = [
        Case::new("numbers", "a > 3", &numbers()),
        Case::new("strings", "a >= 0", &strings()),
    ];
    for case in &cases {
        let mut group = criterion.benchmark_group(format!("capi/{}", case.name));
        group.bench_function("rust", |bencher| bencher.iter(|| case.in_rust()));
        group.bench_function("c", |bencher| bencher.iter(|| case.through_c(ptr::null())));
        group.bench_function("c, with its schema", |bencher| {
            bencher.iter(|| case.through_c(&case.schema));
        });
        group.finish();
    }
    criterion.final_summary();
    // For a quick look, or a list, nothing is measured.
    if std::env::args().any(|word| ["--test", "--list"].contains(&word.as_str())) {
        return;
    }
    for case in &cases {
        case.beside_rust("a batch", ptr::null());
        case.beside_rust("a batch with its schema", &case.schema);
    }
}

/// A query on a batch, from Rust and through the C interface.
struct Case {
    name: &'static str,
    batch: RecordBatch,
    kernel: Kernel,
    /// The same batch, released by nobody: its columns are those of `exported`.
    array: ArrowArray,
    schema: ArrowSchema,
    /// What has the array's memory.
    _exported: FFI_ArrowArray,
    through: *mut unlade_kernel,
}

impl Case {
    fn new(name: &'static str, filter: &str, batch: &RecordBatch) -> Self {
        let query = Query::filter(parse_expr(filter).unwrap());
        let devices = unlade::open_devices(&["cpu"]).unwrap();
        let runtime = devices
            .into_iter()
            .fold(Runtime::builder(), unlade::RuntimeBuilder::device);
        let runtime = runtime.build().unwrap();
        let kernel = runtime
            .compile(&query, &batch.schema(), &Semantics::arrow())
            .unwrap();
        let exported = FFI_ArrowArray::new(&StructArray::from(batch.clone()).to_data());
        let schema = FFI_ArrowSchema::try_from(batch.schema().as_ref()).unwrap();
        // SAFETY: Both are the C struct of the specification; what is copied here is only read, since
        // its `release` does nothing, and lives as long as `exported`.
        let mut array: ArrowArray = unsafe { ptr::from_ref(&exported).cast::<ArrowArray>().read() };
        array.release = Some(let_go);
        // SAFETY: The same struct, which moves.
        let schema: ArrowSchema = unsafe { std::mem::transmute(schema) };
        let through = compile(filter, &schema);
        Case {
            name,
            batch: batch.clone(),
            kernel,
            array,
            schema,
            _exported: exported,
            through,
        }
    }

    fn in_rust(&self) {
        black_box(self.kernel.run(black_box(&self.batch)).unwrap());
    }

    fn through_c(&self, schema: *const ArrowSchema) {
        let mut array = ArrowArray { ..self.array };
        let mut output = unlade_output::wanting(0);
        // SAFETY: All of it is there, and the array is one.
        let code = unsafe {
            unlade_kernel_run(
                self.through,
                &mut array,
                schema,
                &mut output,
                ptr::null_mut(),
            )
        };
        assert_eq!(code, UNLADE_OK);
        assert_eq!(output.bytes_copied, 0);
        black_box(&output);
        // SAFETY: A call has set it.
        unsafe { unlade_output_release(&mut output) };
    }

    /// How much longer it takes than from Rust.
    fn beside_rust(&self, what: &str, schema: *const ArrowSchema) {
        const ROUNDS: usize = 41;
        const BATCHES: u32 = 5000;
        let figure = format!("capi/ns beyond Rust, {}/{what}", self.name);
        if !is_asked_for(&[&figure]) {
            return;
        }
        let nanos = |run: &dyn Fn()| {
            let begun = Instant::now();
            (0..BATCHES).for_each(|_| run());
            begun.elapsed().as_nanos() as f64 / f64::from(BATCHES)
        };
        let mut beyond: Vec<f64> = (0..ROUNDS)
            .map(|_| nanos(&|| self.through_c(schema)) - nanos(&|| self.in_rust()))
            .collect();
        beyond.sort_by(f64::total_cmp);
        let [median, least, most] = [ROUNDS / 2, 0, ROUNDS - 1].map(|at| beyond[at]);
        println!("{figure}: {median:.0} ({least:.0} to {most:.0})");
        note(&figure, median);
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        assert_eq!(unlade_kernel_free(self.through), UNLADE_OK);
        if let Some(release) = self.schema.release {
            // SAFETY: It is ours, and was not released.
            unsafe { release(&mut self.schema) };
        }
    }
}

unsafe extern "C" fn let_go(array: *mut ArrowArray) {
    // SAFETY: Whoever releases an array has one.
    unsafe { (*array).release = None };
}

fn compile(filter: &str, schema: &ArrowSchema) -> *mut unlade_kernel {
    let filter = CString::new(filter).unwrap();
    let devices = c"cpu";
    // SAFETY: It is of numbers and pointers, of which 0 is one.
    let mut options: unlade_runtime_options = unsafe { std::mem::zeroed() };
    options.struct_size = size_of::<unlade_runtime_options>();
    options.devices = devices.as_ptr();
    let mut runtime: *mut unlade_runtime = ptr::null_mut();
    let mut query: *mut unlade_query = ptr::null_mut();
    let mut kernel: *mut unlade_kernel = ptr::null_mut();
    let none = ptr::null_mut();
    // SAFETY: All of it is there.
    let codes = unsafe {
        [
            unlade_runtime_open(&options, &mut runtime, none),
            unlade_query_text(filter.as_ptr(), ptr::null(), 0, &mut query, none),
            unlade_kernel_compile(
                runtime,
                ptr::null(),
                query,
                schema,
                ptr::null(),
                &mut kernel,
                none,
            ),
            unlade_query_free(query),
            unlade_runtime_free(runtime),
        ]
    };
    assert_eq!(codes, [UNLADE_OK; 5]);
    kernel
}

fn numbers() -> RecordBatch {
    const ROWS: usize = 64;
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

fn strings() -> RecordBatch {
    const ROWS: usize = 8192;
    let words = StringArray::from_iter_values((0..ROWS).map(|row| format!("word {row}")));
    let numbers = Int32Array::from_iter_values(0..ROWS as i32);
    RecordBatch::try_from_iter([("a", Arc::new(numbers) as _), ("s", Arc::new(words) as _)])
        .unwrap()
}
