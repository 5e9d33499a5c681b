//! The text front: SQL expressions.
//!
//! The tokens are those of the `sqlparser` crate, and so are the rules of strings, quoted names
//! and comments. The grammar above them is this language's own: it knows every form that the
//! check can type and no other, gives every node its place in the text, keeps chains of `AND`
//! and `OR` flat, and never recurses deeper than [`MAX_DEPTH`](crate::limits::MAX_DEPTH).

mod expr;
mod tokens;
mod types;

use crate::error::ExprError;
use crate::signature::Signatures;
use crate::tree::Expr;
use tokens::Cursor;

/// Reads an expression.
///
/// ```
/// use unlade_expr::{col, lit, parse_expr};
///
/// let expr = parse_expr("price BETWEEN 10 AND 20 AND \"Unit\" IS NOT NULL")?;
/// let same = col("price").between(lit(10), lit(20)).and(parse_expr("\"Unit\"")?.is_not_null());
/// assert_eq!(expr, same);
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
///
/// # Names
/// A name without quotes is matched exactly, else letter case aside if that leaves one column. A
/// name in `"double quotes"` or `` `backticks` `` is matched exactly. Words of the language
/// (`AND`, `CASE`, `NULL` ...) need quotes to be names.
///
/// # Errors
/// Text that is no expression, text over [`MAX_TEXT_BYTES`](crate::limits::MAX_TEXT_BYTES), and
/// nesting over [`MAX_DEPTH`](crate::limits::MAX_DEPTH).
pub fn parse_expr(text: &str) -> Result<Expr, ExprError> {
    parse_expr_with(text, Signatures::none())
}

/// As [`parse_expr`], with users' functions beside those of the language.
///
/// ```
/// use arrow_schema::DataType;
/// use unlade_expr::{Signature, Signatures, parse_expr_with};
///
/// let mut known = Signatures::default();
/// known.insert(Signature::new("gcd", [DataType::Int64, DataType::Int64], DataType::Int64)?)?;
/// assert_eq!(parse_expr_with("GCD(a, b) = 1", &known)?.to_string(), "gcd(a, b) = 1");
///
/// let error = parse_expr_with("gcdd(a, b)", &known).unwrap_err();
/// assert_eq!(error.help(), Some("did you mean `gcd`?"));
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
///
/// # Errors
/// As of [`parse_expr`].
pub fn parse_expr_with(text: &str, functions: &Signatures) -> Result<Expr, ExprError> {
    let mut cursor = Cursor::new(text, functions)?;
    let expr = cursor.expression()?;
    cursor.expect_end()?;
    Ok(expr)
}

/// Reads a list of outputs for [`Query::select`](crate::Query::select): expressions between
/// commas, each with a name (`AS name`) or without, and `*` for every input column.
///
/// ```
/// use unlade_expr::{Query, all, col, parse_select_list};
///
/// let items = parse_select_list("*, a + b AS \"Sum\"")?;
/// assert_eq!(items, [all(), (col("a") + col("b")).alias("Sum")]);
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
///
/// # Errors
/// As of [`parse_expr`].
pub fn parse_select_list(text: &str) -> Result<Vec<Expr>, ExprError> {
    parse_select_list_with(text, Signatures::none())
}

/// As [`parse_select_list`], with users' functions beside those of the language.
///
/// # Errors
/// As of [`parse_expr`].
pub fn parse_select_list_with(text: &str, functions: &Signatures) -> Result<Vec<Expr>, ExprError> {
    let mut cursor = Cursor::new(text, functions)?;
    let mut items = vec![cursor.select_item()?];
    while cursor.take_comma() {
        items.push(cursor.select_item()?);
    }
    cursor.expect_end()?;
    Ok(items)
}
