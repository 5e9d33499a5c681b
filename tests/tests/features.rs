//! A crate that `cargo xtask test` builds alone finds its dependencies as the workspace's tests have
//! built them: with the same features, which `tests/features` asks for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What is built alone, for models, simulations, the virtual machine and kernels' text.
const ALONE: [&str; 4] = ["unlade-runtime", "unlade-dpu", "unlade-tests", "unlade-ptx"];

#[test]
fn what_is_built_alone_has_the_workspaces_features() {
    let workspace = features(&["--workspace"]);
    assert!(workspace.len() > 100, "{} packages", workspace.len());
    for name in ALONE {
        let alone = features(&["-p", name]);
        let others: Vec<&String> = alone.difference(&workspace).collect();
        assert!(
            others.is_empty(),
            "{name} alone has other features than in the workspace, so that all above them is built \
             twice; ask for them in tests/features/Cargo.toml: {others:#?}"
        );
    }
}

/// Packages with their features that a selection builds for its tests.
fn features(selection: &[&str]) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--offline",
        "--edges",
        "normal,dev",
        "--prefix",
        "none",
    ]);
    tree.args(["--format", "{p}: {f}"]).args(selection);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = tree.current_dir(root).output().expect("cargo runs");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{tree:?}: {errors}");
    let text = String::from_utf8(out.stdout).expect("names are text");
    // A package that was shown before is marked so.
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)"));
    lines.map(str::to_owned).collect()
}
