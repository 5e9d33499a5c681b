//! `cargo xtask fuzz`: each target of `tests/fuzz` under libFuzzer for a while.
//!
//! It begins with the kept corpus. What is found meanwhile goes to `target/fuzz/corpus`, and is kept
//! on demand.

use std::path::Path;
use std::{fs, io};

use clap::Args;

use crate::step::{Ended, Outcome, command, outcome, step, summary};
use crate::{root, tools};

/// What runs, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these targets
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// How long each target runs, in seconds
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u32).range(1..=2400))]
    seconds: u32,
    /// Then reduce the corpus to what reaches all that is reached, and keep that in tests/fuzz
    #[arg(long)]
    keep: bool,
}

/// By their names in `tests/fuzz/targets.rs`.
const TARGETS: [&str; 6] = [
    "bytecode",
    "completions",
    "replies",
    "requests",
    "substrait",
    "wire",
];

/// Longest input, in bytes. Every structure fits, and the kept corpus stays small.
const LONGEST: u32 = 2048;

pub(crate) fn run(options: &Options) -> bool {
    let chosen = |name: &&str| {
        let chosen = &options.targets;
        chosen.is_empty() || chosen.iter().any(|target| target == name)
    };
    let targets = TARGETS.into_iter().filter(chosen);
    let steps: Vec<Ended> = targets
        .map(|target| step(target, || fuzz(target, options)))
        .collect();
    summary(&steps)
}

fn fuzz(target: &str, options: &Options) -> Outcome {
    let [kept, found] =
        ["tests/fuzz/corpus", "target/fuzz/corpus"].map(|f| format!("{f}/{target}"));
    let time = format!("-max_total_time={}", options.seconds);
    let ran = libfuzzer(target, &[&found, &kept], &[&time]);
    if ran == Outcome::Passed && options.keep {
        return keep(target, &kept, &found);
    }
    ran
}

/// Replaces the kept corpus by the least of both that reaches as many places in the code, however
/// often: what is reached more often only steers the search.
fn keep(target: &str, kept: &str, found: &str) -> Outcome {
    let least = format!("target/fuzz/least/{target}");
    let replace = || -> io::Result<()> {
        fs::remove_dir_all(root().join(kept))?;
        fs::create_dir(root().join(kept))?;
        for entry in fs::read_dir(root().join(&least))? {
            let entry = entry?;
            fs::copy(entry.path(), root().join(kept).join(entry.file_name()))?;
        }
        Ok(())
    };
    // What is left of an earlier run would count as there already.
    let _none_is_fine = fs::remove_dir_all(root().join(&least));
    match libfuzzer(
        target,
        &[&least, kept, found],
        &["-set_cover_merge=1", "-use_counters=0"],
    ) {
        Outcome::Passed => replace().map_or_else(
            |error| Outcome::NotRun(format!("{kept}: {error}")),
            |()| Outcome::Passed,
        ),
        other => other,
    }
}

/// Builds a target and runs it over folders, to the first of which it adds.
fn libfuzzer(target: &str, folders: &[&str], what: &[&str]) -> Outcome {
    let binary = match tools::miri().and_then(|()| tools::cargo_fuzz()) {
        Ok(binary) => binary,
        Err(error) => return Outcome::NotRun(error),
    };
    let made = folders
        .iter()
        .try_for_each(|folder| fs::create_dir_all(root().join(folder)));
    if let Err(error) = made {
        return Outcome::NotRun(format!("{folders:?}: {error}"));
    }
    let mut fuzz = command(&binary.to_string_lossy(), &["fuzz", "run", "--fuzz-dir"]);
    fuzz.args(["tests/fuzz", target]).args(folders);
    fuzz.arg("--").args(what);
    // A card that cannot be silenced keeps its memory: no leak of ours.
    fuzz.args(["-timeout=20", "-rss_limit_mb=4096", "-detect_leaks=0"]);
    fuzz.arg(format!("-max_len={LONGEST}"));
    fuzz.env("RUSTUP_TOOLCHAIN", tools::NIGHTLY);
    fuzz.env("CARGO_TARGET_DIR", Path::new("target/fuzz"));
    outcome(fuzz)
}
