//! `cargo xtask simulate`: random runs of the runtime with its devices, on one thread and a clock of
//! their own.

use std::collections::BTreeMap;

use clap::Args;

use crate::flagged::{built, tests_with};
use crate::step::{Outcome, step, summary};

/// Which runs.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// How many runs, from seed 0 on, where that is not what CI tries: 10,000
    #[arg(long)]
    seeds: Option<u64>,
    /// Only the run of this seed, with its history
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
}

pub(crate) fn run(options: &Options) -> bool {
    summary(&[step("the runtime, simulated", || runs(options))])
}

pub(crate) fn runs(options: &Options) -> Outcome {
    tests_with("shuttle", "unlade-runtime", |tests| {
        tests.args(["--nocapture", "--skip", "scheduler::", "simulation::"]);
        let chosen = [
            ("UNLADE_SEEDS", options.seeds),
            ("UNLADE_SEED", options.seed),
        ];
        for (name, value) in chosen {
            tests.envs(value.map(|value| (name, value.to_string())));
        }
    })
}

/// What the figures on virtual time are called.
pub(crate) const VIRTUAL_TIME: &str = "virtual time/";

/// What the tests on virtual time have seen of shares and of streams over several devices, each under
/// its name: the worst, where several tell of it.
///
/// # Errors
/// Why there is nothing, in words.
pub(crate) fn figures() -> Result<BTreeMap<String, f64>, String> {
    let mut tests =
        built("shuttle", "unlade-runtime").map_err(|_| "the simulation is not built".to_owned())?;
    tests.args(["--nocapture", "--quiet", "--test-threads=1"]);
    tests.args(["scheduler::fairness", "simulation::shares"]);
    tests.arg("simulation::spreading");
    let out = tests
        .output()
        .map_err(|error| format!("{tests:?}: {error}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    match out.status.success() {
        true => Ok(figures_of(&text)),
        false => Err(format!("{tests:?} failed: {text}")),
    }
}

fn figures_of(text: &str) -> BTreeMap<String, f64> {
    let figures = text.lines().filter_map(|line| {
        // Whoever runs tests writes dots where it likes.
        let (_, line) = line.split_once("figure ")?;
        let (value, name) = line.split_once(' ')?;
        Some((format!("{VIRTUAL_TIME}{name}"), value.parse().ok()?))
    });
    let mut worst: BTreeMap<String, f64> = BTreeMap::new();
    for (name, value) in figures {
        let known = worst.entry(name).or_insert(value);
        *known = known.max(value);
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_lines_among_others() {
        let text = "running 2 tests\n.figure 0.5 off, in all\nfigure x y\n8 alone\nfigure 2 worst\n\
                    figure 0.25 off, in all\n";
        let figures = [("off, in all", 0.5), ("worst", 2.0)];
        let figures = figures.map(|(name, value)| (format!("{VIRTUAL_TIME}{name}"), value));
        assert_eq!(figures_of(text), BTreeMap::from(figures));
    }
}
