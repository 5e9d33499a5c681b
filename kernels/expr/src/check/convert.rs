//! Typing of casts.

use arrow_schema::DataType;
use unlade_program::Imm;

use super::Checker;
use super::adapt::{self, Fit};
use super::casts::{cast_makes_nulls, cast_row, computable_types};
use super::expr::{Operand, Side, constant};
use super::types::{is_decimal, is_temporal, utc_of};
use crate::display::Brief;
use crate::error::{ExprError, ExprErrorKind};
use crate::literal::Literal;
use crate::semantics::{Dialect, OnError};
use crate::tree::{Expr, Value};
use crate::type_name::TypeName;
use crate::typed::{Node, Typed};

impl<'q> Checker<'q> {
    pub(super) fn explicit_cast(
        &mut self,
        arg: &'q Expr,
        to: &DataType,
        lenient: bool,
    ) -> Result<Typed, ExprError> {
        self.require_computable(to, "a cast")?;
        match self.operand(arg)?.side {
            Side::Typed(typed) => self.cast(typed, to, self.cast_mode(lenient), arg),
            Side::Free(value) => self.cast_constant(value, to, lenient, arg),
        }
    }

    fn cast_constant(
        &mut self,
        value: &'q Value,
        to: &DataType,
        lenient: bool,
        arg: &'q Expr,
    ) -> Result<Typed, ExprError> {
        let fit = match value {
            Value::Text(text) => match adapt::parse_text(text, to) {
                Fit::Never(_) | Fit::Needs(_) if lenient => Fit::Exact(None),
                Fit::Needs(_) => Fit::Never(format!("'{}' does not fit {to}", Brief(text))),
                fit => fit,
            },
            // By way of a double it would be rounded twice; Spark's number is a decimal.
            Value::Number(digits) if *to == DataType::Float32 && self.is_decimal_number(value) => {
                match digits.parse() {
                    Ok(float) => Fit::Exact(Some(Imm::f32(float))),
                    Err(_) => Fit::Never(format!("{} is no number", Brief(digits))),
                }
            }
            value => adapt::fit(value, to),
        };
        match (fit, value) {
            (Fit::Exact(imm), _) => Ok(constant(to.clone(), imm, arg.span)),
            (Fit::Never(why), Value::Text(_)) => {
                Err(ExprError::new(ExprErrorKind::Type, why).at(arg.span))
            }
            // It does not fit as it is: the cast is made as of any value.
            (_, value) => {
                let decimal = match value {
                    Value::Number(digits) if is_decimal(to) => adapt::number_as_decimal(digits),
                    _ => None,
                };
                let typed = match decimal {
                    Some(Literal { data_type, value }) => constant(data_type, value, arg.span),
                    None => self.settle(operand_of(arg, value))?,
                };
                self.cast(typed, to, self.cast_mode(lenient), arg)
            }
        }
    }

    /// Whether a constant is a decimal by itself.
    fn is_decimal_number(&self, value: &Value) -> bool {
        adapt::own_type(value, self.semantics.coercion).is_some_and(|own| is_decimal(&own))
    }

    fn cast_mode(&self, lenient: bool) -> OnError {
        if lenient {
            OnError::Null
        } else {
            self.semantics.cast
        }
    }

    /// A cast, if the table has it; none where the type is right already.
    pub(super) fn cast(
        &mut self,
        arg: Typed,
        to: &DataType,
        on_error: OnError,
        source: &Expr,
    ) -> Result<Typed, ExprError> {
        if arg.data_type == *to {
            return Ok(arg);
        }
        let from = &arg.data_type;
        let dialect = self.semantics.dialect;
        let Some(row) = cast_row(from, to, dialect) else {
            return Err(self.no_such_cast(from, to, source));
        };
        if !row.allows(from, to, on_error) {
            let modes: Vec<_> = row.modes.iter().map(ToString::to_string).collect();
            return Err(ExprError::new(
                ExprErrorKind::Unsupported,
                format!("casting {from} to {to} has no mode `{on_error}` under these rules"),
            )
            .with_help(format!("its modes are {}", modes.join(" and ")))
            .at(source.span));
        }
        self.count()?;
        Ok(Typed {
            data_type: to.clone(),
            nullable: arg.nullable || cast_makes_nulls(from, to, on_error, dialect),
            ordinal: 0,
            span: arg.span,
            node: Node::Cast {
                on_error,
                dialect,
                arg: Box::new(arg),
            },
        })
    }

    fn no_such_cast(&self, from: &DataType, to: &DataType, source: &Expr) -> ExprError {
        let rules = if self.is_spark() { "Spark" } else { "arrow" };
        let error = ExprError::new(
            ExprErrorKind::Unsupported,
            format!(
                "`{}` is {from}, which the {rules} rules do not cast to {to}",
                Brief(source)
            ),
        )
        .at(source.span);
        if [from, to].into_iter().any(has_negative_scale) {
            return error.with_help("decimals of a negative scale are compared only");
        }
        if let Some(help) = help_with_zone(from, to, source, self.semantics.dialect) {
            return error.with_help(help);
        }
        let mut targets: Vec<&str> = Vec::new();
        for target in computable_types() {
            if let Some(row) = cast_row(from, &target, self.semantics.dialect)
                && !targets.contains(&row.to)
            {
                targets.push(row.to);
            }
        }
        match targets.is_empty() {
            true => error.with_help(format!("there is no cast from {from} under these rules")),
            false => error.with_help(format!("{from} casts to {}", targets.join("; "))),
        }
    }
}

fn has_negative_scale(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(_, ..0))
}

/// What to write where the wall clock of a zone other than UTC would be needed.
fn help_with_zone(
    from: &DataType,
    to: &DataType,
    source: &Expr,
    dialect: Dialect,
) -> Option<String> {
    if !is_temporal(from) || !is_temporal(to) {
        return None;
    }
    let castable =
        |from: &DataType, to: &DataType| from == to || cast_row(from, to, dialect).is_some();
    let source = Brief(source);
    let why = "the clock of a zone other than UTC is not known here";
    match (utc_of(from), utc_of(to)) {
        (Some(utc), _) if utc != *to && castable(from, &utc) && castable(&utc, to) => {
            Some(format!(
                "{why}; for that of UTC write cast(cast({source} as {}) as {})",
                TypeName(&utc),
                TypeName(to)
            ))
        }
        (None, Some(utc)) if castable(from, &utc) => Some(format!(
            "{why}; if the values are in UTC write cast({source} as {})",
            TypeName(&utc)
        )),
        _ => None,
    }
}

fn operand_of<'q>(source: &'q Expr, value: &'q Value) -> Operand<'q> {
    Operand {
        source,
        side: Side::Free(value),
    }
}
