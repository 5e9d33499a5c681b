//! Families of types, and their bounds.

use arrow_schema::{DataType, TimeUnit};

pub(crate) fn is_integer(data_type: &DataType) -> bool {
    integer_range(data_type).is_some()
}

pub(crate) fn is_unsigned(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(data_type, UInt8 | UInt16 | UInt32 | UInt64)
}

pub(crate) fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

pub(crate) fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

/// Decimals that expressions cast: of a scale of zero or more.
pub(crate) fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(_, 0..))
}

/// Integers, floats and decimals.
pub(crate) fn is_number(data_type: &DataType) -> bool {
    is_integer(data_type) || is_float(data_type) || matches!(data_type, DataType::Decimal128(..))
}

/// Least and greatest value of an integer type.
pub(crate) fn integer_range(data_type: &DataType) -> Option<(i128, i128)> {
    use DataType::*;
    Some(match data_type {
        Int8 => (i8::MIN.into(), i8::MAX.into()),
        Int16 => (i16::MIN.into(), i16::MAX.into()),
        Int32 => (i32::MIN.into(), i32::MAX.into()),
        Int64 => (i64::MIN.into(), i64::MAX.into()),
        UInt8 => (0, u8::MAX.into()),
        UInt16 => (0, u16::MAX.into()),
        UInt32 => (0, u32::MAX.into()),
        UInt64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// Units of a timestamp in a second; zero of any other type.
pub(crate) fn units_per_second(data_type: &DataType) -> i64 {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => 1,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
        _ => 0,
    }
}

/// Whether a zone is UTC under one of its names.
pub(crate) fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Etc/UTC" | "Z" | "+00:00")
}

/// Whether it is a day or a point in time.
pub(crate) fn is_temporal(data_type: &DataType) -> bool {
    is_timestamp(data_type) || matches!(data_type, DataType::Date32 | DataType::Date64)
}

/// The type of the same instants in UTC, of a timestamp in another zone.
pub(crate) fn utc_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(unit, Some(zone)) if !is_utc(zone) => {
            Some(DataType::Timestamp(*unit, Some("UTC".into())))
        }
        _ => None,
    }
}

/// Whether the wall clock of a timestamp is that of its value: no zone, or UTC.
pub(crate) fn is_utc_timestamp(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, None) => true,
        DataType::Timestamp(_, Some(zone)) => is_utc(zone),
        _ => false,
    }
}

/// Decimal digits that every value of an integer type fits in.
pub(crate) fn integer_digits(data_type: &DataType) -> Option<u8> {
    use DataType::*;
    Some(match data_type {
        Int8 | UInt8 => 3,
        Int16 | UInt16 => 5,
        Int32 | UInt32 => 10,
        Int64 => 19,
        UInt64 => 20,
        _ => return None,
    })
}
