//! Statements, where they come from, and what is told of them.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{TRIPS, command, folder, ran, sql};

#[test]
fn a_query_runs_over_tables_that_are_named() {
    let folder = folder();
    let found = sql(
        folder.path(),
        &[
            "-t",
            "trips=trips.parquet",
            "-t",
            "small=small.csv",
            "--table=lines=small.jsonl",
            "--format=csv",
            "-c",
            "SELECT t.id, s.b FROM trips t JOIN small s ON t.id = s.a WHERE t.distance < 1.5 ORDER BY 1",
            "-c",
            "SELECT sum(a) AS total FROM lines; SELECT 1 AS one;",
        ],
    );
    assert_eq!(found.out, "id,b\n1,x\n2,\ntotal\n6\none\n1\n", "{found:?}");
    assert_eq!(found.code, Some(0));
    assert!(found.err.contains("2 rows in "), "{found:?}");
    assert!(found.err.contains("1 row in "), "{found:?}");
}

#[test]
fn folders_patterns_and_names_in_quotes_are_tables() {
    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for name in ["one.parquet", "two.parquet"] {
        std::fs::copy(folder.path().join("trips.parquet"), data.join(name)).unwrap();
    }
    let count = "SELECT count(*) AS n FROM";
    let found = sql(
        folder.path(),
        &[
            "--quiet",
            "--format=csv",
            "--table=f=data",
            "--table=p=data/t*.parquet",
            "-c",
            &format!("{count} f; {count} p; {count} 'trips.parquet' WHERE id >= 19990"),
        ],
    );
    assert_eq!(
        found.out,
        format!("n\n{}\nn\n{TRIPS}\nn\n10\n", 2 * TRIPS),
        "{found:?}"
    );
    assert_eq!(found.err, "");
}

#[test]
fn every_device_answers_and_receipts_say_that_it_did() {
    let folder = folder();
    let query = "SELECT id + 1 AS next, kind FROM trips WHERE distance > 9998";
    for (device, name) in [
        ("auto", "cpu"),
        ("cpu", "cpu"),
        ("sim", "sim"),
        ("sim-gpu", "sim-gpu:0"),
        ("sim-dpu", "sim-dpu"),
    ] {
        let found = sql(
            folder.path(),
            &[
                "-t",
                "trips=trips.parquet",
                "--device",
                device,
                "--receipts",
                "--format=csv",
                "-c",
                query,
            ],
        );
        assert_eq!(
            found.out, "next,kind\n19998,tram\n19999,bus\n20000,tram\n",
            "{device}: {found:?}"
        );
        assert!(
            found.err.contains(&format!("UnladeExec: device={name} (")),
            "{device}: {found:?}"
        );
        let rows = format!("rows_on_{name}=20.00 K");
        assert!(found.err.contains(&rows), "{device}: {found:?}");
        assert_eq!(found.code, Some(0), "{device}");
    }
}

#[test]
fn receipts_say_what_was_left_and_why() {
    let folder = folder();
    let left = "SELECT id FROM trips WHERE kind LIKE 'b%' AND id IN (0, 3)";
    let arguments = ["-t", "trips=trips.parquet", "--receipts", "-c"];
    let found = sql(folder.path(), &[&arguments[..], &[left]].concat());
    assert!(
        found
            .err
            .contains("FilterExec: left to DataFusion because of `kind@1 LIKE b%`"),
        "{found:?}"
    );
    assert!(found.err.contains("rows_on_cpu"), "{found:?}");
    let found = sql(
        folder.path(),
        &[&arguments[..], &["SELECT max(id) FROM trips"]].concat(),
    );
    assert!(found.err.contains("nothing to take"), "{found:?}");
}

#[test]
fn explain_shows_nodes_and_options_are_set() {
    let folder = folder();
    let few = "EXPLAIN FORMAT INDENT SELECT a + 1 FROM (VALUES (1), (5)) AS t(a) WHERE a > 3";
    let left = sql(folder.path(), &["-c", few]);
    assert!(left.out.contains("LeftExec: because of "), "{left:?}");
    let forced = sql(folder.path(), &["--set", "unlade.force=true", "-c", few]);
    assert!(forced.out.contains("UnladeExec: device=cpu"), "{forced:?}");
    let set = format!(
        "SET unlade.force = true; {}",
        few.replace("EXPLAIN", "EXPLAIN ANALYZE")
    );
    let analyzed = sql(folder.path(), &["-c", &set.replace(" FORMAT INDENT", "")]);
    assert!(analyzed.out.contains("rows_on_cpu="), "{analyzed:?}");
}

#[test]
fn scripts_come_from_files_and_from_standard_input() {
    let folder = folder();
    let script = "-- two statements\nSELECT 1 AS a;\n\nSELECT ';' AS b\n";
    std::fs::write(folder.path().join("script.sql"), script).unwrap();
    let of_file = sql(
        folder.path(),
        &["-f", "script.sql", "--format=csv", "-c", "SELECT 3 AS c"],
    );
    assert_eq!(of_file.out, "a\n1\nb\n;\nc\n3\n", "{of_file:?}");
    let of_input = ran(command(folder.path(), &["--format=csv"]), script);
    assert_eq!(of_input.out, "a\n1\nb\n;\n", "{of_input:?}");
    let nothing = ran(command(folder.path(), &[]), "");
    assert_eq!(
        (nothing.code, &*nothing.out, &*nothing.err),
        (Some(0), "", "")
    );
}

#[test]
fn tables_can_be_made_and_written() {
    let folder = folder();
    let found = sql(
        folder.path(),
        &[
            "--quiet",
            "--format=csv",
            "-c",
            "CREATE EXTERNAL TABLE trips STORED AS PARQUET LOCATION 'trips.parquet'; \
             CREATE VIEW buses AS SELECT id FROM trips WHERE kind = 'bus' AND id < 9; \
             COPY buses TO 'buses.parquet'; SELECT count(*) AS n FROM 'buses.parquet'",
        ],
    );
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.out.ends_with("n\n3\n"), "{found:?}");
}

/// A query that writes rows for as long as anybody reads them.
const ENDLESS: &str =
    "SELECT value + 1 AS v FROM generate_series(1, 1000000000000) WHERE value > 3";

#[test]
fn a_reader_that_has_seen_enough_ends_it_well() {
    let folder = folder();
    let child = command(folder.path(), &["--format=csv", "-c", ENDLESS])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut first = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut first).unwrap();
    assert_eq!(first, "v\n");
    drop(output);
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
}

#[test]
fn ctrl_c_ends_a_command_with_130() {
    let folder = folder();
    let child = command(
        folder.path(),
        &["--format=csv", "-c", ENDLESS, "-c", "SELECT 'on' AS went"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn();
    let mut child = child.unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    for _ in 0..3 {
        output.read_line(&mut line).unwrap();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    assert_eq!(
        String::from_utf8_lossy(&ended.stderr),
        "error: interrupted\n"
    );
    assert!(!String::from_utf8_lossy(&rest).contains("went"));
}
