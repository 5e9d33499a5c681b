//! Tools that are installed when they are missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::command;

/// The toolchain that Miri runs on, and that builds what is fuzzed: both need a nightly one.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-20";
/// The version of cargo-deny that deny.toml is written for.
const CARGO_DENY: &str = "0.20.2";
/// The version of cargo-fuzz that `tests/fuzz` is run with.
const CARGO_FUZZ: &str = "0.13.2";
/// The version of cbindgen that makes the C interface's header; others may word it otherwise.
const CBINDGEN: &str = "0.29.4";
/// The release of CUDA whose assembler kernels are tried with.
const CUDA: &str = "13.0.*";
/// The other target that everything must compile for.
pub(crate) const AARCH64: &str = "aarch64-unknown-linux-gnu";

/// Makes the standard library of the other target available, and the C compiler that the
/// compression libraries are built with.
pub(crate) fn aarch64() -> Result<(), String> {
    quietly(command("rustup", &["target", "add", AARCH64]))?;
    let compiler = || quietly(command("aarch64-linux-gnu-gcc", &["--version"]));
    if compiler().is_err() {
        println!("    installing gcc-aarch64-linux-gnu");
        // Works for root on Debian and its kin; elsewhere the error below says what is missing.
        let _ = quietly(command("apt-get", &["update"]));
        let packages = [
            "install",
            "--yes",
            "gcc-aarch64-linux-gnu",
            "libc6-dev-arm64-cross",
        ];
        let _ = quietly(command("apt-get", &packages));
    }
    compiler()
}

/// Makes Miri available.
pub(crate) fn miri() -> Result<(), String> {
    let probe = command("cargo", &[&format!("+{NIGHTLY}"), "miri", "--version"]);
    if quietly(probe).is_ok() {
        return Ok(());
    }
    println!("    installing {NIGHTLY} with Miri");
    quietly(command(
        "rustup",
        &[
            "toolchain",
            "install",
            NIGHTLY,
            "--profile",
            "minimal",
            "--component",
            "miri,rust-src",
            "--no-self-update",
        ],
    ))
}

/// Makes cargo-deny available and says where.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    installed("cargo-deny", CARGO_DENY)
}

/// Makes cbindgen available and says where.
pub(crate) fn cbindgen() -> Result<PathBuf, String> {
    installed("cbindgen", CBINDGEN)
}

/// Makes available what C programs are built with: pkg-config and CMake.
pub(crate) fn c_builders() -> Result<(), String> {
    let all = || -> Result<(), String> {
        for tool in ["gcc", "g++", "pkg-config", "cmake"] {
            quietly(command(tool, &["--version"]))?;
        }
        Ok(())
    };
    if all().is_err() {
        println!("    installing pkg-config and cmake");
        // As in `aarch64`.
        let _ = quietly(command("apt-get", &["update"]));
        let packages = ["install", "--yes", "gcc", "g++", "pkg-config", "cmake"];
        let _ = quietly(command("apt-get", &packages));
    }
    all()
}

/// Makes cargo-fuzz available and says where. It needs the toolchain of [`miri`], and a compiler of
/// C++ for libFuzzer.
pub(crate) fn cargo_fuzz() -> Result<PathBuf, String> {
    quietly(command("c++", &["--version"]))?;
    installed("cargo-fuzz", CARGO_FUZZ)
}

/// A binary of the package registry: the user's own if it is of the right version, else one below
/// `target`.
fn installed(name: &str, version: &str) -> Result<PathBuf, String> {
    let folder = crate::root().join("target/tools");
    let own = folder.join("bin").join(name);
    for binary in [PathBuf::from(name), own.clone()] {
        let said = Command::new(&binary).arg("--version").output();
        if said.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(version)) {
            return Ok(binary);
        }
    }
    println!("    installing {name} {version}, which takes some minutes once");
    // Unoptimised: it runs for seconds, and to optimise it takes minutes.
    let mut install = command(
        "cargo",
        &["install", name, "--locked", "--quiet", "--debug"],
    );
    install.args(["--version", version, "--root"]).arg(&folder);
    install.env("CARGO_TARGET_DIR", folder.join("build"));
    quietly(install)?;
    // The binary is all that is needed; what it was built from is large.
    let _ = fs::remove_dir_all(folder.join("build"));
    Ok(own)
}

/// A virtual environment of Python in a folder, with what a file of requirements lists and nothing else:
/// made anew where the list is not the one that it was made with.
pub(crate) fn python_environment(folder: &Path, list: &Path) -> Result<(), String> {
    let wanted = fs::read(list).map_err(|error| format!("{}: {error}", list.display()))?;
    let made_with = folder.join("requirements.txt");
    if fs::read(&made_with).is_ok_and(|made_with| made_with == wanted) {
        return Ok(());
    }
    println!("    fetching what {} lists", list.display());
    let mut make = command("python3", &["-m", "venv", "--clear"]);
    make.arg(folder);
    quietly(make)?;
    let mut install = pip(&folder.join("bin/python"));
    install.arg("--requirement").arg(list);
    quietly(install).map_err(|error| format!("what {} lists: {error}", list.display()))?;
    fs::write(&made_with, wanted).map_err(|error| format!("{}: {error}", made_with.display()))
}

/// `pip install` in the environment of a Python.
pub(crate) fn pip(python: &Path) -> Command {
    let words = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    command(&python.to_string_lossy(), &words)
}

/// Makes `ptxas`, the assembler of PTX, available and says where: the one that is on the path or
/// in `UNLADE_PTXAS`, else the one of the Python package index, below `target`.
pub(crate) fn ptxas() -> Result<PathBuf, String> {
    let named = std::env::var_os("UNLADE_PTXAS").map(PathBuf::from);
    let folder = crate::root().join("target/tools/ptxas");
    let own = || {
        let library = fs::read_dir(folder.join("lib")).ok()?;
        library
            .filter_map(Result::ok)
            .map(|python| python.path().join("site-packages/nvidia/cu13/bin/ptxas"))
            .find(|path| path.is_file())
    };
    let chosen = named.unwrap_or_else(|| PathBuf::from("ptxas"));
    for binary in [chosen].into_iter().chain(own()) {
        if quietly(command(&binary.to_string_lossy(), &["--version"])).is_ok() {
            return Ok(binary);
        }
    }
    println!("    installing ptxas {CUDA}, 200 MB, from the Python package index");
    let venv = folder.to_string_lossy();
    quietly(command("python3", &["-m", "venv", &venv]))?;
    let packages = ["cuda-nvcc", "nvvm", "cuda-crt", "cuda-runtime"];
    let packages = packages.map(|name| format!("nvidia-{name}=={CUDA}"));
    let pip = folder.join("bin/pip");
    let mut install = command(&pip.to_string_lossy(), &["install", "--quiet"]);
    install.args(packages);
    quietly(install)?;
    own().ok_or_else(|| format!("the packages of CUDA {CUDA} hold no ptxas"))
}

/// Runs a command without showing its output, unless it fails.
pub(crate) fn quietly(command: Command) -> Result<(), String> {
    said(command).map(drop)
}

/// Where cargo builds.
pub(crate) fn target() -> Result<PathBuf, String> {
    let words = [
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ];
    let metadata = said(command("cargo", &words))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    let target = metadata["target_directory"].as_str();
    target
        .map(PathBuf::from)
        .ok_or_else(|| "cargo names no target directory".to_owned())
}

/// The same, for what it says.
pub(crate) fn said(mut command: Command) -> Result<String, String> {
    match command.stdin(Stdio::null()).output() {
        Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stderr);
            let last: Vec<&str> = said.lines().rev().take(3).collect();
            Err(format!(
                "{command:?}: {}",
                last.into_iter().rev().collect::<Vec<_>>().join("; ")
            ))
        }
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
