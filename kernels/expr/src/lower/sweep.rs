//! The last step: what optimising the program leaves of it and of its arguments.

use unlade_program::passes::{drop_unused_inputs, optimise};
use unlade_program::{VerifyError, verify};

use super::builder::Built;
use crate::error::{ExprError, ExprErrorKind};

/// The optimised program without columns, literals, tables and sets that only dead instructions
/// used.
///
/// # Errors
/// Where the program is malformed, which is a mistake of lowering.
pub(super) fn sweep(built: Built) -> Result<Built, ExprError> {
    let mut program = built.program;
    verify(&program).map_err(|error| malformed(&error))?;
    optimise(&mut program);
    let inputs = drop_unused_inputs(&mut program);
    Ok(Built {
        program,
        columns: only(&built.columns, &inputs.columns),
        params: only(&built.params, &inputs.params),
        tables: only(&built.tables, &inputs.tables),
        sets: only(&built.sets, &inputs.sets),
    })
}

fn malformed(error: &VerifyError) -> ExprError {
    let message = format!("the query is lowered to a malformed program: {error}");
    ExprError::new(ExprErrorKind::Unsupported, message)
        .with_help("this is a fault of Unlade; please report it with the query")
}

fn only<T: Clone>(list: &[T], kept: &[u16]) -> Vec<T> {
    let kept = kept.iter();
    kept.map(|at| list[usize::from(*at)].clone()).collect()
}

#[cfg(test)]
mod tests {
    use unlade_program::{Inst, Program, Val};

    use super::*;

    #[test]
    fn a_malformed_program_is_an_error() {
        let built = Built {
            program: Program {
                insts: vec![Inst::Not { arg: Val(3) }],
                ..Program::default()
            },
            columns: Vec::new(),
            params: Vec::new(),
            tables: Vec::new(),
            sets: Vec::new(),
        };
        let error = sweep(built).expect_err("no instruction is made before the first");
        assert!(error.to_string().contains("%3"), "{error}");
    }
}
