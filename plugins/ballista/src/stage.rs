//! A task's plan: rewritten when it is to run, and told of when it has.

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::{
    RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport,
};
use ballista_executor::execution_engine::QueryStageExecutor;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::SessionConfig;
use unlade_datafusion::UnladeExec;

use crate::engine::UnladeEngine;
use crate::receipt::{NodeReceipt, TaskReceipt, counters};

/// What Ballista says of a task, beside its plan.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) job: JobId,
    pub(crate) stage: usize,
    pub(crate) task: usize,
    pub(crate) partitions: Vec<usize>,
    pub(crate) work_dir: String,
    pub(crate) session: SessionConfig,
}

/// A task that is to be run by an engine.
#[derive(Debug)]
pub(crate) struct UnladeStage {
    engine: UnladeEngine,
    task: Task,
    /// As it came.
    plan: Arc<dyn ExecutionPlan>,
    made: OnceLock<Made>,
}

/// What is made of a task when it begins.
#[derive(Debug)]
struct Made {
    inner: Arc<dyn QueryStageExecutor>,
    taken: Taken,
}

impl UnladeStage {
    pub(crate) fn new(engine: UnladeEngine, task: Task, plan: Arc<dyn ExecutionPlan>) -> Self {
        UnladeStage {
            engine,
            task,
            plan,
            made: OnceLock::new(),
        }
    }

    /// Rewrites the plan, and hands it on. That compiles kernels and may wait for devices, so that it has
    /// a thread to itself.
    async fn begin(&self) -> Result<&Made> {
        let (rule, plan) = (Arc::clone(&self.engine.rule), Arc::clone(&self.plan));
        let options = self.engine.options(&self.task.session);
        let rewriting = tokio::task::spawn_blocking(move || rule.optimize(plan, &options));
        let rewritten = rewriting.await;
        let plan = rewritten.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        let taken = Taken::of(&plan);
        let inner = self.engine.made(&self.task, plan)?;
        tracing::debug!(
            job = %self.task.job,
            stage = self.task.stage,
            task = self.task.task,
            taken = ?taken.nodes,
            "rewritten"
        );
        Ok(self.made.get_or_init(|| Made { inner, taken }))
    }

    fn tell(&self, made: &Made, completed: bool) {
        let Some(tell) = &self.engine.tell else {
            return;
        };
        tell(&TaskReceipt {
            job: self.task.job.to_string(),
            stage: self.task.stage,
            task: self.task.task,
            completed,
            nodes: made.taken.receipts(&made.inner.collect_plan_metrics()),
        });
    }

    fn inner(&self) -> Option<&dyn QueryStageExecutor> {
        self.made.get().map(|made| &*made.inner)
    }
}

#[async_trait]
impl QueryStageExecutor for UnladeStage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let made = self.begin().await?;
        let written = made.inner.execute_query_stage(task_id, context).await;
        self.tell(made, written.is_ok());
        written
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        let inner = self.inner();
        inner.map_or_else(Vec::new, QueryStageExecutor::collect_plan_metrics)
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        let inner = self.inner();
        inner.map_or_else(Vec::new, QueryStageExecutor::collect_runtime_stats_reports)
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        let inner = self.inner();
        inner.map_or_else(
            || Ok(Vec::new()),
            QueryStageExecutor::collect_window_state_reports,
        )
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        let inner = self.inner();
        inner.map_or_else(Vec::new, QueryStageExecutor::collect_column_stats)
    }
}

impl fmt::Display for UnladeStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner() {
            Some(inner) => fmt::Display::fmt(inner, f),
            None => write!(f, "{}", displayable(self.plan.as_ref()).indent(false)),
        }
    }
}

/// The nodes of ours in a plan, by where their metrics are among those of the whole plan. An engine may
/// make nodes anew, so that those that run are others; their order is the same.
#[derive(Debug, Default)]
struct Taken {
    /// How many nodes of the plan have metrics.
    of: usize,
    nodes: Vec<(usize, NodeReceipt)>,
}

impl Taken {
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut taken = Taken::default();
        taken.walk(plan);
        taken
    }

    /// In the order in which Ballista collects metrics.
    fn walk(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        if let Some(node) = plan.downcast_ref::<UnladeExec>() {
            let shown = displayable(plan.as_ref()).one_line().to_string();
            let receipt = NodeReceipt {
                stands_for: node.replaced().name().to_owned(),
                node: shown.trim_end().to_owned(),
                counters: Default::default(),
            };
            self.nodes.push((self.of, receipt));
        }
        self.of += usize::from(plan.metrics().is_some());
        plan.children()
            .into_iter()
            .for_each(|child| self.walk(child));
    }

    /// What they say, given the metrics of all nodes.
    fn receipts(&self, metrics: &[MetricsSet]) -> Vec<NodeReceipt> {
        if metrics.len() != self.of {
            tracing::warn!(
                "an engine ran a plan of {} nodes with metrics, and was given one of {}: what nodes \
                 of Unlade's counted is not known",
                metrics.len(),
                self.of
            );
        }
        let of_node = |at: usize| metrics.get(at).filter(|_| metrics.len() == self.of);
        let nodes = self.nodes.iter().map(|(at, receipt)| NodeReceipt {
            counters: of_node(*at).map(counters).unwrap_or_default(),
            ..receipt.clone()
        });
        nodes.collect()
    }
}
