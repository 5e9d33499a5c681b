//! The table itself: one row for each cast.

use arrow_schema::{DataType, TimeUnit};

use super::CastRow;
use crate::check::types::{
    integer_digits, integer_range, is_decimal, is_float, is_integer, is_timestamp,
    is_utc_timestamp, units_per_second,
};
use crate::semantics::{Dialect, OnError};

const ARROW: &[Dialect] = &[Dialect::Arrow];
const SPARK: &[Dialect] = &[Dialect::Spark];
const BOTH: &[Dialect] = &[Dialect::Arrow, Dialect::Spark];
const TRAP_NULL: &[OnError] = &[OnError::Trap, OnError::Null];
const ALL_MODES: &[OnError] = &[OnError::Trap, OnError::Null, OnError::Wrap];

/// Every cast between two different types; a cast to the type that a value has already is no
/// operation. For a pair of types and a dialect at most one row applies.
///
/// The rows of the arrow rules equal arrow-rs 59 on every value, but where arrow-rs has no answer:
/// it multiplies `Date64` into timestamps unchecked, where the row fails on overflow, and it reads
/// timestamps by a calendar that ends 262,142 years either side of zero, where the row goes on.
///
/// Decimals have a scale of zero or more here. A time zone counts as UTC if it is spelled `UTC`,
/// `Etc/UTC`, `Z` or `+00:00`.
pub const CASTS: &[CastRow] = &[
    CastRow {
        from: "integer",
        to: "integer",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "the same number; fails where the target's range lacks it",
        applies: |from, to| is_integer(from) && is_integer(to),
        may_fail: integer_may_not_fit,
    },
    CastRow {
        from: "integer",
        to: "integer",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "the same number; fails where the target's range lacks it; wrap keeps the low \
                   bits",
        applies: |from, to| is_integer(from) && is_integer(to),
        may_fail: integer_may_not_fit,
    },
    CastRow {
        from: "integer",
        to: "Float32, Float64",
        dialects: BOTH,
        modes: ALL_MODES,
        computes: "the nearest float, ties to even",
        applies: |from, to| is_integer(from) && is_float(to),
        may_fail: never,
    },
    CastRow {
        from: "Float32, Float64",
        to: "Float32, Float64",
        dialects: BOTH,
        modes: ALL_MODES,
        computes: "the nearest float, ties to even, infinity beyond the range; a NaN becomes the \
                   canonical one",
        applies: |from, to| is_float(from) && is_float(to),
        may_fail: never,
    },
    CastRow {
        from: "Float32, Float64",
        to: "integer",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "truncates toward zero; fails on NaN and where the truncated value is out of \
                   the target's range",
        applies: |from, to| is_float(from) && is_integer(to),
        may_fail: always,
    },
    CastRow {
        from: "Float32, Float64",
        to: "integer",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "truncates toward zero; fails on NaN and where the truncated value is out of \
                   the target's range, but 2^63, the greatest Int64 as a float, is that \
                   greatest Int64; wrap is Java's: NaN is 0, Int32 and Int64 saturate, Int8 and \
                   Int16 saturate to Int32 first and then keep the low bits",
        applies: |from, to| is_float(from) && is_integer(to),
        may_fail: always,
    },
    CastRow {
        from: "Boolean",
        to: "integer, Float32, Float64",
        dialects: BOTH,
        modes: ALL_MODES,
        computes: "true is 1, false is 0",
        applies: |from, to| *from == DataType::Boolean && (is_integer(to) || is_float(to)),
        may_fail: never,
    },
    CastRow {
        from: "integer, Float32, Float64",
        to: "Boolean",
        dialects: BOTH,
        modes: ALL_MODES,
        computes: "whether the number differs from zero as IEEE 754 compares: both float zeros \
                   are false, a NaN is true",
        applies: |from, to| (is_integer(from) || is_float(from)) && *to == DataType::Boolean,
        may_fail: never,
    },
    CastRow {
        from: "Boolean",
        to: "Decimal128(p, s)",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "true is 1, false is 0; fails where p equals s, for want of a digit for the 1; \
                   wrap gives null there",
        applies: |from, to| *from == DataType::Boolean && is_decimal(to),
        may_fail: |_, to| matches!(to, DataType::Decimal128(p, s) if i16::from(*p) == i16::from(*s)),
    },
    CastRow {
        from: "Decimal128(p, s)",
        to: "Boolean",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "whether the number differs from zero",
        applies: |from, to| is_decimal(from) && *to == DataType::Boolean,
        may_fail: never,
    },
    CastRow {
        from: "integer",
        to: "Decimal128(p, s)",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "the number times 10^s; fails where that has more than p digits",
        applies: |from, to| is_integer(from) && is_decimal(to),
        may_fail: integer_may_exceed_decimal,
    },
    CastRow {
        from: "integer",
        to: "Decimal128(p, s)",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "the number times 10^s; fails where that has more than p digits; wrap gives \
                   null there",
        applies: |from, to| is_integer(from) && is_decimal(to),
        may_fail: integer_may_exceed_decimal,
    },
    CastRow {
        from: "Decimal128(p, s)",
        to: "integer",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "the unscaled value divided by 10^s, truncated toward zero; fails where the \
                   target's range lacks it",
        applies: |from, to| is_decimal(from) && is_integer(to),
        may_fail: decimal_may_exceed_integer,
    },
    CastRow {
        from: "Decimal128(p, s)",
        to: "integer",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "the unscaled value divided by 10^s, truncated toward zero; fails where the \
                   target's range lacks it; wrap keeps the low bits",
        applies: |from, to| is_decimal(from) && is_integer(to) && !spark_rounds_to_double(from, to),
        may_fail: decimal_may_exceed_integer,
    },
    CastRow {
        from: "Decimal128(p, s), p at least 19",
        to: "Int8 where s is at least 14, Int16 where at least 12, Int32 where at least 7",
        dialects: SPARK,
        modes: &[OnError::Wrap],
        computes: "the unscaled value divided by 10^s, truncated toward zero, the low bits of \
                   that. In its other modes Spark first rounds to a double, which this many \
                   digits can carry to the next whole number",
        applies: |from, to| is_decimal(from) && is_integer(to) && spark_rounds_to_double(from, to),
        may_fail: always,
    },
    CastRow {
        from: "Decimal128(p, s)",
        to: "Decimal128(q, t)",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "the unscaled value times 10^(t-s), or divided by 10^(s-t) and rounded half \
                   away from zero; fails where that has more than q digits",
        applies: |from, to| is_decimal(from) && is_decimal(to),
        may_fail: decimal_may_exceed_decimal,
    },
    CastRow {
        from: "Decimal128(p, s)",
        to: "Decimal128(q, t)",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "the unscaled value times 10^(t-s), or divided by 10^(s-t) and rounded half \
                   away from zero; fails where that has more than q digits; wrap gives null there",
        applies: |from, to| is_decimal(from) && is_decimal(to),
        may_fail: decimal_may_exceed_decimal,
    },
    CastRow {
        from: "Float32, Float64",
        to: "Decimal128(p, s), s at most 22",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "as Float64, times 10^s, rounded to the nearest float, that to a whole number \
                   half away from zero; fails on NaN, infinities and more than p digits",
        applies: |from, to| is_float(from) && has_exact_power(to),
        may_fail: always,
    },
    CastRow {
        from: "Float32, Float64",
        to: "Decimal128(p, s)",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "as Float64, the shortest decimal that reads back as it, rounded half away from \
                   zero to s digits after the point; NaN and infinities are null in every mode; \
                   fails where that has more than p digits; wrap gives null there",
        applies: |from, to| is_float(from) && is_decimal(to),
        may_fail: always,
    },
    CastRow {
        from: "Decimal128(p, s), s at most 22",
        to: "Float32, Float64",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "the unscaled value as the nearest Float64, divided by 10^s as Float64; for \
                   Float32 that is then rounded once more",
        applies: |from, to| has_exact_power(from) && is_float(to),
        may_fail: never,
    },
    CastRow {
        from: "Decimal128(p, s), p at most 15 and s at most 22",
        to: "Float64",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "the nearest float: the unscaled value as Float64 divided by 10^s, which is \
                   exact but for the one rounding",
        applies: |from, to| {
            matches!(from, DataType::Decimal128(..=15, 0..=22)) && *to == DataType::Float64
        },
        may_fail: never,
    },
    CastRow {
        from: "Decimal128(p, s), p at most 7 and s at most 10",
        to: "Float32",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "the nearest float: the unscaled value as Float64 divided by 10^s, then \
                   rounded to Float32; with so few digits that equals one rounding",
        applies: |from, to| {
            matches!(from, DataType::Decimal128(..=7, 0..=10)) && *to == DataType::Float32
        },
        may_fail: never,
    },
    CastRow {
        from: "Int32, Int64",
        to: "Date32",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "days since 1970-01-01; fails where an Int64 is out of the range of Int32",
        applies: |from, to| is_int32_or_int64(from) && *to == DataType::Date32,
        may_fail: |from, _| *from == DataType::Int64,
    },
    CastRow {
        from: "Date32",
        to: "Int32, Int64",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "days since 1970-01-01",
        applies: |from, to| *from == DataType::Date32 && is_int32_or_int64(to),
        may_fail: never,
    },
    CastRow {
        from: "Int64",
        to: "Date64",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "milliseconds since 1970-01-01",
        applies: |from, to| *from == DataType::Int64 && *to == DataType::Date64,
        may_fail: never,
    },
    CastRow {
        from: "Int32",
        to: "Date64",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "days since 1970-01-01, times 86,400,000",
        applies: |from, to| *from == DataType::Int32 && *to == DataType::Date64,
        may_fail: never,
    },
    CastRow {
        from: "Date64",
        to: "Int32, Int64",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "milliseconds since 1970-01-01; fails where an Int32 cannot hold them",
        applies: |from, to| *from == DataType::Date64 && is_int32_or_int64(to),
        may_fail: |_, to| *to == DataType::Int32,
    },
    CastRow {
        from: "Date32",
        to: "Date64",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "days times 86,400,000",
        applies: |from, to| *from == DataType::Date32 && *to == DataType::Date64,
        may_fail: never,
    },
    CastRow {
        from: "Date64",
        to: "Date32",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "milliseconds divided by 86,400,000, truncated toward zero; fails where Int32 \
                   lacks the days",
        applies: |from, to| *from == DataType::Date64 && *to == DataType::Date32,
        may_fail: always,
    },
    CastRow {
        from: "Date32",
        to: "Timestamp(unit), without zone or in UTC",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "days times the units in a day; fails where Int64 lacks the product \
                   (microseconds and nanoseconds only)",
        applies: |from, to| *from == DataType::Date32 && is_utc_timestamp(to),
        may_fail: |_, to| {
            matches!(
                to,
                DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            )
        },
    },
    CastRow {
        from: "Date32",
        to: "Timestamp(Microsecond), without zone or in UTC",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "days times 86,400,000,000; fails where Int64 lacks the product, and wrap \
                   traps there as Spark itself does",
        applies: |from, to| {
            *from == DataType::Date32
                && is_utc_timestamp(to)
                && matches!(to, DataType::Timestamp(TimeUnit::Microsecond, _))
        },
        may_fail: always,
    },
    CastRow {
        from: "Timestamp(unit), without zone or in UTC",
        to: "Date32",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "the value divided by the units in a day, rounded toward negative infinity; \
                   fails where Int32 lacks the days (seconds and milliseconds only)",
        applies: |from, to| is_utc_timestamp(from) && *to == DataType::Date32,
        may_fail: |from, _| {
            matches!(
                from,
                DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _)
            )
        },
    },
    CastRow {
        from: "Timestamp(Microsecond), without zone or in UTC",
        to: "Date32",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "the value divided by 86,400,000,000, rounded toward negative infinity",
        applies: |from, to| {
            is_utc_timestamp(from)
                && matches!(from, DataType::Timestamp(TimeUnit::Microsecond, _))
                && *to == DataType::Date32
        },
        may_fail: never,
    },
    CastRow {
        from: "Date64",
        to: "Timestamp(unit), without zone or in UTC",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "milliseconds times the units in one, or for seconds divided by 1,000 and \
                   truncated toward zero; fails where Int64 lacks the product",
        applies: |from, to| *from == DataType::Date64 && is_utc_timestamp(to),
        may_fail: |_, to| {
            matches!(
                to,
                DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            )
        },
    },
    CastRow {
        from: "Timestamp(unit)",
        to: "Date64",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "the value as milliseconds: times 1,000 for seconds, else divided and \
                   truncated toward zero; fails where Int64 lacks the product",
        applies: |from, to| is_timestamp(from) && *to == DataType::Date64,
        may_fail: |from, _| matches!(from, DataType::Timestamp(TimeUnit::Second, _)),
    },
    CastRow {
        from: "Timestamp(unit)",
        to: "Timestamp(other unit or zone)",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "the same instant: times the ratio of the units, or divided by it and \
                   truncated toward zero; fails where Int64 lacks the product. A zone is a \
                   label: only from no zone to one that is not UTC would the value move, and \
                   that is refused",
        applies: |from, to| is_timestamp(from) && is_timestamp(to) && !moves_wall_clock(from, to),
        may_fail: |from, to| units_per_second(to) > units_per_second(from),
    },
    CastRow {
        from: "Timestamp(Microsecond)",
        to: "Timestamp(Microsecond) with another zone, or to or from none where it is UTC",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "the same instant: a zone is a label",
        applies: |from, to| {
            let has_zone = is_spark_instant(from) && is_spark_instant(to);
            (has_zone || is_utc_timestamp(from) && is_utc_timestamp(to))
                && matches!(from, DataType::Timestamp(TimeUnit::Microsecond, _))
                && matches!(to, DataType::Timestamp(TimeUnit::Microsecond, _))
        },
        may_fail: never,
    },
    CastRow {
        from: "Timestamp(unit)",
        to: "integer",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "units since 1970-01-01 00:00:00 UTC; fails where the target's range lacks them",
        applies: |from, to| is_timestamp(from) && is_integer(to),
        may_fail: |_, to| *to != DataType::Int64,
    },
    CastRow {
        from: "Timestamp(Microsecond) with a zone",
        to: "Int8, Int16, Int32, Int64",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "seconds since 1970-01-01 00:00:00 UTC: the value divided by 1,000,000, \
                   rounded toward negative infinity; fails where the target's range lacks them; \
                   wrap gives null there",
        applies: |from, to| is_spark_instant(from) && is_integer(to),
        may_fail: |_, to| *to != DataType::Int64,
    },
    CastRow {
        from: "Timestamp(Microsecond) with a zone",
        to: "Float32, Float64",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "seconds since 1970-01-01 00:00:00 UTC: the value as the nearest Float64, \
                   divided by 1,000,000; for Float32 that is then rounded once more",
        applies: |from, to| is_spark_instant(from) && is_float(to),
        may_fail: never,
    },
    CastRow {
        from: "Int8, Int16, Int32, Int64",
        to: "Timestamp(Microsecond) with a zone",
        dialects: SPARK,
        modes: ALL_MODES,
        computes: "seconds since 1970-01-01 00:00:00 UTC: times 1,000,000, saturating at the \
                   ends of Int64",
        applies: |from, to| is_integer(from) && is_spark_instant(to),
        may_fail: never,
    },
    CastRow {
        from: "integer",
        to: "Timestamp(unit)",
        dialects: ARROW,
        modes: TRAP_NULL,
        computes: "units since 1970-01-01 00:00:00 UTC; fails where Int64 lacks a UInt64",
        applies: |from, to| is_integer(from) && is_timestamp(to),
        may_fail: |from, _| *from == DataType::UInt64,
    },
];

fn never(_: &DataType, _: &DataType) -> bool {
    false
}

fn always(_: &DataType, _: &DataType) -> bool {
    true
}

fn is_int32_or_int64(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int32 | DataType::Int64)
}

/// Decimals whose power of ten a `Float64` holds exactly.
fn has_exact_power(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(_, 0..=22))
}

fn moves_wall_clock(from: &DataType, to: &DataType) -> bool {
    matches!(from, DataType::Timestamp(_, None)) && !is_utc_timestamp(to)
}

fn integer_may_not_fit(from: &DataType, to: &DataType) -> bool {
    match (integer_range(from), integer_range(to)) {
        (Some((from_low, from_high)), Some((to_low, to_high))) => {
            from_low < to_low || from_high > to_high
        }
        _ => true,
    }
}

fn integer_may_exceed_decimal(from: &DataType, to: &DataType) -> bool {
    match (integer_digits(from), to) {
        (Some(digits), DataType::Decimal128(precision, scale)) => {
            i16::from(digits) + i16::from(*scale) > i16::from(*precision)
        }
        _ => true,
    }
}

/// What Spark calls a timestamp: an instant, in microseconds. Without a zone it is another type,
/// which does not become a number.
fn is_spark_instant(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_))
    )
}

/// Whether what Spark does shows: decimals of more than 18 digits become integers other than `long`
/// by way of a double, which tells `n - 10^-s` from `n` as long as `10^-s` is more than half the
/// distance of doubles around the ends of the target's range.
fn spark_rounds_to_double(from: &DataType, to: &DataType) -> bool {
    let DataType::Decimal128(precision, scale) = from else {
        return false;
    };
    let told_apart = match to {
        DataType::Int8 => 13,
        DataType::Int16 => 11,
        DataType::Int32 => 6,
        _ => return false,
    };
    *precision > 18 && *scale > told_apart
}

fn decimal_may_exceed_integer(from: &DataType, to: &DataType) -> bool {
    match (from, integer_range(to)) {
        (DataType::Decimal128(precision, scale), Some((low, high))) => {
            let whole_digits = (i16::from(*precision) - i16::from(*scale)).max(0);
            let greatest = 10_i128.pow(whole_digits as u32) - 1;
            -greatest < low || greatest > high
        }
        _ => true,
    }
}

fn decimal_may_exceed_decimal(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Decimal128(from_p, from_s), DataType::Decimal128(to_p, to_s)) => {
            // Dropping digits may round up into one more: 9.9 becomes 10.
            let carry = i16::from(to_s < from_s);
            let from_whole = i16::from(*from_p) - i16::from(*from_s);
            let to_whole = i16::from(*to_p) - i16::from(*to_s);
            from_whole + carry > to_whole
        }
        _ => true,
    }
}
