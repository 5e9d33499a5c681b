//! docs/SEMANTICS.md says what is so: the tests it names exist, and its table of casts is the one
//! that the check reads. `UPDATE_GOLDEN=1` writes the table into the page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use unlade_expr::{CASTS, Dialect};

const START: &str = "--test semantics_page -->\n";
const END: &str = "<!-- end of casts -->";

#[test]
fn the_table_of_casts_is_the_one_in_force() {
    let path = page();
    let text = fs::read_to_string(&path).expect("the page is readable");
    let start = text
        .find(START)
        .expect("the page has a place for the table")
        + START.len();
    let end = start + text[start..].find(END).expect("the table has an end");
    let wanted = casts();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let page = format!("{}{wanted}{}", &text[..start], &text[end..]);
        fs::write(&path, page).expect("the page is writable");
        return;
    }
    assert!(
        text[start..end] == wanted,
        "the page's table of casts differs; it would be\n{wanted}"
    );
}

#[test]
fn every_test_that_the_page_names_exists() {
    let text = fs::read_to_string(page()).expect("the page is readable");
    let named: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        // Tests are sentences; nothing else between backticks is.
        .filter(|word| word.matches('_').count() >= 2)
        .filter(|word| {
            word.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
        .collect();
    assert!(named.len() > 10, "the page names {named:?}");
    let mut sources = String::new();
    for directory in ["kernels", "runtime", "tests", "plugins"] {
        read_sources(&root().join(directory), &mut sources);
    }
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !sources.contains(&format!("fn {name}()")))
        .collect();
    assert!(missing.is_empty(), "no test is named {missing:?}");
}

fn casts() -> String {
    let mut table = String::from("| from | to | rules | modes | |\n|---|---|---|---|---|\n");
    for row in CASTS {
        let rules = match row.dialects {
            [Dialect::Arrow] => "Arrow",
            [Dialect::Spark] => "Spark",
            _ => "all",
        };
        let modes: Vec<String> = row.modes.iter().map(ToString::to_string).collect();
        let (from, to, modes) = (row.from, row.to, modes.join(", "));
        table += &format!("| {from} | {to} | {rules} | {modes} | {} |\n", row.computes);
    }
    table
}

fn page() -> PathBuf {
    root().join("docs/SEMANTICS.md")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read_sources(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory of sources is readable") {
        let path = entry.expect("an entry is readable").path();
        if path.is_dir() && !path.ends_with("target") {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *sources += &fs::read_to_string(&path).expect("a source file is readable");
        }
    }
}
