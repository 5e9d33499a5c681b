//! Devices by name.

use std::env;
use std::sync::{Arc, LazyLock};

use unlade_hal::Device;

/// The variable that names the device to test beside those that need no hardware.
const VARIABLE: &str = "UNLADE_TEST_DEVICE";

/// The simulated card's name.
pub const SIMULATED_CARD: &str = "sim-dpu";

/// The device of this name: one that is found, `sim-dpu` for a simulated card of this process, or
/// `dpu:` and the address of a card.
///
/// # Errors
/// Which devices there are, and why there is no GPU among them; for cards, why it cannot be opened.
pub fn named(name: &str) -> Result<Arc<dyn Device>, String> {
    let mut opened = unlade::open_devices(&[name])?;
    Ok(opened.remove(0))
}

/// The device that `UNLADE_TEST_DEVICE` names, `sim` where it is not set.
///
/// # Panics
/// Where there is no such device: a test that was asked for must not pass by not running.
pub fn chosen() -> Arc<dyn Device> {
    let name = env::var(VARIABLE).unwrap_or_else(|_unset| "sim".to_owned());
    named(&name).unwrap_or_else(|what| panic!("{VARIABLE}: {what}"))
}

/// A simulated card with everything, which this process serves as long as it is there.
///
/// # Panics
/// Where no socket can be made in the folder for temporary files.
pub fn simulated_card() -> Arc<dyn Device> {
    named(SIMULATED_CARD).unwrap_or_else(|error| panic!("{error}"))
}

/// A simulated NVIDIA GPU, which from here on is this process's only one. It is opened once: a
/// process keeps its context.
///
/// # Panics
/// Where its library is not beside the test's executable, which has it among what it is built with;
/// or where this process has a driver already.
pub fn simulated_gpu() -> Arc<dyn Device> {
    static ONE: LazyLock<Arc<dyn Device>> = LazyLock::new(|| {
        unlade::simulate_gpu().unwrap_or_else(|why| panic!("{why}"));
        let gpu = unlade_cuda::open(0).unwrap_or_else(|why| panic!("{why}"));
        Arc::new(gpu)
    });
    Arc::clone(&ONE)
}
