//! What Python measures: Polars and DuckDB, and the memory of a long stream.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::figures::median;

/// Versions of the peers.
const PACKAGES: [&str; 4] = ["polars==2.1.*", "duckdb==2.0.*", "pyarrow==26.*", "numpy"];
/// Runs of each workload.
const REPEATS: &str = "7";
/// Length of the long stream.
const GIGABYTES: &str = "10";
/// The budget that it has.
const MEMORY: (&str, f64) = ("512MB", 512.0);

/// Whether this is the name of a figure that is measured here, or how such begin.
pub(super) fn measures(name: &str) -> bool {
    is_peer(name) || is_stream(name)
}

pub(super) fn is_peer(name: &str) -> bool {
    ["/polars", "/duckdb"]
        .iter()
        .any(|engine| name.ends_with(engine))
}

pub(super) fn is_stream(name: &str) -> bool {
    name.starts_with("stream/")
}

/// A Python with the peers.
pub(super) struct Python(PathBuf);

impl Python {
    /// A virtual environment in the target folder; `None` prints why there is none.
    pub(super) fn set_up() -> Option<Self> {
        let folder = crate::root().join("target/bench/python");
        let python = folder.join("bin/python");
        let set_up = || -> Result<(), String> {
            if !python.exists() {
                let mut venv = Command::new("python3");
                venv.args(["-m", "venv"]).arg(&folder);
                output(venv)?;
            }
            let mut install = Command::new(&python);
            install.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]);
            install.args(PACKAGES);
            output(install).map(drop)
        };
        match set_up() {
            Ok(()) => Some(Python(python)),
            Err(error) => {
                println!("absent: Polars, DuckDB and the long stream: {error}");
                None
            }
        }
    }

    /// A round of Polars and DuckDB: nanoseconds by `workload/engine`.
    pub(super) fn peers(&self) -> Result<Vec<(String, f64)>, String> {
        let document = self.script("peers.py", |script| script.arg(REPEATS))?;
        for absent in document["absent"].as_array().into_iter().flatten() {
            println!("absent: {absent}");
        }
        let mut figures = Vec::new();
        for (workload, engines) in document["results"].as_object().into_iter().flatten() {
            for (engine, seconds) in engines.as_object().into_iter().flatten() {
                let seconds = seconds.as_array().into_iter().flatten();
                let nanos = seconds.filter_map(|seconds| Some(seconds.as_f64()? * 1e9));
                figures.push((format!("{workload}/{engine}"), median(nanos.collect())));
            }
        }
        Ok(figures)
    }

    /// The memory of a long stream: megabytes beyond the budget.
    pub(super) fn stream(&self, unlade: &Path) -> Result<Vec<(String, f64)>, String> {
        let (memory, megabytes) = MEMORY;
        let document = self.script("stream.py", |script| {
            script.arg(unlade).args([GIGABYTES, memory])
        })?;
        let peak = document["peak"].as_f64().ok_or("stream.py: no peak")?;
        Ok(vec![(
            "stream/megabytes beyond the budget".to_owned(),
            peak / 1e6 - megabytes,
        )])
    }

    /// Runs a script of the benchmarks, which prints a JSON document.
    fn script(
        &self,
        name: &str,
        arguments: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Value, String> {
        let mut script = Command::new(&self.0);
        script.arg(crate::root().join("benches").join(name));
        arguments(&mut script);
        let printed = output(script)?;
        serde_json::from_slice(&printed).map_err(|error| format!("{name}: {error}"))
    }
}

/// What a command prints, if it succeeds.
fn output(mut command: Command) -> Result<Vec<u8>, String> {
    let out = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match out.status.success() {
        true => Ok(out.stdout),
        false => Err(format!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&out.stderr)
        )),
    }
}
