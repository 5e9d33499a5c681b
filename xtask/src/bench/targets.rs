//! What is to be reached, and whether it was.

use std::collections::BTreeSet;
use std::fmt;

use super::figures::{Ratio, Rounds};
use super::python;

/// A target and what was seen.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) target: Target,
    pub(crate) seen: Option<Ratio>,
    /// How the figure reads: `x` for a ratio, else a unit.
    unit: &'static str,
    /// The figures that it is made of, by how their names begin.
    of: Vec<String>,
    /// Whether it was asked for, so that it must not be absent.
    asked: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Figures whose names hold this; all where there is none.
    pub(crate) filter: Option<&'a str>,
    /// What Python measures, too.
    pub(crate) python: bool,
}

impl Asked<'_> {
    /// Whether one of the figures that something is asked of is to be measured, of those that are
    /// meant.
    pub(crate) fn any(self, meant: impl Fn(&str) -> bool) -> bool {
        let known = all(&Rounds::default());
        let mut names = known.iter().flat_map(|verdict| &verdict.of);
        names.any(|name| meant(name) && self.holds(name))
    }

    fn holds(self, name: &str) -> bool {
        self.filter.is_none_or(|filter| name.contains(filter))
            && (self.python || !python::measures(name))
    }
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

/// The others, as `benches/src/workload.rs` names them: columns, each with how many percent of the
/// rows are kept.
const OTHERS: [(&str, &[u32]); 5] = [
    ("nulls-cast", &[1, 50]),
    ("int32", &[1, 10, 50, 90, 99]),
    ("int64", &[1, 10, 50, 90, 99]),
    ("float64", &[1, 10, 50, 90, 99]),
    ("payload8", &[1, 10, 50, 90, 99]),
];

/// Bytes of leases, as `runtime/benches/pool.rs` takes them.
const LEASES: [u64; 8] = [
    64,
    1 << 10,
    8 << 10,
    32 << 10,
    256 << 10,
    1 << 20,
    16 << 20,
    64 << 20,
];

/// What came of each target that was asked for. What was not measured is there, too.
pub(crate) fn judge(rounds: &Rounds, asked: Asked<'_>) -> Vec<Verdict> {
    let mut verdicts = all(rounds);
    for verdict in &mut verdicts {
        verdict.asked = verdict.of.iter().all(|name| asked.holds(name));
    }
    // Where some are asked for, others are no news.
    if asked.filter.is_some() {
        verdicts.retain(|verdict| verdict.asked || verdict.seen.is_some());
    }
    verdicts
}

fn all(rounds: &Rounds) -> Vec<Verdict> {
    let mut verdicts = filters(rounds);
    verdicts.extend(others(rounds));
    verdicts.extend(fixed(rounds));
    verdicts.extend(leases(rounds));
    verdicts.extend(noted(rounds));
    verdicts
}

fn filters(rounds: &Rounds) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (workload, against_arrow, against_floor) in FILTERS {
        let who = |who: &str| format!("{workload}/{who}");
        let whole = |above: &str, below: &str| Comparison {
            above: who(above),
            below: who(below),
            end: "",
        };
        verdicts.push(whole("arrow", "unlade").verdict(
            rounds,
            format!("{workload}: arrow-rs / unlade"),
            Target::AtLeast(against_arrow),
        ));
        let slices = Comparison {
            end: "-8192",
            ..whole("arrow", "unlade")
        };
        verdicts.push(slices.verdict(
            rounds,
            format!("{workload}: the same in batches of 8,192 rows"),
            Target::Shown,
        ));
        for (peer, target) in [("polars", Target::AtLeast(1.0)), ("duckdb", Target::Shown)] {
            let what = format!("{workload}: {peer} / unlade");
            verdicts.push(whole(peer, "unlade").verdict(rounds, what, target));
        }
        verdicts.push(whole("unlade", "floor").verdict(
            rounds,
            format!("{workload}: unlade / floor"),
            against_floor.map_or(Target::Shown, Target::AtMost),
        ));
    }
    verdicts
}

/// The least of the figures whose names begin in one way, beside the least of those that begin in
/// another.
#[derive(Clone, Debug)]
struct Comparison {
    above: String,
    below: String,
    /// How all of their names end.
    end: &'static str,
}

impl Comparison {
    fn verdict(self, rounds: &Rounds, what: String, target: Target) -> Verdict {
        let Comparison { above, below, end } = self;
        let is = |name: &str, start: &str| name.starts_with(start) && name.ends_with(end);
        Verdict {
            what,
            target,
            seen: rounds.ratio(|name| is(name, &above), |name| is(name, &below)),
            unit: "x",
            of: vec![above, below],
            asked: false,
        }
    }
}

/// A comparison of two figures by their whole names.
fn ratio(rounds: &Rounds, what: String, target: Target, above: &str, below: &str) -> Verdict {
    Verdict {
        what,
        target,
        seen: rounds.ratio(|name| name == above, |name| name == below),
        unit: "x",
        of: vec![above.to_owned(), below.to_owned()],
        asked: false,
    }
}

/// A figure as it is.
fn alone(rounds: &Rounds, what: &str, target: Target, unit: &'static str, name: &str) -> Verdict {
    Verdict {
        what: what.to_owned(),
        target,
        seen: rounds.figure(name),
        unit,
        of: vec![name.to_owned()],
        asked: false,
    }
}

/// What is to be reached of figures that benchmarks note themselves, by their names: of the card's
/// driver, of turns on devices, on virtual time, of predictions, and of the C interface.
const NOTED: [(&str, Target, &str); 32] = [
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
        "card/bytes of result blocks per job",
        Target::Exactly(24.0),
        "",
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
        "card/percent at work, lists of 4 MiB under way/64",
        Target::AtLeast(95.0),
        "%",
    ),
    (
        "card/percent at work, lists of 16 MiB under way/64",
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
    (
        "virtual time/Jain's index of equal sessions, least",
        Target::AtLeast(0.99),
        "",
    ),
    (
        "virtual time/percent off the weights, scheduler",
        Target::AtMost(5.0),
        "%",
    ),
    (
        "virtual time/percent off the weights, runtime",
        Target::AtMost(5.0),
        "%",
    ),
    (
        "virtual time/times the 99th percentile alone, beside seven large sessions",
        Target::AtMost(3.0),
        "x",
    ),
    (
        "virtual time/times the best device alone, a stream over two",
        Target::AtMost(1.05),
        "x",
    ),
    ("prediction/percent off/cpu", Target::AtMost(15.0), "%"),
    ("prediction/percent off/sim gpu", Target::AtMost(15.0), "%"),
    (
        "prediction/percent off/sim coherent-gpu",
        Target::AtMost(15.0),
        "%",
    ),
    ("prediction/percent off/sim-dpu", Target::AtMost(15.0), "%"),
    (
        "capi/ns beyond Rust, numbers/a batch",
        Target::AtMost(2000.0),
        " ns",
    ),
    // A schema is read anew each time; a kernel's own batches need none.
    (
        "capi/ns beyond Rust, numbers/a batch with its schema",
        Target::Shown,
        " ns",
    ),
    // Each offset is looked at, of 8,192 strings.
    ("capi/ns beyond Rust, strings/a batch", Target::Shown, " ns"),
    (
        "capi/ns beyond Rust, strings/a batch with its schema",
        Target::Shown,
        " ns",
    ),
];

fn noted(rounds: &Rounds) -> Vec<Verdict> {
    let verdict = |(name, target, unit)| alone(rounds, name, target, unit, name);
    NOTED.into_iter().map(verdict).collect()
}

/// The remaining filters, and whatever else was measured: never slower than arrow-rs.
fn others(rounds: &Rounds) -> Vec<Verdict> {
    let known = OTHERS
        .into_iter()
        .flat_map(|(column, kept)| kept.iter().map(move |kept| format!("{column}-{kept}")));
    let measured = rounds
        .names()
        .filter_map(|name| name.strip_suffix("/unlade-whole"))
        .filter(|workload| FILTERS.iter().all(|(named, ..)| named != workload));
    let workloads: BTreeSet<String> = known.chain(measured.map(str::to_owned)).collect();
    let verdict = |workload: String| {
        let comparison = Comparison {
            above: format!("{workload}/arrow"),
            below: format!("{workload}/unlade"),
            end: "",
        };
        let what = format!("{workload}: arrow-rs / unlade");
        comparison.verdict(rounds, what, Target::AtLeast(1.0))
    };
    workloads.into_iter().map(verdict).collect()
}

fn fixed(rounds: &Rounds) -> Vec<Verdict> {
    let sums = ratio(
        rounds,
        "two threads: one / two, for a sum".to_owned(),
        Target::Shown,
        "threads/floor-1",
        "threads/floor-2",
    );
    let wanted = sums.seen.map_or(1.8, |gain| (0.9 * gain.median).min(1.8));
    let (run, evaluation) = ("batch/run", "batch/evaluation");
    let mut verdicts = vec![
        sums,
        ratio(
            rounds,
            "two threads: one / two".to_owned(),
            Target::AtLeast(wanted),
            "threads/unlade-1",
            "threads/unlade-2",
        ),
        Verdict {
            what: "batch of 4 columns: beyond evaluation".to_owned(),
            target: Target::AtMost(1500.0),
            seen: rounds.difference(run, evaluation),
            unit: " ns",
            of: vec![run.to_owned(), evaluation.to_owned()],
            asked: false,
        },
    ];
    for (what, target, unit, name) in [
        (
            "compile of 10 nodes",
            Target::AtMost(30_000.0),
            " ns",
            "compile/a fresh shape, without a cache",
        ),
        (
            "compile of a cached query",
            Target::AtMost(1000.0),
            " ns",
            "compile/same query",
        ),
        (
            "look-up in a HashMap",
            Target::Shown,
            " ns",
            "compile/look-up in a hash map",
        ),
        (
            "10 GB stream: memory beyond --memory",
            Target::AtMost(200.0),
            " MB",
            "stream/megabytes beyond the budget",
        ),
    ] {
        verdicts.push(alone(rounds, what, target, unit, name));
    }
    for (workload, what) in [("compare", "a > 500"), ("heavy", "much arithmetic")] {
        let name = |device: &str| format!("host-cpu-{workload}/{device}");
        verdicts.push(ratio(
            rounds,
            format!("{what}: the host's CPU time, card / cpu"),
            Target::Shown,
            &name("card"),
            &name("cpu"),
        ));
    }
    verdicts
}

/// Leases of all sizes that are known or were measured: never slower than the system's allocator.
fn leases(rounds: &Rounds) -> Vec<Verdict> {
    let measured = rounds
        .names()
        .filter_map(|name| name.strip_prefix("pool/lease/")?.parse().ok());
    let sizes: BTreeSet<u64> = LEASES.into_iter().chain(measured).collect();
    let verdict = |size: u64| {
        ratio(
            rounds,
            format!("{size} bytes: malloc and free / lease and return"),
            Target::AtLeast(1.0),
            &format!("pool/malloc/{size}"),
            &format!("pool/lease/{size}"),
        )
    };
    sizes.into_iter().map(verdict).collect()
}

/// Prints the verdicts, and by name what was missed and what is absent; whether nothing is.
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
    let missed = |absent: bool| -> Vec<&str> {
        let missed = verdicts
            .iter()
            .filter(|verdict| verdict.is_met() == Some(false) && verdict.seen.is_none() == absent);
        missed.map(|verdict| verdict.what.as_str()).collect()
    };
    for (fate, of) in [("missed", missed(false)), ("absent", missed(true))] {
        if !of.is_empty() {
            println!("{fate}: {}", of.join("; "));
        }
    }
    verdicts
        .iter()
        .all(|verdict| verdict.is_met() != Some(false))
}

impl Verdict {
    /// Whether the target is met. What is absent meets none; `None` where there is no target, or
    /// where what is absent was not asked for.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let seen = self.seen.map(|seen| seen.median);
        let met = match self.target {
            Target::Shown => return None,
            Target::AtLeast(bound) => seen.map(|seen| seen >= bound),
            Target::AtMost(bound) => seen.map(|seen| seen <= bound),
            Target::Exactly(wanted) => seen.map(|seen| seen == wanted),
        };
        met.or(self.asked.then_some(false))
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

    const ALL: Asked<'_> = Asked {
        filter: None,
        python: true,
    };

    const BUSY: &str = "card/percent at work, lists under way/64";

    fn asked(filter: &str) -> Asked<'_> {
        Asked {
            filter: Some(filter),
            ..ALL
        }
    }

    /// Verdicts by what they are of.
    fn met(figures: &[(&str, f64)], asked: Asked<'_>) -> Vec<(String, Option<bool>)> {
        let mut rounds = Rounds::default();
        let figures = figures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value));
        rounds.push(figures.collect());
        let verdicts = judge(&rounds, asked).into_iter();
        verdicts
            .map(|verdict| (verdict.what.clone(), verdict.is_met()))
            .collect()
    }

    #[test]
    fn a_figure_that_a_benchmark_notes_is_held_against_its_target() {
        let met = |percent: f64| {
            let met = met(&[(BUSY, percent)], ALL);
            let mut of = met.into_iter().filter(|(what, _)| what == BUSY);
            of.next().expect("it has a target").1
        };
        assert_eq!((met(99.9), met(87.8)), (Some(true), Some(false)));
    }

    #[test]
    fn what_is_absent_meets_no_target() {
        let none = met(&[], ALL);
        let (failed, rest): (Vec<_>, Vec<_>) =
            none.iter().partition(|(_, met)| *met == Some(false));
        for target in [
            "cast-1: arrow-rs / unlade",
            "cast-1: polars / unlade",
            "nulls-cast-50: arrow-rs / unlade",
            "payload8-99: arrow-rs / unlade",
            "1024 bytes: malloc and free / lease and return",
            "compile of a cached query",
            "10 GB stream: memory beyond --memory",
            BUSY,
        ] {
            assert!(failed.iter().any(|(what, _)| what == target), "{target}");
        }
        assert!(rest.iter().all(|(_, met)| met.is_none()), "{rest:?}");
        assert!(!print(&judge(&Rounds::default(), ALL)));
        // Nobody asks for what Python measures where that is left out.
        let without = Asked {
            python: false,
            ..ALL
        };
        let without = met(&[], without).into_iter();
        let without: Vec<_> = without.filter(|(_, met)| met.is_some()).collect();
        assert!(!without.is_empty());
        let python = ["polars", "duckdb", "10 GB stream"];
        assert!(
            without
                .iter()
                .all(|(what, _)| !python.iter().any(|by| what.contains(by)))
        );
    }

    #[test]
    fn of_some_figures_the_others_are_not_asked_for() {
        let of_card = met(&[(BUSY, 99.0)], asked("card"));
        let is_card = |what: &str| what.starts_with("card/");
        assert!(
            of_card
                .iter()
                .all(|(what, met)| is_card(what) || met.is_none())
        );
        let count = |wanted| of_card.iter().filter(|(_, met)| *met == wanted).count();
        // One is met, of two nothing is asked, and the others of the card's are absent.
        let noted = NOTED.iter().filter(|(name, ..)| is_card(name)).count();
        assert_eq!((count(Some(true)), count(Some(false))), (1, noted - 3));
        // A comparison of which one side is not measured is not asked for.
        let lease = met(&[("pool/lease/64", 9.0)], asked("pool/lease"));
        assert!(lease.iter().all(|(_, met)| met.is_none()), "{lease:?}");
        let pool = met(&[("pool/lease/64", 9.0)], asked("pool/"));
        let failed = pool.iter().filter(|(_, met)| *met == Some(false)).count();
        assert_eq!(failed, LEASES.len());
    }

    #[test]
    fn a_filter_says_which_tools_are_needed() {
        let python = |asked: Asked<'_>| asked.any(python::measures);
        assert!(python(ALL) && python(asked("cast")) && python(asked("polars")));
        assert!(!python(asked("card")) && !python(asked("scheduler")));
    }
}
