//! What a runtime did for its batches, as a file: `unlade replay` runs it again on other devices.
//!
//! JSON lines, each an object whose `record` says what it is: one `run` first, then `device`s,
//! `session`s, `kernel`s and `batch`es, and one `end` that counts the batches, so that a file that was
//! cut off is known as one. docs/REPLAY.md describes every field. Whoever reads ignores fields that it
//! does not know.

mod form;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{BufRead, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unlade_hal::ClockKind;

use crate::placement::{Calibration, HostBuffer, Objective, Profile, Work};

/// Version of the form; raised whenever a field changes its meaning or goes.
pub const RECORDING_VERSION: u32 = 1;

/// Most batches of a recording. What runs beyond them is counted only.
pub(crate) const MOST_BATCHES: usize = 1 << 17;

/// Most devices of a recording, or of a replay.
pub(crate) const MOST_DEVICES: usize = 64;

/// Most bytes of a line.
const MOST_BYTES: u64 = 4 << 20;

/// Longest time that is taken for one, in nanoseconds: ten years.
const MOST_NANOS: u64 = 315_360_000_000_000_000;

/// A schedule that was recorded: what came when, from whom, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// How the runtime was set.
    pub run: RecordedRun,
    /// Its devices.
    pub devices: Vec<RecordedDevice>,
    /// Its sessions, as far as there is a batch of theirs.
    pub sessions: Vec<RecordedSession>,
    /// Its kernels, likewise.
    pub kernels: Vec<RecordedKernel>,
    /// What was run at once: batches, several small ones as one, pieces of large ones. In the order
    /// in which they came; those of a stream in its order.
    pub batches: Vec<RecordedBatch>,
}

/// How a runtime was set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedRun {
    /// [`RECORDING_VERSION`].
    pub version: u32,
    /// Threads that compute.
    pub threads: u32,
    /// Lists that a stream has on a device at once, or on their way there.
    pub lists_ahead: u32,
    /// The device that was asked for by name; `None` where placement chose.
    pub device: Option<Arc<str>>,
    /// What placement aimed at.
    pub objective: Objective,
    /// Batches beyond the most that a recording has, which are not in it.
    pub left_out: u64,
    /// What was known of the devices at the start. Of another [version](Calibration::is_current), as
    /// of an older release, it is empty when it is read.
    #[serde(deserialize_with = "form::calibration")]
    pub known: Calibration,
    /// The same at the end.
    #[serde(deserialize_with = "form::calibration")]
    pub measured: Calibration,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedDevice {
    /// Its name.
    pub name: Arc<str>,
    /// `cpu`, `gpu`, `dpu` or `simulator`. A CPU computes on the threads of the caller; the others
    /// work behind a queue.
    pub kind: Arc<str>,
    /// The clock of its times.
    #[serde(with = "form::clock")]
    pub clock: ClockKind,
    /// What it is, down to its place in the machine: what was measured holds for the same alone.
    pub hardware: Arc<str>,
    /// What placement takes it for before anything is measured.
    #[serde(with = "form::profile")]
    pub profile: Profile,
    /// Lists that it takes at once.
    pub depth: u32,
    /// Bytes that it takes at once; `None` where that is the host's memory.
    pub bytes: Option<u64>,
}

/// One who shares the devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedSession {
    /// What batches name it by.
    pub session: u64,
    /// What people call it.
    pub label: Arc<str>,
    /// Its share, relative to others.
    pub weight: u32,
    /// Which sessions it goes before.
    pub priority: crate::scheduler::Priority,
}

/// A compiled query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedKernel {
    /// What batches name it by.
    pub kernel: u64,
    /// Devices that cannot run it, where placement chose.
    pub cannot: Vec<Arc<str>>,
}

/// What was run at once, and what became of it. Times end in `_ns` and are whole nanoseconds: those
/// of the device by its clock, the others by the runtime's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedBatch {
    /// The number of the batch, the first one's of several, among those that the kernel has taken.
    pub batch: u64,
    /// How many batches it is made of.
    pub together: u64,
    /// Its kernel.
    pub kernel: u64,
    /// Its session.
    pub session: u64,
    /// The stream that it is of; `None` where it was handed over by itself.
    pub stream: Option<u64>,
    /// What it was, as far as its cost is concerned.
    #[serde(with = "form::work")]
    pub work: Work,
    /// The device that completed it.
    pub device: Arc<str>,
    /// How often it was repeated.
    pub retries: u32,
    /// When it was there: read by its stream, or handed over.
    pub arrived_ns: u64,
    /// How long its stream took to read it.
    pub read_ns: u64,
    /// When a thread began on it.
    pub began_ns: u64,
    /// When its result was there.
    pub done_ns: u64,
    /// How long whoever took the result was away until it asked for the next one.
    pub consumed_ns: u64,
    /// Of what it took, the host's copying of columns to where the device reads them.
    pub staged_ns: u64,
    /// Of what it took, the host's making the output of what the device gave back.
    pub gathered_ns: u64,
    /// How long it waited for its turn on the device.
    pub turn_ns: u64,
    /// How long a probe of another device took behind it.
    pub probe_ns: u64,
    /// When it was submitted to the device's queue; `None` without a queue.
    pub submitted_ns: Option<u64>,
    /// When the device had done the last of it.
    pub left_ns: Option<u64>,
    /// Waiting in the device's queue.
    pub queued_ns: u64,
    /// Copying to the device; this and what follows are 0 where the device does not tell.
    pub copy_in_ns: u64,
    /// Computing.
    pub compute_ns: u64,
    /// Copying from the device.
    pub copy_out_ns: u64,
}

/// Why there is no recording.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It cannot be read.
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error(
        "is no recording: its first line is not `{{\"record\":\"run\", ...}}` ({0}); `unlade run --record FILE` \
         makes one"
    )]
    Unknown(String),
    /// It is of another version.
    #[error(
        "is a recording of version {found}, and this is made for {RECORDING_VERSION}: replay it with the \
         release that recorded it, or record it again"
    )]
    Version {
        /// Its version.
        found: u64,
    },
    /// A line says what cannot be.
    #[error("line {line}: {why}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It ends too early.
    #[error(
        "is cut off after {batches} batches: its last line, `{{\"record\":\"end\", ...}}`, is missing; record it again"
    )]
    CutOff {
        /// How many batches there are.
        batches: usize,
    },
    /// There is nothing in it.
    #[error("there are no batches in it: nothing ran while it was recorded")]
    Empty,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line<'a> {
    Run(Cow<'a, RecordedRun>),
    Device(Cow<'a, RecordedDevice>),
    Session(Cow<'a, RecordedSession>),
    Kernel(Cow<'a, RecordedKernel>),
    Batch(Cow<'a, RecordedBatch>),
    End { batches: u64 },
}

impl Recording {
    /// Writes it, line by line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let mut line = |line: Line<'_>| {
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        };
        line(Line::Run(Cow::Borrowed(&self.run)))?;
        let mut devices = self.devices.iter();
        devices.try_for_each(|each| line(Line::Device(Cow::Borrowed(each))))?;
        let mut sessions = self.sessions.iter();
        sessions.try_for_each(|each| line(Line::Session(Cow::Borrowed(each))))?;
        let mut kernels = self.kernels.iter();
        kernels.try_for_each(|each| line(Line::Kernel(Cow::Borrowed(each))))?;
        let mut batches = self.batches.iter();
        batches.try_for_each(|each| line(Line::Batch(Cow::Borrowed(each))))?;
        let batches = self.batches.len() as u64;
        line(Line::End { batches })
    }

    /// Reads one, and checks that all of it is there and can have been.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(input: &mut dyn BufRead) -> Result<Self, RecordingError> {
        let mut lines = Lines { input, line: 0 };
        let first = lines.next()?.unwrap_or_default();
        let mut reading = Reading::of(Recording::begin(&first)?);
        let mut end = None;
        while let Some(text) = lines.next()? {
            let wrong = |why: String| RecordingError::Line {
                line: lines.line,
                why,
            };
            if end.is_some() {
                return Err(wrong("behind the end".to_owned()));
            }
            let line =
                serde_json::from_str(&text).map_err(|error| match is_cut(&error, &text) {
                    true => {
                        let batches = reading.recording.batches.len();
                        RecordingError::CutOff { batches }
                    }
                    false => wrong(in_its_line(&error)),
                })?;
            let added = match line {
                Line::Run(_) => Err("a second `run`".to_owned()),
                Line::Device(device) => reading.add_device(device.into_owned()),
                Line::Session(session) => reading.add_session(session.into_owned()),
                Line::Kernel(kernel) => reading.add_kernel(kernel.into_owned()),
                Line::Batch(batch) => reading.add_batch(batch.into_owned()),
                Line::End { batches } => {
                    end = Some(batches);
                    Ok(())
                }
            };
            added.map_err(wrong)?;
        }
        let recording = reading.recording;
        let batches = recording.batches.len();
        if end != Some(batches as u64) {
            return Err(RecordingError::CutOff { batches });
        }
        if batches == 0 {
            return Err(RecordingError::Empty);
        }
        Ok(recording)
    }

    /// What the first line says.
    fn begin(first: &str) -> Result<Self, RecordingError> {
        let unknown = |error: serde_json::Error| match is_cut(&error, first) && is_run(first) {
            true => RecordingError::CutOff { batches: 0 },
            false => RecordingError::Unknown(in_its_line(&error)),
        };
        let value: serde_json::Value = serde_json::from_str(first).map_err(unknown)?;
        if value["record"] != "run" {
            return Err(RecordingError::Unknown("it is another".to_owned()));
        }
        match value["version"].as_u64() {
            Some(version) if version == u64::from(RECORDING_VERSION) => {}
            Some(found) => return Err(RecordingError::Version { found }),
            None => return Err(RecordingError::Unknown("it has no version".to_owned())),
        }
        let run: RecordedRun =
            serde_json::from_value(value).map_err(|error| RecordingError::Line {
                line: 1,
                why: error.to_string(),
            })?;
        Ok(Recording {
            run,
            devices: Vec::new(),
            sessions: Vec::new(),
            kernels: Vec::new(),
            batches: Vec::new(),
        })
    }
}

/// A recording that is being read.
struct Reading {
    recording: Recording,
    sessions: BTreeSet<u64>,
    kernels: BTreeSet<u64>,
}

impl Reading {
    fn of(recording: Recording) -> Self {
        Reading {
            recording,
            sessions: BTreeSet::new(),
            kernels: BTreeSet::new(),
        }
    }

    fn add_device(&mut self, device: RecordedDevice) -> Result<(), String> {
        at_most(self.recording.devices.len(), MOST_DEVICES, "devices")?;
        if self.recording.device(&device.name).is_some() {
            return Err(format!("a second device `{}`", device.name));
        }
        let Profile {
            stage,
            copy_in,
            copy_out,
            read,
            work,
            gather,
            ..
        } = device.profile;
        // A rate may be infinite, but is one.
        let rates = [stage, copy_in, copy_out, read, work, gather];
        if !rates.iter().all(|rate| *rate > 0.0) || device.depth == 0 {
            return Err(format!(
                "`{}` does nothing: all of its rates and its depth are above 0",
                device.name
            ));
        }
        self.recording.devices.push(device);
        Ok(())
    }

    fn add_session(&mut self, session: RecordedSession) -> Result<(), String> {
        at_most(self.sessions.len(), MOST_BATCHES, "sessions")?;
        if !self.sessions.insert(session.session) {
            return Err(format!("a second session {}", session.session));
        }
        self.recording.sessions.push(session);
        Ok(())
    }

    fn add_kernel(&mut self, kernel: RecordedKernel) -> Result<(), String> {
        at_most(self.kernels.len(), MOST_BATCHES, "kernels")?;
        if !self.kernels.insert(kernel.kernel) {
            return Err(format!("a second kernel {}", kernel.kernel));
        }
        self.recording.kernels.push(kernel);
        Ok(())
    }

    fn add_batch(&mut self, batch: RecordedBatch) -> Result<(), String> {
        at_most(self.recording.batches.len(), MOST_BATCHES, "batches")?;
        let absent = |what: &str, name: String| format!("there is no {what} {name} before it");
        if self.recording.device(&batch.device).is_none() {
            return Err(absent("device", format!("`{}`", batch.device)));
        }
        if !self.sessions.contains(&batch.session) {
            return Err(absent("session", batch.session.to_string()));
        }
        if !self.kernels.contains(&batch.kernel) {
            return Err(absent("kernel", batch.kernel.to_string()));
        }
        let of_device = batch.submitted_ns.into_iter().chain(batch.left_ns);
        let times = [
            batch.arrived_ns,
            batch.read_ns,
            batch.began_ns,
            batch.done_ns,
            batch.consumed_ns,
            batch.staged_ns,
            batch.gathered_ns,
            batch.turn_ns,
            batch.probe_ns,
            batch.queued_ns,
            batch.copy_in_ns,
            batch.compute_ns,
            batch.copy_out_ns,
        ];
        if times
            .into_iter()
            .chain(of_device)
            .any(|time| time > MOST_NANOS)
        {
            return Err(format!("no time is longer than {MOST_NANOS} ns"));
        }
        if let HostBuffer::Resident { on, .. } = batch.work.buffer
            && on.0 >= self.recording.devices.len()
        {
            return Err(absent("device", on.0.to_string()));
        }
        let cost = batch.work.cost_per_row;
        if !(cost.is_finite() && cost >= 0.0) {
            return Err(format!("a row costs {cost}, which is no cost"));
        }
        self.recording.batches.push(batch);
        Ok(())
    }
}

impl Recording {
    /// The device of a name.
    pub fn device(&self, name: &str) -> Option<&RecordedDevice> {
        self.devices.iter().find(|device| *device.name == *name)
    }
}

/// What is wrong in a line, which is a text of its own to whoever reads it: its number there is always 1.
fn in_its_line(error: &serde_json::Error) -> String {
    let said = error.to_string();
    match said.rfind(" at line ") {
        Some(at) => format!("{} in column {}", &said[..at], error.column()),
        None => said,
    }
}

/// Whether a line is the beginning of one, and the last of its file: every line that is written ends.
fn is_cut(error: &serde_json::Error, text: &str) -> bool {
    error.is_eof() && !text.is_empty() && !text.ends_with('\n')
}

/// Whether the beginning of a line is that of a recording's first, as it is written.
fn is_run(text: &str) -> bool {
    text.starts_with(r#"{"record":"run""#)
}

fn at_most(there_are: usize, most: usize, what: &str) -> Result<(), String> {
    match there_are < most {
        true => Ok(()),
        false => Err(format!("more than {most} {what}")),
    }
}

/// The lines of a file, of bounded length.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    line: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<String>, RecordingError> {
        self.line += 1;
        let mut bytes = Vec::new();
        let mut bounded = (&mut *self.input).take(MOST_BYTES);
        if bounded.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        let wrong = |why: String| match self.line {
            1 => RecordingError::Unknown(why),
            line => RecordingError::Line { line, why },
        };
        // The last line may have no end of its own: it is known by what it says.
        if bytes.len() as u64 >= MOST_BYTES {
            return Err(wrong(format!("it is longer than {MOST_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is no text".to_owned()))?;
        Ok(Some(text))
    }
}
