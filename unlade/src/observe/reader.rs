//! Snapshots, read from a socket or a file.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::Deserialize;

use super::server::TOO_MANY;
use super::{MOST_BYTES, ObserveError};
use crate::socket;
use crate::{SNAPSHOT_VERSION, Snapshot};

/// Snapshots from a process, as they come. It ends where the runtime does; after an error there are
/// no more.
#[derive(Debug)]
pub struct Reader {
    lines: Lines<UnixStream>,
    /// How long is waited for what comes next.
    patience: Option<Duration>,
    is_over: bool,
}

impl Reader {
    /// Connects to the socket of a process.
    ///
    /// # Errors
    /// [`ObserveError::NobodyListens`]; [`ObserveError::TooMany`]; [`ObserveError::Io`] where it is
    /// another user's.
    pub fn connect(path: &Path) -> Result<Self, ObserveError> {
        let name = path.display().to_string();
        let stream = socket::connect(path).map_err(|source| match source.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                ObserveError::NobodyListens { name: name.clone() }
            }
            // Who listens there takes nobody any more.
            ErrorKind::WouldBlock => ObserveError::TooMany { name: name.clone() },
            _ => io_error(&name, "connect", source),
        })?;
        Ok(Reader {
            lines: Lines::of(name, stream),
            patience: None,
            is_over: false,
        })
    }

    /// From here on, it is [`ObserveError::Silent`] where nothing comes for so long; with `None`, as at
    /// first, that is waited for without end. A process sends a snapshot each
    /// [`INTERVAL`](super::INTERVAL), unless it is stopped or hangs.
    ///
    /// # Errors
    /// [`ObserveError::Io`] where that is no time at all.
    pub fn wait_at_most(&mut self, patience: Option<Duration>) -> Result<(), ObserveError> {
        let lines = &self.lines;
        let set = lines.source.get_ref().set_read_timeout(patience);
        set.map_err(|source| io_error(&lines.name, "set a deadline", source))?;
        self.patience = patience;
        Ok(())
    }

    /// The process that listens there; nothing where that has no number here, as one of another
    /// container has not.
    pub fn process(&self) -> Option<u32> {
        let peer = getsockopt(self.lines.source.get_ref(), PeerCredentials).ok()?;
        u32::try_from(peer.pid()).ok().filter(|id| *id > 0)
    }

    fn read(&mut self) -> Result<Option<Snapshot>, ObserveError> {
        match self.lines.next() {
            Ok(Some(text)) => self.lines.parse(self.lines.line, &text).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(self.silent(error)),
        }
    }

    /// What an error means to whoever waits no longer than so long.
    fn silent(&self, error: ObserveError) -> ObserveError {
        match (self.patience, error) {
            (Some(waited), ObserveError::Io { name, source, .. })
                if source.kind() == ErrorKind::WouldBlock =>
            {
                ObserveError::Silent {
                    name,
                    process: self.process(),
                    waited,
                }
            }
            (_, error) => error,
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Snapshot, ObserveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.read().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Snapshots that were [recorded](super::record), any of which can be had.
#[derive(Debug)]
pub struct Recorded {
    lines: Lines<File>,
    /// Where each line begins.
    starts: Vec<u64>,
    cut_off: Option<ObserveError>,
}

impl Recorded {
    /// Opens a file, and finds the snapshots in it.
    ///
    /// # Errors
    /// [`ObserveError::Io`] where it cannot be read; of its first snapshot those of
    /// [`get`](Self::get), or [`ObserveError::Truncated`] where there is but the beginning of one.
    pub fn open(file: &Path) -> Result<Self, ObserveError> {
        let name = file.display().to_string();
        let opened = File::open(file).map_err(|source| io_error(&name, "open", source))?;
        let mut recorded = Recorded {
            lines: Lines::of(name.clone(), opened),
            starts: Vec::new(),
            cut_off: None,
        };
        let mut start = 0;
        loop {
            match recorded.lines.next() {
                Ok(Some(text)) => {
                    recorded.starts.push(start);
                    start += text.len() as u64;
                }
                Ok(None) => break,
                // What comes before it can be shown.
                Err(error @ ObserveError::Truncated { .. }) if !recorded.starts.is_empty() => {
                    recorded.cut_off = Some(error);
                    break;
                }
                Err(ObserveError::Truncated { .. }) => return Err(recorded.lines.begins_wrong()),
                Err(error) => return Err(error),
            }
        }
        if recorded.starts.is_empty() {
            return Err(ObserveError::NotASnapshot {
                name,
                line: 1,
                why: "it is empty".to_owned(),
            });
        }
        recorded.get(0)?;
        Ok(recorded)
    }

    /// How many there are; there is one at least.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Where the file ends in the middle of a snapshot, since who wrote it was killed.
    pub fn cut_off(&self) -> Option<&ObserveError> {
        self.cut_off.as_ref()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ObserveError::Version`], [`ObserveError::NotASnapshot`], [`ObserveError::Io`].
    ///
    /// # Panics
    /// Where there are not so many.
    pub fn get(&mut self, index: usize) -> Result<Snapshot, ObserveError> {
        let start = SeekFrom::Start(self.starts[index]);
        let lines = &mut self.lines;
        let moved = lines.source.seek(start);
        moved.map_err(|source| io_error(&lines.name, "read", source))?;
        lines.line = index as u64;
        match lines.next()? {
            Some(text) => lines.parse(index as u64 + 1, &text),
            // Somebody has written to it since.
            None => Err(ObserveError::Truncated {
                name: lines.name.clone(),
                line: index as u64 + 1,
            }),
        }
    }
}

/// What each snapshot begins with.
const BEGINNING: &[u8] = b"{\"version\":";

/// Lines of a file or a socket.
struct Lines<S> {
    name: String,
    source: BufReader<S>,
    /// Lines read so far.
    line: u64,
}

/// What every version of a snapshot has.
#[derive(Deserialize)]
struct Head {
    version: Option<u64>,
    error: Option<String>,
}

impl<S: Read> Lines<S> {
    fn of(name: String, source: S) -> Self {
        Lines {
            name,
            source: BufReader::new(source),
            line: 0,
        }
    }

    /// A whole line; nothing at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, ObserveError> {
        let mut text = Vec::new();
        match (&mut self.source)
            .take(MOST_BYTES)
            .read_until(b'\n', &mut text)
        {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            // Who wrote it went away.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(source) => return Err(io_error(&self.name, "read", source)),
        }
        self.line += 1;
        if text.last() == Some(&b'\n') {
            return Ok(Some(text));
        }
        let (name, line) = (self.name.clone(), self.line);
        Err(match text.len() as u64 {
            MOST_BYTES => ObserveError::NotASnapshot {
                name,
                line,
                why: format!("it has more than {MOST_BYTES} bytes"),
            },
            _ => ObserveError::Truncated { name, line },
        })
    }

    fn parse(&self, line: u64, text: &[u8]) -> Result<Snapshot, ObserveError> {
        let name = || self.name.clone();
        let not_one = |why: String| ObserveError::NotASnapshot {
            name: name(),
            line,
            why,
        };
        let head: Head =
            serde_json::from_slice(text).map_err(|error| not_one(error.to_string()))?;
        match (head.version, head.error) {
            (_, Some(error)) if error == TOO_MANY => Err(ObserveError::TooMany { name: name() }),
            (Some(found), _) if found != u64::from(SNAPSHOT_VERSION) => {
                Err(ObserveError::Version {
                    name: name(),
                    line,
                    found,
                    known: SNAPSHOT_VERSION,
                })
            }
            (Some(_), _) => {
                serde_json::from_slice(text).map_err(|error| not_one(error.to_string()))
            }
            (None, _) => Err(not_one("it has no version".to_owned())),
        }
    }
}

impl Lines<File> {
    /// What is wrong with a file whose first line has no end.
    fn begins_wrong(&mut self) -> ObserveError {
        let name = self.name.clone();
        let mut text = [0; BEGINNING.len()];
        let read = self.source.seek(SeekFrom::Start(0));
        let read = read.and_then(|_| read_up_to(&mut self.source, &mut text));
        match read {
            Err(source) => io_error(&name, "read", source),
            Ok(bytes) if BEGINNING.starts_with(&text[..bytes]) => {
                ObserveError::Truncated { name, line: 1 }
            }
            Ok(_) => ObserveError::NotASnapshot {
                name,
                line: 1,
                why: "it does not begin as one".to_owned(),
            },
        }
    }
}

/// Reads until there is no more room, or no more to read; how many bytes.
fn read_up_to(source: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    let most = room.len() as u64;
    let mut rest = room;
    io::copy(&mut source.take(most), &mut rest).map(|bytes| bytes as usize)
}

impl<S> fmt::Debug for Lines<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

pub(super) fn io_error(name: &str, action: &'static str, source: io::Error) -> ObserveError {
    ObserveError::Io {
        name: name.to_owned(),
        action,
        source,
    }
}
