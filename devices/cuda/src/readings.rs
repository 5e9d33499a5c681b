//! What NVIDIA's management library, NVML, says of a GPU: temperature, power, errors of memory.
//!
//! The library comes with the driver and is loaded when it is asked, so its absence is a reading's
//! and nobody else's. It counts GPUs by itself, whatever `CUDA_VISIBLE_DEVICES` hides or reorders:
//! a GPU is found in it by its PCI address. Of a GPU that is divided into several (MIG) it tells
//! what the whole draws and how warm that is.

use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use unlade_hal::{Quantity, Reading};

/// The library, as the driver installs it.
pub(crate) const LIBRARY: &str = "libnvidia-ml.so.1";

/// All readings, each of them unknown for this reason.
pub(crate) fn unknown(why: &str) -> Vec<Reading> {
    Quantity::ALL
        .map(|quantity| Reading::new(quantity, Err(why.to_owned())))
        .to_vec()
}

/// What the library says of the GPU at this PCI address.
pub(crate) fn at(library: &str, address: &str) -> Vec<Reading> {
    let nvml = match Nvml::builder().lib_path(library.as_ref()).init() {
        Ok(nvml) => nvml,
        Err(error) => return unknown(&absent(&error)),
    };
    match nvml.device_by_pci_bus_id(address) {
        Ok(device) => Quantity::ALL
            .map(|quantity| {
                let value = read(&device, quantity);
                Reading::new(quantity, value.map_err(|error| refused(quantity, &error)))
            })
            .to_vec(),
        Err(error) => unknown(&not_shown(address, &error)),
    }
}

fn read(device: &Device<'_>, quantity: Quantity) -> Result<u64, NvmlError> {
    let errors = |kind| device.total_ecc_errors(kind, EccCounter::Volatile);
    match quantity {
        Quantity::Temperature => device.temperature(TemperatureSensor::Gpu).map(u64::from),
        Quantity::Power => device.power_usage().map(u64::from),
        Quantity::PowerLimit => device.enforced_power_limit().map(u64::from),
        Quantity::EccCorrected => errors(MemoryError::Corrected),
        Quantity::EccUncorrected => errors(MemoryError::Uncorrected),
        _ => Err(NvmlError::NotSupported),
    }
}

/// Why there is no library to ask.
fn absent(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(error) => format!("NVML is not there: {error}"),
        error => format!("NVML does not start: {error}"),
    }
}

/// Why the library says nothing of a GPU.
fn not_shown(address: &str, error: &NvmlError) -> String {
    match error {
        NvmlError::NotFound => format!("NVML shows no GPU at {address}"),
        error => format!("NVML does not open the GPU at {address}: {error}"),
    }
}

/// Why one thing is not told.
fn refused(quantity: Quantity, error: &NvmlError) -> String {
    match (error, quantity) {
        (NvmlError::NotSupported, Quantity::EccCorrected | Quantity::EccUncorrected) => {
            "this GPU has no ECC, or it is off".to_owned()
        }
        (NvmlError::NotSupported, _) => "this GPU does not tell".to_owned(),
        (NvmlError::NoPermission, _) => "this user may not ask".to_owned(),
        (NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound, _) => {
            "the driver's NVML is too old to ask".to_owned()
        }
        (error, _) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_library_each_reading_says_so() {
        let readings = at("libnowhere-ml.so.1", "0000:3b:00.0");
        let quantities: Vec<_> = readings.iter().map(|each| each.quantity).collect();
        assert_eq!(quantities, Quantity::ALL);
        for reading in readings {
            let why = reading.value.unwrap_err();
            assert!(why.starts_with("NVML is not there: "), "{why}");
            assert!(why.contains("libnowhere-ml.so.1"), "{why}");
        }
    }

    #[test]
    fn a_library_that_is_something_else_does_not_start() {
        // The C library is there wherever this runs, and has none of NVML's functions.
        let readings = at("libc.so.6", "0000:3b:00.0");
        let why = readings[0].value.as_ref().unwrap_err();
        assert!(why.starts_with("NVML does not start: "), "{why}");
        assert!(why.contains("nvmlInit_v2"), "{why}");
    }

    #[test]
    fn what_is_not_told_says_why() {
        let missing = NvmlError::NotSupported;
        let (power, errors) = (Quantity::Power, Quantity::EccUncorrected);
        assert_eq!(refused(power, &missing), "this GPU does not tell");
        assert_eq!(
            refused(errors, &missing),
            "this GPU has no ECC, or it is off"
        );
        assert_eq!(
            refused(power, &NvmlError::NoPermission),
            "this user may not ask"
        );
        assert!(refused(power, &NvmlError::GpuLost).contains("fell off the bus"));
        let nowhere = not_shown("0000:3b:00.0", &NvmlError::NotFound);
        assert_eq!(nowhere, "NVML shows no GPU at 0000:3b:00.0");
    }
}
