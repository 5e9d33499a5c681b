//! `cargo xtask wheel`: the Python package, built as a wheel, installed into an environment of its own
//! and tested there; `--bench` measures it.
//!
//! What is fetched, from the Python package index, pip keeps in its cache.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::step::{Outcome, command, outcome};
use crate::tools::{pip, python_environment, quietly, target};

/// What to build, and what to do with it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Optimise it, as what is handed out is; without, it is built as the workspace's tests are
    #[arg(long)]
    release: bool,
    /// Measure it beside Polars, DuckDB and pyarrow in the place of testing it; optimised
    #[arg(long)]
    bench: bool,
    /// Rounds of the measurement
    #[arg(long, default_value_t = 7, requires = "bench")]
    rounds: u32,
}

/// What it is built with.
const BUILD: &str = "requirements-build.txt";
/// What it is tested with.
const TEST: &str = "requirements-test.txt";

pub(crate) fn run(options: &Options) -> bool {
    let release = options.release || options.bench;
    let ended = wheel(release).and_then(|wheel| match options.bench {
        true => benched(&wheel, options.rounds),
        false => tested(&wheel),
    });
    match ended {
        Ok(ended) => ended == Outcome::Passed,
        Err(why) => {
            eprintln!("wheel: {why}");
            false
        }
    }
}

/// Build and tests, as a step of `cargo xtask test`.
pub(crate) fn step() -> Outcome {
    if let Err(error) = quietly(command("python3", &["-c", "import venv, ensurepip"])) {
        return Outcome::NotRun(error);
    }
    match wheel(false).and_then(|wheel| tested(&wheel)) {
        Ok(ended) => ended,
        Err(why) => {
            println!("{why}");
            Outcome::Failed
        }
    }
}

/// Builds the wheel and says where it is.
fn wheel(release: bool) -> Result<PathBuf, String> {
    let tools = environment("build", BUILD)?;
    let wheels = folder().join(if release { "release" } else { "dev" });
    // What an earlier version left there is not what was built.
    let _ = fs::remove_dir_all(&wheels);
    let maturin = tools.join("bin/maturin");
    let mut build = command(&maturin.to_string_lossy(), &["build", "--out"]);
    build.arg(&wheels).args(["--interpreter", "python3"]);
    match release {
        true => build.arg("--release"),
        // In the folder of the tests, so that nothing is built twice.
        false => build.args(["--features", "as-tested", "--compatibility", "linux"]),
    };
    build
        .arg("--manifest-path")
        .arg(plugin().join("Cargo.toml"));
    if outcome(build) != Outcome::Passed {
        return Err("the wheel is not built; see above".to_owned());
    }
    let built = fs::read_dir(&wheels).map_err(|error| format!("{}: {error}", wheels.display()))?;
    built
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|kind| kind == "whl"))
        .inspect(|wheel| println!("    {}", wheel.display()))
        .ok_or_else(|| format!("{}: maturin left no wheel there", wheels.display()))
}

/// Runs the tests on an installed wheel, with a simulated GPU to be had.
fn tested(wheel: &Path) -> Result<Outcome, String> {
    let python = installed(wheel)?;
    quietly(command(
        "cargo",
        &["build", "--quiet", "-p", "unlade-sim-gpu"],
    ))?;
    let mut tests = command(&python.to_string_lossy(), &["-m", "pytest", "--quiet"]);
    tests.current_dir(plugin()).env(
        "UNLADE_SIM_GPU_LIBRARY",
        target()?.join("debug/libunlade_sim_gpu.so"),
    );
    Ok(outcome(tests))
}

/// Measures an installed wheel: on one thread, then on all.
fn benched(wheel: &Path, rounds: u32) -> Result<Outcome, String> {
    let python = installed(wheel)?;
    let mut worst = Outcome::Passed;
    for threads in ["1", "all"] {
        let mut bench = command(&python.to_string_lossy(), &["benches/bench.py"]);
        bench
            .args(["--threads", threads, "--rounds", &rounds.to_string()])
            .current_dir(plugin());
        if outcome(bench) != Outcome::Passed {
            worst = Outcome::Failed;
        }
    }
    Ok(worst)
}

/// A Python that has the wheel, and nothing else of this tree.
fn installed(wheel: &Path) -> Result<PathBuf, String> {
    let python = environment("test", TEST)?.join("bin/python");
    let mut install = pip(&python);
    install
        .args(["--force-reinstall", "--no-deps", "--no-index"])
        .arg(wheel);
    quietly(install)?;
    Ok(python)
}

/// An environment with what one of the package's lists names.
fn environment(name: &str, requirements: &str) -> Result<PathBuf, String> {
    let environment = folder().join(name);
    python_environment(&environment, &plugin().join(requirements))?;
    Ok(environment)
}

fn plugin() -> PathBuf {
    crate::root().join("plugins/python")
}

fn folder() -> PathBuf {
    crate::root().join("target/wheel")
}
