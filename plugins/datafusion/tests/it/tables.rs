//! Tables: small ones of several batches, with nulls and with the edges of every type.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    StructArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::compute::cast;
use datafusion::prelude::SessionContext;

use crate::common::table;

/// Registers all of them.
pub(crate) fn tables(context: &SessionContext) {
    table(context, "t", &mixed());
    table(context, "edge", &[edges(0), edges(EDGES), edges(2 * EDGES)]);
    table(
        context,
        "nested",
        &[nested(), nested().slice(1, 3), nested()],
    );
    let nulls = new_null_array(&DataType::Int32, 10);
    let nulls = RecordBatch::try_from_iter([("a", nulls)]).expect("it is one column");
    table(context, "none", &[nulls.slice(0, 0)]);
    table(context, "nulls", &[nulls]);
}

/// Batches of several sizes, of most types that are computed with and of strings.
pub(crate) fn mixed() -> Vec<RecordBatch> {
    let sizes = [1i64, 700, 0, 64, 129, 300];
    let batches = sizes.iter().scan(0, |from, rows| {
        let start = *from;
        *from += rows;
        Some(batch(start..*from))
    });
    batches.collect()
}

fn batch(numbers: Range<i64>) -> RecordBatch {
    fn valid<T>(n: i64, but_each: i64, value: T) -> Option<T> {
        (n % but_each != 0).then_some(value)
    }
    let numbers = || numbers.clone();
    let m = Decimal128Array::from_iter(numbers().map(|n| valid(n, 10, i128::from(n * 7 - 900))));
    let columns: [(&str, ArrayRef); 10] = [
        (
            "a",
            Arc::new(Int32Array::from_iter(
                numbers().map(|n| valid(n, 7, (n % 13 - 4) as i32)),
            )),
        ),
        (
            "i",
            Arc::new(Int8Array::from_iter(
                numbers().map(|n| valid(n, 5, n as i8)),
            )),
        ),
        (
            "b",
            Arc::new(Int64Array::from_iter_values(numbers().map(|n| n - 600))),
        ),
        (
            "f",
            Arc::new(Float64Array::from_iter(
                numbers().map(|n| valid(n, 11, n as f64 / 100.0 - 3.0)),
            )),
        ),
        (
            "p",
            Arc::new(BooleanArray::from_iter(
                numbers().map(|n| valid(n, 3, n % 2 == 0)),
            )),
        ),
        (
            "u",
            Arc::new(UInt32Array::from_iter(
                numbers().map(|n| valid(n, 9, n as u32)),
            )),
        ),
        (
            "d",
            Arc::new(Date32Array::from_iter(
                numbers().map(|n| valid(n, 8, 8000 + n as i32)),
            )),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from_iter(
                numbers().map(|n| valid(n, 6, n * 1_600_000_000_000)),
            )),
        ),
        (
            "m",
            Arc::new(
                m.with_precision_and_scale(15, 2)
                    .expect("it is a decimal's type"),
            ),
        ),
        (
            "s",
            Arc::new(StringArray::from_iter(
                numbers().map(|n| valid(n, 4, format!("name {n}"))),
            )),
        ),
    ];
    let nullable = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(nullable).expect("columns are of one length")
}

/// Rows of a batch of [`edges`].
const EDGES: usize = 24;

/// Values at the edges of every type that is computed with; other rows meet in each batch.
fn edges(from: usize) -> RecordBatch {
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
        "0", "-0", "0.1", "-2.5", "1.5", "1e10", "inf", "-inf", "NaN", "3.4e38",
    ];
    const MOMENTS: &[&str] = &["-86401", "-1", "0", "1", "1700000000"];
    let at = |unit| DataType::Timestamp(unit, None);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns: [(&str, DataType, &[&str]); 19] = [
        (
            "i8",
            DataType::Int8,
            &["-128", "-127", "-1", "0", "1", "2", "127"],
        ),
        (
            "i16",
            DataType::Int16,
            &["-32768", "-1", "0", "1", "300", "32767"],
        ),
        (
            "i32",
            DataType::Int32,
            &[
                "-2147483648",
                "-2147483647",
                "-7",
                "-1",
                "0",
                "1",
                "46341",
                "2147483647",
            ],
        ),
        ("i64", DataType::Int64, I64),
        ("u8", DataType::UInt8, &["0", "1", "200", "255"]),
        ("u16", DataType::UInt16, &["0", "1", "5", "65535"]),
        (
            "u32",
            DataType::UInt32,
            &["0", "1", "2147483648", "4294967295"],
        ),
        (
            "u64",
            DataType::UInt64,
            &["0", "1", "9223372036854775808", "18446744073709551615"],
        ),
        ("f32", DataType::Float32, FLOATS),
        ("f64", DataType::Float64, FLOATS),
        ("p", DataType::Boolean, &["true", "false"]),
        ("q", DataType::Boolean, &["false", "true", "true"]),
        (
            "d",
            DataType::Date32,
            &["-719162", "-1", "0", "1", "8766", "19000"],
        ),
        ("at_s", at(TimeUnit::Second), MOMENTS),
        (
            "at_us",
            at(TimeUnit::Microsecond),
            &["-1", "0", "1", "1700000000000000"],
        ),
        (
            "at_ns",
            at(TimeUnit::Nanosecond),
            &["-1", "0", "1", "1700000000000000000"],
        ),
        ("ts", utc, &["-1", "0", "1", "1700000000000000"]),
        (
            "m",
            DataType::Decimal128(15, 2),
            &[
                "-999999999999999",
                "-1",
                "0",
                "1",
                "2450",
                "999999999999999",
            ],
        ),
        (
            "n",
            DataType::Decimal128(38, 10),
            &[
                "-1",
                "0",
                "1",
                "5",
                "99999999999999999999999999999999999999",
            ],
        ),
    ];
    let ids = Int64Array::from_iter_values(from as i64..(from + EDGES) as i64);
    let mut arrays: Vec<(&str, ArrayRef, bool)> = vec![("id", Arc::new(ids), false)];
    for (at, (name, data_type, values)) in columns.iter().enumerate() {
        // Each value meets others in the next column, and a null comes after the last.
        let rows =
            (from..from + EDGES).map(|row| values.get((row + at) % (values.len() + 1)).copied());
        arrays.push((name, column(data_type, rows.collect()), true));
    }
    let words = ["a", "", "x"];
    let words = (from..from + EDGES).map(|row| words.get(row % 4));
    arrays.push(("s", Arc::new(StringArray::from_iter(words)), true));
    RecordBatch::try_from_iter_with_nullable(arrays).expect("columns are of one length")
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
        DataType::Timestamp(..) => through(DataType::Int64),
        DataType::Decimal128(precision, scale) => {
            let held = values
                .iter()
                .map(|value| value.map(|value| value.parse().expect("a number")));
            let array =
                Decimal128Array::from_iter(held).with_precision_and_scale(*precision, *scale);
            Arc::new(array.expect("the type is one"))
        }
        other => cast(&text, other).expect("values are of that type"),
    }
}

/// Columns that are not computed with, beside some that are.
fn nested() -> RecordBatch {
    let mut lists = ListBuilder::new(Int32Builder::new());
    for row in 0..6 {
        (0..row).for_each(|item| lists.values().append_value(item));
        lists.append(row != 2);
    }
    let fields = vec![
        Field::new("x", DataType::Int32, true),
        Field::new("y", DataType::Utf8, true),
    ];
    let x = Int32Array::from(vec![Some(1), None, Some(3), Some(4), Some(5), Some(6)]);
    let y = StringArray::from(vec![
        Some("p"),
        Some("q"),
        None,
        Some("s"),
        Some("t"),
        Some("u"),
    ]);
    let valid = vec![true, true, false, true, true, true].into();
    let structs = StructArray::new(fields.into(), vec![Arc::new(x), Arc::new(y)], Some(valid));
    let dict: DictionaryArray<Int32Type> = [
        Some("one"),
        Some("two"),
        None,
        Some("one"),
        Some("two"),
        Some("one"),
    ]
    .into_iter()
    .collect();
    let keys = Int32Array::from(vec![Some(0), Some(1), Some(1), None, Some(0), Some(1)]);
    let kind = DictionaryArray::new(keys, Arc::new(Int64Array::from(vec![2, 7])));
    let bytes: Vec<Option<&[u8]>> =
        vec![Some(b"\0"), None, Some(b""), Some(b"abc"), Some(b"d"), None];
    let views = StringViewArray::from_iter([
        Some("short"),
        Some("one that is longer than twelve"),
        None,
        Some(""),
        Some("x"),
        Some("y"),
    ]);
    let columns: [(&str, ArrayRef); 10] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..6))),
        (
            "a",
            Arc::new(Int32Array::from(vec![
                Some(1),
                Some(2),
                None,
                Some(3),
                Some(-1),
                Some(2),
            ])),
        ),
        ("b", Arc::new(Int64Array::from_iter_values(0..6))),
        ("n", new_null_array(&DataType::Null, 6)),
        ("l", Arc::new(lists.finish())),
        ("st", Arc::new(structs)),
        ("dict", Arc::new(dict)),
        ("kind", Arc::new(kind)),
        ("bin", Arc::new(BinaryArray::from(bytes))),
        ("v", Arc::new(views)),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns are of one length")
}
