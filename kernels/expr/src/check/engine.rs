//! The types that an engine's planner gives numbers: constants have one of their own, and operands
//! meet where that engine's do.
//!
//! A comparison does not show in which type it was made. Where a column holds the constants beside
//! it and the meeting gives the same answers, the constants take the column's type, so that
//! `a > 100` costs the same under every set of rules.

use arrow_schema::DataType;

use super::Checker;
use super::adapt::{self, Fit};
use super::common::{common, keeps_every_value};
use super::expr::{Operand, Side};
use super::types::{is_integer, is_number};
use super::unify::{Purpose, mismatch};
use crate::error::ExprError;
use crate::literal::Literal;
use crate::semantics::Coercion;
use crate::tree::Value;
use crate::typed::Node;

impl<'q> Checker<'q> {
    /// Whether constants have types of their own, as an engine's planner gives them.
    pub(super) fn has_engine_types(&self) -> bool {
        self.semantics.coercion != Coercion::Lossless
    }

    /// The type of an operand, if it has one: of a constant that an engine gives it.
    pub(super) fn type_of(&self, operand: &Operand<'q>) -> Option<DataType> {
        match &operand.side {
            Side::Typed(typed) => Some(typed.data_type.clone()),
            Side::Free(value) => adapt::own_type(value, self.semantics.coercion),
        }
    }

    /// The type in which numbers meet, where an engine has rules for it and all are numbers or the
    /// null.
    pub(super) fn target_of_numbers(
        &self,
        operands: &[Operand<'q>],
        purpose: Purpose,
    ) -> Result<Option<DataType>, ExprError> {
        if !self.has_engine_types() {
            return Ok(None);
        }
        let mut meeting: Option<(DataType, &Operand<'q>)> = None;
        for operand in operands {
            let own = match self.type_of(operand) {
                Some(own) if is_number(&own) => own,
                None if matches!(operand.side, Side::Free(Value::Null)) => continue,
                _ => return Ok(None),
            };
            meeting = Some(match meeting {
                None => (own, operand),
                Some((so_far, before)) => {
                    match common(&so_far, &own, purpose, self.semantics.coercion) {
                        Some(both) => (both, operand),
                        None if self.may_fit_instead(purpose) => return Ok(None),
                        None => {
                            let before = (before.source, &so_far);
                            return Err(mismatch(
                                before,
                                (operand.source, &own),
                                (purpose, self.semantics.dialect),
                            ));
                        }
                    }
                }
            });
        }
        let Some((meeting, _)) = meeting else {
            return Ok(None);
        };
        let column = match purpose {
            Purpose::Compare => type_of_columns(operands),
            Purpose::Arithmetic | Purpose::Choose => None,
        };
        Ok(match column {
            Some(column) if all_fit(operands, column, &meeting) => Some(column.clone()),
            _ => Some(meeting),
        })
    }

    /// The type in which a column meets the constants of an `IN` list, where an engine has a rule.
    pub(super) fn meeting_of_list(&self, column: &DataType, list: &[&Value]) -> Option<Meeting> {
        let coercion = self.semantics.coercion;
        if !self.has_engine_types() || !is_number(column) {
            return None;
        }
        let mut meeting = column.clone();
        for value in list {
            match adapt::own_type(value, coercion) {
                Some(own) => meeting = common(&meeting, &own, Purpose::Compare, coercion)?,
                None => continue,
            }
        }
        let shows = !list.iter().all(|value| {
            // What is rounded on the way to the meeting may become a value of the column.
            let is_kept = matches!(adapt::fit(value, &meeting), Fit::Exact(_));
            is_kept && compares_alike(&Constant::of(value), column, &meeting)
        });
        Some(Meeting {
            data_type: meeting,
            shows,
        })
    }

    /// Whether constants may take the type of what stands beside them where the engine's rule has
    /// no answer here: not where the type of a result would then be another than the engine's. A
    /// number with a point that DataFusion would make a float is a decimal beside one.
    fn may_fit_instead(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Compare => true,
            Purpose::Choose => self.semantics.coercion == Coercion::DataFusion,
            Purpose::Arithmetic => false,
        }
    }
}

/// Where the column and the constants of a list meet.
pub(super) struct Meeting {
    pub(super) data_type: DataType,
    /// Whether comparing in the column's own type would give other answers.
    pub(super) shows: bool,
}

/// Whether a constant compares with every value of a type as it does after both were cast to
/// `meeting`. Of a constant that the type does not hold: whether it still equals none of them.
fn compares_alike(constant: &Constant<'_>, column: &DataType, meeting: &DataType) -> bool {
    if constant.is_negative_zero() {
        // Total order tells it from the zero that an integer has.
        return !is_integer(column);
    }
    if keeps_every_value(meeting, column) {
        return true;
    }
    match column {
        // So few digits stay apart as floats.
        DataType::Decimal128(precision, _) => *precision <= 15,
        _ => {
            // Up to here a float has every integer, so that no other is rounded to the constant.
            let exact = match meeting {
                DataType::Float32 => f64::from(1 << 24),
                _ => (1_i64 << 53) as f64,
            };
            constant.as_f64().is_some_and(|value| value.abs() < exact)
        }
    }
}

/// A constant of a comparison, without a type or with one.
enum Constant<'a> {
    Free(&'a Value),
    Typed(&'a Literal),
}

impl<'a> Constant<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Typed(literal) => Constant::Typed(literal),
            value => Constant::Free(value),
        }
    }

    /// What it is as a value of a type.
    fn fit(&self, to: &DataType) -> Fit {
        match self {
            Constant::Free(value) => adapt::fit(value, to),
            Constant::Typed(literal) => adapt::fit_literal(literal, to),
        }
    }

    fn is_negative_zero(&self) -> bool {
        self.as_f64()
            .is_some_and(|value| value == 0.0 && value.is_sign_negative())
    }

    /// Its value, nearly; `None` where it is unknown how large that is.
    fn as_f64(&self) -> Option<f64> {
        match self {
            Constant::Free(Value::Null) => Some(0.0),
            Constant::Free(Value::Integer(value)) => Some(*value as f64),
            Constant::Free(Value::Number(digits)) => digits.parse().ok(),
            Constant::Free(_) => None,
            Constant::Typed(literal) => match (&literal.data_type, literal.value) {
                (_, None) => Some(0.0),
                (DataType::Float32, Some(imm)) => Some(f64::from(imm.as_f32())),
                (DataType::Float64, Some(imm)) => Some(imm.as_f64()),
                (integer, Some(imm)) if is_integer(integer) => Some(imm.as_integer() as f64),
                _ => None,
            },
        }
    }
}

/// The constant that an operand of a comparison is, if it is one.
fn constant_of<'a>(operand: &'a Operand<'_>) -> Option<Constant<'a>> {
    match &operand.side {
        Side::Free(value) => Some(Constant::of(value)),
        Side::Typed(typed) => match &typed.node {
            Node::Literal(literal) => Some(Constant::Typed(literal)),
            _ => None,
        },
    }
}

/// The one type of all operands that are not constants.
fn type_of_columns<'a>(operands: &'a [Operand<'_>]) -> Option<&'a DataType> {
    let mut columns = operands
        .iter()
        .filter(|operand| constant_of(operand).is_none())
        .filter_map(|operand| match &operand.side {
            Side::Typed(typed) => Some(&typed.data_type),
            Side::Free(_) => None,
        });
    let first = columns.next()?;
    columns.all(|other| other == first).then_some(first)
}

fn all_fit(operands: &[Operand<'_>], column: &DataType, meeting: &DataType) -> bool {
    let mut constants = operands.iter().filter_map(constant_of);
    constants.all(|constant| {
        matches!(constant.fit(column), Fit::Exact(_)) && compares_alike(&constant, column, meeting)
    })
}
