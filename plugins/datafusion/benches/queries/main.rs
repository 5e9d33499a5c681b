//! DataFusion's queries with the plugin, beside the same without it: on the CPU, one partition, data in
//! memory.
//!
//! - `speed/...`: filters and projections of ten million rows against plain DataFusion, and against the
//!   same plan with arrow-rs's kernels in the node's place, so that the gain is no soft baseline's; and
//!   beside the machine's floor, reading the columns that the condition reads
//! - `tpch/...`: TPC-H, whole queries with their planning, where the plugin takes what it holds to be
//!   worth it; `TPCH_SCALE` is the size, 0.1 unless it says otherwise
//! - `planning/...`: what the rule adds to a query's planning
//!
//! Two ways take turns, so that whatever else the machine does disturbs both. A figure is the median,
//! with the 95% bounds of that; a target that is missed ends the run with an error. Words choose figures
//! whose names hold them: `cargo bench -p unlade-datafusion --bench queries -- speed`.

#![allow(clippy::print_stdout)] // figures are for people

mod arrow_peer;
mod pairs;
mod sessions;
#[path = "../../tests/it/tpch_data.rs"]
mod tpch_data;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use tokio::runtime::{Builder, Runtime};
use unlade_benches::floor;

use crate::pairs::{Spread, differences, ratios};
use crate::sessions::{Way, plain, planned, run, whole, with_plugin};

/// Pairs of a ratio.
const PAIRS: usize = 15;

/// What a filter that a target is set for is to be, times plain DataFusion.
const FASTER: f64 = 2.0;

/// What no query of TPC-H is to be below.
const NO_SLOWER: f64 = 0.97;

/// What planning may take longer, in seconds.
const PLANNING: f64 = 1e-3;

fn main() -> ExitCode {
    // For a quick look, or a list, nothing is measured.
    if std::env::args().any(|word| ["--test", "--list"].contains(&word.as_str())) {
        return ExitCode::SUCCESS;
    }
    let tokio = Builder::new_current_thread().build();
    let tokio = tokio.expect("a runtime on this thread needs nothing");
    let mut verdicts = Verdicts::default();
    speed(&tokio, &mut verdicts);
    tpch(&tokio, &mut verdicts);
    match verdicts.missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            println!("missed: {}", verdicts.missed.join(", "));
            ExitCode::FAILURE
        }
    }
}

/// What was seen, and what of it is not what it is to be.
#[derive(Debug, Default)]
struct Verdicts {
    missed: Vec<String>,
}

impl Verdicts {
    fn tell(&mut self, name: &str, spread: &Spread, unit: &str, is_met: bool) {
        let verdict = match is_met {
            true => "met",
            false => "MISSED",
        };
        println!("{name}: {spread}{unit}, {verdict}");
        if !is_met {
            self.missed.push(name.to_owned());
        }
    }
}

fn speed(tokio: &Runtime, verdicts: &mut Verdicts) {
    for case in arrow_peer::cases() {
        let beside_plain = format!("speed/{}/times plain DataFusion", case.name);
        let beside_arrow = format!("speed/{}/times arrow-rs in the same node", case.name);
        let beside_floor = format!("speed/{}/times what reading its columns takes", case.name);
        let figures = [&beside_plain, &beside_arrow, &beside_floor];
        if !figures.into_iter().any(|figure| is_asked_for(figure)) {
            continue;
        }
        let (reference, plugin) = (plain(), with_plugin(Way::Forced));
        let tables = [case.table()];
        [&reference, &plugin]
            .iter()
            .for_each(|context| sessions::register(context, &tables));
        let ours = tokio.block_on(planned(&plugin, &case.sql));
        let theirs = tokio.block_on(planned(&reference, &case.sql));
        let arrows = case.in_the_place_of_ours(&ours);
        let run = |plan: &Arc<dyn ExecutionPlan>| black_box(tokio.block_on(run(plan, &plugin)));
        // What differs is not compared.
        let expected = whole(&run(&theirs));
        assert!(expected.num_rows() > 0, "{}", case.name);
        assert!(
            whole(&run(&ours)) == expected,
            "{}: DataFusion's rows are others",
            case.name
        );
        assert!(
            whole(&run(&arrows)) == expected,
            "{}: arrow-rs's rows are others",
            case.name
        );

        if is_asked_for(&beside_plain) {
            let faster = ratios(PAIRS, || drop(run(&theirs)), || drop(run(&ours)));
            match case.has_target {
                true => verdicts.tell(&beside_plain, &faster, "x", faster.median >= FASTER),
                false => println!("{beside_plain}: {faster}x"),
            }
        }
        if is_asked_for(&beside_arrow) {
            let ahead = ratios(PAIRS, || drop(run(&arrows)), || drop(run(&ours)));
            verdicts.tell(&beside_arrow, &ahead, "x", ahead.median > 1.0);
        }
        if is_asked_for(&beside_floor) {
            let [(_, batches)] = &tables;
            let read = || {
                let sums = batches.iter().map(|batch| floor::sum(batch, &case.reads));
                black_box(sums.fold(0, u64::wrapping_add));
            };
            let longer = ratios(PAIRS, || drop(run(&ours)), read);
            println!("{beside_floor}: {longer}x");
        }
    }
}

/// Whether a figure is to be measured: all are, unless words choose some.
fn is_asked_for(name: &str) -> bool {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

fn tpch(tokio: &Runtime, verdicts: &mut Verdicts) {
    let queries = tpch_data::queries();
    let names = |kind: &str| -> Vec<String> {
        let named = queries.iter().map(|(name, _)| format!("{kind}/{name}"));
        named.collect()
    };
    let (entire, planning) = (names("tpch"), names("planning"));
    if !entire
        .iter()
        .chain(&planning)
        .any(|name| is_asked_for(name))
    {
        return;
    }
    let scale = std::env::var("TPCH_SCALE");
    let scale = scale.map_or(0.1, |text| text.parse().expect("TPCH_SCALE is a number"));
    let tables = tpch_data::tables(scale);
    let (reference, plugin) = (plain(), with_plugin(Way::AsItSeesFit));
    [&reference, &plugin]
        .iter()
        .for_each(|context| sessions::register(context, &tables));
    for ((entire, planning), (_, sql)) in entire.iter().zip(&planning).zip(&queries) {
        let plan = |context: &SessionContext| tokio.block_on(planned(context, sql));
        let answer = |context: &SessionContext| {
            let plan = plan(context);
            black_box(tokio.block_on(run(&plan, context)));
        };
        if is_asked_for(entire) {
            let ratio = ratios(PAIRS, || answer(&reference), || answer(&plugin));
            verdicts.tell(entire, &ratio, "x", ratio.upper >= NO_SLOWER);
        }
        if is_asked_for(planning) {
            let longer = differences(
                PAIRS,
                || drop(black_box(plan(&reference))),
                || drop(black_box(plan(&plugin))),
            );
            verdicts.tell(planning, &longer, " s more", longer.median <= PLANNING);
        }
    }
}
