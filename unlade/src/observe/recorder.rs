//! Snapshots in a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};

use super::reader::io_error;
use super::{INTERVAL, ObserveError, line};
use crate::Runtime;

/// Bytes of a file. A recording that has grown so large ends.
const MOST_BYTES: u64 = 1 << 30;

/// Writes snapshots of a runtime to a file, until it is dropped. See [`record`](super::record).
///
/// Each line is written at once: what a process has recorded that is killed can be read.
#[derive(Debug)]
#[must_use = "nothing is recorded any more once it is dropped"]
pub struct Recorder {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<(), ObserveError>>>,
}

impl Recorder {
    pub(super) fn start(runtime: &Runtime, path: &Path) -> Result<Self, ObserveError> {
        let name = path.display().to_string();
        let mut file = File::create(path).map_err(|error| io_error(&name, "write", error))?;
        runtime.observe();
        let watched = runtime.downgrade();
        let (end, ended) = mpsc::channel();
        let record = move || {
            let mut written = 0;
            let mut is_last = false;
            while let Some(runtime) = watched.upgrade() {
                let line = line(&runtime.snapshot());
                drop(runtime);
                written += line.len() as u64;
                if written > MOST_BYTES {
                    tracing::warn!("{name}: it has {MOST_BYTES} bytes, and no more is recorded");
                    break;
                }
                file.write_all(&line)
                    .map_err(|error| io_error(&name, "write", error))?;
                if is_last {
                    break;
                }
                // How it was at the end is told, too.
                is_last = ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
            }
            Ok(())
        };
        let thread = thread::Builder::new()
            .name("unlade-record".to_owned())
            .spawn(record)
            .map_err(ObserveError::Thread)?;
        Ok(Recorder {
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Writes how things are now, and ends.
    ///
    /// # Errors
    /// [`ObserveError::Io`] where something could not be written.
    pub fn finish(mut self) -> Result<(), ObserveError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ObserveError> {
        drop(self.end.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "a recording is not whole");
        }
    }
}
