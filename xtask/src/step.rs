//! One command, its outcome and its time.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Several times what the longest command takes on two cores: what is not done by then hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(45 * 60);

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// A tool that it needs is not to be had; with the exact error. Never counted as passed.
    NotRun(String),
}

/// A step that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// Runs a step, printing its name first.
pub(crate) fn step(name: &'static str, body: impl FnOnce() -> Outcome) -> Ended {
    println!("\n==> {name}");
    let started = Instant::now();
    let outcome = body();
    Ended {
        name,
        outcome,
        took: started.elapsed(),
    }
}

/// `cargo` with these words, in the workspace's root, its output shown.
pub(crate) fn cargo(words: &[&str]) -> Outcome {
    outcome(command("cargo", words))
}

/// The same with variables set.
pub(crate) fn cargo_with(variables: &[(&str, &str)], words: &[&str]) -> Outcome {
    let mut command = command("cargo", words);
    command.envs(variables.iter().copied());
    outcome(command)
}

/// A command in the workspace's root.
pub(crate) fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).current_dir(crate::root());
    // Set by the cargo that runs xtask; they would pin its toolchain on those that run below it.
    command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC");
    command
}

/// Runs a command to its end, or to the end of its time.
pub(crate) fn outcome(command: Command) -> Outcome {
    outcome_within(command, COMMAND_LIMIT)
}

/// The same for one that takes so long.
pub(crate) fn outcome_within(mut command: Command, limit: Duration) -> Outcome {
    println!("    {command:?}");
    let ended = command.spawn().and_then(|child| within(child, limit));
    match ended {
        Ok(Some(status)) if status.success() => Outcome::Passed,
        Ok(_) => Outcome::Failed,
        Err(error) => Outcome::NotRun(format!("{command:?}: {error}")),
    }
}

/// Waits for a command; one that takes longer than `limit` is killed with all that it started, and
/// what still ran is named.
pub(crate) fn within(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(20));
    }
    println!("\nnot done after {limit:?}; killed, with what it still ran:");
    for process in descendants(child.id())? {
        println!("    {} {}", process.id, process.command);
        // It may have ended by now.
        let _ended = Command::new("kill")
            .args(["-KILL", &process.id.to_string()])
            .status()?;
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

#[derive(Clone, Debug)]
struct Process {
    id: u32,
    parent: u32,
    command: String,
}

/// The processes that a process started, and those that these did.
fn descendants(root: u32) -> io::Result<Vec<Process>> {
    let others: Vec<Process> = fs::read_dir("/proc")?
        .filter_map(|entry| process(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut found: Vec<Process> = Vec::new();
    loop {
        let known = |id: u32| id == root || found.iter().any(|process| process.id == id);
        let new = others
            .iter()
            .filter(|process| known(process.parent) && !known(process.id));
        let new: Vec<Process> = new.cloned().collect();
        if new.is_empty() {
            return Ok(found);
        }
        found.extend(new);
    }
}

/// `None` if it has ended.
fn process(id: u32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim();
    let command = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    Some(Process {
        id,
        parent: parent.parse().ok()?,
        command: String::from_utf8_lossy(&command).replace('\0', " "),
    })
}

/// Builds tests with a command of cargo's that asks for messages as JSON; the binary.
///
/// # Errors
/// What comes of the step without one.
pub(crate) fn built_tests(mut build: Command) -> Result<String, Outcome> {
    println!("    {build:?}");
    let built = match build.stderr(Stdio::inherit()).output() {
        Ok(built) if built.status.success() => built.stdout,
        Ok(_) => return Err(Outcome::Failed),
        Err(error) => return Err(Outcome::NotRun(format!("{build:?}: {error}"))),
    };
    // The package's binaries are among them, for tests that run these.
    executable(&String::from_utf8_lossy(&built), |message| {
        message["profile"]["test"] == true
    })
    .ok_or(Outcome::Failed)
}

/// The binary that cargo, asked for messages as JSON, says it built.
pub(crate) fn built_binary(messages: &str) -> Option<String> {
    executable(messages, |_any| true)
}

/// The first that is of the right kind.
fn executable(messages: &str, is_right: impl Fn(&serde_json::Value) -> bool) -> Option<String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(is_right)
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
}

/// Prints what came of the steps; whether none failed.
pub(crate) fn summary(steps: &[Ended]) -> bool {
    println!("\n{:<28} {:>8}  outcome", "step", "seconds");
    for step in steps {
        let outcome = match &step.outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed => "FAILED".to_owned(),
            Outcome::NotRun(error) => format!("not run: {error}"),
        };
        println!(
            "{:<28} {:>8.1}  {outcome}",
            step.name,
            step.took.as_secs_f64()
        );
    }
    let count =
        |wanted: fn(&Outcome) -> bool| steps.iter().filter(|step| wanted(&step.outcome)).count();
    let passed = count(|outcome| *outcome == Outcome::Passed);
    let failed = count(|outcome| *outcome == Outcome::Failed);
    let skipped = steps.len() - passed - failed;
    println!("\nsteps: {passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed_with_what_it_started() {
        let shell = Command::new("sh")
            .args(["-c", "sleep 1000 & wait"])
            .spawn()
            .unwrap();
        let root = shell.id();
        let started = || descendants(root).unwrap();
        while started().is_empty() {
            thread::yield_now();
        }
        let sleeping = started()[0].id;
        assert_eq!(within(shell, Duration::ZERO).unwrap(), None);
        // A killed process ends soon, and is a zombie until it is collected, which has no command.
        let runs = || process(sleeping).is_some_and(|process| !process.command.is_empty());
        let begun = Instant::now();
        while runs() {
            assert!(begun.elapsed() < COMMAND_LIMIT, "it goes on");
            thread::yield_now();
        }
    }

    #[test]
    fn a_command_that_ends_in_time_tells_how() {
        let run = |program| within(Command::new(program).spawn().unwrap(), COMMAND_LIMIT);
        assert!(run("true").unwrap().unwrap().success());
        assert!(!run("false").unwrap().unwrap().success());
    }
}
