//! What is asked of a batch: which rows, and what of them.

use crate::tree::Expr;

/// A predicate and what to put out of the rows it keeps.
///
/// ```
/// use unlade_expr::{Query, col, lit};
///
/// let rows = Query::filter(col("a").gt(lit(1)));
/// let sums = Query::filter(col("a").gt(lit(1))).select([col("a"), (col("a") + col("b")).alias("s")]);
/// let mask = Query::mask(col("a").gt(lit(1)));
/// assert!(mask.mask && !rows.mask && !sums.mask);
/// ```
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Query {
    /// Which rows to keep; all where there is none. Rows on which it is null are dropped.
    pub filter: Option<Expr>,
    /// What to put out.
    pub select: Select,
    /// Whether to put out the keep mask beside the columns.
    pub mask: bool,
}

/// What a query puts out of the rows it keeps.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Select {
    /// Every input column as it is.
    All,
    /// These, in this order; an item may be [`all`](crate::all).
    Columns(Vec<Expr>),
    /// No column: the keep mask alone.
    Mask,
}

impl Query {
    /// Every row and column, to be narrowed by [`Query::select`].
    pub fn all() -> Self {
        Query {
            filter: None,
            select: Select::All,
            mask: false,
        }
    }

    /// The rows on which the predicate is true, with every column.
    pub fn filter(predicate: Expr) -> Self {
        Query {
            filter: Some(predicate),
            ..Query::all()
        }
    }

    /// Which rows the predicate is true on, as a mask over all rows.
    pub fn mask(predicate: Expr) -> Self {
        Query {
            filter: Some(predicate),
            select: Select::Mask,
            mask: true,
        }
    }

    /// The same rows, with these outputs.
    pub fn select(self, columns: impl IntoIterator<Item = Expr>) -> Self {
        Query {
            select: Select::Columns(columns.into_iter().collect()),
            ..self
        }
    }

    /// The same query with the keep mask beside its columns.
    pub fn with_mask(self) -> Self {
        Query { mask: true, ..self }
    }

    /// Whether the other is equal and came from the same places of a text, so that an error about
    /// the one may point into the text of the other.
    pub fn is_identical(&self, other: &Query) -> bool {
        let spans = |query: &Query| {
            let columns: &[Expr] = match &query.select {
                Select::Columns(columns) => columns,
                Select::All | Select::Mask => &[],
            };
            let exprs = query.filter.iter().chain(columns);
            exprs.map(|expr| expr.span).collect::<Vec<_>>()
        };
        self == other && spans(self) == spans(other)
    }
}
