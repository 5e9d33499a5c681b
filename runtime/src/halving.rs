//! A batch in pieces, where it is too large for the memory that there is.

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, make_array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use arrow_select::concat::concat;

use crate::arrays::malformed;
use crate::block::Memory;
use crate::error::Error;
use crate::inline::Evaluated;

/// Has a batch done by `run`, which is told at which row of the batch its piece begins: whole, and
/// where `is_too_large` says so of the error in halves, as often as it takes. The result of several
/// pieces is joined in memory of the pool, as any other.
///
/// # Errors
/// The error of a piece, of one row where that is too large; [`Error::Exhausted`] where the result
/// is, joined.
pub(crate) fn in_halves<E: From<Error>>(
    batch: &RecordBatch,
    memory: &Memory,
    is_too_large: impl Fn(&E) -> bool,
    mut run: impl FnMut(&RecordBatch, usize) -> Result<Evaluated, E>,
) -> Result<Evaluated, E> {
    let mut pending = Vec::new();
    pending.push(0..batch.num_rows());
    let mut too_many = usize::MAX;
    let mut done = Vec::new();
    while let Some(rows) = pending.pop() {
        // So many have been too large before, and since then there is not more memory.
        if rows.len() < too_many {
            match run(&batch.slice(rows.start, rows.len()), rows.start) {
                Ok(evaluated) => {
                    done.push(evaluated);
                    continue;
                }
                Err(error) if rows.len() > 1 && is_too_large(&error) => too_many = rows.len(),
                Err(error) => return Err(error),
            }
        }
        let middle = rows.start + rows.len() / 2;
        pending.push(middle..rows.end);
        pending.push(rows.start..middle);
    }
    match done.len() {
        1 => Ok(done.remove(0)),
        _ => join(done, memory).map_err(E::from),
    }
}

/// One result of several pieces, in order. The bytes that joining copies are counted: arrays are
/// put together first, and then brought to where they are counted.
pub(crate) fn join(pieces: Vec<Evaluated>, memory: &Memory) -> Result<Evaluated, Error> {
    const COPIES: u64 = 2;
    let mut joined = Evaluated {
        columns: Vec::new(),
        rows_out: 0,
        mask: None,
        bytes_in: 0,
        bytes_out: 0,
        bytes_copied: 0,
    };
    let mut masks: Option<Vec<BooleanArray>> = Some(Vec::new());
    // By column, so that a column's pieces are gone before the next one's memory is asked for.
    let mut columns: Vec<Vec<ArrayRef>> = Vec::new();
    for piece in pieces {
        joined.rows_out += piece.rows_out;
        joined.bytes_in += piece.bytes_in;
        joined.bytes_out += piece.bytes_out;
        joined.bytes_copied += piece.bytes_copied + COPIES * piece.bytes_out;
        masks = masks.zip(piece.mask).map(|(mut masks, mask)| {
            masks.push(mask);
            masks
        });
        columns.resize(piece.columns.len(), Vec::new());
        for (pieces, array) in columns.iter_mut().zip(piece.columns) {
            pieces.push(array);
        }
    }
    for pieces in columns {
        let arrays: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        let array = concat(&arrays).map_err(malformed)?;
        drop(pieces);
        joined.columns.push(counted(&array, memory)?);
    }
    joined.mask = masks.map(|masks| masks.iter().flatten().collect());
    Ok(joined)
}

/// The same array in memory of the pool, except for what its values only refer to, which stays where
/// it is: it is the batch's own.
fn counted(array: &ArrayRef, memory: &Memory) -> Result<ArrayRef, Error> {
    fn copy(data: &ArrayData, memory: &Memory) -> Result<ArrayData, Error> {
        let (own_buffers, owns_children) = match data.data_type() {
            DataType::Utf8View | DataType::BinaryView => (1, true),
            DataType::Dictionary(_, _) => (1, false),
            _ => (data.buffers().len(), true),
        };
        let buffers = data.buffers().iter().enumerate();
        let buffers = buffers.map(|(position, bytes)| match position < own_buffers {
            true => memory.copy(bytes),
            false => Ok(bytes.clone()),
        });
        let children = data.child_data().iter().map(|child| match owns_children {
            true => copy(child, memory),
            false => Ok(child.clone()),
        });
        let nulls = data.nulls().map(|nulls| {
            let bits = memory.copy(nulls.buffer())?;
            Ok::<_, Error>(NullBuffer::new(BooleanBuffer::new(
                bits,
                nulls.offset(),
                nulls.len(),
            )))
        });
        let copied = data
            .clone()
            .into_builder()
            .buffers(buffers.collect::<Result<_, _>>()?)
            .child_data(children.collect::<Result<_, _>>()?)
            .nulls(nulls.transpose()?);
        copied.build().map_err(malformed)
    }
    copy(&array.to_data(), memory).map(make_array)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use arrow_array::{DictionaryArray, StringViewArray};

    use super::*;
    use crate::pool::{Pool, PoolOptions};

    /// Texts and dictionaries of megabytes, of which a batch has a few rows.
    #[test]
    fn what_values_refer_to_is_not_copied_when_pieces_are_joined() {
        let options = PoolOptions {
            reserve: 256 << 10,
            budget: 256 << 10,
            ..PoolOptions::default()
        };
        let memory = Memory::of(&Pool::new(&options).unwrap());
        let texts = (0..20_000).map(|row| format!("a text too long for a view {row:080}"));
        let texts: Vec<String> = texts.collect();
        let views = StringViewArray::from_iter_values(&texts).slice(9000, 1000);
        let keys = DictionaryArray::<Int32Type>::from_iter(texts.iter().map(String::as_str));
        let keys = keys.slice(9000, 1000);
        let columns: [(&str, ArrayRef); 2] = [("v", Arc::new(views)), ("d", Arc::new(keys))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let run = |piece: &RecordBatch, _| match piece.num_rows() {
            601.. => Err(Error::Cancelled),
            rows => Ok(Evaluated {
                columns: piece.columns().to_vec(),
                rows_out: rows,
                mask: None,
                bytes_in: 0,
                bytes_out: 0,
                bytes_copied: 0,
            }),
        };
        let too_large = |error: &Error| matches!(error, Error::Cancelled);
        let joined = in_halves(&batch, &memory, too_large, run).unwrap();
        for (joined, whole) in joined.columns.iter().zip(batch.columns()) {
            assert_eq!(joined, whole);
        }
        let [joined, whole] = [&joined.columns[1], batch.column(1)]
            .map(|column| column.as_dictionary::<Int32Type>().values().to_data());
        assert!(joined.ptr_eq(&whole));
    }
}
