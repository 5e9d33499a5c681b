//! Why an operator was left to DataFusion, where `EXPLAIN` shows it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err, plan_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, StatisticsArgs,
};

use crate::config::Mode;

/// An operator that is left, with a note over it if there are to be any.
///
/// # Errors
/// Where nothing may be left.
pub(crate) fn noted(
    operator: Arc<dyn ExecutionPlan>,
    why: &str,
    mode: Mode,
    notes: bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    tracing::debug!(operator = operator.name(), why, "left to DataFusion");
    if mode == Mode::Require {
        return plan_err!(
            "unlade.mode is require, and {} is left to DataFusion because of {why}",
            operator.name()
        );
    }
    match notes {
        true => Ok(Arc::new(LeftExec::new(operator, why))),
        false => Ok(operator),
    }
}

/// A note over an operator that was left to DataFusion. It hands on the operator's own stream.
#[derive(Debug)]
pub struct LeftExec {
    operator: Arc<dyn ExecutionPlan>,
    why: Arc<str>,
}

impl LeftExec {
    pub(crate) fn new(operator: Arc<dyn ExecutionPlan>, why: impl Into<Arc<str>>) -> Self {
        LeftExec {
            operator,
            why: why.into(),
        }
    }

    /// Why the operator below was left.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl DisplayAs for LeftExec {
    fn fmt_as(&self, form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match form {
            DisplayFormatType::TreeRender => write!(f, "because of {}", self.why),
            _ => write!(f, "LeftExec: because of {}", self.why),
        }
    }
}

impl ExecutionPlan for LeftExec {
    fn name(&self) -> &str {
        "LeftExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.operator.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.operator]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let given = children.len();
        let Ok([operator]) = <[_; 1]>::try_from(children) else {
            return internal_err!("LeftExec has one child, not {given}");
        };
        Ok(Arc::new(LeftExec::new(operator, Arc::clone(&self.why))))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.operator.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match inputs {
            [of_operator] => Ok(Arc::clone(of_operator)),
            _ => internal_err!("LeftExec has one child, not {}", inputs.len()),
        }
    }

    fn fetch(&self) -> Option<usize> {
        self.operator.fetch()
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}
