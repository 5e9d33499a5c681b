//! Each shape of kernel under many interleavings of its blocks and lanes: what one seed does not
//! show, another does.
//!
//! `UNLADE_SEEDS` is how many.

use unlade_naive::clear_nulls;
use unlade_naive::generate::{Rng, random_inputs};

use crate::shapes::shapes;
use crate::simulated::Conditions;
use crate::{check, number};

/// Interleavings of each shape.
const SEEDS: u64 = 64;
/// Rows: two blocks and a part of a third of the kernels that have the most rows a block, several
/// of the others.
const ROWS: u64 = 2 * 8192 + 301;

/// More tiles than the look-back sees at once, all resident: some tile finds none before it that
/// knows of all, and looks further back.
#[test]
fn tiles_look_back_further_than_a_warp() {
    let tiles = 80;
    let (_, program) = shapes()
        .find(|(name, _)| *name == "compact")
        .expect("a shape of that name");
    let module = unlade_ptx::lower(&program).expect("shapes are lowered");
    let inputs = random_inputs(&program, tiles * 8192 - 5, &mut Rng::new(2));
    let wanted = unlade_naive::run(&program, &inputs.borrow());
    for seed in 0..3 {
        let conditions = Conditions {
            seed,
            misaligned: false,
            resident_blocks: tiles as u32,
        };
        check(&program, &module, &inputs, conditions, &wanted);
    }
}

#[test]
fn every_interleaving_has_one_result() {
    let seeds = number("UNLADE_SEEDS").unwrap_or(SEEDS);
    for (name, program) in shapes() {
        let module = unlade_ptx::lower(&program).unwrap_or_else(|error| panic!("{name}: {error}"));
        let inputs = random_inputs(&program, ROWS, &mut Rng::new(1));
        let mut wanted = unlade_naive::run(&program, &inputs.borrow());
        if let Ok(outputs) = &mut wanted {
            clear_nulls(&program, outputs);
        }
        for seed in 0..seeds {
            let conditions = Conditions {
                seed,
                misaligned: seed % 8 == 7,
                resident_blocks: 4,
            };
            check(&program, &module, &inputs, conditions, &wanted);
        }
    }
}
