//! Every shape through `ptxas`, for every architecture that it is to run on; a spill fails.
//!
//! `cargo test -p unlade-ptx --test assemble` finds `ptxas` in `UNLADE_PTXAS`, on the path or in
//! `/usr/local/cuda/bin`, and fails where it is nowhere. It is no part of a plain `cargo test`, so
//! that it never passes without having assembled anything: `cargo xtask test` fetches `ptxas` from
//! the Python package index and runs it, or reports that it did not.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // a report is what this program is for

#[path = "common/shapes.rs"]
mod shapes;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Compute capabilities, from Turing on.
const ARCHITECTURES: [&str; 8] = ["75", "80", "86", "89", "90", "100", "120", "121"];

fn main() -> ExitCode {
    let ptxas = match find() {
        Ok(ptxas) => ptxas,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut failures = Vec::new();
    println!("registers of {}", ptxas.display());
    println!(
        "{:<22}{}",
        "shape",
        ARCHITECTURES
            .map(|arch| format!("{:>8}", format!("sm_{arch}")))
            .concat()
    );
    for (name, program) in shapes::shapes() {
        let text = match unlade_ptx::lower(&program) {
            Ok(module) => module.text,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let source = folder.join(format!("{name}.ptx"));
        fs::write(&source, text).expect("the target folder is writable");
        let mut line = format!("{name:<22}");
        for arch in ARCHITECTURES {
            match assemble(&ptxas, &source, arch) {
                Ok(registers) => line.push_str(&format!("{registers:>8}")),
                Err(error) => {
                    line.push_str("  FAILED");
                    failures.push(format!("{name} for sm_{arch}: {error}"));
                }
            }
        }
        println!("{line}");
    }
    for failure in &failures {
        eprintln!("{failure}");
    }
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Where `ptxas` is, or where it was looked for.
fn find() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("UNLADE_PTXAS") {
        let path = PathBuf::from(path);
        return match path.is_file() {
            true => Ok(path),
            false => Err(format!(
                "UNLADE_PTXAS is {}, which is no file",
                path.display()
            )),
        };
    }
    let search = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&search)
        .chain([PathBuf::from("/usr/local/cuda/bin")])
        .map(|folder| folder.join("ptxas"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            "no ptxas on the path or in /usr/local/cuda/bin; set UNLADE_PTXAS, or run \
             `cargo xtask test`, which fetches it"
                .to_owned()
        })
}

/// Registers used.
fn assemble(ptxas: &Path, source: &Path, arch: &str) -> Result<u32, String> {
    let output = Command::new(ptxas)
        .arg("-v")
        .arg(format!("-arch=sm_{arch}"))
        .arg("-o")
        .arg(source.with_extension(format!("{arch}.cubin")))
        .arg(source)
        .output()
        .map_err(|error| format!("{}: {error}", ptxas.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(said.into_owned());
    }
    let before = |words: &str| {
        let at = said.find(words)?;
        said[..at]
            .split_whitespace()
            .next_back()?
            .parse::<u32>()
            .ok()
    };
    match (
        before("bytes spill stores"),
        before("bytes spill loads"),
        before("registers"),
    ) {
        (Some(0), Some(0), Some(registers)) => Ok(registers),
        (Some(stores), Some(loads), _) => Err(format!("{stores} bytes spilled, {loads} loaded")),
        _ => Err(format!("it says nothing of registers: {said}")),
    }
}
