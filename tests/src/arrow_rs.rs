//! Typed trees evaluated by arrow-rs, one kernel per operation over whole columns.
//!
//! arrow-rs knows no laziness: an operand fails on any row, whether it is needed there or not. So
//! it fails exactly where some operation of the tree fails on some row when it is evaluated there
//! by itself, and that is what a caller compares an error with.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Date64Type, Float32Type, Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Datum, RecordBatch, Scalar, make_array, new_null_array,
};
use arrow_cast::CastOptions;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use unlade_expr::{
    ArithmeticOp, Dialect, FloatZeroDivision, IsTest, Literal, Node, OnError, Typed,
};
use unlade_program::{CompareOp, FloatOrder};

use crate::batches::array_of;

/// What arrow-rs is not asked: it has no kernel for the operation in this mode, or is no model for it.
/// docs/card/DISAGREEMENTS.md lists them with what decides instead, and a test holds the two lists
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// An overflow that is null.
    NullOverflow,
    /// ABS.
    Abs,
    /// TRY.
    Try,
    /// A date or a day in milliseconds whose product with a timestamp's units overflows.
    DateProduct,
    /// A day beyond the calendar of arrow-rs.
    Calendar,
    /// A comparison of floats in another order than the total one.
    FloatOrder,
    /// A cast or a division by zero by Spark's rules.
    SparksRules,
}

impl LeftOut {
    /// All of them.
    pub const ALL: [LeftOut; 7] = [
        LeftOut::NullOverflow,
        LeftOut::Abs,
        LeftOut::Try,
        LeftOut::DateProduct,
        LeftOut::Calendar,
        LeftOut::FloatOrder,
        LeftOut::SparksRules,
    ];

    /// As the document calls it.
    pub fn words(self) -> &'static str {
        match self {
            LeftOut::NullOverflow => "overflow that is null",
            LeftOut::Abs => "ABS",
            LeftOut::Try => "TRY",
            LeftOut::DateProduct => "date to a timestamp that it overflows",
            LeftOut::Calendar => "day beyond the calendar of arrow-rs",
            LeftOut::FloatOrder => "float comparison in another order than the total one",
            LeftOut::SparksRules => "cast or division by zero by Spark's rules",
        }
    }
}

/// Why arrow-rs gives no column.
#[derive(Debug)]
pub enum NoColumn {
    /// It is not asked.
    LeftOut(LeftOut),
    /// A kernel failed on a value, perhaps of a row on which none is needed.
    Data(ArrowError),
    /// A kernel refused its operands although the operation is one that it is asked for: a fault
    /// of this module, or of what the check admits.
    Refused(ArrowError),
}

impl From<ArrowError> for NoColumn {
    fn from(error: ArrowError) -> Self {
        let words = error.to_string();
        match error {
            ArrowError::DivideByZero | ArrowError::ArithmeticOverflow(_) => NoColumn::Data(error),
            ArrowError::CastError(_) if words.contains("not supported") => NoColumn::Refused(error),
            // Of a value without a counterpart, and of a decimal with too many digits.
            ArrowError::CastError(_) | ArrowError::ComputeError(_) => NoColumn::Data(error),
            ArrowError::InvalidArgumentError(_) if words.contains("precision") => {
                NoColumn::Data(error)
            }
            _ => NoColumn::Refused(error),
        }
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
                return Err(NoColumn::LeftOut(LeftOut::NullOverflow));
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
                _ => return Err(NoColumn::LeftOut(LeftOut::SparksRules)),
            };
            canonical(kernel(&column(lhs)?, &column(rhs)?)?)
        }
        Node::Negate { overflow, arg } => match overflow {
            OnError::Trap => arrow_arith::numeric::neg(&column(arg)?)?,
            OnError::Wrap => arrow_arith::numeric::neg_wrapping(&column(arg)?)?,
            OnError::Null => return Err(NoColumn::LeftOut(LeftOut::NullOverflow)),
        },
        Node::Abs { .. } => return Err(NoColumn::LeftOut(LeftOut::Abs)),
        Node::Try(_) => return Err(NoColumn::LeftOut(LeftOut::Try)),
        Node::Cast {
            on_error,
            dialect,
            arg,
        } => {
            if *dialect != Dialect::Arrow {
                return Err(NoColumn::LeftOut(LeftOut::SparksRules));
            }
            let options = CastOptions {
                safe: *on_error == OnError::Null,
                ..CastOptions::default()
            };
            let column = column(arg)?;
            if let Some(why) = unlike(&column, &tree.data_type) {
                return Err(NoColumn::LeftOut(why));
            }
            let column = labelled(&column, &offset_for_utc(column.data_type()));
            let target = offset_for_utc(&tree.data_type);
            let cast = arrow_cast::cast_with_options(&column, &target, &options)?;
            let cast = labelled(&cast, &tree.data_type);
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

/// UTC as an offset: arrow-rs knows the names of zones by a feature that nobody here needs.
fn offset_for_utc(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(unit, Some(zone)) if zone.as_ref() == "UTC" => {
            DataType::Timestamp(*unit, Some("+00:00".into()))
        }
        other => other.clone(),
    }
}

/// The same values as a type that differs in its zone at most.
fn labelled(column: &ArrayRef, data_type: &DataType) -> ArrayRef {
    let data = column.to_data().into_builder().data_type(data_type.clone());
    make_array(data.build().expect("values of the same width"))
}

/// Whether a row is beyond arrow-rs's calendar, 262,143 years from here, or near its end.
fn beyond_calendar(column: &ArrayRef) -> bool {
    const SECONDS: i64 = 262_000 * 31_556_952;
    let far = |per_second: i64| {
        let values = arrow_cast::cast(column, &DataType::Int64).expect("the count of units");
        let values = values.as_primitive::<Int64Type>().clone();
        values
            .iter()
            .flatten()
            .any(|value| (value / per_second).unsigned_abs() > SECONDS as u64)
    };
    match column.data_type() {
        DataType::Date32 => column
            .as_primitive::<Date32Type>()
            .iter()
            .flatten()
            .any(|days| (i64::from(days) * 86_400).abs() > SECONDS),
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => far(1_000),
        DataType::Timestamp(TimeUnit::Second, _) => far(1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => far(1_000_000),
        _ => false,
    }
}

/// Casts in which arrow-rs is no model: it multiplies dates unchecked; and into a zone, and from a
/// timestamp to a date, it goes through a calendar that ends 262,143 years from here.
fn unlike(column: &ArrayRef, to: &DataType) -> Option<LeftOut> {
    let finer = |unit: &TimeUnit| matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond);
    // Days and milliseconds whose product with the units of the finest timestamp is too great.
    let overflows = |values: &[i64], most: i64| {
        values
            .iter()
            .any(|value| value.unsigned_abs() > most as u64)
    };
    let product = |unit, values: &[i64], most| finer(unit) && overflows(values, most);
    let (product, calendar) = match (column.data_type(), to) {
        (DataType::Date32, DataType::Timestamp(unit, zone)) => {
            let days = column.as_primitive::<Date32Type>().values();
            let days: Vec<i64> = days.iter().map(|day| i64::from(*day)).collect();
            let product = product(unit, &days, i64::MAX / 86_400_000_000_000);
            (product, zone.is_some())
        }
        (DataType::Date64, DataType::Timestamp(unit, zone)) => {
            let values = column.as_primitive::<Date64Type>().values();
            (product(unit, values, i64::MAX / 1_000_000), zone.is_some())
        }
        (DataType::Timestamp(_, None), DataType::Timestamp(_, Some(_)))
        | (DataType::Timestamp(..), DataType::Date32) => (false, true),
        _ => (false, false),
    };
    match calendar && beyond_calendar(column) {
        _ if product => Some(LeftOut::DateProduct),
        true => Some(LeftOut::Calendar),
        false => None,
    }
}

/// arrow-rs compares floats in total order and in no other.
fn in_total_order(order: FloatOrder, data_type: &DataType) -> Result<(), NoColumn> {
    match data_type.is_floating() && order != FloatOrder::Total {
        true => Err(NoColumn::LeftOut(LeftOut::FloatOrder)),
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
