//! Constants as values of the type that they get.

use arrow_schema::{DataType, TimeUnit};
use unlade_program::{Imm, Ty};

use super::types::{integer_range, is_integer, is_utc, units_per_second};
use crate::calendar;
use crate::display::Brief;
use crate::literal::Literal;
use crate::physical::physical_type;
use crate::semantics::Coercion;
use crate::tree::Value;

/// What a constant is as a value of a type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fit {
    /// This value, exactly; `None` is null.
    Exact(Option<Imm>),
    /// No value of the type; one of this type, perhaps after widening both sides.
    Needs(DataType),
    /// No value of the type or of any that it widens to; why.
    Never(String),
}

/// What a constant is beside an operand of a type.
pub(super) fn fit(value: &Value, to: &DataType) -> Fit {
    match value {
        Value::Null => Fit::Exact(None),
        Value::Typed(literal) => fit_literal(literal, to),
        Value::Boolean(value) => match to {
            DataType::Boolean => Fit::Exact(Some(Imm::mask(*value))),
            _ => Fit::Never(format!("{value} is Boolean where {to} is expected")),
        },
        Value::Integer(value) => fit_integer(*value, to),
        Value::Number(digits) => fit_number(digits, to),
        Value::Text(text) => fit_text(text, to),
    }
}

/// The value that text stands for in an explicit cast, where text is also read as numbers and
/// booleans.
pub(super) fn parse_text(text: &str, to: &DataType) -> Fit {
    let trimmed = text.trim();
    let parsed = match to {
        DataType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" => Some(Imm::mask(true)),
            "false" => Some(Imm::mask(false)),
            _ => None,
        },
        DataType::Float32 => trimmed.parse().ok().map(Imm::f32),
        DataType::Float64 => trimmed.parse().ok().map(Imm::f64),
        DataType::Decimal128(..) => return fit_number(trimmed, to),
        to if is_integer(to) => match trimmed.parse().map(|value| fit_integer(value, to)) {
            Ok(Fit::Exact(imm)) => imm,
            _ => None,
        },
        _ => return fit_text(text, to),
    };
    match parsed {
        Some(imm) => Fit::Exact(Some(imm)),
        None => Fit::Never(format!("'{}' does not read as {to}", Brief(text))),
    }
}

/// The type that a constant has alone, if it has one.
pub(super) fn own_type(value: &Value, coercion: Coercion) -> Option<DataType> {
    let is_spark = matches!(coercion, Coercion::SparkLegacy | Coercion::SparkAnsi);
    match value {
        Value::Null | Value::Text(_) => None,
        Value::Boolean(_) => Some(DataType::Boolean),
        Value::Integer(value) if is_spark && i32::try_from(*value).is_ok() => Some(DataType::Int32),
        Value::Integer(value) if i64::try_from(*value).is_ok() => Some(DataType::Int64),
        Value::Integer(value) if !is_spark && u64::try_from(*value).is_ok() => {
            Some(DataType::UInt64)
        }
        Value::Integer(value) => Some(DataType::Decimal128(digits_of(*value).min(38), 0)),
        Value::Number(digits) if is_spark && !digits.contains(['e', 'E']) => {
            // More digits than a decimal has are refused when the constant is made one.
            let decimal = number_as_decimal(digits).map(|literal| literal.data_type);
            Some(decimal.unwrap_or(DataType::Decimal128(38, 0)))
        }
        Value::Number(_) => Some(DataType::Float64),
        Value::Typed(literal) => Some(literal.data_type.clone()),
    }
}

/// As [`fit`], but a whole number is the nearest value of a float type.
pub(super) fn fit_rounded(value: &Value, to: &DataType) -> Fit {
    match (value, to) {
        (Value::Integer(value), DataType::Float32) => Fit::Exact(Some(Imm::f32(*value as f32))),
        (Value::Integer(value), DataType::Float64) => Fit::Exact(Some(Imm::f64(*value as f64))),
        _ => fit(value, to),
    }
}

/// A number with a point or an exponent as a decimal of as few digits as it needs.
pub(super) fn number_as_decimal(digits: &str) -> Option<Literal> {
    let Decimal { unscaled, scale } = parse_decimal(digits)?;
    let scale = i8::try_from(scale).ok()?;
    let precision = digits_of(unscaled).max(scale as u8);
    if precision > 38 {
        return None;
    }
    Some(Literal {
        data_type: DataType::Decimal128(precision, scale),
        value: Imm::integer(Ty::I128, unscaled),
    })
}

/// A literal of one type as the same value of another.
pub(super) fn fit_literal(literal: &Literal, to: &DataType) -> Fit {
    let Some(imm) = literal.value else {
        return Fit::Exact(None);
    };
    if literal.data_type == *to {
        return Fit::Exact(Some(imm));
    }
    let needs = || Fit::Needs(literal.data_type.clone());
    match &literal.data_type {
        from if is_integer(from) => match fit_integer(imm.as_integer(), to) {
            // What cannot be widened to is the literal's own type, not the least that holds it.
            Fit::Needs(_) => needs(),
            fit => fit,
        },
        DataType::Decimal128(_, scale @ 0..) => {
            let decimal = Decimal {
                unscaled: imm.as_integer(),
                scale: i32::from(*scale),
            };
            match to {
                DataType::Decimal128(..) => fit_decimal(&decimal, to),
                _ => needs(),
            }
        }
        DataType::Float32 if *to == DataType::Float64 && !imm.as_f32().is_nan() => {
            Fit::Exact(Some(Imm::f64(f64::from(imm.as_f32()))))
        }
        DataType::Date32 => match to {
            // Where a day begins in another zone is not known here.
            DataType::Timestamp(_, Some(zone)) if !is_utc(zone) => needs(),
            DataType::Date64 | DataType::Timestamp(..) => {
                let nanos = imm.as_integer() * NANOS_PER_DAY;
                fit_instant(nanos, to).unwrap_or_else(needs)
            }
            _ => needs(),
        },
        DataType::Timestamp(_, zone) => match to {
            // An instant is the same in every zone.
            DataType::Timestamp(_, to_zone) if zone.is_some() == to_zone.is_some() => {
                let nanos_per_unit =
                    NANOS_PER_SECOND / i128::from(units_per_second(&literal.data_type));
                fit_instant(imm.as_integer() * nanos_per_unit, to).unwrap_or_else(needs)
            }
            _ => needs(),
        },
        _ => needs(),
    }
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
const NANOS_PER_DAY: i128 = 86_400 * NANOS_PER_SECOND;

fn fit_integer(value: i128, to: &DataType) -> Fit {
    let fits = match to {
        DataType::Float32 => {
            let float = value as f32;
            (float as i128 == value && value != i128::MAX).then(|| Imm::f32(float))
        }
        DataType::Float64 => {
            let float = value as f64;
            (float as i128 == value && value != i128::MAX).then(|| Imm::f64(float))
        }
        DataType::Decimal128(..) => {
            return fit_decimal(
                &Decimal {
                    unscaled: value,
                    scale: 0,
                },
                to,
            );
        }
        to => match (integer_range(to), physical_type(to)) {
            (Some((low, high)), Some(ty)) if (low..=high).contains(&value) => {
                Imm::integer(ty, value)
            }
            (Some(_), _) => None,
            _ => return Fit::Never(format!("{value} is a number where {to} is expected")),
        },
    };
    match fits {
        Some(imm) => Fit::Exact(Some(imm)),
        None => Fit::Needs(least_integer_type(value)),
    }
}

/// The narrowest type that holds an integer, signed before unsigned.
fn least_integer_type(value: i128) -> DataType {
    use DataType::*;
    [Int8, Int16, Int32, Int64, UInt64]
        .into_iter()
        .find(|data_type| {
            integer_range(data_type).is_some_and(|(low, high)| (low..=high).contains(&value))
        })
        .unwrap_or_else(|| Decimal128(digits_of(value).min(38), 0))
}

fn fit_number(digits: &str, to: &DataType) -> Fit {
    match to {
        DataType::Float64 => match digits.parse() {
            Ok(float) => Fit::Exact(Some(Imm::f64(float))),
            Err(_) => Fit::Never(format!("{} is no number", Brief(digits))),
        },
        DataType::Float32 => match digits.parse::<f64>() {
            Ok(float) if f64::from(float as f32) == float => {
                Fit::Exact(Some(Imm::f32(float as f32)))
            }
            _ => Fit::Needs(DataType::Float64),
        },
        DataType::Decimal128(..) => match parse_decimal(digits) {
            Some(decimal) => fit_decimal(&decimal, to),
            None => Fit::Never(format!(
                "{} has too many digits for a decimal",
                Brief(digits)
            )),
        },
        to if is_integer(to) => {
            match parse_decimal(digits).as_ref().and_then(Decimal::as_integer) {
                Some(value) => match fit_integer(value, to) {
                    Fit::Needs(_) => Fit::Needs(DataType::Float64),
                    fit => fit,
                },
                None => Fit::Needs(DataType::Float64),
            }
        }
        to => Fit::Never(format!(
            "{} is a number where {to} is expected",
            Brief(digits)
        )),
    }
}

fn fit_decimal(decimal: &Decimal, to: &DataType) -> Fit {
    let &DataType::Decimal128(precision, scale) = to else {
        return Fit::Never(format!("a decimal is no {to}"));
    };
    if let Some(unscaled) = decimal.rescaled(i32::from(scale))
        && digits_of(unscaled) <= precision
    {
        return Fit::Exact(Imm::integer(Ty::I128, unscaled));
    }
    let needed_scale = decimal.scale.clamp(0, 38);
    match decimal.rescaled(needed_scale) {
        Some(unscaled) if decimal.scale <= 38 => {
            let digits = digits_of(unscaled).max(needed_scale as u8);
            Fit::Needs(DataType::Decimal128(digits.min(38), needed_scale as i8))
        }
        _ => Fit::Never("the number has too many digits for a decimal".to_owned()),
    }
}

fn fit_text(text: &str, to: &DataType) -> Fit {
    let wrong =
        |shape: &str| Fit::Never(format!("'{}' does not read as {to}: {shape}", Brief(text)));
    match to {
        DataType::Date32 => {
            match calendar::parse_date(text).and_then(|days| i32::try_from(days).ok()) {
                Some(days) => Fit::Exact(Imm::integer(Ty::I32, days.into())),
                None => wrong("dates are written '2020-12-31'"),
            }
        }
        DataType::Date64 | DataType::Timestamp(..) => {
            let shape = "timestamps are written '2020-12-31 23:59:59.5'";
            let Some(moment) = calendar::parse_moment(text) else {
                return wrong(shape);
            };
            let zone = match to {
                DataType::Timestamp(_, zone) => zone.as_deref(),
                _ => None,
            };
            match (zone, moment.has_offset) {
                (None, true) => {
                    return wrong(
                        "the type has no zone: leave the offset out, or write TIMESTAMPTZ",
                    );
                }
                (Some(zone), false) if !is_utc(zone) => {
                    return wrong("add the offset from UTC, as in '2020-12-31 23:59:59+01:00'");
                }
                _ => {}
            }
            fit_instant(moment.nanos, to)
                .unwrap_or_else(|| wrong("it has more digits than the type, or is out of range"))
        }
        to => Fit::Never(format!("'{}' is text where {to} is expected", Brief(text))),
    }
}

/// Nanoseconds since 1970 as a value of a temporal type, if it holds them exactly.
fn fit_instant(nanos: i128, to: &DataType) -> Option<Fit> {
    let nanos_per_unit = match to {
        DataType::Date64 => NANOS_PER_MILLI,
        DataType::Timestamp(TimeUnit::Second, _) => NANOS_PER_SECOND,
        DataType::Timestamp(TimeUnit::Millisecond, _) => NANOS_PER_MILLI,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
        _ => return None,
    };
    if nanos % nanos_per_unit != 0 {
        return None;
    }
    Some(Fit::Exact(Some(Imm::integer(
        Ty::I64,
        nanos / nanos_per_unit,
    )?)))
}

/// A number in base ten: `unscaled / 10^scale`.
struct Decimal {
    unscaled: i128,
    scale: i32,
}

impl Decimal {
    /// The unscaled value at another scale, if that is exact and fits.
    fn rescaled(&self, scale: i32) -> Option<i128> {
        let power = |exponent: i32| 10_i128.checked_pow(exponent.unsigned_abs());
        if self.unscaled == 0 {
            return Some(0);
        }
        match scale - self.scale {
            by @ 0.. => self.unscaled.checked_mul(power(by)?),
            by => {
                let divisor = power(by)?;
                (self.unscaled % divisor == 0).then(|| self.unscaled / divisor)
            }
        }
    }

    fn as_integer(&self) -> Option<i128> {
        self.rescaled(0)
    }
}

/// Reads `[+|-]digits[.digits][e[+|-]digits]`.
fn parse_decimal(text: &str) -> Option<Decimal> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let joined = format!("{whole}{fraction}");
    let unscaled = joined.parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let mut decimal = Decimal { unscaled, scale };
    if decimal.scale < 0 {
        decimal.unscaled = decimal.rescaled(0)?;
        decimal.scale = 0;
    }
    Some(decimal)
}

/// Decimal digits of a value, at least one.
pub(super) fn digits_of(value: i128) -> u8 {
    value
        .unsigned_abs()
        .checked_ilog10()
        .map_or(1, |digits| digits as u8 + 1)
}
