//! A table of four columns, and queries over it: for tests that ask how a batch gets to its result
//! rather than what that is.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use unlade_expr::{Query, parse_expr, parse_select_list};

/// `a` and `flag` with nulls; `b`, the row's number; `text`, which tells that.
pub fn schema() -> SchemaRef {
    let field = |name: &str, ty| Field::new(name, ty, true);
    Arc::new(Schema::new(vec![
        field("a", DataType::Int32),
        field("b", DataType::Int64),
        field("flag", DataType::Boolean),
        field("text", DataType::Utf8),
    ]))
}

/// These rows of it.
pub fn rows(rows: Range<usize>) -> RecordBatch {
    let a: Int32Array = rows
        .clone()
        .map(|row| (row % 11 != 5).then_some(row as i32 % 100))
        .collect();
    let b = Int64Array::from_iter_values(rows.clone().map(|row| row as i64));
    let flag: BooleanArray = rows
        .clone()
        .map(|row| (row % 7 != 0).then_some(row % 2 == 0))
        .collect();
    let text = StringArray::from_iter_values(rows.map(|row| format!("row {row}")));
    let columns: Vec<ArrayRef> = vec![Arc::new(a), Arc::new(b), Arc::new(flag), Arc::new(text)];
    RecordBatch::try_new(schema(), columns).expect("columns of one length")
}

/// The query that keeps and selects this; all rows and all columns where that is empty.
///
/// # Panics
/// On what is no expression.
pub fn query(select: &str, keep: &str) -> Query {
    let query = match keep {
        "" => Query::all(),
        keep => Query::filter(parse_expr(keep).expect("an expression")),
    };
    match select {
        "" => query,
        select => query.select(parse_select_list(select).expect("a list of expressions")),
    }
}
