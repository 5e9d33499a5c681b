//! The statements of `tests/slt`, on every device: what plain DataFusion answers in the same run is
//! what is right.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use datafusion::physical_plan::ExecutionPlan;
use sqllogictest::{DefaultColumnType, Record, StatementExpect, parse_file};
use unlade_datafusion::LeftExec;

use crate::common::{DEVICES, chosen, forced, metric, plain, rows, run, runtime};
use crate::tables::tables;

/// What became of statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// All filters and projections ran on the device.
    taken: u32,
    /// Some did, others were beyond the language.
    partly: u32,
    /// None did.
    left: u32,
    /// Errors.
    errors: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_answer_what_plain_datafusion_answers() {
    let statements = statements();
    let reference = plain();
    tables(&reference);
    let mut expected = Vec::new();
    for (file, sql, _) in &statements {
        let answer = run(&reference, sql)
            .await
            .map(|(_, batches)| rows(&batches));
        expected.push(answer.map_err(|error| format!("{file}: {sql}: {error}")));
    }
    for device in DEVICES {
        let runtime = runtime(device);
        let rows_on = format!("rows_on_{}", chosen(&runtime));
        let context = forced(&runtime);
        tables(&context);
        let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
        let mut wrong = Vec::new();
        for ((file, sql, is_error), expected) in statements.iter().zip(&expected) {
            let counts = counts.entry(file).or_default();
            match (run(&context, sql).await, expected) {
                (Ok((plan, batches)), Ok(expected)) if !is_error => {
                    if rows(&batches) != *expected {
                        wrong.push(format!("{sql}: {:?} for {expected:?}", rows(&batches)));
                    }
                    match (metric(&plan, &rows_on) > 0, is_left(plan.as_ref())) {
                        (true, false) => counts.taken += 1,
                        (true, true) => counts.partly += 1,
                        (false, _) => counts.left += 1,
                    }
                    if metric(&plan, "fallbacks") > 0 {
                        wrong.push(format!("{sql}: the CPU took a batch"));
                    }
                }
                (Err(_), Err(_)) if *is_error => counts.errors += 1,
                (found, expected) => wrong.push(format!(
                    "{sql}: {:?} for {expected:?}",
                    found.map(|(_, batches)| rows(&batches))
                )),
            }
        }
        println!("{device}: {counts:#?}");
        let few = &wrong[..wrong.len().min(20)];
        assert!(
            wrong.is_empty(),
            "{device}: {} of {}: {few:#?}",
            wrong.len(),
            statements.len()
        );
        let sum = |of: fn(&Counts) -> u32| counts.values().map(of).sum::<u32>();
        assert!(sum(|counts| counts.taken) > 1_000, "{device}: {counts:#?}");
        // What is beyond the language is there, and has a file of its own.
        let beyond = counts["beyond"];
        assert!(
            beyond.partly > 3 && beyond.left > 3 && beyond.taken == 0,
            "{beyond:?}"
        );
    }
}

/// Every statement, with the name of its file, and whether it ends in an error.
fn statements() -> Vec<(String, String, bool)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let entries = fs::read_dir(&folder).expect("the folder is readable");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry is readable").path())
        .collect();
    paths.sort();
    let mut statements = Vec::new();
    for path in paths {
        let name = path
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        let records =
            parse_file::<DefaultColumnType>(&path).unwrap_or_else(|error| panic!("{error}"));
        for record in records {
            if let Record::Statement { sql, expected, .. } = record {
                let is_error = matches!(expected, StatementExpect::Error(_));
                statements.push((name.clone(), sql, is_error));
            }
        }
    }
    assert!(statements.len() > 1_000, "{} statements", statements.len());
    statements
}

fn is_left(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<LeftExec>()
        || plan
            .children()
            .into_iter()
            .any(|child| is_left(child.as_ref()))
}
