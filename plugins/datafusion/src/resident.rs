//! Tables whose columns stay in a device's memory between queries.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, config_datafusion_err, internal_err};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{CreateExternalTable, Expr};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
    StatisticsArgs, collect,
};
use unlade::{Resident, Runtime, TYPICAL_ROWS};

use crate::error::from_runtime;

/// A table that is pinned: filters and projections over it run where its columns lie, and what else
/// reads it has its batches from the host, where they are kept, too.
///
/// In SQL: `CREATE EXTERNAL TABLE ... OPTIONS ('unlade.resident' 'true')`, and `'unlade.on' 'cuda:1'` for
/// another device than the first that has memory of its own.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow_array::{Int32Array, RecordBatch};
/// use datafusion::execution::SessionStateBuilder;
/// use datafusion::prelude::SessionContext;
/// use unlade_datafusion::{ResidentTable, SessionStateBuilderExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = unlade::runtime()?;
/// let state = SessionStateBuilder::new().with_default_features().with_unlade(&runtime);
/// let context = SessionContext::new_with_state(state.build());
///
/// let batch = RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(vec![1, 5, 9])) as _)])?;
/// let table = ResidentTable::pin(&runtime, batch.schema(), &[batch], None)?;
/// context.register_table("t", Arc::new(table))?;
/// assert_eq!(context.sql("SELECT a FROM t WHERE a > 3").await?.count().await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ResidentTable {
    schema: SchemaRef,
    /// Each of one batch, so that results come one after the other.
    pinned: Arc<[Resident]>,
}

impl ResidentTable {
    /// Pins batches of a schema on a device of the runtime, small ones together.
    ///
    /// # Errors
    /// A device that is not there, and batches of another schema.
    pub fn pin(
        runtime: &Runtime,
        schema: SchemaRef,
        batches: &[RecordBatch],
        device: Option<&str>,
    ) -> Result<Self> {
        let pinned = together(&schema, batches)?.into_iter().map(|batch| {
            let pinned = runtime.pin(&[batch], device);
            pinned.map_err(from_runtime)
        });
        Ok(ResidentTable {
            pinned: pinned.collect::<Result<_>>()?,
            schema,
        })
    }
}

/// Batches of so many rows that what is fixed of a device's work hardly counts.
fn together(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let (mut joined, mut open, mut rows) = (Vec::new(), Vec::new(), 0);
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        open.push(batch);
        rows += batch.num_rows();
        if rows as u64 >= TYPICAL_ROWS {
            joined.push(concat_batches(schema, open.drain(..))?);
            rows = 0;
        }
    }
    if !open.is_empty() {
        joined.push(concat_batches(schema, open)?);
    }
    Ok(joined)
}

#[async_trait]
impl TableProvider for ResidentTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // As many partitions as there are to be, so that none of DataFusion's stands between.
        let count = state.config().target_partitions().max(1);
        let mut partitions = vec![Vec::new(); count];
        for (at, resident) in self.pinned.iter().enumerate() {
            partitions[at % count].push(resident.clone());
        }
        let batches = |partition: &Vec<Resident>| -> Vec<RecordBatch> {
            let batches = partition.iter().flat_map(Resident::batches);
            batches.cloned().collect()
        };
        let on_host: Vec<Vec<RecordBatch>> = partitions.iter().map(batches).collect();
        let schema = Arc::clone(&self.schema);
        let scan = MemorySourceConfig::try_new_exec(&on_host, schema, projection.cloned())?;
        Ok(Arc::new(ResidentExec {
            schema: Arc::clone(&self.schema),
            projection: projection.cloned(),
            partitions: partitions.into_iter().map(Arc::from).collect(),
            scan,
        }))
    }
}

/// The scan of a [`ResidentTable`]. What is taken above it runs where the columns lie; else it hands
/// out the batches as the host has them.
#[derive(Debug)]
pub struct ResidentExec {
    /// Of the whole table.
    schema: SchemaRef,
    /// The positions of its columns that are read; all where there is none.
    projection: Option<Vec<usize>>,
    partitions: Arc<[Arc<[Resident]>]>,
    /// The same from the host.
    scan: Arc<dyn ExecutionPlan>,
}

impl ResidentExec {
    /// The schema of the whole table, which kernels read where it lies.
    pub(crate) fn table(&self) -> &SchemaRef {
        &self.schema
    }

    /// The positions in the table of the columns that are read.
    pub(crate) fn projection(&self) -> Option<&[usize]> {
        self.projection.as_deref()
    }

    pub(crate) fn pinned(&self, partition: usize) -> Arc<[Resident]> {
        Arc::clone(&self.partitions[partition])
    }

    /// Where it lies, in words.
    pub(crate) fn place(&self) -> String {
        let all = || {
            self.partitions
                .iter()
                .flat_map(|partition| partition.iter())
        };
        let device = all().find_map(Resident::device);
        let there: usize = all().map(Resident::batches_on_device).sum();
        match device {
            Some(device) => format!("{device}, {there} of {} batches", all().count()),
            None => "the host".to_owned(),
        }
    }
}

impl DisplayAs for ResidentExec {
    fn fmt_as(&self, form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match form {
            DisplayFormatType::TreeRender => write!(f, "on {}", self.place()),
            _ => write!(f, "ResidentExec: on {}", self.place()),
        }
    }
}

impl ExecutionPlan for ResidentExec {
    fn name(&self) -> &str {
        "ResidentExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.scan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("ResidentExec has no child, not {}", children.len()),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("ResidentExec has no child, not {}", children.len()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.scan.execute(partition, context)
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        self.scan.statistics_from_inputs(inputs, args)
    }
}

/// What `CREATE EXTERNAL TABLE` makes, pinned where its options ask for that.
#[derive(Debug)]
pub(crate) struct PinningFactory {
    pub(crate) inner: Arc<dyn TableProviderFactory>,
    pub(crate) runtime: Runtime,
}

/// Options of `CREATE EXTERNAL TABLE`: whether the table is pinned, and on which device.
const RESIDENT: &str = "unlade.resident";
const ON: &str = "unlade.on";

#[async_trait]
impl TableProviderFactory for PinningFactory {
    async fn create(
        &self,
        state: &dyn Session,
        command: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let mut command = command.clone();
        let wanted = command.options.remove(RESIDENT);
        let device = command.options.remove(ON);
        let wanted = match wanted {
            None => false,
            Some(text) => text
                .to_lowercase()
                .parse()
                .map_err(|_| config_datafusion_err!("{RESIDENT} is true or false, not `{text}`"))?,
        };
        if !wanted && let Some(device) = device {
            return Err(config_datafusion_err!(
                "{ON} = `{device}` pins nothing; set {RESIDENT} to true as well"
            ));
        }
        let table = self.inner.create(state, &command).await?;
        if !wanted {
            return Ok(table);
        }
        let plan = table.scan(state, None, &[], None).await?;
        let batches = collect(plan, state.task_ctx()).await?;
        let schema = table.schema();
        let pinned = ResidentTable::pin(&self.runtime, schema, &batches, device.as_deref());
        Ok(Arc::new(pinned?))
    }
}
