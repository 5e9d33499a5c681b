//! Record batches and schemas.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::{Field, SchemaRef};
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PySlice, PyTuple};

use crate::argument::expected;
use crate::capsule::{export_batch, export_schema, export_stream};
use crate::column::Column;
use crate::failure::Failure;
use crate::given::Given;
use crate::own::{Own, shown};

/// A record batch: columns of one length, on the memory that they were computed in.
///
/// pyarrow, Polars, DuckDB and others read it by the Arrow PyCapsule interface, without a copy:
/// ``pyarrow.record_batch(batch)``, ``polars.DataFrame(batch)``. The memory goes back to the runtime
/// when the last of them lets go of it.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) inner: Own<RecordBatch>,
}

enum Which {
    Position(isize),
    Name(String),
}

impl<'py> FromPyObject<'_, 'py> for Which {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let position = object.extract().map(Which::Position);
        let which = position.or_else(|_| object.extract().map(Which::Name));
        which.map_err(|_| {
            let rows = match object.is_instance_of::<PySlice>() {
                true => "; for rows, pyarrow.record_batch(batch)[0:1]",
                false => "",
            };
            let which = format!("a column's name or position{rows}");
            expected(&which, &object)
        })
    }
}

#[pymethods]
impl Batch {
    /// A batch of anything that is one by the Arrow PyCapsule interface.
    #[new]
    fn new(py: Python<'_>, data: Given) -> PyResult<Self> {
        Ok(Batch {
            inner: Own::new(data.one(py)?.batch),
        })
    }

    #[getter]
    fn num_rows(&self) -> Result<usize, Failure> {
        Ok(self.inner.get()?.num_rows())
    }

    #[getter]
    fn num_columns(&self) -> Result<usize, Failure> {
        Ok(self.inner.get()?.num_columns())
    }

    #[getter]
    fn schema(&self) -> Result<Schema, Failure> {
        let inner = self.inner.get()?.schema();
        Ok(Schema { inner })
    }

    /// One column, by its name or position.
    fn column(&self, which: Which) -> PyResult<Column> {
        let batch = self.inner.get()?;
        let columns = batch.num_columns();
        let schema = batch.schema_ref();
        let index = match which {
            Which::Position(position) => {
                let from_end = position + columns as isize;
                let index = usize::try_from(if position < 0 { from_end } else { position });
                let index = index.ok().filter(|index| *index < columns);
                index.ok_or_else(|| {
                    PyIndexError::new_err(format!(
                        "there are {columns} columns, none is {position}"
                    ))
                })?
            }
            Which::Name(name) => schema.index_of(&name).map_err(|_| {
                let names: Vec<&str> = names(schema.fields()).collect();
                PyKeyError::new_err(format!("no column `{name}`; there is {}", names.join(", ")))
            })?,
        };
        Ok(Column::new(
            Arc::clone(&schema.fields()[index]),
            Arc::clone(batch.column(index)),
        ))
    }

    fn __getitem__(&self, which: Which) -> PyResult<Column> {
        self.column(which)
    }

    fn __len__(&self) -> Result<usize, Failure> {
        self.num_rows()
    }

    fn __repr__(&self) -> Result<String, Failure> {
        shown("Batch", || {
            let batch = self.inner.get()?;
            let (rows, columns) = (batch.num_rows(), columns(batch.schema_ref()));
            Ok(format!("Batch({rows} rows: {columns})"))
        })
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &**self.inner.get()?.schema_ref())
    }

    /// The requested schema is a wish by the protocol; casting would copy, so it is not granted.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let _not_granted = requested_schema;
        export_batch(py, self.inner.get()?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _not_granted = requested_schema;
        let batch = self.inner.get()?;
        let reader = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
        export_stream(py, reader)
    }
}

/// Names and types of columns. ``pyarrow.schema(schema)`` reads it.
#[pyclass(frozen, eq, module = "unlade")]
#[derive(Debug, PartialEq)]
pub(crate) struct Schema {
    pub(crate) inner: SchemaRef,
}

#[pymethods]
impl Schema {
    #[getter]
    fn names(&self) -> Vec<String> {
        names(self.inner.fields()).map(str::to_owned).collect()
    }

    /// Types: by their names in the text form where that has them, else by Arrow's.
    #[getter]
    fn types(&self) -> Vec<String> {
        let fields = self.inner.fields().iter();
        fields
            .map(|field| unlade::type_name(field.data_type()))
            .collect()
    }

    fn __len__(&self) -> usize {
        self.inner.fields().len()
    }

    fn __repr__(&self) -> String {
        format!("Schema({})", columns(&self.inner))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &*self.inner)
    }
}

fn names(fields: &[Arc<Field>]) -> impl Iterator<Item = &str> {
    fields.iter().map(|field| field.name().as_str())
}

fn columns(schema: &SchemaRef) -> String {
    let fields = schema.fields().iter();
    let each: Vec<String> = fields
        .map(|field| format!("{}: {}", field.name(), unlade::type_name(field.data_type())))
        .collect();
    each.join(", ")
}
