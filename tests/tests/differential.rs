//! Random queries on random batches: the CPU evaluator against the oracle under every set of
//! rules, and against arrow-rs under its own.
//!
//! A failure prints the number of its case; `UNLADE_CASE=rules:number` runs that one alone.
//! `UNLADE_SEED` starts from another seed, `UNLADE_ROUNDS` runs more of them.
#![allow(clippy::print_stdout)] // coverage is what this test reports

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use arrow_schema::DataType;
use unlade_expr::{Literal, Query, Semantics, can_cast, check, col, lit};
use unlade_naive::generate::Rng;
use unlade_tests::arrow_rs::LeftOut;
use unlade_tests::batches::schema_of;
use unlade_tests::cells::{Coverage, TreeCell};
use unlade_tests::differential::{Tally, run_case};
use unlade_tests::trees::{Grower, Target, rules, targets, types};

/// Times that every cell must be run without a trap.
const LEAST_HITS: u32 = 20;

/// Outputs of one query.
const OUTPUTS: usize = 8;

#[test]
fn everyone_agrees_with_the_oracle() {
    let seed = number("UNLADE_SEED").unwrap_or(0x756e_6c61_6465);
    let rounds = number("UNLADE_ROUNDS").unwrap_or(1) as usize;
    let plans = plans();
    if let Ok(case) = std::env::var("UNLADE_CASE") {
        return replay(&plans, seed, &case);
    }
    println!("seed {seed:#x}; UNLADE_SEED={seed} runs the same cases again");

    let halves = [0, 1].map(|half| {
        let plans = plans.clone();
        thread::spawn(move || {
            let mut tally = Tally::default();
            for plan in plans.iter() {
                for case in (0..plan.cases() * rounds).filter(|case| case % 2 == half) {
                    plan.run(seed, case, &mut tally);
                }
            }
            tally
        })
    });
    let mut tally = Tally {
        coverage: Coverage::of(plans.iter().flat_map(|plan| plan.cells.iter().cloned())),
        ..Tally::default()
    };
    for half in halves {
        match half.join() {
            Ok(part) => tally.add(part),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    tally.rows.sort_unstable();
    let median = tally.rows[tally.rows.len() / 2];
    println!("{}", tally.coverage);
    println!(
        "{} cases, {median} rows in the median, {} with a trap ({} of them compared with an error \
         of arrow-rs), {} columns compared with arrow-rs, {} in which arrow-rs fails on a row that \
         needs no value, as the oracle does there",
        tally.rows.len(),
        tally.trapping,
        tally.errors_of_arrow_rs,
        tally.columns_of_arrow_rs,
        tally.eager_errors
    );
    println!("trees that arrow-rs is not asked for: {:?}", tally.left_out);
    if std::env::var_os("UNLADE_COVERAGE").is_some() {
        tally.coverage.lines().for_each(|line| println!("{line}"));
    }
    assert!(median >= 4096, "a median of {median} rows");
    // Under Spark's rules arrow-rs is not asked at all; what else it is not asked there is.
    let met: Vec<LeftOut> = tally.left_out.into_keys().collect();
    let wanted = LeftOut::ALL.into_iter();
    let wanted: Vec<LeftOut> = wanted.filter(|why| *why != LeftOut::SparksRules).collect();
    assert_eq!(met, wanted, "what arrow-rs was not asked");
    let below = tally.coverage.below(LEAST_HITS);
    assert!(
        below.is_empty(),
        "run fewer than {LEAST_HITS} times: {below:#?}"
    );
}

/// What arrow-rs is not asked is listed, with why, in the document and nowhere else.
#[test]
fn what_arrow_rs_is_not_asked_is_written_down() {
    let document = include_str!("../../docs/card/DISAGREEMENTS.md");
    let heading = "## What arrow-rs is not asked\n";
    let (_, section) = document.split_once(heading).expect("the section is there");
    let section = section.split("\n## ").next().expect("there is one");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let listed: Vec<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .skip(1)
        .collect();
    assert_eq!(listed, LeftOut::ALL.map(LeftOut::words));
}

#[test]
fn the_check_accepts_what_the_tables_list_and_no_other_cast() {
    for (name, semantics) in rules() {
        let types = types(&semantics);
        for target in targets(&semantics) {
            if let Err(error) = cells_of(&semantics, &types, &target) {
                panic!("{name}: {target:?}: {error}");
            }
        }
        let column = DataType::Int32;
        let every_type = types.iter().chain([&column]);
        for from in every_type.clone() {
            for to in every_type.clone().filter(|to| *to != from) {
                let schema = schema_of([arrow_schema::Field::new("a", from.clone(), true)]);
                let query = Query::all().select([col("a").cast(to.clone())]);
                let accepted = check(&query, &schema, &semantics).is_ok();
                let listed = can_cast(from, to, semantics.cast, semantics.dialect);
                assert_eq!(accepted, listed, "{name}: {from} to {to}");
            }
        }
    }
}

/// The targets of one set of rules that have a cell which no set before it has.
struct Plan {
    name: &'static str,
    semantics: Semantics,
    types: Vec<DataType>,
    targets: Vec<Target>,
    cells: Vec<TreeCell>,
}

fn plans() -> Arc<Vec<Plan>> {
    let mut seen = HashSet::new();
    let plan = |(name, semantics)| {
        let types = types(&semantics);
        let (mut new, mut cells) = (Vec::new(), Vec::new());
        for target in targets(&semantics) {
            let found = cells_of(&semantics, &types, &target)
                .unwrap_or_else(|error| panic!("{name}: {target:?}: {error}"));
            let unseen: Vec<_> = found
                .into_iter()
                .filter(|cell| seen.insert(cell.clone()))
                .collect();
            if !unseen.is_empty() {
                new.push(target);
                cells.extend(unseen);
            }
        }
        Plan {
            name,
            semantics,
            types,
            targets: new,
            cells,
        }
    };
    Arc::new(rules().into_iter().map(plan).collect())
}

/// The cells of the plainest expression with this operation.
fn cells_of(
    semantics: &Semantics,
    types: &[DataType],
    target: &Target,
) -> Result<Vec<TreeCell>, String> {
    let mut rng = Rng::new(1);
    let mut cells = Vec::new();
    let mut grower = Grower::new(semantics, types, &mut rng);
    let expr = grower.expr(target, 0);
    let schema = schema_of(grower.into_fields());
    // An output that is a bare column would be none of the tree's.
    let keep_all = lit(Literal::from(true));
    let query = Query::filter(keep_all).select([expr]);
    let checked = check(&query, &schema, semantics).map_err(|error| error.to_string())?;
    for tree in checked.trees() {
        TreeCell::for_each(tree, &mut |cell| cells.push(cell));
    }
    Ok(cells)
}

impl Plan {
    /// Cases in which every target is an output as often as it must be hit, and half as often
    /// again, for those in which every row traps.
    fn cases(&self) -> usize {
        (self.targets.len() * (LEAST_HITS as usize * 3 / 2)).div_ceil(OUTPUTS)
    }

    fn run(&self, seed: u64, case: usize, tally: &mut Tally) {
        let count = self.targets.len();
        let targets: Vec<&Target> = (0..OUTPUTS)
            .map(|index| &self.targets[(case * OUTPUTS + index) % count])
            .collect();
        let seed = seed ^ ((case as u64) << 20);
        if let Err(what) = run_case(&self.semantics, &self.types, &targets, seed, tally) {
            panic!(
                "{}, case {case} (UNLADE_CASE='{}:{case}')\n{what}",
                self.name, self.name
            );
        }
    }
}

fn replay(plans: &[Plan], seed: u64, case: &str) {
    let (name, case) = case.rsplit_once(':').expect("UNLADE_CASE is rules:number");
    let plan = plans
        .iter()
        .find(|plan| plan.name == name)
        .expect("rules of that name");
    plan.run(seed, case.parse().expect("a number"), &mut Tally::default());
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}
