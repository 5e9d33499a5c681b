//! Filters and projections of many rows: as SQL, and as arrow-rs's kernels in the place of the plugin's
//! node.

use std::fmt;
use std::sync::Arc;

use arrow_arith::boolean::and;
use arrow_arith::numeric::mul;
use arrow_array::{Array, Date32Array, Float64Array, RecordBatch};
use arrow_cast::cast;
use arrow_ord::cmp;
use arrow_schema::{ArrowError, DataType};
use arrow_select::filter::filter;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use unlade_benches::{ROWS, SLICES, Workload, table, workloads};
use unlade_datafusion::UnladeExec;

use crate::tpch_data;

type Kernel = Arc<dyn Fn(&RecordBatch) -> Result<RecordBatch, ArrowError> + Send + Sync>;

/// A query of one filter, and that filter with arrow-rs.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) sql: String,
    /// The columns that its condition reads.
    pub(crate) reads: Vec<&'static str>,
    /// Whether it is one of those that a target is set for.
    pub(crate) has_target: bool,
    data: Data,
    kernel: Kernel,
}

/// What a query is of.
#[derive(Clone, Copy, Debug)]
enum Data {
    Numbers,
    Payload,
    LineItem,
}

/// Rows of a batch, as DataFusion has them.
const BATCH: usize = SLICES[0];

/// The workloads of the other benchmarks, and what TPC-H's sixth query does before it sums up.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![Case {
        name: "q6".to_owned(),
        sql: "SELECT l_extendedprice * l_discount AS revenue FROM lineitem \
              WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01' \
              AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24"
            .to_owned(),
        reads: vec!["l_shipdate", "l_discount", "l_quantity"],
        has_target: true,
        data: Data::LineItem,
        kernel: Arc::new(q6),
    }];
    let workloads = workloads().into_iter().enumerate();
    cases.extend(workloads.map(|(at, workload)| of_workload(workload, at < WITH_TARGETS)));
    cases
}

/// How many of the other benchmarks' workloads, which come first there, targets are set for.
const WITH_TARGETS: usize = 5;

fn of_workload(workload: Workload, has_target: bool) -> Case {
    Case {
        name: workload.name.clone(),
        sql: workload.sql("t"),
        reads: workload.reads.clone(),
        has_target,
        data: match workload.payload {
            true => Data::Payload,
            false => Data::Numbers,
        },
        kernel: Arc::new(move |batch| workload.with_arrow(batch)),
    }
}

/// The days of 1994, from 1970 on.
const YEAR: [i32; 2] = [8766, 9131];

fn q6(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |name: &str| batch.column_by_name(name).expect("the table has it");
    let day = |at: usize| Date32Array::new_scalar(YEAR[at]);
    let number = |value: f64| Float64Array::new_scalar(value);
    let (shipped, discount) = (column("l_shipdate"), column("l_discount"));
    let mut keep = cmp::gt_eq(shipped, &day(0))?;
    for condition in [
        cmp::lt(shipped, &day(1))?,
        cmp::gt_eq(discount, &number(0.05))?,
        cmp::lt_eq(discount, &number(0.07))?,
        cmp::lt(column("l_quantity"), &number(24.0))?,
    ] {
        keep = and(&keep, &condition)?;
    }
    let price = filter(column("l_extendedprice"), &keep)?;
    let revenue = mul(&price, &filter(discount, &keep)?)?;
    RecordBatch::try_from_iter([("revenue", revenue)])
}

impl Case {
    pub(crate) fn table(&self) -> (&'static str, Vec<RecordBatch>) {
        match self.data {
            Data::Numbers => ("t", table::sliced(&table::numbers(ROWS), BATCH)),
            Data::Payload => ("t", table::sliced(&table::payload(ROWS / 5), BATCH)),
            Data::LineItem => ("lineitem", line_items()),
        }
    }

    /// A plan with arrow-rs's kernels where the plugin's node is.
    ///
    /// # Panics
    /// Where that is not there once.
    pub(crate) fn in_the_place_of_ours(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
    ) -> Arc<dyn ExecutionPlan> {
        let mut replaced = 0;
        let put_in = |node: Arc<dyn ExecutionPlan>| -> Result<_> {
            if !node.is::<UnladeExec>() {
                return Ok(Transformed::no(node));
            }
            replaced += 1;
            let peer = ArrowExec {
                properties: Arc::clone(node.properties()),
                input: Arc::clone(node.children()[0]),
                kernel: Arc::clone(&self.kernel),
            };
            Ok(Transformed::yes(coalesced(Arc::new(peer))))
        };
        let plan = Arc::clone(plan).transform_up(put_in);
        let plan = plan.expect("nodes are only replaced").data;
        assert_eq!(replaced, 1, "{}", self.name);
        plan
    }
}

/// Results at the size of a batch, as the plugin's node has them.
#[expect(
    deprecated,
    reason = "operators coalesce themselves since, as the node does"
)]
fn coalesced(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    use datafusion::physical_plan::coalesce_batches::CoalesceBatchesExec;
    Arc::new(CoalesceBatchesExec::new(plan, BATCH))
}

/// TPC-H's table at scale 1, what the query reads of it, with floats for decimals: these are not
/// multiplied yet.
fn line_items() -> Vec<RecordBatch> {
    let made = tpch_data::line_items(1.0);
    let names = ["l_quantity", "l_extendedprice", "l_discount", "l_shipdate"];
    let narrow = made.map(|batch| {
        let columns = names.map(|name| {
            let column = batch.column_by_name(name).expect("the table has it");
            let column = match column.data_type() {
                DataType::Decimal128(..) => cast(column, &DataType::Float64),
                _ => Ok(Arc::clone(column)),
            };
            (name, column.expect("a price is a float, too"))
        });
        RecordBatch::try_from_iter(columns).expect("columns are of one length")
    });
    narrow.collect()
}

/// What the plugin's node does, with arrow-rs's kernels.
struct ArrowExec {
    properties: Arc<PlanProperties>,
    input: Arc<dyn ExecutionPlan>,
    kernel: Kernel,
}

impl fmt::Debug for ArrowExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrowExec")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for ArrowExec {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArrowExec")
    }
}

impl ExecutionPlan for ArrowExec {
    fn name(&self) -> &str {
        "ArrowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("it is put in last")
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("it is put in last")
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (schema, kernel) = (self.schema(), Arc::clone(&self.kernel));
        let of = Arc::clone(&schema);
        let results = self.input.execute(partition, context)?.map(move |batch| {
            let columns = kernel(&batch?)?.columns().to_vec();
            Ok(RecordBatch::try_new(Arc::clone(&of), columns)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, results)))
    }
}
