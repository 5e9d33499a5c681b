//! Compaction of strings and binary values.

use std::sync::Arc;

use arrow_array::types::ByteArrayType;
use arrow_array::{ArrayRef, GenericByteArray, OffsetSizeTrait};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use super::Selection;
use crate::arrays::malformed;
use crate::block::Memory;
use crate::error::Error;

/// Values up to this long are copied as this many bytes whatever their length, which is one load
/// and one store; what lies behind is overwritten by the next value.
const SHORT: usize = 16;

/// The kept ones of an array's values, with the validity already compacted.
///
/// A first pass sizes the output, so that every byte is copied once, into its final place.
pub(super) fn compact_bytes<T: ByteArrayType>(
    array: &GenericByteArray<T>,
    nulls: Option<NullBuffer>,
    selection: &Selection<'_>,
    memory: &Memory,
    copied: &mut u64,
) -> Result<ArrayRef, Error> {
    let offsets = array.value_offsets();
    let (new_offsets, total) = compact_offsets(offsets, selection, memory)?;
    let values = array.value_data();
    let mut block = memory.block(total + SHORT)?;
    let out = &mut block.bytes_mut()[..total + SHORT];
    let mut at = 0;
    if is_dense(selection) {
        selection.for_each_run(|first, rows| {
            let run = &values[offsets[first].as_usize()..offsets[first + rows].as_usize()];
            out[at..at + run.len()].copy_from_slice(run);
            at += run.len();
        });
    } else {
        selection.for_each_row(|row| {
            let (start, end) = (offsets[row].as_usize(), offsets[row + 1].as_usize());
            let len = end - start;
            match values.get(start..start + SHORT) {
                Some(short) if len <= SHORT => out[at..at + SHORT].copy_from_slice(short),
                _ => out[at..at + len].copy_from_slice(&values[start..end]),
            }
            at += len;
        });
    }
    debug_assert_eq!(at, total);
    *copied += (total + size_of_val(&new_offsets[..])) as u64;
    // Whole values of a valid array: `try_new` checks UTF-8 once more, as safe code must.
    let array =
        GenericByteArray::<T>::try_new(OffsetBuffer::new(new_offsets), block.freeze(total), nulls);
    Ok(Arc::new(array.map_err(malformed)?))
}

/// Offsets of the kept ones of values of varying length, and their end.
pub(super) fn compact_offsets<O: OffsetSizeTrait>(
    offsets: &[O],
    selection: &Selection<'_>,
    memory: &Memory,
) -> Result<(ScalarBuffer<O>, usize), Error> {
    let width = size_of::<O>();
    let len = (selection.kept() + 1) * width;
    let mut block = memory.block(len)?;
    let (first, rest) = block.bytes_mut()[..len].split_at_mut(width);
    first.fill(0);
    let mut out = rest.chunks_exact_mut(width);
    let mut end = 0;
    selection.for_each_row(|row| {
        end += offsets[row + 1].as_usize() - offsets[row].as_usize();
        // The end cannot exceed the source's last offset, which fits its type.
        let slot = out.next().expect("one place per kept row");
        slot.copy_from_slice(&(end as u64).to_le_bytes()[..width]);
    });
    let buffer: Buffer = block.freeze(len);
    Ok((ScalarBuffer::new(buffer, 0, selection.kept() + 1), end))
}

/// Whether kept rows mostly come in long runs, so that it pays to copy these whole.
fn is_dense(selection: &Selection<'_>) -> bool {
    selection.kept() >= selection.rows() / 8 * 7
}
