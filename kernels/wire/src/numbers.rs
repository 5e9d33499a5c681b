//! The numbers of choices. Each is given once and never again.

use std::fmt;

use arrow_schema::{IntervalUnit, TimeUnit, UnionMode};
use unlade_expr::tree::BinaryOp;
use unlade_expr::{ArithmeticOp, Coercion, Dialect, FloatZeroDivision, IsTest, OnError};
use unlade_program::{CompareOp, FloatOrder};

use crate::cbor::{Item, Reader, Writer};
use crate::error::WireError;

/// A choice, by its number: the place in the list.
pub(crate) trait Choice: Copy + PartialEq + fmt::Debug + 'static {
    /// What is chosen, for errors.
    const WHAT: &'static str;

    const ALL: &'static [Self];
}

impl<T: Choice> Item for T {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        let number = T::ALL.iter().position(|each| each == self);
        let number = number.ok_or_else(|| {
            WireError::NotEncodable(format!(
                "this version of the format has no number for {self:?} among {}s",
                T::WHAT
            ))
        })?;
        to.number(number as u64)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let number = from.number()?;
        let known = usize::try_from(number).ok().and_then(|at| T::ALL.get(at));
        known
            .copied()
            .ok_or_else(|| from.malformed(format!("no {} has number {number}", T::WHAT)))
    }
}

macro_rules! choices {
    ($($ty:ty, $what:literal: $($variant:expr),+;)*) => {$(
        impl Choice for $ty {
            const WHAT: &'static str = $what;
            const ALL: &'static [Self] = &[$($variant),+];
        }
    )*};
}

choices! {
    BinaryOp, "operator":
        BinaryOp::Arithmetic(ArithmeticOp::Add),
        BinaryOp::Arithmetic(ArithmeticOp::Sub),
        BinaryOp::Arithmetic(ArithmeticOp::Mul),
        BinaryOp::Arithmetic(ArithmeticOp::Div),
        BinaryOp::Arithmetic(ArithmeticOp::Rem),
        BinaryOp::IntegerDivide,
        BinaryOp::Compare(CompareOp::Eq),
        BinaryOp::Compare(CompareOp::Ne),
        BinaryOp::Compare(CompareOp::Lt),
        BinaryOp::Compare(CompareOp::Le),
        BinaryOp::Compare(CompareOp::Gt),
        BinaryOp::Compare(CompareOp::Ge),
        BinaryOp::Distinct,
        BinaryOp::NotDistinct;
    IsTest, "test": IsTest::Null, IsTest::True, IsTest::False;
    Dialect, "dialect": Dialect::Arrow, Dialect::Spark;
    Coercion, "coercion":
        Coercion::Lossless, Coercion::DataFusion, Coercion::SparkLegacy, Coercion::SparkAnsi;
    OnError, "failure mode": OnError::Trap, OnError::Null, OnError::Wrap;
    FloatZeroDivision, "division of floats by zero":
        FloatZeroDivision::Ieee, FloatZeroDivision::Null, FloatZeroDivision::Trap;
    FloatOrder, "order of floats": FloatOrder::Ieee, FloatOrder::Total, FloatOrder::Spark;
    TimeUnit, "unit of time":
        TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond;
    IntervalUnit, "unit of intervals":
        IntervalUnit::YearMonth, IntervalUnit::DayTime, IntervalUnit::MonthDayNano;
    UnionMode, "mode of unions": UnionMode::Sparse, UnionMode::Dense;
}
