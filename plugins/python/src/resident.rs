//! Data that is kept in a device's memory, and what others may know of it there.

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use pyo3::exceptions::{PyAttributeError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use unlade::ResidentValues;

use crate::failure::Failure;
use crate::interpreter::outside;

/// Data that is kept in a device's memory.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) inner: unlade::Resident,
}

#[pymethods]
impl Resident {
    /// The name of the device; ``None`` where the data lies in the host's memory.
    #[getter]
    fn device(&self) -> Option<String> {
        self.inner.device().map(|name| name.to_string())
    }

    /// How many batches were pinned.
    #[getter]
    fn batches(&self) -> usize {
        self.inner.batches().len()
    }

    /// How many of the batches are on the device at the moment.
    #[getter]
    fn batches_on_device(&self) -> usize {
        self.inner.batches_on_device()
    }

    /// A column of one batch where it lies on the device, of fixed-width numbers without nulls.
    /// The batch stays there as long as the column is held.
    #[pyo3(signature = (name, *, batch=0))]
    fn column(&self, py: Python<'_>, name: &str, batch: usize) -> PyResult<ResidentColumn> {
        let pinned = self.inner.batches().first().map(RecordBatch::schema);
        let position = pinned.and_then(|schema| schema.index_of(name).ok());
        let position =
            position.ok_or_else(|| PyKeyError::new_err(format!("there is no column `{name}`")))?;
        let values = outside(py, || self.inner.values_on_device(batch, position))?;
        let values = values.map_err(Failure::from)?;
        Ok(ResidentColumn {
            name: name.to_owned(),
            device: self.device().unwrap_or_default(),
            values,
        })
    }
}

/// A column in a device's memory, which may only be read.
///
/// On a CUDA device it has the CUDA array interface: ``cupy.asarray(column)``,
/// ``numba.cuda.as_cuda_array(column)``, ``torch.as_tensor(column, device="cuda")``.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct ResidentColumn {
    name: String,
    device: String,
    values: ResidentValues,
}

#[pymethods]
impl ResidentColumn {
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The name of the device.
    #[getter]
    fn device(&self) -> &str {
        &self.device
    }

    /// The type: by its name in the text form where that has one, else by Arrow's.
    #[getter]
    fn r#type(&self) -> String {
        unlade::type_name(self.values.data_type())
    }

    fn __len__(&self) -> usize {
        self.values.rows()
    }

    fn __repr__(&self) -> String {
        let (name, of, device) = (&self.name, self.r#type(), &self.device);
        let rows = self.values.rows();
        format!("ResidentColumn({name}: {of}, {rows} rows on {device})")
    }

    /// Version 3 of the protocol. The values are there: there is no stream to wait for.
    #[getter]
    fn __cuda_array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let lacks = |why: String| PyAttributeError::new_err(why);
        if !is_cuda(&self.device) {
            return Err(lacks(format!("`{}` is no CUDA device", self.device)));
        }
        let of = self.values.data_type();
        let of = typestr(of).ok_or_else(|| lacks(format!("{of} is no array's element")))?;
        let interface = PyDict::new(py);
        interface.set_item("shape", (self.values.rows(),))?;
        interface.set_item("typestr", of)?;
        let read_only = true;
        interface.set_item("data", (self.values.address().0, read_only))?;
        interface.set_item("strides", py.None())?;
        interface.set_item("stream", py.None())?;
        interface.set_item("version", 3)?;
        Ok(interface)
    }
}

/// Whether a device's addresses are CUDA's. The simulated GPU's are its own driver's.
fn is_cuda(device: &str) -> bool {
    ["cuda:", "sim-gpu:"]
        .iter()
        .any(|kind| device.starts_with(kind))
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
