//! Checks one device, chosen by name, where there is neither cargo nor a network: the conformance
//! suite, random programs against the oracle, and measurements. `cargo xtask gpu` packs it with a
//! script that runs it all.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // what it finds is what it prints

mod rates;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Parser, Subcommand};
use unlade_hal::Device;
use unlade_tests::conformance::survey;
use unlade_tests::devices;
use unlade_tests::fuzz::{Cases, fuzz};

use report::Finding;

/// Failures printed in full; the rest is counted.
const MOST_PRINTED: usize = 12;

/// Checks a device.
#[derive(Debug, Parser)]
#[command(name = "unlade-check")]
struct Arguments {
    #[command(subcommand)]
    check: Check,
    /// The device
    #[arg(long, global = true, default_value = "cuda:0")]
    device: String,
    /// A folder for what is found, as JSON
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Every cell of the op table on its special values, strings, and the queue's manners
    Conformance,
    /// Random programs against the naive interpreter
    Fuzz {
        /// How many
        #[arg(long, default_value_t = 2000)]
        cases: u64,
        /// Seed of the first
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Threads, each with a queue of its own; by default as many as there are processors
        #[arg(long)]
        threads: Option<u64>,
    },
    /// Measurements beside the device's own copy rates
    Rates(rates::Options),
    /// The table of what was found, from the folder that `--json` names
    Report,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let folder = arguments.json.as_deref();
    if let Check::Report = arguments.check {
        return report::print(folder);
    }
    let device = match devices::named(&arguments.device) {
        Ok(device) => device,
        Err(what) => {
            println!("{what}");
            return ExitCode::FAILURE;
        }
    };
    let started = Instant::now();
    let mut finding = match &arguments.check {
        Check::Conformance => conformance(&device),
        Check::Fuzz {
            cases,
            seed,
            threads,
        } => {
            let processors = || std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
            let cases = Cases {
                first_seed: *seed,
                count: *cases,
                threads: threads.unwrap_or_else(processors),
            };
            fuzzed(&device, cases)
        }
        Check::Rates(options) => rates::measure(&device, options),
        Check::Report => unreachable!("dealt with above"),
    };
    finding.seconds = started.elapsed().as_secs_f64();
    finding.describe(device.info());
    print(&finding);
    report::keep(folder, &finding);
    match finding.failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn conformance(device: &Arc<dyn Device>) -> Finding {
    let (report, failures) = survey(device);
    Finding::new("conformance", report.to_string(), failures)
}

fn fuzzed(device: &Arc<dyn Device>, cases: Cases) -> Finding {
    let report = fuzz(device, cases);
    Finding::new("fuzz", report.to_string(), report.failures)
}

fn print(finding: &Finding) {
    for failure in finding.failures.iter().take(MOST_PRINTED) {
        println!("FAILED {failure}\n");
    }
    let more = finding.failures.len().saturating_sub(MOST_PRINTED);
    if more > 0 {
        println!("and {more} more:");
        for failure in finding.failures.iter().skip(MOST_PRINTED) {
            println!("  {}", failure.lines().next().unwrap_or_default());
        }
    }
    println!("{finding}");
}
