//! The process of a simulated card: this program run again, as `unlade card`.
//!
//! It ends with its standard input, of which this process has the other end and nobody else: so it
//! ends with this process, however that ends, and takes along the folder that it has made for its
//! socket. Both are gone as soon as the driver is connected.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use unlade::Device;

use crate::report;

/// How long the process may take to make its socket, and to end when it is to.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take to end before that is told.
const NOTICE: Duration = Duration::from_secs(1);

/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(1);

/// Most bytes of a path, and of what the process has said, that are read.
const MOST_BYTES: u64 = 4096;

/// Those that were started.
static STARTED: Mutex<Vec<Process>> = Mutex::new(Vec::new());

/// Starts a card and connects to it. The error is in words.
pub(super) fn start(name: &str) -> Result<Arc<dyn Device>, String> {
    let mut process = Process::spawn()?;
    let socket = process.socket()?;
    let place = format!("process {}", process.child.id());
    let address = format!("dpu:unix:{}", socket.display());
    let card = unlade::open_card_as(&address, name, Some(&place));
    // Nobody else is to connect. What cannot be removed the process takes along.
    let _ = std::fs::remove_file(&socket);
    let _ = socket.parent().map(std::fs::remove_dir);
    let card = card.map_err(|error| match process.news() {
        Some(news) => format!("{error}; {news}"),
        None => error,
    })?;
    started_so_far().push(process);
    Ok(card)
}

/// Ends those that were started. What one of them has said, or that it had ended, is told.
pub(super) fn end() {
    for mut process in started_so_far().drain(..) {
        if let Some(news) = process.news() {
            tracing::warn!("a simulated card: {news}");
        }
    }
}

fn started_so_far() -> MutexGuard<'static, Vec<Process>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A card's process. It has ended when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    /// What it says, for errors.
    said: File,
}

impl Process {
    fn spawn() -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("its process cannot be started: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let said = tempfile::tempfile().map_err(failed)?;
        let mut command = Command::new(program);
        command
            // Settings are for this process: it has none, and what it says is an error.
            .args(["card", "--for-parent", "--config", "/dev/null"])
            .env_remove("UNLADE_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said.try_clone().map_err(failed)?)
            // Ctrl-C is for this process, which may have a use for the card yet.
            .process_group(0);
        let child = command.spawn().map_err(failed)?;
        Ok(Process { child, said })
    }

    /// The path of its socket, once it has made that.
    fn socket(&mut self) -> Result<PathBuf, String> {
        let output = self.child.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        // It ends when the path is read, or the process has ended.
        let read = move || {
            let mut path = Vec::new();
            let mut output = BufReader::new(output.take(MOST_BYTES));
            let read = output.read_until(0, &mut path);
            // Nobody may be waiting any more.
            let _ = sender.send(read.map(|_| path));
        };
        thread::Builder::new()
            .spawn(read)
            .map_err(|error| format!("its process cannot be listened to: {error}"))?;
        let path = match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(path)) => path,
            Ok(Err(error)) => return Err(format!("its process cannot be listened to: {error}")),
            Err(_) => return Err(format!("its process has made no socket for {PATIENCE:?}")),
        };
        match path.split_last() {
            Some((0, path)) => Ok(Path::new(&OsString::from_vec(path.to_vec())).to_owned()),
            // It has closed its output, and so it ends.
            _ => {
                self.end();
                Err(self.news().expect("it has ended"))
            }
        }
    }

    /// How it has ended and what it has said; nothing where it has done neither.
    fn news(&mut self) -> Option<String> {
        let ended = self.child.try_wait().ok().flatten();
        let mut said = Vec::new();
        // What cannot be read was not said.
        let _ = self
            .said
            .rewind()
            .and_then(|()| (&self.said).take(MOST_BYTES).read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said);
        match (ended, said.trim()) {
            (None, "") => None,
            (None, said) => Some(format!("its process says: {said}")),
            (Some(status), "") => Some(format!("its process has ended ({status})")),
            (Some(status), said) => Some(format!("its process has ended ({status}): {said}")),
        }
    }

    /// Has it end, and waits for that; whoever waits with it is told why once that takes long.
    fn end(&mut self) {
        self.end_within(NOTICE, PATIENCE, |words| {
            report::say(format_args!("{words}"))
        });
    }

    fn end_within(&mut self, notice: Duration, patience: Duration, say: impl Fn(String)) {
        drop(self.child.stdin.take());
        let asked = Instant::now();
        let mut is_told = false;
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < patience {
            if !is_told && asked.elapsed() >= notice {
                is_told = true;
                let id = self.child.id();
                let left = (patience - notice).as_secs();
                say(format!(
                    "waiting for the process of a simulated card to end, {id}: if it is stopped, `kill -CONT \
                     {id}` has it go on; in {left} s it is killed"
                ));
            }
            thread::sleep(LOOK);
        }
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn process(program: &str, argument: &str) -> Process {
        let mut command = Command::new(program);
        command.arg(argument).stdin(Stdio::piped());
        Process {
            child: command.spawn().unwrap(),
            said: tempfile::tempfile().unwrap(),
        }
    }

    #[test]
    fn who_waits_for_a_process_that_does_not_end_is_told_once() {
        let told = RefCell::new(Vec::new());
        let say = |words| told.borrow_mut().push(words);
        // It takes no notice of the end of its input.
        let mut deaf = process("sleep", "1000");
        let id = deaf.child.id();
        let long = Duration::from_millis(20);
        deaf.end_within(Duration::ZERO, long, say);
        let words = told.take();
        assert_eq!(words.len(), 1, "{words:?}");
        let wake = format!("`kill -CONT {id}`");
        assert!(words[0].contains(&wake), "{words:?}");
        assert!(deaf.child.try_wait().unwrap().is_some(), "it is killed");
        // Of one that ends nothing is said.
        let say = |words| told.borrow_mut().push(words);
        let long = Duration::from_secs(60);
        process("cat", "-").end_within(long, long, say);
        assert!(told.take().is_empty());
    }
}
