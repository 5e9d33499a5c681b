//! Columns of strings taken apart: what a device that compacts them is handed.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::ByteArrayType;
use arrow_array::{Array, GenericByteArray, OffsetSizeTrait};
use arrow_buffer::{ArrowNativeType, Buffer};
use arrow_schema::DataType;
use unlade_hal::Offsets;

/// The offsets and bytes of a column's rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StringsColumn<'a> {
    pub(crate) width: Offsets,
    /// One more than there are rows; begins with the first row's.
    pub(crate) offsets: &'a Buffer,
    /// What offset 0 refers to.
    values: &'a Buffer,
    /// The first row's offset.
    pub(crate) first: u64,
    /// Where the last row's bytes end.
    last: u64,
}

impl<'a> StringsColumn<'a> {
    /// `None` where the column is none of strings or binary values with offsets.
    pub(crate) fn of(array: &'a dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8 => Some(apart(array.as_string::<i32>(), Offsets::I32)),
            DataType::LargeUtf8 => Some(apart(array.as_string::<i64>(), Offsets::I64)),
            DataType::Binary => Some(apart(array.as_binary::<i32>(), Offsets::I32)),
            DataType::LargeBinary => Some(apart(array.as_binary::<i64>(), Offsets::I64)),
            _ => None,
        }
    }

    /// The offsets of its rows, and where the last one ends.
    pub(crate) fn offset_bytes(&self, rows: usize) -> &'a [u8] {
        &self.offsets[..(rows + 1) * self.width.bytes() as usize]
    }

    /// The offsets of its rows from the first of its [bytes](Self::bytes) on. Those that do not ascend are
    /// found where they are used, and wrap here.
    pub(crate) fn own_offsets(&self, rows: usize) -> Cow<'a, [u8]> {
        let offsets = self.offset_bytes(rows);
        macro_rules! moved {
            ($native:ty) => {{
                let (offsets, _) = offsets.as_chunks();
                let offsets = offsets.iter().map(|each| <$native>::from_ne_bytes(*each));
                let first = self.first as $native;
                offsets
                    .flat_map(|each| each.wrapping_sub(first).to_ne_bytes())
                    .collect()
            }};
        }
        match self.width {
            _ if self.first == 0 => Cow::Borrowed(offsets),
            Offsets::I32 => Cow::Owned(moved!(i32)),
            Offsets::I64 => Cow::Owned(moved!(i64)),
        }
    }

    /// How long the bytes of its rows are.
    pub(crate) fn len(&self) -> u64 {
        self.last - self.first
    }

    /// The bytes of its rows, and no others.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        &self.values[self.first as usize..self.last as usize]
    }

    /// The same, shared.
    pub(crate) fn buffer(&self) -> Buffer {
        self.values
            .slice_with_length(self.first as usize, self.len() as usize)
    }
}

/// The width of the offsets of a column of this type.
pub(crate) fn offset_width(data_type: &DataType) -> Option<Offsets> {
    match data_type {
        DataType::Utf8 | DataType::Binary => Some(Offsets::I32),
        DataType::LargeUtf8 | DataType::LargeBinary => Some(Offsets::I64),
        _ => None,
    }
}

fn apart<T: ByteArrayType<Offset: OffsetSizeTrait>>(
    array: &GenericByteArray<T>,
    width: Offsets,
) -> StringsColumn<'_> {
    let offsets = array.offsets();
    StringsColumn {
        width,
        offsets: offsets.inner().inner(),
        values: array.values(),
        first: offsets[0].as_usize() as u64,
        last: offsets[array.len()].as_usize() as u64,
    }
}
