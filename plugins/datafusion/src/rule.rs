//! The physical optimizer rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};
use unlade::{DeviceRequest, Query, Runtime, check};

use crate::compiler::{Compiler, RULES, Wanted};
use crate::config::{Mode, UnladeConfig};
use crate::exec::{UnladeExec, Work};
use crate::expr::Unsupported;
use crate::left::noted;
use crate::shape::{Extent, Shape, halves};
use crate::share::share_kept;

/// Puts an [`UnladeExec`] in the place of filters and projections that are worth it, by the session's
/// [`UnladeConfig`].
///
/// It is to be the last rule, for later ones would not know what the node stands for:
/// `SessionStateBuilder::with_physical_optimizer_rule` puts it there.
#[derive(Debug)]
pub struct UnladeRule {
    runtime: Runtime,
    one_for_one: bool,
    wanted: Wanted,
    /// Whether it was said that filters are evaluated where files are read.
    warned: AtomicBool,
}

impl UnladeRule {
    /// A rule for the devices of a runtime.
    pub fn new(runtime: &Runtime) -> Self {
        UnladeRule {
            runtime: runtime.clone(),
            one_for_one: false,
            wanted: Wanted::default(),
            warned: AtomicBool::new(false),
        }
    }

    /// The same, putting one node in the place of one operator: a projection over a filter becomes two
    /// nodes, a filter is taken as a whole or not at all, and there are no notes. For plans of which
    /// somebody else knows the nodes by their positions.
    pub fn one_for_one(self) -> Self {
        UnladeRule {
            one_for_one: true,
            ..self
        }
    }

    /// The same, asking for devices, or parts of them, for each plan that has something to take, as a
    /// session of the runtime asks for them. Nodes of ours run on what was granted and on the CPU; it is
    /// given back when the last of them is dropped. Where others hold it, the rule waits for it on the
    /// calling thread no longer than `patience`, and then fails with the reason.
    pub fn with_devices(self, requests: Vec<DeviceRequest>, patience: Duration) -> Self {
        UnladeRule {
            wanted: Wanted { requests, patience },
            ..self
        }
    }
}

impl PhysicalOptimizerRule for UnladeRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let default = UnladeConfig::default();
        let options = config.extensions.get::<UnladeConfig>().unwrap_or(&default);
        // Nobody is to wait for devices that the plan has no use for.
        if !options.enabled || !(self.wanted.requests.is_empty() || has_work(&plan)) {
            return Ok(plan);
        }
        let planner = Planner {
            compiler: Compiler::with_devices(&self.runtime, options, &self.wanted)?,
            options,
            one_for_one: self.one_for_one,
            statistics: StatisticsContext::new(),
            _whole: Arc::clone(&plan),
        };
        if config.execution.parquet.pushdown_filters && !has_filter(&plan) {
            self.warn();
        }
        planner.rewrite(plan)
    }

    fn name(&self) -> &str {
        "unlade"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl UnladeRule {
    fn warn(&self) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "datafusion.execution.parquet.pushdown_filters is on: filters over Parquet files \
                 are evaluated where these are read, and none is left for Unlade to take"
            );
        }
    }
}

fn has_filter(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<FilterExec>() || plan.children().into_iter().any(has_filter)
}

fn has_work(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let has_own = Shape::of(plan, Extent::Top).is_some_and(Shape::computes);
    has_own || plan.children().into_iter().any(has_work)
}

/// Has nodes of ours below a sort that keeps the first rows only drop those that cannot be among them
/// any more.
fn follow(sort: &dyn ExecutionPlan, below: &mut [Arc<dyn ExecutionPlan>]) -> Result<()> {
    for filter in sort.dynamic_expressions_produced() {
        for input in below.iter_mut() {
            let node = input.downcast_ref::<UnladeExec>();
            let filtered = node.map(|node| node.filtered_by(&filter)).transpose()?;
            if let Some(filtered) = filtered.flatten() {
                *input = Arc::new(filtered);
            }
        }
    }
    Ok(())
}

/// One plan's rewriting.
struct Planner<'a> {
    compiler: Compiler,
    options: &'a UnladeConfig,
    one_for_one: bool,
    /// Of the plan as it was. It knows nodes by their addresses.
    statistics: StatisticsContext,
    /// Nodes stay where they are as long as there are statistics of them.
    _whole: Arc<dyn ExecutionPlan>,
}

/// The share of rows up to which the half of a filter is worth it: what it keeps is copied once more than
/// where DataFusion evaluates the whole. With this, no query of TPC-H is slower; q12 gains by its half, and
/// q19 and q22 would lose by theirs.
const WORTH_HALVING: f64 = 0.25;

/// Why an operator is left.
enum Left {
    /// It is not in the language.
    Unsupported(Unsupported),
    /// It is too little to be worth it.
    TooFew(usize),
}

impl Planner<'_> {
    /// The plan with everything taken that is to be: the topmost first, as a projection takes the
    /// filter below it along.
    fn rewrite(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let fused = Shape::of(&plan, Extent::Fused).filter(|_| !self.one_for_one);
        if let Some(shape) = fused
            && let Ok(work) = self.take(shape, &plan)
        {
            return self.put_in(plan, Extent::Fused, work);
        }
        let Some(shape) = Shape::of(&plan, Extent::Top).filter(|shape| shape.computes()) else {
            return self.below(plan);
        };
        match self.take(shape, &plan) {
            Ok(work) => self.put_in(plan, Extent::Top, work),
            Err(Left::TooFew(rows)) => {
                let why = format!("{rows} rows, fewer than unlade.min_rows");
                self.leave(plan, &why)
            }
            Err(Left::Unsupported(why)) => match shape.filter.filter(|_| !self.one_for_one) {
                Some(filter) => self.halve(filter, &plan, why),
                None => self.leave(plan, &why.0),
            },
        }
    }

    /// What computes a shape, if it is worth it.
    fn take(&self, shape: Shape<'_>, plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<Work>, Left> {
        // Statistics of a large plan take longer than to see that its language is another.
        let request = shape.request().map_err(Left::Unsupported)?;
        // What lies on a device is worth it from the first row on.
        if shape.resident().is_none()
            && let Some(rows) = self.too_few(shape.input)
        {
            return Err(Left::TooFew(rows));
        }
        let work = self
            .compiler
            .work(&request, &plan.schema(), self.options.mode);
        work.map_err(Left::Unsupported)
    }

    /// The rows of an input that are too few, where they are known.
    fn too_few(&self, input: &Arc<dyn ExecutionPlan>) -> Option<usize> {
        if self.takes_all() {
            return None;
        }
        let statistics = self
            .statistics
            .compute(input.as_ref(), &StatisticsArgs::new());
        let rows = *statistics.ok()?.num_rows.get_value()?;
        (rows < self.options.min_rows).then_some(rows)
    }

    /// The share of rows that the half of a filter keeps, where that is too large for it to be worth it.
    fn too_many(&self, half: Shape<'_>) -> Option<f64> {
        let kept = share_kept(&half.predicate().ok()??);
        (!self.takes_all() && kept > WORTH_HALVING).then_some(kept)
    }

    /// Whether all that can be taken is, however little it is worth.
    fn takes_all(&self) -> bool {
        self.options.force || self.options.mode == Mode::Require
    }

    fn put_in(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        extent: Extent,
        work: Arc<Work>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.below(Arc::new(UnladeExec::new(plan, extent, work)?))
    }

    /// The plan with what is below its top rewritten.
    fn below(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let children = plan.children().into_iter();
        let rewritten = children.map(|child| self.rewrite(Arc::clone(child)));
        let mut rewritten = rewritten.collect::<Result<Vec<_>>>()?;
        if plan.is::<SortExec>() {
            follow(plan.as_ref(), &mut rewritten)?;
        }
        replace_children_if_necessary(plan, rewritten)
    }

    /// A filter of which some conditions can be taken.
    fn halve(
        &self,
        filter: &FilterExec,
        plan: &Arc<dyn ExecutionPlan>,
        why: Unsupported,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(schema) = Shape::of(plan, Extent::Top).map(Shape::input_schema) else {
            return self.leave(Arc::clone(plan), &why.0);
        };
        let accept = |condition: &unlade::Expr| {
            let checked = check(&Query::mask(condition.clone()), &schema, &RULES);
            checked
                .map(drop)
                .map_err(|error| Unsupported(error.to_string()))
        };
        let Some(halves) = halves(filter, accept)? else {
            return self.leave(Arc::clone(plan), &why.0);
        };
        let Some(shape) = Shape::of(&halves.taken, Extent::Top) else {
            return self.leave(Arc::clone(plan), &why.0);
        };
        if let Some(kept) = self.too_many(shape) {
            let percent = 100.0 * kept;
            let why = format!(
                "{why}; the rest of it is guessed to keep {percent:.0}% of the rows, which are copied \
                 once more"
            );
            return self.leave(Arc::clone(plan), &why);
        }
        let Ok(work) = self.take(shape, &halves.taken) else {
            return self.leave(Arc::clone(plan), &why.0);
        };
        let below = self.put_in(halves.taken, Extent::Top, work)?;
        let above = replace_children_if_necessary(Arc::new(halves.left), vec![below])?;
        let why: Vec<String> = halves.why.into_iter().map(|why| why.0).collect();
        self.noted(above, &why.join("; "))
    }

    fn leave(&self, plan: Arc<dyn ExecutionPlan>, why: &str) -> Result<Arc<dyn ExecutionPlan>> {
        self.noted(self.below(plan)?, why)
    }

    fn noted(&self, plan: Arc<dyn ExecutionPlan>, why: &str) -> Result<Arc<dyn ExecutionPlan>> {
        let notes = self.options.notes && !self.one_for_one;
        noted(plan, why, self.options.mode, notes)
    }
}
