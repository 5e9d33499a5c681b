//! A crate's own tests, built with a flag for the compiler.

use std::process::Command;

use crate::step::{Outcome, built_tests, command, outcome};

/// A crate's own tests with a flag for the compiler; `choose` says which of them.
pub(crate) fn tests_with(flag: &str, name: &str, choose: impl FnOnce(&mut Command)) -> Outcome {
    match built(flag, name) {
        Ok(mut tests) => {
            choose(&mut tests);
            outcome(tests)
        }
        Err(outcome) => outcome,
    }
}

/// Builds a crate's own tests with a flag for the compiler, which is set for this one crate, so that
/// nothing below it is built again.
///
/// # Errors
/// What came of it where there is nothing to run.
pub(crate) fn built(flag: &str, name: &str) -> Result<Command, Outcome> {
    let mut build = command("cargo", &["rustc", "-p", name]);
    build.args(["--lib", "--profile", "test", "--quiet"]);
    build.args([
        "--message-format=json-render-diagnostics",
        "--",
        "--cfg",
        flag,
    ]);
    Ok(command(&built_tests(build)?, &[]))
}
