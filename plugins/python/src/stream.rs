//! Streams: results of a kernel over a reader.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_schema::SchemaRef;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use unlade::{Canceller, KernelStream};

use crate::batch::Schema;
use crate::capsule::{export_schema, export_stream};
use crate::failure::{Failure, config, with_rows_before};
use crate::interpreter::outside;
use crate::output::Output;
use crate::own::{self, Own};

/// The results of a kernel over a table or reader, in its order: one for each of its batches.
///
/// ``for``, ``async for``, or a reader for others: ``pyarrow.RecordBatchReader.from_stream(stream)``.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Stream {
    state: Own<Mutex<State>>,
    canceller: Own<Canceller>,
    /// Bytes that were copied to align them, of batches read since the last result.
    realigned: Arc<AtomicU64>,
    schema: SchemaRef,
}

#[derive(Debug)]
struct State {
    /// Until it ends or is handed on.
    inner: Option<KernelStream>,
    /// Rows of the batches whose results were given.
    rows: u64,
}

impl Stream {
    pub(crate) fn new(inner: KernelStream, realigned: Arc<AtomicU64>) -> Self {
        Stream {
            realigned,
            canceller: Own::new(inner.canceller()),
            schema: Arc::clone(inner.schema()),
            state: Own::new(Mutex::new(State {
                inner: Some(inner),
                rows: 0,
            })),
        }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let state = self.state.get()?;
        Ok(state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Stream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Result<Option<Output>, Failure> {
        let next = outside(py, || {
            let mut state = self.state()?;
            let Some(stream) = &mut state.inner else {
                return Ok(None);
            };
            match stream.next() {
                Some(Ok(output)) => {
                    state.rows += output.receipt.rows_in;
                    Ok(Some(output))
                }
                Some(Err(error)) => {
                    state.inner = None;
                    Err(with_rows_before(error, state.rows).into())
                }
                None => {
                    state.inner = None;
                    Ok(None)
                }
            }
        })?;
        let next: Result<_, Failure> = next;
        let Some(output) = next? else {
            return Ok(None);
        };
        let realigned = self.realigned.swap(0, Ordering::Relaxed);
        Ok(Some(Output::new(&self.schema, [output], realigned)))
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        own::check()?;
        let asynchronous = slf.py().import(intern!(slf.py(), "unlade._aio"))?;
        asynchronous.call_method1(intern!(slf.py(), "next_of"), (slf,))
    }

    /// Ends the stream from any thread: its next result is ``Cancelled``, and the last.
    fn cancel(&self) -> Result<(), Failure> {
        self.canceller.get()?.cancel();
        Ok(())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyAny>) -> Result<(), Failure> {
        self.cancel()?;
        outside(py, || {
            drop(self.state()?.inner.take());
            Ok(())
        })?
    }

    /// Names and types of the columns of its results.
    #[getter]
    fn schema(&self) -> Schema {
        Schema {
            inner: Arc::clone(&self.schema),
        }
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &*self.schema)
    }

    /// What is left of it, for others to read: without receipts, once.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyCapsule>, Failure> {
        let _not_granted = requested_schema;
        let inner = outside(py, || Ok::<_, Failure>(self.state()?.inner.take()))??;
        let inner = inner.ok_or_else(|| config("the stream was read to its end or handed on"))?;
        Ok(export_stream(py, inner.into_reader())?)
    }
}
