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

/// Whether one of these figures is to be measured: all are, unless this program's arguments hold a part
/// of the names that are asked for, as criterion's benchmarks are.
pub fn is_asked_for(names: &[&str]) -> bool {
    is_asked(names, std::env::args().skip(1))
}

fn is_asked(names: &[&str], words: impl Iterator<Item = String>) -> bool {
    let mut filters = words.filter(|word| !word.starts_with('-')).peekable();
    let all = filters.peek().is_none();
    all || filters.any(|filter| names.iter().any(|name| name.contains(&filter)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_measured_unless_others_are_asked_for() {
        let asked = |words: &str| {
            let words = words.split_whitespace().map(str::to_owned);
            is_asked(&["card/bytes read", "bytes"], words)
        };
        for all in ["", "--bench --noplot", "card --bench", "read", "x bytes"] {
            assert!(asked(all), "{all}");
        }
        for other in ["scheduler", "--bench cast-1"] {
            assert!(!asked(other), "{other}");
        }
    }
}
