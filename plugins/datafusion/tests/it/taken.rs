//! The tables in docs/DATAFUSION.md of what is taken of known queries, and why the rest is not.
//! `UPDATE_GOLDEN=1` writes them.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use unlade_datafusion::LeftExec;

use crate::common::nodes;

/// A table of queries.
#[derive(Debug)]
pub(crate) struct Taken(String);

impl Taken {
    pub(crate) fn new() -> Self {
        Taken("| query | nodes | left, because of |\n|---|---|---|\n".to_owned())
    }

    /// A query that ran, by this plan.
    pub(crate) fn ran(&mut self, name: &str, plan: &Arc<dyn ExecutionPlan>) {
        let mut why = left(plan.as_ref());
        why.sort();
        why.dedup();
        self.row(name, &nodes(plan).len().to_string(), &why.join("; "));
    }

    /// A query, the number of its nodes of ours, and why not all of it is.
    pub(crate) fn row(&mut self, name: &str, nodes: &str, why: &str) {
        let why = why.replace('|', "\\|");
        writeln!(self.0, "| {name} | {nodes} | {why} |").expect("text is written");
    }

    /// Checks that the page has this table between its marks, `<!-- MARK -->` and `<!-- end of MARK -->`.
    ///
    /// # Panics
    /// Where it has another.
    pub(crate) fn is_in_the_page(&self, mark: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/DATAFUSION.md");
        let mut text = fs::read_to_string(&path).expect("the page is readable");
        let start = format!("<!-- {mark} -->\n");
        let from = text.find(&start).expect("the page has a place for it") + start.len();
        let to = from
            + text[from..]
                .find(&format!("<!-- end of {mark} -->"))
                .expect("the place has an end");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            text.replace_range(from..to, &self.0);
            fs::write(&path, text).expect("the page is writable");
        } else {
            assert!(
                text[from..to] == self.0,
                "the page's table differs; it would be\n{}",
                self.0
            );
        }
    }
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
            .map(|left| left.why().to_owned()),
    );
    why
}
