//! One type for operands that stand beside each other.

use arrow_schema::DataType;

use super::Checker;
use super::adapt::{self, Fit};
use super::casts::cast_row;
use super::common::{common, keeps_every_value};
use super::expr::{Operand, Side, constant};
use super::types::{
    is_float, is_integer, is_number, is_temporal, is_timestamp, is_unsigned, is_utc, utc_of,
};
use crate::calendar;
use crate::display::Brief;
use crate::error::{ExprError, ExprErrorKind};
use crate::semantics::{Dialect, OnError};
use crate::tree::{Expr, Kind, Value};
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
        let fit = match self.has_engine_types() {
            true => adapt::fit_rounded(value, to),
            false => adapt::fit(value, to),
        };
        match fit {
            Fit::Exact(imm) => Ok(constant(to.clone(), imm, source.span)),
            Fit::Needs(_) => Err(no_room(source, to)),
            Fit::Never(why) => Err(misfit(why, value, to).at(source.span)),
        }
    }

    /// An operand cast to the type in which it meets the others.
    pub(super) fn widen(
        &mut self,
        typed: Typed,
        to: &DataType,
        source: &Expr,
    ) -> Result<Typed, ExprError> {
        if typed.data_type == *to {
            return Ok(typed);
        }
        if let Node::Literal(literal) = &typed.node
            && let Fit::Exact(imm) = adapt::fit_literal(literal, to)
        {
            return Ok(constant(to.clone(), imm, typed.span));
        }
        let from = &typed.data_type;
        let shown = Brief(source);
        self.note(match keeps_every_value(to, from) {
            true => format!("`{shown}` is widened from {from} to {to}"),
            false => format!("`{shown}` is cast from {from} to {to}, which rounds"),
        });
        self.cast(typed, to, OnError::Trap, source)
    }

    /// The type that all operands can have.
    fn target(&self, operands: &[Operand<'q>], purpose: Purpose) -> Result<DataType, ExprError> {
        match self.target_of_numbers(operands, purpose)? {
            Some(target) => Ok(target),
            None => self.lossless_target(operands, purpose),
        }
    }

    /// The type that all operands have without loss, constants giving way to columns.
    fn lossless_target(
        &self,
        operands: &[Operand<'q>],
        purpose: Purpose,
    ) -> Result<DataType, ExprError> {
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
                    let both = common(&so_far, &typed.data_type, purpose, self.semantics.coercion)
                        .ok_or_else(|| {
                            mismatch(
                                (source, &so_far),
                                (operand.source, &typed.data_type),
                                (purpose, self.semantics.dialect),
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
                    target = common(&target, &needed, purpose, self.semantics.coercion)
                        .ok_or_else(|| {
                            mismatch(
                                (anchor, &target),
                                (operand.source, &needed),
                                (purpose, self.semantics.dialect),
                            )
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
            let Some(own) = adapt::own_type(value, self.semantics.coercion) else {
                continue;
            };
            let is_number = |data_type: &DataType| *data_type == DataType::Float64;
            target = Some(match target {
                None => own,
                Some(so_far) if so_far == own => own,
                Some(so_far) if is_number(&so_far) && is_integer(&own) => so_far,
                Some(so_far) if is_number(&own) && is_integer(&so_far) => own,
                Some(so_far) => common(&so_far, &own, Purpose::Compare, self.semantics.coercion)
                    .ok_or_else(|| {
                        mismatch(
                            (operands[0].source, &so_far),
                            (operand.source, &own),
                            (Purpose::Compare, self.semantics.dialect),
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

fn no_room(source: &Expr, to: &DataType) -> ExprError {
    let message = format!("{} is no value of {to}", Brief(source));
    ExprError::new(ExprErrorKind::Type, message).at(source.span)
}

/// An error about a constant of another kind than what stands beside it.
pub(super) fn misfit(why: String, value: &Value, beside: &DataType) -> ExprError {
    let error = ExprError::new(ExprErrorKind::Type, why);
    match value {
        Value::Text(text) if is_number(beside) && text.trim().parse::<f64>().is_ok() => {
            error.with_help("a number is written without quotes")
        }
        Value::Integer(_) | Value::Number(_) => match beside {
            DataType::Boolean => {
                error.with_help("write TRUE or FALSE, or cast the other side to int")
            }
            DataType::Date32 | DataType::Date64 => {
                error.with_help("a date is written '2020-12-31'")
            }
            DataType::Timestamp(_, Some(zone)) if !is_utc(zone) => {
                error.with_help("a timestamp is written '2020-12-31 23:59:59+01:00'")
            }
            DataType::Timestamp(..) => {
                error.with_help("a timestamp is written '2020-12-31 23:59:59'")
            }
            _ => error,
        },
        _ => error,
    }
}

/// An error about two types with nothing in common, and what would help under these rules.
pub(super) fn mismatch(
    (left, left_type): (&Expr, &DataType),
    (right, right_type): (&Expr, &DataType),
    (purpose, dialect): (Purpose, Dialect),
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
            "`{}` ({left_type}) and `{}` ({right_type}) cannot be {} without a cast",
            Brief(left),
            Brief(right),
            purpose.verb()
        ),
    )
    .at(span);
    let (left, right) = ((left, left_type), (right, right_type));
    match help_with_zone(left, right, dialect).or_else(|| cast_that_fits(left, right, dialect)) {
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// What to write where one side has a zone other than UTC and the other side is a day, or a time
/// without zone or with another.
fn help_with_zone(
    left: (&Expr, &DataType),
    right: (&Expr, &DataType),
    dialect: Dialect,
) -> Option<String> {
    let (zoned, other) = match (utc_of(left.1), utc_of(right.1)) {
        (Some(utc), _) => ((left, utc), right),
        (None, Some(utc)) => ((right, utc), left),
        (None, None) => return None,
    };
    if !is_temporal(other.1) {
        return None;
    }
    if let Kind::Cast { arg, .. } = &other.0.kind
        && let Kind::Literal(Value::Text(text)) = &arg.kind
        && let Some(moment) = calendar::parse_moment(text)
        && !moment.has_offset
    {
        let clock = match calendar::parse_date(text) {
            Some(_) => " 00:00:00",
            None => "",
        };
        return Some(format!(
            "write the text alone, with its offset from UTC: '{}{clock}Z', or +01:00 in place of Z",
            text.trim()
        ));
    }
    let ((source, data_type), utc) = zoned;
    let written = |(source, data_type): (&Expr, &DataType), to: &DataType| {
        let castable = cast_row(data_type, to, dialect).is_some();
        castable.then(|| format!("cast({} as {})", Brief(source), TypeName(to)))
    };
    let in_utc = written((source, data_type), &utc)?;
    match other.1 {
        DataType::Timestamp(_, Some(zone)) if is_utc(zone) => Some(format!("write {in_utc}")),
        DataType::Timestamp(_, Some(_)) => {
            Some(format!("write {in_utc} and {}", written(other, &utc)?))
        }
        _ => Some(format!(
            "write {in_utc} and, if `{}` is in UTC, {}",
            Brief(other.0),
            written(other, &utc)?
        )),
    }
}

fn cast_that_fits(
    left: (&Expr, &DataType),
    right: (&Expr, &DataType),
    dialect: Dialect,
) -> Option<String> {
    let write =
        |source: &Expr, to: &DataType| format!("write cast({} as {})", Brief(source), TypeName(to));
    let castable = |from: &DataType, to: &DataType| cast_row(from, to, dialect).is_some();
    for ((source, data_type), (_, other)) in [(left, right), (right, left)] {
        if is_number(data_type) && !is_float(data_type) && is_float(other) {
            return Some(format!(
                "{}, which rounds",
                write(source, &DataType::Float64)
            ));
        }
        if *data_type == DataType::Boolean && (is_integer(other) || is_float(other)) {
            return Some(write(source, other));
        }
        if is_timestamp(other)
            && matches!(data_type, DataType::Date32 | DataType::Date64)
            && castable(data_type, other)
        {
            return Some(write(source, other));
        }
        if is_timestamp(data_type)
            && is_timestamp(other)
            && super::types::units_per_second(data_type) <= super::types::units_per_second(other)
            && castable(data_type, other)
        {
            return Some(write(source, other));
        }
        if is_unsigned(data_type) && is_integer(other) && !is_unsigned(other) {
            return Some(format!("{}, if it fits", write(source, &DataType::Int64)));
        }
    }
    let are_timestamps = is_timestamp(left.1) && is_timestamp(right.1);
    (are_timestamps && dialect == Dialect::Spark)
        .then(|| "the Spark rules cast timestamps of microseconds only, timestamp(6)".to_owned())
}
