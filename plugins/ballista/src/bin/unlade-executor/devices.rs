//! The runtime with its devices, and what tasks may ask for of them.

use std::time::Duration;

use unlade::{DeviceRequest, Runtime};
use unlade_ballista::UnladeConfig;

use crate::args::Arguments;
use crate::error::Failure;

/// A runtime, and the device for tasks of sessions that leave it open.
///
/// # Errors
/// A device that is not there; requests that these devices can never serve, with the reason.
pub(crate) fn open(arguments: &Arguments) -> Result<(Runtime, String), Failure> {
    let (runtime, device) = opened(&arguments.devices)?;
    // What each task asks for one task must be able to have.
    let asking = arguments.task_devices.iter().cloned();
    let session = asking.fold(runtime.session("a task"), |session, request| {
        session.device(request)
    });
    let granted = session.open();
    granted.map_err(|error| Failure::resource(format!("--task-device: {error}")))?;
    Ok((runtime, device))
}

fn opened(names: &[String]) -> Result<(Runtime, String), Failure> {
    let refused = |error: unlade::Error| Failure::resource(error.to_string());
    if names.is_empty() {
        let runtime = unlade::runtime().map_err(refused)?;
        return Ok((runtime, UnladeConfig::AUTO.to_owned()));
    }
    // The CPU takes what a device cannot.
    let others = names
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "cpu");
    let named: Vec<&str> = std::iter::once("cpu").chain(others).collect();
    let devices = unlade::open_devices(&named);
    let devices = devices.map_err(|error| Failure::usage(format!("--devices: {error}")))?;
    let device = match (names, devices.last()) {
        ([_alone], Some(device)) => device.info().name.clone(),
        _ => UnladeConfig::AUTO.to_owned(),
    };
    let builder = devices
        .into_iter()
        .fold(Runtime::builder(), |builder, device| builder.device(device));
    Ok((builder.build().map_err(refused)?, device))
}

/// What tasks ask for, and how long they wait for it.
pub(crate) fn of_tasks(arguments: &Arguments) -> (Vec<DeviceRequest>, Duration) {
    let patience = Duration::from_secs(arguments.patience.into());
    (arguments.task_devices.clone(), patience)
}
