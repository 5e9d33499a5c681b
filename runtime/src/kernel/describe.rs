//! Errors of rows in words.

use arrow_array::RecordBatch;
use unlade_expr::{Checked, Dialect};
use unlade_naive::Description;
use unlade_program::Trap;

use crate::error::DataError;

/// The words of a trap: the row is evaluated once more, as a tree.
pub(super) fn describe(
    checked: &Checked,
    dialect: Dialect,
    batch: &RecordBatch,
    trap: Trap,
) -> DataError {
    let description = (trap.row < batch.num_rows() as u64)
        .then(|| unlade_naive::describe(checked, batch, trap.row))
        .flatten();
    let spark = dialect == Dialect::Spark;
    DataError {
        row: trap.row,
        ordinal: description
            .as_ref()
            .map_or(trap.ordinal, |description| description.ordinal),
        spark_class: description
            .as_ref()
            .filter(|_| spark)
            .and_then(Description::spark_class),
        description,
    }
}
