//! Whatever goes wrong with a card, a batch ends in one of three ways, and each fault in the one that
//! `unlade_tests::cards` lists. Nothing is left behind: no lease, no range of addresses that the card
//! reaches, no thread, process, file, socket or memory.
//!
//! Once more with cards in processes of their own, which end and leave no socket.
//!
//! One test, so that nobody else of this process opens or closes anything while it counts.
#![allow(clippy::print_stdout)] // how much was run is what this test reports

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use unlade_dpu::{DpuDevice, connect};
use unlade_hal::{Device, Health, MemoryKind};
use unlade_runtime::{Fallback, Trust};
use unlade_sim_card::{Config, Fault, FaultPlan, Served};
use unlade_tests::cards::{Case, End, STRUCK, names};
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
    for (name, fault) in names::NAMED {
        let end = run_in_a_process(name, fault);
        settle(&format!("process, {name}: {end:?}"), Held::now, &open);
    }
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

/// Runs a card in a process of its own, as `--device sim-dpu` has it, on which a fault strikes.
fn run_in_a_process(name: &str, fault: Fault) -> End {
    let case = Case {
        fault: Some(fault),
        trust: Trust::Untrusted,
        fallback: Fallback::Allow,
        checksums: false,
    };
    let card = Process::start(name);
    let device = connect(&card.socket, &case.options()).expect("the card is there");
    let end = case.run(&device);
    assert!(
        !Held::now().children.is_empty(),
        "{name}: a process is counted"
    );
    drop(device);
    let report = card.end();
    let struck = format!("fault {fault:?} in job {STRUCK}");
    assert!(report.contains(&struck), "{name}: {report}");
    end
}

/// `unlade-check-card serve`, which ends with this at the latest.
struct Process {
    child: Child,
    socket: PathBuf,
}

impl Process {
    fn start(fault: &str) -> Process {
        let name = format!("unlade-ends-{}.sock", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let child = Command::new(env!("CARGO_BIN_EXE_unlade-check-card"))
            .args(["serve", "--fault", fault, "--socket"])
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let process = Process { child, socket };
        let is_there = || process.socket.exists();
        settle(&format!("{fault}: a socket"), is_there, &true);
        process
    }

    /// Ends it, and gives what it says that it has seen.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut report = String::new();
        let mut output = self.child.stdout.take().expect("it is piped");
        let read = output.read_to_string(&mut report);
        read.expect("it writes text until it ends");
        let ended = self.child.wait().expect("it is ours");
        assert!(ended.success(), "{ended}: {report}");
        assert!(!self.socket.exists(), "a socket is left: {report}");
        report
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
