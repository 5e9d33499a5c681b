//! Which casts there are, and what each computes: the one place that the check, lowering, the
//! oracle and the tests read it from.

mod table;

use arrow_schema::{DataType, TimeUnit};

pub use self::table::CASTS;
use super::types::{is_decimal, is_float, is_timestamp, is_unsigned};
use crate::semantics::{Dialect, OnError};

/// A row of the table of casts.
#[derive(Clone, Copy, Debug)]
pub struct CastRow {
    /// Source types, in words.
    pub from: &'static str,
    /// Target types, in words.
    pub to: &'static str,
    /// Under whose rules the row holds.
    pub dialects: &'static [Dialect],
    /// The modes it has where it can fail. Where it cannot, every mode is accepted and all mean
    /// the same.
    pub modes: &'static [OnError],
    /// What is computed, and what fails.
    pub computes: &'static str,
    applies: fn(&DataType, &DataType) -> bool,
    may_fail: fn(&DataType, &DataType) -> bool,
}

/// The row for a pair of types, if they can be cast under these rules in some mode.
pub fn cast_row(from: &DataType, to: &DataType, dialect: Dialect) -> Option<&'static CastRow> {
    if from == to || (dialect == Dialect::Spark && (is_unsigned(from) || is_unsigned(to))) {
        return None;
    }
    CASTS
        .iter()
        .find(|row| row.dialects.contains(&dialect) && (row.applies)(from, to))
}

/// Whether there is a cast between two different types in this mode under these rules.
///
/// ```
/// use arrow_schema::DataType;
/// use unlade_expr::{Dialect, OnError, can_cast};
///
/// let (from, to) = (DataType::Int64, DataType::Int32);
/// assert!(can_cast(&from, &to, OnError::Wrap, Dialect::Spark));
/// assert!(!can_cast(&from, &to, OnError::Wrap, Dialect::Arrow));
/// ```
pub fn can_cast(from: &DataType, to: &DataType, mode: OnError, dialect: Dialect) -> bool {
    cast_row(from, to, dialect).is_some_and(|row| row.allows(from, to, mode))
}

/// Whether a cast of these types makes a null of a value that is none.
pub fn cast_makes_nulls(from: &DataType, to: &DataType, mode: OnError, dialect: Dialect) -> bool {
    let Some(row) = cast_row(from, to, dialect) else {
        return false;
    };
    // Spark has no error for a NaN that becomes a decimal.
    let nan_is_null = dialect == Dialect::Spark && is_float(from) && is_decimal(to);
    let nulls = match mode {
        OnError::Trap => nan_is_null,
        OnError::Null => true,
        OnError::Wrap => is_decimal(to) || is_timestamp(from),
    };
    nulls && row.may_fail(from, to)
}

/// Types that expressions compute with: every one without parameters, timestamps without zone
/// and in UTC, and decimals of a few shapes. For tests and tables to iterate over.
pub fn computable_types() -> Vec<DataType> {
    use DataType::*;
    let mut types = vec![
        Boolean, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float32, Float64,
        Date32, Date64,
    ];
    for unit in [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ] {
        types.push(Timestamp(unit, None));
        types.push(Timestamp(unit, Some("UTC".into())));
    }
    for (precision, scale) in [
        (5, 0),
        (7, 2),
        (12, 2),
        (15, 6),
        (18, 18),
        (38, 0),
        (38, 10),
    ] {
        types.push(Decimal128(precision, scale));
    }
    types
}

impl CastRow {
    /// Whether some value of the source has no counterpart in the target. The row must be that
    /// of the pair.
    pub fn may_fail(&self, from: &DataType, to: &DataType) -> bool {
        debug_assert!((self.applies)(from, to), "{from} to {to} is another row");
        (self.may_fail)(from, to)
    }

    /// Whether it casts values of a type, or to it.
    pub fn concerns(&self, data_type: &DataType) -> bool {
        computable_types().iter().any(|other| {
            other != data_type
                && ((self.applies)(data_type, other) || (self.applies)(other, data_type))
        })
    }

    /// Whether the pair may be cast in this mode. The row must be that of the pair.
    pub fn allows(&self, from: &DataType, to: &DataType, mode: OnError) -> bool {
        self.modes.contains(&mode) || !self.may_fail(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_row_applies() {
        let types = computable_types();
        for from in &types {
            for to in types.iter().filter(|to| *to != from) {
                for dialect in [Dialect::Arrow, Dialect::Spark] {
                    let rows = CASTS
                        .iter()
                        .filter(|row| row.dialects.contains(&dialect) && (row.applies)(from, to))
                        .count();
                    assert!(rows <= 1, "{from} to {to} under {dialect:?}: {rows} rows");
                }
            }
        }
    }

    #[test]
    fn every_row_is_reached() {
        let types = computable_types();
        for row in CASTS {
            let reached = types.iter().any(|from| {
                types.iter().any(|to| {
                    from != to
                        && row.dialects.iter().any(|&dialect| {
                            cast_row(from, to, dialect).is_some_and(|r| r.computes == row.computes)
                        })
                })
            });
            assert!(reached, "{} to {}", row.from, row.to);
        }
    }

    #[test]
    fn failure_is_known_from_the_types() {
        let fails = |from, to| cast_row(&from, &to, Dialect::Arrow).map(|r| r.may_fail(&from, &to));
        use DataType::*;
        assert_eq!(fails(Int32, Int64), Some(false));
        assert_eq!(fails(UInt32, Int32), Some(true));
        assert_eq!(fails(UInt32, Int64), Some(false));
        assert_eq!(fails(Int64, UInt64), Some(true));
        assert_eq!(fails(Int8, Decimal128(5, 2)), Some(false));
        assert_eq!(fails(Int8, Decimal128(4, 2)), Some(true));
        assert_eq!(fails(Decimal128(4, 2), Int8), Some(false));
        assert_eq!(fails(Decimal128(5, 2), Int8), Some(true));
        assert_eq!(fails(Decimal128(4, 2), Decimal128(3, 1)), Some(true));
        assert_eq!(fails(Decimal128(4, 2), Decimal128(4, 1)), Some(false));
        assert_eq!(fails(Decimal128(4, 2), Decimal128(6, 4)), Some(false));
        assert_eq!(fails(Int32, Utf8), None);
    }

    #[test]
    fn spark_has_no_unsigned_types() {
        assert!(!can_cast(
            &DataType::UInt8,
            &DataType::Int32,
            OnError::Trap,
            Dialect::Spark
        ));
    }
}
