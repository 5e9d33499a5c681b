//! Bitmaps as Arrow files have them: no bit behind the last row is set.
//!
//! Arrow says nothing of these bits. In memory they are what happens to be there, such as the rows of the
//! next batch where a device did several at once, so that the same results would make different files.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StructArray, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_schema::{ArrowError, DataType};

/// The same batch with such bitmaps; what has them already stays where it is. Those inside lists are left
/// as they are.
pub(crate) fn ended(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.columns().iter().any(has_rest) {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().map(without_rest);
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_, _>>()?)
}

/// Whether bits are set behind the last row of a column.
fn has_rest(column: &ArrayRef) -> bool {
    let of_nulls = column.nulls().is_some_and(|nulls| rest(nulls.inner()));
    of_nulls
        || match column.data_type() {
            DataType::Boolean => rest(column.as_boolean().values()),
            DataType::Struct(_) => column.as_struct().columns().iter().any(has_rest),
            _ => false,
        }
}

/// The column without them.
fn without_rest(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !has_rest(column) {
        return Ok(Arc::clone(column));
    }
    let nulls = column
        .nulls()
        .map(|nulls| NullBuffer::new(cleared(nulls.inner())));
    Ok(match column.data_type() {
        DataType::Boolean => {
            let values = cleared(column.as_boolean().values());
            Arc::new(BooleanArray::new(values, nulls))
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns().iter().map(without_rest);
            let columns = columns.collect::<Result<_, _>>()?;
            let (fields, rows) = (fields.clone(), column.len());
            Arc::new(StructArray::try_new_with_length(
                fields, columns, nulls, rows,
            )?)
        }
        _ => make_array(column.to_data().into_builder().nulls(nulls).build()?),
    })
}

/// Whether bits are set in the last byte behind the last one. Where the first is not the first of a byte,
/// the writer makes a bitmap of its own.
fn rest(bits: &BooleanBuffer) -> bool {
    let end = bits.offset() + bits.len();
    bits.offset().is_multiple_of(8)
        && !end.is_multiple_of(8)
        && bits.inner()[end / 8] >> (end % 8) != 0
}

/// A copy that ends with its last bit.
fn cleared(bits: &BooleanBuffer) -> BooleanBuffer {
    if !rest(bits) {
        return bits.clone();
    }
    let end = bits.offset() + bits.len();
    let mut bytes = bits.inner()[bits.offset() / 8..=end / 8].to_vec();
    *bytes.last_mut().expect("it has a last byte") &= (1 << (end % 8)) - 1;
    BooleanBuffer::new(Buffer::from_vec(bytes), 0, bits.len())
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, StringArray};
    use arrow_schema::Field;

    use super::*;

    /// Rows of every kind of column with a bitmap; of each fourth one nothing is there.
    fn whole(rows: i32) -> RecordBatch {
        let there = |row: &i32| row % 4 != 0;
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter(
            (0..rows).map(|row| Some(row).filter(there)),
        ));
        let flags: ArrayRef = Arc::new(BooleanArray::from_iter(
            (0..rows).map(|row| Some(row % 3 != 0).filter(|_| there(&row))),
        ));
        let names: ArrayRef =
            Arc::new(StringArray::from_iter((0..rows).map(|row| {
                Some(format!("number {row}")).filter(|_| there(&row))
            })));
        let nested = |name: &str, column: &ArrayRef| {
            let field = Field::new(name, column.data_type().clone(), true);
            (Arc::new(field), Arc::clone(column))
        };
        let both = StructArray::from(vec![nested("n", &numbers), nested("f", &flags)]);
        RecordBatch::try_from_iter([
            ("numbers", numbers),
            ("flags", flags),
            ("names", names),
            ("both", Arc::new(both) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn no_bit_is_set_behind_the_last_row_and_no_other_is_changed() {
        let whole = whole(100);
        for start in [0, 3, 8, 16] {
            for rows in [0, 1, 7, 8, 9, 33] {
                let slice = whole.slice(start, rows);
                let ended = ended(&slice).unwrap();
                assert_eq!(ended, slice);
                assert!(!ended.columns().iter().any(has_rest));
            }
        }
        assert!(whole.slice(8, 9).columns().iter().all(has_rest));
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        let whole = whole(64);
        let ended = ended(&whole).unwrap();
        let nulls = |batch: &RecordBatch| batch.column(0).nulls().unwrap().buffer().as_ptr();
        assert_eq!(nulls(&ended), nulls(&whole));
    }
}
