//! A copy of the workspace in which mutants are planted, built and tested.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::table::{Killer, Mutant};
use crate::step::{built_binary, command};

/// The longest that one test may take; the slowest takes a small part of it.
const LIMIT: Duration = Duration::from_secs(600);

/// The copy.
#[derive(Debug)]
pub(super) struct Workbench {
    tree: PathBuf,
    build: PathBuf,
}

/// What came of a test.
#[derive(Debug)]
pub(super) enum Tested {
    Passed,
    Failed,
    /// It could not be built or run, or did not end.
    Unknown(String),
}

/// A mutant in its place.
#[must_use = "a mutant that is not removed is in the way of the next one"]
pub(super) struct Planted {
    path: PathBuf,
    unmutated: String,
}

impl Planted {
    pub(super) fn remove(self) -> Result<(), String> {
        write(&self.path, self.unmutated.as_bytes())
    }
}

impl Workbench {
    /// Copies the working tree, without what git ignores. What is the same already stays, so that
    /// only what has changed since the last run is built again.
    pub(super) fn new() -> Result<Workbench, String> {
        let home = crate::root().join("target/mutants");
        let bench = Workbench {
            tree: home.join("tree"),
            build: home.join("build"),
        };
        for folder in [&bench.tree, &bench.build] {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        let listed = command(
            "git",
            &[
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ],
        )
        .output()
        .map_err(|error| format!("git: {error}"))?;
        if !listed.status.success() {
            let error = String::from_utf8_lossy(&listed.stderr);
            return Err(format!("the workspace is no git checkout: {error}"));
        }
        let listed = String::from_utf8_lossy(&listed.stdout);
        let there: BTreeSet<&str> = listed
            .split_terminator('\0')
            .filter(|file| crate::root().join(file).is_file())
            .collect();

        let record = home.join("copied");
        let copied = fs::read_to_string(&record).unwrap_or_default();
        for gone in copied.split_terminator('\0') {
            let path = bench.tree.join(gone);
            if !there.contains(gone) && path.is_file() {
                fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
            }
        }
        write(&record, listed.as_bytes())?;
        for file in there {
            bench.bring(file)?;
        }
        Ok(bench)
    }

    fn bring(&self, file: &str) -> Result<(), String> {
        let (from, to) = (crate::root().join(file), self.tree.join(file));
        let bytes = fs::read(&from).map_err(|error| failed(&from, &error))?;
        if fs::read(&to).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        write(&to, &bytes)
    }

    pub(super) fn plant(&self, mutant: &Mutant) -> Result<Planted, String> {
        let path = self.tree.join(mutant.file);
        let unmutated = read(&path)?;
        write(&path, mutated(&self.tree, mutant)?.as_bytes())?;
        Ok(Planted { path, unmutated })
    }

    /// Builds and runs one test.
    pub(super) fn test(&self, killer: Killer) -> Tested {
        let ran = self
            .build(killer)
            .and_then(|binary| self.run(killer, &binary));
        ran.unwrap_or_else(Tested::Unknown)
    }

    /// Builds the binary of a test.
    fn build(&self, killer: Killer) -> Result<PathBuf, String> {
        let mut words = vec![
            "test",
            "--no-run",
            "--message-format",
            "json-render-diagnostics",
        ];
        match killer.file {
            None => words.push("--lib"),
            Some(file) => words.extend(["--test", file]),
        }
        // Compiling every kernel optimised takes longer than the tests do unoptimised.
        let unoptimised = "profile.dev.package.unlade-eval.opt-level=0";
        words.extend(["--quiet", "--config", unoptimised]);
        let built = command("cargo", &words)
            .current_dir(self.tree.join(killer.package))
            .env("CARGO_TARGET_DIR", &self.build)
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        if !built.status.success() {
            let diagnostics = String::from_utf8_lossy(&built.stderr);
            return Err(format!("it does not build\n{diagnostics}"));
        }
        built_binary(&String::from_utf8_lossy(&built.stdout))
            .map(PathBuf::from)
            .ok_or_else(|| format!("cargo built no test binary for {killer}"))
    }

    fn run(&self, killer: Killer, binary: &Path) -> Result<Tested, String> {
        // The output goes to a file: a pipe that nobody empties would stop a test that says much.
        let log = self.build.join("test.log");
        let file = fs::File::create(&log).map_err(|error| failed(&log, &error))?;
        let mut test = Command::new(binary)
            .args([killer.test, "--exact"])
            .current_dir(self.tree.join(killer.package))
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(binary, &error))?;
        let started = Instant::now();
        let status = loop {
            let ended = test.try_wait().map_err(|error| failed(binary, &error))?;
            match ended {
                Some(status) => break status,
                None if started.elapsed() > LIMIT => {
                    // One that has just ended cannot be killed, and need not be.
                    let _ = test.kill();
                    let _ = test.wait();
                    return Err(format!("{killer} does not end in {} s", LIMIT.as_secs()));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        if !status.success() {
            return Ok(Tested::Failed);
        }
        if !read(&log)?.contains("test result: ok. 1 passed") {
            return Err(format!("there is no test {killer}"));
        }
        Ok(Tested::Passed)
    }
}

/// The file of a mutant, in a workspace, with the mutant in it.
///
/// # Errors
/// Where the text that it replaces is not there, or there more than once.
pub(super) fn mutated(workspace: &Path, mutant: &Mutant) -> Result<String, String> {
    let unmutated = read(&workspace.join(mutant.file))?;
    match unmutated.matches(mutant.original).count() {
        1 => Ok(unmutated.replacen(mutant.original, mutant.planted, 1)),
        found => Err(format!(
            "mutant `{}`: {} has {found} places with `{}` where one is needed; give the text that \
             stands there now in xtask/src/mutants/table.rs",
            mutant.name, mutant.file, mutant.original
        )),
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| failed(path, &error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
