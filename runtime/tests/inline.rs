//! Queries on the CPU, end to end.

mod common;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use common::{batch, builder, compile, expr, query, runtime};
use unlade_expr::{Query, Semantics, col, lit};
use unlade_program::TrapCode;
use unlade_runtime::{Error, Path, Reason, SchemaError, Verified};

fn numbers(rows: usize) -> RecordBatch {
    let a: Int32Array = (0..rows)
        .map(|row| (row % 11 != 5).then_some(row as i32 % 100))
        .collect();
    let b = Int64Array::from_iter_values((0..rows).map(|row| row as i64 * 3));
    let f: Float64Array = (0..rows).map(|row| Some(row as f64 / 4.0)).collect();
    let flag: BooleanArray = (0..rows)
        .map(|row| (row % 7 != 0).then_some(row % 2 == 0))
        .collect();
    let text = StringArray::from_iter_values((0..rows).map(|row| format!("row {row}")));
    batch(vec![
        ("a", Arc::new(a)),
        ("b", Arc::new(b)),
        ("f", Arc::new(f)),
        ("flag", Arc::new(flag)),
        ("text", Arc::new(text)),
    ])
}

#[test]
fn a_filter_keeps_whole_rows() {
    let runtime = runtime();
    for rows in [0, 1, 63, 64, 1000, 20_000] {
        let input = numbers(rows);
        for (offset, len) in [(0, rows), (rows.min(3), rows.saturating_sub(3))] {
            let input = input.slice(offset, len);
            let kernel = compile(&runtime, &query("", "a > 41 and flag"), &input.schema());
            let output = kernel.run(&input).unwrap();
            let keep: BooleanArray = (0..len)
                .map(|row| {
                    let (a, flag) = (input.column(0).as_primitive::<Int32Type>(), input.column(3));
                    let flag = flag.as_boolean();
                    let kept = a.is_valid(row) && a.value(row) > 41;
                    Some(kept && flag.is_valid(row) && flag.value(row))
                })
                .collect();
            let expected = arrow_select::filter::filter_record_batch(&input, &keep).unwrap();
            assert_eq!(output.batch, expected);
            assert_eq!(output.mask, None);
            assert_eq!(output.receipt.rows_in, len as u64);
            assert_eq!(output.receipt.rows_out, keep.true_count() as u64);
        }
    }
}

#[test]
fn projections_compute_and_masks_come_on_request() {
    let input = numbers(500);
    let runtime = runtime();
    let wanted = Query::filter(expr("b % 2 = 0"))
        .select([
            col("b") + lit(1i64),
            (col("f") * lit(2.0)).alias("twice"),
            col("text"),
        ])
        .with_mask();
    let kernel = compile(&runtime, &wanted, &input.schema());
    let output = kernel.run(&input).unwrap();
    assert_eq!(output.batch.num_rows(), 250);
    assert_eq!(output.batch.schema().field(1).name(), "twice");
    assert_eq!(
        output.batch.column(0).as_primitive::<Int64Type>().value(3),
        19
    );
    assert_eq!(
        output
            .batch
            .column(1)
            .as_primitive::<Float64Type>()
            .value(3),
        3.0
    );
    assert_eq!(output.batch.column(2).as_string::<i32>().value(3), "row 6");
    let mask = output.mask.unwrap();
    assert_eq!(
        (mask.len(), mask.true_count(), mask.null_count()),
        (500, 250, 0)
    );

    let only_mask = compile(&runtime, &Query::mask(col("a").is_null()), &input.schema());
    let output = only_mask.run(&input).unwrap();
    assert_eq!(output.batch.num_columns(), 0);
    assert_eq!(
        output.mask.unwrap().true_count(),
        input.column(0).null_count()
    );
}

#[test]
fn without_a_filter_columns_are_handed_on() {
    let input = numbers(100);
    let kernel = compile(&runtime(), &query("text, a, b + 1", ""), &input.schema());
    let output = kernel.run(&input).unwrap();
    assert!(Arc::ptr_eq(output.batch.column(0), input.column(4)));
    assert!(Arc::ptr_eq(output.batch.column(1), input.column(0)));
    assert_eq!(output.receipt.bytes_copied, 0);
}

#[test]
fn payload_is_copied_once() {
    let input = numbers(10_000);
    for filter in ["a > 41", "a > 98", "b >= 0 and a is not null", "a > 1000"] {
        let kernel = compile(&runtime(), &query("", filter), &input.schema());
        let output = kernel.run(&input).unwrap();
        let expected: usize = output
            .batch
            .columns()
            .iter()
            .map(|column| column.to_data().get_slice_memory_size().unwrap())
            .sum();
        assert_eq!(output.receipt.bytes_copied, expected as u64, "{filter}");
        assert_eq!(output.receipt.bytes_out, expected as u64, "{filter}");
    }
}

#[test]
fn receipts_say_what_ran_where() {
    let input = numbers(100);
    let kernel = compile(&runtime(), &query("b", "a > 41"), &input.schema());
    kernel.run(&input).unwrap();
    let receipt = kernel.run(&input).unwrap().receipt;
    assert_eq!(receipt.batch, 1);
    assert_eq!(receipt.bytes_in, 100 * 4 + 13 + 100 * 8);
    assert_eq!((receipt.bytes_to_device, receipt.retries), (0, 0));
    assert_eq!(receipt.verified, Verified::Reference);
    let [part] = &receipt.parts[..] else {
        panic!("one part")
    };
    assert_eq!(
        (&*part.device, part.path, part.rows),
        ("cpu", Path::Inline, 100)
    );
    assert_eq!(part.reason, Reason::OnlyCandidate);
    assert_eq!(kernel.input_columns(), [0, 1]);
}

#[test]
fn cpu_time_is_measured_where_asked_for() {
    let input = numbers(10_000);
    let query = query("b", "a > 41");
    let receipt = |runtime: &unlade_runtime::Runtime| {
        let kernel = compile(runtime, &query, &input.schema());
        kernel.run(&input).unwrap().receipt
    };
    assert_eq!(receipt(&runtime()).host_cpu, None);
    let measuring = builder().host_cpu(true).build().unwrap();
    let start = unlade_hal::thread_cpu_time();
    let used = receipt(&measuring).host_cpu.unwrap();
    let whole = unlade_hal::thread_cpu_time() - start;
    assert!(!used.is_zero() && used <= whole, "{used:?} of {whole:?}");
}

#[test]
fn an_error_names_row_operation_and_value() {
    let mut values = vec![7; 5000];
    values[4321] = i32::MAX;
    values[4400] = i32::MAX;
    let input = batch(vec![("a", Arc::new(Int32Array::from(values)))]);
    let kernel = compile(&runtime(), &query("a + 1", "a > 0"), &input.schema());
    let Err(Error::Data(error)) = kernel.run(&input) else {
        panic!("row 4321 overflows")
    };
    assert_eq!(error.row, 4321);
    let text = error.to_string();
    assert!(
        text.contains("row 4321") && text.contains("a + 1"),
        "{text}"
    );
    assert!(text.contains("2147483647"), "{text}");
    assert_eq!(error.description.unwrap().code, TrapCode::Overflow);
    assert_eq!(error.spark_class, None);

    let ansi = runtime()
        .compile(
            &query("a + 1", ""),
            &input.schema(),
            &Semantics::spark_ansi(),
        )
        .unwrap();
    let Err(Error::Data(error)) = ansi.run(&input) else {
        panic!("row 4321 overflows")
    };
    assert_eq!(error.spark_class, Some("ARITHMETIC_OVERFLOW"));
}

#[test]
fn what_the_filter_drops_cannot_fail() {
    let input = batch(vec![(
        "a",
        Arc::new(Int32Array::from(vec![Some(2), Some(0), None, Some(5)])),
    )]);
    let kernel = compile(&runtime(), &query("10 / a", "a <> 0"), &input.schema());
    let output = kernel.run(&input).unwrap();
    assert_eq!(output.batch.num_rows(), 2);
    let both = compile(
        &runtime(),
        &query("", "a <> 0 and 10 / a > 2"),
        &input.schema(),
    );
    assert_eq!(both.run(&input).unwrap().batch.num_rows(), 1);
}

#[test]
fn dictionaries_are_evaluated_by_value() {
    let keys = Int32Array::from(vec![Some(0), Some(2), None, Some(1), Some(2), Some(0)]);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), None, Some(30)]));
    let encoded = DictionaryArray::new(keys, Arc::clone(&values));
    let input = batch(vec![
        ("d", Arc::new(encoded)),
        ("n", Arc::new(Int32Array::from_iter_values(0..6))),
    ]);
    let kernel = compile(&runtime(), &query("d, n, d + 1", "d > 5"), &input.schema());
    for (input, rows) in [
        (input.clone(), vec![0, 1, 4, 5]),
        (input.slice(1, 4), vec![1, 4]),
    ] {
        let output = kernel.run(&input).unwrap();
        let numbers = output.batch.column(1).as_primitive::<Int32Type>();
        assert_eq!(numbers.values().to_vec(), rows);
        let kept = output.batch.column(0).as_dictionary::<Int32Type>();
        assert!(
            Arc::ptr_eq(kept.values(), &values),
            "the dictionary is shared"
        );
        let sum = output.batch.column(2).as_primitive::<Int64Type>();
        assert!(
            sum.values().iter().all(|sum| [11, 31].contains(sum)),
            "{sum:?}"
        );
    }
}

#[test]
fn ten_thousand_literals_are_compiled_once() {
    let input = numbers(10);
    let runtime = runtime();
    for literal in 0..10_000i32 {
        let wanted = Query::filter(col("a").gt(lit(literal)));
        compile(&runtime, &wanted, &input.schema());
    }
    assert_eq!(runtime.cache().compiles, 1);
    assert_eq!(runtime.cache().hits, 9_999);
}

#[test]
fn a_batch_of_another_schema_is_refused() {
    let kernel = compile(&runtime(), &query("", "a > 1"), &numbers(1).schema());
    let other = batch(vec![("a", Arc::new(Int32Array::from(vec![1])))]);
    let Err(Error::Schema(error)) = kernel.run(&other) else {
        panic!("one column")
    };
    assert_eq!(
        *error,
        SchemaError::Columns {
            expected: 5,
            given: 1,
            differs: "; it lacks `b`, `f`, `flag`, `text`".to_owned()
        }
    );

    let mut columns = numbers(1).columns().to_vec();
    columns[1] = Arc::new(Float64Array::from(vec![1.0]));
    let names = ["a", "b", "f", "flag", "text"];
    let other = batch(names.into_iter().zip(columns).collect());
    let error = kernel.run(&other).unwrap_err().to_string();
    assert!(
        error.contains("column 1 (`b`) is Float64") && error.contains("Int64"),
        "{error}"
    );

    let promised = Schema::new(vec![Field::new("a", DataType::Int32, false)]);
    let kernel = compile(&runtime(), &query("", "a > 1"), &Arc::new(promised));
    let other = batch(vec![("a", Arc::new(Int32Array::from(vec![None, Some(1)])))]);
    let error = kernel.run(&other).unwrap_err().to_string();
    assert!(
        error.contains("1 nulls") && error.contains("not nullable"),
        "{error}"
    );
}

#[test]
fn types_keep_their_parameters() {
    let times = TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("+01:00");
    let input = batch(vec![
        ("t", Arc::new(times)),
        ("n", Arc::new(Int32Array::from(vec![1, 2, 3]))),
    ]);
    let kernel = compile(&runtime(), &query("", "n <> 2"), &input.schema());
    let output = kernel.run(&input).unwrap();
    assert_eq!(output.batch.schema().field(0), input.schema().field(0));
    assert_eq!(output.batch.num_rows(), 2);
}

#[test]
fn a_runtime_says_what_is_wrong_with_it() {
    let error = unlade_runtime::Runtime::builder().build().unwrap_err();
    assert!(error.to_string().contains("no device"), "{error}");
    let error = builder().device(common::cpu()).build().unwrap_err();
    assert!(
        error.to_string().contains("two devices are called `cpu`"),
        "{error}"
    );
    let named = unlade_runtime::Placement::Device("gpu".into());
    let error = builder().placement(named).build().unwrap_err();
    assert!(error.to_string().contains("there is cpu"), "{error}");
    assert!(builder().threads(0).build().is_err());
    let error = builder().threads(1_000_000_000).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "threads: 1000000000 is more than the limit of 8192"
    );
}

#[test]
fn a_query_compiled_again_is_looked_up() {
    let schema = numbers(1).schema();
    let runtime = runtime();
    let first = compile(&runtime, &query("", "a > 1"), &schema);
    let again = compile(&runtime, &query("", "a > 1"), &schema);
    assert!(std::ptr::eq(first.checked(), again.checked()), "one plan");
    assert_eq!(runtime.cache().compiles + runtime.cache().hits, 1);
    // Each counts its own batches.
    first.run(&numbers(1)).unwrap();
    assert_eq!(again.run(&numbers(1)).unwrap().receipt.batch, 0);

    let semantics = Semantics::spark_legacy();
    let other = runtime
        .compile(&query("", "a > 1"), &schema, &semantics)
        .unwrap();
    assert!(!std::ptr::eq(first.checked(), other.checked()));
    let moved = compile(&runtime, &query("", "  a  >  1"), &schema);
    assert!(
        !std::ptr::eq(first.checked(), moved.checked()),
        "errors point into another text"
    );
}

#[test]
fn budgets_hold_and_say_who_holds_what() {
    let input = numbers(200_000);
    let runtime = builder()
        .memory_budget(32 << 20)
        .pool_reserve(1 << 20)
        .build()
        .unwrap();
    let kernel = compile(
        &runtime,
        &query("", "b >= 0 and a is not null"),
        &input.schema(),
    );
    let mut held = Vec::new();
    let error = loop {
        match kernel.run(&input) {
            Ok(output) => held.push(output),
            Err(error) => break error,
        }
        assert!(held.len() < 100, "a budget of 32 MiB has no end");
    };
    let text = error.to_string();
    assert!(text.contains("exported to the caller"), "{text}");
    held.clear();
    let small = input.slice(0, 1000);
    kernel.run(&small).unwrap();
}
