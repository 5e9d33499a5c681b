//! How programs are built: with every warning an error, and on demand with the sanitizers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    /// With AddressSanitizer, which looks for leaks at the end, too: of memory that C took, and that
    /// the library did, which takes it from the same allocator.
    Sanitized,
}

/// The folder of the crate.
pub(crate) fn crate_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The shared library, which is built with the tests and lies beside them.
pub(crate) fn library() -> PathBuf {
    let program = std::env::current_exe().expect("the test has a path");
    let library = program.with_file_name("libunlade_c.so");
    assert!(library.is_file(), "{}: not there", library.display());
    library
}

/// A program of these sources, built in a folder that it needs as long as it runs.
pub(crate) fn build(source: &str, flags: &[&str], mode: Mode, into: &Path) -> PathBuf {
    let source = crate_root().join(source);
    let is_cpp = source.extension() == Some(OsStr::new("cpp"));
    let name = source.file_stem().expect("it has a name");
    let program = into.join(name);
    // As it is when it is installed.
    std::fs::create_dir_all(into).expect("the folder can be made");
    for link in ["libunlade.so", "libunlade.so.0"] {
        let link = into.join(link);
        if !link.exists() {
            std::os::unix::fs::symlink(library(), &link).expect("the link can be made");
        }
    }
    let (compiler, standard) = match is_cpp {
        true => ("g++", "-std=c++17"),
        false => ("gcc", "-std=c99"),
    };
    let mut command = Command::new(compiler);
    command.args([
        standard,
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "-g",
        "-O1",
    ]);
    if mode == Mode::Sanitized {
        command.args(["-fsanitize=address", "-fno-omit-frame-pointer"]);
    }
    command.arg("-I").arg(crate_root().join("include"));
    command.arg("-I").arg(crate_root().join("examples"));
    command.args(flags).arg(&source).arg("-o").arg(&program);
    command.arg("-L").arg(into).args(["-lunlade", "-pthread"]);
    command.arg(format!("-Wl,-rpath,{}", into.display()));
    let out = command.output().expect("the compiler runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}\n{said}");
    program
}

/// The simulated driver, which is built with the tests, too.
fn simulated_driver() -> PathBuf {
    library().with_file_name("libunlade_sim_gpu.so")
}

/// A driver in front of the simulated one, which has what this source has of its own, and else what is
/// behind it. It has the name by which programs look for CUDA's, so the one behind it gets another.
#[cfg(feature = "device-data")]
pub(crate) fn driver_between(source: &str, into: &Path) -> PathBuf {
    const NAME: &[u8] = b"\0libcuda.so\0";
    const BEHIND: &[u8] = b"\0libcudb.so\0";

    std::fs::create_dir_all(into).expect("the folder can be made");
    let mut driver = std::fs::read(simulated_driver()).expect("the simulated driver is there");
    let mut names = driver.windows(NAME.len());
    let name = names.position(|bytes| bytes == NAME);
    let name = name.expect("the simulated driver has CUDA's name");
    driver[name..][..BEHIND.len()].copy_from_slice(BEHIND);
    std::fs::write(into.join("libcudb.so"), driver).expect("it can be written");
    let library = into.join("libbetween.so");
    let mut command = Command::new("gcc");
    command.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1"]);
    command.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so"]);
    command
        .arg(crate_root().join(source))
        .arg("-o")
        .arg(&library);
    command.args(["-Wl,--no-as-needed", "-L"]).arg(into);
    command.args(["-l:libcudb.so", "-ldl"]);
    command.arg(format!("-Wl,-rpath,{}", into.display()));
    let out = command.output().expect("the compiler runs");
    must_end_well(&command, &out);
    library
}

/// Runs a program; what it prints. It must end well.
pub(crate) fn run(program: &Path, words: &[&str]) -> String {
    run_on(&simulated_driver(), program, words)
}

/// As [`run`], on this driver.
pub(crate) fn run_on(driver: &Path, program: &Path, words: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(words).env("UNLADE_SIM_GPU_LIBRARY", driver);
    let out = command.output().expect("the program runs");
    must_end_well(&command, &out)
}

fn must_end_well(command: &Command, out: &Output) -> String {
    let (printed, said) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(
        out.status.success(),
        "{command:?}: {}\n{printed}{said}",
        out.status
    );
    printed.into_owned()
}
