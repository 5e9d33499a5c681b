//! Whatever goes wrong with a card, a batch ends in one of three ways, and each fault in the one that
//! `unlade_tests::cards` lists. Nothing is left behind: no lease, no range of addresses that the card
//! reaches, no thread, process, file, socket or memory.
//!
//! One test, so that nobody else of this process opens or closes anything while it counts.
#![allow(clippy::print_stdout)] // how much was run is what this test reports

use std::collections::BTreeMap;

use unlade_dpu::{DpuDevice, connect};
use unlade_hal::{Device, Health, MemoryKind};
use unlade_runtime::{Fallback, Trust};
use unlade_sim_card::{Config, Fault, FaultPlan, Served};
use unlade_tests::cards::{Case, End, STRUCK};
use unlade_tests::process::{Held, settle};

#[test]
fn every_fault_ends_as_is_listed_and_leaves_nothing_behind() {
    // What is made once in a process is there afterwards.
    run(&Case {
        fault: None,
        trust: Trust::Trusted,
        fallback: Fallback::Allow,
        checksums: false,
    });
    let open = Held::now();
    let mut ends: BTreeMap<End, u32> = BTreeMap::new();
    for case in cases() {
        *ends.entry(run(&case)).or_default() += 1;
        settle(&format!("{case}"), Held::now, &open);
    }
    println!(
        "{} faults, trusted and not, with another device and without, ended: {ends:?}",
        Fault::ALL.len()
    );
    assert_eq!(ends.len(), 4, "every kind of end was reached: {ends:?}");
}

/// Every fault in every way; with checksums those that such find out.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for fault in Fault::ALL {
        for trust in [Trust::Trusted, Trust::Untrusted] {
            for fallback in [Fallback::Allow, Fallback::Forbid] {
                for checksums in [false, true] {
                    let corrupts = matches!(fault, Fault::PartialDma | Fault::CorruptData);
                    if corrupts || !checksums {
                        cases.push(Case {
                            fault: Some(fault),
                            trust,
                            fallback,
                            checksums,
                        });
                    }
                }
            }
        }
    }
    cases
}

/// Runs a case on a card of its own, and checks that the card reaches as much as before.
fn run(case: &Case) -> End {
    let plan = FaultPlan::none();
    let faults = match case.fault {
        Some(fault) => plan.at(STRUCK, fault),
        None => plan,
    };
    let config = Config {
        faults,
        ..Config::default()
    };
    let card = Served::start(config).expect("a socket can be made");
    let device = connect(card.path(), &case.options()).expect("the card is there");
    let mapped = reached(&card, &device);
    let end = case.run(&device);
    let struck: Vec<(u64, Fault)> = case.fault.iter().map(|fault| (STRUCK, *fault)).collect();
    assert_eq!(card.counters().faults, struck, "{case}");
    // The runtime resets a card when it next has work for it.
    let back = device.health() == Health::Ready || device.reset().is_ok();
    assert_eq!(back, case.fault != Some(Fault::Removal), "{case}");
    let (now, wanted) = match back {
        true => (reached(&card, &device), mapped),
        false => (card.card().mapped_ranges(), 0),
    };
    assert_eq!(now, wanted, "{case}: ranges that the card reaches");
    drop(device);
    settle(
        &format!("{case}: ranges left"),
        || card.card().mapped_ranges(),
        &0,
    );
    end
}

/// How many ranges the card reaches, when all is given back that nobody uses.
fn reached(card: &Served, device: &DpuDevice) -> usize {
    // Given back with the next request; this leaves one range to give back, every time.
    for _ in 0..2 {
        let allocated = device.allocate(MemoryKind::Upload, 1);
        allocated.expect("the card is there");
    }
    card.card().mapped_ranges()
}
