//! Random programs on a device, several under way at once, against the naive interpreter.
//!
//! The devices are a simulated card and `sim`, or in its place the one that `UNLADE_TEST_DEVICE`
//! names; `UNLADE_FUZZ_CASES` runs more,
//! `UNLADE_FUZZ_SEED` starts elsewhere.
#![allow(clippy::print_stdout)] // coverage is what this test reports

use std::env;
use std::sync::Arc;

use unlade_hal::Device;
use unlade_tests::devices;
use unlade_tests::fuzz::{Cases, fuzz};

#[test]
fn the_chosen_device_computes_what_the_interpreter_does() {
    computes_what_the_interpreter_does(&devices::chosen());
}

#[test]
fn the_simulated_card_computes_what_the_interpreter_does() {
    computes_what_the_interpreter_does(&devices::simulated_card());
}

fn computes_what_the_interpreter_does(device: &Arc<dyn Device>) {
    let cases = Cases {
        first_seed: number("UNLADE_FUZZ_SEED").unwrap_or(1),
        count: number("UNLADE_FUZZ_CASES").unwrap_or(150),
        threads: 2,
    };
    let report = fuzz(device, cases);
    println!("{report}");
    assert!(report.failures.is_empty(), "{}", report.failures.join("\n"));
    assert!(report.cases > 2 * report.left_out, "{report}");
    assert!(report.traps > 0, "{report}");
    assert!(report.median_rows() >= 4096, "{report}");
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}
