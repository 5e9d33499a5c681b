//! What plans look like, and what `EXPLAIN` says of them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::stats::Precision;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, StatisticsArgs, StatisticsContext, displayable,
};
use datafusion::prelude::{SessionConfig, SessionContext, col};
use unlade_datafusion::UnladeConfig;

use crate::common::{forced, nodes, plain, rows, run, runtime, table};

fn batch() -> RecordBatch {
    let numbers = Arc::new(Int32Array::from_iter_values(0..500)) as ArrayRef;
    let names = Arc::new(StringArray::from_iter_values(
        (0..500).map(|n| format!("n{n}")),
    )) as ArrayRef;
    RecordBatch::try_from_iter([("a", numbers), ("s", names)]).expect("columns are of one length")
}

fn context() -> SessionContext {
    let context = forced(&runtime("cpu"));
    table(&context, "t", &[batch(), batch()]);
    context
}

async fn explained(context: &SessionContext, sql: &str) -> String {
    let (_, batches) = run(context, sql).await.expect(sql);
    pretty_format_batches(&batches)
        .expect("it is text")
        .to_string()
}

#[tokio::test]
async fn explain_says_what_runs_where_and_what_is_left_and_why() {
    let context = context();
    let taken = explained(
        &context,
        "EXPLAIN FORMAT INDENT SELECT a + 1 AS x FROM t WHERE a > 490 AND s <> 'n1'",
    )
    .await;
    assert!(
        taken.contains("FilterExec: s@1 != n1, projection=[a@0]"),
        "{taken}"
    );
    assert!(
        taken.contains("LeftExec: because of a constant of type Utf8"),
        "{taken}"
    );
    assert!(
        taken.contains("UnladeExec: device=cpu (asked for by name"),
        "{taken}"
    );
    assert!(taken.contains("predicate=a@0 > 490"), "{taken}");
    let tree = explained(
        &context,
        "EXPLAIN FORMAT TREE SELECT a FROM t WHERE a > 490",
    )
    .await;
    assert!(
        tree.contains("UnladeExec") && tree.contains("predicate: a@0 > 490"),
        "{tree}"
    );
    let fused = explained(
        &context,
        "EXPLAIN FORMAT INDENT SELECT a + 1 AS x FROM t WHERE a > 490",
    )
    .await;
    assert!(
        !fused.contains("FilterExec") && !fused.contains("ProjectionExec"),
        "{fused}"
    );
    assert!(
        fused.contains("predicate=a@0 > 490, expr=[CAST(a@0 AS Int64) + 1 as x]"),
        "{fused}"
    );
    let limited = explained(
        &context,
        "EXPLAIN FORMAT INDENT SELECT a FROM t WHERE a > 490 LIMIT 5",
    )
    .await;
    assert!(
        limited.contains("predicate=a@0 > 490, fetch=5"),
        "{limited}"
    );
    let analyzed = explained(&context, "EXPLAIN ANALYZE SELECT a FROM t WHERE a > 490").await;
    for metric in [
        "output_rows=18",
        "batches=10",
        "rows_on_cpu=1.00 K",
        "fallbacks=0",
    ] {
        assert!(analyzed.contains(metric), "{metric}: {analyzed}");
    }
}

#[tokio::test]
async fn modes_are_kept() {
    let context = context();
    let sql = "SELECT a FROM t WHERE a > 490";
    let set = async |text: &str| context.sql(text).await.map(drop);
    set("SET unlade.mode = 'explain'").await.unwrap();
    let shown = explained(&context, &format!("EXPLAIN FORMAT INDENT {sql}")).await;
    assert!(shown.contains("device=would run on cpu"), "{shown}");
    let (plan, _) = run(&context, sql).await.unwrap();
    let metrics = nodes(&plan)[0].metrics().unwrap();
    assert!(metrics.sum_by_name("rows_on_cpu").is_none());
    assert_eq!(metrics.output_rows(), Some(18));

    set("SET unlade.mode = 'require'").await.unwrap();
    run(&context, sql).await.unwrap();
    let error = run(&context, "SELECT a FROM t WHERE s LIKE '%9'")
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("unlade.mode is require, and FilterExec is left"),
        "{error}"
    );

    let error = set("SET unlade.mode = 'maybe'").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("unlade.mode is offload, explain or require"),
        "{error}"
    );
    set("SET unlade.mode = 'offload'").await.unwrap();
    set("SET unlade.device = 'tpu'").await.unwrap();
    let error = run(&context, sql).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no device `tpu`; there is cpu"),
        "{error}"
    );
    set("SET unlade.device = 'auto'").await.unwrap();
    set("SET unlade.enabled = false").await.unwrap();
    let (plan, _) = run(&context, sql).await.unwrap();
    assert!(nodes(&plan).is_empty());
}

#[tokio::test]
async fn too_few_rows_are_left() {
    let context = context();
    context.sql("SET unlade.force = false").await.unwrap();
    let shown = explained(
        &context,
        "EXPLAIN FORMAT INDENT SELECT a FROM t WHERE a > 490",
    )
    .await;
    assert!(
        shown.contains("LeftExec: because of 1000 rows, fewer than unlade.min_rows"),
        "{shown}"
    );
    context.sql("SET unlade.min_rows = 1000").await.unwrap();
    let (plan, _) = run(&context, "SELECT a FROM t WHERE a > 490")
        .await
        .unwrap();
    assert_eq!(nodes(&plan).len(), 1);
}

/// What it keeps is copied once more than where DataFusion evaluates the whole.
#[tokio::test]
async fn the_half_of_a_filter_that_keeps_many_rows_is_left() {
    let context = context();
    let half_of = async |filter: &str| {
        let sql = format!("EXPLAIN FORMAT INDENT SELECT a FROM t WHERE {filter} AND s <> 'n1'");
        explained(&context, &sql).await
    };
    let forced = half_of("a > 490").await;
    assert!(forced.contains("UnladeExec: "), "{forced}");
    context.sql("SET unlade.force = false").await.unwrap();
    context.sql("SET unlade.min_rows = 0").await.unwrap();
    let many = half_of("a > 490").await;
    assert!(
        many.contains(
            "a constant of type Utf8; the rest of it is guessed to keep 33% of the rows, which are \
             copied once more"
        ),
        "{many}"
    );
    assert!(!many.contains("UnladeExec: "), "{many}");
    let few = half_of("a = 490").await;
    assert!(few.contains("UnladeExec: "), "{few}");
}

/// Order, equivalences, partitions and statistics are those of the operators that it stands for.
#[tokio::test]
async fn properties_are_kept() {
    let reference = plain();
    table(&reference, "t", &[batch(), batch()]);
    let context = context();
    for sql in [
        "SELECT a, s FROM t WHERE a > 100 AND a < 200",
        "SELECT a + 1 AS x, a FROM t WHERE a = 7",
        "SELECT a AS y, a + 1 AS x FROM t",
    ] {
        let (plan, _) = run(&context, sql).await.unwrap();
        let (plain, _) = run(&reference, sql).await.unwrap();
        assert_eq!(nodes(&plan).len(), 1, "{sql}");
        assert_eq!(plan.schema(), plain.schema());
        assert_eq!(
            plan.output_partitioning().to_string(),
            plain.output_partitioning().to_string()
        );
        let text =
            |plan: &dyn ExecutionPlan| plan.properties().equivalence_properties().to_string();
        assert_eq!(text(plan.as_ref()), text(plain.as_ref()));
        let rows = |plan: &dyn ExecutionPlan| {
            let found = StatisticsContext::new().compute(plan, &StatisticsArgs::new());
            found.unwrap().num_rows
        };
        assert_eq!(rows(plan.as_ref()), rows(plain.as_ref()));
        assert_ne!(rows(plan.as_ref()), Precision::Absent);
    }
}

#[tokio::test]
async fn what_is_in_order_stays_so_and_is_not_sorted() {
    let (reference, context) = (plain(), context());
    for context in [&reference, &context] {
        let in_order = vec![vec![col("a").sort(true, false)]];
        let table = MemTable::try_new(batch().schema(), vec![vec![batch()]]).unwrap();
        let table = Arc::new(table.with_sort_order(in_order));
        context.register_table("ordered", table).unwrap();
    }
    let sql = "SELECT a + 1 AS x, a, s FROM ordered WHERE a > 100 ORDER BY a";
    let (plan, answer) = run(&context, sql).await.unwrap();
    let (plain, expected) = run(&reference, sql).await.unwrap();
    assert_eq!(rows(&answer), rows(&expected));
    assert_eq!(nodes(&plan).len(), 1);
    let ordering = |plan: &Arc<dyn ExecutionPlan>| {
        let ordering = plan.output_ordering().map(ToString::to_string);
        ordering.expect("the table is in order")
    };
    assert_eq!(ordering(&plan), ordering(&plain));
    assert!(ordering(&nodes(&plan)[0]).contains("a@1"), "{plan:?}");
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    assert!(!shown.contains("SortExec"), "{shown}");
}

/// So they go to other processes, and so they are set there.
#[tokio::test]
async fn options_are_told_by_the_names_that_they_are_set_by() {
    let context = context();
    context.sql("SET unlade.min_rows = 77").await.unwrap();
    let mut other = SessionConfig::new().with_option_extension(UnladeConfig::default());
    let own = context.copied_config();
    let entries = own.options().entries().into_iter();
    let entries: Vec<_> = entries
        .filter(|each| each.key.starts_with("unlade."))
        .collect();
    assert_eq!(entries.len(), 6, "{entries:?}");
    for entry in entries {
        let value = entry.value.expect("each has one");
        other.options_mut().set(&entry.key, &value).unwrap();
    }
    let found = |config: &SessionConfig| config.options().extensions.get::<UnladeConfig>().cloned();
    assert_eq!(found(&other), found(&own));
    assert_eq!(found(&other).unwrap().min_rows, 77);
}
