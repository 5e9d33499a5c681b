//! Typed trees evaluated by arrow-rs, one kernel per operation over whole columns.
//!
//! arrow-rs knows no laziness: an operand fails on any row, whether it is needed there or not. A
//! caller therefore compares values where it has them, and learns nothing from an error.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date64Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Datum, RecordBatch, Scalar, new_null_array};
use arrow_cast::CastOptions;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use unlade_expr::{
    ArithmeticOp, Dialect, FloatZeroDivision, IsTest, Literal, Node, OnError, Typed,
};
use unlade_program::{CompareOp, FloatOrder};

use crate::batches::array_of;

/// Why arrow-rs gives no column.
#[derive(Debug)]
pub enum NoColumn {
    /// arrow-rs has no kernel for the operation in this mode.
    NoKernel,
    /// A kernel failed, perhaps on a row on which its value is not needed.
    Error(ArrowError),
}

impl From<ArrowError> for NoColumn {
    fn from(error: ArrowError) -> Self {
        NoColumn::Error(error)
    }
}

/// The value of a tree on every row of a batch.
///
/// NaNs made by arithmetic are replaced by the canonical one, the one allowed difference.
///
/// # Errors
/// [`NoColumn`], as its variants say.
pub fn evaluate(tree: &Typed, batch: &RecordBatch) -> Result<ArrayRef, NoColumn> {
    let column = |arg: &Typed| evaluate(arg, batch);
    let truth = |arg: &Typed| Ok::<_, NoColumn>(column(arg)?.as_boolean().clone());
    Ok(match &tree.node {
        Node::Column(index) => batch.column(*index).clone(),
        Node::Literal(literal) => repeated(literal, batch.num_rows()),
        Node::Decode(arg) => arrow_cast::cast(&column(arg)?, &tree.data_type)?,
        Node::Arithmetic {
            op,
            overflow,
            zero,
            float_zero,
            lhs,
            rhs,
        } => {
            use arrow_arith::numeric::{
                add, add_wrapping, div, mul, mul_wrapping, rem, sub, sub_wrapping,
            };
            let float = tree.data_type.is_floating();
            let checked = float || *overflow == OnError::Trap;
            let zero_fits = match float {
                true => *float_zero == FloatZeroDivision::Ieee,
                false => *zero == OnError::Trap,
            };
            if *overflow == OnError::Null {
                return Err(NoColumn::NoKernel);
            }
            let kernel = match op {
                ArithmeticOp::Add if checked => add,
                ArithmeticOp::Add => add_wrapping,
                ArithmeticOp::Sub if checked => sub,
                ArithmeticOp::Sub => sub_wrapping,
                ArithmeticOp::Mul if checked => mul,
                ArithmeticOp::Mul => mul_wrapping,
                ArithmeticOp::Div if zero_fits => div,
                ArithmeticOp::Rem if zero_fits => rem,
                _ => return Err(NoColumn::NoKernel),
            };
            canonical(kernel(&column(lhs)?, &column(rhs)?)?)
        }
        Node::Negate { overflow, arg } => match overflow {
            OnError::Trap => arrow_arith::numeric::neg(&column(arg)?)?,
            OnError::Wrap => arrow_arith::numeric::neg_wrapping(&column(arg)?)?,
            OnError::Null => return Err(NoColumn::NoKernel),
        },
        Node::Abs { .. } | Node::Try(_) => return Err(NoColumn::NoKernel),
        Node::Cast {
            on_error,
            dialect,
            arg,
        } => {
            if *dialect != Dialect::Arrow {
                return Err(NoColumn::NoKernel);
            }
            let options = CastOptions {
                safe: *on_error == OnError::Null,
                ..CastOptions::default()
            };
            let column = column(arg)?;
            if unlike(&column, &tree.data_type, options.safe) {
                return Err(NoColumn::NoKernel);
            }
            let cast = arrow_cast::cast_with_options(&column, &tree.data_type, &options)?;
            match arg.data_type == tree.data_type {
                true => cast,
                false => canonical(cast),
            }
        }
        Node::Compare {
            op,
            order,
            lhs,
            rhs,
        } => {
            use arrow_ord::cmp;
            let kernel = match op {
                CompareOp::Eq => cmp::eq,
                CompareOp::Ne => cmp::neq,
                CompareOp::Lt => cmp::lt,
                CompareOp::Le => cmp::lt_eq,
                CompareOp::Gt => cmp::gt,
                CompareOp::Ge => cmp::gt_eq,
            };
            in_total_order(*order, &lhs.data_type)?;
            Arc::new(kernel(&column(lhs)?, &column(rhs)?)?)
        }
        Node::Distinct {
            negated,
            order,
            lhs,
            rhs,
        } => {
            use arrow_ord::cmp;
            in_total_order(*order, &lhs.data_type)?;
            let kernel = if *negated {
                cmp::not_distinct
            } else {
                cmp::distinct
            };
            Arc::new(kernel(&column(lhs)?, &column(rhs)?)?)
        }
        Node::And(args) => {
            let (first, rest) = args.split_first().expect("AND has operands");
            let mut all = truth(first)?;
            for arg in rest {
                all = arrow_arith::boolean::and_kleene(&all, &truth(arg)?)?;
            }
            Arc::new(all)
        }
        Node::Or(args) => {
            let (first, rest) = args.split_first().expect("OR has operands");
            let mut any = truth(first)?;
            for arg in rest {
                any = arrow_arith::boolean::or_kleene(&any, &truth(arg)?)?;
            }
            Arc::new(any)
        }
        Node::Not(arg) => Arc::new(arrow_arith::boolean::not(&truth(arg)?)?),
        Node::Is { test, negated, arg } => {
            let column = column(arg)?;
            let met = match test {
                IsTest::Null => arrow_arith::boolean::is_null(&column)?,
                IsTest::True => is(column.as_boolean(), true)?,
                IsTest::False => is(column.as_boolean(), false)?,
            };
            Arc::new(match negated {
                true => arrow_arith::boolean::not(&met)?,
                false => met,
            })
        }
        Node::In { order, arg, list } => {
            in_total_order(*order, &arg.data_type)?;
            let column = column(arg)?;
            // NULL OR NULL is NULL: with an empty list, false where the operand is not null.
            let mut any = arrow_arith::boolean::and_kleene(
                &BooleanArray::from(vec![false; column.len()]),
                &BooleanArray::from(vec![false; column.len()]),
            )?;
            for entry in list {
                let entry = Scalar::new(repeated(entry, 1));
                let equal = arrow_ord::cmp::eq(&column, &entry)?;
                any = arrow_arith::boolean::or_kleene(&any, &equal)?;
            }
            Arc::new(any)
        }
        Node::Case {
            branches,
            otherwise,
        } => {
            let mut result = match otherwise {
                Some(otherwise) => column(otherwise)?,
                None => new_null_array(&tree.data_type, batch.num_rows()),
            };
            for (condition, value) in branches.iter().rev() {
                let met = is(&truth(condition)?, true)?;
                result = arrow_select::zip::zip(&met, &column(value)?, &result)?;
            }
            result
        }
        Node::Coalesce(args) => {
            let (last, before) = args.split_last().expect("COALESCE has operands");
            let mut result = column(last)?;
            for arg in before.iter().rev() {
                let value = column(arg)?;
                let valid = arrow_arith::boolean::is_not_null(&value)?;
                result = arrow_select::zip::zip(&valid, &value, &result)?;
            }
            result
        }
    })
}

/// Casts in which arrow-rs is no model: it multiplies dates unchecked, and into a zone it goes
/// through a calendar that ends 262,143 years from here and gives null beyond.
fn unlike(column: &ArrayRef, to: &DataType, safe: bool) -> bool {
    let DataType::Timestamp(unit, zone) = to else {
        return false;
    };
    match column.data_type() {
        DataType::Date64 => {
            let finer = matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond);
            let values = column.as_primitive::<Date64Type>().values();
            let far = values
                .iter()
                .any(|value| value.unsigned_abs() > i64::MAX as u64 / 1_000_000);
            (finer && far) || (zone.is_some() && safe)
        }
        DataType::Date32 | DataType::Timestamp(_, None) => zone.is_some() && safe,
        _ => false,
    }
}

/// arrow-rs compares floats in total order and in no other.
fn in_total_order(order: FloatOrder, data_type: &DataType) -> Result<(), NoColumn> {
    match data_type.is_floating() && order != FloatOrder::Total {
        true => Err(NoColumn::NoKernel),
        false => Ok(()),
    }
}

/// `IS TRUE` or `IS FALSE`.
fn is(column: &BooleanArray, value: bool) -> Result<BooleanArray, ArrowError> {
    let scalar = BooleanArray::new_scalar(value);
    arrow_ord::cmp::not_distinct(column, &scalar as &dyn Datum)
}

fn repeated(literal: &Literal, rows: usize) -> ArrayRef {
    match literal.value {
        Some(value) => array_of(&literal.data_type, &vec![value; rows], None),
        None => new_null_array(&literal.data_type, rows),
    }
}

fn canonical(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|value| match value.is_nan() {
                    true => f32::from_bits(0x7fc0_0000),
                    false => value,
                }),
        ),
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|value| match value.is_nan() {
                    true => f64::from_bits(0x7ff8_0000_0000_0000),
                    false => value,
                }),
        ),
        _ => column,
    }
}
