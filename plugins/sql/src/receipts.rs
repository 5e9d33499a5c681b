//! What of a plan that was run ran where.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use unlade_datafusion::{LeftExec, UnladeExec};

/// Lines about the nodes that Unlade took and those that it left, topmost first.
pub(crate) fn receipts(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut lines = Vec::new();
    collect(plan, &mut lines);
    if lines.is_empty() {
        lines.push("no filter or projection that computes something: nothing to take".to_owned());
    }
    lines
}

fn collect(plan: &Arc<dyn ExecutionPlan>, lines: &mut Vec<String>) {
    if plan.is::<UnladeExec>() {
        lines.push(
            displayable(plan.as_ref())
                .one_line()
                .to_string()
                .trim_end()
                .to_owned(),
        );
        let metrics = plan.metrics().unwrap_or_default().aggregate_by_name();
        let told = metrics.sorted_for_display();
        let told = told.iter().map(|metric| metric.to_string());
        lines.push(format!("  {}", told.collect::<Vec<_>>().join(", ")));
    }
    if let Some(left) = plan.downcast_ref::<LeftExec>() {
        let operator = plan.children().first().map_or("?", |child| child.name());
        lines.push(format!(
            "{operator}: left to DataFusion because of {}",
            left.why()
        ));
    }
    plan.children()
        .into_iter()
        .for_each(|child| collect(child, lines));
}
