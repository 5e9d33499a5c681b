//! A driver that is there only later is found then. A process has one driver, so this has a process
//! of its own.
#![allow(clippy::print_stdout)] // says why nothing was tested

use unlade_cuda::{WhyNot, discover, open, simulate};
use unlade_hal::Device;

#[test]
fn a_driver_that_comes_later_is_found() {
    let Err(why) = discover() else {
        println!("not tested: this machine has a GPU from the start");
        return;
    };
    if why != WhyNot::NoLibrary {
        println!("not tested: this machine has a driver from the start: {why}");
        return;
    }
    assert_eq!(open(0).unwrap_err(), WhyNot::NoLibrary);
    // The simulated driver is one that was not there before.
    simulate().expect("its library is beside the test");
    let found = discover().expect("the driver is there now");
    assert_eq!(found[0].info().name, "sim-gpu:0");
    // What was found stays the same device.
    let again = discover().expect("it is still there");
    assert!(std::sync::Arc::ptr_eq(&found[0], &again[0]));
}
