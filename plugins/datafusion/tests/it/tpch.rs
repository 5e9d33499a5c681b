//! TPC-H: all 22 queries, with the plugin and without. docs/DATAFUSION.md has a table of what is taken
//! of each, and why the rest is not. `UPDATE_GOLDEN=1` writes it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use datafusion::physical_plan::ExecutionPlan;
use unlade_datafusion::LeftExec;

use crate::common::{forced, nodes, plain, run, runtime, table};
use crate::statements::rows;
use crate::tpch_data::{queries, tables};

/// Of the size that the specification calls 1.
const SCALE: f64 = 0.01;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_have_one_answer() {
    let reference = plain();
    let contexts = ["cpu", "sim"].map(|device| forced(&runtime(device)));
    for (name, batches) in tables(SCALE) {
        table(&reference, name, &batches);
        contexts
            .iter()
            .for_each(|context| table(context, name, &batches));
    }
    let mut taken = String::from("| query | nodes | left, because of |\n|---|---|---|\n");
    for (name, sql) in queries() {
        let (_, expected) = run(&reference, &sql)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut plans = Vec::new();
        for context in &contexts {
            let (plan, answer) = run(context, &sql)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(rows(&answer), rows(&expected), "{name}");
            plans.push(plan);
        }
        let mut why = left(plans[0].as_ref());
        why.sort();
        why.dedup();
        writeln!(
            taken,
            "| {name} | {} | {} |",
            nodes(&plans[0]).len(),
            why.join("; ")
        )
        .expect("text is written");
    }
    table_is(&taken);
}

/// Why operators of a plan were left.
fn left(plan: &dyn ExecutionPlan) -> Vec<String> {
    let below = plan
        .children()
        .into_iter()
        .flat_map(|child| left(child.as_ref()));
    let mut why: Vec<String> = below.collect();
    why.extend(
        plan.downcast_ref::<LeftExec>()
            .map(|left| left.why().replace('|', "\\|")),
    );
    why
}

/// That the page has this table.
fn table_is(wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/DATAFUSION.md");
    let mut text = fs::read_to_string(&path).expect("the page is readable");
    let start = "<!-- tpch -->\n";
    let from = text.find(start).expect("the page has a place for it") + start.len();
    let to = from
        + text[from..]
            .find("<!-- end of tpch -->")
            .expect("the place has an end");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        text.replace_range(from..to, wanted);
        fs::write(&path, text).expect("the page is writable");
    } else {
        assert!(
            text[from..to] == *wanted,
            "the page's table differs; it would be\n{wanted}"
        );
    }
}
