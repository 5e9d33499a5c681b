//! What fuzzing has found worth keeping, run again: every file of `tests/fuzz/corpus` and, for a
//! crash that is to be looked into, the file that `UNLADE_FUZZ_FILE` names, in a folder of its
//! target's name as cargo-fuzz writes it.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};
use std::{env, fs};

use targets::{ALL, Target};

#[test]
fn every_target_has_a_corpus_that_passes() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in ALL {
        let files = files(&corpora.join(name));
        assert!(files.len() > 10, "{name}: {} files", files.len());
        files.iter().for_each(|file| run(target, file));
    }
    if let Some(file) = env::var_os("UNLADE_FUZZ_FILE").map(PathBuf::from) {
        let folder = file.parent().and_then(Path::file_name);
        let mut named = ALL
            .iter()
            .filter(|(name, _)| folder.is_some_and(|folder| folder == *name));
        let (_, target) = named
            .next()
            .expect("it lies in a folder of a target's name");
        run(*target, &file);
    }
    let folders = fs::read_dir(&corpora).expect("the corpora are there");
    assert_eq!(folders.count(), ALL.len(), "folders of the corpora");
}

fn run(target: Target, file: &Path) {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let ran = std::panic::catch_unwind(|| target(&bytes));
    assert!(ran.is_ok(), "{} fails", file.display());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder is readable").path())
        .collect();
    files.sort();
    files
}
