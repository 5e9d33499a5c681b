//! `cargo xtask soak`: the stress test for long, with faults on, while memory, threads and
//! descriptors are held to what they were after the warm-up.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::SIGINT;

use crate::step::{Outcome, built_tests, command, outcome_within, step, summary};

/// For how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long it runs; Ctrl-C ends it earlier, with its verdict
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// Seconds between two rests, at which what is held is compared
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    pause: u32,
    /// What is done, and when devices fail
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// To come to a rest, and to shut down.
const END: Duration = Duration::from_secs(5 * 60);

pub(crate) fn run(options: &Options) -> bool {
    summary(&[step("the runtime, soaked", || soak(options))])
}

fn soak(options: &Options) -> Outcome {
    // The test hears it, too, and ends; this waits for what it says.
    let noticed = Arc::new(AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(SIGINT, noticed) {
        return Outcome::NotRun(format!("Ctrl-C: {error}"));
    }
    let mut build = command("cargo", &["test", "--release", "-p", "unlade-tests"]);
    build.args(["--test", "stress", "--no-run", "--quiet"]);
    build.arg("--message-format=json-render-diagnostics");
    let test = match built_tests(build) {
        Ok(test) => test,
        Err(outcome) => return outcome,
    };
    let seconds = u64::from(options.minutes) * 60;
    let mut soak = command(&test, &["--nocapture"]);
    soak.env("UNLADE_STRESS_SECONDS", seconds.to_string());
    soak.env("UNLADE_STRESS_PAUSE", options.pause.to_string());
    soak.env("UNLADE_STRESS_SEED", options.seed.to_string());
    // The C library keeps a heap for each of many threads: with one, what grows is what is held.
    soak.env("MALLOC_ARENA_MAX", "1");
    outcome_within(soak, Duration::from_secs(seconds) + END)
}
