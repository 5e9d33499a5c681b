//! Arrow arrays taken apart into buffers, and put together from them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryType, ByteArrayType, LargeBinaryType, LargeUtf8Type, Utf8Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray,
    GenericByteArray, GenericListArray, GenericListViewArray, MapArray, OffsetSizeTrait,
    PrimitiveArray, StructArray, downcast_primitive,
};
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer,
};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields};
use unlade_eval::{BitsRef, ColumnRef};

use crate::error::Error;

/// The values of a column of fixed width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedValues<'a> {
    /// Their memory; except for booleans it begins with the first row's value.
    pub(crate) buffer: &'a Buffer,
    /// Where the first row's bit is; zero unless these are booleans.
    pub(crate) bit_offset: usize,
}

impl<'a> FixedValues<'a> {
    /// Bits as booleans.
    pub(crate) fn of_bits(bits: &'a BooleanBuffer) -> Self {
        FixedValues {
            buffer: bits.inner(),
            bit_offset: bits.offset(),
        }
    }

    /// As the evaluator takes them.
    pub(crate) fn column(self, validity: Option<BitsRef<'a>>) -> ColumnRef<'a> {
        ColumnRef {
            values: &self.buffer[self.bit_offset / 8..],
            bit_offset: (self.bit_offset % 8) as u8,
            validity,
        }
    }
}

/// The values of a column of fixed width, of a dictionary-encoded one its keys; `None` for a
/// column of any other kind.
pub(crate) fn fixed_values(array: &dyn Array) -> Option<FixedValues<'_>> {
    macro_rules! primitive {
        ($native:ty, $array:ident) => {
            Some(FixedValues {
                buffer: $array.as_primitive_opt::<$native>()?.values().inner(),
                bit_offset: 0,
            })
        };
    }
    downcast_primitive! {
        array.data_type() => (primitive, array),
        DataType::Boolean => {
            let bits = array.as_boolean_opt()?.values();
            Some(FixedValues { buffer: bits.inner(), bit_offset: bits.offset() })
        }
        DataType::FixedSizeBinary(_) => Some(FixedValues {
            buffer: array.as_fixed_size_binary_opt()?.values(),
            bit_offset: 0,
        }),
        DataType::Dictionary(_, _) => fixed_values(array.as_any_dictionary_opt()?.keys()),
        _ => None,
    }
}

/// Bytes of one value of a type that [`fixed_values`] knows, other than `Boolean`.
pub(crate) fn fixed_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Dictionary(keys, _) => keys.primitive_width(),
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        other => other.primitive_width(),
    }
}

/// Values as an array of a type of fixed width other than a dictionary. `values` begins with the
/// first row; of booleans with its bit.
pub(crate) fn from_fixed(
    data_type: &DataType,
    rows: usize,
    values: Buffer,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Error> {
    macro_rules! primitive {
        ($native:ty) => {{
            let values = scalars(values, rows);
            let array = PrimitiveArray::<$native>::try_new(values, nulls).map_err(malformed)?;
            // The rest of a type is told by the native one.
            let array = match data_type {
                DataType::Timestamp(_, Some(_))
                | DataType::Decimal32(_, _)
                | DataType::Decimal64(_, _)
                | DataType::Decimal128(_, _)
                | DataType::Decimal256(_, _) => array.with_data_type(data_type.clone()),
                _ => array,
            };
            Arc::new(array) as ArrayRef
        }};
    }
    Ok(downcast_primitive! {
        data_type => (primitive),
        DataType::Boolean => Arc::new(BooleanArray::new(BooleanBuffer::new(values, 0, rows), nulls)),
        DataType::FixedSizeBinary(width) => {
            Arc::new(FixedSizeBinaryArray::try_new_with_len(*width, values, nulls, rows).map_err(malformed)?)
        }
        other => {
            return Err(Error::Malformed(format!("{other} is not a type of fixed width")));
        }
    })
}

/// The same values under the names of a type that they [stand for](unlade_expr::stands_for), on the same
/// memory.
///
/// # Errors
/// [`Error::Malformed`] for an array of another type.
pub(crate) fn relabelled(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Error> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let relabelled = match to {
        DataType::List(item) => array.as_list_opt::<i32>().map(|list| in_list(list, item)),
        DataType::LargeList(item) => array.as_list_opt::<i64>().map(|list| in_list(list, item)),
        DataType::ListView(item) => {
            let list = array.as_list_view_opt::<i32>();
            list.map(|list| in_list_view(list, item))
        }
        DataType::LargeListView(item) => {
            let list = array.as_list_view_opt::<i64>();
            list.map(|list| in_list_view(list, item))
        }
        DataType::FixedSizeList(item, _) => array.as_fixed_size_list_opt().map(|list| {
            let (_, length, values, nulls) = list.clone().into_parts();
            let values = relabelled(&values, item.data_type())?;
            let item = Arc::clone(item);
            let list =
                FixedSizeListArray::try_new_with_length(item, length, values, nulls, array.len());
            Ok(Arc::new(list.map_err(malformed)?) as ArrayRef)
        }),
        DataType::Struct(fields) => array.as_struct_opt().map(|columns| {
            let columns = in_struct(columns, fields)?;
            Ok(Arc::new(columns) as ArrayRef)
        }),
        DataType::Map(field, _) => array.as_map_opt().map(|map| {
            let (_, offsets, entries, nulls, sorted) = map.clone().into_parts();
            let DataType::Struct(fields) = field.data_type() else {
                return Err(Error::Malformed(format!("{to} is no type of maps")));
            };
            let entries = in_struct(&entries, fields)?;
            let map = MapArray::try_new(Arc::clone(field), offsets, entries, nulls, sorted);
            Ok(Arc::new(map.map_err(malformed)?) as ArrayRef)
        }),
        DataType::Dictionary(_, values) => array.as_any_dictionary_opt().map(|dictionary| {
            let values = relabelled(dictionary.values(), values)?;
            Ok(dictionary.with_values(values))
        }),
        _ => None,
    };
    relabelled.unwrap_or_else(|| {
        let found = array.data_type();
        Err(Error::Malformed(format!("{found} does not stand for {to}")))
    })
}

fn in_list<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    item: &FieldRef,
) -> Result<ArrayRef, Error> {
    let (_, offsets, values, nulls) = list.clone().into_parts();
    let values = relabelled(&values, item.data_type())?;
    let list = GenericListArray::try_new(Arc::clone(item), offsets, values, nulls);
    Ok(Arc::new(list.map_err(malformed)?))
}

fn in_list_view<O: OffsetSizeTrait>(
    list: &GenericListViewArray<O>,
    item: &FieldRef,
) -> Result<ArrayRef, Error> {
    let (_, offsets, sizes, values, nulls) = list.clone().into_parts();
    let values = relabelled(&values, item.data_type())?;
    let list = GenericListViewArray::try_new(Arc::clone(item), offsets, sizes, values, nulls);
    Ok(Arc::new(list.map_err(malformed)?))
}

fn in_struct(columns: &StructArray, fields: &Fields) -> Result<StructArray, Error> {
    let rows = columns.len();
    let (_, columns, nulls) = columns.clone().into_parts();
    let columns = columns.iter().zip(fields);
    let columns = columns.map(|(column, field)| relabelled(column, field.data_type()));
    let columns = columns.collect::<Result<_, _>>()?;
    StructArray::try_new_with_length(fields.clone(), columns, nulls, rows).map_err(malformed)
}

/// Keys as an array that shares the dictionary of `source`.
///
/// # Errors
/// [`Error::Malformed`] where a valid key lies outside the dictionary.
pub(crate) fn from_keys(
    source: &dyn Array,
    rows: usize,
    keys: Buffer,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Error> {
    let DataType::Dictionary(key_type, _) = source.data_type() else {
        return Err(Error::Malformed(format!(
            "{} has no keys",
            source.data_type()
        )));
    };
    let values = Arc::clone(source.as_any_dictionary().values());
    macro_rules! keyed {
        ($($name:ident => $native:ident),*) => {
            match key_type.as_ref() {
                $(DataType::$name => {
                    let keys = PrimitiveArray::<arrow_array::types::$native>::try_new(
                        scalars(keys, rows),
                        nulls,
                    )
                    .map_err(malformed)?;
                    Arc::new(DictionaryArray::try_new(keys, values).map_err(malformed)?) as ArrayRef
                })*
                other => {
                    return Err(Error::Malformed(format!("{other} is no type of dictionary keys")));
                }
            }
        };
    }
    Ok(keyed!(
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type
    ))
}

/// Offsets and bytes as an array of strings or binary values.
///
/// # Errors
/// [`Error::Malformed`] where offsets do not ascend from 0 to the end of the bytes, or a string is
/// no UTF-8.
pub(crate) fn from_strings(
    data_type: &DataType,
    rows: usize,
    offsets: Buffer,
    bytes: Buffer,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Error> {
    fn of<T: ByteArrayType>(
        rows: usize,
        offsets: Buffer,
        bytes: Buffer,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let offsets = ScalarBuffer::<T::Offset>::new(offsets, 0, rows + 1);
        let ends = (offsets[0].to_usize(), offsets[rows].to_usize());
        if ends != (Some(0), Some(bytes.len())) || !offsets.is_sorted() {
            let what = "offsets do not ascend from 0 to the end of the bytes";
            return Err(Error::Malformed(what.to_owned()));
        }
        let offsets = OffsetBuffer::new(offsets);
        let array = GenericByteArray::<T>::try_new(offsets, bytes, nulls).map_err(malformed)?;
        Ok(Arc::new(array))
    }
    match data_type {
        DataType::Utf8 => of::<Utf8Type>(rows, offsets, bytes, nulls),
        DataType::LargeUtf8 => of::<LargeUtf8Type>(rows, offsets, bytes, nulls),
        DataType::Binary => of::<BinaryType>(rows, offsets, bytes, nulls),
        DataType::LargeBinary => of::<LargeBinaryType>(rows, offsets, bytes, nulls),
        other => Err(Error::Malformed(format!(
            "{other} has no offsets and bytes"
        ))),
    }
}

/// The first `rows` values; the buffer itself where there are no others.
fn scalars<T: ArrowNativeType>(values: Buffer, rows: usize) -> ScalarBuffer<T> {
    if values.len() == rows * size_of::<T>() {
        ScalarBuffer::from(values)
    } else {
        ScalarBuffer::new(values, 0, rows)
    }
}

/// Which rows of an array of any type are not null, themselves and the values they refer to.
pub(crate) fn validity(array: &dyn Array) -> BooleanBuffer {
    match array.logical_nulls() {
        Some(nulls) => nulls.into_inner(),
        None => BooleanBuffer::new_set(array.len()),
    }
}

/// Bits as the validity of `rows` rows, or nothing where all are valid.
pub(crate) fn nulls(bits: Buffer, rows: usize) -> Option<NullBuffer> {
    let nulls = NullBuffer::new(BooleanBuffer::new(bits, 0, rows));
    (nulls.null_count() > 0).then_some(nulls)
}

pub(crate) fn malformed(error: ArrowError) -> Error {
    Error::Malformed(error.to_string())
}

/// Bytes of an array's rows: values, offsets and validity, without what it shares with others
/// beyond its slice. The values of a dictionary and the data of views are not counted.
pub(crate) fn byte_size(array: &ArrayRef) -> u64 {
    let rows = array.len();
    let offsets = |first: usize, last: usize, width: usize| last - first + (rows + 1) * width;
    let data_type = array.data_type();
    let values = match data_type {
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8View | DataType::BinaryView => 16 * rows,
        DataType::ListView(_) => 8 * rows,
        DataType::LargeListView(_) => 16 * rows,
        DataType::Utf8 => ends(array.as_string::<i32>().value_offsets(), offsets),
        DataType::Binary => ends(array.as_binary::<i32>().value_offsets(), offsets),
        DataType::LargeUtf8 => ends(array.as_string::<i64>().value_offsets(), offsets),
        DataType::LargeBinary => ends(array.as_binary::<i64>().value_offsets(), offsets),
        DataType::Struct(_) => array
            .as_struct()
            .columns()
            .iter()
            .map(|column| byte_size(column) as usize)
            .sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            entries(list.value_offsets(), list.values())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            entries(list.value_offsets(), list.values())
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let pairs: ArrayRef = Arc::new(map.entries().clone());
            entries(map.value_offsets(), &pairs)
        }
        DataType::FixedSizeList(_, _) => byte_size(array.as_fixed_size_list().values()) as usize,
        DataType::Null => 0,
        other => match fixed_width(other) {
            Some(width) => rows * width,
            None => return array.to_data().get_slice_memory_size().unwrap_or(0) as u64,
        },
    };
    values as u64 + validity_size(array.nulls())
}

/// Bytes of lists: their offsets, and those of the children that these refer to.
fn entries<O: ArrowNativeType>(offsets: &[O], children: &ArrayRef) -> usize {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    let children = children.slice(first, last - first);
    size_of_val(offsets) + byte_size(&children) as usize
}

/// Bytes of a validity bitmap: none where no row is null, as it need not be read then.
pub(crate) fn validity_size(nulls: Option<&NullBuffer>) -> u64 {
    match nulls {
        Some(nulls) if nulls.null_count() > 0 => nulls.len().div_ceil(8) as u64,
        _ => 0,
    }
}

fn ends<O: ArrowNativeType>(offsets: &[O], size: impl Fn(usize, usize, usize) -> usize) -> usize {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    size(first, last, size_of::<O>())
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int32Type;
    use arrow_array::{FixedSizeListArray, LargeListArray, ListArray};

    use super::*;

    /// Ten lists of ten numbers, of which a slice of two has 80 bytes of numbers.
    #[test]
    fn a_slice_of_lists_counts_its_own_children() {
        let lists = || (0..10).map(|_| Some((0..10).map(Some).collect::<Vec<Option<i32>>>()));
        let size = |array: ArrayRef| byte_size(&array.slice(3, 2));
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(lists());
        assert_eq!(size(Arc::new(list)), 80 + 3 * 4);
        let large = LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists());
        assert_eq!(size(Arc::new(large)), 80 + 3 * 8);
        let fixed = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(lists(), 10);
        assert_eq!(size(Arc::new(fixed)), 80);
    }
}
