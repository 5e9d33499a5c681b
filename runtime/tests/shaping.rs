//! Batches of streams that are done together, in pieces, and on several devices at once.

mod common;
mod disguised;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Int64Array, RecordBatch, RecordBatchIterator,
    StringArray, StringViewArray, types::Int32Type,
};
use common::{batch, builder, compile, query, told};
use disguised::Disguised;
use unlade_expr::Query;
use unlade_hal::Device;
use unlade_runtime::{Error, Kernel, Output, Placement, Runtime, RuntimeBuilder};
use unlade_sim_device::{Profile, SimDevice};

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

fn on(device: SimDevice) -> RuntimeBuilder {
    let name = device.info().name.as_str().into();
    builder()
        .device(Arc::new(device))
        .placement(Placement::Device(name))
        .gather_within(LONG)
}

fn sim() -> SimDevice {
    SimDevice::builder(Profile::gpu()).build()
}

fn stream(kernel: &Kernel, batches: &[RecordBatch]) -> Vec<Result<Output, Error>> {
    let reader: Vec<_> = batches.iter().cloned().map(Ok).collect();
    let stream = kernel.stream(RecordBatchIterator::new(reader, batches[0].schema()));
    stream.collect()
}

/// Columns of all kinds, with nulls, slices at odd places, and batches without rows.
fn mixed(count: usize) -> Vec<RecordBatch> {
    let rows = count * 50;
    let number = |row: usize| (!row.is_multiple_of(7)).then_some(row as i64 % 100 - 50);
    let numbers: Int64Array = (0..rows).map(number).collect();
    let flags: BooleanArray = (0..rows)
        .map(|row| (!row.is_multiple_of(5)).then_some(row % 3 == 0))
        .collect();
    let texts: StringArray = (0..rows)
        .map(|row| number(row).map(|n| format!("text {n}")))
        .collect();
    let words = ["ash", "beech", "oak"];
    let words: DictionaryArray<Int32Type> =
        (0..rows).map(|row| words.get(row % 4).copied()).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("unread", Arc::new(numbers.clone())),
        ("n", Arc::new(numbers)),
        ("flag", Arc::new(flags)),
        ("text", Arc::new(texts)),
        ("word", Arc::new(words)),
    ];
    let whole = batch(columns);
    let slice = |number: usize| whole.slice(number * 50, (number * 7 + 3) % 50);
    (0..count).map(slice).collect()
}

#[test]
fn batches_done_together_have_the_results_of_each_alone() {
    let batches = mixed(40);
    let queries = [
        query("n + 1 as m, text, flag", "n > 0 and flag"),
        query("text, word", "n < -20 or n > 30"),
        query("n * 2 as m", ""),
        Query::filter(common::expr("n % 2 = 0")),
        query("text", "flag").with_mask(),
        Query::mask(common::expr("n is null")),
    ];
    let runtime = on(sim()).build().unwrap();
    for query in queries {
        let kernel = compile(&runtime, &query, &batches[0].schema());
        let outputs = stream(&kernel, &batches);
        assert_eq!(outputs.len(), batches.len());
        let mut sent = 0;
        for (number, (output, batch)) in outputs.iter().zip(&batches).enumerate() {
            let output = output.as_ref().unwrap();
            let alone = kernel.run(batch).unwrap();
            assert_eq!(output.batch, alone.batch, "{query:?}, batch {number}");
            assert_eq!(output.mask, alone.mask);
            let receipt = &output.receipt;
            assert_eq!((receipt.batch, receipt.together), (number as u64, 40));
            assert_eq!(receipt.rows_in, alone.receipt.rows_in);
            assert_eq!(receipt.rows_out, alone.receipt.rows_out);
            assert_eq!(&*receipt.parts[0].device, "sim");
            assert_eq!(receipt.parts[0].rows, receipt.rows_in);
            sent += receipt.bytes_to_device;
        }
        // What shares add up to is what one list moved.
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert!(sent as usize >= rows / 8, "{sent} bytes of {rows} rows");
    }
    let status = runtime.memory();
    assert_eq!(status.leased, 0, "{status:?}");
}

#[test]
fn an_error_is_of_its_own_batch_and_row() {
    let numbers = |from: i64| -> RecordBatch {
        let numbers = Int64Array::from_iter_values(from..from + 10);
        batch(vec![("n", Arc::new(numbers))])
    };
    let batches: Vec<_> = (0..20).map(|number| numbers(number * 10)).collect();
    let runtime = on(sim()).build().unwrap();
    let kernel = compile(
        &runtime,
        &query("100 / (n - 137) as q", ""),
        &batches[0].schema(),
    );
    let outputs = stream(&kernel, &batches);
    assert_eq!(outputs.len(), 14, "13 results and the error");
    assert!(outputs[..13].iter().all(Result::is_ok));
    match outputs.last() {
        Some(Err(Error::Data(error))) => assert_eq!(error.row, 7),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_waits_for_longer_than_it_may() {
    let one = batch(vec![(
        "n",
        Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef,
    )]);
    let together = |within: Duration, pause: Duration| {
        let runtime = on(sim()).gather_within(within).build().unwrap();
        let kernel = compile(&runtime, &query("n", "n > 1"), &one.schema());
        let slow = (0..4).map({
            let one = one.clone();
            move |_| {
                thread::sleep(pause);
                Ok(one.clone())
            }
        });
        let outputs = kernel.stream(RecordBatchIterator::new(slow, one.schema()));
        let together = outputs.map(|output| output.unwrap().receipt.together);
        together.collect::<Vec<_>>()
    };
    assert_eq!(together(LONG, Duration::ZERO), [4; 4]);
    assert_eq!(together(Duration::ZERO, Duration::ZERO), [1; 4]);
    // The second is read for the first's sake, and comes too late for a third.
    let slow = together(Duration::from_millis(1), Duration::from_millis(30));
    assert!(slow.iter().all(|count| *count <= 2), "{slow:?}");
}

#[test]
fn batches_with_other_dictionaries_are_done_one_by_one() {
    let words = |words: [&str; 2]| {
        let words: DictionaryArray<Int32Type> = words.into_iter().collect();
        let numbers = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
        batch(vec![("n", numbers), ("w", Arc::new(words))])
    };
    let batches = [words(["a", "b"]), words(["b", "c"])];
    let runtime = on(sim()).build().unwrap();
    let kernel = compile(&runtime, &query("w", "n > 1"), &batches[0].schema());
    for (output, batch) in stream(&kernel, &batches).into_iter().zip(&batches) {
        let output = output.unwrap();
        assert_eq!(output.receipt.together, 1);
        assert_eq!(output.batch, kernel.run(batch).unwrap().batch);
    }
}

#[test]
fn a_large_batch_does_not_wait_with_small_ones() {
    let numbers = |rows: i64| -> RecordBatch {
        let numbers = Int64Array::from_iter_values(0..rows);
        batch(vec![("n", Arc::new(numbers))])
    };
    let rows = [10, 20, 3_000_000, 30, 40];
    let batches = rows.map(numbers);
    let runtime = on(sim()).build().unwrap();
    let kernel = compile(&runtime, &query("n", "n < 3"), &batches[0].schema());
    let outputs = stream(&kernel, &batches).into_iter().map(Result::unwrap);
    let receipts: Vec<_> = outputs.map(|output| output.receipt).collect();
    let together: Vec<u64> = receipts.iter().map(|receipt| receipt.together).collect();
    assert_eq!(together, [2, 2, 1, 2, 2]);
    for (number, (receipt, rows)) in receipts.iter().zip(rows).enumerate() {
        assert_eq!(
            (receipt.batch, receipt.rows_in),
            (number as u64, rows as u64)
        );
        assert_eq!(receipt.rows_out, 3);
    }
}

/// Each result would have the memory of all, which a file of results would hold each time.
#[test]
fn batches_with_views_are_done_one_by_one() {
    let batches: Vec<RecordBatch> = (0..3)
        .map(|number: i64| {
            let texts = [format!(
                "a text that is too long for a view, of batch {number}"
            )];
            let texts = Arc::new(StringViewArray::from_iter_values(texts)) as ArrayRef;
            let numbers = Arc::new(Int64Array::from(vec![number])) as ArrayRef;
            batch(vec![("n", numbers), ("text", texts)])
        })
        .collect();
    let runtime = on(sim()).build().unwrap();
    let together = |select: &str| {
        let kernel = compile(&runtime, &query(select, "n >= 0"), &batches[0].schema());
        let outputs = stream(&kernel, &batches).into_iter().map(Result::unwrap);
        outputs
            .map(|output| output.receipt.together)
            .collect::<Vec<_>>()
    };
    assert_eq!(together("n, text"), [1; 3]);
    assert_eq!(together("n"), [3; 3], "what is not read does not matter");
}

/// Of 40 MB.
fn large() -> RecordBatch {
    let numbers = Int64Array::from_iter_values((0..5_000_000).map(|row| row * 7919 % 1_000_003));
    batch(vec![("n", Arc::new(numbers) as ArrayRef)])
}

#[test]
fn a_large_batch_is_done_in_pieces_and_has_one_result() {
    let batches = [large(), large().slice(1000, 10), large()];
    let runtime = builder().threads(2).build().unwrap();
    let kernel = compile(
        &runtime,
        &query("n + 1 as m", "n < 1000").with_mask(),
        &batches[0].schema(),
    );
    // Half of the rows, as far as is known before anything ran.
    let learns = stream(&kernel, &batches);
    assert_eq!(learns.len(), 3);
    let outputs = stream(&kernel, &batches);
    assert_eq!(outputs.len(), 3);
    for (position, (output, batch)) in outputs.into_iter().zip(&batches).enumerate() {
        let output = output.unwrap();
        let whole = kernel.run(batch).unwrap();
        assert_eq!(output.batch, whole.batch);
        assert_eq!(output.mask, whole.mask);
        let receipt = output.receipt;
        assert_eq!(receipt.rows_in, batch.num_rows() as u64);
        assert_eq!(receipt.rows_out, whole.receipt.rows_out);
        assert_eq!(receipt.bytes_in, whole.receipt.bytes_in);
        let pieces = receipt.parts.len();
        assert_eq!(pieces, if position == 1 { 1 } else { 4 });
    }
}

#[test]
fn the_error_of_a_batch_in_pieces_is_that_of_its_first_bad_row() {
    let good = large();
    let runtime = builder().threads(2).build().unwrap();
    let schema = good.schema();
    let kernel = compile(
        &runtime,
        &query("n", "1000000 / (n - 1000002) < -900000"),
        &schema,
    );
    let error = match kernel.run(&good).unwrap_err() {
        Error::Data(error) => error,
        other => panic!("{other}"),
    };
    // Its selectivity is unknown, and would be a half.
    let small = good.slice(0, 1000);
    let learn: Vec<RecordBatch> = (0..30).map(|_| small.clone()).collect();
    assert!(stream(&kernel, &learn).iter().all(Result::is_ok));
    let outputs = stream(&kernel, &[small, good.clone(), good]);
    assert_eq!(outputs.len(), 2);
    match outputs.last() {
        Some(Err(Error::Data(other))) => assert_eq!(other.row, error.row),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_spreads_over_devices_and_keeps_its_order() {
    let slow = || {
        let sim = SimDevice::builder(Profile::gpu());
        move |name: &str| Disguised::new(sim.name(name).build(), Duration::from_millis(3))
    };
    let runtime: Runtime = builder()
        .device(Arc::new(slow()("gpu:a")))
        .device(Arc::new(slow()("gpu:b")))
        .build()
        .unwrap();
    let batches: Vec<RecordBatch> = (0..24)
        .map(|number: i64| {
            let numbers = Int64Array::from_iter_values((0..400_000).map(|row| row + number));
            batch(vec![("n", Arc::new(numbers) as ArrayRef)])
        })
        .collect();
    let text = "n % 7 * 3 + n % 11 * 5 + n % 13";
    let wanted = query("n", &format!("{text} > 80"));
    let schema = batches[0].schema();
    // What is of interest is where it runs, not who compiles.
    for gpu in ["gpu:a", "gpu:b"] {
        let compiles = told(&runtime, gpu, &wanted, &schema);
        compiles.run(&batches[0].slice(0, 10)).unwrap();
    }
    let kernel = compile(&runtime, &wanted, &schema);
    let start = Instant::now();
    let outputs = stream(&kernel, &batches);
    let taken = start.elapsed();
    assert_eq!(outputs.len(), batches.len());
    let mut ran: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let reference = compile(&common::runtime(), &wanted, &schema);
    for (number, (output, batch)) in outputs.into_iter().zip(&batches).enumerate() {
        let output = output.unwrap();
        assert_eq!(output.receipt.batch, number as u64);
        assert_eq!(output.batch, reference.run(batch).unwrap().batch);
        *ran.entry(Arc::clone(&output.receipt.parts[0].device))
            .or_default() += 1;
    }
    println!("{ran:?} in {taken:?}");
    assert!(ran.len() >= 2, "{ran:?}");
    let gpus = ["gpu:a", "gpu:b"].map(|name| ran.get(name).copied().unwrap_or_default());
    assert!(gpus.iter().all(|count| *count >= 2), "{ran:?}");
}
