//! What a stream has done at once: a batch, several small ones, or a piece of a large one.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::concat::concat_batches;
use smallvec::{SmallVec, smallvec};

use crate::kernel::Calling;

/// What a stream has done at once.
#[derive(Clone, Debug)]
pub(crate) struct Portion {
    /// Whole ones, in the reader's order, or one slice.
    pub(crate) batches: SmallVec<[RecordBatch; 1]>,
    /// What became of the calls of users' functions for each batch, of a kernel that has any; not of a
    /// piece, which knows of its batch's.
    pub(crate) calling: Vec<Arc<Calling>>,
    /// Number of the first among those that the kernel has taken.
    pub(crate) number: u64,
    pub(crate) piece: Option<Piece>,
}

/// Of which batch a slice is.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) whole: Read,
    pub(crate) number: u64,
    pub(crate) is_last: bool,
}

/// A batch that was read, of a kernel that calls users' functions with what these gave, and what became
/// of the calls.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) batch: RecordBatch,
    pub(crate) calling: Option<Arc<Calling>>,
}

impl Portion {
    pub(crate) fn whole(read: Read, number: u64) -> Self {
        Portion {
            batches: smallvec![read.batch],
            calling: read.calling.into_iter().collect(),
            number,
            piece: None,
        }
    }

    /// So many pieces of a batch, of about the same number of rows.
    pub(crate) fn pieces(
        whole: &Read,
        number: u64,
        pieces: usize,
    ) -> impl Iterator<Item = Portion> {
        let batch = &whole.batch;
        let rows = batch.num_rows();
        let pieces = pieces.clamp(1, rows.max(1));
        let start = move |piece: usize| (rows as u128 * piece as u128 / pieces as u128) as usize;
        (0..pieces).map(move |piece| Portion {
            batches: smallvec![batch.slice(start(piece), start(piece + 1) - start(piece))],
            calling: Vec::new(),
            number,
            piece: Some(Piece {
                whole: whole.clone(),
                number,
                is_last: piece + 1 == pieces,
            }),
        })
    }

    /// All of its batches as one, of these of their columns; `None` where that would copy what
    /// values only refer to.
    pub(crate) fn joined(
        &self,
        schema: &SchemaRef,
        columns: &[usize],
    ) -> Option<Result<RecordBatch, ArrowError>> {
        let project = |batch: &RecordBatch| batch.project(columns);
        let batches: Result<Vec<RecordBatch>, ArrowError> =
            self.batches.iter().map(project).collect();
        let batches = match batches {
            Ok(batches) => batches,
            Err(error) => return Some(Err(error)),
        };
        let shares = |column: usize| {
            let data = |batch: &RecordBatch| batch.column(column).to_data();
            let first = data(&batches[0]);
            let rest = batches[1..].iter().map(data);
            rest.into_iter()
                .all(|other| refers_to_the_same(&first, &other))
        };
        (0..columns.len())
            .all(shares)
            .then(|| concat_batches(schema, &batches))
    }
}

/// Whether columns of a type can be joined and taken apart again so that each part has no more than it
/// needs. Views refer to memory beside them, of which every part of what is joined would have all.
pub(crate) fn come_apart(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => false,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => come_apart(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| come_apart(field.data_type())),
        DataType::Union(fields, _) => fields
            .iter()
            .all(|(_, field)| come_apart(field.data_type())),
        DataType::RunEndEncoded(_, values) => come_apart(values.data_type()),
        DataType::Dictionary(_, values) => come_apart(values),
        _ => true,
    }
}

/// Whether no dictionary of one is another's.
fn refers_to_the_same(one: &ArrayData, other: &ArrayData) -> bool {
    let children = || one.child_data().iter().zip(other.child_data());
    match one.data_type() {
        DataType::Dictionary(_, _) => children().all(|(one, other)| one.ptr_eq(other)),
        _ => children().all(|(one, other)| refers_to_the_same(one, other)),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, DictionaryArray, Int64Array};

    use super::*;

    fn numbers(from: i64, to: i64) -> RecordBatch {
        let numbers = Arc::new(Int64Array::from_iter_values(from..to)) as ArrayRef;
        RecordBatch::try_from_iter([("unread", Arc::clone(&numbers)), ("n", numbers)]).unwrap()
    }

    #[test]
    fn pieces_are_the_batch() {
        let batch = numbers(0, 10);
        let read = |batch: &RecordBatch| Read {
            batch: batch.clone(),
            calling: None,
        };
        for pieces in [1, 2, 3, 7, 10, 11] {
            let pieces: Vec<Portion> = Portion::pieces(&read(&batch), 5, pieces).collect();
            let slices: Vec<&RecordBatch> = pieces.iter().map(|each| &each.batches[0]).collect();
            assert!(slices.iter().all(|slice| slice.num_rows() > 0));
            assert_eq!(concat_batches(batch.schema_ref(), slices).unwrap(), batch);
            let last = pieces
                .iter()
                .map(|each| each.piece.as_ref().unwrap().is_last);
            assert_eq!(last.filter(|last| *last).count(), 1);
            assert!(pieces.iter().all(|each| each.number == 5));
        }
        assert_eq!(Portion::pieces(&read(&numbers(0, 0)), 0, 4).count(), 1);
    }

    #[test]
    fn batches_are_joined_in_order_less_what_is_not_read() {
        let portion = Portion {
            batches: smallvec![numbers(0, 3), numbers(3, 3), numbers(3, 8)],
            calling: Vec::new(),
            number: 0,
            piece: None,
        };
        let schema = Arc::new(numbers(0, 0).schema().project(&[1]).unwrap());
        let joined = portion.joined(&schema, &[1]).unwrap().unwrap();
        assert_eq!(joined, numbers(0, 8).project(&[1]).unwrap());
    }

    #[test]
    fn batches_with_other_dictionaries_are_left_apart() {
        let keys = |words: &[&str]| {
            let keys: DictionaryArray<Int32Type> = words.iter().copied().collect();
            RecordBatch::try_from_iter([("d", Arc::new(keys) as ArrayRef)]).unwrap()
        };
        let joined = |batches: [RecordBatch; 2]| {
            let schema = batches[0].schema();
            let portion = Portion {
                batches: batches.into_iter().collect(),
                calling: Vec::new(),
                number: 0,
                piece: None,
            };
            portion.joined(&schema, &[0]).map(Result::unwrap)
        };
        let batch = keys(&["a", "b", "a"]);
        assert!(joined([batch.clone(), keys(&["a", "b"])]).is_none());
        let same = joined([batch.slice(0, 1), batch.slice(1, 2)]);
        assert_eq!(same, Some(batch));
    }
}
