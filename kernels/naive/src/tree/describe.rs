//! The words of an error: which operation failed, on which row, on what value.

use std::fmt;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
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
    /// The type that has no room for the result.
    pub data_type: DataType,
    /// Where in the query's text the operation stands, if the query came from text.
    pub span: Option<Span>,
    spark_class: Option<&'static str>,
}

impl Description {
    /// The class under which Spark reports this error, `None` where Spark has none.
    pub fn spark_class(&self) -> Option<&'static str> {
        self.spark_class
    }
}

/// As Spark 4.3 has them.
fn spark_class(node: &Typed, code: TrapCode) -> Option<&'static str> {
    match (code, &node.data_type) {
        // What is narrower than Java's `int` is checked apart, where two operands make it.
        (TrapCode::Overflow, DataType::Int8 | DataType::Int16)
            if matches!(node.node, Node::Arithmetic { .. }) =>
        {
            Some("BINARY_ARITHMETIC_OVERFLOW")
        }
        (TrapCode::Overflow, _) => Some("ARITHMETIC_OVERFLOW"),
        (TrapCode::DivideByZero, _) => match node.node {
            Node::Arithmetic {
                op: ArithmeticOp::Rem,
                ..
            } => Some("REMAINDER_BY_ZERO"),
            _ => Some("DIVIDE_BY_ZERO"),
        },
        // Dates are multiplied to timestamps by Java's exact rules, whose error has no class.
        (TrapCode::CastOutOfRange, DataType::Timestamp(..)) => None,
        (TrapCode::CastOutOfRange, _) => Some("CAST_OVERFLOW"),
        (TrapCode::DecimalPrecision, _) => Some("NUMERIC_VALUE_OUT_OF_RANGE"),
        (TrapCode::InvalidKey, _) => None,
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
        data_type: node.data_type.clone(),
        span: node.span,
        spark_class: spark_class(node, error.code),
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
