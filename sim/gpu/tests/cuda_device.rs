//! The GPU's device, `unlade-cuda`, unmodified, on the simulated driver: the conformance suite,
//! and random programs against the oracle, however streams and blocks interleave.
//!
//! `UNLADE_FUZZ_CASES` sets how many random programs run, `UNLADE_FUZZ_SEED` where they begin.
#![allow(clippy::print_stdout)] // how much was run is what this test reports

use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, thread};

use unlade_hal::{Device, DeviceKind};
use unlade_sim_gpu::{Driver, DriverConfig, Mode, Profile};
use unlade_tests::conformance::suite;
use unlade_tests::fuzz::{Cases, fuzz};

const MODES: [Mode; 3] = [Mode::Eager, Mode::Lazy, Mode::Concurrent];

/// The driver is the process's: one test at a time has it, and begins anew.
fn driver(mode: Mode, seed: u64) -> (MutexGuard<'static, ()>, Driver) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = DriverConfig::default().with_devices([Profile::h200()]);
    Driver::get().restart(config.with_mode(mode).with_seed(seed));
    (guard, Driver::get())
}

fn device() -> Arc<dyn Device> {
    let device = unlade_cuda::open(0).expect("the simulated driver is found");
    assert_eq!(
        device.info().kind,
        DeviceKind::Simulator,
        "it is never mistaken for a GPU"
    );
    Arc::new(device)
}

#[test]
fn the_device_conforms_in_every_mode() {
    for (seed, mode) in (1..).zip(MODES) {
        let (_one, driver) = driver(mode, seed);
        let report = suite(&device()).unwrap_or_else(|what| panic!("{mode:?}: {what}"));
        assert_eq!(report.cells_refused, 0, "{report}");
        assert!(report.strings > 0, "{report}");
        assert_eq!(driver.findings(), [], "{mode:?}");
    }
}

#[test]
fn an_empty_launch_is_a_launch_and_nothing_else() {
    for (seed, mode) in (1..).zip(MODES) {
        let (_one, driver) = driver(mode, seed);
        let device = unlade_cuda::open(0).expect("the simulated driver is found");
        let streams = driver.alive().streams;
        assert_eq!(device.empty_launches(5).expect("it is launched").len(), 5);
        assert_eq!(driver.calls()["cuLaunchKernel"], 5);
        let launches = driver.launches();
        assert_eq!(launches.len(), 5);
        for launch in launches {
            let counters = launch.counters;
            assert_eq!(launch.kernel, "unlade_empty");
            assert_eq!((counters.global_loaded, counters.global_stored), (0, 0));
        }
        // The stream goes back when something is next asked for.
        drop(device.open_queue(1));
        drop(device.open_queue(1));
        assert_eq!(driver.alive().streams, streams + 3, "{mode:?}");
    }
}

/// A driver runs one call at a time, and a process has one driver: so that all cores have something
/// to do, the cases are shared out to processes.
#[test]
fn random_programs_give_the_oracles_results_in_every_mode() {
    const NAME: &str = "random_programs_give_the_oracles_results_in_every_mode";
    if let Ok(share) = env::var(SHARE) {
        return Share::parse(&share).run();
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let program = env::current_exe().expect("this executable");
    let started: Vec<Child> = (0..cores)
        .map(|share| {
            Command::new(&program)
                .args(["--exact", NAME, "--nocapture"])
                .env(SHARE, format!("{share}/{cores}"))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts")
        })
        .collect();
    // All of them end before one is judged.
    let ended: Vec<Output> = started
        .into_iter()
        .map(|child| child.wait_with_output().expect("it ends"))
        .collect();
    for Output {
        status,
        stdout,
        stderr,
    } in ended
    {
        let [out, err] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(status.success(), "{out}{err}");
        for line in out.lines().filter(|line| line.contains("random programs")) {
            println!("{line}");
        }
    }
}

/// The variable that gives a process its share of the cases: `0/2` is the first half.
const SHARE: &str = "UNLADE_FUZZ_SHARE";

/// Cases between two restarts of the driver, each in the next mode and with the next seed. The
/// driver remembers the launches of as many.
const CHUNK: u64 = 100;

/// Which of the cases a process runs: every so many chunks one.
#[derive(Clone, Copy, Debug)]
struct Share {
    first: u64,
    of: u64,
}

impl Share {
    fn parse(text: &str) -> Self {
        let (first, of) = text.split_once('/').expect("a share, as 0/2");
        let number = |text: &str| text.parse().expect("a number");
        Share {
            first: number(first),
            of: number(of),
        }
    }

    fn run(self) {
        let cases = number("UNLADE_FUZZ_CASES").unwrap_or(2000);
        let first_seed = number("UNLADE_FUZZ_SEED").unwrap_or(1);
        let (mut ran, mut left_out, mut rows, mut blocks) = (0, 0, Vec::new(), Vec::new());
        let chunks = (self.first..cases.div_ceil(CHUNK)).step_by(self.of as usize);
        for chunk in chunks {
            let seed = first_seed + chunk;
            let mode = MODES[seed as usize % MODES.len()];
            let (_one, driver) = driver(mode, seed);
            let count = CHUNK.min(cases - chunk * CHUNK);
            let of_chunk = Cases {
                first_seed: 1 + seed * 1_000_000,
                count,
                threads: 1,
            };
            let report = fuzz(&device(), of_chunk);
            let again = format!("UNLADE_FUZZ_SEED={seed} UNLADE_FUZZ_CASES={count}");
            assert!(
                report.failures.is_empty(),
                "{mode:?}, {again}: {}",
                report.failures.join("\n")
            );
            assert_eq!(driver.findings(), [], "{mode:?}, {again}");
            assert_eq!(report.cases + report.left_out, count);
            ran += report.cases;
            left_out += report.left_out;
            rows.extend(report.rows);
            blocks.extend(driver.launches().iter().map(|launch| launch.blocks[0]));
        }
        if ran == 0 {
            return;
        }
        let (rows, blocks) = (median(rows), median(blocks));
        println!(
            "{ran} random programs of {rows} rows in the median, {blocks} blocks in the median launch; \
             {left_out} left out"
        );
        assert!(rows >= 4096, "the median of the programs has {rows} rows");
        assert!(blocks >= 2, "the median launch has {blocks} blocks");
    }
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}
