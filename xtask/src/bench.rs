//! `cargo xtask bench`: our benchmarks beside arrow-rs (built portably and for this processor),
//! Polars, DuckDB and the machine's own floors, in interleaved rounds of one run.
//!
//! Criterion measures; here only its medians are read. Within a round everything runs one after
//! the other, and a ratio is taken inside its round, so that a machine that slows down slows both
//! sides. The ratio reported is the median over the rounds, its spread the least and the greatest.

mod figures;
mod python;
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::simulate::{self, VIRTUAL_TIME};
use crate::step::command;
use figures::Rounds;
use python::{Python, is_peer, is_stream};
use targets::Asked;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Exit with an error where a target is missed, or what it is of was not measured
    #[arg(long)]
    check: bool,
    /// Interleaved rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only figures whose name holds this
    #[arg(long)]
    filter: Option<String>,
    /// Write every figure here
    #[arg(long, default_value = "target/bench/figures.json")]
    json: PathBuf,
    /// Leave out what needs Python: Polars, DuckDB, the memory of a long stream
    #[arg(long)]
    no_python: bool,
}

impl Options {
    fn asked(&self) -> Asked<'_> {
        Asked {
            filter: self.filter.as_deref(),
            python: !self.no_python,
        }
    }
}

pub(crate) fn run(options: &Options) -> bool {
    match measure(options) {
        Ok(rounds) => report(&rounds, options),
        Err(error) => {
            eprintln!("bench: {error}");
            false
        }
    }
}

fn measure(options: &Options) -> Result<Rounds, String> {
    let portable = build(
        "portable",
        None,
        &[
            "unlade-benches",
            "unlade-runtime",
            "unlade-dpu",
            "unlade-capi",
        ],
    )?;
    let asked = options.asked();
    let native = match asked.any(|name| name.ends_with("/arrow")) {
        true => build("native", Some("-C target-cpu=native"), &["unlade-benches"])?,
        false => Vec::new(),
    };
    let (peers, stream) = (asked.any(is_peer), asked.any(is_stream));
    let python = (peers || stream).then(Python::set_up).flatten();
    let unlade = python.as_ref().filter(|_| stream);
    let unlade = unlade.map(|_| build_command()).transpose()?;
    let on_virtual_time = asked.any(|name| name.starts_with(VIRTUAL_TIME));
    let on_virtual_time = match on_virtual_time {
        true => simulate::figures()?,
        false => BTreeMap::new(),
    };
    let mut rounds = Rounds::default();
    for round in 0..options.rounds {
        println!("round {} of {}", round + 1, options.rounds);
        let home = crate::root().join(format!("target/bench/round-{round}"));
        let _ = std::fs::remove_dir_all(&home);
        let _ = std::fs::remove_file(home.with_extension("figures"));
        for binary in &portable {
            bench(binary, "portable", &home, options.filter.as_deref())?;
        }
        // Of the native build only the peer is of interest: ours picks its instructions itself.
        for binary in native.iter().filter(|binary| is_bench(binary, "filter")) {
            bench(binary, "native", &home, Some("arrow-native"))?;
        }
        let mut figures = figures::read(&home)?;
        // The same in every round.
        figures.extend(on_virtual_time.clone());
        if let Some(python) = python.as_ref().filter(|_| peers) {
            figures.extend(python.peers()?);
        }
        if let (Some(python), Some(unlade)) = (&python, &unlade) {
            figures.extend(python.stream(unlade)?);
        }
        rounds.push(figures);
    }
    Ok(rounds)
}

fn report(rounds: &Rounds, options: &Options) -> bool {
    if let Some(filter) = &options.filter
        && !rounds.names().any(|name| name.contains(filter.as_str()))
    {
        eprintln!("bench: no figure was measured whose name holds `{filter}`");
        return false;
    }
    let verdicts = targets::judge(rounds, options.asked());
    let met = targets::print(&verdicts);
    let path = crate::root().join(&options.json);
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&path, rounds.to_json(&verdicts)));
    match written {
        Ok(()) => println!("every figure: {}", path.display()),
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return false;
        }
    }
    met || !options.check
}

/// Builds the benchmarks of these packages and says where they are.
fn build(name: &str, flags: Option<&str>, packages: &[&str]) -> Result<Vec<PathBuf>, String> {
    println!("building the {name} benchmarks");
    let target = crate::root().join("target").join(format!("bench-{name}"));
    let mut cargo = command("cargo", &["bench", "--no-run", "--quiet"]);
    cargo.arg("--message-format=json-render-diagnostics");
    for package in packages {
        cargo.args(["-p", package]);
    }
    cargo.env("CARGO_TARGET_DIR", &target);
    if let Some(flags) = flags {
        cargo.env("RUSTFLAGS", flags);
    }
    let out = cargo
        .output()
        .map_err(|error| format!("{cargo:?}: {error}"))?;
    if !out.status.success() {
        return Err(format!(
            "{cargo:?} failed: {}",
            String::from_utf8_lossy(&out.stderr)
        ));
    }
    let binaries: Vec<PathBuf> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["kind"][0] == "bench")
        .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .collect();
    if binaries.is_empty() {
        Err("no benchmark was built".to_owned())
    } else {
        Ok(binaries)
    }
}

/// Builds the command for the long stream.
fn build_command() -> Result<PathBuf, String> {
    println!("building the command");
    let target = crate::root().join("target/bench-portable");
    let mut cargo = command(
        "cargo",
        &["build", "--release", "--quiet", "-p", "unlade-cli"],
    );
    cargo.env("CARGO_TARGET_DIR", &target);
    let status = cargo
        .status()
        .map_err(|error| format!("{cargo:?}: {error}"))?;
    match status.success() {
        true => Ok(target.join("release/unlade")),
        false => Err(format!("{cargo:?} failed")),
    }
}

fn is_bench(binary: &Path, name: &str) -> bool {
    binary
        .file_name()
        .and_then(|file| file.to_str())
        .is_some_and(|file| file.starts_with(&format!("{name}-")))
}

/// Runs one binary; its figures go below `home`, criterion's by criterion and others to a file there.
fn bench(binary: &Path, build: &str, home: &Path, filter: Option<&str>) -> Result<(), String> {
    let mut bench = Command::new(binary);
    bench
        .arg("--bench")
        .arg("--noplot")
        .current_dir(crate::root());
    bench.env("CRITERION_HOME", home).env("BENCH_BUILD", build);
    bench.env("BENCH_FIGURES", home.with_extension("figures"));
    if let Some(filter) = filter {
        bench.arg(filter);
    }
    // Criterion's own report goes to a file: what counts is printed at the end.
    let log = home.with_extension(format!("{build}.log"));
    let parent = log.parent().expect("the log lies in a folder");
    std::fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = file
        .try_clone()
        .map_err(|error| format!("{}: {error}", log.display()))?;
    let status = bench
        .stdout(file)
        .stderr(errors)
        .status()
        .map_err(|error| format!("{bench:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{bench:?} failed; see {}", log.display()))
    }
}
