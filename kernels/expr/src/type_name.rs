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

/// Types with parameters, each as it is printed, with other spellings of it.
const WITH_PARAMETERS: &[(&str, &[&str], &str)] = &[
    (
        "decimal(12, 2)",
        &["numeric(12, 2)", "dec(12, 2)", "decimal128(12, 2)"],
        "cast(9.99 as decimal(12, 2))",
    ),
    (
        "timestamp(0)",
        &["timestamp(s)"],
        "timestamp(0) '2020-12-31 23:59:59'",
    ),
    (
        "timestamp(3)",
        &["timestamp(ms)"],
        "timestamp(3) '2020-12-31 23:59:59.5'",
    ),
    (
        "timestamp(6)",
        &["timestamp", "datetime", "timestamp_ntz", "timestamp(us)"],
        "timestamp '2020-12-31 23:59:59.5'",
    ),
    (
        "timestamp(9)",
        &["timestamp(ns)"],
        "timestamp(9) '2020-12-31 23:59:59.5'",
    ),
    (
        "timestamp(6) with time zone",
        &["timestamptz", "timestamptz(6)", "timestamp with time zone"],
        "timestamptz '2020-12-31 23:59:59+01:00'",
    ),
    (
        "timestamp(6, 'Europe/Berlin')",
        &["timestamp(us, 'Europe/Berlin')"],
        "'2020-12-31 23:59:59+01:00', beside such a column",
    ),
];

/// How a type is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeSpelling {
    /// As it is printed, with parameters by example.
    pub name: &'static str,
    /// What is read as the same.
    pub others: Vec<&'static str>,
    /// What a constant of it looks like.
    pub constant: &'static str,
}

/// Every type that expressions compute with, and how it is written.
///
/// ```
/// let int = unlade_expr::type_spellings().into_iter().find(|each| each.name == "int");
/// assert!(int.is_some_and(|int| int.others.contains(&"integer")));
/// ```
pub fn type_spellings() -> Vec<TypeSpelling> {
    let mut types: Vec<(TypeSpelling, &DataType)> = Vec::new();
    for (name, data_type) in PLAIN {
        match types.iter_mut().find(|(_, known)| *known == data_type) {
            Some((spelling, _)) => spelling.others.push(name),
            None => types.push((
                TypeSpelling {
                    name,
                    others: unsigned_spelling(data_type).into_iter().collect(),
                    constant: constant(data_type),
                },
                data_type,
            )),
        }
    }
    let plain = types.into_iter().map(|(spelling, _)| spelling);
    let others = WITH_PARAMETERS.iter();
    let with_parameters = others.map(|&(name, others, constant)| TypeSpelling {
        name,
        others: others.to_vec(),
        constant,
    });
    plain.chain(with_parameters).collect()
}

/// MySQL's spelling, which is read, too.
fn unsigned_spelling(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::UInt8 => "tinyint unsigned",
        DataType::UInt16 => "smallint unsigned",
        DataType::UInt32 => "int unsigned",
        DataType::UInt64 => "bigint unsigned",
        _ => return None,
    })
}

fn constant(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "true",
        DataType::Int64 => "42L, or 42 where the rules have it so",
        DataType::Float64 => "1.5e0, or 1.5 where the rules have it so",
        DataType::Date32 => "date '2020-12-31'",
        DataType::Date64 => "cast('2020-12-31' as date64)",
        DataType::Float32 => "cast(1.5 as real)",
        _ => "42, beside such a column or in a cast",
    }
}

/// A type as the text form writes it; one that expressions do not compute with as Arrow does.
///
/// ```
/// use arrow_schema::DataType;
/// assert_eq!(unlade_expr::type_name(&DataType::Int64), "bigint");
/// ```
pub fn type_name(data_type: &DataType) -> String {
    TypeName(data_type).to_string()
}

/// The type that a name without parameters stands for, letter case aside.
///
/// `int8` is eight bits wide, as in Arrow, not eight bytes as in PostgreSQL.
pub(crate) fn plain_type(name: &str) -> Option<DataType> {
    PLAIN
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, data_type)| data_type.clone())
}

/// Whether a word is a type only with parameters behind it, or without but not as [`plain_type`]s are.
pub(crate) fn takes_parameters(name: &str) -> bool {
    ["decimal", "numeric", "timestamp", "timestamptz"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    #[test]
    fn every_spelling_is_read_and_the_first_is_the_one_printed() {
        let read = |name: &str| match parse(name).kind {
            Kind::Cast { to, .. } => to,
            other => panic!("{name}: {other:?}"),
        };
        let types = type_spellings();
        assert!(types.len() > 15);
        for TypeSpelling { name, others, .. } in types {
            assert_eq!(type_name(&read(name)), name);
            for other in others {
                assert_eq!(read(other), read(name), "{other}");
            }
        }
    }

    fn parse(name: &str) -> crate::tree::Expr {
        crate::parse_expr(&format!("cast(a as {name})"))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}
