//! Passes: a smaller program that computes the same.
//!
//! | pass | what it does |
//! |---|---|
//! | [`fold`] | computes what is known at compile time, drops traps that cannot fire |
//! | [`cse`] | keeps one of several equal instructions |
//! | [`dead`] | drops what no output, filter or trap needs |
//! | [`drop_unused_inputs`] | drops inputs that no instruction reads, and says which |
//!
//! [`optimise`] runs the first three. All of them turn a verified program into a verified program
//! with the same rows kept, the same valid output values and the same trap on every input, and
//! leave the order and number of outputs alone. None ever raises an error: a constant that would
//! trap stays a trap, because nobody knows whether there will be a row to trap on.

mod cse;
mod dead;
mod fold;
mod inputs;
mod rewrite;

pub use cse::cse;
pub use dead::dead;
pub use fold::{evaluate, fold};
pub use inputs::{InputMap, drop_unused_inputs};

use crate::Program;

/// How often folding and merging take turns at most. Each of them sees its operands' final form,
/// so that two turns settle nearly every program; what a further turn would gain is small.
const TURNS: usize = 4;

/// Runs [`fold`], [`cse`] and [`dead`] until nothing changes, or for a bounded number of turns.
///
/// Inputs stay as they are, so that the arguments of an execution do too. The keep mask and the
/// validity of an output may vanish: where they are always true, [`Program::keep`] (if the mask is
/// not emitted) and [`crate::Output::valid`] become `None`.
///
/// ```
/// use unlade_program::{Program, passes::optimise};
///
/// let mut program: Program = "
///     columns c0: i32
///     %0 = load c0
///     %1 = valid c0            ; always, as the column is not nullable
///     %2 = cast.wrap %0 to i64
///     %3 = load c0
///     %4 = cast.wrap %3 to i64
///     %5 = cmp.lt %2, %4
///     %6 = not %5
///     %7 = and %6, %1
///     keep %7
///     output %4 valid %1
/// "
/// .parse()?;
/// optimise(&mut program);
/// assert_eq!(
///     program.to_string(),
///     "columns c0: i32\n%0 = load c0\n%1 = cast.wrap %0 to i64\noutput %1\n"
/// );
/// # Ok::<(), unlade_program::ParseError>(())
/// ```
///
/// # Panics
/// Where the program is not one that [`crate::verify`] accepts.
pub fn optimise(program: &mut Program) {
    for _ in 0..TURNS {
        let folded = fold(program);
        let merged = cse(program);
        if !folded && !merged {
            break;
        }
    }
    dead(program);
    debug_assert_eq!(crate::verify(program), Ok(()), "optimised into\n{program}");
}

#[cfg(test)]
mod tests;
