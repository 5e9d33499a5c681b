//! Arrow data in and out of Python by the
//! [PyCapsule interface](https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html).
//!
//! Neither way copies a column, with one exception that the interface leaves open: it recommends an
//! alignment of 8 bytes and asks for none. arrow-rs copies a buffer whose address is not a multiple
//! of what its type needs, and says nothing; here it is counted ([`Imported::realigned`]).
//!
//! What a capsule points to is trusted, as every consumer of the interface does: its producer is
//! another library of this process.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, RecordBatchReader, StructArray, make_array,
    new_empty_array,
};
use arrow_data::{BufferSpec, layout};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// A batch that was handed over.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) batch: RecordBatch,
    /// Bytes of its buffers that were copied because they were not aligned for their type.
    pub(crate) realigned: u64,
}

/// The fields that a schema's capsule describes: of a table, or of one column.
pub(crate) fn import_field(capsule: &Bound<'_, PyAny>) -> PyResult<Field> {
    let pointer = capsule
        .cast::<PyCapsule>()?
        .pointer_checked(Some(SCHEMA))?
        .cast::<FFI_ArrowSchema>();
    // SAFETY: A capsule of this name points to an initialised `ArrowSchema`, which it keeps while it
    // lives; it is only read, and `capsule` outlives the reference.
    let schema = unsafe { pointer.as_ref() };
    Field::try_from(schema).map_err(refused)
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
    batch_of(array, &schema).map_err(refused)
}

/// The array of a pair of capsules, of any type.
pub(crate) fn import_array(pair: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    let pair = pair.cast::<PyTuple>()?;
    let field = import_field(&pair.get_item(0)?)?;
    let array = take_array(&pair.get_item(1)?)?;
    if array.is_empty() {
        // It may be without offsets, which arrow-rs does not take.
        return Ok(new_empty_array(field.data_type()));
    }
    // SAFETY: The array comes from a producer of the C data interface, by the type that it gave with
    // it, and is not released.
    let data = unsafe { from_ffi_and_data_type(array, field.data_type().clone()) };
    let data = data.and_then(unlade::settled).map_err(refused)?;
    Ok(make_array(data))
}

/// The array of a capsule, which it has once.
fn take_array(capsule: &Bound<'_, PyAny>) -> PyResult<FFI_ArrowArray> {
    let pointer = capsule
        .cast::<PyCapsule>()?
        .pointer_checked(Some(ARRAY))?
        .cast::<FFI_ArrowArray>();
    // SAFETY: A capsule of this name points to an initialised `ArrowArray`, which this moves out,
    // leaving a released one behind, as the interface says. The interpreter is held, so nobody else
    // does the same at the same time.
    let array = unsafe { FFI_ArrowArray::from_raw(pointer.as_ptr()) };
    match array.is_released() {
        true => Err(refused("the array of the capsule was taken before")),
        false => Ok(array),
    }
}

/// The stream of a capsule, as `__arrow_c_stream__` gives it.
pub(crate) fn import_stream(capsule: &Bound<'_, PyAny>) -> PyResult<Incoming> {
    let pointer = capsule
        .cast::<PyCapsule>()?
        .pointer_checked(Some(STREAM))?
        .cast::<FFI_ArrowArrayStream>();
    // SAFETY: As of an array: the capsule points to an initialised stream, which is moved out.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) };
    capsule
        .py()
        .detach(|| Incoming::new(stream))
        .map_err(refused)
}

/// Batches that come from Python or a library beside it. They are read without the interpreter: a
/// source that needs it, on whichever thread, takes it.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: FFI_ArrowArrayStream,
    schema: SchemaRef,
    realigned: Arc<AtomicU64>,
}

impl Incoming {
    fn new(mut stream: FFI_ArrowArrayStream) -> Result<Self, ArrowError> {
        let Some(get_schema) = stream.get_schema.filter(|_| stream.release.is_some()) else {
            return Err(ArrowError::CDataInterface(
                "the stream of the capsule was taken before".to_owned(),
            ));
        };
        let mut schema = FFI_ArrowSchema::empty();
        // SAFETY: The stream is not released, so its functions may be called with it; the schema is
        // ours to be filled.
        let code = unsafe { get_schema(&mut stream, &mut schema) };
        if code != 0 {
            let said = last_error(&mut stream, code);
            return Err(ArrowError::CDataInterface(said));
        }
        let schema = Arc::new(Schema::try_from(&schema)?);
        Ok(Incoming {
            stream,
            schema,
            realigned: Arc::default(),
        })
    }

    /// Bytes of the batches read so far that were [copied](Imported::realigned).
    pub(crate) fn realigned(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.realigned)
    }

    /// The next batch, if there is one.
    pub(crate) fn next_batch(&mut self) -> Option<Result<Imported, ArrowError>> {
        let get_next = self.stream.get_next?;
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: The stream is released only when it is dropped; the array is ours to be filled.
        let code = unsafe { get_next(&mut self.stream, &mut array) };
        if code != 0 {
            let said = last_error(&mut self.stream, code);
            return Some(Err(ArrowError::CDataInterface(said)));
        }
        if array.is_released() {
            return None;
        }
        let imported = batch_of(array, &self.schema);
        if let Ok(imported) = &imported {
            self.realigned
                .fetch_add(imported.realigned, Ordering::Relaxed);
        }
        Some(imported)
    }
}

impl Iterator for Incoming {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_batch()?.map(|imported| imported.batch))
    }
}

impl RecordBatchReader for Incoming {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// What a stream says about its last failure.
fn last_error(stream: &mut FFI_ArrowArrayStream, code: i32) -> String {
    // SAFETY: The stream is not released. The text, if there is one, ends with a zero and stays until
    // the next call.
    let text = stream.get_last_error.and_then(|get| unsafe {
        let text = get(stream);
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    });
    text.unwrap_or_else(|| format!("the stream failed with code {code} and says no more"))
}

/// An array of structs as the batch that it stands for.
fn batch_of(array: FFI_ArrowArray, schema: &SchemaRef) -> Result<Imported, ArrowError> {
    let data_type = DataType::Struct(schema.fields().clone());
    let realigned = misaligned_bytes(&array, &data_type);
    // SAFETY: The array comes from a producer of the C data interface, by the type that it gave with
    // it, and is not released.
    let data = unsafe { from_ffi_and_data_type(array, data_type) }?;
    let data = unlade::settled(data)?;
    let rows = StructArray::from(data);
    if rows.null_count() > 0 {
        return Err(ArrowError::CDataInterface(
            "rows of a record batch cannot be null as a whole".to_owned(),
        ));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let (_, columns, _) = rows.into_parts();
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
    Ok(Imported { batch, realigned })
}

/// Bytes of the buffers that arrow-rs copies to align them.
fn misaligned_bytes(array: &FFI_ArrowArray, data_type: &DataType) -> u64 {
    let layout = layout(data_type);
    let first = usize::from(layout.can_contain_null_mask);
    let rows = array.len() + array.offset();
    let own = layout.buffers.iter().enumerate().map(|(index, spec)| {
        let index = first + index;
        match spec {
            BufferSpec::FixedWidth {
                byte_width,
                alignment,
            } if index < array.num_buffers()
                && !array.buffer(index).addr().is_multiple_of(*alignment) =>
            {
                (rows * byte_width) as u64
            }
            _ => 0,
        }
    });
    let own: u64 = own.sum();
    let children = children_of(data_type)
        .into_iter()
        .take(array.num_children())
        .enumerate()
        .map(|(index, child)| misaligned_bytes(array.child(index), child));
    let dictionary = match (data_type, array.dictionary()) {
        (DataType::Dictionary(_, values), Some(dictionary)) => misaligned_bytes(dictionary, values),
        _ => 0,
    };
    own + children.sum::<u64>() + dictionary
}

fn children_of(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => vec![field.data_type()],
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        _ => Vec::new(),
    }
}

fn refused(error: impl ToString) -> PyErr {
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

/// The same of a batch, as an array of structs.
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
