//! What is to be reached, and whether it was.

use std::fmt;

use super::figures::{Ratio, Rounds};

/// A target and what was seen.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) target: Target,
    pub(crate) seen: Option<Ratio>,
    /// How the figure reads: `x` for a ratio, else a unit.
    unit: &'static str,
}

/// A bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    Exactly(f64),
    /// Nothing is asked: the figure stands for comparison.
    Shown,
}

/// The workloads that targets are set for: how many times faster than the better arrow-rs build,
/// and how many times the floor at most.
const FILTERS: [(&str, f64, Option<f64>); 5] = [
    ("cast-1", 2.5, Some(1.3)),
    ("cast-50", 2.5, None),
    ("equals-0.1", 1.5, Some(1.3)),
    ("and3-1", 1.4, Some(1.7)),
    ("and3-50", 1.4, None),
];

pub(crate) fn judge(rounds: &Rounds) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (workload, against_arrow, against_floor) in FILTERS {
        verdicts.push(Verdict {
            what: format!("{workload}: arrow-rs / unlade"),
            target: Target::AtLeast(against_arrow),
            seen: rounds.ratio(who(workload, "arrow"), who(workload, "unlade")),
            unit: "x",
        });
        verdicts.push(Verdict {
            what: format!("{workload}: the same in batches of 8,192 rows"),
            target: Target::Shown,
            seen: rounds.ratio(
                |name| who(workload, "arrow")(name) && name.ends_with("-8192"),
                |name| who(workload, "unlade")(name) && name.ends_with("-8192"),
            ),
            unit: "x",
        });
        verdicts.push(Verdict {
            what: format!("{workload}: polars / unlade"),
            target: Target::AtLeast(1.0),
            seen: rounds.ratio(who(workload, "polars"), who(workload, "unlade")),
            unit: "x",
        });
        verdicts.push(Verdict {
            what: format!("{workload}: duckdb / unlade"),
            target: Target::Shown,
            seen: rounds.ratio(who(workload, "duckdb"), who(workload, "unlade")),
            unit: "x",
        });
        verdicts.push(Verdict {
            what: format!("{workload}: unlade / floor"),
            target: against_floor.map_or(Target::Shown, Target::AtMost),
            seen: rounds.ratio(who(workload, "unlade"), who(workload, "floor")),
            unit: "x",
        });
    }
    verdicts.extend(others(rounds));
    verdicts.extend(fixed(rounds));
    verdicts.extend(noted(rounds));
    verdicts
}

/// What is to be reached of figures that benchmarks note themselves, by their names: of the card's
/// driver, and of turns on devices.
const NOTED: [(&str, Target, &str); 16] = [
    (
        "card/doorbell to completion/on one core",
        Target::AtMost(3.0),
        "x",
    ),
    (
        "card/doorbell to completion/across cores",
        Target::AtMost(3.0),
        "x",
    ),
    (
        "card/driver's own work per job",
        Target::AtMost(1000.0),
        " ns",
    ),
    (
        "card/bytes read, of those on paper",
        Target::Exactly(1.0),
        "x",
    ),
    (
        "card/bytes written, of those on paper",
        Target::Exactly(1.0),
        "x",
    ),
    (
        "card/percent at work, lists under way/1",
        Target::Shown,
        "%",
    ),
    (
        "card/percent at work, lists under way/4",
        Target::Shown,
        "%",
    ),
    (
        "card/percent at work, lists under way/64",
        Target::AtLeast(95.0),
        "%",
    ),
    (
        "scheduler/M batches a second/turns-1",
        Target::AtLeast(1.0),
        " M",
    ),
    (
        "scheduler/times spawn-blocking/turns-1",
        Target::AtLeast(10.0),
        "x",
    ),
    (
        "scheduler/M batches a second/turns-2",
        Target::AtLeast(1.0),
        " M",
    ),
    (
        "scheduler/times spawn-blocking/turns-2",
        Target::AtLeast(10.0),
        "x",
    ),
    (
        "scheduler/M batches a second/threads-64",
        Target::AtLeast(1.0),
        " M",
    ),
    (
        "scheduler/times spawn-blocking/threads-64",
        Target::AtLeast(10.0),
        "x",
    ),
    (
        "scheduler/times the cost with 8 sessions/512",
        Target::AtMost(1.2),
        "x",
    ),
    // A page may be touched for the first time; ten million batches that are kept would be gigabytes.
    (
        "scheduler/KiB more after 10 M batches",
        Target::AtMost(256.0),
        " KiB",
    ),
];

fn noted(rounds: &Rounds) -> Vec<Verdict> {
    let verdict = |(name, target, unit): (&str, Target, &'static str)| Verdict {
        what: name.to_owned(),
        target,
        seen: rounds.figure(name),
        unit,
    };
    NOTED.into_iter().map(verdict).collect()
}

/// The remaining filters: never slower than arrow-rs.
fn others(rounds: &Rounds) -> Vec<Verdict> {
    let mut workloads: Vec<&str> = rounds
        .names()
        .filter_map(|name| name.strip_suffix("/unlade-whole"))
        .filter(|workload| FILTERS.iter().all(|(named, ..)| named != workload))
        .collect();
    workloads.dedup();
    workloads
        .into_iter()
        .map(|workload| Verdict {
            what: format!("{workload}: arrow-rs / unlade"),
            target: Target::AtLeast(1.0),
            seen: rounds.ratio(who(workload, "arrow"), who(workload, "unlade")),
            unit: "x",
        })
        .collect()
}

fn fixed(rounds: &Rounds) -> Vec<Verdict> {
    let exactly = |name: &'static str| move |seen: &str| seen == name;
    let gain = rounds.ratio(exactly("threads/floor-1"), exactly("threads/floor-2"));
    let wanted = gain.map_or(1.8, |gain| (0.9 * gain.median).min(1.8));
    let mut verdicts = vec![
        Verdict {
            what: "two threads: one / two, for a sum".to_owned(),
            target: Target::Shown,
            seen: gain,
            unit: "x",
        },
        Verdict {
            what: "two threads: one / two".to_owned(),
            target: Target::AtLeast(wanted),
            seen: rounds.ratio(exactly("threads/unlade-1"), exactly("threads/unlade-2")),
            unit: "x",
        },
        Verdict {
            what: "batch of 4 columns: beyond evaluation".to_owned(),
            target: Target::AtMost(1500.0),
            seen: rounds.difference("batch/run", "batch/evaluation"),
            unit: " ns",
        },
        Verdict {
            what: "compile of 10 nodes".to_owned(),
            target: Target::AtMost(30_000.0),
            seen: rounds.figure("compile/a fresh shape, without a cache"),
            unit: " ns",
        },
        Verdict {
            what: "compile of a cached query".to_owned(),
            target: Target::AtMost(1000.0),
            seen: rounds.figure("compile/same query"),
            unit: " ns",
        },
        Verdict {
            what: "look-up in a HashMap".to_owned(),
            target: Target::Shown,
            seen: rounds.figure("compile/look-up in a hash map"),
            unit: " ns",
        },
    ];
    for (workload, what) in [("compare", "a > 500"), ("heavy", "much arithmetic")] {
        let name = |device: &str| format!("host-cpu-{workload}/{device}");
        let (card, cpu) = (name("card"), name("cpu"));
        verdicts.push(Verdict {
            what: format!("{what}: the host's CPU time, card / cpu"),
            target: Target::Shown,
            seen: rounds.ratio(|seen| seen == card, |seen| seen == cpu),
            unit: "x",
        });
    }
    verdicts.push(Verdict {
        what: "10 GB stream: memory beyond --memory".to_owned(),
        target: Target::AtMost(200.0),
        seen: rounds.figure("stream/megabytes beyond the budget"),
        unit: " MB",
    });
    let mut sizes: Vec<u64> = rounds
        .names()
        .filter_map(|name| name.strip_prefix("pool/lease/")?.parse().ok())
        .collect();
    sizes.sort_unstable();
    for size in sizes {
        let (malloc, lease) = (format!("pool/malloc/{size}"), format!("pool/lease/{size}"));
        verdicts.push(Verdict {
            what: format!("{size} bytes: malloc and free / lease and return"),
            target: Target::AtLeast(1.0),
            seen: rounds.ratio(|seen| seen == malloc, |seen| seen == lease),
            unit: "x",
        });
    }
    verdicts
}

/// Names `workload/who...`.
fn who(workload: &str, who: &str) -> impl Fn(&str) -> bool {
    let start = format!("{workload}/{who}");
    move |name| name.starts_with(&start)
}

/// Prints the verdicts; whether none was missed.
pub(crate) fn print(verdicts: &[Verdict]) -> bool {
    println!(
        "\n{:<50} {:>10} {:>21} {:>12}",
        "", "median", "spread", "target"
    );
    for verdict in verdicts {
        let (median, spread) = match verdict.seen {
            Some(seen) => (
                format!("{:.2}{}", seen.median, verdict.unit),
                format!("{:.2} to {:.2}", seen.least, seen.greatest),
            ),
            None => ("absent".to_owned(), String::new()),
        };
        let outcome = match verdict.is_met() {
            Some(true) => "PASS",
            Some(false) => "FAIL",
            None => "",
        };
        println!(
            "{:<50} {median:>10} {spread:>21} {:>12} {outcome}",
            verdict.what,
            verdict.target.to_string()
        );
    }
    verdicts
        .iter()
        .all(|verdict| verdict.is_met() != Some(false))
}

impl Verdict {
    /// Whether the target is met; `None` where nothing is asked or nothing was measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let seen = self.seen?.median;
        match self.target {
            Target::AtLeast(bound) => Some(seen >= bound),
            Target::AtMost(bound) => Some(seen <= bound),
            Target::Exactly(wanted) => Some(seen == wanted),
            Target::Shown => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::AtLeast(bound) => write!(f, ">= {bound:.2}"),
            Target::AtMost(bound) => write!(f, "<= {bound:.2}"),
            Target::Exactly(wanted) => write!(f, "= {wanted:.2}"),
            Target::Shown => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_a_benchmark_notes_is_held_against_its_target() {
        let busy = "card/percent at work, lists under way/64";
        let met = |percent: f64| {
            let mut rounds = Rounds::default();
            rounds.push(vec![(busy.to_owned(), percent)]);
            let verdicts = judge(&rounds);
            let mut of = verdicts.iter().filter(|verdict| verdict.what == busy);
            of.next().expect("it has a target").is_met()
        };
        assert_eq!((met(99.9), met(87.8)), (Some(true), Some(false)));
        let none = judge(&Rounds::default());
        assert!(none.iter().all(|verdict| verdict.is_met().is_none()));
    }
}
