//! The texts, word for word.
//!
//! `UPDATE_GOLDEN=1 cargo test -p unlade-ptx --test shapes` writes what is in
//! `tests/shapes/golden/` anew; the difference is then to be read.

use std::fs;
use std::path::Path;

use crate::shapes::{modules, shapes};

#[test]
fn every_shape_has_its_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shapes/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut names = Vec::new();
    for (name, module) in modules() {
        let file = format!("{name}.ptx");
        let path = folder.join(&file);
        names.push(file);
        if update {
            fs::create_dir_all(&folder).expect("a writable folder");
            fs::write(&path, &module.text).expect("a writable file");
        }
        let wanted = fs::read_to_string(&path).expect("a golden file; UPDATE_GOLDEN=1 makes it");
        let differs = (1..)
            .zip(module.text.lines().zip(wanted.lines()))
            .find(|(_, (found, wanted))| found != wanted);
        assert!(
            module.text == wanted,
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
    assert_eq!(files, names, "a golden file without its shape");
}

#[test]
fn one_program_has_one_text() {
    for (name, program) in shapes() {
        assert_eq!(
            unlade_ptx::lower(&program),
            unlade_ptx::lower(&program),
            "{name}"
        );
    }
}
