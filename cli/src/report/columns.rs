//! What of a result is computed, and what is handed on as it came in.

use serde::Serialize;
use unlade::{Checked, OutputColumn};

/// Columns that a line names; it counts the others.
const NAMED: usize = 8;

/// The columns of a result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    filters: bool,
}

/// A column of a result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Column {
    name: String,
    made: Made,
}

/// How a column came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Made {
    /// By the program, on the devices of the parts.
    Computed,
    /// A column of the input: its kept rows, as they came in.
    PassedThrough,
}

impl Columns {
    /// Those of a query.
    pub(crate) fn of(checked: &Checked) -> Self {
        let fields = checked.output.fields().iter();
        let columns = fields.zip(&checked.columns).map(|(field, column)| Column {
            name: field.name().clone(),
            made: match column {
                OutputColumn::Payload(_) => Made::PassedThrough,
                OutputColumn::Computed(_) => Made::Computed,
            },
        });
        Columns {
            columns: columns.collect(),
            filters: checked.filter.is_some(),
        }
    }

    /// Each column, in order.
    pub(crate) fn list(&self) -> &[Column] {
        &self.columns
    }

    /// Whether any device has something to compute.
    pub(crate) fn are_computed(&self) -> bool {
        let computed = |column: &Column| column.made == Made::Computed;
        self.filters || self.columns.iter().any(computed)
    }

    /// A line on what is not computed; nothing where all is.
    pub(crate) fn passed_through(&self) -> Option<String> {
        let passed = |column: &&Column| column.made == Made::PassedThrough;
        let names: Vec<&str> = self
            .columns
            .iter()
            .filter(passed)
            .map(|column| column.name.as_str())
            .collect();
        let named = names.iter().take(NAMED).copied().collect::<Vec<_>>();
        let more = match names.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let kept = if self.filters {
            "the kept rows of "
        } else {
            ""
        };
        (!names.is_empty()).then(|| {
            let named = named.join(", ");
            format!("passed through, computed by no device: {kept}{named}{more}")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Schema};
    use unlade::{Query, Semantics, check, col, lit};

    use super::*;

    fn columns(query: &Query, count: usize) -> Columns {
        let fields = (0..count).map(|n| Field::new(format!("c{n}"), DataType::Int32, true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Columns::of(&check(query, &schema, &Semantics::arrow()).unwrap())
    }

    #[test]
    fn what_is_not_computed_is_named_or_counted() {
        let all = columns(&Query::all(), 3);
        assert!(!all.are_computed());
        let line = "passed through, computed by no device: c0, c1, c2";
        assert_eq!(all.passed_through().unwrap(), line);
        let many = columns(&Query::filter(col("c0").gt(lit(1))), 11);
        assert!(many.are_computed());
        let line = many.passed_through().unwrap();
        assert!(line.contains(": the kept rows of c0, c1, "), "{line}");
        assert!(line.ends_with(", c7 and 3 more"), "{line}");
        let one = Query::all().select([(col("c0") + lit(1)).alias("c")]);
        let one = columns(&one, 1);
        assert!(one.are_computed());
        assert_eq!(one.passed_through(), None);
    }
}
