//! Columns as tensors, by [DLPack](https://dmlc.github.io/dlpack/latest/python_spec.html).
//!
//! A tensor shares the column's memory. Arrow's buffers are immutable and may be shared with others,
//! so it says of itself that it may only be read: NumPy then refuses to write. Consumers that ask for
//! the protocol without versions, which cannot say so, are refused.

use std::ffi::c_void;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use dlpark::ffi::{DLDataType, DLDevice, DLManagedTensor, DLManagedTensorVersioned};
use dlpark::metadata::Fixed;
use dlpark::{DlpackFlags, Managed};
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

/// What a consumer asks for.
pub(crate) type Request<'py> = dlpark::python::ExportRequest<'py>;

pub(crate) fn request<'py>(
    stream: Option<&Bound<'py, PyAny>>,
    max_version: Option<(u32, u32)>,
    dl_device: Option<(u32, i32)>,
    copy: Option<bool>,
) -> PyResult<Request<'py>> {
    Request::parse(stream, max_version, dl_device, copy)
}

/// The CPU's memory, in DLPack's numbers.
pub(crate) fn device() -> (u32, i32) {
    (DLDevice::CPU.device_type.0, DLDevice::CPU.device_id)
}

/// A capsule that shares an array's values.
pub(crate) fn export(
    py: Python<'_>,
    request: &Request<'_>,
    array: &ArrayRef,
) -> PyResult<Py<PyAny>> {
    if request.max_version().is_none_or(|(major, _)| major < 1) {
        return Err(PyBufferError::new_err(
            "the tensor may only be read, which DLPack can say from version 1.0 on: ask for \
             max_version=(1, 0), or take a copy through pyarrow.array(column).to_numpy()",
        ));
    }
    let values = Values::of(array)?;
    request.export_zero_copy(py, DLDevice::CPU, DlpackFlags::READ_ONLY, legacy, || {
        values.tensor()
    })
}

/// Not reached: whoever asks for it is refused before.
fn legacy() -> PyResult<Managed<DLManagedTensor>> {
    Err(PyBufferError::new_err("DLPack before 1.0 is not offered"))
}

/// The values of an array, as a tensor describes them.
struct Values<'a> {
    array: &'a ArrayRef,
    address: *const u8,
    element: DLDataType,
}

impl<'a> Values<'a> {
    fn of(array: &'a ArrayRef) -> PyResult<Self> {
        let nulls = array.null_count();
        if nulls > 0 {
            return Err(PyBufferError::new_err(format!(
                "the column has {nulls} nulls, which a tensor cannot hold; fill them \
                 (`coalesce(x, 0)`) or drop their rows (`x is not null`)"
            )));
        }
        let element = element(array.data_type())?;
        let data = array.to_data();
        let width = usize::from(element.bits) / 8;
        let values = &data.buffers()[0].as_slice()[data.offset() * width..];
        assert!(
            values.len() >= array.len() * width,
            "arrays have all of their values"
        );
        Ok(Values {
            array,
            address: values.as_ptr(),
            element,
        })
    }

    fn tensor(&self) -> PyResult<Managed<DLManagedTensorVersioned>> {
        let wrong = |error: &dyn std::fmt::Display| PyBufferError::new_err(error.to_string());
        let rows = i64::try_from(self.array.len()).map_err(|error| wrong(&error))?;
        let described = Fixed::<1, _, _>::new([rows], [1]).prepare_as::<DLManagedTensorVersioned>();
        // The tensor keeps the array, and by it the memory.
        let mut tensor = described
            .map_err(|error| wrong(&error))?
            .initialize(Box::new(self.array.clone()));
        tensor
            .set_data(self.address.cast_mut().cast::<c_void>())
            .set_device(DLDevice::CPU)
            .set_dtype(self.element);
        tensor
            .set_flags(DlpackFlags::READ_ONLY)
            .map_err(|error| wrong(&error))?;
        // SAFETY: The address is that of so many elements of this type, which the array that the
        // tensor owns keeps until it is dropped; shape and strides lie in the tensor's allocation.
        // The flags say that nobody may write, which the array's immutability asks for.
        Ok(unsafe { tensor.finish() })
    }
}

/// The element type of numbers of fixed width.
fn element(data_type: &DataType) -> PyResult<DLDataType> {
    Ok(match data_type {
        DataType::Int8 => DLDataType::of::<i8>(),
        DataType::Int16 => DLDataType::of::<i16>(),
        DataType::Int32 => DLDataType::of::<i32>(),
        DataType::Int64 => DLDataType::of::<i64>(),
        DataType::UInt8 => DLDataType::of::<u8>(),
        DataType::UInt16 => DLDataType::of::<u16>(),
        DataType::UInt32 => DLDataType::of::<u32>(),
        DataType::UInt64 => DLDataType::of::<u64>(),
        DataType::Float32 => DLDataType::of::<f32>(),
        DataType::Float64 => DLDataType::of::<f64>(),
        other => {
            return Err(PyBufferError::new_err(format!(
                "a tensor holds integers and floats of 8 to 64 bits, the column is {}; cast it in \
                 the query, or use pyarrow.array(column)",
                unlade::type_name(other)
            )));
        }
    })
}
