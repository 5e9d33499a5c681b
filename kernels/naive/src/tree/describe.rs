//! The words of an error: which operation failed, on which row, on what value.

use std::fmt;

use arrow_array::RecordBatch;
use unlade_expr::{ArithmeticOp, Checked, Literal, Node, Span, Typed};
use unlade_program::TrapCode;

use super::{evaluate_row, text};

/// An error of a query, in words.
///
/// Displayed as one line:
/// ``row 2: `a + 1` overflows Int32: 2147483647 + 1``.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The row of the batch.
    pub row: u64,
    /// The node that failed, [`Typed::ordinal`].
    pub ordinal: u32,
    /// What went wrong.
    pub code: TrapCode,
    /// The operation as an expression over column names.
    pub operation: String,
    /// The failing value or values, as text.
    pub value: String,
    /// The name of the type that has no room for the result.
    pub data_type: String,
    /// Where in the query's text the operation stands, if the query came from text.
    pub span: Option<Span>,
}

impl Description {
    /// The class under which Spark reports this error, `None` where Spark has none.
    pub fn spark_class(&self) -> Option<&'static str> {
        match self.code {
            TrapCode::Overflow => Some("ARITHMETIC_OVERFLOW"),
            TrapCode::DivideByZero => Some("DIVIDE_BY_ZERO"),
            TrapCode::CastOutOfRange => Some("CAST_OVERFLOW"),
            TrapCode::DecimalPrecision => Some("NUMERIC_VALUE_OUT_OF_RANGE"),
            TrapCode::InvalidKey => None,
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (row, operation, value) = (self.row, &self.operation, &self.value);
        let data_type = &self.data_type;
        write!(f, "row {row}: `{operation}` ")?;
        match self.code {
            TrapCode::Overflow => write!(f, "overflows {data_type}: {value}"),
            TrapCode::DivideByZero => write!(f, "divides by zero: {value}"),
            TrapCode::CastOutOfRange => write!(f, "has no value in {data_type}: {value}"),
            TrapCode::DecimalPrecision => write!(f, "has too many digits for {data_type}: {value}"),
            TrapCode::InvalidKey => write!(f, "has a key that points outside its dictionary"),
        }
    }
}

/// What went wrong on a row, or `None` if nothing did.
///
/// Devices report a trap as a row and an ordinal; this evaluates the row once more to find the
/// value and the words. A caller that trusts no device compares the ordinals.
///
/// # Panics
/// Where the batch has not the schema that the query was checked against, or no such row.
pub fn describe(query: &Checked, batch: &RecordBatch, row: u64) -> Option<Description> {
    let index = usize::try_from(row).expect("a row of a batch in memory");
    let error = evaluate_row(query, batch, index).err()?;
    let node = query
        .trees()
        .find_map(|tree| tree.find(error.ordinal))
        .expect("an error comes from a node of the query");
    Some(Description {
        row,
        ordinal: error.ordinal,
        code: error.code,
        operation: text::expression(node, &query.input),
        value: operation_on_values(node, &error.operands),
        data_type: node.data_type.to_string(),
        span: node.span,
    })
}

fn operation_on_values(node: &Typed, operands: &[Literal]) -> String {
    let words: Vec<String> = operands.iter().map(text::literal).collect();
    match (&node.node, words.as_slice()) {
        (Node::Arithmetic { op, .. }, [lhs, rhs]) => {
            let symbol = text::arithmetic_symbol(*op);
            let rhs = if *op != ArithmeticOp::Add && rhs.starts_with('-') {
                format!("({rhs})")
            } else {
                rhs.clone()
            };
            format!("{lhs} {symbol} {rhs}")
        }
        _ => words.join(", "),
    }
}
