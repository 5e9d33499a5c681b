//! Where snapshots come from: a process, or a file.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use unlade::Snapshot;
use unlade::observe::{ObserveError, Reader, Recorded};

use crate::error::Failure;

/// An opened source.
pub(super) enum Source {
    Live(Reader),
    Recorded(Recorded),
}

impl Source {
    /// A socket is connected to, whose process may say nothing for so long, and a file is read.
    pub(super) fn open(path: &Path, patience: Duration) -> Result<Self, Failure> {
        let is_file = std::fs::metadata(path).is_ok_and(|it| !it.file_type().is_socket());
        if is_file {
            return Ok(Source::Recorded(Recorded::open(path)?));
        }
        let mut reader = Reader::connect(path)?;
        reader.wait_at_most(Some(patience))?;
        Ok(Source::Live(reader))
    }

    /// What is missing at the end.
    pub(super) fn cut_off(&self) -> Option<&ObserveError> {
        match self {
            Source::Live(_) => None,
            Source::Recorded(recorded) => recorded.cut_off(),
        }
    }

    /// The latest snapshot.
    pub(super) fn latest(&mut self) -> Result<Snapshot, Failure> {
        match self {
            Source::Live(reader) => Ok(reader.next().unwrap_or_else(|| Err(ended_at_once()))?),
            Source::Recorded(recorded) => Ok(recorded.get(recorded.len() - 1)?),
        }
    }

    /// The latest two snapshots, for rates; the first of them only where there is one. Of a process the
    /// second one is waited for, unless it ends before.
    pub(super) fn latest_two(&mut self) -> Result<(Option<Snapshot>, Snapshot), Failure> {
        match self {
            Source::Live(reader) => {
                let first = reader.next().unwrap_or_else(|| Err(ended_at_once()))?;
                Ok(match reader.next() {
                    Some(second) => (Some(first), second?),
                    None => (None, first),
                })
            }
            Source::Recorded(recorded) => {
                let last = recorded.len() - 1;
                let before = last.checked_sub(1).map(|index| recorded.get(index));
                Ok((before.transpose()?, recorded.get(last)?))
            }
        }
    }
}

fn ended_at_once() -> ObserveError {
    ObserveError::Socket("the process ended before it said anything".to_owned())
}

/// Snapshots of a process, read by a thread of their own.
pub(super) struct Live {
    snapshots: Receiver<Result<Snapshot, ObserveError>>,
    /// When the last one came.
    came: Instant,
}

/// What came of a process since somebody looked last.
pub(super) enum News {
    Snapshot(Box<Snapshot>),
    Nothing,
    /// There is nothing more; why, where that is not the end of the runtime.
    End(Option<ObserveError>),
}

impl Live {
    /// What does not come once there was something is waited for without end.
    pub(super) fn of(mut reader: Reader) -> Result<Self, Failure> {
        // The next one waits in the socket: who shows them is not behind for long.
        let (sender, snapshots) = sync_channel(1);
        let read = move || {
            let Some(first) = reader.next() else { return };
            let first = first.and_then(|it| reader.wait_at_most(None).map(|()| it));
            for snapshot in std::iter::once(first).chain(reader) {
                if sender.send(snapshot).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new()
            .spawn(read)
            .map_err(|error| Failure::resource(format!("no thread can be started: {error}")))?;
        Ok(Live {
            snapshots,
            came: Instant::now(),
        })
    }

    /// For how long nothing has come.
    pub(super) fn silent_for(&self) -> Duration {
        self.came.elapsed()
    }

    pub(super) fn news(&mut self) -> News {
        match self.snapshots.try_recv() {
            Ok(Ok(snapshot)) => {
                self.came = Instant::now();
                News::Snapshot(Box::new(snapshot))
            }
            Ok(Err(error)) => News::End(Some(error)),
            Err(TryRecvError::Empty) => News::Nothing,
            Err(TryRecvError::Disconnected) => News::End(None),
        }
    }
}

/// A recording, and where in it we are.
pub(super) struct Replay {
    recorded: Recorded,
    /// The snapshot that is shown.
    at: usize,
    /// As a power of two.
    speed: i32,
    /// How long it has been shown, in the time of the recording.
    shown_for: Duration,
}

/// The slowest and the fastest, as powers of two.
const SPEEDS: (i32, i32) = (-3, 8);

impl Replay {
    pub(super) fn of(recorded: Recorded) -> Self {
        Replay {
            recorded,
            at: 0,
            speed: 0,
            shown_for: Duration::ZERO,
        }
    }

    /// The snapshot that is to be shown, and the one before it.
    pub(super) fn current(&mut self) -> Result<(Option<Snapshot>, Snapshot), ObserveError> {
        let before = self.at.checked_sub(1).map(|index| self.recorded.get(index));
        Ok((before.transpose()?, self.recorded.get(self.at)?))
    }

    /// Moves by so many snapshots, as far as there are any.
    pub(super) fn step(&mut self, by: isize) {
        let last = self.recorded.len() - 1;
        self.at = self.at.saturating_add_signed(by).min(last);
        self.shown_for = Duration::ZERO;
    }

    /// Lets time pass; whether that moved it.
    pub(super) fn pass(&mut self, time: Duration) -> Result<bool, ObserveError> {
        let start = self.at;
        self.shown_for += time.mul_f64(f64::from(self.speed).exp2());
        while self.at + 1 < self.recorded.len() {
            let (now, next) = (self.recorded.get(self.at)?, self.recorded.get(self.at + 1)?);
            let between = Duration::from_nanos(next.at_ns.saturating_sub(now.at_ns));
            if self.shown_for < between {
                break;
            }
            self.shown_for -= between;
            self.at += 1;
        }
        Ok(self.at != start)
    }

    /// Doubles the speed so many times.
    pub(super) fn faster(&mut self, doublings: i32) {
        self.speed = (self.speed + doublings).clamp(SPEEDS.0, SPEEDS.1);
    }

    /// Where it is and how fast it goes, in words.
    pub(super) fn place(&self) -> String {
        let speed = f64::from(self.speed).exp2();
        format!("{} of {}, {speed}x", self.at + 1, self.recorded.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::snapshots;
    use super::*;

    /// Four snapshots: after one second, two, and four more.
    fn replay() -> (tempfile::TempDir, Replay) {
        let (mut snapshot, _) = snapshots();
        let mut text = String::new();
        for seconds in [10, 11, 13, 17] {
            snapshot.at_ns = seconds * 1_000_000_000;
            snapshot.tickets = seconds;
            text += &serde_json::to_string(&snapshot).unwrap();
            text += "\n";
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("top.jsonl");
        std::fs::write(&file, text).unwrap();
        let recorded = Recorded::open(&file).unwrap();
        (folder, Replay::of(recorded))
    }

    fn shown(replay: &mut Replay) -> (Option<u64>, u64) {
        let (before, now) = replay.current().unwrap();
        (before.map(|it| it.tickets), now.tickets)
    }

    #[test]
    fn a_recording_is_played_as_fast_as_it_went() {
        let (_folder, mut replay) = replay();
        let second = Duration::from_secs(1);
        assert_eq!(shown(&mut replay), (None, 10));
        assert!(!replay.pass(second / 2).unwrap());
        assert!(replay.pass(second / 2).unwrap());
        assert_eq!(shown(&mut replay), (Some(10), 11));
        assert!(!replay.pass(second).unwrap());
        // Half of the two seconds are over.
        replay.faster(1);
        assert_eq!(replay.place(), "2 of 4, 2x");
        assert!(replay.pass(second / 2).unwrap());
        assert_eq!(shown(&mut replay), (Some(11), 13));
        // Several may have passed, and nothing comes after the last.
        replay.step(isize::MIN);
        replay.faster(100);
        assert!(replay.pass(second).unwrap());
        assert_eq!(replay.place(), "4 of 4, 256x");
        assert!(!replay.pass(second).unwrap());
        replay.faster(-100);
        assert_eq!(replay.place(), "4 of 4, 0.125x");
    }

    #[test]
    fn a_recording_is_stepped_through_within_its_ends() {
        let (_folder, mut replay) = replay();
        replay.step(-1);
        assert_eq!(shown(&mut replay), (None, 10));
        replay.step(1);
        replay.step(1);
        assert_eq!(shown(&mut replay), (Some(11), 13));
        replay.step(isize::MAX);
        assert_eq!(shown(&mut replay), (Some(13), 17));
        replay.step(-1);
        assert_eq!(shown(&mut replay), (Some(11), 13));
        // It begins anew there.
        assert!(!replay.pass(Duration::from_secs(3)).unwrap());
    }
}
