//! What the shared library has for others: the functions of the header, under the name of its ABI.

use std::collections::BTreeSet;
use std::process::Command;

use crate::build::{crate_root, library};

/// The functions of the ABI. One that goes, or changes what it takes, is another major number.
const GOLDEN: &str = "abi.txt";

#[test]
fn the_library_exports_what_is_listed_and_nothing_else() {
    let exported: Vec<String> = nm(&["--dynamic", "--defined-only", "--format=posix"])
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, kind) = (words.next().unwrap(), words.next().unwrap());
            assert_eq!(kind, "T", "{name} is no function");
            name.to_owned()
        })
        .collect();
    let text = exported.join("\n") + "\n";
    let path = crate_root().join(GOLDEN);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        golden, text,
        "UPDATE_GOLDEN=1 writes it anew; what goes is another ABI"
    );
}

#[test]
fn the_header_declares_what_the_library_exports() {
    let header = std::fs::read_to_string(crate_root().join("include/unlade.h")).unwrap();
    // A function is what is named in front of a parenthesis where no comment is.
    let code = header
        .lines()
        .filter(|line| !line.trim_start().starts_with('*'));
    let declared: BTreeSet<&str> = code
        .filter_map(|line| {
            let (before, _) = line.split_once('(')?;
            let name = before.rsplit([' ', '*']).next()?;
            name.starts_with("unlade_").then_some(name)
        })
        .collect();
    let listed = std::fs::read_to_string(crate_root().join(GOLDEN)).unwrap();
    assert_eq!(declared, listed.lines().collect());
}

#[test]
fn the_library_is_named_after_its_abi() {
    let out = Command::new("readelf")
        .args(["--dynamic", "--wide"])
        .arg(library())
        .output()
        .expect("binutils are there where a linker is");
    let dynamic = String::from_utf8(out.stdout).unwrap();
    let name = format!("[libunlade.so.{}]", unlade_c::version::UNLADE_ABI_MAJOR);
    assert!(dynamic.contains(&name), "{dynamic}");
}

fn nm(words: &[&str]) -> String {
    let out = Command::new("nm")
        .args(words)
        .arg(library())
        .output()
        .expect("binutils are there where a linker is");
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap()
}
