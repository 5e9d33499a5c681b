//! The borders between crates, as docs/ARCHITECTURE.md draws them: imports run one way, `unsafe`
//! lives in few crates, kernels do no I/O, and the command line links no query engine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Where a crate stands, from its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// `kernels/`: what to compute.
    Kernels,
    /// `devices/hal`: what a device is.
    Hal,
    /// The other crates of `devices/`: how one is driven.
    Device,
    /// `sim/card`: written from the card's document alone.
    SimulatedCard,
    /// The other crates of `sim/`.
    Simulator,
    /// `runtime/`.
    Runtime,
    /// What wires everything together, and what nothing else may import.
    Wiring,
}

impl Layer {
    fn of(directory: &str) -> Layer {
        match directory.split('/').collect::<Vec<_>>().as_slice() {
            ["kernels", _] => Layer::Kernels,
            ["devices", "hal"] => Layer::Hal,
            ["devices", _] => Layer::Device,
            ["sim", "card"] => Layer::SimulatedCard,
            ["sim", _] => Layer::Simulator,
            ["runtime"] => Layer::Runtime,
            ["plugins", _] | ["tests", "features"] => Layer::Wiring,
            ["unlade" | "ingest" | "cli" | "benches" | "tests" | "xtask"] => Layer::Wiring,
            _ => panic!("{directory} has no place in the architecture; give it one here"),
        }
    }

    fn may_import(self, other: Layer) -> bool {
        match self {
            Layer::Kernels | Layer::Hal => other == Layer::Kernels,
            Layer::Device | Layer::Runtime => matches!(other, Layer::Kernels | Layer::Hal),
            Layer::SimulatedCard => false,
            Layer::Simulator => {
                matches!(other, Layer::Kernels | Layer::Hal | Layer::Simulator)
            }
            Layer::Wiring => true,
        }
    }
}

/// Crates that may contain `unsafe`; every other forbids it in its root file.
const MAY_BE_UNSAFE: [&str; 8] = [
    "devices/cuda",
    "devices/dpu",
    "devices/hal",
    "kernels/eval",
    "plugins/capi",
    "plugins/cdata",
    "plugins/python",
    "sim/gpu",
];

#[test]
fn imports_run_one_way() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let from = directory(&metadata, package);
        // What tests of a crate import is no part of it.
        let imports = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development);
        for dependency in imports {
            let Some(path) = &dependency.path else {
                continue;
            };
            let to = relative(&metadata, path.as_std_path());
            if !Layer::of(&from).may_import(Layer::of(&to)) {
                wrong.push(format!("{from} imports {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against the architecture: {wrong:#?}");
}

#[test]
fn unsafe_code_is_forbidden_where_it_does_not_belong() {
    let metadata = metadata();
    let mut roots = 0;
    for package in metadata.workspace_packages() {
        let directory = directory(&metadata, package);
        if MAY_BE_UNSAFE.contains(&directory.as_str()) {
            continue;
        }
        let is_root = |kind: &cargo_metadata::TargetKind| {
            use cargo_metadata::TargetKind::{Bin, Lib};
            matches!(kind, Bin | Lib)
        };
        for target in &package.targets {
            if !target.kind.iter().any(is_root) {
                continue;
            }
            roots += 1;
            let text = fs::read_to_string(&target.src_path).expect("a crate's root is readable");
            assert!(
                text.contains("#![forbid(unsafe_code)]"),
                "{} does not forbid unsafe code",
                target.src_path
            );
        }
    }
    assert!(roots > 10, "only {roots} crate roots found");
}

#[test]
fn kernels_do_no_input_or_output_and_know_no_clock() {
    let metadata = metadata();
    let mut files = 0;
    for package in metadata.workspace_packages() {
        if Layer::of(&directory(&metadata, package)) != Layer::Kernels {
            continue;
        }
        let root = package
            .manifest_path
            .parent()
            .expect("a manifest has a directory");
        for file in rust_files(&root.join("src").into_std_path_buf()) {
            files += 1;
            let text = fs::read_to_string(&file).expect("a source file is readable");
            for module in ["fs", "net", "process", "thread", "time"] {
                let path = format!("std::{module}");
                assert!(!text.contains(&path), "{} uses {path}", file.display());
            }
        }
    }
    assert!(files > 20, "only {files} source files found");
}

#[test]
fn the_command_line_links_no_query_engine() {
    let metadata = metadata();
    let linked = linked_by(&metadata, "unlade-cli");
    assert!(linked.contains("arrow-array"), "the walk found {linked:?}");
    let engines: Vec<_> = linked
        .iter()
        .filter(|name| name.starts_with("datafusion") || name.starts_with("ballista"))
        .collect();
    assert!(engines.is_empty(), "unlade-cli links {engines:?}");
}

#[test]
fn one_version_of_arrow() {
    let metadata = metadata();
    let versions: BTreeSet<String> = metadata
        .packages
        .iter()
        .filter(|package| package.name.as_str() == "arrow-array")
        .map(|package| package.version.to_string())
        .collect();
    assert_eq!(versions.len(), 1, "arrow-array comes as {versions:?}");
}

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    command.other_options([
        "--locked".to_owned(),
        "--filter-platform".to_owned(),
        platform,
    ]);
    command
        .exec()
        .expect("cargo metadata runs in the workspace")
}

fn directory(metadata: &Metadata, package: &Package) -> String {
    let manifest = package
        .manifest_path
        .parent()
        .expect("a manifest has a directory");
    relative(metadata, manifest.as_std_path())
}

fn relative(metadata: &Metadata, path: &Path) -> String {
    let path = path
        .strip_prefix(metadata.workspace_root.as_std_path())
        .unwrap_or_else(|_| panic!("{} is outside the workspace", path.display()));
    path.to_str()
        .expect("crate directories have plain names")
        .to_owned()
}

/// The names of all packages that end up in a package's binaries.
fn linked_by<'a>(metadata: &'a Metadata, root: &str) -> BTreeSet<&'a str> {
    let resolve = metadata
        .resolve
        .as_ref()
        .expect("metadata comes with a resolution");
    let root = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name.as_str() == root)
        .unwrap_or_else(|| panic!("the workspace has no {root}"));
    let (mut names, mut open) = (BTreeSet::new(), vec![&root.id]);
    let mut seen = BTreeSet::from([&root.id]);
    while let Some(id) = open.pop() {
        names.insert(metadata[id].name.as_str());
        let node = resolve.nodes.iter().find(|node| &node.id == id);
        for dependency in &node.expect("every package is resolved").deps {
            let linked = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            if linked && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    names
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a source directory is readable") {
        let path = entry.expect("a directory entry is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
