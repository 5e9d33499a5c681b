//! The conformance suite on every device that needs no hardware, and on the one that is asked for.
#![allow(clippy::print_stdout)] // the cells run per device are what this test reports

use std::sync::Arc;

use unlade_cpu::CpuDevice;
use unlade_hal::Device;
use unlade_program::{Op, cells};
use unlade_sim_device::{Profile, SimDevice};
use unlade_tests::conformance::{Report, suite};
use unlade_tests::devices;

#[test]
fn the_cpu_conforms() {
    let report = conforms(Arc::new(CpuDevice::new()));
    assert_eq!(
        report.cells_run,
        cells().len(),
        "the CPU has every operation"
    );
}

#[test]
fn the_simulated_device_conforms() {
    let report = conforms(Arc::new(SimDevice::builder(Profile::gpu()).build()));
    assert_eq!(report.cells_run, cells().len());
    assert!(report.strings > 0, "it compacts strings");
}

#[test]
fn the_simulated_coherent_device_conforms() {
    let report = conforms(Arc::new(
        SimDevice::builder(Profile::coherent_gpu()).build(),
    ));
    assert!(report.strings > 0, "it compacts strings");
}

#[test]
fn the_simulated_card_conforms_and_refuses_what_it_lacks() {
    let report = conforms(Arc::new(SimDevice::builder(Profile::card()).build()));
    let divisions = cells().filter(|cell| cell.op == Op::Div).count();
    assert!(report.cells_refused > divisions, "a card divides nothing");
}

/// The one that `UNLADE_TEST_DEVICE` names.
#[test]
fn the_chosen_device_conforms() {
    conforms(devices::chosen());
}

fn conforms(device: Arc<dyn Device>) -> Report {
    let report = suite(&device).unwrap_or_else(|what| panic!("{}: {what}", device.info().name));
    println!("{report}");
    assert_eq!(report.strings > 0, device.capabilities().strings);
    assert_eq!(report.cells_run + report.cells_refused, cells().len());
    assert!(report.traps > 0, "no random program trapped");
    report
}
