//! A row-at-a-time interpreter of typed trees: what an expression means.
//!
//! One row is read as a sequential language would read it: operands from left to right, then the
//! operation; a branch that is not taken is not evaluated; the first error ends the row. Because
//! ordinals are numbered in that very order, the first error met is the one with the least
//! ordinal, which is what a device reports.

use arrow_array::RecordBatch;
use unlade_expr::{Checked, IsTest, Literal, Node, OutputColumn, Typed};
use unlade_program::{CompareOp, Imm, TrapCode};

mod cast;
mod column;
mod describe;
mod scalar;
#[cfg(test)]
mod tests;
mod text;

use cast::cast;
use scalar::{ArithmeticModes, Outcome};

pub use column::value_at;
pub use describe::{Description, describe};

/// Why a row has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct RowError {
    /// The node that failed, [`Typed::ordinal`].
    pub ordinal: u32,
    /// What went wrong.
    pub code: TrapCode,
    /// The node's operands on this row.
    pub operands: Vec<Literal>,
}

/// A row that a query keeps, with the values of its computed outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The row of the input batch.
    pub row: usize,
    /// One scalar, or null, per computed output column in order; payload columns are the input's.
    pub values: Vec<Option<Imm>>,
}

/// The error of a query: the least row that has one.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryError {
    /// The row of the input batch.
    pub row: usize,
    /// Its error.
    pub error: RowError,
}

/// The value of an expression on one row: a scalar of the tree's type, or `None` for null.
///
/// # Errors
/// The first error in order of evaluation, unless `TRY` stands above it.
///
/// # Panics
/// Where the batch has not the schema that the tree was checked against, or no such row.
pub fn evaluate(tree: &Typed, batch: &RecordBatch, row: usize) -> Result<Option<Imm>, RowError> {
    let value = |arg: &Typed| evaluate(arg, batch, row);
    let truth = |arg: &Typed| Ok(value(arg)?.map(Imm::as_mask));
    match &tree.node {
        Node::Column(index) => Ok(value_at(batch.column(*index), row)),
        Node::Literal(literal) => Ok(literal.value),
        Node::Decode(arg) => {
            let Node::Column(index) = arg.node else {
                panic!("only a column is decoded, not {:?}", arg.node);
            };
            column::decoded(batch.column(index), row).map_err(|code| failure(tree, code, &[]))
        }
        Node::Arithmetic {
            op,
            overflow,
            zero,
            float_zero,
            lhs,
            rhs,
        } => {
            let modes = ArithmeticModes {
                overflow: *overflow,
                zero: *zero,
                float_zero: *float_zero,
            };
            match (value(lhs)?, value(rhs)?) {
                (Some(l), Some(r)) => {
                    let operands = [(&**lhs, l), (&**rhs, r)];
                    settled(tree, scalar::arithmetic(*op, modes, l, r), &operands)
                }
                _ => Ok(None),
            }
        }
        Node::Negate { overflow, arg } => match value(arg)? {
            Some(v) => settled(tree, scalar::negate(*overflow, v), &[(&**arg, v)]),
            None => Ok(None),
        },
        Node::Abs { overflow, arg } => match value(arg)? {
            Some(v) => settled(tree, scalar::abs(*overflow, v), &[(&**arg, v)]),
            None => Ok(None),
        },
        Node::Cast {
            on_error,
            dialect,
            arg,
        } => match value(arg)? {
            Some(v) => {
                let outcome = cast(*dialect, *on_error, v, &arg.data_type, &tree.data_type);
                settled(tree, outcome, &[(&**arg, v)])
            }
            None => Ok(None),
        },
        Node::Compare {
            op,
            order,
            lhs,
            rhs,
        } => Ok(match (value(lhs)?, value(rhs)?) {
            (Some(l), Some(r)) => Some(Imm::mask(scalar::compare(*op, *order, l, r))),
            _ => None,
        }),
        Node::Distinct {
            negated,
            order,
            lhs,
            rhs,
        } => {
            let same = match (value(lhs)?, value(rhs)?) {
                (Some(l), Some(r)) => scalar::compare(CompareOp::Eq, *order, l, r),
                (None, None) => true,
                _ => false,
            };
            Ok(Some(Imm::mask(same == *negated)))
        }
        Node::And(args) => kleene(args, false, truth),
        Node::Or(args) => kleene(args, true, truth),
        Node::Not(arg) => Ok(truth(arg)?.map(|v| Imm::mask(!v))),
        Node::Is { test, negated, arg } => {
            if let (IsTest::Null, Node::Column(index)) = (test, &arg.node) {
                let is_null = column::is_null(batch.column(*index), row);
                return Ok(Some(Imm::mask(is_null != *negated)));
            }
            let v = value(arg)?;
            let holds = match test {
                IsTest::Null => v.is_none(),
                IsTest::True => v == Some(Imm::mask(true)),
                IsTest::False => v == Some(Imm::mask(false)),
            };
            Ok(Some(Imm::mask(holds != *negated)))
        }
        Node::In { order, arg, list } => {
            let Some(v) = value(arg)? else {
                return Ok(None);
            };
            let matches = |entry: Imm| scalar::compare(CompareOp::Eq, *order, v, entry);
            let found = list.iter().filter_map(|entry| entry.value).any(matches);
            let has_null = list.iter().any(|entry| entry.value.is_none());
            Ok((found || !has_null).then_some(Imm::mask(found)))
        }
        Node::Case {
            branches,
            otherwise,
        } => {
            for (condition, result) in branches {
                if truth(condition)? == Some(true) {
                    return value(result);
                }
            }
            otherwise.as_ref().map_or(Ok(None), |result| value(result))
        }
        Node::Coalesce(args) => {
            for arg in args {
                if let Some(v) = value(arg)? {
                    return Ok(Some(v));
                }
            }
            Ok(None)
        }
        Node::Try(arg) => Ok(value(arg).unwrap_or(None)),
    }
}

/// The rows that a query keeps, in order.
///
/// # Errors
/// The error of the least row that has one. Outputs are evaluated only on rows that the filter
/// keeps, and cannot fail elsewhere.
///
/// # Panics
/// Where the batch has not the schema that the query was checked against.
pub fn evaluate_query(query: &Checked, batch: &RecordBatch) -> Result<Vec<Kept>, QueryError> {
    let mut kept = Vec::new();
    for row in 0..batch.num_rows() {
        match evaluate_row(query, batch, row) {
            Ok(Some(values)) => kept.push(Kept { row, values }),
            Ok(None) => {}
            Err(error) => return Err(QueryError { row, error }),
        }
    }
    Ok(kept)
}

/// The values of a query's computed outputs on one row, or `None` where the filter drops it.
///
/// # Errors
/// The row's first error, filter first, then outputs from left to right.
///
/// # Panics
/// Where the batch has not the schema that the query was checked against, or no such row.
pub fn evaluate_row(
    query: &Checked,
    batch: &RecordBatch,
    row: usize,
) -> Result<Option<Vec<Option<Imm>>>, RowError> {
    if let Some(filter) = &query.filter
        && evaluate(filter, batch, row)? != Some(Imm::mask(true))
    {
        return Ok(None);
    }
    let computed = query.columns.iter().filter_map(|column| match column {
        OutputColumn::Computed(tree) => Some(tree),
        OutputColumn::Payload(_) => None,
    });
    computed
        .map(|tree| evaluate(tree, batch, row))
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

/// Kleene conjunction (`decisive` false) or disjunction (`decisive` true): the first operand that
/// is decisive ends it; without one, a null makes it null.
fn kleene(
    args: &[Typed],
    decisive: bool,
    truth: impl Fn(&Typed) -> Result<Option<bool>, RowError>,
) -> Result<Option<Imm>, RowError> {
    let mut met_null = false;
    for arg in args {
        match truth(arg)? {
            Some(v) if v == decisive => return Ok(Some(Imm::mask(decisive))),
            Some(_) => {}
            None => met_null = true,
        }
    }
    Ok((!met_null).then_some(Imm::mask(!decisive)))
}

fn settled(
    tree: &Typed,
    outcome: Outcome,
    operands: &[(&Typed, Imm)],
) -> Result<Option<Imm>, RowError> {
    outcome.map_err(|code| failure(tree, code, operands))
}

fn failure(tree: &Typed, code: TrapCode, operands: &[(&Typed, Imm)]) -> RowError {
    let literal = |&(arg, value): &(&Typed, Imm)| Literal {
        data_type: arg.data_type.clone(),
        value: Some(value),
    };
    RowError {
        ordinal: tree.ordinal,
        code,
        operands: operands.iter().map(literal).collect(),
    }
}
