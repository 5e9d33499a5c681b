//! What every device must pass, on a model of a card: the conformance suite, and random programs
//! against the oracle.
//!
//! `UNLADE_FUZZ_CASES` sets how many random programs run, `UNLADE_FUZZ_SEED` where they begin.
#![allow(clippy::print_stdout)] // how much was run is what this test reports

#[path = "../../../sim/card/tests/card/limit.rs"]
mod limit;

use std::env;
use std::sync::Arc;

use limit::Limit;
use unlade_dpu::{Options, connect};
use unlade_hal::Device;
use unlade_sim_card::{Config, Profile, Served};
use unlade_tests::conformance::suite;
use unlade_tests::fuzz::{Cases, fuzz};

fn card(profile: Profile) -> (Served, Arc<dyn Device>) {
    let config = Config {
        profile,
        ..Config::default()
    };
    let card = Served::start(config).expect("a socket can be made");
    let device =
        connect(card.path(), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    (card, device)
}

#[test]
fn a_card_with_everything_conforms() {
    let _limit = Limit::start();
    let (card, device) = card(Profile::full());
    let report = suite(&device).unwrap_or_else(|what| panic!("{what}"));
    println!("{report}");
    assert_eq!(report.cells_refused, 0, "{report}");
    let counters = card.counters();
    assert_eq!(counters.findings, [""; 0]);
    assert_eq!(counters.dma_refused, 0, "{:?}", counters.first_refused);
}

#[test]
fn a_card_that_lacks_much_conforms() {
    let _limit = Limit::start();
    let (card, device) = card(Profile::small());
    let report = suite(&device).unwrap_or_else(|what| panic!("{what}"));
    println!("{report}");
    assert!(report.cells_refused > 0 && report.cells_run > 0, "{report}");
    assert_eq!(card.counters().findings, [""; 0]);
}

#[test]
fn a_card_without_decimals_conforms_and_copies_by_count() {
    let _limit = Limit::start();
    let (card, device) = card(Profile::narrow());
    let capabilities = device.capabilities();
    assert!(capabilities.copy_counted && capabilities.compaction);
    let report = suite(&device).unwrap_or_else(|what| panic!("{what}"));
    println!("{report}");
    assert!(report.cells_refused > 0, "{report}");
    assert!(report.cells_run > report.cells_refused, "{report}");
    let counters = card.counters();
    assert_eq!(counters.findings, [""; 0]);
    assert_eq!(counters.dma_refused, 0, "{:?}", counters.first_refused);
}

#[test]
fn random_programs_give_the_oracles_results() {
    let (card, device) = card(Profile::full());
    let first_seed = number("UNLADE_FUZZ_SEED").unwrap_or(1);
    let count = number("UNLADE_FUZZ_CASES").unwrap_or(300);
    let cases = Cases {
        first_seed,
        count,
        threads: 1,
    };
    let report = fuzz(&device, cases);
    assert!(
        report.failures.is_empty(),
        "UNLADE_FUZZ_SEED={first_seed} UNLADE_FUZZ_CASES={count}: {}",
        report.failures.join("\n")
    );
    let rows = report.median_rows();
    println!(
        "{} random programs of {rows} rows in the median; {} left out",
        report.cases, report.left_out
    );
    assert_eq!(report.cases + report.left_out, count);
    assert!(
        report.cases > count / 2,
        "{} were left out",
        report.left_out
    );
    assert_eq!(card.counters().findings, [""; 0]);
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}
