//! Planted mutants of the lowering, the passes, the evaluator and the scheduler, each with the test
//! that kills it.
//!
//! A test that never fails proves nothing. Here the mistakes that the tests are there to notice are
//! made on purpose, one at a time, in a copy of the workspace; one that its test does not notice,
//! or that does not build, fails the run. So does a test that fails without any.

mod table;
mod workbench;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;

use self::table::{Killer, MUTANTS, Mutant, Needs};
use self::workbench::{Tested, Workbench, mutated};

/// Which mutants.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this one; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Print them and the tests that kill them, and plant none
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(options: &Options) -> bool {
    let chosen = match chosen(&options.only) {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("{error}");
            return false;
        }
    };
    if options.list {
        for mutant in chosen {
            println!("{:<52} {}", mutant.name, mutant.killer);
        }
        return true;
    }
    match try_all(&chosen) {
        Ok(ended) => summary(&ended),
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Mutant>, String> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !MUTANTS.iter().any(|mutant| mutant.name == **name))
    {
        return Err(format!(
            "no mutant is called `{unknown}`: `cargo xtask mutants --list` names them"
        ));
    }
    let is_chosen = |mutant: &&Mutant| only.is_empty() || only.iter().any(|it| it == mutant.name);
    Ok(MUTANTS.iter().filter(is_chosen).collect())
}

/// What came of a mutant.
#[derive(Debug)]
enum Fate {
    Killed,
    /// Its test passed.
    Survived,
    /// Whether its test notices it is not known: it does not build, or the test does not end, is
    /// not there, or fails without it.
    Unknown(String),
    /// This machine cannot execute the place. Never counted as killed.
    NotRun(String),
}

impl Fate {
    fn told(&self, killer: Killer) -> String {
        match self {
            Fate::Killed => format!("killed by {killer}"),
            Fate::Survived => format!("SURVIVED {killer}"),
            Fate::Unknown(error) => format!("UNKNOWN: {error}"),
            Fate::NotRun(lacking) => format!("not run: {lacking}"),
        }
    }
}

#[derive(Debug)]
struct Ended {
    mutant: &'static Mutant,
    fate: Fate,
    took: Duration,
}

fn try_all(mutants: &[&'static Mutant]) -> Result<Vec<Ended>, String> {
    // Before time is spent on the others: whether each can be planted at all.
    for mutant in mutants {
        mutated(&crate::root(), mutant)?;
    }
    let bench = Workbench::new()?;
    let mut unmutated: BTreeMap<String, Result<(), String>> = BTreeMap::new();
    for mutant in mutants.iter().filter(|mutant| lacking(mutant).is_none()) {
        let killer = mutant.killer;
        unmutated
            .entry(killer.to_string())
            .or_insert_with(|| passes_unmutated(&bench, killer));
    }
    let mut ended = Vec::with_capacity(mutants.len());
    for &mutant in mutants {
        println!("==> {}", mutant.name);
        let started = Instant::now();
        let fate = match (lacking(mutant), unmutated.get(&mutant.killer.to_string())) {
            (Some(lacking), _) => Fate::NotRun(lacking),
            (None, Some(Err(error))) => Fate::Unknown(error.clone()),
            (None, _) => fate(&bench, mutant)?,
        };
        println!("    {}", fate.told(mutant.killer));
        ended.push(Ended {
            mutant,
            fate,
            took: started.elapsed(),
        });
    }
    Ok(ended)
}

fn passes_unmutated(bench: &Workbench, killer: Killer) -> Result<(), String> {
    println!("==> without mutants: {killer}");
    match bench.test(killer) {
        Tested::Passed => Ok(()),
        Tested::Failed => Err("its test fails without it".into()),
        Tested::Unknown(error) => Err(format!("without it: {error}")),
    }
}

/// # Errors
/// Where the file cannot be written, or put back as it was.
fn fate(bench: &Workbench, mutant: &Mutant) -> Result<Fate, String> {
    let planted = bench.plant(mutant)?;
    let tested = bench.test(mutant.killer);
    planted.remove()?;
    Ok(match tested {
        Tested::Failed => Fate::Killed,
        Tested::Passed => Fate::Survived,
        Tested::Unknown(error) => Fate::Unknown(error),
    })
}

/// What the machine lacks to execute the place of a mutant. The features are those for which
/// `unlade_eval::Level` chooses that place.
fn lacking(mutant: &Mutant) -> Option<String> {
    macro_rules! all_present {
        ($($feature:tt)*) => {{
            #[cfg(target_arch = "x86_64")]
            let present = true $(&& is_x86_feature_detected!($feature))*;
            #[cfg(not(target_arch = "x86_64"))]
            let present = false;
            present
        }};
    }
    let avx2 = all_present!("avx2" "bmi1" "bmi2" "lzcnt" "popcnt");
    let avx512 =
        avx2 && all_present!("avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vbmi" "avx512vbmi2");
    match mutant.needs {
        Needs::Avx2 if !avx2 => Some("the CPU has no AVX2".into()),
        Needs::Avx512 if !avx512 => Some("the CPU has no AVX-512 with byte compress".into()),
        _ => None,
    }
}

/// Prints what came of the mutants; whether each that this machine can execute was killed.
fn summary(ended: &[Ended]) -> bool {
    println!("\n{:<52} {:>7}  outcome", "mutant", "seconds");
    for Ended { mutant, fate, took } in ended {
        let outcome = fate.told(mutant.killer);
        println!("{:<52} {:>7.1}  {outcome}", mutant.name, took.as_secs_f64());
    }
    let count = |wanted: fn(&Fate) -> bool| ended.iter().filter(|it| wanted(&it.fate)).count();
    let killed = count(|fate| matches!(fate, Fate::Killed));
    let survived = count(|fate| matches!(fate, Fate::Survived));
    let unknown = count(|fate| matches!(fate, Fate::Unknown(_)));
    let skipped = count(|fate| matches!(fate, Fate::NotRun(_)));
    println!(
        "\nmutants: {killed} killed, {survived} survived, {unknown} unknown, {skipped} not run"
    );
    survived + unknown == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_true_of_the_code() {
        let root = crate::root();
        for mutant in MUTANTS {
            if let Err(error) = mutated(&root, mutant) {
                panic!("{error}");
            }
            assert_ne!(mutant.original, mutant.planted, "{}", mutant.name);
        }
    }

    #[test]
    fn a_mutant_is_known_by_its_name() {
        let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
        let one = MUTANTS[0].name.to_owned();
        assert_eq!(chosen(&[one]).expect("there is such a one").len(), 1);
        assert_eq!(chosen(&[]).expect("all of them").len(), MUTANTS.len());
        assert!(chosen(&["no-such-mutant".into()]).is_err());
    }

    #[test]
    fn a_run_passes_only_if_every_mutant_that_can_run_is_killed() {
        let ended = |fate| Ended {
            mutant: &MUTANTS[0],
            fate,
            took: Duration::ZERO,
        };
        assert!(summary(&[
            ended(Fate::Killed),
            ended(Fate::NotRun("no AVX2".into()))
        ]));
        assert!(!summary(&[ended(Fate::Killed), ended(Fate::Survived)]));
        assert!(!summary(&[ended(Fate::Unknown(
            "it does not build".into()
        ))]));
    }
}
