//! Errors: each names what is wrong, and has its exit code.

use crate::support::{Ran, command, folder, ran, sql};

#[track_caller]
fn refused(arguments: &[&str], code: i32, words: &[&str]) -> Ran {
    let folder = folder();
    let found = sql(folder.path(), arguments);
    assert_eq!(found.code, Some(code), "{arguments:?}: {found:?}");
    for words in words {
        assert!(
            found.err.contains(words),
            "{arguments:?}: no `{words}` in {found:?}"
        );
    }
    assert!(!found.err.contains("panicked"), "{arguments:?}: {found:?}");
    found
}

#[test]
fn a_command_line_that_is_none() {
    refused(&["--table", "trips"], 2, &["--table", "NAME=PATH"]);
    refused(&["--set", "unlade.force"], 2, &["--set", "OPTION=VALUE"]);
    refused(&["--format", "xml"], 2, &["xml", "nd-json"]);
    refused(&["--threads", "0"], 2, &["--threads"]);
    refused(&["trips.parquet"], 2, &["unexpected argument"]);
    refused(
        &["--set", "unlade.fast=true", "-c", "SELECT 1"],
        2,
        &["--set unlade.fast"],
    );
    refused(
        &["--set", "unlade.mode=sometimes", "-c", "SELECT 1"],
        2,
        &["offload, explain or require"],
    );
    refused(
        &["--device", "tpu:0", "-c", "SELECT 1"],
        2,
        &["--device", "no device `tpu:0`", "cpu"],
    );
}

#[test]
fn sql_that_is_none() {
    let found = refused(&["-c", "SELEC 1"], 2, &["found SELEC at line 1, column 1"]);
    assert!(!found.err.contains("ParserError"), "{found:?}");
    refused(&["-c", "SELECT 1 +"], 2, &["no SQL", "found its end"]);
    refused(&["-c", "SELECT 'x"], 2, &["no SQL: Unterminated"]);
    refused(
        &["-c", "SELECT * FROM nowhere"],
        2,
        &["no table nowhere", "--table NAME=PATH"],
    );
    refused(
        &["-c", "SELECT a FROM small.csv"],
        2,
        &["in quotes: 'small.csv'"],
    );
    refused(
        &["-c", "SELECT a FROM 'small.jsonl'"],
        2,
        &["--table NAME=small.jsonl"],
    );
    refused(
        &["-c", "SELECT c FROM 'small.csv'"],
        2,
        &["No field named c"],
    );
    refused(&["-c", "SELECT nothing(1)"], 2, &["nothing"]);
    refused(
        &["-c", "SET unlade.mode = 'sometimes'"],
        2,
        &["offload, explain or require"],
    );
    // Nothing is run of a script that is no SQL to its end.
    let found = refused(&["-c", "SELECT 1; SELEC 2"], 2, &["SELEC"]);
    assert_eq!(found.out, "");
}

#[test]
fn files_that_are_none() {
    refused(
        &["-t", "t=nowhere.parquet"],
        3,
        &["nowhere.parquet", "no such file"],
    );
    refused(
        &["-t", "t=no*.parquet"],
        3,
        &["no*.parquet", "No files found"],
    );
    refused(&["-t", "t=small"], 3, &["small", "no such file"]);
    refused(&["-f", "nowhere.sql"], 3, &["nowhere.sql"]);
    refused(
        &["-c", "SELECT * FROM 'below/nowhere.parquet'"],
        3,
        &["error: below/nowhere.parquet: there is no such file"],
    );
    refused(
        &["-c", "SELECT * FROM 'nowhere.txt'"],
        3,
        &["nowhere.txt: there is no such file"],
    );
    refused(
        &["-c", "SELECT * FROM 'no*.csv'"],
        3,
        &["error: no*.csv: there are no such files"],
    );
    let folder = folder();
    std::fs::write(folder.path().join("small.txt"), "a,b").unwrap();
    let found = sql(folder.path(), &["-t", "t=small.txt"]);
    assert_eq!(found.code, Some(2), "{found:?}");
    for words in ["small.txt", ".parquet", "CREATE EXTERNAL TABLE"] {
        assert!(found.err.contains(words), "no `{words}` in {found:?}");
    }
    std::fs::write(folder.path().join("broken.parquet"), "PAR1 and no more").unwrap();
    let found = sql(folder.path(), &["-t", "t=broken.parquet", "-c", "SELECT 1"]);
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(found.err.contains("broken.parquet: "), "{found:?}");
}

/// Of several files the one is named that is damaged: whether that shows as it is opened or as it is read.
#[test]
fn a_damaged_file_among_several_is_named() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let whole = std::fs::read(at("trips.parquet")).unwrap();
    let mut pages = whole.clone();
    pages[4..2000].fill(0xa5);
    // A footer that is longer than the file, over which its reader panics in builds with checks.
    let mut footer = whole.clone();
    let length = footer.len() - 8;
    footer[length..length + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    for (name, bytes) in [
        ("cut1.parquet", &whole[..]),
        ("cut2.parquet", &whole[..whole.len() / 2]),
        ("page1.parquet", &whole[..]),
        ("page2.parquet", &pages[..]),
        ("end1.parquet", &whole[..]),
        ("end2.parquet", &footer[..]),
        ("row1.jsonl", &b"{\"a\":1}\n"[..]),
        (
            "row2.jsonl",
            &[&b"{\"a\":1}\n".repeat(2000)[..], b"{\"a\":]}\n"].concat()[..],
        ),
    ] {
        std::fs::write(at(name), bytes).unwrap();
    }
    for (pattern, damaged) in [
        ("cut*.parquet", "cut2.parquet: "),
        ("page*.parquet", "page2.parquet: "),
        ("end*.parquet", "end2.parquet: "),
        ("end2.parquet", "end2.parquet: "),
        ("row*.jsonl", "row2.jsonl: "),
    ] {
        let table = format!("t={pattern}");
        let mut ways = vec![vec!["-t", &table, "-c", "SELECT * FROM t"]];
        let quoted = format!("SELECT * FROM '{pattern}'");
        if !pattern.ends_with("jsonl") {
            ways.push(vec!["-c", &quoted]);
        }
        for arguments in ways {
            let found = sql(folder.path(), &arguments);
            assert_eq!(found.code, Some(3), "{arguments:?}: {found:?}");
            assert!(found.err.contains(damaged), "{arguments:?}: {found:?}");
        }
    }
}

#[test]
fn what_files_say_controls_no_terminal() {
    let folder = folder();
    let columns = "a\x1b]0;owned\x07,b\n1,2\n";
    std::fs::write(folder.path().join("bad.csv"), columns).unwrap();
    let found = sql(folder.path(), &["-c", "SELECT c FROM 'bad.csv'"]);
    assert_eq!(found.code, Some(2), "{found:?}");
    assert!(found.err.contains("\u{fffd}]0;owned"), "{found:?}");
    assert!(!found.err.contains(['\x1b', '\x07']), "{found:?}");
}

#[test]
fn rows_with_errors_and_memory_that_is_used_up() {
    let trips = ["-t", "trips=trips.parquet", "-c"];
    let with = |sql| [&trips[..], &[sql]].concat();
    refused(
        &with("SELECT 10 / (id - 7) FROM trips WHERE id < 9"),
        1,
        &["row 7"],
    );
    refused(
        &with(
            "SET datafusion.runtime.memory_limit = '1K'; \
             SELECT * FROM trips ORDER BY distance * 2, kind",
        ),
        4,
        &["Resources exhausted"],
    );
    refused(
        &with("SET unlade.mode = 'require'; SELECT id FROM trips WHERE kind LIKE 'b%'"),
        2,
        &["unlade.mode is require", "LIKE"],
    );
}

#[test]
fn nothing_runs_after_an_error() {
    let folder = folder();
    let script = "SELECT 1 AS a; SELECT 1 / (id - id) FROM 'trips.parquet'; SELECT 3 AS c;";
    let found = ran(command(folder.path(), &["--format=csv", "-q"]), script);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(
        found.out.starts_with("a\n1\n") && !found.out.contains('c'),
        "{found:?}"
    );
    let found = sql(
        folder.path(),
        &["-c", "SELECT * FROM nowhere", "-c", "SELECT 3 AS c"],
    );
    assert_eq!((found.code, &*found.out), (Some(2), ""), "{found:?}");
}

#[test]
fn help_says_how() {
    let found = refused(&["--help"], 0, &[]);
    for words in ["--table <NAME=PATH>", "--device", "nd-json", "Examples:"] {
        assert!(found.out.contains(words), "{words}: {found:?}");
    }
    let version = refused(&["--version"], 0, &[]);
    assert!(version.out.starts_with("unlade-sql "), "{version:?}");
}
