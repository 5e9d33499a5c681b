//! Timestamps in UTC for formats that spell times out.
//!
//! The printers know zones by offset only; UTC, by far the most frequent name, is one. Other named
//! zones they refuse, and the error says so.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Field, Schema};

/// The schema with UTC written as an offset.
pub(crate) fn schema_with_offsets(schema: &Schema) -> Schema {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Timestamp(unit, Some(zone)) if is_utc(zone) => {
                let data_type = DataType::Timestamp(*unit, Some("+00:00".into()));
                field.as_ref().clone().with_data_type(data_type)
            }
            _ => field.as_ref().clone(),
        })
        .collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The batch with UTC written as an offset; no value changes.
pub(crate) fn with_offsets(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = schema_with_offsets(batch.schema_ref());
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(
            |(column, field)| match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => arrow_cast::cast(column, field.data_type()),
            },
        )
        .collect::<Result<Vec<_>, _>>()?;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
}

fn is_utc(zone: &str) -> bool {
    ["UTC", "Etc/UTC", "Z", "GMT"].contains(&zone)
}
