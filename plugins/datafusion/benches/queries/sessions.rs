//! Sessions of one partition, with the plugin and without.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use arrow_select::concat::concat_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use unlade::Runtime;
use unlade_datafusion::{SessionStateBuilderExt, UnladeConfig};

/// What the plugin takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// All that it can.
    Forced,
    /// What it holds to be worth it.
    AsItSeesFit,
}

/// DataFusion alone.
pub(crate) fn plain() -> SessionContext {
    SessionContext::new_with_config(config())
}

/// DataFusion with the plugin, on the CPU.
pub(crate) fn with_plugin(way: Way) -> SessionContext {
    let cpu = unlade::open_devices(&["cpu"]).expect("the CPU is there");
    let runtime = cpu
        .into_iter()
        .fold(Runtime::builder(), |builder, device| builder.device(device));
    let runtime = runtime.build().expect("it is well configured");
    let config = config()
        .with_option_extension(UnladeConfig::default())
        .set_bool("unlade.force", way == Way::Forced);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_unlade(&runtime);
    SessionContext::new_with_state(state.build())
}

fn config() -> SessionConfig {
    SessionConfig::new().with_target_partitions(1)
}

/// Makes batches tables.
pub(crate) fn register(context: &SessionContext, tables: &[(&'static str, Vec<RecordBatch>)]) {
    for (name, batches) in tables {
        let table = MemTable::try_new(batches[0].schema(), vec![batches.clone()]);
        let table = Arc::new(table.expect("they are of one schema"));
        context
            .register_table(*name, table)
            .expect("the name is free");
    }
}

pub(crate) async fn planned(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    let frame = context.sql(sql).await.expect(sql);
    frame.create_physical_plan().await.expect(sql)
}

/// What a plan answers.
pub(crate) async fn run(
    plan: &Arc<dyn ExecutionPlan>,
    context: &SessionContext,
) -> Vec<RecordBatch> {
    let batches = collect(Arc::clone(plan), context.task_ctx()).await;
    batches.expect("the query has an answer")
}

/// Batches as one.
pub(crate) fn whole(batches: &[RecordBatch]) -> RecordBatch {
    let schema = batches.first().map(RecordBatch::schema);
    let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
    concat_batches(&schema, batches).expect("they are of one schema")
}
