//! The last step: what optimising the program leaves of it and of its arguments.

use unlade_program::passes::{drop_unused_inputs, optimise};
use unlade_program::verify;

use super::builder::Built;

/// The optimised program without columns, literals, tables and sets that only dead instructions
/// used.
///
/// # Panics
/// Where the program is malformed, which is a mistake of lowering.
pub(super) fn sweep(built: Built) -> Built {
    let mut program = built.program;
    if let Err(error) = verify(&program) {
        panic!("lowered to a malformed program: {error}\n{program}");
    }
    optimise(&mut program);
    let inputs = drop_unused_inputs(&mut program);
    Built {
        program,
        columns: only(&built.columns, &inputs.columns),
        params: only(&built.params, &inputs.params),
        tables: only(&built.tables, &inputs.tables),
        sets: only(&built.sets, &inputs.sets),
    }
}

fn only<T: Clone>(list: &[T], kept: &[u16]) -> Vec<T> {
    let kept = kept.iter();
    kept.map(|at| list[usize::from(*at)].clone()).collect()
}
