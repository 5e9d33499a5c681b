//! Arrow data in and out of Python by the
//! [PyCapsule interface](https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html).
//!
//! Neither way copies a column, with one exception that the interface leaves open: it recommends an
//! alignment of 8 bytes and asks for none. arrow-rs copies a buffer whose address is not a multiple
//! of what its type needs, and says nothing; here it is counted ([`Imported::realigned`]).
//!
//! What a capsule points to is looked at by the rules of `unlade_cdata` before anything rests on it:
//! lengths, counts, pointers and offsets. That memory is there as far as these say is trusted, since the
//! interface tells no length of a buffer: its producer is another library of this process.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use unlade_cdata::CDataError;
use unlade_cdata::check::{Depth, check_values as look_at_values};
pub(crate) use unlade_cdata::import::Imported;
use unlade_cdata::import::{Owned, Rules};
use unlade_cdata::on_device::Placed;
use unlade_cdata::raw::{ArrowArray, ArrowArrayStream, ArrowSchema};
use unlade_cdata::schema;
use unlade_cdata::stream::{Input, Reader};

use crate::interpreter::{guarded_array, guarded_stream, outside};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";
const DEVICE_ARRAY: &CStr = c"arrow_device_array";

/// How data is looked at.
const DATA: Rules = Rules {
    depth: Depth::Offsets,
    only_aligned: false,
};

/// How results of functions are: who wrote one may be new to Arrow.
const RESULTS: Rules = Rules {
    depth: Depth::Values,
    only_aligned: false,
};

/// The fields that a schema's capsule describes: of a table, or of one column.
pub(crate) fn import_field(capsule: &Bound<'_, PyAny>) -> PyResult<Field> {
    let pointer = capsule.cast::<PyCapsule>()?.pointer_checked(Some(SCHEMA))?;
    // SAFETY: A capsule of this name points to an initialised `ArrowSchema`, which it keeps while it
    // lives; it is only read, and `capsule` outlives that.
    unsafe { schema::field(pointer.cast::<ArrowSchema>().as_ptr()) }.map_err(refused)
}

/// The schema that a schema's capsule describes.
pub(crate) fn import_schema(capsule: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let field = import_field(capsule)?;
    match field.data_type() {
        DataType::Struct(fields) => Ok(Arc::new(Schema::new_with_metadata(
            fields.clone(),
            field.metadata().clone(),
        ))),
        other => Err(PyTypeError::new_err(format!(
            "expected a table or a record batch, got one array of {other}; name it: \
             pyarrow.record_batch({{'x': array}})"
        ))),
    }
}

/// The batch of a pair of capsules, as `__arrow_c_array__` gives it.
pub(crate) fn import_batch(pair: &Bound<'_, PyAny>) -> PyResult<Imported> {
    let pair = pair.cast::<PyTuple>()?;
    let schema = import_schema(&pair.get_item(0)?)?;
    let array = take_array(&pair.get_item(1)?)?;
    // It is looked at row by row: others may have the interpreter meanwhile.
    // SAFETY: The array comes from a producer of the C data interface, by the type that it gave with
    // it.
    outside(pair.py(), || unsafe { array.import(&schema, DATA) })?.map_err(refused)
}

/// Looks at values as well: UTF-8, keys of dictionaries. Others may have the interpreter meanwhile.
pub(crate) fn check_values(py: Python<'_>, batch: &RecordBatch) -> PyResult<()> {
    let rows = StructArray::from(batch.clone());
    outside(py, || look_at_values(&rows.to_data()))?.map_err(refused)
}

/// An array of any type, as a function gives it.
#[derive(Debug)]
pub(crate) struct GivenArray {
    field: Field,
    array: Owned,
}

impl GivenArray {
    /// That of a pair of capsules.
    pub(crate) fn take(pair: &Bound<'_, PyAny>) -> PyResult<Self> {
        let pair = pair.cast::<PyTuple>()?;
        Ok(GivenArray {
            field: import_field(&pair.get_item(0)?)?,
            array: take_array(&pair.get_item(1)?)?,
        })
    }

    /// Looks at all of it, which wants no interpreter.
    pub(crate) fn import(self) -> Result<ArrayRef, CDataError> {
        // SAFETY: As of a batch.
        unsafe { self.array.import_column(self.field.data_type(), RESULTS) }
    }
}

/// The array of a capsule, which it has once.
fn take_array(capsule: &Bound<'_, PyAny>) -> PyResult<Owned> {
    let pointer = capsule.cast::<PyCapsule>()?.pointer_checked(Some(ARRAY))?;
    let pointer = pointer.cast::<ArrowArray>().as_ptr();
    // SAFETY: A capsule of this name points to an initialised `ArrowArray`, which this moves out,
    // leaving a released one behind, as the interface says. The interpreter is held, so nobody else
    // does the same at the same time.
    let array = unsafe {
        let array = guarded_array(pointer.read());
        (*pointer).release = None;
        array
    };
    match array.release {
        None => Err(refused("the array of the capsule was taken before")),
        // SAFETY: It is here.
        Some(_) => unsafe { Owned::take(&mut { array }) }.map_err(refused),
    }
}

/// The stream of a capsule, as `__arrow_c_stream__` gives it.
pub(crate) fn import_stream(capsule: &Bound<'_, PyAny>) -> PyResult<Incoming> {
    let pointer = capsule.cast::<PyCapsule>()?.pointer_checked(Some(STREAM))?;
    let pointer = pointer.cast::<ArrowArrayStream>().as_ptr();
    // SAFETY: As of an array: the capsule points to an initialised stream, which is moved out.
    let stream = unsafe {
        let stream = guarded_stream(pointer.read());
        (*pointer).release = None;
        stream
    };
    if stream.release.is_none() {
        return Err(refused("the stream of the capsule was taken before"));
    }
    // SAFETY: It is here.
    let stream = unsafe { Input::take(&mut { stream }) }.map_err(refused)?;
    let reader = outside(capsule.py(), || Reader::read(stream, DATA))?.map_err(refused)?;
    Ok(Incoming(reader))
}

/// Batches that come from Python or a library beside it. They are read without the interpreter: a
/// source that needs it, on whichever thread, takes it.
#[derive(Debug)]
pub(crate) struct Incoming(Reader);

impl Incoming {
    /// Bytes of the batches read so far that were [copied](Imported::realigned).
    pub(crate) fn realigned(&self) -> Arc<AtomicU64> {
        self.0.realigned()
    }

    /// The same batches, with values looked at as well.
    pub(crate) fn with_values_checked(self) -> Self {
        Incoming(self.0.with_depth(Depth::Values))
    }

    /// The next batch, if there is one.
    pub(crate) fn next_batch(&mut self) -> Option<Result<Imported, ArrowError>> {
        let realigned = self.realigned();
        let before = realigned.load(Ordering::Relaxed);
        let batch = self.0.next()?;
        Some(batch.map(|batch| Imported {
            batch,
            realigned: realigned.load(Ordering::Relaxed) - before,
        }))
    }
}

impl Iterator for Incoming {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl RecordBatchReader for Incoming {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }
}

pub(crate) fn refused(error: impl ToString) -> PyErr {
    crate::failure::malformed(&error.to_string())
}

/// A schema, or one field of it, for others, as `__arrow_c_schema__` gives it.
pub(crate) fn export_schema<'py>(
    py: Python<'py>,
    schema: impl TryInto<FFI_ArrowSchema, Error = ArrowError>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = schema.try_into().map_err(refused)?;
    PyCapsule::new_with_value(py, schema, SCHEMA)
}

/// An array for others, as `__arrow_c_array__` gives it: its buffers are shared.
pub(crate) fn export_array<'py>(
    py: Python<'py>,
    field: &Field,
    array: &dyn Array,
) -> PyResult<Bound<'py, PyTuple>> {
    let schema = FFI_ArrowSchema::try_from(field).map_err(refused)?;
    let array = FFI_ArrowArray::new(&array.to_data());
    let schema = PyCapsule::new_with_value(py, schema, SCHEMA)?;
    let array = PyCapsule::new_with_value(py, array, ARRAY)?;
    PyTuple::new(py, [schema, array])
}

/// An array on a device for others, as `__arrow_c_device_array__` gives it.
pub(crate) fn export_on_device<'py>(
    py: Python<'py>,
    field: &Field,
    array: Placed,
) -> PyResult<Bound<'py, PyTuple>> {
    let schema = export_schema(py, field)?;
    let array = PyCapsule::new_with_value(py, array, DEVICE_ARRAY)?;
    PyTuple::new(py, [schema, array])
}

/// A batch for others, as `__arrow_c_array__` gives it: an array of structs.
pub(crate) fn export_batch<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
) -> PyResult<Bound<'py, PyTuple>> {
    let schema = batch.schema_ref();
    let field = Field::new_struct("", schema.fields().clone(), false)
        .with_metadata(schema.metadata().clone());
    let rows = StructArray::try_new_with_length(
        schema.fields().clone(),
        batch.columns().to_vec(),
        None,
        batch.num_rows(),
    );
    export_array(py, &field, &rows.map_err(refused)?)
}

/// A reader for others, as `__arrow_c_stream__` gives it.
pub(crate) fn export_stream<'py>(
    py: Python<'py>,
    reader: impl RecordBatchReader + Send + 'static,
) -> PyResult<Bound<'py, PyCapsule>> {
    let stream = FFI_ArrowArrayStream::new(Box::new(reader));
    PyCapsule::new_with_value(py, stream, STREAM)
}
