//! Record batches as arrays, on the memory where they are.

use std::ffi::c_void;
use std::ptr;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Schema};

use crate::CDataError;
use crate::plain;
use crate::raw::{ArrowArray, ArrowSchema};

/// A batch as an array of struct type, and how many bytes of it were copied.
pub fn batch(batch: &RecordBatch) -> (ArrowArray, u64) {
    let mut bytes = 0;
    let column = |column: &ArrayRef| {
        plain::export(column).unwrap_or_else(|| {
            let data = column.to_data();
            bytes += copied(&data);
            ArrowArray::exported(FFI_ArrowArray::new(&data))
        })
    };
    let columns: Box<[ArrowArray]> = batch.columns().iter().map(column).collect();
    (rows(batch.num_rows(), columns), bytes)
}

/// Columns as an array of struct type, in which no row is null as a whole.
fn rows(rows: usize, columns: Box<[ArrowArray]>) -> ArrowArray {
    let n_children = columns.len() as i64;
    let columns = Box::into_raw(columns);
    let pointers = (0..columns.len()).map(|position| {
        // SAFETY: There are so many.
        unsafe { (&raw mut *columns).cast::<ArrowArray>().add(position) }
    });
    let exported = Box::into_raw(Box::new(Exported {
        buffers: [ptr::null()],
        pointers: pointers.collect(),
        columns,
    }));
    // SAFETY: It was made above, and is nobody else's yet.
    let parts = unsafe { &mut *exported };
    ArrowArray {
        length: rows as i64,
        null_count: 0,
        offset: 0,
        n_buffers: 1,
        n_children,
        buffers: parts.buffers.as_mut_ptr(),
        children: parts.pointers.as_mut_ptr(),
        dictionary: ptr::null_mut(),
        release: Some(release),
        private_data: exported.cast(),
    }
}

/// What an exported batch's `private_data` is.
struct Exported {
    /// The bitmap of rows that are null as a whole: none are.
    buffers: [*const c_void; 1],
    pointers: Box<[*mut ArrowArray]>,
    /// Where these lead; a box of its own.
    columns: *mut [ArrowArray],
}

/// # Safety
/// The array is one of [`rows`]', and was not released.
unsafe extern "C" fn release(array: *mut ArrowArray) {
    // SAFETY: As the caller vouches; what is private to it is what was put there.
    let exported = unsafe {
        (*array).release = None;
        Box::from_raw((*array).private_data.cast::<Exported>())
    };
    // SAFETY: It came out of a box.
    let mut columns = unsafe { Box::from_raw(exported.columns) };
    // Those that were moved away are marked as released, and have a life of their own.
    for column in &mut columns {
        if let Some(release) = column.release {
            // SAFETY: It was not released.
            unsafe { release(column) };
        }
    }
}

/// One column, such as a mask, as an array.
pub fn column(column: &dyn Array) -> ArrowArray {
    ArrowArray::exported(FFI_ArrowArray::new(&column.to_data()))
}

/// A schema, to be released by who gets it.
///
/// # Errors
/// For a type that the interface has no format for.
pub fn schema(schema: &Schema) -> Result<ArrowSchema, CDataError> {
    let exported = FFI_ArrowSchema::try_from(schema);
    let exported = exported.map_err(|error| CDataError::malformed(error.to_string()))?;
    Ok(ArrowSchema::exported(exported))
}

/// Bytes that arrow-rs copies as it exports: of a bitmap of nulls that begins at another bit than
/// the values do, which the C interface has no way to say.
fn copied(data: &ArrayData) -> u64 {
    let own = match (data.nulls(), data.data_type()) {
        (Some(nulls), of) if *of != DataType::Null && nulls.offset() != data.offset() => {
            (data.offset() + data.len()).div_ceil(8) as u64
        }
        _ => 0,
    };
    own + data.child_data().iter().map(copied).sum::<u64>()
}
