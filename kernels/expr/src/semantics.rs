//! What an expression means where engines differ.
//!
//! A set of rules is chosen once, when a tree is checked; the check writes every choice into the
//! nodes of the typed tree, so that nothing later has an opinion.

use std::fmt;
use std::str::FromStr;

/// What happens to a row on which an operation has no result in its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnError {
    /// The batch fails, naming the row.
    Trap,
    /// The row becomes null.
    Null,
    /// Integers keep their low bits; float to integer saturates as Java does.
    Wrap,
}

/// What dividing a float by zero gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatZeroDivision {
    /// Infinity or NaN, as IEEE 754 says.
    Ieee,
    /// Null.
    Null,
    /// An error.
    Trap,
}

/// The engine whose rules hold where two engines differ by more than a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// arrow-rs and what is built on it.
    Arrow,
    /// Apache Spark.
    Spark,
}

/// How operands of two types, constants among them, come to one type.
///
/// What it gives where the two types and the constants agree on one is the same under all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coercion {
    /// A constant takes the type of what stands beside it where that holds its value, as it is;
    /// two columns meet in the narrowest type that holds every value of both, or not at all.
    /// arrow-rs computes on two arrays of one type and so has no rule of its own.
    Lossless,
    /// DataFusion 55: a whole number is an `Int64`, one with a point a `Float64`. Integers beside
    /// floats become that float, rounded.
    DataFusion,
    /// Spark with `spark.sql.ansi.enabled=false`: a whole number is an `INT`, or else a `BIGINT`
    /// or a `DECIMAL`; one with a point is a `DECIMAL`, one with an exponent a `DOUBLE`. Integers
    /// beside a `FLOAT` become one, rounded.
    SparkLegacy,
    /// Spark 4 as it comes: the same constants, but an integer and a `FLOAT` meet in `DOUBLE`.
    SparkAnsi,
}

/// A set of rules.
///
/// ```
/// use unlade_expr::{OnError, Semantics};
///
/// let wrapping = Semantics::arrow().with_overflow(OnError::Wrap);
/// assert_eq!(wrapping.overflow, OnError::Wrap);
/// assert_eq!("spark-ansi".parse::<Semantics>(), Ok(Semantics::spark_ansi()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Semantics {
    /// Whose rules hold beyond the modes below.
    pub dialect: Dialect,
    /// Which type constants have, and two operands get.
    pub coercion: Coercion,
    /// Integer `+ - *`, negation, absolute value and `MIN / -1`; the last traps under the Arrow
    /// dialect where this is [`OnError::Wrap`], for arrow-rs has no division that wraps.
    pub overflow: OnError,
    /// Values that a cast's target cannot hold.
    pub cast: OnError,
    /// Integer division and remainder by zero: trap or null, never wrap.
    pub divide_by_zero: OnError,
    /// Float division and remainder by zero.
    pub float_divide_by_zero: FloatZeroDivision,
    /// How floats compare.
    pub float_order: unlade_program::FloatOrder,
}

impl Semantics {
    /// arrow-rs 59: checked arithmetic, checked casts, floats in total order.
    pub const fn arrow() -> Self {
        Semantics {
            dialect: Dialect::Arrow,
            coercion: Coercion::Lossless,
            overflow: OnError::Trap,
            cast: OnError::Trap,
            divide_by_zero: OnError::Trap,
            float_divide_by_zero: FloatZeroDivision::Ieee,
            float_order: unlade_program::FloatOrder::Total,
        }
    }

    /// What plain DataFusion 55 does: wrapping arithmetic, checked casts, constants of 64 bits.
    pub const fn datafusion() -> Self {
        Semantics {
            coercion: Coercion::DataFusion,
            overflow: OnError::Wrap,
            ..Semantics::arrow()
        }
    }

    /// Spark with `spark.sql.ansi.enabled=false`.
    pub const fn spark_legacy() -> Self {
        Semantics {
            dialect: Dialect::Spark,
            coercion: Coercion::SparkLegacy,
            overflow: OnError::Wrap,
            cast: OnError::Wrap,
            divide_by_zero: OnError::Null,
            float_divide_by_zero: FloatZeroDivision::Null,
            float_order: unlade_program::FloatOrder::Spark,
        }
    }

    /// Spark 4 as it comes, `spark.sql.ansi.enabled=true`.
    pub const fn spark_ansi() -> Self {
        Semantics {
            dialect: Dialect::Spark,
            coercion: Coercion::SparkAnsi,
            overflow: OnError::Trap,
            cast: OnError::Trap,
            divide_by_zero: OnError::Trap,
            float_divide_by_zero: FloatZeroDivision::Trap,
            float_order: unlade_program::FloatOrder::Spark,
        }
    }

    /// The same rules with another overflow mode: trap or wrap.
    pub const fn with_overflow(self, overflow: OnError) -> Self {
        Semantics { overflow, ..self }
    }

    /// The same rules with another cast mode.
    pub const fn with_cast(self, cast: OnError) -> Self {
        Semantics { cast, ..self }
    }

    /// The same rules with another order of floats.
    pub const fn with_float_order(self, float_order: unlade_program::FloatOrder) -> Self {
        Semantics {
            float_order,
            ..self
        }
    }
}

impl Default for Semantics {
    fn default() -> Self {
        Semantics::arrow()
    }
}

/// A name that is none of the sets of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown semantics `{0}`; known are arrow, datafusion, spark-legacy and spark-ansi")]
pub struct UnknownSemantics(pub String);

impl FromStr for Semantics {
    type Err = UnknownSemantics;

    fn from_str(name: &str) -> Result<Self, UnknownSemantics> {
        match name {
            "arrow" => Ok(Semantics::arrow()),
            "datafusion" => Ok(Semantics::datafusion()),
            "spark-legacy" => Ok(Semantics::spark_legacy()),
            "spark-ansi" => Ok(Semantics::spark_ansi()),
            other => Err(UnknownSemantics(other.to_owned())),
        }
    }
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnError::Trap => "trap",
            OnError::Null => "null",
            OnError::Wrap => "wrap",
        })
    }
}
