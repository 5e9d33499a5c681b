//! Arrays from outside as record batches, on the memory where they are.

use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, from_ffi_and_data_type};
use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StructArray, make_array, new_empty_array,
};
use arrow_buffer::alloc::Allocation;
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, Field, Fields, SchemaRef};

use crate::CDataError;
use crate::check::{Depth, check, check_values, zeros};
use crate::plain::{Column, is_plain};
use crate::raw::ArrowArray;
use crate::readable::readable;

/// An array that is ours to release, which happens once, whatever becomes of it.
#[derive(Debug)]
pub struct Owned(ArrowArray);

/// What was made of an array.
#[derive(Debug)]
pub struct Imported {
    /// The batch.
    pub batch: RecordBatch,
    /// Bytes that were copied, since they lay less aligned than arrow-rs computes on; all else is
    /// where it was.
    pub realigned: u64,
}

/// How arrays are taken in.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How much is looked at.
    pub depth: Depth,
    /// Whether what is not aligned is an error rather than copied.
    pub only_aligned: bool,
}

impl Owned {
    /// Takes an array from where it is, which is marked as released: it moved.
    ///
    /// # Safety
    /// `array` is null or points to an array, which may be written.
    pub unsafe fn take(array: *mut ArrowArray) -> Result<Self, CDataError> {
        if array.is_null() {
            return Err(CDataError::Null("ArrowArray"));
        }
        // SAFETY: As the caller vouches. A move leaves all but `release` as it was.
        let taken = unsafe { array.read() };
        // SAFETY: The same.
        unsafe { (*array).release = None };
        Ok(Owned(taken))
    }

    /// The array as it came.
    pub fn raw(&self) -> &ArrowArray {
        &self.0
    }

    /// As a batch of a schema, whose columns lie where the array's are.
    ///
    /// # Safety
    /// The array is one of the C Data Interface, of a struct type; what [`check()`] tells from the
    /// outside it may have wrong.
    pub unsafe fn import(self, schema: &SchemaRef, rules: Rules) -> Result<Imported, CDataError> {
        let of = DataType::Struct(schema.fields().clone());
        // SAFETY: As the caller vouches.
        let realigned = unsafe { self.looked_at(&of, rules)? };
        // SAFETY: As the caller vouches; the counts were looked at.
        let nulls = unsafe { self.nulls() };
        if nulls > 0 {
            return Err(CDataError::malformed(format!(
                "{nulls} rows of the ArrowArray are null as a whole; a batch's columns have nulls, \
                 not the batch"
            )));
        }
        let rows = self.0.length as usize;
        if rows == 0 {
            // Its columns may be without offsets, which arrow-rs does not take.
            let batch = RecordBatch::new_empty(Arc::clone(schema));
            return Ok(Imported { batch, realigned });
        }
        let are_plain = schema.fields().iter().all(|of| is_plain(of.data_type()));
        let columns = match are_plain && realigned == 0 && rules.depth < Depth::Values {
            // SAFETY: It was looked at, and nothing of it needs a copy.
            true => unsafe { self.plain_columns(schema.fields(), rows) },
            // SAFETY: It was looked at.
            false => unsafe { self.columns(of, rules.depth)? },
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options);
        match batch {
            Ok(batch) => Ok(Imported { batch, realigned }),
            Err(error) => Err(CDataError::Schema(error.to_string())),
        }
    }

    /// # Safety
    /// It was checked, to be of these fields, which are all [plain](is_plain), aligned, and to have so
    /// many rows.
    unsafe fn plain_columns(self, fields: &Fields, rows: usize) -> Vec<ArrayRef> {
        let (children, offset) = (self.0.children, self.0.offset as usize);
        let owner: Arc<dyn Allocation> = Arc::new(self);
        let import = |(position, field): (usize, &Arc<Field>)| {
            let column = Column {
                // SAFETY: There is a child for each field, which lasts as long as its parent.
                array: unsafe { &**children.add(position) },
                offset,
                rows,
                owner: &owner,
            };
            // SAFETY: As the caller vouches.
            unsafe { column.import(field.data_type()) }
        };
        fields.iter().enumerate().map(import).collect()
    }

    /// By way of arrow-rs, which copies what is not aligned.
    ///
    /// # Safety
    /// It was checked, to be of this type and to have no row that is null as a whole.
    unsafe fn columns(self, of: DataType, depth: Depth) -> Result<Vec<ArrayRef>, CDataError> {
        // SAFETY: It was looked at.
        let data = unsafe { self.into_data(of, depth)? };
        let (_, columns, _) = StructArray::from(data).into_parts();
        Ok(columns)
    }

    /// As one column of a type, which lies where the array is.
    ///
    /// # Safety
    /// As [`import`](Self::import), of that type.
    pub unsafe fn import_column(self, of: &DataType, rules: Rules) -> Result<ArrayRef, CDataError> {
        // SAFETY: As the caller vouches.
        unsafe { self.looked_at(of, rules)? };
        if self.0.length == 0 {
            // It may be without offsets, which arrow-rs does not take.
            return Ok(new_empty_array(of));
        }
        // SAFETY: It was looked at.
        let data = unsafe { self.into_data(of.clone(), rules.depth)? };
        Ok(make_array(data))
    }

    /// Looks at it; returns how many bytes will be copied to be aligned.
    ///
    /// # Safety
    /// As [`import`](Self::import), of this type.
    unsafe fn looked_at(&self, of: &DataType, rules: Rules) -> Result<u64, CDataError> {
        if self.0.release.is_none() {
            return Err(CDataError::malformed(
                "the ArrowArray was released: it can be handed over once",
            ));
        }
        // SAFETY: As the caller vouches.
        let realigned = unsafe { check(&self.0, of, rules.depth)? };
        if realigned > 0 && rules.only_aligned {
            return Err(CDataError::malformed(format!(
                "{realigned} bytes of the ArrowArray are not aligned to the width of their values: \
                 align them, or allow that they are copied"
            )));
        }
        Ok(realigned)
    }

    /// # Safety
    /// It was looked at, as of this type, and has a row.
    unsafe fn into_data(self, of: DataType, depth: Depth) -> Result<ArrayData, CDataError> {
        let refused = |error: ArrowError| CDataError::malformed(error.to_string());
        // SAFETY: It was looked at.
        let whole = unsafe { readable(self, &of) };
        // SAFETY: Whatever arrow-rs concludes from it is so.
        let data = unsafe { from_ffi_and_data_type(whole.into_ffi(), of) };
        let data = data.map_err(refused)?;
        if depth == Depth::Values {
            check_values(&data)?;
        }
        // Which column it is, and what mends that, is found by looking at all.
        unlade::settled(&data).map_err(|error| match check_values(&data) {
            Err(found) => found,
            Ok(()) => refused(error),
        })
    }

    /// How many rows are null as a whole.
    ///
    /// # Safety
    /// It was checked.
    unsafe fn nulls(&self) -> usize {
        let array = &self.0;
        // SAFETY: A struct has this buffer.
        let bits = unsafe { (*array.buffers).cast::<u8>() };
        if bits.is_null() || array.null_count == 0 {
            return 0;
        }
        let (offset, rows) = (array.offset as usize, array.length as usize);
        // SAFETY: It has a bit for each row.
        let bytes = unsafe { std::slice::from_raw_parts(bits, (offset + rows).div_ceil(8)) };
        zeros(bytes, offset, rows)
    }

    fn into_ffi(self) -> FFI_ArrowArray {
        let owned = std::mem::ManuallyDrop::new(self);
        // SAFETY: Both are the C struct of the specification; the value moves, and is dropped there.
        unsafe { std::ptr::from_ref(&owned.0).cast::<FFI_ArrowArray>().read() }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            // SAFETY: It is ours, and was not released.
            unsafe { release(&mut self.0) };
        }
    }
}

// SAFETY: The C Data Interface has no rule that an array is released on the thread that made it, and
// docs/C.md says that it need not be.
unsafe impl Send for Owned {}

// SAFETY: Behind a shared reference it is only read.
unsafe impl Sync for Owned {}
