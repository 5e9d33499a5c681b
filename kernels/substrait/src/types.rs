//! Substrait's types as Arrow's.
//!
//! Variations of a type that a message does not declare are those that DataFusion numbers:
//! 1 of an integer is an unsigned one, 1 of text and binary a large one, 2 a view.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, IntervalUnit, Schema, TimeUnit};
use substrait::proto::r#type::{self, Kind, Nullability};
use substrait::proto::{NamedStruct, Type};

use crate::error::{SubstraitError, unsupported};
use crate::extensions::{Extensions, Origin};

/// A type, and whether it may be null: also where that is not said.
pub(crate) fn data_type(
    of: &Type,
    extensions: &Extensions,
    names: &mut Names<'_>,
) -> Result<(DataType, bool), SubstraitError> {
    use DataType::*;
    let kind = of.kind.as_ref();
    let kind = kind.ok_or(SubstraitError::Unset("the kind of a type"))?;
    let pick = |name: &str, variation: u32, of: &[DataType]| {
        let picked = usize::try_from(variation).ok().and_then(|at| of.get(at));
        picked.cloned().ok_or_else(|| {
            SubstraitError::Unsupported(format!(
                "variation {variation} of type {name} is not known"
            ))
        })
    };
    /// The type that a variation of one of these kinds is.
    macro_rules! varied {
        ($kind:expr, $name:literal, [$($data_type:expr),+]) => {
            (pick($name, $kind.type_variation_reference, &[$($data_type),+])?, $kind.nullability)
        };
    }
    let (data_type, nullability) = match kind {
        Kind::Bool(kind) => varied!(kind, "boolean", [Boolean]),
        Kind::I8(kind) => varied!(kind, "i8", [Int8, UInt8]),
        Kind::I16(kind) => varied!(kind, "i16", [Int16, UInt16]),
        Kind::I32(kind) => varied!(kind, "i32", [Int32, UInt32]),
        Kind::I64(kind) => varied!(kind, "i64", [Int64, UInt64]),
        Kind::Fp32(kind) => varied!(kind, "fp32", [Float32]),
        Kind::Fp64(kind) => varied!(kind, "fp64", [Float64]),
        Kind::String(kind) => varied!(kind, "string", [Utf8, LargeUtf8, Utf8View]),
        Kind::Binary(kind) => varied!(kind, "binary", [Binary, LargeBinary, BinaryView]),
        Kind::Date(kind) => varied!(kind, "date", [Date32, Date64]),
        Kind::IntervalYear(kind) => {
            varied!(kind, "interval_year", [Interval(IntervalUnit::YearMonth)])
        }
        Kind::IntervalDay(kind) => {
            // Where it is not said, it is in microseconds, which Arrow's type is not.
            let precision = kind.precision.unwrap_or(6);
            match (kind.type_variation_reference, precision) {
                (0, 3) => (Interval(IntervalUnit::DayTime), kind.nullability),
                (1, _) => (Duration(unit(precision)?), kind.nullability),
                (variation, _) => {
                    return unsupported(format!(
                        "Arrow has no interval_day of precision {precision} and variation {variation}"
                    ));
                }
            }
        }
        Kind::IntervalCompound(kind) if kind.precision == 9 => {
            varied!(
                kind,
                "interval_compound",
                [Interval(IntervalUnit::MonthDayNano)]
            )
        }
        Kind::Uuid(kind) => varied!(kind, "uuid", [FixedSizeBinary(16)]),
        Kind::FixedChar(kind) => varied!(kind, "fixed_char", [Utf8]),
        Kind::Varchar(kind) => varied!(kind, "varchar", [Utf8]),
        Kind::FixedBinary(kind) if kind.length >= 0 => {
            varied!(kind, "fixed_binary", [FixedSizeBinary(kind.length)])
        }
        Kind::Decimal(kind) => {
            let (precision, scale) = decimal(kind.precision, kind.scale)?;
            varied!(
                kind,
                "decimal",
                [Decimal128(precision, scale), Decimal256(precision, scale)]
            )
        }
        Kind::PrecisionTime(kind) => {
            let unit = unit(kind.precision)?;
            let time = match unit {
                TimeUnit::Second | TimeUnit::Millisecond => Time32(unit),
                TimeUnit::Microsecond | TimeUnit::Nanosecond => Time64(unit),
            };
            varied!(kind, "precision_time", [time])
        }
        Kind::PrecisionTimestamp(kind) => {
            varied!(
                kind,
                "precision_timestamp",
                [Timestamp(unit(kind.precision)?, None)]
            )
        }
        Kind::PrecisionTimestampTz(kind) => {
            let utc = Timestamp(unit(kind.precision)?, Some("UTC".into()));
            varied!(kind, "precision_timestamp_tz", [utc])
        }
        Kind::Struct(kind) => {
            let fields = fields(&kind.types, extensions, names)?;
            varied!(kind, "struct", [Struct(fields.into())])
        }
        Kind::List(kind) => {
            let item = child("item", kind.r#type.as_deref(), extensions, names)?;
            varied!(kind, "list", [List(Arc::clone(&item)), LargeList(item)])
        }
        Kind::Map(kind) => {
            let key = child("key", kind.key.as_deref(), extensions, names)?;
            let value = child("value", kind.value.as_deref(), extensions, names)?;
            let (of_key, of_value) = (key.data_type().clone(), value.data_type().clone());
            let entries = Struct(vec![key, value].into());
            let entries = Map(Arc::new(Field::new("entries", entries, false)), false);
            varied!(
                kind,
                "map",
                [entries, Dictionary(Box::new(of_key), Box::new(of_value))]
            )
        }
        Kind::UserDefined(kind) => (user_defined(kind, extensions)?, kind.nullability),
        other => return unsupported(format!("Arrow has no type for {other:?}")),
    };
    match Nullability::try_from(nullability) {
        Ok(nullability) => Ok((data_type, nullability != Nullability::Required)),
        Err(_) => unsupported(format!("nullability {nullability} is not known")),
    }
}

/// Arrow's types that Substrait has not, by the names that Arrow gives them, unsigned integers among
/// them.
pub const USER_DEFINED: [(&str, DataType); 14] = [
    ("null", DataType::Null),
    ("u8", DataType::UInt8),
    ("u16", DataType::UInt16),
    ("u32", DataType::UInt32),
    ("u64", DataType::UInt64),
    ("fp16", DataType::Float16),
    (
        "interval_month_day_nano",
        DataType::Interval(IntervalUnit::MonthDayNano),
    ),
    (
        "interval_day_milli",
        DataType::Interval(IntervalUnit::DayTime),
    ),
    ("date_millis", DataType::Date64),
    ("time_seconds", DataType::Time32(TimeUnit::Second)),
    ("time_millis", DataType::Time32(TimeUnit::Millisecond)),
    ("time_nanos", DataType::Time64(TimeUnit::Nanosecond)),
    ("large_string", DataType::LargeUtf8),
    ("large_binary", DataType::LargeBinary),
];

fn user_defined(
    of: &r#type::UserDefined,
    extensions: &Extensions,
) -> Result<DataType, SubstraitError> {
    if !of.type_parameters.is_empty() || of.type_variation_reference != 0 {
        return unsupported("user-defined types with parameters or variations are not known");
    }
    declared_type(of.type_reference, extensions)
}

/// The type that is declared at an anchor.
pub(crate) fn declared_type(
    anchor: u32,
    extensions: &Extensions,
) -> Result<DataType, SubstraitError> {
    let declared = extensions.data_type(anchor)?;
    let known = USER_DEFINED.iter().find(|(name, _)| *name == declared.name);
    match (known, &declared.origin) {
        (Some((_, data_type)), Origin::Arrow | Origin::Bare) => Ok(data_type.clone()),
        _ => unsupported(format!(
            "there is no type `{}` (anchor {anchor}, {})",
            declared.name,
            declared.origin.describe()
        )),
    }
}

pub(crate) fn unit(precision: i32) -> Result<TimeUnit, SubstraitError> {
    Ok(match precision {
        0 => TimeUnit::Second,
        3 => TimeUnit::Millisecond,
        6 => TimeUnit::Microsecond,
        9 => TimeUnit::Nanosecond,
        _ => {
            return unsupported(format!(
                "Arrow has no unit of time of precision {precision}"
            ));
        }
    })
}

/// Precision and scale, as Arrow holds them.
pub(crate) fn decimal(precision: i32, scale: i32) -> Result<(u8, i8), SubstraitError> {
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=76), Ok(scale)) if scale <= precision as i8 => Ok((precision, scale)),
        _ => unsupported(format!("Arrow has no decimal({precision}, {scale})")),
    }
}

fn child(
    name: &str,
    of: Option<&Type>,
    extensions: &Extensions,
    names: &mut Names<'_>,
) -> Result<FieldRef, SubstraitError> {
    let of = of.ok_or(SubstraitError::Unset("the type of an element"))?;
    let (data_type, nullable) = data_type(of, extensions, names)?;
    Ok(Arc::new(Field::new(name, data_type, nullable)))
}

fn fields(
    types: &[Type],
    extensions: &Extensions,
    names: &mut Names<'_>,
) -> Result<Vec<FieldRef>, SubstraitError> {
    let field = |of: &Type| {
        let name = names.next()?;
        let (data_type, nullable) = data_type(of, extensions, names)?;
        Ok(Arc::new(Field::new(name, data_type, nullable)))
    };
    types.iter().map(field).collect()
}

/// Names of fields, in the order of a walk that takes a field before its children.
pub(crate) enum Names<'a> {
    /// From a schema.
    Given(std::slice::Iter<'a, String>),
    /// Of a type that stands alone, whose fields have no names.
    Nowhere,
}

impl<'a> Names<'a> {
    fn next(&mut self) -> Result<&'a str, SubstraitError> {
        match self {
            Names::Given(names) => match names.next() {
                Some(name) => Ok(name),
                None => Err(SubstraitError::Malformed(
                    "the schema has fewer names than fields".to_owned(),
                )),
            },
            Names::Nowhere => Ok(""),
        }
    }
}

/// The schema of the input.
pub(crate) fn schema(
    base: &NamedStruct,
    extensions: &Extensions,
) -> Result<Schema, SubstraitError> {
    let of = base.r#struct.as_ref();
    let of = of.ok_or(SubstraitError::Unset("the struct of the schema"))?;
    let mut names = Names::Given(base.names.iter());
    let fields = fields(&of.types, extensions, &mut names)?;
    match names.next() {
        Err(_) => Ok(Schema::new(fields)),
        Ok(name) => Err(SubstraitError::Malformed(format!(
            "the schema has more names than fields, `{name}` on"
        ))),
    }
}
