//! One column of a batch.

use arrow_array::{Array, ArrayRef};
use arrow_schema::FieldRef;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyTuple};

use crate::capsule::{export_array, export_schema};
use crate::dlpack::{self, Advice};
use crate::failure::Failure;
use crate::own::{Own, shown};

/// One column of a batch, on the memory that it was computed in.
///
/// As an Arrow array: ``pyarrow.array(column)``. As a tensor: ``numpy.from_dlpack(column)``,
/// ``torch.from_dlpack(column)``, for fixed-width numbers without nulls.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Column {
    field: FieldRef,
    array: Own<ArrayRef>,
}

impl Column {
    pub(crate) fn new(field: FieldRef, array: ArrayRef) -> Self {
        let array = Own::new(array);
        Column { field, array }
    }
}

#[pymethods]
impl Column {
    #[getter]
    fn name(&self) -> &str {
        self.field.name()
    }

    /// The type: by its name in the text form where that has one, else by Arrow's.
    #[getter]
    fn r#type(&self) -> String {
        unlade::type_name(self.field.data_type())
    }

    #[getter]
    fn null_count(&self) -> Result<usize, Failure> {
        Ok(self.array.get()?.null_count())
    }

    fn __len__(&self) -> Result<usize, Failure> {
        Ok(self.array.get()?.len())
    }

    fn __repr__(&self) -> Result<String, Failure> {
        shown("Column", || {
            let (name, of, rows) = (self.field.name(), self.r#type(), self.__len__()?);
            Ok(format!("Column({name}: {of}, {rows} rows)"))
        })
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &*self.field)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let _not_granted = requested_schema;
        export_array(py, &self.field, self.array.get()?)
    }

    /// The column as a tensor of one dimension, which shares its memory and may only be read.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(u32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Py<PyAny>> {
        let request = dlpack::request(stream.as_ref(), max_version, dl_device, copy)?;
        let array = self.array.get()?;
        dlpack::export(py, &request, &Advice::HOST, || dlpack::Values::of(array))
    }

    /// Where it lies: in the memory of the CPU.
    fn __dlpack_device__(&self) -> (u32, i32) {
        dlpack::device()
    }

    /// What ``numpy.asarray`` makes of it: as `to_numpy`, or a copy, of another type if asked for one.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let numpy = py.import(intern!(py, "numpy"))?;
        let asked = PyDict::new(py);
        asked.set_item(intern!(py, "dtype"), dtype)?;
        let shared = Column::to_numpy(slf)?;
        let Some(copy) = copy else {
            return numpy.call_method(intern!(py, "asarray"), (shared,), Some(&asked));
        };
        asked.set_item(intern!(py, "copy"), copy)?;
        numpy.call_method(intern!(py, "array"), (shared,), Some(&asked))
    }

    /// The column as a NumPy array, which shares its memory and may only be read.
    fn to_numpy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let numpy = slf.py().import(intern!(slf.py(), "numpy"))?;
        numpy.call_method1(intern!(slf.py(), "from_dlpack"), (slf,))
    }
}
