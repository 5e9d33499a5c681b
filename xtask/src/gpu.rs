//! `cargo xtask gpu`: one folder to carry to a machine with an NVIDIA GPU, where there may be
//! neither Rust nor a network.
//!
//! It holds the command, the checker and a script that runs them: `sh check.sh` ends in a short
//! table and leaves the same as JSON beside it. Binaries are built for the oldest C library that
//! this machine's toolchain links, stripped, and portable: they choose their instructions when
//! they run.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::step::{Outcome, command, outcome};

/// Where to put it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder; what is in it is replaced
    #[arg(long, default_value = "target/gpu")]
    out: PathBuf,
    /// Leave out the command, whose demonstration is then not run
    #[arg(long)]
    no_cli: bool,
}

/// Most bytes of the folder, so that it can be sent anywhere.
const MOST_BYTES: u64 = 60 << 20;

/// What `check.sh` is.
const SCRIPT: &str = include_str!("gpu/check.sh");

/// The same on the tools that people use today, where they are installed.
const PEERS: &str = include_str!("gpu/peers.py");

pub(crate) fn run(options: &Options) -> bool {
    match pack(options) {
        Ok(bytes) => {
            let out = options.out.display();
            println!("{out}: {} MB; there: sh check.sh", bytes.div_ceil(1 << 20));
            true
        }
        Err(error) => {
            eprintln!("gpu: {error}");
            false
        }
    }
}

fn pack(options: &Options) -> Result<u64, String> {
    let mut binaries = vec![("unlade-tests", "unlade-check")];
    if !options.no_cli {
        binaries.push(("unlade-cli", "unlade"));
    }
    let mut build = command("cargo", &["build", "--release", "--quiet"]);
    for (package, binary) in &binaries {
        build.args(["--package", package, "--bin", binary]);
    }
    build.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    if outcome(build) != Outcome::Passed {
        return Err("the build failed".to_owned());
    }
    let out = crate::root().join(&options.out);
    let failed = |path: &Path, error| format!("{}: {error}", path.display());
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).map_err(|error| failed(&out, error))?;
    for (_, binary) in &binaries {
        let built = crate::root().join("target/release").join(binary);
        fs::copy(&built, out.join(binary)).map_err(|error| failed(&built, error))?;
    }
    for (name, text) in [("check.sh", SCRIPT), ("peers.py", PEERS)] {
        fs::write(out.join(name), text).map_err(|error| failed(&out.join(name), error))?;
    }
    let mut bytes = 0;
    for entry in fs::read_dir(&out).map_err(|error| failed(&out, error))? {
        let entry = entry.map_err(|error| failed(&out, error))?;
        bytes += entry
            .metadata()
            .map_err(|error| failed(&entry.path(), error))?
            .len();
    }
    match bytes <= MOST_BYTES {
        true => Ok(bytes),
        false => Err(format!("{bytes} bytes are more than {MOST_BYTES}")),
    }
}
