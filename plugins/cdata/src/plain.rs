//! Columns of plain values and of strings, in and out without `ArrayData` between.
//!
//! arrow-rs goes by way of `ArrayData`, with some ten allocations for a column that comes in and goes
//! out, which of a small batch is most of what it costs to cross. Here there are three. What has
//! children, or needs a copy, is left to arrow-rs.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryType, ByteArrayType, LargeBinaryType, LargeUtf8Type, Utf8Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, GenericByteArray, PrimitiveArray,
    downcast_primitive,
};
use arrow_buffer::alloc::Allocation;
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer,
};
use arrow_schema::DataType;

use crate::raw::ArrowArray;

/// Whether columns of a type can come in here.
pub(crate) fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::LargeBinary => true,
        other => other.primitive_width().is_some(),
    }
}

/// A column that lies in a child of a struct.
pub(crate) struct Column<'a> {
    pub(crate) array: &'a ArrowArray,
    /// The struct's own offset, which comes on top of the child's.
    pub(crate) offset: usize,
    pub(crate) rows: usize,
    /// What its memory lasts as long as.
    pub(crate) owner: &'a Arc<dyn Allocation>,
}

impl Column<'_> {
    /// As an array on the memory where it is, of a type that [is plain](is_plain).
    ///
    /// # Safety
    /// It was [looked at](crate::check::check), has so many rows, and is aligned; `owner` keeps its
    /// memory.
    pub(crate) unsafe fn import(&self, data_type: &DataType) -> ArrayRef {
        macro_rules! primitive {
            ($of:ty) => {
                self.primitive::<$of>(data_type)
            };
        }
        // SAFETY: As the caller vouches.
        unsafe {
            downcast_primitive! {
                data_type => (primitive),
                DataType::Boolean => self.booleans(),
                DataType::Utf8 => self.strings::<Utf8Type>(),
                DataType::LargeUtf8 => self.strings::<LargeUtf8Type>(),
                DataType::Binary => self.strings::<BinaryType>(),
                DataType::LargeBinary => self.strings::<LargeBinaryType>(),
                other => unreachable!("{other} is not plain"),
            }
        }
    }

    /// Where the first row is.
    fn start(&self) -> usize {
        self.array.offset as usize + self.offset
    }

    fn end(&self) -> usize {
        self.start() + self.rows
    }

    /// # Safety
    /// As [`import`](Self::import).
    unsafe fn primitive<T: ArrowPrimitiveType>(&self, data_type: &DataType) -> ArrayRef {
        // SAFETY: As the caller vouches: it has values for all rows, and bits if any.
        let (values, nulls) = unsafe {
            (
                self.buffer(1, self.end() * size_of::<T::Native>()),
                self.nulls(),
            )
        };
        let values = ScalarBuffer::new(values, self.start(), self.rows);
        let array = PrimitiveArray::<T>::new(values, nulls);
        Arc::new(array.with_data_type(data_type.clone()))
    }

    /// # Safety
    /// As [`import`](Self::import).
    unsafe fn booleans(&self) -> ArrayRef {
        // SAFETY: As above, of bits.
        let (values, nulls) = unsafe { (self.buffer(1, self.end().div_ceil(8)), self.nulls()) };
        let values = BooleanBuffer::new(values, self.start(), self.rows);
        Arc::new(BooleanArray::new(values, nulls))
    }

    /// # Safety
    /// As [`import`](Self::import).
    unsafe fn strings<T: ByteArrayType>(&self) -> ArrayRef {
        let len = (self.end() + 1) * size_of::<T::Offset>();
        // SAFETY: It has one offset more than rows.
        let offsets = unsafe { self.buffer(1, len) };
        let offsets = ScalarBuffer::<T::Offset>::new(offsets, self.start(), self.rows + 1);
        let last = offsets.last().expect("one more than rows").as_usize();
        // SAFETY: It has as many bytes as the last offset says, and bits if any.
        let (bytes, nulls) = unsafe { (self.buffer(2, last), self.nulls()) };
        // SAFETY: Offsets ascend, as far as the caller had that looked at, and says so otherwise; the
        // same goes for UTF-8.
        let array = unsafe {
            GenericByteArray::<T>::new_unchecked(OffsetBuffer::new_unchecked(offsets), bytes, nulls)
        };
        Arc::new(array)
    }

    /// # Safety
    /// As [`import`](Self::import).
    unsafe fn nulls(&self) -> Option<NullBuffer> {
        let (start, end) = (self.start(), self.end());
        // SAFETY: It has this buffer.
        let bits = unsafe { (*self.array.buffers).cast::<u8>() };
        if bits.is_null() || self.array.null_count == 0 {
            return None;
        }
        // SAFETY: There is a bit for each row.
        let bits = unsafe { self.buffer(0, end.div_ceil(8)) };
        let bits = BooleanBuffer::new(bits, start, self.rows);
        let is_whole = self.rows as i64 == self.array.length;
        let nulls = match usize::try_from(self.array.null_count) {
            // SAFETY: It was counted, or is the producer's word, which the caller takes.
            Ok(nulls) if is_whole => unsafe { NullBuffer::new_unchecked(bits, nulls) },
            _ => NullBuffer::new(bits),
        };
        (nulls.null_count() > 0).then_some(nulls)
    }

    /// # Safety
    /// There is such a buffer, of so many bytes.
    unsafe fn buffer(&self, position: usize, len: usize) -> Buffer {
        // SAFETY: As the caller vouches.
        let start = unsafe { *self.array.buffers.add(position) };
        match NonNull::new(start.cast::<u8>().cast_mut()) {
            // SAFETY: It is there as long as its owner is.
            Some(start) => unsafe {
                Buffer::from_custom_allocation(start, len, Arc::clone(self.owner))
            },
            // Only where there is nothing in it.
            None => Buffer::default(),
        }
    }
}

/// A column as an array that is released on its own; `None` where it is not plain, or its bitmap of
/// nulls begins at another bit than its values, which the C interface has no way to say.
pub(crate) fn export(column: &ArrayRef) -> Option<ArrowArray> {
    let Values {
        offset,
        n_buffers,
        buffers: [values, bytes],
    } = values(column)?;
    let nulls = column.nulls();
    if nulls.is_some_and(|nulls| nulls.offset() != offset) {
        return None;
    }
    let bits = nulls.map_or(ptr::null(), |nulls| nulls.buffer().as_ptr().cast());
    let exported = Box::new(Exported {
        buffers: [bits, values, bytes],
        _column: Arc::clone(column),
    });
    let exported = Box::into_raw(exported);
    Some(ArrowArray {
        length: column.len() as i64,
        null_count: column.null_count() as i64,
        offset: offset as i64,
        n_buffers,
        n_children: 0,
        // SAFETY: It was made above. The array's release drops it.
        buffers: unsafe { (&raw mut (*exported).buffers).cast() },
        children: ptr::null_mut(),
        dictionary: ptr::null_mut(),
        release: Some(release),
        private_data: exported.cast(),
    })
}

/// What an exported column's `private_data` is.
struct Exported {
    buffers: [*const c_void; 3],
    /// Has the memory.
    _column: ArrayRef,
}

/// # Safety
/// The array is one of [`export`]'s, and was not released.
unsafe extern "C" fn release(array: *mut ArrowArray) {
    // SAFETY: As the caller vouches; what is private to it is what was put there.
    unsafe {
        (*array).release = None;
        drop(Box::from_raw((*array).private_data.cast::<Exported>()));
    }
}

/// What an array's buffers hold beside the bitmap of nulls.
struct Values {
    /// Where the first row is.
    offset: usize,
    n_buffers: i64,
    buffers: [*const c_void; 2],
}

fn values(column: &ArrayRef) -> Option<Values> {
    let fixed = |buffer: &Buffer, offset: usize| Values {
        offset,
        n_buffers: 2,
        buffers: [buffer.as_ptr().cast(), ptr::null()],
    };
    macro_rules! primitive {
        ($of:ty) => {
            Some(fixed(column.as_primitive_opt::<$of>()?.values().inner(), 0))
        };
    }
    downcast_primitive! {
        column.data_type() => (primitive),
        DataType::Boolean => {
            let bits = column.as_boolean_opt()?.values();
            Some(fixed(bits.inner(), bits.offset()))
        }
        DataType::Utf8 => strings::<Utf8Type>(column),
        DataType::LargeUtf8 => strings::<LargeUtf8Type>(column),
        DataType::Binary => strings::<BinaryType>(column),
        DataType::LargeBinary => strings::<LargeBinaryType>(column),
        _ => None,
    }
}

fn strings<T: ByteArrayType>(column: &ArrayRef) -> Option<Values> {
    let array = column.as_bytes_opt::<T>()?;
    Some(Values {
        offset: 0,
        n_buffers: 3,
        buffers: [
            array.offsets().inner().inner().as_ptr().cast(),
            array.values().as_ptr().cast(),
        ],
    })
}
