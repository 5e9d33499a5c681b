//! One type for operands that stand beside each other.

use arrow_schema::DataType;

use super::Checker;
use super::adapt::{self, Fit};
use super::expr::{Operand, Side, constant};
use super::types::{
    integer_digits, integer_range, is_float, is_integer, is_timestamp, is_unsigned,
};
use crate::error::{ExprError, ExprErrorKind};
use crate::semantics::OnError;
use crate::tree::{Expr, Value};
use crate::type_name::TypeName;
use crate::typed::{Node, Typed};

/// What operands are to have one type for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The type is no part of the result: any that holds every value of both serves.
    Compare,
    Arithmetic,
    /// The type is the result's: `CASE`, `COALESCE`.
    Choose,
}

impl Purpose {
    fn verb(self) -> &'static str {
        match self {
            Purpose::Compare => "compared",
            Purpose::Arithmetic => "computed",
            Purpose::Choose => "put into one column",
        }
    }
}

impl<'q> Checker<'q> {
    /// The operands with one type: constants fitted, others widened where that keeps every value.
    pub(super) fn unify(
        &mut self,
        operands: Vec<Operand<'q>>,
        purpose: Purpose,
    ) -> Result<Vec<Typed>, ExprError> {
        let target = self.target(&operands, purpose)?;
        operands
            .into_iter()
            .map(|operand| match operand.side {
                Side::Free(_) => self.free_as(operand, &target),
                Side::Typed(typed) => self.widen(typed, &target, operand.source),
            })
            .collect()
    }

    /// A constant as a type that it fits.
    pub(super) fn free_as(
        &mut self,
        operand: Operand<'q>,
        to: &DataType,
    ) -> Result<Typed, ExprError> {
        let source = operand.source;
        let Side::Free(value) = operand.side else {
            return self.settle(operand);
        };
        match adapt::fit(value, to) {
            Fit::Exact(imm) => Ok(constant(to.clone(), imm, source.span)),
            Fit::Needs(_) => Err(no_room(source, to)),
            Fit::Never(why) => Err(misfit(why, value, to).at(source.span)),
        }
    }

    fn widen(&mut self, typed: Typed, to: &DataType, source: &Expr) -> Result<Typed, ExprError> {
        if typed.data_type == *to {
            return Ok(typed);
        }
        if let Node::Literal(literal) = &typed.node
            && let Fit::Exact(imm) = adapt::fit_literal(literal, to)
        {
            return Ok(constant(to.clone(), imm, typed.span));
        }
        self.note(format!(
            "`{source}` is widened from {} to {to}",
            typed.data_type
        ));
        self.cast(typed, to, OnError::Trap, source)
    }

    /// The type that all operands can have.
    fn target(&self, operands: &[Operand<'q>], purpose: Purpose) -> Result<DataType, ExprError> {
        // A constant with a type of its own gives way in a comparison, as one without does.
        let is_soft = |operand: &Operand<'_>| match &operand.side {
            Side::Free(_) => true,
            Side::Typed(typed) => {
                purpose == Purpose::Compare && matches!(typed.node, Node::Literal(_))
            }
        };
        let any_firm = operands.iter().any(|operand| !is_soft(operand));
        let mut target: Option<(DataType, &Expr)> = None;
        for operand in operands {
            let Side::Typed(typed) = &operand.side else {
                continue;
            };
            if any_firm && is_soft(operand) {
                continue;
            }
            target = Some(match target {
                None => (typed.data_type.clone(), operand.source),
                Some((so_far, source)) if so_far == typed.data_type => (so_far, source),
                Some((so_far, source)) => {
                    let both = common(&so_far, &typed.data_type, purpose).ok_or_else(|| {
                        mismatch(
                            (source, &so_far),
                            (operand.source, &typed.data_type),
                            purpose,
                        )
                    })?;
                    (both, operand.source)
                }
            });
        }
        let (mut target, anchor) = match target {
            Some(target) => target,
            None => return self.target_of_constants(operands),
        };
        for operand in operands.iter().filter(|operand| is_soft(operand)) {
            let fit = match &operand.side {
                Side::Free(value) => match adapt::fit(value, &target) {
                    Fit::Never(why) => {
                        return Err(misfit(why, value, &target).at(operand.source.span));
                    }
                    fit => fit,
                },
                Side::Typed(typed) => match &typed.node {
                    Node::Literal(literal) => adapt::fit_literal(literal, &target),
                    _ => continue,
                },
            };
            match fit {
                Fit::Exact(_) => {}
                Fit::Needs(needed) => {
                    target = common(&target, &needed, purpose).ok_or_else(|| {
                        mismatch((anchor, &target), (operand.source, &needed), purpose)
                    })?;
                }
                Fit::Never(why) => {
                    return Err(ExprError::new(ExprErrorKind::Type, why).at(operand.source.span));
                }
            }
        }
        Ok(target)
    }

    /// The type of constants among themselves.
    fn target_of_constants(&self, operands: &[Operand<'q>]) -> Result<DataType, ExprError> {
        let mut target: Option<DataType> = None;
        for operand in operands {
            let Side::Free(value) = operand.side else {
                continue;
            };
            let Some(own) = adapt::own_type(value, self.semantics.dialect) else {
                continue;
            };
            let is_number = |data_type: &DataType| *data_type == DataType::Float64;
            target = Some(match target {
                None => own,
                Some(so_far) if so_far == own => own,
                Some(so_far) if is_number(&so_far) && is_integer(&own) => so_far,
                Some(so_far) if is_number(&own) && is_integer(&so_far) => own,
                Some(so_far) => common(&so_far, &own, Purpose::Compare).ok_or_else(|| {
                    mismatch(
                        (operands[0].source, &so_far),
                        (operand.source, &own),
                        Purpose::Compare,
                    )
                })?,
            });
        }
        let source = operands[0].source;
        target.ok_or_else(|| {
            let is_text = operands
                .iter()
                .any(|operand| matches!(operand.side, Side::Free(Value::Text(_))));
            let error = if is_text {
                ExprError::new(ExprErrorKind::Type, "text is not computed with yet").with_help(
                    "text stands for a date or timestamp beside one, or in a cast: \
                     date '2020-12-31'",
                )
            } else {
                ExprError::new(ExprErrorKind::Type, "NULL has no type here")
                    .with_help("write cast(NULL as bigint)")
            };
            error.at(source.span)
        })
    }
}

/// The narrowest type that holds every value of both, if there is one.
pub(super) fn common(left: &DataType, right: &DataType, purpose: Purpose) -> Option<DataType> {
    use DataType::*;
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (left, right) if is_integer(left) && is_integer(right) => {
            common_integer(left, right, purpose)
        }
        (Float32, Float64) | (Float64, Float32) => Some(Float64),
        (integer, float) | (float, integer) if is_integer(integer) && is_float(float) => {
            match (integer, float) {
                (Int8 | Int16 | UInt8 | UInt16, Float32) => Some(Float32),
                (Int64 | UInt64, _) => None,
                _ => Some(Float64),
            }
        }
        (Decimal128(..), Decimal128(..)) if purpose != Purpose::Arithmetic => {
            common_decimal(left, right)
        }
        (integer, decimal @ Decimal128(..)) | (decimal @ Decimal128(..), integer)
            if purpose != Purpose::Arithmetic =>
        {
            common_decimal(&Decimal128(integer_digits(integer)?, 0), decimal)
        }
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        _ => None,
    }
}

fn common_integer(left: &DataType, right: &DataType, purpose: Purpose) -> Option<DataType> {
    use DataType::*;
    let (left_low, left_high) = integer_range(left)?;
    let (right_low, right_high) = integer_range(right)?;
    let (low, high) = (left_low.min(right_low), left_high.max(right_high));
    let candidates: &[DataType] = if is_unsigned(left) && is_unsigned(right) {
        &[UInt8, UInt16, UInt32, UInt64]
    } else {
        &[Int8, Int16, Int32, Int64]
    };
    let holds = |data_type: &&DataType| {
        integer_range(data_type).is_some_and(|(least, most)| least <= low && high <= most)
    };
    match candidates.iter().find(holds) {
        Some(data_type) => Some(data_type.clone()),
        None if purpose == Purpose::Compare => Some(Decimal128(20, 0)),
        None => None,
    }
}

fn common_decimal(left: &DataType, right: &DataType) -> Option<DataType> {
    match (left, right) {
        (
            &DataType::Decimal128(left_precision, left_scale @ 0..),
            &DataType::Decimal128(right_precision, right_scale @ 0..),
        ) => {
            let whole =
                (left_precision as i8 - left_scale).max(right_precision as i8 - right_scale);
            let scale = left_scale.max(right_scale);
            let precision = whole + scale;
            (precision <= 38).then_some(DataType::Decimal128(precision as u8, scale))
        }
        _ => None,
    }
}

fn no_room(source: &Expr, to: &DataType) -> ExprError {
    ExprError::new(ExprErrorKind::Type, format!("{source} is no value of {to}")).at(source.span)
}

/// An error about a constant of another kind than what stands beside it.
pub(super) fn misfit(why: String, value: &Value, beside: &DataType) -> ExprError {
    let error = ExprError::new(ExprErrorKind::Type, why);
    let is_number = is_integer(beside) || is_float(beside);
    match value {
        Value::Text(_) if is_number || matches!(beside, DataType::Decimal128(..)) => {
            error.with_help("a number is written without quotes")
        }
        Value::Integer(_) | Value::Number(_) => match beside {
            DataType::Boolean => {
                error.with_help("write TRUE or FALSE, or cast the other side to int")
            }
            DataType::Date32 | DataType::Date64 => {
                error.with_help("a date is written '2020-12-31'")
            }
            DataType::Timestamp(..) => {
                error.with_help("a timestamp is written '2020-12-31 23:59:59'")
            }
            _ => error,
        },
        _ => error,
    }
}

/// An error about two types with nothing in common, and the cast that would help.
fn mismatch(
    (left, left_type): (&Expr, &DataType),
    (right, right_type): (&Expr, &DataType),
    purpose: Purpose,
) -> ExprError {
    let span = match (left.span, right.span) {
        (Some(left), Some(right)) => Some(crate::error::Span {
            start: left.start.min(right.start),
            end: left.end.max(right.end),
        }),
        (left, right) => left.or(right),
    };
    let error = ExprError::new(
        ExprErrorKind::Type,
        format!(
            "`{left}` ({left_type}) and `{right}` ({right_type}) cannot be {} without a cast",
            purpose.verb()
        ),
    )
    .at(span);
    match cast_that_fits((left, left_type), (right, right_type)) {
        Some(help) => error.with_help(help),
        None => error,
    }
}

fn cast_that_fits(left: (&Expr, &DataType), right: (&Expr, &DataType)) -> Option<String> {
    let write = |source: &Expr, to: &DataType| format!("write cast({source} as {})", TypeName(to));
    for ((source, data_type), (_, other)) in [(left, right), (right, left)] {
        let is_number = |data_type: &DataType| {
            is_integer(data_type) || matches!(data_type, DataType::Decimal128(..))
        };
        if is_number(data_type) && is_float(other) {
            return Some(format!(
                "{}, which rounds",
                write(source, &DataType::Float64)
            ));
        }
        if *data_type == DataType::Boolean && (is_integer(other) || is_float(other)) {
            return Some(write(source, other));
        }
        if is_timestamp(other) && matches!(data_type, DataType::Date32 | DataType::Date64) {
            return Some(write(source, other));
        }
        if is_timestamp(data_type)
            && is_timestamp(other)
            && super::types::units_per_second(data_type) <= super::types::units_per_second(other)
        {
            return Some(write(source, other));
        }
        if is_unsigned(data_type) && is_integer(other) && !is_unsigned(other) {
            return Some(format!("{}, if it fits", write(source, &DataType::Int64)));
        }
    }
    None
}
