//! Columns as tensors, by [DLPack](https://dmlc.github.io/dlpack/latest/python_spec.html).
//!
//! A tensor shares the column's memory, the host's or a device's. Arrow's buffers are immutable and may be shared with others,
//! so it says of itself that it may only be read: NumPy then refuses to write. Consumers that ask for
//! the protocol without versions, which cannot say so, are refused.

use std::ffi::c_void;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use dlpark::ffi::{DLDataType, DLDevice, DLDeviceType, DLManagedTensor, DLManagedTensorVersioned};
use dlpark::metadata::Fixed;
use dlpark::{DlpackFlags, Managed};
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use unlade::ResidentValues;

use crate::own::Own;

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
    DLDevice::CPU.into()
}

/// What to do where a tensor cannot be had.
pub(crate) struct Advice {
    /// Of a consumer that asks by an older version.
    pub(crate) old: &'static str,
    pub(crate) nulls: &'static str,
    pub(crate) other: &'static str,
}

impl Advice {
    /// Of a result's column.
    pub(crate) const HOST: Advice = Advice {
        old: "take a copy through pyarrow.array(column).to_numpy()",
        nulls: "fill them (`coalesce(x, 0)`) or drop their rows (`x is not null`) in the query, or use \
                pyarrow.array(column)",
        other: "cast it in the query, or use pyarrow.array(column)",
    };

    /// Of one that is pinned, which is on no way to pyarrow.
    pub(crate) const PINNED: Advice = Advice {
        old: "take it as an Arrow array, by __arrow_c_device_array__",
        nulls: "fill them, or drop their rows, before the column is pinned, or take it as an Arrow array, by \
                __arrow_c_device_array__",
        other: "cast it before it is pinned, or take it as an Arrow array, by __arrow_c_device_array__",
    };
}

/// A capsule that shares the values of what keeps them.
pub(crate) fn export<K: Clone + Send + Sync + 'static>(
    py: Python<'_>,
    request: &Request<'_>,
    advice: &Advice,
    values: impl FnOnce() -> PyResult<Values<K>>,
) -> PyResult<Py<PyAny>> {
    if request.max_version().is_none_or(|(major, _)| major < 1) {
        return Err(PyBufferError::new_err(format!(
            "the tensor may only be read, which DLPack can say from version 1.0 on: ask for \
             max_version=(1, 0), or {}",
            advice.old
        )));
    }
    let values = values()?;
    request.export_zero_copy(py, values.device, DlpackFlags::READ_ONLY, legacy, || {
        values.tensor()
    })
}

/// Not reached: whoever asks for it is refused before.
fn legacy() -> PyResult<Managed<DLManagedTensor>> {
    Err(PyBufferError::new_err("DLPack before 1.0 is not offered"))
}

/// Values without nulls, as a tensor describes them.
pub(crate) struct Values<K> {
    /// What has the memory.
    keeps: K,
    rows: usize,
    address: u64,
    element: DLDataType,
    device: DLDevice,
}

impl Values<ArrayRef> {
    /// Those of an array.
    pub(crate) fn of(array: &ArrayRef) -> PyResult<Self> {
        let element = element(array.data_type(), array.null_count(), &Advice::HOST)?;
        let data = array.to_data();
        let width = usize::from(element.bits) / 8;
        let values = &data.buffers()[0].as_slice()[data.offset() * width..];
        assert!(
            values.len() >= array.len() * width,
            "arrays have all of their values"
        );
        Ok(Values {
            keeps: Arc::clone(array),
            rows: array.len(),
            address: values.as_ptr().expose_provenance() as u64,
            element,
            device: DLDevice::CPU,
        })
    }
}

impl Values<ResidentValues> {
    /// Those of a pinned column, on a device that the interfaces know by this type and number.
    pub(crate) fn on_device(
        values: &ResidentValues,
        (device_type, device_id): (i32, i64),
    ) -> PyResult<Self> {
        let no_number = |_| PyBufferError::new_err("the device has no number in DLPack");
        Ok(Values {
            keeps: values.clone(),
            rows: values.rows(),
            address: values.address().0,
            element: element(values.data_type(), values.null_count(), &Advice::PINNED)?,
            device: DLDevice {
                device_type: DLDeviceType(u32::try_from(device_type).map_err(no_number)?),
                device_id: i32::try_from(device_id).map_err(no_number)?,
            },
        })
    }
}

impl<K: Clone + Send + Sync + 'static> Values<K> {
    fn tensor(&self) -> PyResult<Managed<DLManagedTensorVersioned>> {
        let wrong = |error: &dyn std::fmt::Display| PyBufferError::new_err(error.to_string());
        let rows = i64::try_from(self.rows).map_err(|error| wrong(&error))?;
        let described = Fixed::<1, _, _>::new([rows], [1]).prepare_as::<DLManagedTensorVersioned>();
        // The tensor keeps what has the memory.
        let mut tensor = described
            .map_err(|error| wrong(&error))?
            .initialize(Box::new(Own::new(self.keeps.clone())));
        tensor
            .set_data(std::ptr::with_exposed_provenance_mut::<c_void>(
                self.address as usize,
            ))
            .set_device(self.device)
            .set_dtype(self.element);
        tensor
            .set_flags(DlpackFlags::READ_ONLY)
            .map_err(|error| wrong(&error))?;
        // SAFETY: The address is that of so many elements of this type on the device, which what the
        // tensor owns keeps until it is dropped; shape and strides lie in the tensor's allocation.
        // The flags say that nobody may write, which the immutability of both kinds asks for.
        Ok(unsafe { tensor.finish() })
    }
}

/// The element type of numbers of fixed width, of which none is null.
fn element(data_type: &DataType, nulls: usize, advice: &Advice) -> PyResult<DLDataType> {
    if nulls > 0 {
        return Err(PyBufferError::new_err(format!(
            "the column has {nulls} nulls, which a tensor cannot hold; {}",
            advice.nulls
        )));
    }
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
                "a tensor holds integers of 8 to 64 bits and floats of 32 and 64, the column is {}; {}",
                unlade::type_name(other),
                advice.other
            )));
        }
    })
}
