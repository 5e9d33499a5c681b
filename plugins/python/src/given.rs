//! What callers hand over: one batch, or a stream of them.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::batch::{Batch, Schema};
use crate::capsule::{self, Imported, Incoming};
use crate::failure::{Failure, caught, config};
use crate::interpreter::outside;
use crate::own::Own;

/// Anything with the Arrow PyCapsule interface.
#[derive(Debug)]
pub(crate) enum Given {
    /// A record batch.
    Batch(Imported),
    /// A table, a frame, a reader.
    Stream(Incoming),
}

impl Given {
    pub(crate) fn schema(&self) -> SchemaRef {
        match self {
            Given::Batch(imported) => imported.batch.schema(),
            Given::Stream(incoming) => incoming.schema(),
        }
    }

    /// The same, with its values looked at.
    pub(crate) fn with_values_checked(self, py: Python<'_>) -> PyResult<Self> {
        Ok(match self {
            Given::Batch(imported) => {
                capsule::check_values(py, &imported.batch)?;
                Given::Batch(imported)
            }
            Given::Stream(incoming) => Given::Stream(incoming.with_values_checked()),
        })
    }

    /// As one batch, for what takes no more than one.
    pub(crate) fn one(self, py: Python<'_>) -> Result<Imported, Failure> {
        match self {
            Given::Batch(imported) => Ok(imported),
            Given::Stream(incoming) => outside(py, || only(incoming))?,
        }
    }
}

/// The batch of a stream that has one.
fn only(mut incoming: Incoming) -> Result<Imported, Failure> {
    let Some(first) = incoming.next_batch().transpose().map_err(unlade_input)? else {
        return Ok(Imported {
            batch: RecordBatch::new_empty(incoming.schema()),
            realigned: 0,
        });
    };
    match incoming.next_batch() {
        None => Ok(first),
        Some(_) => Err(config(
            "the data comes as several batches, and this takes one; use `run` or `stream`, or hand \
             over a pyarrow.RecordBatch",
        )),
    }
}

/// A failing reader, as the runtime would say it.
pub(crate) fn unlade_input(error: ArrowError) -> unlade::Error {
    unlade::Error::Input(Arc::new(error))
}

impl<'py> FromPyObject<'_, 'py> for Given {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        // One of ours needs no way through C.
        if let Ok(batch) = object.cast::<Batch>() {
            return Ok(Given::Batch(Imported {
                batch: batch.get().inner.get()?.clone(),
                realigned: 0,
            }));
        }
        if let Ok(source) = object.cast::<Source>() {
            return Ok(source.get().take()?);
        }
        if let Some(array) = object.getattr_opt(intern!(py, "__arrow_c_array__"))? {
            let capsules = array.call0()?;
            return caught(|| capsule::import_batch(&capsules))?.map(Given::Batch);
        }
        if let Some(stream) = object.getattr_opt(intern!(py, "__arrow_c_stream__"))? {
            let capsule = stream.call0()?;
            return caught(|| capsule::import_stream(&capsule))?.map(Given::Stream);
        }
        Err(not_arrow(&object))
    }
}

/// The schema of data, or one by itself.
#[derive(Debug)]
pub(crate) struct GivenSchema(pub(crate) SchemaRef);

impl<'py> FromPyObject<'_, 'py> for GivenSchema {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if let Ok(source) = object.cast::<Source>() {
            return Ok(GivenSchema(Arc::clone(&source.get().schema)));
        }
        if let Some(schema) = object.getattr_opt(intern!(py, "__arrow_c_schema__"))? {
            let capsule = schema.call0()?;
            return caught(|| capsule::import_schema(&capsule))?.map(GivenSchema);
        }
        object
            .extract::<Given>()
            .map(|given| GivenSchema(given.schema()))
    }
}

/// Data that is opened once: a kernel is compiled for its schema before it is read.
///
/// ``unlade.compile`` looks at the schema and leaves the rows to ``Kernel.run``. A DuckDB relation, for
/// one, is executed each time that it is opened.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Source {
    schema: SchemaRef,
    /// Until it is read.
    given: Own<Mutex<Option<Given>>>,
}

impl Source {
    fn take(&self) -> Result<Given, Failure> {
        let given = self
            .given
            .get()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        given.ok_or_else(|| config("the source was read already; open the data again"))
    }
}

#[pymethods]
impl Source {
    #[new]
    fn new(data: Given) -> Self {
        Source {
            schema: data.schema(),
            given: Own::new(Mutex::new(Some(data))),
        }
    }

    /// Names and types of its columns.
    #[getter]
    fn schema(&self) -> Schema {
        Schema {
            inner: Arc::clone(&self.schema),
        }
    }
}

fn not_arrow(object: &Bound<'_, PyAny>) -> PyErr {
    let kind = object.get_type().name();
    let kind = kind.map_or_else(|_| "this".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "{kind} has no Arrow PyCapsule interface (`__arrow_c_array__` or `__arrow_c_stream__`); hand \
         over a pyarrow, Polars or DuckDB object, or make one: pyarrow.Table.from_pandas(frame), \
         pyarrow.record_batch({{'x': values}})"
    ))
}

/// A reader whose batches have no more than so many rows: larger ones come in pieces, on the memory
/// that they lie in.
pub(crate) struct Pieces<R> {
    reader: R,
    rows: usize,
    /// What is left of a batch.
    rest: Option<RecordBatch>,
}

impl<R> Pieces<R> {
    pub(crate) fn new(reader: R, rows: usize) -> Self {
        Pieces {
            reader,
            rows,
            rest: None,
        }
    }
}

impl<R: RecordBatchReader> Iterator for Pieces<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.reader.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            },
        };
        let rows = batch.num_rows();
        if rows <= self.rows {
            return Some(Ok(batch));
        }
        self.rest = Some(batch.slice(self.rows, rows - self.rows));
        Some(Ok(batch.slice(0, self.rows)))
    }
}

impl<R: RecordBatchReader> RecordBatchReader for Pieces<R> {
    fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }
}
