//! The CPU evaluator against the naive interpreter: random programs and inputs until every
//! capability cell has been computed often enough, at every level of CPU features that this
//! machine has.
//!
//! A failure prints the seed of its case and the program. To run more cases than the tests do, set
//! `UNLADE_FUZZ_CASES`; to start elsewhere, `UNLADE_FUZZ_SEED`.
#![allow(clippy::print_stdout)] // coverage is what this test reports

use std::collections::BTreeMap;
use std::env;

use unlade_eval::{Executable, Level, Scratch};
use unlade_naive::generate::{Options, OwnedInputs, Rng, random_inputs, random_program};
use unlade_naive::{Outputs, RunError, clear_nulls, difference, run};
use unlade_program::passes::optimise;
use unlade_program::{Cell, Op, Program, cells};
use unlade_tests::evaluator;

/// How often each cell is computed, at each level, by runs that do not trap.
const HITS: usize = 20;

/// Cells asked for in one program.
const CELLS: usize = 10;

/// Far more cases than it takes to hit every cell.
const MOST_CASES: u64 = 20_000;

#[test]
fn the_evaluator_computes_what_the_interpreter_does() {
    let first_seed = number("UNLADE_FUZZ_SEED").unwrap_or(1);
    let at_least = number("UNLADE_FUZZ_CASES").unwrap_or(0);
    let mut coverage = Coverage::new();
    let mut scratch = Scratch::new();
    for case in 0.. {
        if case >= at_least && coverage.is_complete() {
            break;
        }
        assert!(
            case < at_least.max(MOST_CASES),
            "after {case} cases {} is still not hit",
            coverage.rarest(1)[0]
        );
        run_case(first_seed + case, &mut coverage, &mut scratch);
    }
    coverage.print();
    assert!(coverage.traps >= 50, "only {} runs trapped", coverage.traps);
    assert!(coverage.median_rows() >= 4096);
}

fn run_case(seed: u64, coverage: &mut Coverage, scratch: &mut Scratch) {
    let mut rng = Rng::new(seed);
    let options = Options {
        cells: coverage.rarest(CELLS),
        ..Options::default()
    };
    let program = random_program(&mut rng, &options);
    let rows = random_rows(&mut rng);
    let inputs = random_inputs(&program, rows, &mut rng);
    let mut wanted = run(&program, &inputs.borrow());
    if let Ok(outputs) = &mut wanted {
        clear_nulls(&program, outputs);
    }
    for &level in Level::available() {
        let tile_rows = rng.pick(&[64, 128, 1024, 4096, 4096]);
        let executable = Executable::with_level(&program, level).with_tile_rows(tile_rows);
        let mut found = evaluator::run(&executable, &inputs.borrow(), scratch);
        if let Ok(outputs) = &mut found {
            clear_nulls(&program, outputs);
        }
        if found != wanted {
            report(seed, level, tile_rows, &program, &inputs, &wanted, &found);
        }
    }
    coverage.note(&program, rows, wanted.is_ok());
    run_optimised(seed, &program, &inputs, &wanted, scratch);
}

/// The optimised program, at the best level, against the program as it was.
fn run_optimised(
    seed: u64,
    program: &Program,
    inputs: &OwnedInputs,
    wanted: &Result<Outputs, RunError>,
    scratch: &mut Scratch,
) {
    let mut optimised = program.clone();
    optimise(&mut optimised);
    let executable = Executable::new(&optimised);
    let mut found = evaluator::run(&executable, &inputs.borrow(), scratch);
    if let (Ok(found), Ok(wanted)) = (&mut found, wanted) {
        for (found, wanted) in found.columns.iter_mut().zip(&wanted.columns) {
            // A validity that is always true may have vanished.
            if found.validity.is_none() {
                found.validity.clone_from(&wanted.validity);
            }
        }
        clear_nulls(program, found);
    }
    assert_eq!(
        &found, wanted,
        "seed {seed}, optimised from\n{program}\nto\n{optimised}"
    );
}

/// Mostly several tiles; sometimes few rows or none, or just as many as fill a word or a tile.
fn random_rows(rng: &mut Rng) -> u64 {
    match rng.below(10) {
        0 => rng.pick(&[0, 1, 2, 63, 64, 65, 127, 4095, 4096, 4097]),
        1 => 1 + rng.below(300) as u64,
        _ => 4096 + rng.below(5000) as u64,
    }
}

/// Fails with the first difference.
fn report(
    seed: u64,
    level: Level,
    tile_rows: usize,
    program: &Program,
    inputs: &OwnedInputs,
    wanted: &Result<Outputs, RunError>,
    found: &Result<Outputs, RunError>,
) -> ! {
    let what = match (wanted, found) {
        (Ok(wanted), Ok(found)) => difference(program, wanted, found),
        _ => {
            let brief = |result: &Result<Outputs, RunError>| match result {
                Ok(outputs) => format!("{} rows", outputs.kept),
                Err(error) => error.to_string(),
            };
            format!(
                "interpreter: {}, evaluator: {}",
                brief(wanted),
                brief(found)
            )
        }
    };
    panic!(
        "seed {seed}, level {level}, tiles of {tile_rows}, {} rows: {what}\n{program}",
        inputs.rows
    );
}

/// What has been computed so far.
struct Coverage {
    hits: BTreeMap<Cell, usize>,
    rows: Vec<u64>,
    traps: usize,
}

impl Coverage {
    fn new() -> Coverage {
        Coverage {
            hits: cells().map(|cell| (cell, 0)).collect(),
            rows: Vec::new(),
            traps: 0,
        }
    }

    fn note(&mut self, program: &Program, rows: u64, done: bool) {
        self.rows.push(rows);
        if !done {
            self.traps += 1;
            return;
        }
        // Few rows show little.
        if rows < 1000 {
            return;
        }
        let types = program.types();
        for inst in &program.insts {
            let cell = Cell::of(program, &types, inst);
            *self.hits.get_mut(&cell).expect("a cell is legal") += 1;
        }
    }

    fn is_complete(&self) -> bool {
        self.hits.values().all(|&hits| hits >= HITS)
    }

    /// The cells hit least often.
    fn rarest(&self, count: usize) -> Vec<Cell> {
        let mut cells: Vec<Cell> = self.hits.keys().copied().collect();
        cells.sort_by_key(|cell| self.hits[cell]);
        cells.truncate(count);
        cells
    }

    fn median_rows(&self) -> u64 {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        rows[rows.len() / 2]
    }

    fn print(&self) {
        let mut by_op: BTreeMap<Op, Vec<usize>> = BTreeMap::new();
        for (cell, &hits) in &self.hits {
            by_op.entry(cell.op).or_default().push(hits);
        }
        println!("operation       cells   least hits   all hits");
        for (op, hits) in by_op {
            let least = hits.iter().min().copied().unwrap_or(0);
            let all: usize = hits.iter().sum();
            println!("{:<14} {:>6} {least:>12} {all:>10}", op.name(), hits.len());
        }
        let levels: Vec<&str> = Level::available()
            .iter()
            .map(|level| level.name())
            .collect();
        println!(
            "{} cells at levels {}: {} programs, {} of them trapped, median {} rows",
            self.hits.len(),
            levels.join(", "),
            self.rows.len(),
            self.traps,
            self.median_rows()
        );
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is `{value}`, no whole number"),
    }
}
