//! What rows take.

use arrow_array::{Array, RecordBatch};
use arrow_data::ArrayData;
use arrow_schema::DataType;

/// Bytes of a view, and of the longest text that lies inside it.
const VIEW_BYTES: u64 = 16;
const INLINE_BYTES: u64 = 12;

/// Bytes that the rows of a batch take, without what they share with other batches: the values of
/// dictionaries.
pub(crate) fn row_bytes(batch: &RecordBatch) -> u64 {
    let columns = batch.columns().iter();
    columns.map(|column| of_data(&column.to_data())).sum()
}

/// Rows like those of this batch that take so many bytes; at least one.
pub(super) fn fitting_rows(batch: &RecordBatch, bytes: u64) -> usize {
    let rows = batch.num_rows() as u64;
    let fitting = u128::from(bytes) * u128::from(rows) / u128::from(row_bytes(batch).max(1));
    usize::try_from(fitting).unwrap_or(usize::MAX).max(1)
}

fn of_data(data: &ArrayData) -> u64 {
    let len = data.len() as u64;
    let own = match data.data_type() {
        DataType::Dictionary(key, _) => {
            return len * key.primitive_width().unwrap_or(8) as u64;
        }
        DataType::Utf8View | DataType::BinaryView => {
            let views = data.buffers()[0].typed_data::<u128>();
            let length = |view: &u128| u64::from(*view as u32);
            let outside = |view: &u128| Some(length(view)).filter(|bytes| *bytes > INLINE_BYTES);
            let views = &views[data.offset()..data.offset() + data.len()];
            len * VIEW_BYTES + views.iter().filter_map(outside).sum::<u64>()
        }
        // Lists' offsets; the rows themselves are children.
        nested if nested.is_nested() => len * 4,
        _ => data.get_slice_memory_size().unwrap_or(0) as u64,
    };
    own + data.child_data().iter().map(of_data).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{ArrayRef, DictionaryArray, Int32Array, StringArray, StringViewArray};

    use super::*;

    #[test]
    fn what_is_shared_is_not_counted() {
        let of =
            |column: ArrayRef| row_bytes(&RecordBatch::try_from_iter([("c", column)]).unwrap());
        assert_eq!(of(Arc::new(Int32Array::from(vec![1, 2, 3]))), 12);
        let long = "a text that is longer than a view can hold";
        let texts = StringArray::from(vec![long, "short"]);
        let bytes = long.len() as u64;
        assert_eq!(of(Arc::new(texts.slice(1, 1))), 5 + 8);
        assert_eq!(of(Arc::new(texts)), bytes + 5 + 12);
        let views = StringViewArray::from(vec![long, "short", long]);
        assert_eq!(of(Arc::new(views.slice(1, 2))), bytes + 32);
        let coded: DictionaryArray<Int8Type> = [long, long, "short"].into_iter().collect();
        assert_eq!(of(Arc::new(coded)), 3);
    }
}
