//! Dates and times of day as text: the proleptic Gregorian calendar, without leap seconds.

use std::fmt::Write;

use arrow_schema::TimeUnit;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i128 = 86_400;

/// A point in time read from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Nanoseconds since 1970-01-01 00:00:00, in UTC if an offset was given.
    pub(crate) nanos: i128,
    /// Whether the text gave an offset from UTC.
    pub(crate) has_offset: bool,
}

/// Days since 1970-01-01 of `[+|-]YYYY-MM-DD`, if that is a day. Years have four to six digits.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let (days, rest) = date_prefix(text.trim())?;
    rest.is_empty().then_some(days)
}

/// Reads `DATE`, or `DATE(T| )HH:MM[:SS[.fraction]][Z|(+|-)HH[:]MM]`.
pub(crate) fn parse_moment(text: &str) -> Option<Moment> {
    let (days, rest) = date_prefix(text.trim())?;
    let midnight = i128::from(days) * SECONDS_PER_DAY * NANOS_PER_SECOND;
    if rest.is_empty() {
        return Some(Moment {
            nanos: midnight,
            has_offset: false,
        });
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (rest[..at].trim_end(), Some(&rest[at..])),
        None => (rest, None),
    };
    let offset_seconds = match offset {
        None => 0,
        Some("Z" | "z") => 0,
        Some(offset) => parse_offset(offset)?,
    };
    Some(Moment {
        nanos: midnight + clock_nanos(clock)? - offset_seconds * NANOS_PER_SECOND,
        has_offset: offset.is_some(),
    })
}

/// `YYYY-MM-DD` of days since 1970-01-01.
pub(crate) fn format_date(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs())
}

/// `YYYY-MM-DD HH:MM:SS[.fraction]` of units since 1970-01-01 00:00:00.
pub(crate) fn format_timestamp(value: i64, unit: TimeUnit) -> String {
    let (per_second, digits) = match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    };
    let seconds = value.div_euclid(per_second);
    let fraction = value.rem_euclid(per_second);
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY as i64);
    let mut text = format_date(seconds.div_euclid(SECONDS_PER_DAY as i64));
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    write!(text, " {hour:02}:{minute:02}:{second:02}").expect("a String takes any text");
    if fraction != 0 {
        write!(text, ".{fraction:0digits$}").expect("a String takes any text");
    }
    text
}

fn date_prefix(text: &str) -> Option<(i64, &str)> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let year_end = unsigned.find('-').filter(|end| (4..=6).contains(end))?;
    let year = digits(&unsigned[..year_end])?;
    let month = digits(unsigned.get(year_end + 1..year_end + 3)?)?;
    if unsigned.as_bytes().get(year_end + 3) != Some(&b'-') {
        return None;
    }
    let day = digits(unsigned.get(year_end + 4..year_end + 6)?)?;
    let year = if negative { -year } else { year };
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    Some((
        days_from_civil(year, month, day),
        unsigned.get(year_end + 6..)?,
    ))
}

/// Nanoseconds since midnight of `HH:MM[:SS[.fraction]]`.
fn clock_nanos(text: &str) -> Option<i128> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let mut parts = whole.split(':').map(two_digits);
    let hour = parts.next()??;
    let minute = parts.next()??;
    let second = match parts.next() {
        Some(second) => second?,
        None if fraction.is_some() => return None,
        None => 0,
    };
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match fraction {
        None => 0,
        Some(fraction) if (1..=9).contains(&fraction.len()) => {
            digits(fraction)? * 10_i64.pow(9 - fraction.len() as u32)
        }
        Some(_) => return None,
    };
    Some(i128::from(hour * 3600 + minute * 60 + second) * NANOS_PER_SECOND + i128::from(nanos))
}

/// Seconds east of UTC of `(+|-)HH[:]MM` or `(+|-)HH`.
fn parse_offset(text: &str) -> Option<i128> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let hour = two_digits(rest.get(..2)?)?;
    let minute = match rest.get(2..)? {
        "" => 0,
        rest => two_digits(rest.strip_prefix(':').unwrap_or(rest))?,
    };
    (hour <= 23 && minute <= 59).then(|| sign * i128::from(hour * 3600 + minute * 60))
}

fn two_digits(text: &str) -> Option<i64> {
    if text.len() == 2 { digits(text) } else { None }
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const DAYS_PER_ERA: i64 = 146_097; // 400 years
const EPOCH_FROM_MARCH_OF_YEAR_ZERO: i64 = 719_468;

/// Days since 1970-01-01, counting years from March so that a leap day ends its year. After
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH_FROM_MARCH_OF_YEAR_ZERO
}

/// Year, month and day of days since 1970-01-01; the inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_FROM_MARCH_OF_YEAR_ZERO;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("1969-12-31"), Some(-1));
        assert_eq!(parse_date("2000-02-29"), Some(11_016));
        assert_eq!(parse_date("1998-12-01"), Some(10_561));
        assert_eq!(parse_date("1900-02-29"), None);
        assert_eq!(parse_date("2020-13-01"), None);
        assert_eq!(parse_date("2020-1-1"), None);
        assert_eq!(parse_date("2020-01-01x"), None);
        assert_eq!(parse_date("２020-01-01"), None);
    }

    #[test]
    fn days_round_trip() {
        for days in (-1_000_000..1_000_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            if (-99_999..=99_999).contains(&year) {
                assert_eq!(parse_date(&format_date(days)), Some(days));
            }
        }
    }

    #[test]
    fn moments() {
        let nanos = |text| parse_moment(text).map(|moment| moment.nanos);
        assert_eq!(nanos("1970-01-01 00:00:01"), Some(NANOS_PER_SECOND));
        assert_eq!(nanos("1970-01-01T00:00:00.5"), Some(500_000_000));
        assert_eq!(nanos("1970-01-01 01:00+01:00"), Some(0));
        assert_eq!(
            nanos("1970-01-01 01:00:00-0130"),
            Some(9_000 * NANOS_PER_SECOND)
        );
        assert_eq!(nanos("1970-01-02"), Some(86_400 * NANOS_PER_SECOND));
        assert_eq!(nanos("1970-01-01 24:00:00"), None);
        assert_eq!(nanos("1970-01-01 00:00.5"), None);
        assert_eq!(nanos("1970-01-01 00:00:00.1234567890"), None);
        assert!(parse_moment("1970-01-01 00:00:00Z").is_some_and(|moment| moment.has_offset));
        assert!(parse_moment("1970-01-01").is_some_and(|moment| !moment.has_offset));
    }

    #[test]
    fn timestamps_print_and_read_back() {
        for value in [0, 1, -1, 1_600_000_000_123_456, -62_000_000_000_000_001] {
            let text = format_timestamp(value, TimeUnit::Microsecond);
            let moment = parse_moment(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(moment.nanos, i128::from(value) * 1_000, "{text}");
        }
    }
}
