//! `unlade run`: what goes in comes out filtered and projected, and nothing is half-written.

use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;

use arrow_array::{RecordBatch, TimestampMillisecondArray};

use crate::support::{Place, Ran, int32, numbers};
use unlade_ingest::{Format, Sink, Target};

#[test]
fn filters_and_projects_to_every_format() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    for out in ["out.parquet", "out.arrow", "out.arrows"] {
        let ran = place.run(&[
            "run",
            "in.parquet",
            "--where",
            "n >= 10 and even is not null",
            "--select",
            "n, square + 1 as more, \"Name\"",
            "-o",
            out,
        ]);
        ran.success();
        let batches = place.read(out);
        let expected: Vec<Option<i32>> = (10..1000).filter(|n| n % 2 == 0).map(Some).collect();
        assert_eq!(int32(&batches, "n"), expected, "{out}");
        let names: Vec<String> = batches[0]
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        assert_eq!(names, ["n", "more", "Name"]);
    }
    let csv = place
        .run(&["run", "in.parquet", "--where", "n < 2", "--format", "csv"])
        .success();
    assert_eq!(csv, "n,square,even,Name\n0,0,0,number 0\n1,1,,number 1\n");
}

#[test]
fn shows_a_table_and_says_how_much_more_there_is() {
    let place = Place::new();
    place.table("in.arrow", 0, 1000);
    let ran = place.run(&["run", "in.arrow", "--select", "n"]);
    assert!(ran.err.contains("960 more rows"), "{}", ran.err);
    assert!(ran.err.contains("kept 1,000 of 1,000 rows"), "{}", ran.err);
    let out = ran.success();
    assert!(out.contains("| 39 |") && !out.contains("| 40 |"), "{out}");
    let quiet = place.run(&["-q", "run", "in.arrow", "--select", "n", "--limit", "3"]);
    assert_eq!(quiet.err, "");
    assert_eq!(quiet.success().lines().count(), 7);
}

#[test]
fn inputs_keep_their_order_and_patterns_are_sorted() {
    let place = Place::new();
    place.table("part-2.parquet", 200, 100);
    place.table("part-1.parquet", 100, 100);
    place.table("first.arrow", 0, 100);
    for threads in ["1", "2", "7"] {
        place
            .run(&[
                "run",
                "first.arrow",
                "part-*.parquet",
                "-o",
                "out.arrow",
                "--threads",
                threads,
                "--batch-rows",
                "33",
            ])
            .success();
        let expected: Vec<Option<i32>> = (0..300).map(Some).collect();
        assert_eq!(int32(&place.read("out.arrow"), "n"), expected);
    }
    place
        .run(&["run", "none-*.parquet"])
        .failure(3, &["no file matches `none-*.parquet`"]);
    place
        .run(&["run", "absent.parquet"])
        .failure(3, &["absent.parquet", "open"]);
}

#[test]
fn what_is_no_file_is_told_what_to_write() {
    let place = Place::new();
    std::fs::create_dir(place.path("hive")).unwrap();
    place.table("hive/part.parquet", 0, 10);
    for folder in ["hive", "hive/"] {
        let ran = place.run(&["run", folder]);
        ran.failure(
            3,
            &["is a folder", "'hive/*.parquet'", "'hive/**/*.parquet'"],
        );
    }
    for pattern in ["hive/*.parquet", "**/*.parquet"] {
        place.run(&["run", pattern]).success();
    }
    for address in ["s3://bucket/*.parquet", "https://host/a.parquet?b=c"] {
        let ran = place.run(&["run", address]);
        ran.failure(3, &[address, "only files of this machine"]);
    }
    for limit in ["-1", "many"] {
        let ran = place.run(&["run", "hive/part.parquet", "--limit", limit]);
        ran.failure(2, &["--limit", limit, "a number of rows, 0 or more"]);
    }
}

#[test]
fn limit_stops_early() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    place
        .run(&[
            "run",
            "in.parquet",
            "--limit",
            "17",
            "--batch-rows",
            "10",
            "-o",
            "out.parquet",
        ])
        .success();
    assert_eq!(int32(&place.read("out.parquet"), "n").len(), 17);
    place
        .run(&["run", "in.parquet", "--limit", "0", "-o", "none.parquet"])
        .success();
    assert_eq!(int32(&place.read("none.parquet"), "n").len(), 0);
}

#[test]
fn standard_input_and_output() {
    let place = Place::new();
    for name in ["in.arrows", "in.arrow", "in.parquet"] {
        let bytes = std::fs::read(place.table(name, 0, 500)).unwrap();
        let (ran, out) = place.run_fed(&bytes, &["run", "-", "--where", "n >= 490", "-o", "-"]);
        ran.success();
        std::fs::write(place.path("piped.arrows"), out).unwrap();
        let expected: Vec<Option<i32>> = (490..500).map(Some).collect();
        assert_eq!(int32(&place.read("piped.arrows"), "n"), expected, "{name}");
    }
    let (ran, _) = place.run_fed(b"a,b\n1,2\n", &["run", "-"]);
    ran.failure(3, &["standard input", "neither Parquet nor Arrow"]);
}

#[test]
fn the_memory_given_bounds_what_is_read_at_once() {
    let place = Place::new();
    let texts = arrow_array::StringArray::from_iter_values((0..500).map(|_| "x".repeat(20_000)));
    let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as _)]).unwrap();
    for (name, format) in [
        ("in.parquet", Format::Parquet),
        ("in.arrow", Format::ArrowFile),
    ] {
        let target = Target::File(place.path(name));
        let mut sink = Sink::create(target, format, &batch.schema()).unwrap();
        sink.write(&batch).unwrap();
        sink.finish().unwrap();
        let largest = |more: &[&str]| {
            let words = ["run", name, "-o", "out.arrows", "--receipts", "r.json"];
            place.run(&[&words[..], more].concat()).success();
            let text = std::fs::read_to_string(place.path("r.json")).unwrap();
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            let receipts = document["receipts"].as_array().unwrap();
            let sizes = receipts
                .iter()
                .map(|receipt| receipt["bytes_in"].as_u64().unwrap());
            sizes.max().unwrap()
        };
        assert!(largest(&[]) > 10_000_000, "{name}: one batch");
        let bounded = largest(&["--memory", "1MB"]);
        assert!(bounded < 200_000, "{name}: a batch of {bounded} bytes");
        let read = place.read("out.arrows");
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 500);
    }
}

#[test]
fn many_threads_make_do_with_little_memory() {
    let place = Place::new();
    place.table("in.arrow", 0, 40_000);
    let columns: Vec<String> = (0..24).map(|k| format!("square + {k} as c{k}")).collect();
    let columns = format!("{}, n, even, name", columns.join(", "));
    let query = [
        "run",
        "in.arrow",
        "--where",
        "n % 5 < 3",
        "--select",
        &columns,
    ];
    let written = |out: &str, threads: &str, memory: &str| {
        let more = ["-o", out, "--threads", threads, "--memory", memory];
        place.run(&[&query[..], &more].concat()).success();
        std::fs::read(place.path(out)).unwrap()
    };
    let expected = written("a.csv", "1", "1GB");
    for memory in ["1MB", "8MB"] {
        for _ in 0..3 {
            assert_eq!(written("b.csv", "64", memory), expected, "{memory}");
        }
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    place.table("in.parquet", 0, 300_000);
    let mut command = place.command(&["run", "in.parquet", "--format", "csv"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_mapped_file_that_shrinks_is_an_error_and_no_crash() {
    let place = Place::new();
    let path = place.table("a.arrow", 0, 400_000);
    let arguments = ["run", "a.arrow", "--mmap", "-o", "-", "--format", "csv"];
    let mut child = place
        .command(&arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once something has come, the command waits for the full pipe to be read.
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 10]).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(1000).unwrap();
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("a.arrow"), "{message}");
    assert!(message.contains("while it was mapped"), "{message}");
}

#[test]
fn limits_of_the_shell_are_kept_to_or_said() {
    let place = Place::new();
    place.table("in.parquet", 0, 100_000);
    let limited = |limit: &str, more: &[&str]| {
        let mut words = vec!["run", "in.parquet", "-o", "out.arrow"];
        words.extend(more);
        let unlade = place.command(&[]);
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")])
            .arg(unlade.get_program())
            .args(words)
            .current_dir(place.path(""))
            .env_clear()
            .stdin(Stdio::null());
        Ran::of(shell.output().unwrap())
    };
    // In KiB, and in blocks of 512 bytes or 1 KiB: less than what is reserved otherwise.
    for limit in ["-v 300000", "-f 50000"] {
        limited(limit, &[]).success();
        assert_eq!(int32(&place.read("out.arrow"), "n").len(), 100_000);
        let ran = limited(limit, &["-v", "--memory", "8GB"]);
        assert!(ran.err.contains("are reserved rather than"), "{}", ran.err);
        ran.success();
    }
    std::fs::remove_file(place.path("out.arrow")).unwrap();
    limited("-f 100", &[]).failure(3, &["out.arrow", "write", "`ulimit -f`"]);
    assert_eq!(place.files(), ["in.parquet"]);
}

#[test]
fn a_full_disk_is_an_error() {
    let place = Place::new();
    place.table("in.parquet", 0, 300_000);
    place
        .run(&["run", "in.parquet", "-o", "/dev/full", "--format", "arrows"])
        .failure(3, &["/dev/full", "write"]);
}

#[test]
fn an_error_of_the_data_names_file_row_and_value_and_leaves_no_file() {
    let place = Place::new();
    place.table("good.parquet", 0, 100);
    place.table("bad.parquet", 46_300, 100);
    let square = "cast(cast(n as bigint) * n as int) as s";
    for threads in ["1", "3"] {
        let ran = place.run(&[
            "run",
            "good.parquet",
            "bad.parquet",
            "--select",
            square,
            "-o",
            "out.parquet",
            "--threads",
            threads,
            "--batch-rows",
            "16",
        ]);
        // 46341 squared is the first beyond the range: row 41 of the second file.
        ran.failure(1, &["bad.parquet", "row 41", "2147488281"]);
        assert_eq!(place.files(), ["bad.parquet", "good.parquet"]);
    }
    let nulled = [
        "run",
        "bad.parquet",
        "--select",
        square,
        "--cast",
        "null",
        "-o",
        "out.parquet",
    ];
    place.run(&nulled).success();
    assert_eq!(int32(&place.read("out.parquet"), "s")[41], None);
}

#[test]
fn overflow_in_each_mode() {
    let place = Place::new();
    place.table("in.parquet", i32::MAX - 2, 2);
    let ran = |more: &[&str]| {
        let mut words = vec![
            "run",
            "in.parquet",
            "--select",
            "n + 2 as m",
            "--format",
            "csv",
        ];
        words.extend(more);
        place.run(&words)
    };
    ran(&[]).failure(1, &["row 1", "overflow", "2147483646"]);
    ran(&["--overflow", "trap"]).failure(1, &["row 1"]);
    let wrapped = "m\n2147483647\n-2147483648\n";
    assert_eq!(ran(&["--overflow", "wrap"]).success(), wrapped);
    assert_eq!(ran(&["--semantics", "spark-legacy"]).success(), wrapped);
    // A constant is a bigint there, and so is the sum.
    let widened = "m\n2147483647\n2147483648\n";
    assert_eq!(ran(&["--semantics", "datafusion"]).success(), widened);
    ran(&["--semantics", "spark-ansi"]).failure(1, &["row 1"]);
}

#[test]
fn wrong_queries_point_at_the_place() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let refused = |clause: &str, text: &str, words: &[&str]| {
        place
            .run(&["run", "in.parquet", clause, text])
            .failure(2, words);
    };
    refused("--where", "m > 1", &["--where", "m > 1", "^", "`m`"]);
    refused("--where", "n >", &["--where", "n >"]);
    refused("--where", "n", &["Boolean"]);
    refused("--select", "n, n + \"Name\"", &["--select", "^", "Utf8"]);
    refused(
        "--select",
        "n square",
        &["n square", "^", "comma", "`AS square`"],
    );
    refused("--where", &"(".repeat(100_000), &["--where"]);
    refused(
        "--where",
        &format!("n > 0{}", " and n > 0".repeat(10_000)),
        &["--where"],
    );
    place
        .run(&["run", "in.parquet", "--semantics", "oracle"])
        .failure(2, &["spark-legacy"]);
    place
        .run(&["run", "in.parquet", "--device", "tpu"])
        .failure(2, &["tpu", "cpu", "sim"]);
    place
        .run(&["run", "in.parquet", "--memory", "much"])
        .failure(2, &["much", "512MB"]);
    place
        .run(&["run", "in.parquet", "-o", "out.xlsx"])
        .failure(2, &["out.xlsx", ".parquet"]);
    place
        .run(&["run", "in.parquet", "-o", "in.parquet"])
        .failure(2, &["would overwrite the input"]);
    assert_eq!(place.files(), ["in.parquet"]);
}

#[test]
fn columns_that_nothing_depends_on_may_be_named() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let kept = |filter: &str| {
        let words = [
            "run",
            "in.parquet",
            "--select",
            "n",
            "--where",
            filter,
            "--format",
            "csv",
        ];
        place.run(&words).success().lines().count() - 1
    };
    assert_eq!(kept("square = null"), 0);
    assert_eq!(kept("true or square = 1"), 10);
    assert_eq!(kept("even = 99999999999 or n = 2"), 1);
    assert_eq!(kept("coalesce(1, square) = 1"), 10);
    assert_eq!(kept("-n < -7"), 2);
}

#[test]
fn nothing_is_overwritten_by_a_report() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let before = std::fs::read(place.path("in.parquet")).unwrap();
    for report in ["--receipts", "--trace", "--timeline"] {
        let refused = |words: &[&str], said: &str| {
            let mut all = vec!["run", "in.parquet", "-o", "out.csv"];
            all.extend(words);
            place.run(&all).failure(2, &[report, said]);
        };
        refused(&[report, "in.parquet"], "the input in.parquet");
        refused(&[report, "./out.csv"], "what --output writes");
        place
            .run(&["run", "in.parquet", report, "no/where.json"])
            .failure(3, &["no/where.json"]);
    }
    assert_eq!(std::fs::read(place.path("in.parquet")).unwrap(), before);
    assert_eq!(place.files(), ["in.parquet"]);
}

#[test]
fn links_hide_no_clash() {
    let place = Place::new();
    place.table("in.arrows", 0, 10);
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, place.path(name)).unwrap();
    };
    link("out.csv", "to-out");
    link("to-out", "to-link");
    link("in.arrows", "to-in");
    link("r.json", "to-report");
    let before = place.files();
    let refused = |words: &[&str], said: &[&str]| {
        let all = [&["run", "in.arrows"], words].concat();
        place.run(&all).failure(2, said);
        assert_eq!(place.files(), before, "{words:?}");
    };
    for report in ["--receipts", "--trace", "--timeline"] {
        for name in ["to-out", "to-link"] {
            let said = [report, name, "would overwrite what --output writes"];
            refused(&["-o", "out.csv", report, name], &said);
        }
        let said = [report, "would overwrite the input in.arrows"];
        refused(&["-o", "out.csv", report, "to-in"], &said);
    }
    let two = [
        "-o",
        "out.csv",
        "--receipts",
        "r.json",
        "--trace",
        "to-report",
    ];
    refused(&two, &["--trace to-report would overwrite what --receipts"]);
    let table = ["-o", "to-out", "--format", "csv", "--receipts", "out.csv"];
    refused(
        &table,
        &["--receipts out.csv would overwrite what --output"],
    );
    // A link to nothing that the run does not make is replaced, as ever.
    let fine = ["run", "in.arrows", "-o", "a.csv", "--receipts", "to-report"];
    place.run(&fine).success();
    assert!(place.path("to-report").is_file() && !place.path("r.json").exists());
}

#[test]
fn files_behind_the_standard_streams_are_not_overwritten() {
    let place = Place::new();
    place.table("in.arrows", 0, 10);
    let ran = |report: &str| {
        let words = ["run", "-", "--format", "csv", "--receipts", report];
        let output = std::fs::File::create(place.path("out.csv")).unwrap();
        let input = std::fs::File::open(place.path("in.arrows")).unwrap();
        let mut command = place.command(&words);
        Ran::of(command.stdin(input).stdout(output).output().unwrap())
    };
    for report in ["out.csv", "/dev/stdout", "/proc/self/fd/1"] {
        ran(report).failure(2, &["would overwrite the result on standard output"]);
    }
    ran("in.arrows").failure(2, &["would overwrite the input on standard input"]);
    ran("r.json").success();
    let written = std::fs::read_to_string(place.path("out.csv")).unwrap();
    assert_eq!(written.lines().count(), 11);
}

#[test]
fn rows_are_counted_as_they_were_read_and_skipped() {
    let place = Place::new();
    let schema = numbers(0, 1).schema();
    let file = std::fs::File::create(place.path("in.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema, None).unwrap();
    for group in 0..4 {
        writer.write(&numbers(group * 100, 100)).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    let said = |words: &[&str]| {
        let query = ["run", "in.parquet", "--batch-rows", "10"];
        let ran = place.run(&[&query[..], words].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.err
    };
    for (words, expected) in [
        (&["--where", "n < 150"][..], "kept 150 of 400 rows in "),
        (
            &["--where", "n < 150"],
            ", 2 row groups of 200 rows skipped",
        ),
        (&["--where", "n < 0"], "kept 0 of 400 rows in "),
        (&["--where", "n < 0"], ", 4 row groups of 400 rows skipped"),
        // Nothing was read for it, but there were rows.
        (
            &["--where", "n < 0", "--limit", "5"],
            "kept 0 of 400 rows in ",
        ),
        (&["--limit", "25"], "kept 25 of 30 rows read in "),
        (
            &["--where", "n >= 300", "--limit", "5"],
            "kept 5 of 10 rows read in ",
        ),
        (
            &["--where", "n >= 300", "--limit", "5"],
            ", 3 row groups of 300 rows skipped",
        ),
        (&["--limit", "0"], "kept 0 of 0 rows read in "),
        (&["--limit", "1000"], "kept 400 of 400 rows in "),
    ] {
        let said = said(words);
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}

#[test]
fn no_rows_still_have_a_header_and_times_are_spelled_out_in_their_zone() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let csv = place
        .run(&["run", "in.parquet", "--where", "n > 99", "--format", "csv"])
        .success();
    assert_eq!(csv, "n,square,even,Name\n");
    let times = TimestampMillisecondArray::from(vec![0]).with_timezone("UTC");
    let batch = RecordBatch::try_from_iter([("at", Arc::new(times) as _)]).unwrap();
    let target = Target::File(place.path("times.arrow"));
    let mut sink = Sink::create(target, Format::ArrowFile, &batch.schema()).unwrap();
    sink.write(&batch).unwrap();
    sink.finish().unwrap();
    let csv = place
        .run(&["run", "times.arrow", "--format", "csv"])
        .success();
    assert!(csv.contains("1970-01-01T00:00:00Z"), "{csv}");
    for (zone, local) in [
        ("Europe/Berlin", "1970-01-01T01:00:00+01:00"),
        ("America/New_York", "1969-12-31T19:00:00-05:00"),
    ] {
        let times = TimestampMillisecondArray::from(vec![0]).with_timezone(zone);
        let batch = RecordBatch::try_from_iter([("at", Arc::new(times) as _)]).unwrap();
        let target = Target::File(place.path("zoned.arrow"));
        let mut sink = Sink::create(target, Format::ArrowFile, &batch.schema()).unwrap();
        sink.write(&batch).unwrap();
        sink.finish().unwrap();
        for arguments in [
            &["run", "zoned.arrow"][..],
            &["run", "zoned.arrow", "--format", "csv"],
        ] {
            let shown = place.run(arguments).success();
            assert!(shown.contains(local), "{shown}");
        }
    }
    assert!(
        place
            .run(&["run", "times.arrow"])
            .success()
            .contains("1970-01-01T00:00:00")
    );
}

#[test]
fn every_value_is_shown_and_a_null_is_no_empty_text() {
    let place = Place::new();
    let days = arrow_array::Date32Array::from(vec![Some(0), Some(i32::MAX), None]);
    let texts = arrow_array::StringArray::from(vec![None, Some(""), Some("a,b")]);
    let columns = [("day", Arc::new(days) as _), ("text", Arc::new(texts) as _)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let target = Target::File(place.path("in.arrow"));
    let mut sink = Sink::create(target, Format::ArrowFile, &batch.schema()).unwrap();
    sink.write(&batch).unwrap();
    sink.finish().unwrap();
    let csv = place.run(&["run", "in.arrow", "--format", "csv"]).success();
    assert_eq!(
        csv,
        "day,text\n1970-01-01,\n+5881580-07-11,\"\"\n,\"a,b\"\n"
    );
    let table = place.run(&["run", "in.arrow"]).success();
    assert!(table.contains("| 1970-01-01     | NULL |"), "{table}");
    assert!(table.contains("| +5881580-07-11 |      |"), "{table}");
    assert!(table.contains("| NULL           | a,b  |"), "{table}");
    let coloured = place
        .run(&["run", "in.arrow", "--color", "always"])
        .success();
    assert!(coloured.contains("| \x1b[2mNULL\x1b[0m |\n"), "{coloured}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_a_wait_for_input() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let place = Place::new();
        let mut command = place.command(&["run", "-", "-o", "out.parquet"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let waiting = child.stdin.take();
        let pid = child.id().to_string();
        // The signal may come before it is watched for: then it ends the process by itself.
        std::thread::sleep(std::time::Duration::from_millis(500));
        std::process::Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{signal}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("interrupted"),
            "{signal}"
        );
        assert_eq!(place.files(), [""; 0]);
        drop(waiting);
    }
}

#[test]
fn names_follow_the_rules_of_letter_case() {
    let place = Place::new();
    place.table("in.parquet", 0, 3);
    let csv =
        |select: &str| place.run(&["run", "in.parquet", "--select", select, "--format", "csv"]);
    assert!(csv("NAME").success().contains("number 2"));
    assert!(csv("\"Name\"").success().contains("number 2"));
    csv("\"NAME\"").failure(2, &["NAME"]);
}

#[test]
fn differing_schemas_are_refused_with_the_file() {
    let place = Place::new();
    place.table("one.parquet", 0, 10);
    let other = numbers(0, 10).project(&[0, 2]).unwrap();
    let target = Target::File(place.path("two.parquet"));
    let mut sink = Sink::create(target, Format::Parquet, &other.schema()).unwrap();
    sink.write(&other).unwrap();
    sink.finish().unwrap();
    place
        .run(&["run", "one.parquet", "two.parquet"])
        .failure(2, &["two.parquet", "`even`"]);
}

#[test]
fn the_first_file_decides_whether_a_column_may_be_null() {
    let place = Place::new();
    for (name, values) in [
        ("whole.arrow", [Some(1), Some(2)]),
        ("gaps.arrow", [Some(3), None]),
    ] {
        let column = arrow_array::Int32Array::from_iter(values);
        let batch = RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap();
        let target = Target::File(place.path(name));
        let mut sink = Sink::create(target, Format::ArrowFile, &batch.schema()).unwrap();
        sink.write(&batch).unwrap();
        sink.finish().unwrap();
    }
    let said = ["gaps.arrow", "`n` may be null", "name this one first"];
    place
        .run(&["run", "whole.arrow", "gaps.arrow"])
        .failure(2, &said);
    let ran = place.run(&["run", "gaps.arrow", "whole.arrow", "--format", "csv"]);
    assert_eq!(ran.success(), "n\n3\n\n1\n2\n");
}

#[test]
fn damaged_files_are_refused_by_name() {
    let place = Place::new();
    for name in ["in.parquet", "in.arrow"] {
        let path = place.table(name, 0, 1000);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        for mmap in [&[][..], &["--mmap"][..]] {
            let mut words = vec!["run", name, "-o", "out.arrow"];
            words.extend(mmap);
            place.run(&words).failure(3, &[name]);
        }
    }
    assert_eq!(place.files(), ["in.arrow", "in.parquet"]);
}

#[test]
fn settings_come_from_flag_variable_and_file_in_this_order() {
    let place = Place::new();
    place.table("in.parquet", i32::MAX - 1, 1);
    let query = [
        "run",
        "in.parquet",
        "--select",
        "n + 2 as m",
        "--format",
        "csv",
    ];
    std::fs::write(place.path("unlade.toml"), "overflow = \"wrap\"\n").unwrap();
    place.run(&query).success();
    place
        .run_with(&[("UNLADE_OVERFLOW", "trap")], &query)
        .failure(1, &["row 0"]);
    let mut flagged = query.to_vec();
    flagged.extend(["--overflow", "wrap"]);
    place
        .run_with(&[("UNLADE_OVERFLOW", "trap")], &flagged)
        .success();
    std::fs::write(place.path("unlade.toml"), "overflow = \"explode\"\n").unwrap();
    place
        .run(&query)
        .failure(2, &["unlade.toml", "explode", "trap, wrap"]);
    std::fs::write(place.path("unlade.toml"), "overfow = \"wrap\"\n").unwrap();
    place.run(&query).failure(2, &["unlade.toml", "overfow"]);
}

#[cfg(target_os = "linux")]
#[test]
fn even_a_killed_process_leaves_no_file() {
    let place = Place::new();
    let bytes = std::fs::read(place.table("in.arrows", 0, 1000)).unwrap();
    let words = ["run", "-", "-o", "out.csv", "--receipts", "r.json"];
    let mut child = place
        .command(&words)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // The stream has no end: the command has begun its output and waits for more.
    input.write_all(&bytes[..bytes.len() - 8]).unwrap();
    input.flush().unwrap();
    let writes_to = |child: u32| {
        let handles = std::fs::read_dir(format!("/proc/{child}/fd")).unwrap();
        handles
            .filter_map(|handle| std::fs::read_link(handle.ok()?.path()).ok())
            .any(|path| path.starts_with(place.path("")))
    };
    while !writes_to(child.id()) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.files(), ["in.arrows"]);
    drop(input);
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_leaves_no_file() {
    let place = Place::new();
    let fifo = place.path("endless.arrows");
    let made = std::process::Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .unwrap();
    assert!(made.success());
    let mut command = place.command(&["run", "endless.arrows", "-o", "out.parquet"]);
    let mut child = command
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // The command reads batches until it is told to stop: the stream never ends.
    let batch = numbers(0, 1000);
    let mut sink = Sink::create(Target::File(fifo), Format::ArrowStream, &batch.schema()).unwrap();
    let mut interrupted = false;
    for round in 0_u32.. {
        if sink.write(&batch).is_err() {
            break;
        }
        if round == 2_000 && !interrupted {
            interrupted = true;
            let pid = child.id().to_string();
            assert!(
                std::process::Command::new("kill")
                    .args(["-INT", &pid])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        if interrupted && child.try_wait().unwrap().is_some() {
            break;
        }
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(place.files(), ["endless.arrows"]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_demonstration_leaves_no_folder() {
    for (keep, made) in [
        (&[][..], "temporary/unlade-"),
        (&["--keep", "kept/deeper"][..], "kept/deeper"),
    ] {
        let place = Place::new();
        std::fs::create_dir(place.path("temporary")).unwrap();
        let words = [&["demo", "--scale", "20"][..], keep].concat();
        let mut child = place
            .command(&words)
            .env("TMPDIR", place.path("temporary"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let is_made = || {
            let begin = place.path(made);
            let folder = std::fs::read_dir(begin.parent().unwrap());
            folder.is_ok_and(|mut entries| {
                entries.any(|entry| {
                    let name = entry.unwrap().path();
                    name.to_str().unwrap().starts_with(begin.to_str().unwrap())
                })
            })
        };
        while !is_made() {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // The second ends the process at once, whatever it is doing.
        for signal in ["-TERM", "-HUP"] {
            let pid = child.id().to_string();
            let kill = std::process::Command::new("kill")
                .args([signal, &pid])
                .output();
            assert!(kill.is_ok(), "{signal}");
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            [Some(143), Some(129)].contains(&output.status.code()),
            "{said}"
        );
        assert!(said.contains("interrupted; no file was written"), "{said}");
        assert_eq!(place.files(), ["temporary"], "{words:?}");
        let temporary = std::fs::read_dir(place.path("temporary")).unwrap();
        assert_eq!(temporary.count(), 0, "{words:?}");
    }
}

/// Devices do small batches together, and what lies behind the last row of one is the next one's.
#[test]
fn arrow_files_are_the_same_bytes_whichever_device_made_them() {
    let place = Place::new();
    place.table("in.parquet", 0, 5000);
    let file = |device: &str, name: &str| {
        let words = [
            "run",
            "in.parquet",
            "--batch-rows",
            "100",
            "--where",
            "n % 7 <> 0",
            "--select",
            "even, even > 100 as larger, even + n as sum",
            "--device",
            device,
            "--no-fallback",
            "-o",
            name,
        ];
        place.run(&words).success();
        std::fs::read(place.path(name)).unwrap()
    };
    for name in ["out.arrow", "out.arrows"] {
        let wanted = file("cpu", name);
        for device in ["sim", "sim-gpu:0", "sim-dpu"] {
            assert!(file(device, name) == wanted, "{device}: {name} differs");
        }
    }
}
