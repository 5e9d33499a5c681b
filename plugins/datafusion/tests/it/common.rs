//! Sessions with the plugin and without, and tables.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use unlade::{Placement, Runtime};
use unlade_datafusion::{SessionStateBuilderExt, UnladeExec, UnladeRule};

/// Devices that need no hardware.
pub(crate) const DEVICES: [&str; 4] = ["cpu", "sim", "sim-gpu", "sim-dpu"];

/// A runtime whose device of choice is this one, beside the CPU.
pub(crate) fn runtime(device: &str) -> Runtime {
    let names: &[&str] = match device {
        "cpu" => &["cpu"],
        other => &["cpu", other],
    };
    let devices = unlade::open_devices(names).expect("they need no hardware");
    let chosen = devices.last().map(|device| device.info().name.clone());
    let builder = devices
        .into_iter()
        .fold(Runtime::builder(), |builder, device| builder.device(device));
    let placement = Placement::Device(chosen.expect("there is one").into());
    builder
        .placement(placement)
        .pool_reserve(1 << 20)
        .build()
        .expect("it is well configured")
}

/// The name that a runtime knows its device of choice by.
pub(crate) fn chosen(runtime: &Runtime) -> String {
    runtime
        .devices()
        .last()
        .expect("there is one")
        .name
        .to_string()
}

/// A session of plain DataFusion.
pub(crate) fn plain() -> SessionContext {
    SessionContext::new_with_config(config())
}

/// A session that takes whatever it can.
pub(crate) fn forced(runtime: &Runtime) -> SessionContext {
    forced_in(runtime, Arc::default())
}

/// The same, with other memory.
pub(crate) fn forced_in(runtime: &Runtime, environment: Arc<RuntimeEnv>) -> SessionContext {
    forced_with(runtime, config(), environment)
}

/// The same, of a configuration.
pub(crate) fn forced_with(
    runtime: &Runtime,
    config: SessionConfig,
    environment: Arc<RuntimeEnv>,
) -> SessionContext {
    let state = forcing(runtime, config).with_runtime_env(environment);
    SessionContext::new_with_state(state.with_unlade(runtime).build())
}

/// A session that takes what a rule of its own does.
pub(crate) fn forced_by(runtime: &Runtime, rule: UnladeRule) -> SessionContext {
    let state = forcing(runtime, config()).with_physical_optimizer_rule(Arc::new(rule));
    SessionContext::new_with_state(state.build())
}

fn forcing(runtime: &Runtime, config: SessionConfig) -> SessionStateBuilder {
    let config = config
        .with_option_extension(unlade_datafusion::UnladeConfig::default())
        .set_str("unlade.device", &chosen(runtime))
        .set_bool("unlade.force", true);
    SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
}

fn config() -> SessionConfig {
    SessionConfig::new()
        .with_target_partitions(2)
        .with_batch_size(BATCH)
}

/// Rows of a session's batches.
pub(crate) const BATCH: usize = 100;

/// A table of batches, in two partitions.
pub(crate) fn table(context: &SessionContext, name: &str, batches: &[RecordBatch]) {
    let schema: SchemaRef = batches[0].schema();
    let (one, other) = batches.split_at(batches.len() / 2);
    let table = MemTable::try_new(schema, vec![one.to_vec(), other.to_vec()])
        .expect("they are of one schema");
    context
        .register_table(name, Arc::new(table))
        .expect("the name is free");
}

/// A query's plan and its answer.
pub(crate) async fn run(
    context: &SessionContext,
    sql: &str,
) -> Result<(Arc<dyn ExecutionPlan>, Vec<RecordBatch>)> {
    let frame = context.sql(sql).await?;
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    let batches = collect(Arc::clone(&plan), task).await?;
    Ok((plan, batches))
}

/// The plugin's nodes in a plan.
pub(crate) fn nodes(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let mut found: Vec<_> = plan.children().into_iter().flat_map(nodes).collect();
    if plan.is::<UnladeExec>() {
        found.push(Arc::clone(plan));
    }
    found
}

/// What a metric of a plan's nodes of ours says, all partitions together.
pub(crate) fn metric(plan: &Arc<dyn ExecutionPlan>, name: &str) -> usize {
    let values = nodes(plan).into_iter().filter_map(|node| {
        let metrics = node.metrics()?;
        Some(metrics.sum_by_name(name)?.as_usize())
    });
    values.sum()
}

/// Every row as text, in the order of the text.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column, &options).expect("it has a text"))
            .collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let values = columns.iter().map(|column| column.value(row).to_string());
            values.collect::<Vec<_>>().join("|")
        }));
    }
    rows.sort();
    rows
}
