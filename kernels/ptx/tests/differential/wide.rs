//! Programs of many columns.

use std::fmt::Write;

use unlade_naive::generate::Rng;
use unlade_program::{Program, Ty, verify};
use unlade_ptx::{LowerError, lower};

use crate::compare;

/// A filter by the first column, a word, that puts out all of them with their validity.
fn filter(columns: usize) -> Program {
    let mut text = String::from("columns c0: i32?");
    for column in 1..columns {
        let ty = Ty::ALL[column % Ty::ALL.len()];
        write!(text, ", c{column}: {ty}?").expect("a string grows");
    }
    text.push_str("\nparams p0: i32\n%0 = param p0\n");
    for column in 0..columns {
        let value = 2 * column + 1;
        writeln!(text, "%{value} = load c{column}").expect("a string grows");
        writeln!(text, "%{} = valid c{column}", value + 1).expect("a string grows");
    }
    let (compared, keep) = (2 * columns + 1, 2 * columns + 2);
    writeln!(text, "%{compared} = cmp.gt %1, %0").expect("a string grows");
    writeln!(text, "%{keep} = and %{compared}, %2").expect("a string grows");
    writeln!(text, "keep %{keep}\nemit mask").expect("a string grows");
    for column in 0..columns {
        let value = 2 * column + 1;
        writeln!(text, "output %{value} valid %{}", value + 1).expect("a string grows");
    }
    let program: Program = text.parse().expect("a program");
    verify(&program).expect("a program that keeps the rules");
    program
}

#[test]
fn any_number_of_columns_is_compacted() {
    for columns in [1, 2, 5, 24, 60] {
        let seed = columns as u64;
        assert!(compare(&filter(columns), 9001, seed, &mut Rng::new(seed)));
    }
}

#[test]
fn more_parameters_than_a_kernel_takes_are_refused() {
    let error = lower(&filter(300)).expect_err("300 columns are too many");
    assert!(matches!(error, LowerError::TooManyParams { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("split the program"), "{words}");
}
