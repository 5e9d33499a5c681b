//! Makes the fixtures of the folder above with DataFusion 55 and its producer of Substrait:
//! `PROTOC=/usr/bin/protoc cargo run`, where any protoc does that has its own .proto files, if need be at
//! `PROTOC_INCLUDE`.
//!
//! - parsed.bin: expressions as DataFusion reads them from SQL, one message by
//!   `to_substrait_extended_expr`. coerced.bin: the same, with the casts that its planner gives them.
//! - answers.txt: the columns' values, the text of each expression, and what DataFusion's physical
//!   expressions compute of it on every row by itself: an integer (of floats, dates, timestamps and
//!   decimals that which holds them), `null`, or `error`.
//! - NAME.bin: messages that are refused, one expression each.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, UInt64Type,
};
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::create_physical_expr;
use datafusion::prelude::SessionContext;
use datafusion_substrait::logical_plan::producer::to_substrait_extended_expr;
use prost::Message;

const ROWS: usize = 12;

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let state = SessionContext::new().state();
    let batch = batch();
    let schema = Arc::new(DFSchema::try_from(batch.schema().as_ref().clone())?);
    let simplify = SimplifyContext::builder()
        .with_schema(Arc::clone(&schema))
        .build();
    let coerce = |expr: &Expr| ExprSimplifier::new(simplify.clone()).coerce(expr.clone(), &schema);

    let plan = |expr: &Expr| {
        let properties = ExecutionProps::new();
        create_physical_expr(
            expr,
            &schema,
            &properties,
            &PhysicalPlanningContext::default(),
        )
    };
    let (mut texts, mut parsed, mut coerced, mut planned) = (vec![], vec![], vec![], vec![]);
    for text in expressions() {
        let expr = state.create_logical_expr(&text, &schema)?;
        let with_casts = coerce(&expr);
        // There are casts that DataFusion has not either.
        if let Ok((with_casts, plan)) = with_casts.and_then(|expr| Ok((expr.clone(), plan(&expr)?)))
        {
            texts.push(text);
            parsed.push(expr);
            coerced.push(with_casts);
            planned.push(plan);
        }
    }
    let write =
        |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).expect("it is writable");
    write("parsed.bin", message(&parsed, &schema, &state)?);
    write("coerced.bin", message(&coerced, &schema, &state)?);

    let mut answers = String::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let values: Vec<String> = (0..ROWS).map(|row| held(&column.slice(row, 1))).collect();
        writeln!(answers, "{} {}", field.name(), values.join(" ")).expect("text is written");
    }
    for (at, (text, physical)) in texts.iter().zip(&planned).enumerate() {
        let rows = (0..ROWS).map(|row| {
            let value = physical.evaluate(&batch.slice(row, 1));
            value
                .and_then(|value| value.into_array(1))
                .map_or_else(|_| "error".to_owned(), |array| held(&array))
        });
        let rows: Vec<String> = rows.collect();
        writeln!(answers, "# {text}\nx{at} {}", rows.join(" ")).expect("text is written");
    }
    write("answers.txt", answers.into_bytes());
    println!("{} expressions", texts.len());

    for (name, text) in REFUSED {
        let expr = coerce(&state.create_logical_expr(text, &schema)?)?;
        write(&format!("{name}.bin"), message(&[expr], &schema, &state)?);
    }
    Ok(())
}

/// Messages that are refused.
const REFUSED: &[(&str, &str)] = &[
    ("date_part", "date_part('year', d) = 1994"),
    ("date_trunc", "date_trunc('month', at_us) < at_us"),
    ("like", "s LIKE 'a%'"),
    ("text", "s = 'x'"),
    ("starts_with", "starts_with(s, 'ab')"),
    ("interval", "d + INTERVAL '1 month' > d"),
    ("decimal_product", "m * m > 1"),
];

/// The columns, by their names: those of a type hold values at its edges.
fn columns() -> Vec<(&'static str, DataType, &'static [&'static str])> {
    use DataType::*;
    let at = |unit, zone: bool| Timestamp(unit, zone.then(|| "UTC".into()));
    const I64: &[&str] = &[
        "-9223372036854775808",
        "-9223372036854775807",
        "-10",
        "-1",
        "0",
        "1",
        "10",
        "4294967296",
        "9223372036854775807",
    ];
    const FLOATS: &[&str] = &[
        "0", "-0", "0.1", "-2.5", "1e10", "inf", "-inf", "NaN", "3.4e38",
    ];
    const MOMENTS: &[&str] = &["-86401", "-1", "0", "1", "1700000000"];
    vec![
        ("i8", Int8, &["-128", "-127", "-1", "0", "1", "2", "127"]),
        ("i16", Int16, &["-32768", "-1", "0", "1", "7", "32767"]),
        (
            "i32",
            Int32,
            &[
                "-2147483648",
                "-2147483647",
                "-7",
                "-1",
                "0",
                "1",
                "3",
                "46341",
                "2147483647",
            ],
        ),
        ("i64", Int64, I64),
        ("u8", UInt8, &["0", "1", "200", "255"]),
        ("u16", UInt16, &["0", "1", "5", "65535"]),
        ("u32", UInt32, &["0", "1", "2147483648", "4294967295"]),
        (
            "u64",
            UInt64,
            &["0", "1", "9223372036854775808", "18446744073709551615"],
        ),
        ("f32", Float32, FLOATS),
        ("f64", Float64, FLOATS),
        ("p", Boolean, &["true", "false"]),
        ("q", Boolean, &["false", "true", "true"]),
        ("d", Date32, &["-719162", "-1", "0", "1", "8766", "19000"]),
        ("e", Date64, &["-86400000", "0", "86400000"]),
        ("at_s", at(TimeUnit::Second, false), MOMENTS),
        ("at_ms", at(TimeUnit::Millisecond, false), MOMENTS),
        ("at_us", at(TimeUnit::Microsecond, false), MOMENTS),
        ("at_ns", at(TimeUnit::Nanosecond, false), MOMENTS),
        ("ts_us", at(TimeUnit::Microsecond, true), MOMENTS),
        ("ts_ns", at(TimeUnit::Nanosecond, true), MOMENTS),
        (
            "m",
            Decimal128(15, 2),
            &[
                "-999999999999999",
                "-1",
                "0",
                "1",
                "2400",
                "999999999999999",
            ],
        ),
        (
            "n",
            Decimal128(38, 10),
            &[
                "-1",
                "0",
                "5",
                "10000000000",
                "99999999999999999999999999999999999999",
            ],
        ),
        ("s", Utf8, &["", "a", "x"]),
    ]
}

fn batch() -> RecordBatch {
    let columns = columns();
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true))
        .collect();
    let arrays = columns
        .iter()
        .enumerate()
        .map(|(at, (_, data_type, values))| {
            // Each value meets others in the next column, and a null comes after the last.
            let rows = (0..ROWS).map(|row| values.get((row + at) % (values.len() + 1)).copied());
            column(data_type, rows.collect())
        });
    let schema = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, arrays.collect()).expect("columns fit")
}

/// A column of values that are given as the integers which hold them, floats and flags as themselves.
fn column(data_type: &DataType, values: Vec<Option<&str>>) -> ArrayRef {
    let text: ArrayRef = Arc::new(StringArray::from(values.clone()));
    let through = |held: DataType| {
        let held = cast(&text, &held).expect("values are of that type");
        cast(&held, data_type).expect("they hold it")
    };
    match data_type {
        DataType::Date32 => through(DataType::Int32),
        DataType::Date64 | DataType::Timestamp(..) => through(DataType::Int64),
        DataType::Decimal128(precision, scale) => {
            let held = values
                .iter()
                .map(|value| value.map(|value| value.parse::<i128>().expect("a number")));
            let array =
                Decimal128Array::from_iter(held).with_precision_and_scale(*precision, *scale);
            Arc::new(array.expect("the type is one"))
        }
        other => cast(&text, other).expect("values are of that type"),
    }
}

/// Every expression, as SQL.
fn expressions() -> Vec<String> {
    let mut all = Vec::new();
    let integers = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"];
    let floats = ["f32", "f64"];
    let numbers: Vec<&str> = integers.iter().chain(&floats).copied().collect();
    let columns = columns();
    let of_values = columns
        .iter()
        .filter(|(_, data_type, _)| *data_type != DataType::Utf8);
    let constant = |name: &str| match name {
        "p" | "q" => "TRUE".to_owned(),
        "d" => "DATE '1994-01-01'".to_owned(),
        "e" => "CAST(DATE '1970-01-02' AS TIMESTAMP)".to_owned(),
        "m" => "CAST(24 AS DECIMAL(15, 2))".to_owned(),
        "n" => "CAST(1 AS DECIMAL(38, 10))".to_owned(),
        "f32" | "f64" => "0.1".to_owned(),
        "at_s" => "CAST('1970-01-01 00:00:01' AS TIMESTAMP(0))".to_owned(),
        "at_ms" => "CAST('1970-01-01 00:00:01' AS TIMESTAMP(3))".to_owned(),
        "at_us" => "CAST('1970-01-01 00:00:01' AS TIMESTAMP(6))".to_owned(),
        "at_ns" => "TIMESTAMP '1970-01-01 00:00:00.000000001'".to_owned(),
        // SQL has no constant of their zone's name.
        "ts_us" | "ts_ns" => name.to_owned(),
        _ => "1".to_owned(),
    };
    for (name, ..) in of_values {
        let c = constant(name);
        for compare in [
            "=",
            "<>",
            "<",
            "<=",
            ">",
            ">=",
            "IS DISTINCT FROM",
            "IS NOT DISTINCT FROM",
        ] {
            all.push(format!("{name} {compare} {c}"));
        }
        all.push(format!("{name} IS NULL"));
        all.push(format!("{name} IS NOT NULL"));
        all.push(format!("{name} BETWEEN {c} AND {name}"));
        all.push(format!("{name} NOT BETWEEN {name} AND {c}"));
        all.push(format!("{name} IN ({c}, {c}, NULL)"));
        all.push(format!("{name} NOT IN ({c}, {name})"));
        all.push(format!("coalesce({name}, {c})"));
        all.push(format!("nullif({name}, {c})"));
        all.push(format!("CASE WHEN p THEN {name} WHEN q THEN {c} END"));
        all.push(format!(
            "CASE {name} WHEN {c} THEN 1 WHEN {name} THEN 2 ELSE 3 END"
        ));
        all.push((*name).to_owned());
    }
    for name in &numbers {
        for op in ["+", "-", "*", "/", "%"] {
            all.push(format!("{name} {op} {name}"));
            all.push(format!("{name} {op} {}", constant(name)));
            all.push(format!("{name} {op} CAST(-1 AS BIGINT)"));
        }
    }
    for name in ["i8", "i16", "i32", "i64", "f32", "f64"] {
        all.push(format!("-{name}"));
        all.push(format!("abs({name})"));
    }
    let pairs = [
        ("i8", "i32"),
        ("i16", "u8"),
        ("i32", "i64"),
        ("i32", "u16"),
        ("u32", "i32"),
        ("u8", "u64"),
        ("f32", "f64"),
        ("i32", "f32"),
        ("i64", "f64"),
        ("u32", "f64"),
        ("p", "q"),
        ("at_s", "at_ms"),
        ("at_us", "at_ns"),
        ("ts_us", "ts_ns"),
        ("d", "at_ns"),
        ("d", "at_s"),
        ("m", "n"),
        ("i32", "m"),
        ("m", "f64"),
    ];
    for (one, other) in pairs {
        for compare in ["=", "<", ">=", "IS DISTINCT FROM"] {
            all.push(format!("{one} {compare} {other}"));
        }
        all.push(format!("CASE WHEN q THEN {one} ELSE {other} END"));
        all.push(format!("coalesce({one}, {other})"));
        if numbers.contains(&one) && numbers.contains(&other) {
            all.push(format!("{one} + {other}"));
            all.push(format!("{one} % {other}"));
        }
    }
    let targets = [
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INT",
        "BIGINT",
        "TINYINT UNSIGNED",
        "SMALLINT UNSIGNED",
        "INT UNSIGNED",
        "BIGINT UNSIGNED",
        "REAL",
        "DOUBLE",
        "DECIMAL(5, 0)",
        "DECIMAL(12, 2)",
        "DECIMAL(38, 10)",
        "DATE",
        "TIMESTAMP(0)",
        "TIMESTAMP(3)",
        "TIMESTAMP(6)",
        "TIMESTAMP",
    ];
    for (name, data_type, _) in &columns {
        for to in targets.iter().filter(|_| *data_type != DataType::Utf8) {
            all.push(format!("CAST({name} AS {to})"));
            all.push(format!("TRY_CAST({name} AS {to})"));
        }
    }
    for condition in [
        "p AND q",
        "p OR q",
        "NOT p",
        "p AND NOT q",
        "NOT (p OR q)",
        "p = q",
        "p IS TRUE",
        "p IS NOT TRUE",
        "p IS FALSE",
        "p IS NOT FALSE",
        "p IS UNKNOWN",
        "p IS NOT UNKNOWN",
        "(i32 > 1) IS NOT TRUE",
        "i32 > 1 AND f64 < 2.5 OR i64 = 10",
        "i32 <> 0 AND 10 / i32 > 1",
        "p AND i32 IN (1, 2, 3) AND m < 24.5",
        "NULL",
        "NULL AND p",
        "i32 = NULL",
        "CASE WHEN i32 <> 0 THEN i32 / i32 ELSE 0 END",
        "i64 IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)",
        "d >= CAST('1994-01-01' AS DATE) AND d < CAST('1995-01-01' AS DATE)",
        "CAST(i32 AS BIGINT) * 2 + 1 > -5",
        "CASE WHEN p THEN 1 END",
        "CASE WHEN p THEN NULL ELSE i8 END",
        "at_ns > TIMESTAMP '1970-01-01 00:00:00.000000001'",
        "CAST(i8 AS BIGINT) IN (1, 300)",
        "i8 IN (1, 300)",
    ] {
        all.push(condition.to_owned());
    }
    all
}

fn message(exprs: &[Expr], schema: &DFSchemaRef, state: &SessionState) -> Result<Vec<u8>> {
    let fields = exprs
        .iter()
        .enumerate()
        .map(|(at, expr)| Ok(Field::new(format!("x{at}"), expr.get_type(schema)?, true)));
    let fields = fields.collect::<Result<Vec<_>>>()?;
    let named: Vec<(&Expr, &Field)> = exprs.iter().zip(&fields).collect();
    Ok(to_substrait_extended_expr(&named, schema, state)?.encode_to_vec())
}

/// The integer that holds a column's one value.
fn held(array: &ArrayRef) -> String {
    if array.is_null(0) || *array.data_type() == DataType::Null {
        return "null".to_owned();
    }
    let to = |data_type| cast(array, &data_type).expect("an integer holds it");
    match array.data_type() {
        DataType::Boolean => u8::from(array.as_boolean().value(0)).to_string(),
        DataType::Float32 => array
            .as_primitive::<Float32Type>()
            .value(0)
            .to_bits()
            .to_string(),
        DataType::Float64 => array
            .as_primitive::<Float64Type>()
            .value(0)
            .to_bits()
            .to_string(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value(0).to_string(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(0).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(0).to_string(),
        DataType::Utf8 => "text".to_owned(),
        _ => to(DataType::Int64)
            .as_primitive::<Int64Type>()
            .value(0)
            .to_string(),
    }
}
