//! Tables that stay on a device: answers are the same, and nothing of them is sent again.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use unlade_datafusion::ResidentTable;

use crate::answers::all;
use crate::common::{DEVICES, chosen, forced, metric, nodes, plain, rows, run, runtime, table};
use crate::tables::mixed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_over_pinned_tables_are_those_of_plain_datafusion() {
    let batches = mixed();
    let reference = plain();
    table(&reference, "t", &batches);
    for device in DEVICES {
        let runtime = runtime(device);
        let context = forced(&runtime);
        let pinned = ResidentTable::pin(
            &runtime,
            batches[0].schema(),
            &batches,
            Some(&chosen(&runtime)),
        );
        context
            .register_table("t", Arc::new(pinned.unwrap()))
            .unwrap();
        let rows_on = format!("rows_on_{}", chosen(&runtime));
        for (sql, is_taken) in all() {
            let (_, expected) = run(&reference, sql).await.expect(sql);
            let (plan, answer) = run(&context, sql)
                .await
                .unwrap_or_else(|error| panic!("{device}: {sql}: {error}"));
            assert_eq!(rows(&answer), rows(&expected), "{device}: {sql}");
            if is_taken {
                assert!(metric(&plan, &rows_on) > 0, "{device}: {sql}");
            }
        }
    }
}

/// Rows of the table whose bytes are counted: of whole words of masks.
const ROWS: usize = 64 * 64;

#[tokio::test]
async fn of_a_pinned_table_only_results_and_parameters_are_moved() {
    let runtime = runtime("sim-gpu");
    let context = forced(&runtime);
    let a: ArrayRef = Arc::new(Int32Array::from_iter_values(0..ROWS as i32));
    let b: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
    let batch = RecordBatch::try_from_iter([("a", a), ("b", b)]).unwrap();
    let device = chosen(&runtime);
    let pinned = ResidentTable::pin(
        &runtime,
        batch.schema(),
        std::slice::from_ref(&batch),
        Some(&device),
    );
    context
        .register_table("pinned", Arc::new(pinned.unwrap()))
        .unwrap();
    table(&context, "sent", &[batch.clone(), batch]);
    // What literals are goes with the launch, and is nothing that is copied.
    for (sql, result) in [
        ("SELECT a + 1 AS x FROM pinned", ROWS * 8),
        ("SELECT a, b FROM pinned WHERE a < 100", 100 * 12),
        (
            "SELECT b * 2 AS y FROM pinned WHERE a < 100 AND b > 49",
            50 * 8,
        ),
    ] {
        for _ in 0..2 {
            let (plan, answer) = run(&context, sql).await.unwrap();
            assert_eq!(nodes(&plan)[0].children()[0].name(), "ResidentExec");
            let moved = ["bytes_to_device", "bytes_from_device"].map(|name| metric(&plan, name));
            assert_eq!(moved, [0, result], "{sql}");
            let values = |batch: &RecordBatch| -> usize {
                let columns = batch.columns().iter();
                let width = columns.filter_map(|column| column.data_type().primitive_width());
                batch.num_rows() * width.sum::<usize>()
            };
            assert_eq!(answer.iter().map(values).sum::<usize>(), result, "{sql}");
            assert_eq!(metric(&plan, "fallbacks"), 0, "{sql}");
        }
    }
    let (plan, _) = run(&context, "SELECT a + 1 AS x FROM sent").await.unwrap();
    assert!(
        metric(&plan, "bytes_to_device") >= 2 * ROWS * 4,
        "what is not pinned is sent"
    );
}

#[tokio::test]
async fn a_table_that_is_made_in_sql_lies_on_the_device_that_it_names() {
    let runtime = runtime("sim-gpu");
    let context = forced(&runtime);
    let folder = std::env::temp_dir().join(format!("unlade-resident-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("t.csv");
    std::fs::write(&file, "a,b\n1,10\n5,50\n9,90\n").unwrap();
    let create = |name: &str, options: &str| {
        let file = file.display();
        format!(
            "CREATE EXTERNAL TABLE {name} (a INT, b BIGINT) STORED AS CSV LOCATION '{file}' \
             OPTIONS ('format.has_header' 'true'{options})"
        )
    };
    let device = chosen(&runtime);
    let on_device = format!(", 'unlade.resident' 'true', 'unlade.on' '{device}'");
    for sql in [create("pinned", &on_device), create("read", "")] {
        context.sql(&sql).await.unwrap();
    }
    for (table, scan) in [("pinned", true), ("read", false)] {
        let sql = format!("SELECT b FROM {table} WHERE a > 3");
        let (plan, answer) = run(&context, &sql).await.unwrap();
        assert_eq!(answer.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
        let below = format!("{:?}", nodes(&plan)[0].children()[0]);
        assert_eq!(below.starts_with("ResidentExec"), scan, "{below}");
    }
    for (options, words) in [
        (
            ", 'unlade.resident' 'maybe'",
            "unlade.resident is true or false",
        ),
        (
            ", 'unlade.resident' 'true', 'unlade.on' 'tpu'",
            "there is no device `tpu`",
        ),
        (
            ", 'unlade.on' 'cpu'",
            "unlade.on = `cpu` pins nothing; set unlade.resident",
        ),
    ] {
        let error = context.sql(&create("no", options)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
