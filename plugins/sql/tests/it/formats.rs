//! How rows are printed.

use crate::support::{folder, sql};

const QUERY: &str = "SELECT a, b FROM small ORDER BY a";

fn printed(format: &str, query: &str) -> String {
    let folder = folder();
    let found = sql(
        folder.path(),
        &[
            "-q",
            "-t",
            "small=small.csv",
            "--format",
            format,
            "-c",
            query,
        ],
    );
    assert_eq!(
        (found.code, &*found.err),
        (Some(0), ""),
        "{format}: {found:?}"
    );
    found.out
}

#[test]
fn every_format_has_the_rows() {
    let table = "\
+---+-----+
| a | b   |
+---+-----+
| 1 | x   |
| 2 |     |
| 3 | y,z |
+---+-----+
";
    assert_eq!(printed("table", QUERY), table);
    let csv = "a,b\n1,x\n2,\n3,\"y,z\"\n";
    assert_eq!(printed("csv", QUERY), csv);
    assert_eq!(printed("automatic", QUERY), csv); // no terminal
    assert_eq!(printed("tsv", QUERY), "a\tb\n1\tx\n2\t\n3\ty,z\n");
    assert_eq!(
        printed("json", QUERY),
        "[{\"a\":1,\"b\":\"x\"},{\"a\":2},{\"a\":3,\"b\":\"y,z\"}]\n"
    );
    let lines = "{\"a\":1,\"b\":\"x\"}\n{\"a\":2}\n{\"a\":3,\"b\":\"y,z\"}\n";
    assert_eq!(printed("nd-json", QUERY), lines);
    assert_eq!(printed("ndjson", QUERY), lines);
}

#[test]
fn no_rows_have_names_all_the_same() {
    let none = "SELECT a, b FROM small WHERE a > 7";
    assert_eq!(
        printed("table", none),
        "+---+---+\n| a | b |\n+---+---+\n+---+---+\n"
    );
    assert_eq!(printed("csv", none), "a,b\n");
    assert_eq!(printed("json", none), "[]\n");
    assert_eq!(printed("nd-json", none), "");
    for format in ["table", "csv", "json", "nd-json"] {
        assert_eq!(printed(format, "SET unlade.force = true"), "", "{format}");
    }
}

#[test]
fn a_table_is_no_longer_than_it_may_be() {
    let folder = folder();
    let found = sql(
        folder.path(),
        &[
            "-t",
            "small=small.csv",
            "--set",
            "datafusion.execution.batch_size=2",
            "--max-rows",
            "2",
            "-c",
            QUERY,
        ],
    );
    assert!(found.out.contains("| 2 |"), "{found:?}");
    assert!(!found.out.contains("y,z"), "{found:?}");
    assert!(
        found
            .out
            .ends_with("and 1 more; --max-rows shows more, --format csv all\n"),
        "{found:?}"
    );
    assert!(found.err.starts_with("3 rows in "), "{found:?}");
}
