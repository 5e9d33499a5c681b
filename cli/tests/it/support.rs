//! What the command's tests share: files, and the command itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use unlade_ingest::{Format, Input, Scan, ScanOptions, Sink, Target};

/// A folder of a test's own, and the command run inside it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// What the command did.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of the files there are, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Writes rows `start..start + rows` of the table that the tests query.
    pub(crate) fn table(&self, name: &str, start: i32, rows: i32) -> PathBuf {
        let path = self.path(name);
        let format = Format::from_extension(Path::new(name)).unwrap();
        let batch = numbers(start, rows);
        let target = Target::File(path.clone());
        let mut sink = Sink::create(target, format, &batch.schema()).unwrap();
        sink.write(&batch).unwrap();
        sink.finish().unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unlade"));
        command.args(arguments).current_dir(self.folder.path());
        // Nothing of the machine's own settings may reach the test.
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(
            self.command(arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    }

    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        Ran::of(
            command
                .envs(variables.iter().copied())
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    }

    pub(crate) fn run_fed(&self, input: &[u8], arguments: &[&str]) -> (Ran, Vec<u8>) {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || {
            // The command may rightly stop reading.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        (Ran::of(output.clone()), output.stdout)
    }

    /// All rows of a file.
    pub(crate) fn read(&self, name: &str) -> Vec<RecordBatch> {
        let scan = Scan::open(&[Input::File(self.path(name))], ScanOptions::default()).unwrap();
        let columns: Vec<usize> = (0..scan.schema().fields().len()).collect();
        scan.into_reader(&columns, None)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// That it succeeded; its standard output.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// That it failed with this code and said all of this.
    #[track_caller]
    pub(crate) fn failure(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        for word in words {
            assert!(
                self.err.contains(word),
                "`{word}` is missing in: {}",
                self.err
            );
        }
        self.err
    }
}

/// `n` ascending, `square` of it as a bigint, `even` null where it is odd, a name.
pub(crate) fn numbers(start: i32, rows: i32) -> RecordBatch {
    let range = start..start + rows;
    let n: ArrayRef = Arc::new(Int32Array::from_iter_values(range.clone()));
    let square: ArrayRef = Arc::new(Int64Array::from_iter_values(
        range.clone().map(|n| i64::from(n) * i64::from(n)),
    ));
    let even: ArrayRef = Arc::new(Int32Array::from_iter(
        range.clone().map(|n| (n % 2 == 0).then_some(n)),
    ));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values(
        range.map(|n| format!("number {n}")),
    ));
    RecordBatch::try_from_iter([("n", n), ("square", square), ("even", even), ("Name", name)])
        .unwrap()
}

/// The values of an `Int32` column over all batches.
pub(crate) fn int32(batches: &[RecordBatch], column: &str) -> Vec<Option<i32>> {
    batches
        .iter()
        .flat_map(|batch| {
            let column = batch.column_by_name(column).unwrap();
            column
                .as_any()
                .downcast_ref::<Int32Array>()
                .unwrap()
                .iter()
                .collect::<Vec<_>>()
        })
        .collect()
}
