//! Random programs on a device, against the naive interpreter.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::thread;

use unlade_hal::Device;
use unlade_naive::generate::{Options, OwnedInputs, Rng, random_inputs, random_program};
use unlade_program::{Cell, Op, Program, cells, unsupported};

use crate::conformance::compare;
use crate::device_runner::{DEPTH, DeviceRunner, Started};

/// Operations asked for in one program.
const CELLS: usize = 8;

/// Rows below which a run is not counted as one of its cells': few show little.
const ENOUGH_ROWS: u64 = 1000;

/// Differences after which nothing more is learnt.
const MOST_FAILURES: usize = 20;

/// Seeds between the cases of two threads.
const SEEDS_APART: u64 = 1 << 32;

/// Which cases to run.
#[derive(Clone, Copy, Debug)]
pub struct Cases {
    /// The seed of the first; each has the next.
    pub first_seed: u64,
    /// How many.
    pub count: u64,
    /// Threads to run them on, each with a queue of its own.
    pub threads: u64,
}

/// What was run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The device's name.
    pub device: String,
    /// Programs run and compared.
    pub cases: u64,
    /// Programs left out, as an operand of theirs needs an operation that the device lacks.
    pub left_out: u64,
    /// Runs that trapped, as they had to.
    pub traps: u64,
    /// Rows of each run.
    pub rows: Vec<u64>,
    /// How often each cell of the device was computed on 1,000 rows or more, without a trap.
    pub hits: BTreeMap<Cell, u64>,
    /// The first differences, each with its seed and program.
    pub failures: Vec<String>,
}

impl Report {
    /// Rows of the median run.
    pub fn median_rows(&self) -> u64 {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        rows.get(rows.len() / 2).copied().unwrap_or(0)
    }

    /// Both together.
    fn and(mut self, other: Report) -> Report {
        self.cases += other.cases;
        self.left_out += other.left_out;
        self.traps += other.traps;
        self.rows.extend(other.rows);
        for (cell, hits) in other.hits {
            *self.hits.entry(cell).or_default() += hits;
        }
        self.failures.extend(other.failures);
        self
    }

    /// How often the cell was computed that was computed least.
    pub fn least_hits(&self) -> u64 {
        self.hits.values().min().copied().unwrap_or(0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} random programs of {} rows in the median, {} trapping, {} left out; each of {} \
             cells {} times at least",
            self.device,
            self.cases,
            self.median_rows(),
            self.traps,
            self.left_out,
            self.hits.len(),
            self.least_hits()
        )
    }
}

/// Runs random programs on a device, several under way at once, until twenty of them
/// differ.
///
/// # Panics
/// Where the device fails or breaks a rule of the interface.
pub fn fuzz(device: &Arc<dyn Device>, cases: Cases) -> Report {
    let threads = cases.threads.max(1);
    let of_thread = |thread: u64| Cases {
        first_seed: cases.first_seed + thread * SEEDS_APART,
        count: cases.count / threads + u64::from(thread < cases.count % threads),
        threads: 1,
    };
    thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || fuzz_on_one_thread(device, of_thread(thread))))
            .collect();
        let reports = started.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        reports.reduce(Report::and).expect("there is a thread")
    })
}

fn fuzz_on_one_thread(device: &Arc<dyn Device>, cases: Cases) -> Report {
    let can = device.capabilities();
    let known = cells().filter(|cell| can.cells.contains(*cell));
    let mut report = Report {
        device: device.info().name.clone(),
        cases: 0,
        left_out: 0,
        traps: 0,
        rows: Vec::new(),
        hits: known.map(|cell| (cell, 0)).collect(),
        failures: Vec::new(),
    };
    let mut runner = DeviceRunner::new(device.as_ref());
    let mut flying: VecDeque<(Case, Started)> = VecDeque::new();
    for seed in cases.first_seed..cases.first_seed + cases.count {
        let case = Case::new(seed, &report, can.compaction);
        if !unsupported(&case.program, &can.cells).is_empty() {
            report.left_out += 1;
            continue;
        }
        if report.failures.len() >= MOST_FAILURES {
            break;
        }
        let exe = match device.compile(&case.program) {
            Ok(exe) => exe,
            Err(error) => {
                let what = format!("seed {seed}: compiling fails: {error}\n{}", case.program);
                report.failures.push(what);
                continue;
            }
        };
        if flying.len() == DEPTH {
            settle(&mut runner, &mut flying, &mut report);
        }
        report.rows.push(case.inputs.rows);
        let started = runner.start(&exe, &case.inputs.borrow());
        flying.push_back((case, started));
    }
    while !flying.is_empty() {
        settle(&mut runner, &mut flying, &mut report);
    }
    report
}

/// Compares the results of the oldest run under way.
fn settle(
    runner: &mut DeviceRunner<'_>,
    flying: &mut VecDeque<(Case, Started)>,
    report: &mut Report,
) {
    let Some((case, started)) = flying.pop_front() else {
        return;
    };
    let found = runner.finish(started);
    report.cases += 1;
    if found.is_err() {
        report.traps += 1;
    } else if case.inputs.rows >= ENOUGH_ROWS {
        let types = case.program.types();
        for inst in &case.program.insts {
            let cell = Cell::of(&case.program, &types, inst);
            *report.hits.entry(cell).or_default() += 1;
        }
    }
    if let Err(what) = compare(&case.program, &case.inputs, found) {
        report.failures.push(format!("seed {}: {what}", case.seed));
    }
}

struct Case {
    seed: u64,
    program: Arc<Program>,
    inputs: OwnedInputs,
}

impl Case {
    /// A program of what was computed least, and inputs for it.
    fn new(seed: u64, report: &Report, keep: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut wanted: Vec<(u64, u64, Cell)> = report
            .hits
            .iter()
            .filter(|(cell, _)| cell.op != Op::Trap)
            .map(|(cell, hits)| (*hits, rng.next(), *cell))
            .collect();
        wanted.sort_unstable();
        let options = Options {
            cells: wanted
                .into_iter()
                .take(CELLS)
                .map(|(_, _, cell)| cell)
                .collect(),
            keep,
            ..Options::default()
        };
        let program = random_program(&mut rng, &options);
        let rows = random_rows(&mut rng);
        let inputs = random_inputs(&program, rows, &mut rng);
        Case {
            seed,
            program: Arc::new(program),
            inputs,
        }
    }
}

/// Mostly two blocks of the GPU's kernels, which have 8,192 rows, or several; else one, a part of
/// one, or just as many rows as fill a word or a block.
fn random_rows(rng: &mut Rng) -> u64 {
    match rng.below(20) {
        0 | 1 => rng.pick(&[
            0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 1023, 1024, 1025, 4095, 4096, 4097, 8191, 8192,
            8193, 16384,
        ]),
        2..=4 => 1 + rng.below(300) as u64,
        5 | 6 => 4096 + rng.below(4096) as u64,
        7 => 8193 + rng.below(56_000) as u64,
        _ => 8193 + rng.below(1500) as u64,
    }
}
