//! The example outside of the workspace: built as a user builds it, and run.

use std::process::Command;

use crate::step::{Outcome, command, outcome};
use crate::tools;

/// Where it is.
pub(crate) const MANIFEST: &str = "examples/datafusion/Cargo.toml";

/// What it is to print: a node of ours in the plan, the rows, and what the node counted.
const PRINTED: [&str; 4] = [
    "UnladeExec: device=cpu",
    "predicate=distance@1 > 49998",
    "| 99999 | 74999.25 |",
    "rows_on_cpu=",
];

/// Builds it in the workspace's folder for that, where some of it is built already, and runs it.
pub(crate) fn step() -> Outcome {
    match outcome(cargo("build")) {
        Outcome::Passed => {}
        other => return other,
    }
    match tools::said(cargo("run")) {
        Ok(text) => judged(&text),
        Err(error) => {
            println!("{error}");
            Outcome::Failed
        }
    }
}

fn cargo(task: &str) -> Command {
    let mut cargo = command("cargo", &[task, "--quiet", "--locked", "--manifest-path"]);
    cargo.arg(MANIFEST);
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        cargo.env("CARGO_TARGET_DIR", crate::root().join("target"));
    }
    cargo
}

fn judged(text: &str) -> Outcome {
    let missing: Vec<&str> = PRINTED
        .into_iter()
        .filter(|words| !text.contains(words))
        .collect();
    match missing.is_empty() {
        true => Outcome::Passed,
        false => {
            println!("{text}\nit is without {missing:?}");
            Outcome::Failed
        }
    }
}
