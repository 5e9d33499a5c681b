//! Budgets that are too small: batches are split, streams and tickets wait, and what cannot be had
//! says who holds it.

mod common;

use std::sync::{Arc, mpsc};
use std::thread;

use arrow_array::{Int64Array, RecordBatch, RecordBatchIterator, RecordBatchReader, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use common::{builder, compile, query};
use unlade_hal::Device;
use unlade_runtime::{Error, Fallback, Kernel, Path, Placement, Reason, Runtime};
use unlade_sim_device::{Profile, SimDevice};

const ROWS: usize = 40_000;

/// About what making the result of so many rows takes.
const RESULT: u64 = 800 << 10;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
    ]))
}

fn rows(first: usize, count: usize) -> RecordBatch {
    let numbers = || first..first + count;
    let values = Int64Array::from_iter(numbers().map(|n| (n % 7 != 0).then_some(n as i64)));
    let texts = StringArray::from_iter(numbers().map(|n| (n % 5 != 0).then(|| format!("{n:x}"))));
    RecordBatch::try_new(schema(), vec![Arc::new(values), Arc::new(texts)]).unwrap()
}

fn numbered(number: usize) -> RecordBatch {
    rows(number * ROWS, ROWS)
}

fn reader(batches: usize) -> impl RecordBatchReader + Send + 'static {
    RecordBatchIterator::new((0..batches).map(|number| Ok(numbered(number))), schema())
}

fn tight(budget: u64, threads: usize) -> Runtime {
    let builder = builder().memory_budget(budget).pool_reserve(budget);
    builder.threads(threads).build().unwrap()
}

fn kernel(runtime: &Runtime) -> Kernel {
    compile(runtime, &query("a + 1 as b, s", "a % 3 <> 1"), &schema())
}

fn expected(batches: usize) -> Vec<RecordBatch> {
    let kernel = kernel(&common::runtime());
    let batches = (0..batches).map(|number| kernel.run(&numbered(number)).unwrap().batch);
    batches.collect()
}

#[track_caller]
fn assert_nothing_held(runtime: &Runtime) {
    let status = runtime.memory();
    assert_eq!((status.leased, status.waiting), (0, 0), "{status:?}");
}

/// Little is kept: the result is small, the room to make it in is not.
#[test]
fn a_batch_beyond_the_budget_is_split() {
    let batch = rows(0, 8 * ROWS);
    let query = query("a + 1 as b, s", "a % 1000 = 1");
    let ample = compile(&common::runtime(), &query, &schema());
    let runtime = tight(RESULT, 1);
    let output = compile(&runtime, &query, &schema()).run(&batch).unwrap();
    assert_eq!(output.batch, ample.run(&batch).unwrap().batch);
    assert!(output.receipt.retries > 0, "{:?}", output.receipt);
    assert!(output.receipt.bytes_copied > output.receipt.bytes_out);
    drop(output);
    assert_nothing_held(&runtime);
}

#[test]
fn a_row_s_number_is_the_batch_s_in_whatever_piece_it_is() {
    let runtime = tight(RESULT, 1);
    let failing = query("10 / (a - 300002) as b", "");
    let kernel = compile(&runtime, &failing, &schema());
    let Err(Error::Data(error)) = kernel.run(&rows(0, 8 * ROWS)) else {
        panic!("row 300002 divides by 0")
    };
    assert_eq!(error.row, 300_002);
    assert_nothing_held(&runtime);
}

#[test]
fn results_that_are_kept_exhaust_the_budget_and_the_error_says_so() {
    let runtime = tight(4 * RESULT, 1);
    let kernel = kernel(&runtime);
    let mut kept = Vec::new();
    let error = loop {
        match kernel.run(&numbered(kept.len())) {
            Ok(output) => kept.push(output),
            Err(error) => break error,
        }
    };
    assert!((3..=8).contains(&kept.len()), "{} kept", kept.len());
    let Error::Exhausted(exhausted) = &error else {
        panic!("{error}")
    };
    assert_eq!(exhausted.budget, 4 * RESULT);
    assert_eq!(exhausted.holders[0].what, "runtime: exported to the caller");
    assert!(exhausted.holders[0].bytes > 2 * RESULT, "{error}");
    assert!(error.to_string().contains("drop results sooner"), "{error}");
    kept.clear();
    drop(error);
    kernel.run(&numbered(0)).unwrap();
    assert_nothing_held(&runtime);
}

#[test]
fn a_stream_makes_do_with_room_for_one_result() {
    let expected = expected(24);
    for threads in [1, 2, 4] {
        let runtime = tight(2 * RESULT, threads);
        let mut stream = kernel(&runtime).stream(reader(24));
        for expected in &expected {
            assert_eq!(stream.next().unwrap().unwrap().batch, *expected);
        }
        assert!(stream.next().is_none());
        drop(stream);
        assert_nothing_held(&runtime);
    }
}

#[test]
fn a_stream_of_which_results_are_kept_ends_in_exhaustion() {
    for threads in [1, 3] {
        let runtime = tight(4 * RESULT, threads);
        let mut stream = kernel(&runtime).stream(reader(40));
        let kept: Vec<_> = stream.by_ref().take_while(Result::is_ok).collect();
        assert!((3..=8).contains(&kept.len()), "{} kept", kept.len());
        assert!(stream.next().is_none());
    }
}

#[test]
fn many_streams_on_many_threads_all_end() {
    const STREAMS: usize = 4;
    let expected = expected(16);
    let runtime = tight(2 * STREAMS as u64 * RESULT, 4);
    let kernel = kernel(&runtime);
    thread::scope(|scope| {
        for _ in 0..STREAMS {
            scope.spawn(|| {
                let mut stream = kernel.stream(reader(expected.len()));
                for expected in &expected {
                    assert_eq!(stream.next().unwrap().unwrap().batch, *expected);
                }
            });
        }
    });
    assert_nothing_held(&runtime);
}

/// None of them may keep the others' turn from coming, whatever was made ahead of it.
#[test]
fn many_streams_on_one_thread_take_turns() {
    const STREAMS: usize = 8;
    let expected = expected(10);
    let runtime = tight(2 * RESULT, 3);
    let kernel = kernel(&runtime);
    let mut streams: Vec<_> = (0..STREAMS).map(|_| kernel.stream(reader(10))).collect();
    for expected in &expected {
        for stream in &mut streams {
            assert_eq!(stream.next().unwrap().unwrap().batch, *expected);
        }
    }
    drop(streams);
    assert_nothing_held(&runtime);
}

#[test]
fn tickets_wait_for_what_other_tickets_give_back() {
    let expected = expected(1).remove(0);
    let runtime = tight(4 * RESULT, 4);
    let kernel = kernel(&runtime);
    let (sender, results) = mpsc::channel();
    for _ in 0..60 {
        let sender = sender.clone();
        let ticket = kernel.submit(numbered(0)).unwrap();
        let expected = expected.clone();
        ticket.on_complete(move |result| {
            let equal = result.map(|output| output.batch == expected);
            sender.send(equal).unwrap();
        });
    }
    drop(sender);
    let results: Vec<_> = results.iter().collect();
    assert_eq!(results.len(), 60);
    for equal in results {
        assert!(equal.unwrap());
    }
    assert_nothing_held(&runtime);
}

#[test]
fn a_device_s_batch_beyond_the_budget_of_the_host_is_split() {
    let batch = rows(0, 8 * ROWS);
    let query = query("a, s", "a > 5 and a % 1000 = 7");
    let expected = compile(&common::runtime(), &query, &schema())
        .run(&batch)
        .unwrap();
    let budget = 12 * RESULT;
    let runtime = builder()
        .device(Arc::new(SimDevice::builder(Profile::gpu()).build()))
        .placement(Placement::Device("sim".into()))
        .memory_budget(budget)
        .pool_reserve(budget)
        .build()
        .unwrap();
    // Somebody holds most of it.
    let numbers = compile(&runtime, &common::query("a + 1 as b", ""), &schema());
    let held = numbers.run(&rows(0, 20 * ROWS)).unwrap();
    let output = compile(&runtime, &query, &schema()).run(&batch).unwrap();
    assert_eq!(output.batch, expected.batch);
    assert!(output.receipt.retries > 0, "{:?}", output.receipt);
    drop((held, output));
    assert_nothing_held(&runtime);
}

/// A device is sent the set with every batch; the CPU has it where it is.
#[test]
fn a_row_too_large_to_be_handed_to_a_device_is_the_cpus() {
    let device: Arc<dyn Device> = Arc::new(SimDevice::builder(Profile::gpu()).build());
    let numbers: Vec<String> = (0..60_000).map(|number| number.to_string()).collect();
    let query = query("a", &format!("a in ({})", numbers.join(", ")));
    for fallback in [Fallback::Allow, Fallback::Forbid] {
        let budget = 256 << 10;
        let runtime = builder()
            .device(Arc::clone(&device))
            .placement(Placement::Device("sim".into()))
            .fallback(fallback)
            .memory_budget(budget)
            .pool_reserve(budget)
            .build()
            .unwrap();
        let kernel = compile(&runtime, &query, &schema());
        match (kernel.run(&rows(8, 1)), fallback) {
            (Ok(output), Fallback::Allow) => {
                assert_eq!(output.batch.num_rows(), 1);
                let last = output.receipt.parts.last().unwrap();
                assert_eq!((&*last.device, last.path), ("cpu", Path::Fallback));
                assert!(matches!(last.reason, Reason::OutOfMemory { .. }));
            }
            (Err(Error::Exhausted(_)), Fallback::Forbid) => {}
            (other, _) => panic!("{fallback:?}: {other:?}"),
        }
    }
}
