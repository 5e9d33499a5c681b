//! Dates and times beyond the years of Arrow's calendar.

use std::fmt::Write;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_schema::{DataType, TimeUnit};

const SECONDS_PER_DAY: i64 = 86_400;

/// Appends a date or a time; `false` of any other type.
pub(super) fn write(array: &dyn Array, row: usize, text: &mut String) -> bool {
    let written = match array.data_type() {
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Date64 => moment(
            array.as_primitive::<Date64Type>().value(row),
            TimeUnit::Millisecond,
        ),
        DataType::Timestamp(unit, zone) => {
            let value = match unit {
                TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row),
                TimeUnit::Millisecond => {
                    array.as_primitive::<TimestampMillisecondType>().value(row)
                }
                TimeUnit::Microsecond => {
                    array.as_primitive::<TimestampMicrosecondType>().value(row)
                }
                TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
            };
            let zone = if zone.is_some() { "Z" } else { "" };
            moment(value, *unit) + zone
        }
        DataType::Time32(unit) => {
            let value = match unit {
                TimeUnit::Second => array.as_primitive::<Time32SecondType>().value(row),
                _ => array.as_primitive::<Time32MillisecondType>().value(row),
            };
            time_of_day(value.into(), *unit)
        }
        DataType::Time64(unit) => {
            let value = match unit {
                TimeUnit::Microsecond => array.as_primitive::<Time64MicrosecondType>().value(row),
                _ => array.as_primitive::<Time64NanosecondType>().value(row),
            };
            time_of_day(value, *unit)
        }
        _ => return false,
    };
    text.push_str(&written);
    true
}

/// A day by its distance from 1970-01-01, with a sign as ISO 8601 has it for years of more than four
/// digits.
///
/// The formula is Howard Hinnant's `civil_from_days`: cycles of 400 years have 146,097 days, and a
/// year that begins in March has its leap day at the end.
pub(super) fn date(days: i64) -> String {
    let days = days + 719_468; // from 0000-03-01
    let cycle = days.div_euclid(146_097);
    let of_cycle = days.rem_euclid(146_097);
    let year_of_cycle =
        (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    let sign = match year {
        ..0 => "-",
        0..=9999 => "",
        _ => "+",
    };
    format!("{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs())
}

fn moment(value: i64, unit: TimeUnit) -> String {
    let per_day = SECONDS_PER_DAY * per_second(unit);
    let day = date(value.div_euclid(per_day));
    format!("{day}T{}", time_of_day(value.rem_euclid(per_day), unit))
}

fn time_of_day(value: i64, unit: TimeUnit) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let per_second = per_second(unit) as u64;
    let (seconds, fraction) = (
        value.unsigned_abs() / per_second,
        value.unsigned_abs() % per_second,
    );
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = format!("{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if fraction != 0 {
        let digits = per_second.ilog10() as usize;
        write!(text, ".{fraction:0digits$}").expect("a String takes any text");
    }
    text
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_calendar() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+10000-01-01"),
        ] {
            assert_eq!(date(days), text);
        }
        assert_eq!(
            moment(-1, TimeUnit::Nanosecond),
            "1969-12-31T23:59:59.999999999"
        );
    }
}
