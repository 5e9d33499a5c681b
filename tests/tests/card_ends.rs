//! Whatever goes wrong with a card, a batch ends in one of three ways, and each fault in the one that
//! `unlade_tests::cards` lists. Nothing is left behind: no lease, no range of addresses that the card
//! reaches, no thread, process, file, socket or memory.
//!
//! One test, so that nobody else of this process opens or closes anything while it counts.
#![allow(clippy::print_stdout)] // how much was run is what this test reports

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use unlade_dpu::{DpuDevice, connect};
use unlade_hal::{Device, Health, MemoryKind};
use unlade_runtime::{Fallback, Trust};
use unlade_sim_card::{Config, Fault, FaultPlan, Served};
use unlade_tests::cards::{Case, End, STRUCK};

/// For what ends by itself: threads, connections.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn every_fault_ends_as_is_listed_and_leaves_nothing_behind() {
    // What is made once in a process is there afterwards.
    run(&Case {
        fault: None,
        trust: Trust::Trusted,
        fallback: Fallback::Allow,
        checksums: false,
    });
    let open = Open::now();
    let mut ends: BTreeMap<End, u32> = BTreeMap::new();
    for case in cases() {
        *ends.entry(run(&case)).or_default() += 1;
        settle(&format!("{case}"), Open::now, &open);
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

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Open {
    /// Descriptors by what they are of: files, sockets, events, memory.
    descriptors: BTreeMap<String, usize>,
    /// Pieces of its memory that are of files, by their names.
    memory: BTreeMap<String, usize>,
    threads: usize,
    children: String,
    /// Folders of sockets.
    folders: Vec<PathBuf>,
}

impl Open {
    fn now() -> Open {
        Open {
            descriptors: descriptors(),
            memory: memory(),
            threads: entries("/proc/self/task").len(),
            children: children(),
            folders: folders(),
        }
    }
}

fn settle<T: PartialEq + std::fmt::Debug>(what: &str, now: impl Fn() -> T, wanted: &T) {
    let begun = Instant::now();
    loop {
        let found = now();
        if found == *wanted {
            return;
        }
        assert!(
            begun.elapsed() < LONG,
            "{what}: {found:#?}, not {wanted:#?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn descriptors() -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries("/proc/self/fd") {
        // The one that reads the folder is gone by now.
        let Ok(of) = fs::read_link(entry) else {
            continue;
        };
        let of = of.display().to_string();
        // Without the number of the socket or pipe.
        let kind = of.split(":[").next().unwrap_or(&of).to_owned();
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

fn memory() -> BTreeMap<String, usize> {
    let maps = fs::read_to_string("/proc/self/maps").expect("a process sees its own memory");
    let mut counts = BTreeMap::new();
    let files = maps.lines().filter_map(|line| line.split_once("/memfd:"));
    for (_, name) in files {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

fn children() -> String {
    let tasks = entries("/proc/self/task").into_iter();
    // A thread may have ended meanwhile.
    let children = tasks.filter_map(|task| fs::read_to_string(task.join("children")).ok());
    children.collect()
}

fn folders() -> Vec<PathBuf> {
    let ours = format!(".unlade-card-{}-", std::process::id());
    let all = entries(&std::env::temp_dir().display().to_string()).into_iter();
    all.filter(|path| path.display().to_string().contains(&ours))
        .collect()
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}
