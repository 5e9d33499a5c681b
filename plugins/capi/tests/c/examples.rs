//! The examples, built as their first lines say, but for pkg-config, and run.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{Int32Array, Int64Array, RecordBatch};
use unlade_ingest::{Format, Sink, Target};
use unlade_sim_card::{Config, Profile, Served};

use crate::build::{Mode, build, crate_root, run};

const MODES: [Mode; 2] = [Mode::Plain, Mode::Sanitized];

#[test]
fn filter() {
    let folder = tempfile::tempdir().unwrap();
    for mode in MODES {
        let program = build("examples/filter.c", &[], mode, folder.path());
        let printed = run(&program, &[]);
        let wanted = "bob 10\ncleo 18\n3 rows on cpu: nothing else could run it\n";
        assert_eq!(printed, wanted, "{mode:?}");
    }
}

#[test]
fn parquet_stream() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<String> = (0..3)
        .map(|file| parquet(folder.path(), file).display().to_string())
        .collect();
    let mut words = vec!["a % 3 = 0 and b > 10", "a"];
    words.extend(files.iter().map(String::as_str));
    // The same in Rust, without any of it.
    let kept: Vec<i64> = (0..3 * ROWS)
        .filter(|row| row % 3 == 0 && row * 2 > 10 && row % 7 != 0)
        .collect();
    let wanted = format!(
        "{} of {} rows, together {}\n",
        kept.len(),
        3 * ROWS,
        kept.iter().sum::<i64>()
    );
    for mode in MODES {
        let program = build("examples/parquet_stream.c", &[], mode, folder.path());
        assert_eq!(run(&program, &words), wanted, "{mode:?}");
    }
}

#[test]
fn function() {
    let folder = tempfile::tempdir().unwrap();
    for mode in MODES {
        let program = build("examples/function.c", &[], mode, folder.path());
        let wanted = "35 and 18\n12 and 25\nrow 4: function `gcd` failed: -4 is below zero\n";
        assert_eq!(run(&program, &[]), wanted, "{mode:?}");
    }
}

#[test]
fn asynchronous() {
    let folder = tempfile::tempdir().unwrap();
    for mode in MODES {
        let program = build("examples/async.c", &[], mode, folder.path());
        let wanted = "80 rows by polling\n10 rows by a callback\n";
        assert_eq!(run(&program, &[]), wanted, "{mode:?}");
    }
}

/// What a device lacks the engine does itself, on the memory that it had offered, whose addresses the
/// program compares.
#[test]
fn velox_function() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        profile: Profile::small(),
        ..Config::default()
    };
    let flags = format!(
        "-I{}",
        crate_root().join("examples/velox_stand_in").display()
    );
    for mode in MODES {
        let card = Served::start(config.clone()).unwrap();
        let address = format!("dpu:unix:{}", card.path().display());
        let program = build(
            "examples/velox_function.cpp",
            &[&flags],
            mode,
            folder.path(),
        );
        let printed = run(&program, &[&address]);
        let lines: Vec<&str> = printed.lines().collect();
        let [ours, own] = lines[..] else {
            panic!("{mode:?}: {printed}");
        };
        assert_eq!(ours, "10000 rows by Unlade", "{mode:?}");
        let own = own.strip_prefix("10000 rows by the engine: ").unwrap();
        assert!(own.contains("lacks") && own.contains("div"), "{own}");
    }
}

/// The guide's programs need nothing that they do not show.
#[test]
fn the_guides_programs_build() {
    let guide = std::fs::read_to_string(crate_root().join("../../docs/C.md")).unwrap();
    let shown: Vec<&str> = guide.split("```c\n").skip(1).collect();
    let functions = ["count", "count_pinned"];
    assert_eq!(shown.len(), functions.len());
    let folder = tempfile::tempdir().unwrap();
    for (shown, function) in shown.into_iter().zip(functions) {
        let shown = shown.split("```").next().expect("it has an end");
        let source = folder.path().join(format!("{function}.c"));
        let main = format!("int main(void)\n{{\n    (void){function};\n    return 0;\n}}\n");
        std::fs::write(&source, format!("{shown}\n{main}")).unwrap();
        let program = build(source.to_str().unwrap(), &[], Mode::Plain, folder.path());
        assert_eq!(run(&program, &[]), "");
    }
}

const ROWS: i64 = 100_000;

/// A file of `a`, which counts on from the file before and is null in every seventh row, and `b`,
/// twice that, without nulls.
pub(crate) fn parquet(folder: &Path, file: i64) -> std::path::PathBuf {
    let path = folder.join(format!("{file}.parquet"));
    let rows = file * ROWS..(file + 1) * ROWS;
    let a = rows
        .clone()
        .map(|row| (row % 7 != 0).then_some(row as i32))
        .collect::<Int32Array>();
    let b = Int64Array::from_iter_values(rows.map(|row| row * 2));
    let columns = [("a", Arc::new(a) as _), ("b", Arc::new(b) as _)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let target = Target::File(path.clone());
    let mut sink = Sink::create(target, Format::Parquet, &batch.schema()).unwrap();
    sink.write(&batch).unwrap();
    sink.finish().unwrap();
    path
}
