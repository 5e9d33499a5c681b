//! The listings of typical programs, word for word, for a card with the fewest registers.
//!
//! `UPDATE_GOLDEN=1 cargo test -p unlade-card --test bytecode` writes what is in
//! `tests/bytecode/golden/` anew; the difference is then to be read.

use std::fs;
use std::path::Path;

use unlade_card::{Limits, disassemble, lower};

use crate::programs::typical;

#[test]
fn every_typical_program_has_its_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bytecode/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut names = Vec::new();
    for (name, program) in typical() {
        let bytes = lower(&program, &Limits::LEAST).expect("a program that every card takes");
        let text = disassemble(&bytes).expect("what was lowered");
        let file = format!("{name}.txt");
        let path = folder.join(&file);
        names.push(file);
        if update {
            fs::create_dir_all(&folder).expect("a writable folder");
            fs::write(&path, &text).expect("a writable file");
        }
        let wanted = fs::read_to_string(&path).expect("a golden file; UPDATE_GOLDEN=1 makes it");
        let differs = (1..)
            .zip(text.lines().zip(wanted.lines()))
            .find(|(_, (found, wanted))| found != wanted);
        assert!(
            text == wanted,
            "{} differs, first at {differs:?}; UPDATE_GOLDEN=1 accepts what there is",
            path.display()
        );
    }
    let mut files: Vec<String> = fs::read_dir(&folder)
        .expect("a folder of golden files")
        .map(|file| {
            let name = file.expect("a readable folder").file_name();
            name.into_string().expect("a plain name")
        })
        .collect();
    files.sort_unstable();
    names.sort_unstable();
    assert_eq!(files, names, "a golden file without its program");
}
