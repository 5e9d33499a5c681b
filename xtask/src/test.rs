//! Every check that a change must pass.

use clap::Args;

use crate::flagged::tests_with;
use crate::step::{Ended, Outcome, cargo, cargo_with, command, outcome, step, summary};
use crate::{card_document, example, header, install_c, qemu, simulate, tools, tpcds, wheel};

/// What to leave out.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the workspace's tests
    #[arg(long)]
    quick: bool,
}

/// The crates of kernels and hal that contain unsafe code; all others forbid it, which
/// `tests/tests/imports.rs` checks, and have nothing that Miri could find.
const UNDER_MIRI: [&str; 2] = ["unlade-eval", "unlade-hal"];

/// The crates that have models of concurrency: the pool, and the rings that a card shares.
const MODELLED: [&str; 2] = ["unlade-runtime", "unlade-dpu"];

pub(crate) fn run(options: &Options) -> bool {
    let mut steps = Vec::new();
    if !options.quick {
        steps.push(step("lock files", lock_files));
        steps.push(step("format", || cargo(&["fmt", "--all", "--check"])));
        steps.push(step("lints", lints));
    }
    // All that fails is told at once.
    let tests = ["test", "--workspace", "--quiet", "--no-fail-fast"];
    steps.push(step("tests", || cargo(&tests)));
    if !options.quick {
        steps.push(step("the Python package (wheel)", wheel::step));
        steps.push(step("TPC-DS in DataFusion", tpcds::step));
        steps.push(step("the C interface's header", header::step));
        steps.push(step("the C interface, installed", install_c::step));
        steps.push(step("the card's driver with iommufd", iommufd));
        steps.push(step("the card's document (Python)", card_document::check));
        steps.push(step("random programs on the simulated GPU", simulated_gpu));
        steps.push(step(
            "random programs on the simulated card",
            simulated_card,
        ));
        steps.push(step("cards on the kernel's VFIO (QEMU)", qemu::step));
        steps.extend(rest());
    }
    summary(&steps)
}

fn rest() -> Vec<Ended> {
    vec![
        step("documentation", || {
            cargo_with(
                &[("RUSTDOCFLAGS", "-D warnings")],
                &["doc", "--workspace", "--no-deps", "--quiet"],
            )
        }),
        step("the example outside of the workspace", example::step),
        step("metrics over HTTP", metrics_over_http),
        step("models of concurrency", loom),
        step("the runtime, simulated", || {
            simulate::runs(&simulate::Options::default())
        }),
        step("undefined behaviour (Miri)", miri),
        step("GPU kernels (ptxas)", ptxas),
        step("aarch64", aarch64),
        step("dependencies", dependencies),
    ]
}

/// Those outside of the workspace that follow its crates, which a new dependency of one makes stale.
const MANIFESTS: [&str; 2] = [example::MANIFEST, "tests/fuzz/Cargo.toml"];

/// First, as what needs them comes late: no lock file is stale.
fn lock_files() -> Outcome {
    const UPDATE: [&str; 5] = [
        "update",
        "--workspace",
        "--locked",
        "--quiet",
        "--manifest-path",
    ];
    for manifest in MANIFESTS {
        let outcome = cargo(&[&UPDATE[..], &[manifest]].concat());
        if outcome != Outcome::Passed {
            println!("where it is stale: cargo update --workspace --manifest-path {manifest}");
            return outcome;
        }
    }
    Outcome::Passed
}

/// The crates with code for what is off by default: iommufd, metrics over HTTP, Substrait.
const FEATURED: [&str; 4] = ["unlade", "unlade-cli", "unlade-dpu", "unlade-tests"];

/// Of the whole workspace, and of what only a feature that is off by default brings in.
fn lints() -> Outcome {
    const TARGETS: [&str; 5] = ["--all-targets", "--quiet", "--", "-D", "warnings"];
    let of = |chosen: &[&str]| cargo(&[&["clippy"], chosen, &TARGETS].concat());
    let packages = FEATURED.iter().flat_map(|name| ["-p", name]);
    let featured: Vec<&str> = packages
        .chain(["--features", "iommufd,prometheus,substrait"])
        .collect();
    match of(&["--workspace"]) {
        Outcome::Passed => of(&featured),
        other => other,
    }
}

/// What the driver makes of iommufd's errors; a kernel that has it is not needed.
fn iommufd() -> Outcome {
    cargo(&[
        "test",
        "-p",
        "unlade-dpu",
        "--features",
        "iommufd",
        "--lib",
        "--quiet",
    ])
}

/// What only a build with the server has.
fn metrics_over_http() -> Outcome {
    cargo(&[
        "test",
        "-p",
        "unlade-cli",
        "--features",
        "prometheus",
        "--test",
        "it",
        "--quiet",
        "metrics",
    ])
}

/// The conformance suite in every mode of the simulated GPU, and more random programs than the
/// workspace's tests run. Of the whole workspace, so that nothing is built again.
fn simulated_gpu() -> Outcome {
    cargo_with(
        &[("UNLADE_FUZZ_CASES", "20000")],
        &[
            "test",
            "--workspace",
            "--test",
            "cuda_device",
            "--quiet",
            "--",
            "--nocapture",
        ],
    )
}

/// More random programs on the model of a card than the workspace's tests run: half a minute of them.
fn simulated_card() -> Outcome {
    cargo_with(
        &[("UNLADE_FUZZ_CASES", "1500")],
        &[
            "test",
            "--workspace",
            "--test",
            "conformance",
            "--quiet",
            "random_programs_give_the_oracles_results",
            "--",
            "--nocapture",
        ],
    )
}

/// Whatever is modelled, as far as it passes.
fn loom() -> Outcome {
    let mut outcomes = MODELLED.iter().map(|name| models(name));
    let failed = outcomes.find(|each| *each != Outcome::Passed);
    failed.unwrap_or(Outcome::Passed)
}

/// A crate's models under loom, which tries every interleaving up to a bound.
fn models(name: &str) -> Outcome {
    tests_with("loom", name, |models| {
        models.args(["--quiet", "model"]);
        models.env("LOOM_MAX_PREEMPTIONS", "2");
    })
}

fn miri() -> Outcome {
    if let Err(error) = tools::miri() {
        return Outcome::NotRun(error);
    }
    let mut words = vec![format!("+{}", tools::NIGHTLY), "miri".into(), "test".into()];
    words.push("--lib".into());
    words.push("--quiet".into());
    words.extend(
        UNDER_MIRI
            .iter()
            .flat_map(|name| ["-p".to_owned(), (*name).to_owned()]),
    );
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut miri = command("cargo", &words);
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("CARGO_TARGET_DIR", "target/miri");
    outcome(miri)
}

/// Every shape of kernel, assembled for every architecture. Of the whole workspace, so that nothing is
/// built again.
fn ptxas() -> Outcome {
    match tools::ptxas() {
        Ok(binary) => cargo_with(
            &[("UNLADE_PTXAS", &binary.to_string_lossy())],
            &["test", "--workspace", "--test", "assemble", "--quiet"],
        ),
        Err(error) => Outcome::NotRun(error),
    }
}

/// All but the tools of a clone, and but what links DataFusion, which has nothing of a processor's and
/// would have all of that checked once more.
fn aarch64() -> Outcome {
    if let Err(error) = tools::aarch64() {
        return Outcome::NotRun(error);
    }
    cargo(&[
        "check",
        "--workspace",
        "--exclude",
        "xtask",
        "--exclude",
        "unlade-ballista",
        "--exclude",
        "unlade-datafusion",
        "--exclude",
        "unlade-sql",
        "--quiet",
        "--target",
        tools::AARCH64,
    ])
}

/// Licences, sources and duplicate versions; the list of known vulnerabilities is not in a
/// package registry and is left to those who can reach it: `cargo deny check advisories`.
fn dependencies() -> Outcome {
    match tools::cargo_deny() {
        Ok(binary) => outcome(command(
            &binary.to_string_lossy(),
            &[
                "--log-level",
                "error",
                "check",
                "licenses",
                "bans",
                "sources",
            ],
        )),
        Err(error) => Outcome::NotRun(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_features_bring_in_is_linted_wherever_it_is() {
        let with = |feature: &str| {
            let mut found = Vec::new();
            let text = format!("\n{feature} = [");
            crates_with(&text, &crate::root(), 2, &mut found);
            found.sort();
            found
        };
        assert_eq!(with("iommufd"), FEATURED);
        let served = with("prometheus");
        assert!(
            served.iter().all(|name| FEATURED.contains(&&**name)),
            "{served:?}"
        );
        assert!(!served.is_empty());
    }

    /// Names of the packages in whose manifests a text is, in a folder and so far below it.
    fn crates_with(text: &str, folder: &Path, depth: u32, found: &mut Vec<String>) {
        if let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml"))
            && manifest.contains(text)
        {
            let name = manifest
                .lines()
                .find_map(|line| line.strip_prefix("name = \""));
            found.push(name.expect("it has one").trim_end_matches('"').to_owned());
        }
        let below = fs::read_dir(folder).expect("it is a folder").flatten();
        let folders = below.map(|entry| entry.path()).filter(|path| path.is_dir());
        let skipped = |path: &Path| path.ends_with("target") || path.ends_with(".git");
        for path in folders.filter(|path| depth > 0 && !skipped(path)) {
            crates_with(text, &path, depth - 1, found);
        }
    }
}
