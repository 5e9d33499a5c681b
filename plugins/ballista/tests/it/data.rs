//! A folder with tables in Parquet files, and rows as text.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

/// Rows of `trips`, in [`FILES`] files: `id` counts them, `distance` is half of that, and every third
/// `kind` is `bus`, the others `tram`.
pub(crate) const TRIPS: i64 = 20_000;

/// How many files, each a partition of the table.
const FILES: i64 = 4;

/// Rows of `stops`, in one file: `stop` counts them, `trip` is its square.
const STOPS: i64 = 140;

pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    std::fs::create_dir(folder.path().join("trips")).expect("a folder can be made");
    let each = TRIPS / FILES;
    for file in 0..FILES {
        let ids = || file * each..(file + 1) * each;
        let kind = |id: i64| if id % 3 == 0 { "bus" } else { "tram" };
        let distances = ids().map(|id| id as f64 / 2.0);
        let path = folder.path().join(format!("trips/{file}.parquet"));
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids()))),
            (
                "distance",
                Arc::new(Float64Array::from_iter_values(distances)),
            ),
            (
                "kind",
                Arc::new(StringArray::from_iter_values(ids().map(kind))),
            ),
        ];
        write(&path, columns);
    }
    let squares = (0..STOPS).map(|stop| stop * stop);
    let columns: [(&str, ArrayRef); 2] = [
        ("stop", Arc::new(Int64Array::from_iter_values(0..STOPS))),
        ("trip", Arc::new(Int64Array::from_iter_values(squares))),
    ];
    write(&folder.path().join("stops.parquet"), columns);
    folder
}

fn write<const N: usize>(path: &Path, columns: [(&str, ArrayRef); N]) {
    let batch = RecordBatch::try_from_iter(columns).expect("columns are of one length");
    let file = File::create(path).expect("a file can be made");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("it can be written");
    writer.write(&batch).expect("it can be written");
    writer.close().expect("it can be written");
}

/// Makes the folder's tables known.
pub(crate) async fn tables(context: &SessionContext, folder: &Path) {
    for (name, file) in [("trips", "trips"), ("stops", "stops.parquet")] {
        let path = folder.join(file);
        let path = path.to_str().expect("its name is text");
        let registered = context.register_parquet(name, path, ParquetReadOptions::default());
        registered.await.expect("the files are there");
    }
}

/// A result, a line for each row; in the order of the text where the query gives none.
pub(crate) fn lines(batches: &[RecordBatch], sql: &str) -> Vec<String> {
    let text = pretty_format_batches(batches).expect("it can be shown");
    let mut lines: Vec<String> = text.to_string().lines().map(str::to_owned).collect();
    if !sql.contains("ORDER BY") {
        lines.sort();
    }
    lines
}
