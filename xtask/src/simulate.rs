//! `cargo xtask simulate`: random runs of the runtime with its devices, on one thread and a clock of
//! their own.

use clap::Args;

use crate::flagged::tests_with;
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
