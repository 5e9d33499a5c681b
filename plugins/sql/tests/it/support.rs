//! Processes of the command, in a folder with a few tables.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

/// What came of a process.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Rows of `trips.parquet`: `id` counts them, `distance` is half of that, and every third `kind` is
/// `bus`, the others `tram`.
pub(crate) const TRIPS: i64 = 20_000;

/// A folder with `trips.parquet`, `small.csv` and `small.jsonl`.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let ids = || 0..TRIPS;
    let kind = |id: i64| if id % 3 == 0 { "bus" } else { "tram" };
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids()))),
        (
            "distance",
            Arc::new(Float64Array::from_iter_values(
                ids().map(|id| id as f64 / 2.0),
            )),
        ),
        (
            "kind",
            Arc::new(StringArray::from_iter_values(ids().map(kind))),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns are of one length");
    let file = File::create(folder.path().join("trips.parquet")).expect("a file can be made");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("it can be written");
    writer.write(&batch).expect("it can be written");
    writer.close().expect("it can be written");
    let write = |name, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file can be made");
    };
    write("small.csv", "a,b\n1,x\n2,\n3,\"y,z\"\n");
    write("small.jsonl", "{\"a\":1}\n{\"a\":5}\n");
    folder
}

/// The command in a folder, with no history of the user's.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unlade-sql"));
    command
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder)
        .env_remove("UNLADE_LOG")
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// What it ends with.
pub(crate) fn sql(folder: &Path, arguments: &[&str]) -> Ran {
    ran(command(folder, arguments), "")
}

/// The same with something on standard input.
pub(crate) fn ran(mut command: Command, input: &str) -> Ran {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the command can be started");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    // It may have ended already, with an error that the test looks at.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}
