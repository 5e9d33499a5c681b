//! Data that is kept in a device's memory, and what others may know of it there.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, FieldRef};
use pyo3::exceptions::{PyAttributeError, PyKeyError, PyNotImplementedError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyTuple};
use unlade::ResidentValues;
use unlade_cdata::on_device;

use crate::argument::Number;
use crate::capsule::{export_on_device, export_schema};
use crate::dlpack::{self, Advice};
use crate::failure::Failure;
use crate::interpreter::outside;
use crate::own::{Own, shown};

/// Data that is kept in a device's memory.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) inner: Own<unlade::Resident>,
}

#[pymethods]
impl Resident {
    /// The name of the device; ``None`` where the data lies in the host's memory.
    #[getter]
    fn device(&self) -> Result<Option<String>, Failure> {
        Ok(self.inner.get()?.device().map(|name| name.to_string()))
    }

    /// How many batches were pinned.
    #[getter]
    fn batches(&self) -> Result<usize, Failure> {
        Ok(self.inner.get()?.batches().len())
    }

    /// How many of the batches are on the device at the moment.
    #[getter]
    fn batches_on_device(&self) -> Result<usize, Failure> {
        Ok(self.inner.get()?.batches_on_device())
    }

    /// A column of one batch where it lies on the device: of fixed width, of strings, or a dictionary of
    /// these. The column stays there as long as it is held.
    #[pyo3(signature = (name, *, batch=Number::new(0)))]
    fn column(&self, py: Python<'_>, name: &str, batch: Number) -> PyResult<ResidentColumn> {
        let batch = batch.named("batch")?;
        let resident = self.inner.get()?;
        let pinned = resident.batches().first().map(RecordBatch::schema);
        let found = pinned.and_then(|schema| {
            let position = schema.index_of(name).ok()?;
            Some((position, Arc::clone(&schema.fields()[position])))
        });
        let (position, field) =
            found.ok_or_else(|| PyKeyError::new_err(format!("there is no column `{name}`")))?;
        let values = outside(py, || resident.column_on_device(batch, position))?;
        let values = values.map_err(Failure::from)?;
        let device = self.device()?.unwrap_or_default();
        let position = resident.device_position().unwrap_or_default();
        Ok(ResidentColumn {
            field,
            place: on_device::device(&device, position),
            device,
            values: Own::new(values),
        })
    }
}

/// A column in a device's memory, which may only be read.
///
/// Numbers without nulls are a tensor, by DLPack, and on a CUDA device have the CUDA array interface:
/// ``torch.from_dlpack(column)``, ``cupy.asarray(column)``, ``numba.cuda.as_cuda_array(column)``. Every
/// column is an Arrow array on its device.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct ResidentColumn {
    field: FieldRef,
    device: String,
    /// The device, by the type and number that Arrow and DLPack have for it.
    place: (i32, i64),
    values: Own<ResidentValues>,
}

#[pymethods]
impl ResidentColumn {
    #[getter]
    fn name(&self) -> &str {
        self.field.name()
    }

    /// The name of the device.
    #[getter]
    fn device(&self) -> &str {
        &self.device
    }

    /// The type: by its name in the text form where that has one, else by Arrow's.
    #[getter]
    fn r#type(&self) -> Result<String, Failure> {
        Ok(unlade::type_name(self.values.get()?.data_type()))
    }

    #[getter]
    fn null_count(&self) -> Result<usize, Failure> {
        Ok(self.values.get()?.null_count())
    }

    fn __len__(&self) -> Result<usize, Failure> {
        Ok(self.values.get()?.rows())
    }

    fn __repr__(&self) -> Result<String, Failure> {
        shown("ResidentColumn", || {
            let (name, of, device) = (self.name(), self.r#type()?, &self.device);
            let rows = self.__len__()?;
            Ok(format!(
                "ResidentColumn({name}: {of}, {rows} rows on {device})"
            ))
        })
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &*self.field)
    }

    /// The column as an Arrow array on its device. It is there: there is no event to wait for.
    #[pyo3(signature = (requested_schema=None, **kwargs))]
    fn __arrow_c_device_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let _not_granted = requested_schema;
        let mut asked = kwargs.iter().flat_map(|kwargs| kwargs.iter());
        if let Some((name, value)) = asked.find(|(_, value)| !value.is_none()) {
            return Err(PyNotImplementedError::new_err(format!(
                "{name}={value} is not known"
            )));
        }
        let column = on_device::Column::from(self.values.get()?);
        let array = on_device::column(&column, self.place, &Arc::new(self.values.clone()));
        export_on_device(py, &self.field, array)
    }

    /// The column as a tensor of one dimension, on its device's memory, which may only be read.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(u32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Py<PyAny>> {
        // Values are there, whichever stream is to read them.
        let request = dlpack::request(stream.as_ref(), max_version, dl_device, copy)?;
        let values = self.values.get()?;
        dlpack::export(py, &request, &Advice::PINNED, || {
            dlpack::Values::on_device(values, self.place)
        })
    }

    /// Its device: type and number, as DLPack has them.
    fn __dlpack_device__(&self) -> (i32, i64) {
        self.place
    }

    /// Version 3 of the protocol. The values are there: there is no stream to wait for.
    #[getter]
    fn __cuda_array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let lacks = |why: String| PyAttributeError::new_err(why);
        if self.place.0 != on_device::CUDA {
            return Err(lacks(format!("`{}` is no CUDA device", self.device)));
        }
        let values = self.values.get()?;
        let of = values.data_type();
        let of = typestr(of).ok_or_else(|| lacks(format!("{of} is no array's element")))?;
        let nulls = values.null_count();
        if nulls > 0 {
            return Err(lacks(format!(
                "`{}` has {nulls} nulls, of which an address of values says nothing",
                self.name()
            )));
        }
        let interface = PyDict::new(py);
        interface.set_item("shape", (values.rows(),))?;
        interface.set_item("typestr", of)?;
        let read_only = true;
        interface.set_item("data", (values.address().0, read_only))?;
        interface.set_item("strides", py.None())?;
        interface.set_item("stream", py.None())?;
        interface.set_item("version", 3)?;
        Ok(interface)
    }
}

/// What NumPy calls numbers of a type.
fn typestr(of: &DataType) -> Option<&'static str> {
    Some(match of {
        DataType::Int8 => "|i1",
        DataType::Int16 => "<i2",
        DataType::Int32 => "<i4",
        DataType::Int64 => "<i8",
        DataType::UInt8 => "|u1",
        DataType::UInt16 => "<u2",
        DataType::UInt32 => "<u4",
        DataType::UInt64 => "<u8",
        DataType::Float16 => "<f2",
        DataType::Float32 => "<f4",
        DataType::Float64 => "<f8",
        _ => return None,
    })
}
