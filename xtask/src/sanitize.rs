//! `cargo xtask sanitize`: the stress test, all Rust below it built with a sanitizer.

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::step::{Outcome, built_tests, command, outcome, step, summary};
use crate::tools;

/// Which of them, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this one
    #[arg(long, value_enum)]
    only: Option<Sanitizer>,
    /// How long each of the test's two parts is under load
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// What is done, and when devices fail
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sanitizer {
    /// Accesses that race
    Thread,
    /// Accesses to memory that is not one's own, and memory that nobody has any more
    Address,
}

impl Sanitizer {
    /// Its name, as the compiler has it.
    fn name(self) -> &'static str {
        match self {
            Sanitizer::Thread => "thread",
            Sanitizer::Address => "address",
        }
    }

    /// What it is told, by an environment variable of its own.
    fn options(self) -> (&'static str, &'static str) {
        match self {
            Sanitizer::Thread => ("TSAN_OPTIONS", "halt_on_error=1 second_deadlock_stack=1"),
            Sanitizer::Address => ("ASAN_OPTIONS", "detect_stack_use_after_return=1"),
        }
    }
}

pub(crate) fn run(options: &Options) -> bool {
    let chosen = |sanitizer| options.only.is_none_or(|only| only == sanitizer);
    let mut steps = Vec::new();
    if chosen(Sanitizer::Thread) {
        let body = || stress(Sanitizer::Thread, options);
        steps.push(step("the runtime under load (thread sanitizer)", body));
    }
    if chosen(Sanitizer::Address) {
        let body = || stress(Sanitizer::Address, options);
        steps.push(step("the runtime under load (address sanitizer)", body));
    }
    summary(&steps)
}

fn stress(sanitizer: Sanitizer, options: &Options) -> Outcome {
    if let Err(reason) = tools::miri() {
        return Outcome::NotRun(reason);
    }
    let target = "x86_64-unknown-linux-gnu";
    // The standard library, too, is built with it: what it does to memory is to be seen.
    let toolchain = format!("+{}", tools::NIGHTLY);
    let words = [&*toolchain, "test", "-Zbuild-std", "--target", target];
    let mut build = command("cargo", &words);
    build.args([
        "-p",
        "unlade-tests",
        "--test",
        "stress",
        "--no-run",
        "--quiet",
    ]);
    build.arg("--message-format=json-render-diagnostics");
    let folder = Path::new("target/sanitize").join(sanitizer.name());
    build.env("CARGO_TARGET_DIR", folder);
    // The simulated GPU is a library that is loaded: it calls the sanitizer in the program.
    let flags = format!("-Zsanitizer={} -Clink-arg=-rdynamic", sanitizer.name());
    build.env("RUSTFLAGS", flags);
    let test = match built_tests(build) {
        Ok(test) => test,
        Err(outcome) => return outcome,
    };
    let (variable, value) = sanitizer.options();
    let under = |value: &str, abandons: &str| {
        let mut stress = command(&test, &["--nocapture"]);
        stress.env("UNLADE_STRESS_SECONDS", options.seconds.to_string());
        stress.env("UNLADE_STRESS_SEED", options.seed.to_string());
        stress.env("UNLADE_STRESS_ABANDONS", abandons);
        stress.env(variable, value);
        outcome(stress)
    };
    match sanitizer {
        Sanitizer::Thread => under(value, "1"),
        // What is left to devices that may still write it is a leak, as it is meant to be: they are
        // looked for where there are none, and once more nothing else is where there are.
        Sanitizer::Address => match under(&format!("{value} detect_leaks=1"), "0") {
            Outcome::Passed => under(&format!("{value} detect_leaks=0"), "1"),
            failed => failed,
        },
    }
}
