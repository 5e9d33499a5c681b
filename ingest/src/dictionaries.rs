//! The dictionaries of what an Arrow file was given, to name the column that has a second one.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// The last dictionary of each column; none of a column without, or whose dictionaries are inside
/// lists and structs.
#[derive(Default)]
pub(crate) struct Dictionaries(Vec<Option<ArrayRef>>);

impl Dictionaries {
    /// Takes note of a batch that was written. The writer keeps the same dictionaries: this takes no
    /// memory beside it.
    pub(crate) fn follow(&mut self, batch: &RecordBatch) {
        self.0 = batch.columns().iter().map(dictionary).collect();
    }

    /// Names the columns that keep a batch from being written after those before it.
    pub(crate) fn replaced_by(&self, batch: &RecordBatch) -> String {
        let schema = batch.schema();
        let name = |column: usize| format!("`{}`", schema.field(column).name());
        let known = self.0.iter().zip(batch.columns()).enumerate();
        let replaced: Vec<String> = known
            .filter(|(_, (before, column))| match (before, dictionary(column)) {
                (Some(before), Some(now)) => !extends(&now, before),
                _ => false,
            })
            .map(|(column, _)| name(column))
            .collect();
        if !replaced.is_empty() {
            return columns(&replaced);
        }
        let fields = schema.fields().iter().enumerate();
        let nested: Vec<String> = fields
            .filter(|(_, field)| field.data_type().is_nested())
            .map(|(column, _)| name(column))
            .collect();
        format!("what is inside {}", columns(&nested))
    }
}

fn columns(names: &[String]) -> String {
    match names {
        [one] => format!("column {one}"),
        all => format!("one of the columns {}", all.join(", ")),
    }
}

fn dictionary(column: &ArrayRef) -> Option<ArrayRef> {
    match column.data_type() {
        DataType::Dictionary(..) => Some(column.as_any_dictionary().values().clone()),
        _ => None,
    }
}

/// Whether a dictionary is another one, or that with values added behind: this an Arrow file holds.
fn extends(now: &ArrayRef, before: &ArrayRef) -> bool {
    now.len() >= before.len() && now.slice(0, before.len()).to_data() == before.to_data()
}
