//! Names of types as the text form writes them, and every spelling that it reads.

use std::fmt;

use arrow_schema::{DataType, TimeUnit};

/// Spellings of types without parameters, in lower case. The first of a type is the one printed.
const PLAIN: &[(&str, DataType)] = &[
    ("boolean", DataType::Boolean),
    ("bool", DataType::Boolean),
    ("tinyint", DataType::Int8),
    ("int8", DataType::Int8),
    ("byte", DataType::Int8),
    ("i8", DataType::Int8),
    ("smallint", DataType::Int16),
    ("int16", DataType::Int16),
    ("short", DataType::Int16),
    ("i16", DataType::Int16),
    ("int", DataType::Int32),
    ("integer", DataType::Int32),
    ("int32", DataType::Int32),
    ("i32", DataType::Int32),
    ("bigint", DataType::Int64),
    ("int64", DataType::Int64),
    ("long", DataType::Int64),
    ("i64", DataType::Int64),
    ("utinyint", DataType::UInt8),
    ("uint8", DataType::UInt8),
    ("u8", DataType::UInt8),
    ("usmallint", DataType::UInt16),
    ("uint16", DataType::UInt16),
    ("u16", DataType::UInt16),
    ("uinteger", DataType::UInt32),
    ("uint", DataType::UInt32),
    ("uint32", DataType::UInt32),
    ("u32", DataType::UInt32),
    ("ubigint", DataType::UInt64),
    ("uint64", DataType::UInt64),
    ("u64", DataType::UInt64),
    ("real", DataType::Float32),
    ("float32", DataType::Float32),
    ("float4", DataType::Float32),
    ("float", DataType::Float32),
    ("f32", DataType::Float32),
    ("double", DataType::Float64),
    ("float64", DataType::Float64),
    ("float8", DataType::Float64),
    ("f64", DataType::Float64),
    ("date", DataType::Date32),
    ("date32", DataType::Date32),
    ("date64", DataType::Date64),
];

/// The type that a name without parameters stands for, letter case aside.
///
/// `int8` is eight bits wide, as in Arrow, not eight bytes as in PostgreSQL.
pub(crate) fn plain_type(name: &str) -> Option<DataType> {
    PLAIN
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, data_type)| data_type.clone())
}

/// Every spelling without parameters, for suggestions.
pub(crate) fn plain_type_names() -> impl Iterator<Item = &'static str> {
    PLAIN.iter().map(|(name, _)| *name)
}

/// The unit of a timestamp with this many fractional digits.
pub(crate) fn unit_of_digits(digits: u64) -> Option<TimeUnit> {
    Some(match digits {
        0 => TimeUnit::Second,
        3 => TimeUnit::Millisecond,
        6 => TimeUnit::Microsecond,
        9 => TimeUnit::Nanosecond,
        _ => return None,
    })
}

/// Displays a type so that the text front reads it back; types that expressions do not compute
/// with are displayed as Arrow does.
pub(crate) struct TypeName<'a>(pub(crate) &'a DataType);

impl fmt::Display for TypeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DataType::Decimal128(precision, scale) => write!(f, "decimal({precision}, {scale})"),
            DataType::Timestamp(unit, zone) => {
                let digits = match unit {
                    TimeUnit::Second => 0,
                    TimeUnit::Millisecond => 3,
                    TimeUnit::Microsecond => 6,
                    TimeUnit::Nanosecond => 9,
                };
                match zone.as_deref() {
                    None => write!(f, "timestamp({digits})"),
                    Some("UTC") => write!(f, "timestamp({digits}) with time zone"),
                    Some(zone) => {
                        write!(f, "timestamp({digits}, '{}')", zone.replace('\'', "''"))
                    }
                }
            }
            other => match PLAIN.iter().find(|(_, data_type)| data_type == other) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "{other}"),
            },
        }
    }
}
