//! `cargo xtask tpcds`: TPC-DS in DataFusion, with the plugin and without.
//!
//! Neither the tables nor the queries are ours to hand out: DuckDB's extension makes both, in an
//! environment of Python, below `target`.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::step::{Outcome, command, outcome};
use crate::tools::{python_environment, quietly};

/// On what to run it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The size of the tables: 1 is about a gigabyte as text
    #[arg(long, default_value_t = SCALE)]
    scale: f64,
    /// Devices to run it on
    #[arg(long, value_delimiter = ',', default_values = DEVICES)]
    devices: Vec<String>,
}

/// Each kind of device once.
const DEVICES: [&str; 4] = ["cpu", "sim", "sim-gpu", "sim-dpu"];

/// What some queries have rows of, and unoptimised builds read in a minute.
const SCALE: f64 = 0.02;

pub(crate) fn run(options: &Options) -> bool {
    match checked(options) {
        Ok(ended) => ended == Outcome::Passed,
        Err(why) => {
            eprintln!("tpcds: {why}");
            false
        }
    }
}

/// A step of `cargo xtask test`.
pub(crate) fn step() -> Outcome {
    let options = Options {
        scale: SCALE,
        devices: DEVICES.map(str::to_owned).to_vec(),
    };
    checked(&options).unwrap_or_else(Outcome::NotRun)
}

fn checked(options: &Options) -> Result<Outcome, String> {
    let data = made(options.scale)?;
    // Of the whole workspace, so that nothing is built again.
    let mut tests = command(
        "cargo",
        &["test", "--workspace", "--quiet", "--test", "tpcds"],
    );
    tests.arg("--").arg(data).args(&options.devices);
    Ok(outcome(tests))
}

/// The folder with the tables of a size and the queries, made where it is not there whole.
fn made(scale: f64) -> Result<PathBuf, String> {
    let folder = crate::root().join("target/tpcds");
    let data = folder.join(format!("scale-{scale}"));
    if data.is_dir() {
        return Ok(data);
    }
    let tests = crate::root().join("plugins/datafusion/tests/tpcds");
    let python = folder.join("python");
    python_environment(&python, &tests.join("requirements.txt"))?;
    let unfinished = folder.join("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    println!("    making tables of scale {scale}");
    let mut make = command(&python.join("bin/python").to_string_lossy(), &[]);
    make.arg(tests.join("make.py")).arg(&unfinished);
    make.arg(scale.to_string());
    quietly(make)?;
    fs::rename(&unfinished, &data).map_err(|error| format!("{}: {error}", data.display()))?;
    Ok(data)
}
