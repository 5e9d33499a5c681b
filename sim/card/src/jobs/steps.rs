//! The steps of a job, one after the other, and how long they take on the simulated clock.

use super::descriptor::{Job, Placed, Step, Stop};
use super::run::run;
use super::transfers::{Tamper, Transfers};
use crate::bytes::{index, length};
use crate::dma::{Bus, Iova};
use crate::profile::{Nanos, Profile};
use crate::status::{Outcome, Status};

/// Bytes that a copy moves at a time.
const PIECE: u64 = 1 << 20;

/// What the execution of a job goes by.
#[derive(Debug)]
pub(crate) struct Execution<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) bus: Bus<'a>,
    pub(crate) tamper: Tamper,
    /// When the job was fetched.
    pub(crate) fetched: Nanos,
    /// When its first step begins.
    pub(crate) started: Nanos,
    /// The most time from the fetch to the end; none where it is 0.
    pub(crate) limit: Nanos,
}

/// What came of a job's steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) stop: Stop,
    pub(crate) steps_done: u32,
    pub(crate) read: u64,
    pub(crate) written: u64,
    /// Bytes of those that are result and checksum blocks.
    pub(crate) blocks: u64,
    pub(crate) started: Nanos,
    /// From the start to the end of the last step.
    pub(crate) duration: Nanos,
    pub(crate) first_written: Option<Iova>,
}

impl Progress {
    /// Of a job that ended before its first step.
    pub(crate) fn none(stop: Stop, started: Nanos) -> Progress {
        Progress {
            stop,
            steps_done: 0,
            read: 0,
            written: 0,
            blocks: 0,
            started,
            duration: Nanos(0),
            first_written: None,
        }
    }
}

/// Runs the steps until one does not succeed.
pub(crate) fn execute(job: &Job, execution: &Execution<'_>) -> Progress {
    let profile = execution.profile;
    let mut transfers = Transfers::new(execution.bus, execution.tamper);
    let (mut steps_done, mut operations) = (0, 0);
    let mut duration = Nanos(0);
    let waited = execution.started.0 - execution.fetched.0;
    let mut stop = None;
    for (number, step) in (0..).zip(&job.steps) {
        transfers.begin_step(number);
        let ended = run_step(step, number, profile, &mut transfers);
        if let Step::Run(run) = step {
            operations += u128::from(run.rows) * u128::from(length(run.program.words.len()));
        }
        duration = profile
            .timing
            .duration(transfers.read + transfers.written, operations);
        let late = execution.limit.0 > 0 && waited + duration.0 > execution.limit.0;
        stop = match ended {
            Err(stop) => Some(stop),
            Ok(()) if late => Some(Outcome::new(Status::JobTimedOut, number, 0).into()),
            Ok(()) => None,
        };
        if stop.is_some() {
            break;
        }
        steps_done += 1;
    }
    Progress {
        stop: stop.unwrap_or_else(|| Outcome::success(steps_done, 0).into()),
        steps_done,
        read: transfers.read,
        written: transfers.written,
        blocks: transfers.blocks,
        started: execution.started,
        duration,
        first_written: transfers.first_written,
    }
}

fn run_step(
    step: &Step,
    number: u32,
    profile: &Profile,
    transfers: &mut Transfers<'_>,
) -> Result<(), Stop> {
    match step {
        Step::Copy { from, to } => copy(from, to, from.span.length, transfers),
        Step::Fill { value, to } => fill(*value, to, transfers),
        Step::CopyCounted {
            unit_bits,
            from,
            to,
            count,
        } => {
            let mut bytes = [0; 8];
            transfers.read(count, 0, &mut bytes)?;
            let bits = u128::from(u64::from_le_bytes(bytes)) * u128::from(*unit_bits);
            let counted = bits.div_ceil(8).min(from.span.length.into());
            let counted = u64::try_from(counted).expect("at most the operand's length");
            copy(from, to, counted, transfers)
        }
        Step::Run(step) => run(step, profile.tile_rows, number, transfers),
    }
}

/// Copies the first bytes of an operand to another.
fn copy(from: &Placed, to: &Placed, bytes: u64, transfers: &mut Transfers<'_>) -> Result<(), Stop> {
    for (at, piece) in pieces(bytes) {
        let mut data = vec![0; index(piece)];
        transfers.read(from, at, &mut data)?;
        transfers.write(to, at, &data)?;
    }
    Ok(())
}

fn fill(value: u8, to: &Placed, transfers: &mut Transfers<'_>) -> Result<(), Stop> {
    let data = vec![value; index(PIECE.min(to.span.length))];
    for (at, piece) in pieces(to.span.length) {
        transfers.write(to, at, &data[..index(piece)])?;
    }
    Ok(())
}

/// Offsets and lengths of the pieces of so many bytes.
fn pieces(bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let count = bytes.div_ceil(PIECE);
    (0..count).map(move |piece| (piece * PIECE, PIECE.min(bytes - piece * PIECE)))
}

/// The report of a job, 64 bytes.
pub(crate) fn report(fetched: Nanos, progress: &Progress) -> Vec<u8> {
    let mut report = Vec::with_capacity(64);
    let started = progress.started.0;
    let ended = started + progress.duration.0;
    for field in [fetched.0, started, ended, progress.read, progress.written] {
        report.extend(field.to_le_bytes());
    }
    report.extend(progress.steps_done.to_le_bytes());
    report.resize(64, 0);
    report
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::vectors::Vector;

    pub(crate) fn reports(vector: &Vector) {
        let field = |name: &str| u64::try_from(vector.number(name)).unwrap();
        let started = field("started");
        let mut progress = Progress::none(Stop::Abandoned, Nanos(started));
        progress.duration = Nanos(field("ended") - started);
        progress.read = field("bytes_read");
        progress.written = field("bytes_written");
        progress.steps_done = field("steps_done").try_into().unwrap();
        let bytes = report(Nanos(field("fetched")), &progress);
        assert_eq!(bytes, vector.hex, "{}", vector.name);
    }
}
