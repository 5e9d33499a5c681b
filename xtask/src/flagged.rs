//! A crate's own tests, built with a flag for the compiler.

use std::process::{Command, Stdio};

use crate::step::{Outcome, built_binary, command, outcome};

/// A crate's own tests with a flag for the compiler, which is set for this one crate, so that nothing
/// below it is built again; `choose` says which of them.
pub(crate) fn tests_with(flag: &str, name: &str, choose: impl FnOnce(&mut Command)) -> Outcome {
    let mut build = command("cargo", &["rustc", "-p", name]);
    build.args(["--lib", "--profile", "test", "--quiet"]);
    build.args([
        "--message-format=json-render-diagnostics",
        "--",
        "--cfg",
        flag,
    ]);
    println!("    {build:?}");
    let built = match build.stderr(Stdio::inherit()).output() {
        Ok(built) if built.status.success() => built.stdout,
        Ok(_) => return Outcome::Failed,
        Err(error) => return Outcome::NotRun(format!("{build:?}: {error}")),
    };
    let Some(tests) = built_binary(&String::from_utf8_lossy(&built)) else {
        return Outcome::Failed;
    };
    let mut tests = command(&tests, &[]);
    choose(&mut tests);
    outcome(tests)
}
