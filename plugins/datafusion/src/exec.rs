//! The node of a plan that runs on Unlade's devices.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, StatisticsArgs, apply_expression_roots,
};
use unlade::{Kernel, TYPICAL_ROWS};
use unlade_wire::KernelRequest;

use crate::compiler::Compiler;
use crate::config::Mode;
use crate::cut::{CutAt, cut};
use crate::expr::Unsupported;
use crate::latest::Latest;
use crate::meters::Meters;
use crate::shape::{Extent, Shape, with_input};
use crate::stream::{Batches, computed, where_it_lies};

/// A filter, a projection, or a projection over a filter, run by a kernel.
///
/// It keeps the operators that it stands for, over its own input: schema, order, equivalences,
/// partitioning and statistics are theirs.
#[derive(Debug)]
pub struct UnladeExec {
    /// What it stands for.
    replaced: Arc<dyn ExecutionPlan>,
    extent: Extent,
    input: Arc<dyn ExecutionPlan>,
    work: Arc<Work>,
    metrics: ExecutionPlanMetricsSet,
}

/// What is computed, and how: the same over whatever input of the schema.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) kernel: Kernel,
    pub(crate) mode: Mode,
    compiler: Compiler,
}

impl Work {
    pub(crate) fn new(kernel: Kernel, mode: Mode, compiler: Compiler) -> Self {
        Work {
            kernel,
            mode,
            compiler,
        }
    }

    /// Whether it may run on a device behind a queue.
    pub(crate) fn may_queue(&self) -> bool {
        self.compiler.may_queue
    }

    /// The kernel of another request, whose results are to be of a schema's types.
    ///
    /// # Errors
    /// What no device of the session runs.
    pub(crate) fn renewed(
        &self,
        request: &KernelRequest,
        results: &Schema,
    ) -> Result<Kernel, Unsupported> {
        self.compiler.kernel(request, results)
    }

    /// What runs where, in words.
    fn on(&self) -> String {
        let explain = self.kernel.explain();
        let parts = explain.parts.iter();
        let on: Vec<String> = parts
            .map(|part| {
                let candidates = explain.candidates.iter();
                let own = candidates.filter(|each| each.device == part.device);
                let cost = own.flat_map(|own| {
                    let total = own.cost.last()?;
                    let micros = total.nanos as f64 / 1e3;
                    Some(format!(
                        ", {micros:.0} µs ({}) for {TYPICAL_ROWS} rows",
                        own.clock
                    ))
                });
                let cost: String = cost.collect();
                format!("{} ({}{cost})", part.device, part.reason)
            })
            .collect();
        on.join(" and ")
    }
}

impl UnladeExec {
    /// What `replaced` is at its top, as far as `extent` says, computed by a kernel.
    pub(crate) fn new(
        replaced: Arc<dyn ExecutionPlan>,
        extent: Extent,
        work: Arc<Work>,
    ) -> Result<Self> {
        let Some(shape) = Shape::of(&replaced, extent) else {
            return internal_err!("{} is neither a filter nor a projection", replaced.name());
        };
        // Of a table that lies on a device the kernel reads all columns, of a scan of the host those scanned.
        let (reads, given) = (work.kernel.input_schema(), shape.input_schema());
        let types = |schema: &Schema| -> Vec<DataType> {
            let fields = schema.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        if types(reads) != types(&given) {
            return internal_err!("UnladeExec reads {reads}, and was given {given}");
        }
        let input = Arc::clone(shape.input);
        Ok(UnladeExec {
            replaced,
            extent,
            input,
            work,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// What it is computed by.
    pub fn kernel(&self) -> &Kernel {
        &self.work.kernel
    }

    /// The operators that it stands for.
    pub fn replaced(&self) -> &Arc<dyn ExecutionPlan> {
        &self.replaced
    }

    /// The same with a condition on what comes out, which others change while it runs; `None` where it
    /// filters nothing, or by such a condition already. `condition` is by the columns of the output.
    pub(crate) fn filtered_by(&self, condition: &Arc<dyn PhysicalExpr>) -> Result<Option<Self>> {
        let Some(replaced) = self.shape().filtered_by(condition)? else {
            return Ok(None);
        };
        let work = Arc::clone(&self.work);
        UnladeExec::new(replaced, self.extent, work).map(Some)
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    pub(crate) fn mode(&self) -> Mode {
        self.work.mode
    }

    pub(crate) fn shape(&self) -> Shape<'_> {
        Shape::of(&self.replaced, self.extent).expect("it was found when the node was made")
    }
}

impl DisplayAs for UnladeExec {
    fn fmt_as(&self, form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape {
            projection, filter, ..
        } = self.shape();
        let tree = form == DisplayFormatType::TreeRender;
        let would = match self.work.mode {
            Mode::Explain => "would run on ",
            Mode::Offload | Mode::Require => "",
        };
        match tree {
            true => writeln!(f, "device={would}{}", self.work.on())?,
            false => write!(f, "UnladeExec: device={would}{}", self.work.on())?,
        }
        if let Some(filter) = filter {
            part(f, tree, &format!("predicate={}", filter.predicate()))?;
            if let (None, Some(kept)) = (projection, filter.projection()) {
                let schema = filter.input().schema();
                let shown = kept
                    .iter()
                    .map(|at| format!("{}@{at}", schema.field(*at).name()));
                let shown: Vec<String> = shown.collect();
                part(f, tree, &format!("projection=[{}]", shown.join(", ")))?;
            }
        }
        if let Some(projection) = projection {
            let shown = projection.expr().iter().map(|each| {
                let text = each.expr.to_string();
                match text == each.alias {
                    true => text,
                    false => format!("{text} as {}", each.alias),
                }
            });
            let shown: Vec<String> = shown.collect();
            part(f, tree, &format!("expr=[{}]", shown.join(", ")))?;
        }
        match self.fetch() {
            Some(fetch) => part(f, tree, &format!("fetch={fetch}")),
            None => Ok(()),
        }
    }
}

fn part(f: &mut fmt::Formatter<'_>, tree: bool, text: &str) -> fmt::Result {
    match tree {
        true => writeln!(f, "{text}"),
        false => write!(f, ", {text}"),
    }
}

impl ExecutionPlan for UnladeExec {
    fn name(&self) -> &str {
        "UnladeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.replaced.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let Shape {
            projection, filter, ..
        } = self.shape();
        let predicate = filter.map(|filter| filter.predicate());
        let columns = projection.iter().flat_map(|each| each.expr());
        apply_expression_roots(
            predicate.into_iter().chain(columns.map(|each| &each.expr)),
            f,
        )
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        self.replaced.benefits_from_input_partitioning()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let given = children.len();
        let Ok([input]) = <[_; 1]>::try_from(children) else {
            return internal_err!("UnladeExec has one child, not {given}");
        };
        let replaced = with_input(&self.replaced, self.extent, input, options)?;
        let work = Arc::clone(&self.work);
        Ok(Arc::new(UnladeExec::new(replaced, self.extent, work)?))
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
        if self.work.mode == Mode::Explain {
            return self.replaced.execute(partition, context);
        }
        let meters = Meters::new(&self.metrics, partition);
        let filter = self.shape().filter;
        let cut_at = filter.map(|filter| CutAt {
            rows: filter.batch_size(),
            fetch: filter.fetch(),
        });
        if let Some(resident) = self.shape().resident() {
            let pinned = resident.pinned(partition);
            let work = Arc::clone(&self.work);
            let results = where_it_lies(pinned, work, self.schema(), meters.clone());
            return Ok(cut(results, self.schema(), cut_at, meters));
        }
        let consumer = MemoryConsumer::new(format!("UnladeExec[{partition}]"));
        let reservation = consumer.register(context.memory_pool());
        let batches = Batches {
            work: Arc::clone(&self.work),
            kernel: Latest::of(&self.work, &self.replaced, self.extent, &meters),
            input: self.input.execute(partition, context)?,
            schema: self.schema(),
            meters: meters.clone(),
            reservation,
        };
        Ok(cut(computed(batches), self.schema(), cut_at, meters))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        match self.work.mode {
            Mode::Explain => self.replaced.metrics(),
            Mode::Offload | Mode::Require => Some(self.metrics.clone_inner()),
        }
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let Shape {
            projection, filter, ..
        } = self.shape();
        let filtered = filter.map(|filter| filter.statistics_from_inputs(inputs, args));
        match (filtered.transpose()?, projection) {
            (Some(filtered), Some(projection)) => {
                projection.statistics_from_inputs(&[filtered], args)
            }
            (Some(filtered), None) => Ok(filtered),
            (None, _) => self.replaced.statistics_from_inputs(inputs, args),
        }
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        // Whoever changes a condition begins anew, with another one.
        let fixed = self.shape().without_changing()?;
        let replaced = fixed.unwrap_or_else(|| Arc::clone(&self.replaced));
        let work = Arc::clone(&self.work);
        Ok(Arc::new(UnladeExec::new(replaced, self.extent, work)?))
    }

    fn fetch(&self) -> Option<usize> {
        self.shape().filter.and_then(ExecutionPlan::fetch)
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        match self.shape().filter {
            Some(_) => CardinalityEffect::LowerEqual,
            None => CardinalityEffect::Equal,
        }
    }
}
