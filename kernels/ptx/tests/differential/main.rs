//! Lowered programs on the simulated GPU against the naive interpreter: random programs and inputs
//! until every capability cell has been computed often enough.
//!
//! A failure prints the seed of its case and the program. To run more cases than the tests do, set
//! `UNLADE_FUZZ_CASES`; to start elsewhere, `UNLADE_FUZZ_SEED`.
#![forbid(unsafe_code)]

mod digits;
mod interleavings;
#[path = "../common/shapes.rs"]
mod shapes;
mod simulated;
mod strings;
mod traffic;
mod wide;

use std::collections::BTreeMap;
use std::env;

use unlade_naive::generate::{Options, OwnedInputs, Rng, random_inputs, random_program};
use unlade_naive::{Outputs, RunError, clear_nulls, difference};
use unlade_program::{Cell, Program, cells};
use unlade_ptx::Module;

use self::simulated::Conditions;

/// How often each cell is computed by runs that do not trap.
const HITS: usize = 5;
/// Cells asked for in one program.
const CELLS: usize = 10;
/// Far more cases than it takes to hit every cell.
const MOST_CASES: u64 = 5_000;

#[test]
fn kernels_compute_what_the_interpreter_does() {
    let first_seed = number("UNLADE_FUZZ_SEED").unwrap_or(1);
    let at_least = number("UNLADE_FUZZ_CASES").unwrap_or(0);
    let mut hits: BTreeMap<Cell, usize> = cells().map(|cell| (cell, 0)).collect();
    let mut traps = 0;
    for case in 0.. {
        if case >= at_least && hits.values().all(|&hits| hits >= HITS) {
            break;
        }
        assert!(case < at_least.max(MOST_CASES), "some cell is never hit");
        let seed = first_seed + case;
        let mut rng = Rng::new(seed);
        let mut rarest: Vec<Cell> = hits.keys().copied().collect();
        rarest.sort_by_key(|cell| hits[cell]);
        rarest.truncate(CELLS);
        let options = Options {
            cells: rarest,
            ..Options::default()
        };
        let program = random_program(&mut rng, &options);
        let rows = random_rows(&mut rng);
        let done = compare(&program, rows, seed, &mut rng);
        traps += usize::from(!done);
        if done && rows >= 32 {
            let types = program.types();
            for inst in &program.insts {
                let cell = Cell::of(&program, &types, inst);
                *hits.get_mut(&cell).expect("a cell is legal") += 1;
            }
        }
    }
    assert!(traps > 0, "no run trapped");
}

/// Mostly a few hundred rows; sometimes several blocks, or just as many as fill a word or a strip.
fn random_rows(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0 => rng.pick(&[0, 1, 7, 8, 31, 32, 33, 2047, 2048, 2049, 4096, 4097, 8193]),
        1 => 4096 + rng.below(12_000) as u64,
        2 => 2048 + rng.below(2500) as u64,
        _ => 1 + rng.below(400) as u64,
    }
}

/// Whether it does not trap.
fn compare(program: &Program, rows: u64, seed: u64, rng: &mut Rng) -> bool {
    let inputs = random_inputs(program, rows, rng);
    let module = unlade_ptx::lower(program)
        .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{program}"));
    let mut wanted = unlade_naive::run(program, &inputs.borrow());
    if let Ok(outputs) = &mut wanted {
        clear_nulls(program, outputs);
    }
    let conditions = Conditions {
        seed: rng.next(),
        misaligned: rng.chance(50),
        resident_blocks: 4,
    };
    check(program, &module, &inputs, conditions, &wanted);
    wanted.is_ok()
}

/// Fails where the simulated GPU computes anything else.
fn check(
    program: &Program,
    module: &Module,
    inputs: &OwnedInputs,
    conditions: Conditions,
    wanted: &Result<Outputs, RunError>,
) {
    let mut found = simulated::run(program, module, inputs, conditions).outputs;
    if let Ok(outputs) = &mut found {
        clear_nulls(program, outputs);
    }
    assert!(
        found == *wanted,
        "{conditions:?}, {} rows: {}\n{program}",
        inputs.rows,
        report(program, wanted, &found)
    );
}

fn report(
    program: &Program,
    wanted: &Result<Outputs, RunError>,
    found: &Result<Outputs, RunError>,
) -> String {
    match (wanted, found) {
        (Ok(wanted), Ok(found)) => difference(program, wanted, found),
        (Err(wanted), Err(found)) => format!("{found}, not {wanted}"),
        (Ok(_), Err(found)) => format!("{found}, but nothing should"),
        (Err(wanted), Ok(_)) => format!("nothing traps, but {wanted}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is `{value}`, no whole number"),
    }
}
