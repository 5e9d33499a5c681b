//! A value of an array as JSON, by the rules of `plain` in `make.py`.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DecimalType, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, PrimitiveArray, RunArray};
use arrow_schema::{DataType, TimeUnit};
use serde_json::Value;

/// The values of an array.
pub(crate) fn values(array: &dyn Array) -> Vec<Value> {
    (0..array.len()).map(|row| plain(array, row)).collect()
}

fn plain(array: &dyn Array, row: usize) -> Value {
    use DataType as D;
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        D::Null => Value::Null,
        D::Boolean => array.as_boolean().value(row).into(),
        D::Int8 => whole::<Int8Type>(array, row),
        D::Int16 => whole::<Int16Type>(array, row),
        D::Int32 => whole::<Int32Type>(array, row),
        D::Int64 => whole::<Int64Type>(array, row),
        D::UInt8 => whole::<UInt8Type>(array, row),
        D::UInt16 => whole::<UInt16Type>(array, row),
        D::UInt32 => whole::<UInt32Type>(array, row),
        D::UInt64 => whole::<UInt64Type>(array, row),
        D::Float16 => real(array.as_primitive::<Float16Type>().value(row).to_f64()),
        D::Float32 => real(array.as_primitive::<Float32Type>().value(row).into()),
        D::Float64 => real(array.as_primitive::<Float64Type>().value(row)),
        D::Decimal32(_, _) => decimal::<Decimal32Type>(array, row),
        D::Decimal64(_, _) => decimal::<Decimal64Type>(array, row),
        D::Decimal128(_, _) => decimal::<Decimal128Type>(array, row),
        D::Decimal256(_, _) => decimal::<Decimal256Type>(array, row),
        D::Date32 => whole::<Date32Type>(array, row),
        D::Date64 => {
            let milliseconds = array.as_primitive::<Date64Type>().value(row);
            assert_eq!(milliseconds % 86_400_000, 0, "a whole day");
            text(milliseconds / 86_400_000)
        }
        D::Timestamp(TimeUnit::Second, _) => nanoseconds::<TimestampSecondType>(array, row),
        D::Timestamp(TimeUnit::Millisecond, _) => {
            nanoseconds::<TimestampMillisecondType>(array, row)
        }
        D::Timestamp(TimeUnit::Microsecond, _) => {
            nanoseconds::<TimestampMicrosecondType>(array, row)
        }
        D::Timestamp(TimeUnit::Nanosecond, _) => nanoseconds::<TimestampNanosecondType>(array, row),
        D::Time32(TimeUnit::Second) => nanoseconds::<Time32SecondType>(array, row),
        D::Time32(_) => nanoseconds::<Time32MillisecondType>(array, row),
        D::Time64(TimeUnit::Microsecond) => nanoseconds::<Time64MicrosecondType>(array, row),
        D::Time64(_) => nanoseconds::<Time64NanosecondType>(array, row),
        D::Duration(TimeUnit::Millisecond) => nanoseconds::<DurationMillisecondType>(array, row),
        D::Duration(TimeUnit::Microsecond) => nanoseconds::<DurationMicrosecondType>(array, row),
        D::Duration(TimeUnit::Nanosecond) => nanoseconds::<DurationNanosecondType>(array, row),
        D::Utf8 => array.as_string::<i32>().value(row).into(),
        D::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        D::Utf8View => array.as_string_view().value(row).into(),
        D::Binary => hexadecimal(array.as_binary::<i32>().value(row)),
        D::LargeBinary => hexadecimal(array.as_binary::<i64>().value(row)),
        D::BinaryView => hexadecimal(array.as_binary_view().value(row)),
        D::FixedSizeBinary(_) => hexadecimal(array.as_fixed_size_binary().value(row)),
        D::List(_) => values(&array.as_list::<i32>().value(row)).into(),
        D::LargeList(_) => values(&array.as_list::<i64>().value(row)).into(),
        D::ListView(_) => values(&array.as_list_view::<i32>().value(row)).into(),
        D::FixedSizeList(_, _) => values(&array.as_fixed_size_list().value(row)).into(),
        D::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            let members = fields.iter().zip(columns);
            members
                .map(|(field, column)| (field.name().clone(), plain(column, row)))
                .collect()
        }
        D::Map(_, _) => {
            let entries = array.as_map().value(row);
            let pair = |entry| {
                vec![
                    plain(entries.column(0), entry),
                    plain(entries.column(1), entry),
                ]
            };
            (0..entries.len()).map(pair).collect()
        }
        D::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            plain(dictionary.values(), dictionary.normalized_keys()[row])
        }
        D::RunEndEncoded(_, _) => {
            let runs: &RunArray<Int32Type> = array.as_any().downcast_ref().unwrap();
            plain(runs.values(), runs.get_physical_index(row))
        }
        other => panic!("no file is known to hold {other}"),
    }
}

fn text(value: impl ToString) -> Value {
    value.to_string().into()
}

fn native<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    let array: &PrimitiveArray<T> = array.as_primitive();
    array.value(row)
}

fn whole<T: ArrowPrimitiveType<Native: ToString>>(array: &dyn Array, row: usize) -> Value {
    text(native::<T>(array, row))
}

fn real(value: f64) -> Value {
    if value.is_nan() {
        return "NaN".into();
    }
    format!("{:016x}", value.to_bits()).into()
}

fn decimal<T: DecimalType>(array: &dyn Array, row: usize) -> Value {
    array.as_primitive::<T>().value_as_string(row).into()
}

fn nanoseconds<T: ArrowPrimitiveType<Native: Into<i128>>>(array: &dyn Array, row: usize) -> Value {
    let unit = match array.data_type() {
        DataType::Timestamp(unit, _)
        | DataType::Time32(unit)
        | DataType::Time64(unit)
        | DataType::Duration(unit) => unit,
        other => panic!("{other} has no unit"),
    };
    let in_unit: i128 = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    text(native::<T>(array, row).into() * in_unit)
}

fn hexadecimal(bytes: &[u8]) -> Value {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.into()
}
