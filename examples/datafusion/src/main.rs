//! A query of DataFusion's with Unlade's plugin: its plan, its rows, and what of it ran where.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::util::pretty::print_batches;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use unlade_datafusion::{SessionStateBuilderExt, UnladeExec};

const QUERY: &str =
    "SELECT id, distance * 1.5 AS fare FROM trips WHERE distance > 49998 ORDER BY id";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The devices that are present. All that the plugin needs of a session is this one line more.
    let runtime = unlade::runtime()?;
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_unlade(&runtime)
        .build();
    let context = SessionContext::new_with_state(state);

    let file = std::env::temp_dir().join(format!("trips-{}.parquet", std::process::id()));
    let path = file
        .to_str()
        .ok_or("the folder for temporary files has no name in text")?;
    write(&context, path).await?;
    context
        .register_parquet("trips", path, ParquetReadOptions::default())
        .await?;

    let frame = context.sql(QUERY).await?;
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    println!("{}", displayable(plan.as_ref()).indent(false));
    print_batches(&collect(Arc::clone(&plan), task).await?)?;
    receipts(&plan);
    std::fs::remove_file(file)?;
    Ok(())
}

/// A hundred thousand trips.
async fn write(context: &SessionContext, path: &str) -> Result<()> {
    let ids = 0..100_000;
    let distances = ids.clone().map(|id| id as f64 / 2.0);
    let batch = RecordBatch::try_from_iter([
        (
            "id",
            Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef,
        ),
        (
            "distance",
            Arc::new(Float64Array::from_iter_values(distances)),
        ),
    ])?;
    let trips = context.read_batch(batch)?;
    let options = DataFrameWriteOptions::new().with_single_file_output(true);
    trips.write_parquet(path, options, None).await?;
    Ok(())
}

/// Prints what the plugin's nodes counted while the plan ran.
fn receipts(plan: &Arc<dyn ExecutionPlan>) {
    if plan.is::<UnladeExec>() {
        let metrics = plan.metrics().unwrap_or_default().aggregate_by_name();
        println!("{}: {metrics}", plan.name());
    }
    plan.children().into_iter().for_each(receipts);
}
