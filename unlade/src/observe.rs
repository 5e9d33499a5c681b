//! Looking on at a runtime: from another process, over a local socket, or later, from a file.
//!
//! Either has [`Snapshot`]s as JSON, one on a line. They are taken only while somebody reads.
//!
//! ```
//! use unlade::observe::{self, Reader};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let socket = folder.path().join("top.sock");
//! let runtime = unlade::runtime()?;
//! let _server = observe::serve(&runtime, &socket)?; // `unlade top SOCKET` shows it
//! let snapshot = Reader::connect(&socket)?.next().expect("the runtime is there")?;
//! assert_eq!(snapshot.devices[0].name, "cpu");
//! # Ok(())
//! # }
//! ```

mod reader;
mod recorder;
mod server;

use std::io;
use std::path::Path;
use std::time::Duration;

pub use self::reader::{Reader, Recorded};
pub use self::recorder::Recorder;
pub use self::server::Server;
use crate::{Runtime, Snapshot, shell_word};

/// Between two snapshots.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// Readers that are served at once.
pub const MOST_READERS: usize = 8;

/// Bytes of a line. What is longer is no snapshot.
const MOST_BYTES: u64 = 4 << 20;

/// Why a runtime cannot be looked on at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// There can be no socket, in words that name it.
    #[error("{0}")]
    Socket(String),
    /// A thread cannot be started.
    #[error("no thread can be started: {0}")]
    Thread(io::Error),
    /// The system says no.
    #[error("{name}: cannot {action}: {source}")]
    Io {
        /// The file or socket.
        name: String,
        /// What cannot be done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody is there.
    #[error(
        "{name}: nobody listens there; a process does that was started as `unlade run ... --top-socket \
         {}`, or calls `unlade::observe::serve`",
        shell_word(name)
    )]
    NobodyListens {
        /// The socket.
        name: String,
    },
    /// Who listens there does not say anything.
    #[error(
        "{name}: {} has said nothing for {waited:?}; if it is only busy, wait longer (`unlade top --timeout \
         SECONDS`); if it is stopped, {} has it go on; else it hangs", named(*process), awake(*process)
    )]
    Silent {
        /// The socket.
        name: String,
        /// The process; nothing where that has no number here, as one of another container has not.
        process: Option<u32>,
        /// How long it has been waited for.
        waited: Duration,
    },
    /// Too many look on already.
    #[error(
        "{name}: {MOST_READERS} readers look on already, or wait for a process that is stopped; close one of \
         them, or wake the process"
    )]
    TooMany {
        /// The socket.
        name: String,
    },
    /// It was written by another version.
    #[error(
        "{name}, line {line}: it is of version {found}, this program reads version {known}; read it with \
         the program that wrote it"
    )]
    Version {
        /// The file or socket.
        name: String,
        /// The line, from 1.
        line: u64,
        /// Its version.
        found: u64,
        /// The version that is read.
        known: u32,
    },
    /// A line is no snapshot.
    #[error(
        "{name}, line {line}: it is no snapshot ({why}); `unlade run ... --record-top FILE` writes them"
    )]
    NotASnapshot {
        /// The file or socket.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The last line has no end.
    #[error(
        "{name}: line {line} is cut off: who wrote it was killed or had no room; the lines before it are \
         whole"
    )]
    Truncated {
        /// The file or socket.
        name: String,
        /// The line, from 1.
        line: u64,
    },
}

/// Serves what a runtime is doing at a socket that only this user can open, from now until what is
/// returned is dropped, or the runtime ends. [`Runtime::observe`] is on from here on.
///
/// Readers get a snapshot at once, and one each [`INTERVAL`]. There are [`MOST_READERS`] at most; one
/// that does not read what it gets is let go after a few seconds, and holds up nobody else.
///
/// # Errors
/// [`ObserveError::Socket`] where there is something else at the path, or somebody listens there; what
/// a killed process left is replaced. [`ObserveError::Thread`].
pub fn serve(runtime: &Runtime, socket: &Path) -> Result<Server, ObserveError> {
    Server::start(runtime, socket)
}

/// Writes what a runtime is doing to a new file, or in the place of an old one: a snapshot now and
/// one each [`INTERVAL`], until what is returned is [finished](Recorder::finish) or the runtime ends.
/// [`Runtime::observe`] is on from here on.
///
/// # Errors
/// [`ObserveError::Io`] where the file cannot be written; [`ObserveError::Thread`].
pub fn record(runtime: &Runtime, file: &Path) -> Result<Recorder, ObserveError> {
    Recorder::start(runtime, file)
}

fn named(process: Option<u32>) -> String {
    process.map_or_else(|| "its process".to_owned(), |id| format!("process {id}"))
}

/// What wakes a process that is stopped.
fn awake(process: Option<u32>) -> String {
    let id = process.map_or_else(|| "PID".to_owned(), |id| id.to_string());
    format!("`kill -CONT {id}`")
}

/// A snapshot as a line.
fn line(snapshot: &Snapshot) -> Vec<u8> {
    let mut line = serde_json::to_vec(snapshot).expect("a snapshot has a form");
    line.push(b'\n');
    line
}
