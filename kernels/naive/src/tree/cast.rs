//! Casts of single values, as the table of casts ([`unlade_expr::CASTS`]) words them.

use arrow_schema::{DataType, TimeUnit};
use unlade_expr::{Dialect, OnError};
use unlade_program::{Imm, TrapCode, Ty};

use crate::value::digits;

use super::scalar::{Outcome, f32_result, f64_result, low_bits, settle};

/// The value of `CAST(value AS to)`.
///
/// # Panics
/// On pairs of types that the check refuses.
pub(crate) fn cast(
    dialect: Dialect,
    on_error: OnError,
    value: Imm,
    from: &DataType,
    to: &DataType,
) -> Outcome {
    let fails = |code, wrapped| settle(on_error, code, wrapped);
    match (kind(from), kind(to)) {
        _ if from == to => Ok(Some(value)),
        (Kind::Boolean, target) => {
            let number = i128::from(value.as_mask());
            match target {
                Kind::Integer(ty) => Ok(Imm::integer(ty, number)),
                Kind::Float(ty) => Ok(Some(integer_to_float(ty, number))),
                Kind::Decimal { precision, scale } => {
                    decimal(on_error, rescaled(number, scale.into()), precision)
                }
                Kind::Boolean | Kind::Temporal { .. } => refused(from, to),
            }
        }
        (Kind::Integer(_) | Kind::Decimal { .. }, Kind::Boolean) => {
            Ok(Some(Imm::mask(value.as_integer() != 0)))
        }
        (Kind::Float(_), Kind::Boolean) => Ok(Some(Imm::mask(as_f64(value) != 0.0))),
        (_, Kind::Boolean) => refused(from, to),

        (Kind::Integer(_), Kind::Integer(ty)) => integer(on_error, value.as_integer(), ty),
        (Kind::Integer(_), Kind::Float(ty)) => Ok(Some(integer_to_float(ty, value.as_integer()))),
        (Kind::Integer(_), Kind::Decimal { precision, scale }) => {
            let unscaled = rescaled(value.as_integer(), scale.into());
            decimal(on_error, unscaled, precision)
        }

        (Kind::Float(_), Kind::Integer(ty)) => float_to_integer(dialect, on_error, value, ty),
        (Kind::Float(Ty::F32), Kind::Float(_)) => Ok(Some(f64_result(value.as_f32().into()))),
        (Kind::Float(_), Kind::Float(_)) => Ok(Some(f32_result(value.as_f64() as f32))),
        (Kind::Float(_), Kind::Decimal { precision, scale }) if dialect == Dialect::Spark => {
            let float = as_f64(value);
            if !float.is_finite() {
                return Ok(None);
            }
            let unscaled = digits(float, scale as i8).as_integer();
            decimal(on_error, Some(unscaled), precision)
        }
        (Kind::Float(_), Kind::Decimal { precision, scale }) => {
            let scaled = (as_f64(value) * float_power_of_ten(scale)).round();
            // 2^127 is a binary64; what is not below it in magnitude has no i128.
            let unscaled = (scaled.abs() < 2f64.powi(127)).then_some(scaled as i128);
            match unscaled {
                None if !as_f64(value).is_finite() => fails(TrapCode::CastOutOfRange, None),
                _ => decimal(on_error, unscaled, precision),
            }
        }

        (Kind::Decimal { scale, .. }, Kind::Integer(ty)) => {
            let whole = value.as_integer() / power_of_ten(scale.into());
            integer(on_error, whole, ty)
        }
        (Kind::Decimal { scale, .. }, Kind::Float(ty)) => {
            let quotient = value.as_integer() as f64 / float_power_of_ten(scale);
            Ok(Some(match ty {
                Ty::F32 => f32_result(quotient as f32),
                _ => f64_result(quotient),
            }))
        }
        (Kind::Decimal { scale: from, .. }, Kind::Decimal { precision, scale }) => {
            let by = i32::from(scale) - i32::from(from);
            decimal(on_error, rescaled(value.as_integer(), by), precision)
        }

        (Kind::Temporal { .. }, Kind::Temporal { .. }) => {
            temporal(dialect, on_error, value, from, to)
        }
        (Kind::Temporal { .. }, Kind::Integer(ty)) => {
            let number = value.as_integer();
            match dialect {
                Dialect::Arrow => integer(on_error, number, ty),
                Dialect::Spark => {
                    let seconds = number.div_euclid(MICROSECONDS_PER_SECOND);
                    match Imm::integer(ty, seconds) {
                        Some(fits) => Ok(Some(fits)),
                        None => fails(TrapCode::CastOutOfRange, None),
                    }
                }
            }
        }
        (Kind::Temporal { .. }, Kind::Float(ty)) if dialect == Dialect::Spark => {
            let seconds = value.as_integer() as f64 / MICROSECONDS_PER_SECOND as f64;
            Ok(Some(match ty {
                Ty::F32 => f32_result(seconds as f32),
                _ => f64_result(seconds),
            }))
        }
        (Kind::Integer(_), Kind::Temporal { .. }) if dialect == Dialect::Spark => {
            let micros = value.as_integer() * MICROSECONDS_PER_SECOND;
            let ends = (i64::MIN.into(), i64::MAX.into());
            Ok(Imm::integer(Ty::I64, micros.clamp(ends.0, ends.1)))
        }
        (Kind::Integer(Ty::I32), Kind::Temporal { .. }) if *to == DataType::Date64 => {
            temporal(dialect, on_error, value, &DataType::Date32, to)
        }
        (Kind::Integer(_), Kind::Temporal { ty, .. }) => integer(on_error, value.as_integer(), ty),
        (Kind::Temporal { .. }, _) | (_, Kind::Temporal { .. }) => refused(from, to),
    }
}

/// Spark reads a timestamp, which it holds in microseconds, as a number of seconds.
const MICROSECONDS_PER_SECOND: i128 = 1_000_000;

/// What a logical type is, to a cast.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Integer(Ty),
    Float(Ty),
    Decimal { precision: u8, scale: u8 },
    Temporal { ty: Ty, nanoseconds: i128 },
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Int8 => Kind::Integer(Ty::I8),
        DataType::Int16 => Kind::Integer(Ty::I16),
        DataType::Int32 => Kind::Integer(Ty::I32),
        DataType::Int64 => Kind::Integer(Ty::I64),
        DataType::UInt8 => Kind::Integer(Ty::U8),
        DataType::UInt16 => Kind::Integer(Ty::U16),
        DataType::UInt32 => Kind::Integer(Ty::U32),
        DataType::UInt64 => Kind::Integer(Ty::U64),
        DataType::Float32 => Kind::Float(Ty::F32),
        DataType::Float64 => Kind::Float(Ty::F64),
        DataType::Decimal128(precision, scale @ 0..) => Kind::Decimal {
            precision: *precision,
            scale: scale.unsigned_abs(),
        },
        DataType::Date32 => Kind::Temporal {
            ty: Ty::I32,
            nanoseconds: 86_400_000_000_000,
        },
        DataType::Date64 => Kind::Temporal {
            ty: Ty::I64,
            nanoseconds: 1_000_000,
        },
        DataType::Timestamp(unit, _) => Kind::Temporal {
            ty: Ty::I64,
            nanoseconds: match unit {
                TimeUnit::Second => 1_000_000_000,
                TimeUnit::Millisecond => 1_000_000,
                TimeUnit::Microsecond => 1_000,
                TimeUnit::Nanosecond => 1,
            },
        },
        other => panic!("expressions have no values of type {other}"),
    }
}

fn refused(from: &DataType, to: &DataType) -> ! {
    panic!("the check admits no cast from {from} to {to}")
}

/// An integer as an integer type: what does not fit fails, or keeps its low bits.
fn integer(on_error: OnError, value: i128, ty: Ty) -> Outcome {
    match Imm::integer(ty, value) {
        Some(value) => Ok(Some(value)),
        None => settle(
            on_error,
            TrapCode::CastOutOfRange,
            Some(low_bits(ty, value)),
        ),
    }
}

/// An integer rounded to the nearest float, ties to even.
fn integer_to_float(ty: Ty, value: i128) -> Imm {
    match ty {
        Ty::F32 => Imm::f32(value as f32),
        _ => Imm::f64(value as f64),
    }
}

/// A float truncated toward zero. Out of range and NaN fail, though Spark lets 2^63 pass for the
/// greatest `long`, which it is when both are compared as floats; under [`OnError::Wrap`] they become
/// what Java makes of them: clamped to `int` or `long`, NaN to 0, and narrower types keep the low
/// bits of that `int`.
fn float_to_integer(dialect: Dialect, on_error: OnError, value: Imm, ty: Ty) -> Outcome {
    let whole = as_f64(value).trunc();
    // Both bounds are exact: beyond 2^127 there is no integer type to hit.
    let exact = (whole.abs() < 2f64.powi(127)).then_some(whole as i128);
    if let Some(fits) = exact.and_then(|whole| Imm::integer(ty, whole)) {
        return Ok(Some(fits));
    }
    if dialect == Dialect::Spark && ty == Ty::I64 && whole == i64::MAX as f64 {
        return Ok(Imm::integer(ty, i64::MAX.into()));
    }
    let narrow = matches!(ty, Ty::I8 | Ty::I16);
    let java = match dialect {
        Dialect::Spark if narrow => Ty::I32,
        _ => ty,
    };
    let (low, high) = java.integer_range().expect("the target is an integer type");
    // `as` saturates and maps NaN to 0.
    let clamped = (whole as i128).clamp(low, high);
    settle(
        on_error,
        TrapCode::CastOutOfRange,
        Some(low_bits(ty, clamped)),
    )
}

/// A decimal's digits, if there are no more than its precision.
fn decimal(on_error: OnError, unscaled: Option<i128>, precision: u8) -> Outcome {
    let limit = power_of_ten(precision.into());
    let fits = unscaled.filter(|digits| -limit < *digits && *digits < limit);
    match fits.and_then(|digits| Imm::integer(Ty::I128, digits)) {
        Some(value) => Ok(Some(value)),
        None => settle(on_error, TrapCode::DecimalPrecision, None),
    }
}

/// `value * 10^by`, if 128 bits hold it; dropped digits round half away from zero.
fn rescaled(value: i128, by: i32) -> Option<i128> {
    let unit = power_of_ten(by.unsigned_abs());
    if by >= 0 {
        return value.checked_mul(unit);
    }
    let (quotient, remainder) = (value / unit, value % unit);
    let away = i128::from(remainder.abs() >= unit - remainder.abs());
    Some(quotient + away * value.signum())
}

/// The most decimal digits that an `i128` holds in full.
const MAX_DIGITS: u32 = 38;

fn power_of_ten(digits: u32) -> i128 {
    assert!(digits <= MAX_DIGITS, "10^{digits} exceeds 128 bits");
    10i128.pow(digits)
}

/// 10 to the power of a scale, correctly rounded: what the parser of decimal text makes of it.
fn float_power_of_ten(scale: u8) -> f64 {
    format!("1e{scale}").parse().expect("a float in decimal")
}

/// Dates and timestamps among themselves. To a finer unit: exact or failing, and Spark fails in
/// every mode. To a coarser one: toward the past from timestamps to `Date32`, else toward 1970.
fn temporal(
    dialect: Dialect,
    on_error: OnError,
    value: Imm,
    from: &DataType,
    to: &DataType,
) -> Outcome {
    let (
        Kind::Temporal {
            nanoseconds: from_unit,
            ..
        },
        Kind::Temporal {
            ty,
            nanoseconds: to_unit,
        },
    ) = (kind(from), kind(to))
    else {
        refused(from, to);
    };
    let nanoseconds = value.as_integer() * from_unit;
    let to_day = matches!((from, to), (DataType::Timestamp(..), DataType::Date32));
    let ticks = if to_day {
        nanoseconds.div_euclid(to_unit)
    } else {
        nanoseconds / to_unit
    };
    let on_error = match (dialect, on_error) {
        (Dialect::Spark, OnError::Wrap) => OnError::Trap,
        _ => on_error,
    };
    integer(on_error, ticks, ty)
}

fn as_f64(value: Imm) -> f64 {
    match value.ty() {
        Ty::F32 => value.as_f32().into(),
        _ => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;

    fn integer_of(ty: Ty, value: i128) -> Imm {
        Imm::integer(ty, value).expect("the test's value fits its type")
    }

    /// The integer that a cast to an integer type gives under Spark's wrapping rules.
    fn java(value: Imm, from: &DataType, to: &DataType) -> i128 {
        let result = cast(Dialect::Spark, OnError::Wrap, value, from, to);
        result
            .expect("wrapping never traps")
            .expect("wrapping makes no null")
            .as_integer()
    }

    #[test]
    fn java_narrows_floats_through_int() {
        for (value, to, expected) in [
            (300.7, Int8, 44),
            (1e10, Int8, -1),
            (-1e10, Int16, 0),
            (1e10, Int32, i32::MAX.into()),
            (-1e300, Int64, i64::MIN.into()),
            (f64::NAN, Int64, 0),
            (-0.9, Int32, 0),
        ] {
            assert_eq!(
                java(Imm::f64(value), &Float64, &to),
                expected,
                "{value} to {to}"
            );
        }
    }

    #[test]
    fn bounds_of_floats_are_those_of_the_truncated_value() {
        let trap = |value, to: &DataType| {
            cast(Dialect::Arrow, OnError::Trap, Imm::f64(value), &Float64, to)
        };
        assert_eq!(trap(-0.9, &UInt8), Ok(Some(integer_of(Ty::U8, 0))));
        assert_eq!(trap(255.9, &UInt8), Ok(Some(integer_of(Ty::U8, 255))));
        assert_eq!(trap(256.0, &UInt8), Err(TrapCode::CastOutOfRange));
        assert_eq!(trap(-1.0, &UInt8), Err(TrapCode::CastOutOfRange));
        assert_eq!(trap(2f64.powi(63), &Int64), Err(TrapCode::CastOutOfRange));
        assert_eq!(trap(f64::INFINITY, &Int64), Err(TrapCode::CastOutOfRange));
        let least = Ok(Some(integer_of(Ty::I64, i64::MIN.into())));
        assert_eq!(trap(-(2f64.powi(63)), &Int64), least);
    }

    #[test]
    fn decimals_round_half_away_from_zero_and_truncate_to_integers() {
        let decimal = |value| integer_of(Ty::I128, value);
        let to_tenths = |value| {
            let (from, to) = (Decimal128(5, 2), Decimal128(4, 1));
            cast(Dialect::Arrow, OnError::Null, decimal(value), &from, &to)
        };
        assert_eq!(to_tenths(125), Ok(Some(decimal(13))));
        assert_eq!(to_tenths(-125), Ok(Some(decimal(-13))));
        assert_eq!(to_tenths(124), Ok(Some(decimal(12))));
        assert_eq!(to_tenths(99_999), Ok(None), "1000.0 has five digits");
        let whole = cast(
            Dialect::Arrow,
            OnError::Trap,
            decimal(-199),
            &Decimal128(5, 2),
            &Int32,
        );
        assert_eq!(whole, Ok(Some(integer_of(Ty::I32, -1))));
    }

    #[test]
    fn a_day_before_1970() {
        let minus_one = integer_of(Ty::I64, -1);
        let arrow = |from, to| cast(Dialect::Arrow, OnError::Trap, minus_one, from, to);
        let timestamp = Timestamp(TimeUnit::Millisecond, None);
        assert_eq!(
            arrow(&timestamp, &Date32),
            Ok(Some(integer_of(Ty::I32, -1)))
        );
        assert_eq!(arrow(&Date64, &Date32), Ok(Some(integer_of(Ty::I32, 0))));
        let instant = Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(java(minus_one, &instant, &Int64), -1);
    }
}
