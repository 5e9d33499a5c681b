//! Figures of benchmarks that are not times of criterion's.

use std::fs::OpenOptions;
use std::io::Write;

/// The variable that names the file for them: `cargo xtask bench` sets it, and holds what it finds
/// there against the targets.
const VARIABLE: &str = "BENCH_FIGURES";

/// Whether figures are collected.
pub fn are_collected() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Notes a figure where they are collected: a line of its value and its name.
///
/// # Panics
/// Where the file cannot be written: a figure that was asked for is not lost silently.
pub fn note(name: &str, value: f64) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{value} {name}"));
    written.unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
}
