//! Spark's own answers at the edges of its types, against ours.
//!
//! `tests/spark/record.py` asked Spark; `tests/spark/answers.jsonl` is what it said, and
//! `tests/spark/refused.txt` lists what it answers and we refuse when a query is compiled
//! (`UPDATE_GOLDEN=1 cargo test -p unlade-tests --test spark` writes it anew). The CPU is asked, and a
//! simulated card.
#![allow(clippy::print_stdout)] // how many answers there were is what this test reports

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Decimal128Builder, Float32Builder, Float64Builder, PrimitiveBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use serde::Deserialize;
use unlade_cpu::CpuDevice;
use unlade_expr::{Expr, Query, Semantics, col, lit, null, parse_expr};
use unlade_runtime::{Error, Fallback, Kernel, Placement, Runtime};
use unlade_tests::devices;

/// One expression over all values of its operands' types.
#[derive(Deserialize)]
struct Case {
    ansi: bool,
    expression: String,
    operands: Vec<String>,
    result: String,
    /// Operands and answer.
    rows: Vec<Vec<String>>,
}

#[test]
fn spark_answers_the_same() {
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .build()
        .expect("a runtime on the CPU");
    let refused = asked(&runtime);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/spark/refused.txt");
        std::fs::write(path, &refused).expect("the list is written");
    } else {
        assert_eq!(refused, include_str!("../spark/refused.txt"));
    }
}

/// On a card that has every operation, nothing is left to the CPU.
#[test]
fn spark_answers_the_same_as_a_card() {
    let card = devices::simulated_card();
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(card)
        .placement(Placement::Device(devices::SIMULATED_CARD.into()))
        .fallback(Fallback::Forbid)
        .build()
        .expect("a runtime on the card");
    let refused = asked(&runtime);
    assert_eq!(refused, include_str!("../spark/refused.txt"));
}

/// Asks a runtime all that Spark was asked. Gives what it refuses.
fn asked(runtime: &Runtime) -> String {
    let recorded = include_str!("../spark/answers.jsonl");
    let mut refused = BTreeSet::new();
    let mut differences = Vec::new();
    let (mut values, mut errors) = (0, 0);
    for line in recorded.lines().skip(1) {
        let case: Case = serde_json::from_str(line).expect("a recorded case");
        let mode = if case.ansi { "ansi" } else { "legacy" };
        let Ok(kernel) = compile(runtime, &case) else {
            refused.insert(format!(
                "{mode}: {} of {}",
                case.expression,
                case.operands.join(", ")
            ));
            continue;
        };
        for (row, ours) in case.rows.iter().zip(answers(&kernel, &case)) {
            let (operands, spark) = row.split_at(case.operands.len());
            match spark[0].starts_with('!') {
                true => errors += 1,
                false => values += 1,
            }
            if !same(&case.result, &ours, &spark[0]) && !is_java_17s(&case, &operands[0]) {
                differences.push(format!(
                    "{mode}: {} of {}: {}: Spark says {}, we {ours}",
                    case.expression,
                    case.operands.join(", "),
                    operands.join(", "),
                    spark[0],
                ));
            }
        }
    }
    let shown = differences.iter().take(60).cloned().collect::<Vec<_>>();
    assert!(
        differences.is_empty(),
        "{} differences of {}:\n{}",
        differences.len(),
        values + errors,
        shown.join("\n")
    );
    // What was asked for was asked.
    assert!(
        values > 60_000 && errors > 1_000,
        "{values} values, {errors} errors"
    );
    println!("{values} values and {errors} errors as Spark has them");
    let mut list = refused.into_iter().collect::<Vec<_>>().join("\n");
    list.push('\n');
    list
}

fn compile(runtime: &Runtime, case: &Case) -> Result<Kernel, Error> {
    let batch = batch(case, &case.rows[..1]);
    let semantics = match case.ansi {
        true => Semantics::spark_ansi(),
        false => Semantics::spark_legacy(),
    };
    let query = Query::all().select([expression(case).alias("answer")]);
    let kernel = runtime.compile(&query, &batch.schema(), &semantics)?;
    let expected = data_type(&case.result);
    let found = kernel.schema().field(0).data_type();
    assert_eq!(*found, expected, "the type of {}", case.expression);
    Ok(kernel)
}

/// The expression; casts and the first list are built, since their text differs from Spark's.
fn expression(case: &Case) -> Expr {
    if case.expression.starts_with("cast(x as ") {
        return col("x").cast(data_type(&case.result));
    }
    if case.expression.starts_with("x in (cast") {
        return col("x").in_list([lit(f64::NAN), lit(0.0), null()]);
    }
    parse_expr(&case.expression).unwrap_or_else(|error| panic!("{}: {error}", case.expression))
}

/// Our answer to every row. Where an error is possible each row is asked for alone.
fn answers(kernel: &Kernel, case: &Case) -> Vec<String> {
    if let Ok(output) = kernel.run(&batch(case, &case.rows)) {
        return texts(output.batch.column(0));
    }
    let alone = |row: &Vec<String>| match kernel.run(&batch(case, std::slice::from_ref(row))) {
        Ok(output) => texts(output.batch.column(0)).remove(0),
        // What Spark leaves to Java has no class of Spark's.
        Err(Error::Data(error)) => {
            format!("!{}", error.spark_class.unwrap_or("ArithmeticException"))
        }
        Err(error) => panic!("{}: {error}", case.expression),
    };
    case.rows.iter().map(alone).collect()
}

/// Whether a float becomes a decimal that shows the Java that Spark ran on: the answers were recorded
/// on Java 17, which writes these floats with more digits than tell them apart.
fn is_java_17s(case: &Case, operand: &str) -> bool {
    let longer = [
        "5d5e0b6b",         // 9.99999984306749440E17, not ...494E17
        "5d5dd293",         // 9.9899997848128717E17, not ...872E17
        "44b52d02c7e14af6", // 9.999999999999999E22, not 1.0E23
        "43dfffffffffffff", // 9.2233720368547748E18, not ...775E18
    ];
    case.expression.starts_with("cast(x as decimal") && longer.contains(&operand)
}

fn same(result: &str, ours: &str, sparks: &str) -> bool {
    ours == sparks || (is_nan(result, ours) && is_nan(result, sparks))
}

/// Spark keeps whichever NaN the processor made; which one is not part of its rules.
fn is_nan(ty: &str, text: &str) -> bool {
    match ty {
        "double" => u64::from_str_radix(text, 16).is_ok_and(|bits| f64::from_bits(bits).is_nan()),
        "float" => u32::from_str_radix(text, 16).is_ok_and(|bits| f32::from_bits(bits).is_nan()),
        _ => false,
    }
}

fn batch(case: &Case, rows: &[Vec<String>]) -> RecordBatch {
    let names = ["x", "y"];
    let columns = case.operands.iter().enumerate().map(|(index, ty)| {
        let column = array(ty, rows.iter().map(|row| row[index].as_str()));
        (names[index], column, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

fn data_type(name: &str) -> DataType {
    match name {
        "boolean" => DataType::Boolean,
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        decimal => {
            let inner = decimal
                .strip_prefix("decimal(")
                .and_then(|rest| rest.strip_suffix(')'));
            let (precision, scale) = inner
                .and_then(|inner| inner.split_once(','))
                .unwrap_or_else(|| panic!("no type {decimal}"));
            DataType::Decimal128(
                precision.parse().expect("a precision"),
                scale.parse().expect("a scale"),
            )
        }
    }
}

fn array<'a>(ty: &str, texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    let data_type = data_type(ty);
    let texts = texts.map(|text| (text != "null").then_some(text));
    match data_type {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            texts.for_each(|text| builder.append_option(text.map(|text| text == "true")));
            Arc::new(builder.finish())
        }
        DataType::Int8 => integers::<Int8Type>(&data_type, texts),
        DataType::Int16 => integers::<Int16Type>(&data_type, texts),
        DataType::Int32 => integers::<Int32Type>(&data_type, texts),
        DataType::Int64 => integers::<Int64Type>(&data_type, texts),
        DataType::Date32 => integers::<Date32Type>(&data_type, texts),
        DataType::Timestamp(..) => integers::<TimestampMicrosecondType>(&data_type, texts),
        DataType::Float32 => {
            let mut builder = Float32Builder::new();
            let bits = |text| f32::from_bits(u32::from_str_radix(text, 16).expect("bits"));
            texts.for_each(|text| builder.append_option(text.map(bits)));
            Arc::new(builder.finish())
        }
        DataType::Float64 => {
            let mut builder = Float64Builder::new();
            let bits = |text| f64::from_bits(u64::from_str_radix(text, 16).expect("bits"));
            texts.for_each(|text| builder.append_option(text.map(bits)));
            Arc::new(builder.finish())
        }
        _ => {
            let mut builder = Decimal128Builder::new().with_data_type(data_type);
            let unscaled = |text: &str| text.parse().expect("digits");
            texts.for_each(|text| builder.append_option(text.map(unscaled)));
            Arc::new(builder.finish())
        }
    }
}

fn integers<'a, T: ArrowPrimitiveType>(
    data_type: &DataType,
    texts: impl Iterator<Item = Option<&'a str>>,
) -> ArrayRef
where
    T::Native: std::str::FromStr<Err: std::fmt::Debug>,
{
    let mut builder = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
    let parse = |text: &str| text.parse().expect("digits");
    texts.for_each(|text| builder.append_option(text.map(parse)));
    Arc::new(builder.finish())
}

fn texts(array: &dyn Array) -> Vec<String> {
    let text = |row: usize| {
        if array.is_null(row) {
            return "null".to_owned();
        }
        match array.data_type() {
            DataType::Boolean => array.as_boolean().value(row).to_string(),
            DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
            DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
            DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
            DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
            DataType::Timestamp(..) => array
                .as_primitive::<TimestampMicrosecondType>()
                .value(row)
                .to_string(),
            DataType::Float32 => {
                format!(
                    "{:08x}",
                    array.as_primitive::<Float32Type>().value(row).to_bits()
                )
            }
            DataType::Float64 => {
                format!(
                    "{:016x}",
                    array.as_primitive::<Float64Type>().value(row).to_bits()
                )
            }
            _ => array
                .as_primitive::<Decimal128Type>()
                .value(row)
                .to_string(),
        }
    };
    (0..array.len()).map(text).collect()
}
