//! What came of the checks, one line each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// How lines begin that are meant for `cargo xtask qemu`; the console has others.
const MARK: &str = "UNLADE";

/// How many checks passed and failed.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    passed: usize,
    failed: usize,
}

impl Verdicts {
    /// Runs a check, which says what it has seen, and prints what came of it. A panic is a failure.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<String, String>) {
        let started = Instant::now();
        let caught = catch_unwind(AssertUnwindSafe(check));
        // The panic's message is on the console already.
        let outcome = caught.unwrap_or_else(|_panic| Err("it panicked, as said above".to_owned()));
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(seen) => {
                self.passed += 1;
                println!("{MARK} passed {name}: {seen} ({seconds:.1} s)");
            }
            Err(why) => {
                self.failed += 1;
                println!("{MARK} FAILED {name}: {why} ({seconds:.1} s)");
            }
        }
    }

    /// Prints how many there were: behind this nothing is missing.
    pub(crate) fn end(self) -> ExitCode {
        let Verdicts { passed, failed } = self;
        println!("{MARK} end: {passed} passed, {failed} failed");
        match failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}
