//! Arrow arrays in and out, without a copy.
//!
//! [`ColumnView::of`] looks at an array's buffers as a device takes them; [`fn@array`] makes an array
//! of buffers that a device has written. Neither copies, nor allocates more than the array itself.
//!
//! ```
//! use arrow_array::{Array, Int32Array};
//! use unlade_hal::arrow::{ColumnView, array};
//! use unlade_program::Ty;
//!
//! let numbers = Int32Array::from(vec![Some(1), None, Some(3)]).slice(1, 2);
//! let view = ColumnView::of(&numbers)?;
//! assert_eq!((view.ty, view.rows), (Ty::I32, 2));
//! assert_eq!(view.values.span(), (0..8, 0)); // the slice's own bytes
//! assert_eq!(view.validity.unwrap().span(), (0..1, 1)); // from the second bit on
//!
//! let values = view.values.buffer.clone();
//! let again = array(numbers.data_type(), 2, values, None)?;
//! assert_eq!(again.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use unlade_program::Ty;

/// The physical type of a column's values, or `None` for types that no program computes with. Of a
/// dictionary it is that of the keys.
pub fn physical_type(data_type: &DataType) -> Option<Ty> {
    Some(match data_type {
        DataType::Boolean => Ty::Mask,
        DataType::Int8 => Ty::I8,
        DataType::Int16 => Ty::I16,
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) => Ty::I32,
        DataType::Int64
        | DataType::Date64
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_) => Ty::I64,
        DataType::UInt8 => Ty::U8,
        DataType::UInt16 => Ty::U16,
        DataType::UInt32 => Ty::U32,
        DataType::UInt64 => Ty::U64,
        DataType::Float32 => Ty::F32,
        DataType::Float64 => Ty::F64,
        DataType::Decimal128(..) => Ty::I128,
        DataType::Dictionary(key, _) => return physical_type(key),
        _ => return None,
    })
}

/// One column of a batch, as a device takes it.
#[derive(Clone, Copy, Debug)]
pub struct ColumnView<'a> {
    /// Physical type of the values; of a dictionary column, of its keys.
    pub ty: Ty,
    /// Length in rows.
    pub rows: usize,
    /// The values, or keys; arbitrary where null.
    pub values: BitsView<'a>,
    /// One bit per row, set where not null. `None` where there is no null.
    pub validity: Option<BitsView<'a>>,
    /// How many rows are null.
    pub null_count: usize,
    /// What the keys point to, where this is a dictionary column.
    pub dictionary: Option<&'a ArrayRef>,
}

/// A run of bits of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct BitsView<'a> {
    /// The buffer.
    pub buffer: &'a Buffer,
    /// First bit; a multiple of 8 but in bitmaps.
    pub start: usize,
    /// Length in bits.
    pub len: usize,
}

impl BitsView<'_> {
    /// The bytes of the buffer that the run touches, and the position of its first bit, 0 to 7, in
    /// the first of them.
    pub fn span(&self) -> (Range<u64>, u8) {
        let first = self.start / 8;
        let end = (self.start + self.len).div_ceil(8).max(first);
        (first as u64..end as u64, (self.start % 8) as u8)
    }

    /// Those bytes.
    pub fn bytes(&self) -> &[u8] {
        let (bytes, _first_bit) = self.span();
        &self.buffer.as_slice()[bytes.start as usize..bytes.end as usize]
    }
}

/// A type that no program computes with. Such a column may still be filtered, as payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("columns of type {0} are not computed with; they can only be filtered")]
pub struct UnsupportedType(pub DataType);

impl<'a> ColumnView<'a> {
    /// Looks at an array.
    ///
    /// # Errors
    /// [`UnsupportedType`] where [`physical_type`] knows none.
    pub fn of(array: &'a dyn Array) -> Result<Self, UnsupportedType> {
        let data_type = array.data_type();
        Ok(match data_type {
            DataType::Boolean => boolean(array.as_boolean()),
            DataType::Int8 => primitive::<Int8Type>(array, Ty::I8),
            DataType::Int16 => primitive::<Int16Type>(array, Ty::I16),
            DataType::Int32 => primitive::<Int32Type>(array, Ty::I32),
            DataType::Int64 => primitive::<Int64Type>(array, Ty::I64),
            DataType::UInt8 => primitive::<UInt8Type>(array, Ty::U8),
            DataType::UInt16 => primitive::<UInt16Type>(array, Ty::U16),
            DataType::UInt32 => primitive::<UInt32Type>(array, Ty::U32),
            DataType::UInt64 => primitive::<UInt64Type>(array, Ty::U64),
            DataType::Float32 => primitive::<Float32Type>(array, Ty::F32),
            DataType::Float64 => primitive::<Float64Type>(array, Ty::F64),
            DataType::Decimal128(..) => primitive::<Decimal128Type>(array, Ty::I128),
            DataType::Date32 => primitive::<Date32Type>(array, Ty::I32),
            DataType::Date64 => primitive::<Date64Type>(array, Ty::I64),
            DataType::Time32(TimeUnit::Second) => primitive::<Time32SecondType>(array, Ty::I32),
            DataType::Time32(_) => primitive::<Time32MillisecondType>(array, Ty::I32),
            DataType::Time64(TimeUnit::Microsecond) => {
                primitive::<Time64MicrosecondType>(array, Ty::I64)
            }
            DataType::Time64(_) => primitive::<Time64NanosecondType>(array, Ty::I64),
            DataType::Timestamp(unit, _) => match unit {
                TimeUnit::Second => primitive::<TimestampSecondType>(array, Ty::I64),
                TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(array, Ty::I64),
                TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(array, Ty::I64),
                TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(array, Ty::I64),
            },
            DataType::Duration(unit) => match unit {
                TimeUnit::Second => primitive::<DurationSecondType>(array, Ty::I64),
                TimeUnit::Millisecond => primitive::<DurationMillisecondType>(array, Ty::I64),
                TimeUnit::Microsecond => primitive::<DurationMicrosecondType>(array, Ty::I64),
                TimeUnit::Nanosecond => primitive::<DurationNanosecondType>(array, Ty::I64),
            },
            DataType::Dictionary(key, _) => match **key {
                DataType::Int8 => dictionary::<Int8Type>(array, Ty::I8),
                DataType::Int16 => dictionary::<Int16Type>(array, Ty::I16),
                DataType::Int32 => dictionary::<Int32Type>(array, Ty::I32),
                DataType::Int64 => dictionary::<Int64Type>(array, Ty::I64),
                DataType::UInt8 => dictionary::<UInt8Type>(array, Ty::U8),
                DataType::UInt16 => dictionary::<UInt16Type>(array, Ty::U16),
                DataType::UInt32 => dictionary::<UInt32Type>(array, Ty::U32),
                DataType::UInt64 => dictionary::<UInt64Type>(array, Ty::U64),
                _ => return Err(UnsupportedType(data_type.clone())),
            },
            _ => return Err(UnsupportedType(data_type.clone())),
        })
    }
}

fn boolean(array: &BooleanArray) -> ColumnView<'_> {
    let bits = array.values();
    let values = BitsView {
        buffer: bits.inner(),
        start: bits.offset(),
        len: bits.len(),
    };
    view(Ty::Mask, array.len(), values, array.nulls())
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array, ty: Ty) -> ColumnView<'_> {
    primitive_view(array.as_primitive::<T>(), ty)
}

fn dictionary<K: ArrowDictionaryKeyType>(array: &dyn Array, ty: Ty) -> ColumnView<'_> {
    let array = array.as_dictionary::<K>();
    ColumnView {
        dictionary: Some(array.values()),
        ..primitive_view(array.keys(), ty)
    }
}

fn primitive_view<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, ty: Ty) -> ColumnView<'_> {
    // A slice's buffer begins at the slice.
    let len = array.len() * ty.bits() as usize;
    let values = BitsView {
        buffer: array.values().inner(),
        start: 0,
        len,
    };
    view(ty, array.len(), values, array.nulls())
}

fn view<'a>(
    ty: Ty,
    rows: usize,
    values: BitsView<'a>,
    nulls: Option<&'a NullBuffer>,
) -> ColumnView<'a> {
    let null_count = nulls.map_or(0, NullBuffer::null_count);
    let validity = nulls.filter(|nulls| nulls.null_count() > 0).map(|nulls| {
        let bits = nulls.inner();
        BitsView {
            buffer: bits.inner(),
            start: bits.offset(),
            len: bits.len(),
        }
    });
    ColumnView {
        ty,
        rows,
        values,
        validity,
        null_count,
        dictionary: None,
    }
}

/// Why buffers do not make an array.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Not a type that programs compute.
    #[error("arrays of type {0} are not made by a device")]
    Unsupported(DataType),
    /// Too few bytes.
    #[error("{what} of {rows} rows of {data_type} take {wanted} bytes, but there are {found}")]
    TooShort {
        /// The values or the validity.
        what: &'static str,
        /// Rows asked for.
        rows: usize,
        /// Type asked for.
        data_type: DataType,
        /// Bytes they take.
        wanted: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The values do not begin at a multiple of their width.
    #[error("values of {data_type} must begin at a multiple of {alignment} bytes")]
    Misaligned {
        /// Type asked for.
        data_type: DataType,
        /// The alignment it needs.
        alignment: usize,
    },
}

/// Makes an array of what a device has written: the values, bit 0 or byte 0 first, and one bit per
/// row that is not null. A validity without a null is dropped.
///
/// All bits are a value of these types, so there is nothing to check but lengths and alignment;
/// counting the nulls is the only work that grows with the rows.
///
/// # Errors
/// See [`ExportError`].
pub fn array(
    data_type: &DataType,
    rows: usize,
    values: Buffer,
    validity: Option<Buffer>,
) -> Result<ArrayRef, ExportError> {
    let unsupported = || ExportError::Unsupported(data_type.clone());
    if matches!(data_type, DataType::Dictionary(..)) {
        return Err(unsupported()); // its values are not among the buffers
    }
    let ty = physical_type(data_type).ok_or_else(unsupported)?;
    let enough = |what, wanted: u64, buffer: &Buffer| {
        let found = buffer.len();
        if (found as u64) < wanted {
            let data_type = data_type.clone();
            let wanted = wanted as usize;
            return Err(ExportError::TooShort {
                what,
                rows,
                data_type,
                wanted,
                found,
            });
        }
        Ok(())
    };
    enough("values", ty.bytes_for(rows as u64), &values)?;
    if let Some(validity) = &validity {
        enough("validity", Ty::Mask.bytes_for(rows as u64), validity)?;
    }
    let alignment = if rows == 0 { 1 } else { alignment(ty) };
    if values.as_ptr().align_offset(alignment) != 0 {
        return Err(ExportError::Misaligned {
            data_type: data_type.clone(),
            alignment,
        });
    }
    // No row, no byte: an empty buffer of any alignment becomes one that Arrow takes.
    let values = if rows == 0 { Buffer::default() } else { values };
    let nulls = validity
        .map(|validity| NullBuffer::new(BooleanBuffer::new(validity, 0, rows)))
        .filter(|nulls| nulls.null_count() > 0);

    let parts = Parts {
        data_type,
        rows,
        values,
        nulls,
    };
    Ok(match data_type {
        DataType::Boolean => {
            let bits = BooleanBuffer::new(parts.values, 0, rows);
            Arc::new(BooleanArray::new(bits, parts.nulls))
        }
        DataType::Int8 => parts.primitive::<Int8Type>(),
        DataType::Int16 => parts.primitive::<Int16Type>(),
        DataType::Int32 => parts.primitive::<Int32Type>(),
        DataType::Int64 => parts.primitive::<Int64Type>(),
        DataType::UInt8 => parts.primitive::<UInt8Type>(),
        DataType::UInt16 => parts.primitive::<UInt16Type>(),
        DataType::UInt32 => parts.primitive::<UInt32Type>(),
        DataType::UInt64 => parts.primitive::<UInt64Type>(),
        DataType::Float32 => parts.primitive::<Float32Type>(),
        DataType::Float64 => parts.primitive::<Float64Type>(),
        DataType::Decimal128(..) => parts.primitive::<Decimal128Type>(),
        DataType::Date32 => parts.primitive::<Date32Type>(),
        DataType::Date64 => parts.primitive::<Date64Type>(),
        DataType::Time32(TimeUnit::Second) => parts.primitive::<Time32SecondType>(),
        DataType::Time32(_) => parts.primitive::<Time32MillisecondType>(),
        DataType::Time64(TimeUnit::Microsecond) => parts.primitive::<Time64MicrosecondType>(),
        DataType::Time64(_) => parts.primitive::<Time64NanosecondType>(),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => parts.primitive::<TimestampSecondType>(),
            TimeUnit::Millisecond => parts.primitive::<TimestampMillisecondType>(),
            TimeUnit::Microsecond => parts.primitive::<TimestampMicrosecondType>(),
            TimeUnit::Nanosecond => parts.primitive::<TimestampNanosecondType>(),
        },
        DataType::Duration(unit) => match unit {
            TimeUnit::Second => parts.primitive::<DurationSecondType>(),
            TimeUnit::Millisecond => parts.primitive::<DurationMillisecondType>(),
            TimeUnit::Microsecond => parts.primitive::<DurationMicrosecondType>(),
            TimeUnit::Nanosecond => parts.primitive::<DurationNanosecondType>(),
        },
        _ => return Err(unsupported()),
    })
}

fn alignment(ty: Ty) -> usize {
    match ty {
        Ty::Mask | Ty::I8 | Ty::U8 => 1,
        Ty::I16 | Ty::U16 => align_of::<i16>(),
        Ty::I32 | Ty::U32 | Ty::F32 => align_of::<i32>(),
        Ty::I64 | Ty::U64 | Ty::F64 => align_of::<i64>(),
        Ty::I128 => align_of::<i128>(),
    }
}

struct Parts<'a> {
    data_type: &'a DataType,
    rows: usize,
    values: Buffer,
    nulls: Option<NullBuffer>,
}

impl Parts<'_> {
    fn primitive<T: ArrowPrimitiveType>(self) -> ArrayRef {
        let values = ScalarBuffer::<T::Native>::new(self.values, 0, self.rows);
        let array = PrimitiveArray::<T>::new(values, self.nulls);
        // Only a zone or a precision is not in `T` already.
        if *self.data_type == T::DATA_TYPE {
            return Arc::new(array);
        }
        Arc::new(array.with_data_type(self.data_type.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{DictionaryArray, Int32Array, StringArray, new_null_array};
    use arrow_schema::IntervalUnit;

    fn supported() -> Vec<DataType> {
        use TimeUnit::*;
        let mut types = vec![
            DataType::Boolean,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(12, 3),
            DataType::Date32,
            DataType::Date64,
            DataType::Time32(Second),
            DataType::Time32(Millisecond),
            DataType::Time64(Microsecond),
            DataType::Time64(Nanosecond),
        ];
        for unit in [Second, Millisecond, Microsecond, Nanosecond] {
            types.push(DataType::Duration(unit));
            types.push(DataType::Timestamp(unit, None));
            types.push(DataType::Timestamp(unit, Some("Europe/Paris".into())));
        }
        types
    }

    /// 35 rows of bytes that differ, every third one null.
    fn sample(data_type: &DataType) -> ArrayRef {
        let bytes: Vec<u8> = (0..35 * 16).map(|at| (at * 37 % 251) as u8).collect();
        let validity: Vec<u8> = vec![0b1101_1011; 5];
        array(
            data_type,
            35,
            Buffer::from_vec(align(bytes)),
            Some(Buffer::from_vec(validity)),
        )
        .unwrap()
    }

    fn align(bytes: Vec<u8>) -> Vec<i128> {
        let chunks = bytes.chunks_exact(16);
        chunks
            .map(|chunk| i128::from_le_bytes(chunk.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn every_type_goes_out_and_comes_back_in_place() {
        for data_type in supported() {
            let whole = sample(&data_type);
            assert_eq!(whole.data_type(), &data_type);
            for (start, len) in [(0, 35), (1, 20), (9, 26), (34, 1), (35, 0)] {
                let slice = whole.slice(start, len);
                let view = ColumnView::of(&slice).unwrap();
                assert_eq!(Some(view.ty), physical_type(&data_type));
                assert_eq!((view.rows, view.null_count), (len, slice.null_count()));
                let width = view.ty.bits() as usize;
                let (bytes, first_bit) = view.values.span();
                let address = view.values.buffer.as_ptr() as usize + bytes.start as usize;
                let origin = whole.to_data().buffers()[0].as_ptr() as usize;
                assert_eq!((address - origin) * 8 + first_bit as usize, start * width);
                assert_eq!(view.values.len, len * width);
                assert_eq!(
                    view.values.bytes().len(),
                    bytes.end as usize - bytes.start as usize
                );
                for row in 0..len {
                    let validity = view.validity.unwrap();
                    let at = validity.start + row;
                    let set = validity.buffer.as_slice()[at / 8] >> (at % 8) & 1 == 1;
                    assert_eq!(set, slice.is_valid(row), "{data_type} row {row}");
                }
            }
        }
    }

    #[test]
    fn a_validity_without_nulls_is_none() {
        let values = Buffer::from_vec(vec![1i32, 2, 3]);
        let all = Some(Buffer::from_vec(vec![0xffu8]));
        let whole = array(&DataType::Int32, 3, values, all).unwrap();
        assert!(whole.nulls().is_none());
        let nulls = Int32Array::from(vec![None, Some(1), Some(2)]).slice(1, 2);
        assert!(ColumnView::of(&nulls).unwrap().validity.is_none());
    }

    #[test]
    fn a_dictionary_shows_keys_and_values() {
        let column: DictionaryArray<Int8Type> =
            ["a", "b", "a"].into_iter().collect::<DictionaryArray<_>>();
        let view = ColumnView::of(&column).unwrap();
        assert_eq!((view.ty, view.values.bytes()), (Ty::I8, &[0, 1, 0][..]));
        let values: &StringArray = view.dictionary.unwrap().as_string();
        assert_eq!(values.value(1), "b");
    }

    #[test]
    fn other_types_are_named_in_the_error() {
        for other in [
            DataType::Utf8,
            DataType::Float16,
            DataType::Interval(IntervalUnit::DayTime),
            DataType::Decimal256(40, 0),
        ] {
            let column = new_null_array(&other, 1);
            assert_eq!(
                ColumnView::of(&column).unwrap_err(),
                UnsupportedType(other.clone())
            );
            let made = array(&other, 0, Buffer::default(), None);
            assert_eq!(made.unwrap_err(), ExportError::Unsupported(other));
        }
    }

    #[test]
    fn short_and_misaligned_buffers_are_refused() {
        let three = Buffer::from_vec(vec![1i64, 2, 3]);
        let short = array(&DataType::Int64, 4, three.clone(), None).unwrap_err();
        assert_eq!(
            short.to_string(),
            "values of 4 rows of Int64 take 32 bytes, but there are 24"
        );
        let validity = Some(Buffer::default());
        let short = array(&DataType::Int64, 3, three.clone(), validity).unwrap_err();
        assert!(matches!(
            short,
            ExportError::TooShort {
                what: "validity",
                ..
            }
        ));
        let odd = array(&DataType::Int64, 2, three.slice(1), None).unwrap_err();
        assert!(matches!(odd, ExportError::Misaligned { alignment: 8, .. }));
        assert_eq!(
            array(&DataType::Int64, 0, three.slice(1), None)
                .unwrap()
                .len(),
            0
        );
    }
}
