//! One command, its outcome and its time.

use std::process::Command;
use std::time::{Duration, Instant};

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// A tool that it needs is not to be had; with the exact error. Never counted as passed.
    NotRun(String),
}

/// A step that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// Runs a step, printing its name first.
pub(crate) fn step(name: &'static str, body: impl FnOnce() -> Outcome) -> Ended {
    println!("\n==> {name}");
    let started = Instant::now();
    let outcome = body();
    Ended {
        name,
        outcome,
        took: started.elapsed(),
    }
}

/// `cargo` with these words, in the workspace's root, its output shown.
pub(crate) fn cargo(words: &[&str]) -> Outcome {
    outcome(command("cargo", words))
}

/// The same with variables set.
pub(crate) fn cargo_with(variables: &[(&str, &str)], words: &[&str]) -> Outcome {
    let mut command = command("cargo", words);
    command.envs(variables.iter().copied());
    outcome(command)
}

/// A command in the workspace's root.
pub(crate) fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).current_dir(crate::root());
    // Set by the cargo that runs xtask; they would pin its toolchain on those that run below it.
    command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC");
    command
}

/// Runs a command to its end.
pub(crate) fn outcome(mut command: Command) -> Outcome {
    println!("    {command:?}");
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(_) => Outcome::Failed,
        Err(error) => Outcome::NotRun(format!("{command:?}: {error}")),
    }
}

/// The test binary that cargo, asked for messages as JSON, says it built.
pub(crate) fn test_binary(messages: &str) -> Option<String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
}

/// Prints what came of the steps; whether none failed.
pub(crate) fn summary(steps: &[Ended]) -> bool {
    println!("\n{:<28} {:>8}  outcome", "step", "seconds");
    for step in steps {
        let outcome = match &step.outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed => "FAILED".to_owned(),
            Outcome::NotRun(error) => format!("not run: {error}"),
        };
        println!(
            "{:<28} {:>8.1}  {outcome}",
            step.name,
            step.took.as_secs_f64()
        );
    }
    let count =
        |wanted: fn(&Outcome) -> bool| steps.iter().filter(|step| wanted(&step.outcome)).count();
    let passed = count(|outcome| *outcome == Outcome::Passed);
    let failed = count(|outcome| *outcome == Outcome::Failed);
    let skipped = steps.len() - passed - failed;
    println!("\nsteps: {passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}
