//! Compaction of payload: the kept rows of columns of every Arrow type.
//!
//! Each kept value is copied once, into its final place. What a value only refers to (the values
//! of a dictionary, the data of views) is shared with the input, not copied.

mod bytes;
mod fixed;
mod selection;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, GenericListArray, MapArray, NullArray,
    OffsetSizeTrait, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, FieldRef};

use crate::arrays::{self, fixed_values, fixed_width, malformed};
use crate::block::Memory;
use crate::error::Error;
pub(crate) use selection::Selection;
use selection::set_bits;

/// The kept rows of a column; adds the bytes written to `copied`. A column that is kept whole is
/// handed on as it is.
///
/// # Errors
/// [`Error::Exhausted`] without memory; [`Error::Malformed`] where the column breaks its format.
pub(crate) fn gather(
    array: &ArrayRef,
    selection: &Selection<'_>,
    memory: &Memory,
    copied: &mut u64,
) -> Result<ArrayRef, Error> {
    debug_assert_eq!(array.len(), selection.rows());
    if selection.is_all() {
        return Ok(Arc::clone(array));
    }
    let data_type = array.data_type();
    // These are compacted with their validity by code of their own or by arrow-select.
    match data_type {
        DataType::Null => return Ok(Arc::new(NullArray::new(selection.kept()))),
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(_, _)
        | DataType::RunEndEncoded(_, _) => return by_arrow(array, selection, copied),
        _ => {}
    }
    let nulls = compact_nulls(array, selection, memory, copied)?;
    let parts = Parts {
        selection,
        memory,
        nulls,
    };
    match data_type {
        DataType::Utf8 => parts.bytes(array.as_string::<i32>(), copied),
        DataType::LargeUtf8 => parts.bytes(array.as_string::<i64>(), copied),
        DataType::Binary => parts.bytes(array.as_binary::<i32>(), copied),
        DataType::LargeBinary => parts.bytes(array.as_binary::<i64>(), copied),
        DataType::List(field) => parts.list(field, array.as_list::<i32>(), copied),
        DataType::LargeList(field) => parts.list(field, array.as_list::<i64>(), copied),
        DataType::Map(field, ordered) => parts.map(field, *ordered, array.as_map(), copied),
        DataType::FixedSizeList(field, _) => {
            parts.fixed_size_list(field, array.as_fixed_size_list(), copied)
        }
        DataType::Struct(_) => parts.structure(array.as_struct(), copied),
        _ => parts.fixed(array, copied),
    }
}

/// What all kinds of columns need.
struct Parts<'a> {
    selection: &'a Selection<'a>,
    memory: &'a Memory,
    /// The validity of the kept rows.
    nulls: Option<NullBuffer>,
}

impl Parts<'_> {
    fn fixed(self, array: &ArrayRef, copied: &mut u64) -> Result<ArrayRef, Error> {
        let data_type = array.data_type();
        let rows = self.selection.kept();
        let unknown = || Error::Malformed(format!("cannot filter a column of type {data_type}"));
        if let Some(booleans) = array.as_boolean_opt() {
            let bits = fixed::compact_bits(booleans.values(), self.selection, self.memory)?;
            *copied += bits.len() as u64;
            let bits = arrow_buffer::BooleanBuffer::new(bits, 0, rows);
            return Ok(Arc::new(BooleanArray::new(bits, self.nulls)));
        }
        let values = fixed_values(array).ok_or_else(unknown)?.buffer;
        let width = fixed_width(data_type).ok_or_else(unknown)?;
        let values = fixed::compact_values(values, width, self.selection, self.memory)?;
        *copied += values.len() as u64;
        match data_type {
            DataType::Dictionary(_, _) => arrays::from_keys(array, rows, values, self.nulls),
            _ => arrays::from_fixed(data_type, rows, values, self.nulls),
        }
    }

    fn bytes<T: arrow_array::types::ByteArrayType>(
        self,
        array: &arrow_array::GenericByteArray<T>,
        copied: &mut u64,
    ) -> Result<ArrayRef, Error> {
        bytes::compact_bytes(array, self.nulls, self.selection, self.memory, copied)
    }

    fn list<O: OffsetSizeTrait>(
        self,
        field: &FieldRef,
        array: &GenericListArray<O>,
        copied: &mut u64,
    ) -> Result<ArrayRef, Error> {
        let (offsets, values) = self.entries(array.value_offsets(), array.values(), copied)?;
        let list = GenericListArray::try_new(Arc::clone(field), offsets, values, self.nulls);
        Ok(Arc::new(list.map_err(malformed)?))
    }

    fn map(
        self,
        field: &FieldRef,
        ordered: bool,
        array: &MapArray,
        copied: &mut u64,
    ) -> Result<ArrayRef, Error> {
        let entries: ArrayRef = Arc::new(array.entries().clone());
        let (offsets, entries) = self.entries(array.value_offsets(), &entries, copied)?;
        let entries = entries.as_struct().clone();
        let map = MapArray::try_new(Arc::clone(field), offsets, entries, self.nulls, ordered);
        Ok(Arc::new(map.map_err(malformed)?))
    }

    /// Offsets and children of the kept ones of lists.
    fn entries<O: OffsetSizeTrait>(
        &self,
        offsets: &[O],
        children: &ArrayRef,
        copied: &mut u64,
    ) -> Result<(OffsetBuffer<O>, ArrayRef), Error> {
        let (new_offsets, _) = bytes::compact_offsets(offsets, self.selection, self.memory)?;
        *copied += size_of_val(&new_offsets[..]) as u64;
        // A slice's offsets need neither begin at 0 nor end with the children.
        let first = offsets[0].as_usize();
        let count = offsets[self.selection.rows()].as_usize() - first;
        let mut bits = vec![0; count.div_ceil(8)];
        self.selection.for_each_run(|row, rows| {
            let (start, end) = (offsets[row].as_usize(), offsets[row + rows].as_usize());
            set_bits(&mut bits, start - first, end - start);
        });
        let children = children.slice(first, count);
        let children = gather(
            &children,
            &Selection::new(&bits, count),
            self.memory,
            copied,
        )?;
        Ok((OffsetBuffer::new(new_offsets), children))
    }

    fn fixed_size_list(
        self,
        field: &FieldRef,
        array: &FixedSizeListArray,
        copied: &mut u64,
    ) -> Result<ArrayRef, Error> {
        let size = array.value_length();
        let per_row = usize::try_from(size)
            .map_err(|_| Error::Malformed(format!("a list has a size of {size}")))?;
        let count = self.selection.rows() * per_row;
        let mut bits = vec![0; count.div_ceil(8)];
        self.selection
            .for_each_run(|row, rows| set_bits(&mut bits, row * per_row, rows * per_row));
        let selection = Selection::new(&bits, count);
        let children = gather(
            &array.values().slice(0, count),
            &selection,
            self.memory,
            copied,
        )?;
        let rows = self.selection.kept();
        let list = FixedSizeListArray::try_new_with_length(
            Arc::clone(field),
            size,
            children,
            self.nulls,
            rows,
        );
        Ok(Arc::new(list.map_err(malformed)?))
    }

    fn structure(self, array: &StructArray, copied: &mut u64) -> Result<ArrayRef, Error> {
        let columns = array
            .columns()
            .iter()
            .map(|column| gather(column, self.selection, self.memory, copied))
            .collect::<Result<Vec<_>, Error>>()?;
        let rows = self.selection.kept();
        let structure =
            StructArray::try_new_with_length(array.fields().clone(), columns, self.nulls, rows);
        Ok(Arc::new(structure.map_err(malformed)?))
    }
}

/// The validity of the kept rows, if any of them is null.
fn compact_nulls(
    array: &ArrayRef,
    selection: &Selection<'_>,
    memory: &Memory,
    copied: &mut u64,
) -> Result<Option<NullBuffer>, Error> {
    let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok(None);
    };
    let bits = fixed::compact_bits(nulls.inner(), selection, memory)?;
    let len = bits.len() as u64;
    let nulls = arrays::nulls(bits, selection.kept());
    if nulls.is_some() {
        *copied += len;
    }
    Ok(nulls)
}

/// Rows of the kinds of columns that arrow-select compacts no worse than code here would.
fn by_arrow(
    array: &ArrayRef,
    selection: &Selection<'_>,
    copied: &mut u64,
) -> Result<ArrayRef, Error> {
    let bits = selection.to_boolean_array();
    let gathered = arrow_select::filter::filter(array, &bits).map_err(malformed)?;
    *copied += copied_bytes(&gathered, array)?;
    Ok(gathered)
}

/// Bytes that an array has of its own: all of it that it does not share with another.
fn copied_bytes(array: &ArrayRef, source: &ArrayRef) -> Result<u64, Error> {
    let rows = array.len() as u64;
    let validity = |array: &ArrayRef| match array.nulls() {
        Some(_) => (array.len() as u64).div_ceil(8),
        None => 0,
    };
    Ok(match array.data_type() {
        // The data is shared.
        DataType::Utf8View | DataType::BinaryView => 16 * rows + validity(array),
        // So are the children.
        DataType::ListView(_) => 8 * rows + validity(array),
        DataType::LargeListView(_) => 16 * rows + validity(array),
        _ if Arc::ptr_eq(array, source) => 0,
        _ => array.to_data().get_slice_memory_size().map_err(malformed)? as u64,
    })
}

#[cfg(test)]
mod tests;
