//! `cargo xtask install-c`: the C interface, where C programs look for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::step::{Outcome, cargo, command, outcome};
use crate::tools::target;

/// Where to, and what of it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where `include`, `lib` and `share` are, or are made
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
    /// Put before the prefix, which does not know of it: where a package is made
    #[arg(long)]
    destdir: Option<PathBuf>,
    /// An unoptimised build, which is there sooner
    #[arg(long)]
    debug: bool,
    /// No libunlade.a, which has everything in it and is large
    #[arg(long)]
    no_static: bool,
}

pub(crate) fn run(options: &Options) -> bool {
    match build(options).and_then(|built| install(options, &built)) {
        Ok(folder) => {
            println!("installed in {}", folder.display());
            true
        }
        Err(error) => {
            eprintln!("install-c: {error}");
            false
        }
    }
}

/// What the library is called that programs are linked against, and the number of its ABI.
const LIBRARY: &str = "libunlade.so";

/// Puts everything where it belongs, of libraries that were built in a folder.
fn install(options: &Options, built: &Path) -> Result<PathBuf, String> {
    if !options.prefix.is_absolute() {
        return Err(format!(
            "{}: programs find it by this prefix from wherever they are: it begins with `/`",
            options.prefix.display()
        ));
    }
    let folder = match &options.destdir {
        None => options.prefix.clone(),
        Some(destdir) => destdir.join(options.prefix.strip_prefix("/").unwrap_or(&options.prefix)),
    };
    let crate_root = crate::root().join("plugins/capi");
    let Versions { release, abi } = Versions::read(&crate_root)?;
    let lib = folder.join("lib");
    copy(
        &crate_root.join("include/unlade.h"),
        &folder.join("include/unlade.h"),
    )?;
    let full = format!("{LIBRARY}.{release}");
    copy(&built.join("libunlade_c.so"), &lib.join(&full))?;
    link(&full, &lib.join(format!("{LIBRARY}.{abi}")))?;
    link(&full, &lib.join(LIBRARY))?;
    if !options.no_static {
        copy(&built.join("libunlade_c.a"), &lib.join("libunlade.a"))?;
    }
    for (template, to) in [
        ("unlade.pc.in", "lib/pkgconfig/unlade.pc"),
        (
            "unlade-config.cmake.in",
            "lib/cmake/unlade/unlade-config.cmake",
        ),
        (
            "unlade-config-version.cmake.in",
            "lib/cmake/unlade/unlade-config-version.cmake",
        ),
    ] {
        let from = crate_root.join("install").join(template);
        let text = fs::read_to_string(&from).map_err(|error| told(&from, &error))?;
        let text = text
            .replace("@PREFIX@", &options.prefix.to_string_lossy())
            .replace("@VERSION@", &release)
            .replace("@ABI@", &abi);
        write(&folder.join(to), text.as_bytes())?;
    }
    Ok(folder)
}

/// Builds the libraries; the folder that they are in.
fn build(options: &Options) -> Result<PathBuf, String> {
    let kinds = match options.no_static {
        true => "cdylib",
        false => "cdylib,staticlib",
    };
    let mut words = vec!["rustc", "-p", "unlade-capi", "--lib", "--crate-type", kinds];
    if !options.debug {
        words.push("--release");
    }
    match outcome(command("cargo", &words)) {
        Outcome::Passed => {}
        other => return Err(format!("the library is not built: {other:?}")),
    }
    Ok(target()?.join(if options.debug { "debug" } else { "release" }))
}

struct Versions {
    /// Of the library.
    release: String,
    /// The major number of the ABI.
    abi: String,
}

impl Versions {
    fn read(crate_root: &Path) -> Result<Self, String> {
        let manifest = crate::root().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).map_err(|error| told(&manifest, &error))?;
        let release = text
            .lines()
            .find_map(|line| line.strip_prefix("version = \""))
            .ok_or_else(|| format!("{}: no version", manifest.display()))?;
        let header = crate_root.join("include/unlade.h");
        let text = fs::read_to_string(&header).map_err(|error| told(&header, &error))?;
        let abi = text
            .lines()
            .find_map(|line| line.strip_prefix("#define UNLADE_ABI_MAJOR "))
            .ok_or_else(|| format!("{}: no UNLADE_ABI_MAJOR", header.display()))?;
        Ok(Versions {
            release: release.trim_end_matches('"').to_owned(),
            abi: abi.to_owned(),
        })
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let bytes = fs::read(from).map_err(|error| told(from, &error))?;
    write(to, &bytes)
}

/// A new file in the place of one that may be in use.
fn write(to: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = to.parent().expect("it lies in a folder");
    fs::create_dir_all(folder).map_err(|error| told(folder, &error))?;
    let _there = fs::remove_file(to);
    fs::write(to, bytes).map_err(|error| told(to, &error))
}

fn link(name: &str, at: &Path) -> Result<(), String> {
    let _there = fs::remove_file(at);
    symlink(name, at).map_err(|error| told(at, &error))
}

fn told(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// As a step of `cargo xtask test`: the C interface installed, and the examples built against it by
/// pkg-config and by CMake, as users build them, and run.
pub(crate) fn step() -> Outcome {
    match tried() {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("{error}");
            Outcome::Failed
        }
    }
}

fn tried() -> Result<Outcome, String> {
    if let Err(error) = crate::tools::c_builders() {
        return Ok(Outcome::NotRun(error));
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let prefix = folder.path().join("unlade");
    // The library of the workspace's tests, so that nothing is built again.
    match cargo(&["test", "--workspace", "--no-run", "--quiet"]) {
        Outcome::Passed => {}
        other => return Ok(other),
    }
    let options = Options {
        prefix: prefix.clone(),
        destdir: None,
        debug: true,
        no_static: true,
    };
    install(&options, &target()?.join("debug/deps"))?;
    let example = crate::root().join("plugins/capi/examples");
    let shell = "set -e\n\
        export PKG_CONFIG_PATH=$1/lib/pkgconfig\n\
        gcc $2/filter.c $(pkg-config --cflags --libs unlade) -Wl,-rpath,$1/lib -o $1/filter\n\
        $1/filter\n\
        cmake -S $2 -B $1/build -DCMAKE_PREFIX_PATH=$1 -DCMAKE_BUILD_TYPE=Debug\n\
        cmake --build $1/build\n\
        $1/build/filter\n\
        $1/build/async\n\
        $1/build/velox_function";
    let mut build = command("sh", &["-c", shell, "sh"]);
    build.args([&prefix, &example]);
    Ok(outcome(build))
}
