//! Devices by name.

use std::env;
use std::sync::Arc;

use unlade_hal::Device;

/// The variable that names the device to test beside those that need no hardware.
const VARIABLE: &str = "UNLADE_TEST_DEVICE";

/// The device of this name.
///
/// # Errors
/// Which devices there are, and why there is no GPU among them.
pub fn named(name: &str) -> Result<Arc<dyn Device>, String> {
    let devices = unlade::discover();
    let known: Vec<String> = devices
        .iter()
        .map(|device| device.info().name.clone())
        .collect();
    let found = devices
        .into_iter()
        .find(|device| device.info().name == name);
    found.ok_or_else(|| {
        let why = unlade::why_no_gpu().map_or_else(String::new, |why| format!("; {why}"));
        format!("no device `{name}`; there are: {}{why}", known.join(", "))
    })
}

/// The device that `UNLADE_TEST_DEVICE` names, `sim` where it is not set.
///
/// # Panics
/// Where there is no such device: a test that was asked for must not pass by not running.
pub fn chosen() -> Arc<dyn Device> {
    let name = env::var(VARIABLE).unwrap_or_else(|_unset| "sim".to_owned());
    named(&name).unwrap_or_else(|what| panic!("{VARIABLE}: {what}"))
}
