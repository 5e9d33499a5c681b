//! Receipts: what ran where, why, and what it cost.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use unlade_hal::ClockKind;

/// Version of the receipts' JSON form; raised whenever a field changes its meaning or goes.
///
/// - 2: `clock` of a receipt became `taken_clock`; `predicted_clock` is new.
/// - 3: the times of a part are null where its device did not say them, which had been 0.
/// - 4: of batches done together each has its share of times and bytes; `together` is new.
pub const RECEIPT_VERSION: u32 = 4;

/// What became of one batch.
///
/// Durations serialise as whole nanoseconds, in fields that end in `_ns`. Each has a clock: `wall`, or
/// `virtual` for the time of a simulator. Times of different clocks are never compared or added: of a
/// batch on a simulated device, what it took is wall time, while its parts and the prediction are
/// virtual.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Receipt {
    /// Number of the batch among those that its kernel has taken, from 0.
    pub batch: u64,
    /// Batches that were done at once, this one included: of small batches of a
    /// [stream](crate::Kernel::stream), on a device behind a queue. All times and bytes are this
    /// batch's share of theirs, by rows: what is given back by rows given back, all else by rows
    /// handed over.
    pub together: u64,
    /// Rows handed over.
    pub rows_in: u64,
    /// Rows given back.
    pub rows_out: u64,
    /// The calls of users' functions, in order: what each took on the host's CPU, before the parts.
    pub calls: Vec<CallReceipt>,
    /// Which device ran what; one entry unless the query was split or retried.
    pub parts: Vec<PartReceipt>,
    /// Bytes of the columns that were read, by the program or as payload, each column once.
    pub bytes_in: u64,
    /// Bytes of the output columns: values, offsets and validity of the rows given back.
    pub bytes_out: u64,
    /// Bytes of payload written while compacting it, by the host or a device (see
    /// [`PartReceipt::bytes_compacted`]). A filter that copies each kept value once
    /// into its final place has here exactly the bytes of its payload output, and 0 where all rows
    /// were kept and the input's memory is handed on.
    pub bytes_copied: u64,
    /// Bytes that crossed to devices: copied to memory of their own, or read by a card where the host
    /// has them.
    pub bytes_to_device: u64,
    /// Bytes of results that crossed back: copied from memory of a device's own, or written to the
    /// host's by a card, which are those of the rows kept, and the mask. The C interface counts here as well
    /// what it had a GPU bring of a batch that lay there, and the time in `taken`.
    pub bytes_from_device: u64,
    /// Of what it took, the host's copying of columns to where devices read them, by the same clock;
    /// 0 where that is not needed.
    #[serde(rename = "staged_ns", serialize_with = "nanos")]
    pub staged: Duration,
    /// Of what it took, the host's making the output of what devices gave back: payload that it
    /// compacts by their mask; 0 of a batch that the host computed.
    #[serde(rename = "gathered_ns", serialize_with = "nanos")]
    pub gathered: Duration,
    /// What the batch was expected to take on the device that ran it, by
    /// [`predicted_clock`](Receipt::predicted_clock); where there was a choice to make, or
    /// predictions were asked for.
    #[serde(rename = "predicted_ns", serialize_with = "optional_nanos")]
    pub predicted: Option<Duration>,
    /// The clock of `predicted`: that of the device.
    #[serde(serialize_with = "optional_clock_name")]
    pub predicted_clock: Option<ClockKind>,
    /// What it took from hand-over to result, by [`taken_clock`](Receipt::taken_clock).
    #[serde(rename = "taken_ns", serialize_with = "nanos")]
    pub taken: Duration,
    /// The clock of `taken`: that of the runtime.
    #[serde(serialize_with = "clock_name")]
    pub taken_clock: ClockKind,
    /// CPU time of the thread that ran the batch, from hand-over to result, where the runtime was
    /// built to [measure it](crate::RuntimeBuilder::host_cpu). Waiting for a device costs none; what
    /// the threads that drive devices use is not in it. It is real time, whatever the clocks.
    #[serde(rename = "host_cpu_ns", serialize_with = "optional_nanos")]
    pub host_cpu: Option<Duration>,
    /// How often work was repeated after a device fault or for want of memory.
    pub retries: u32,
    /// Whether the result is what the CPU computed, or a device's word for it.
    pub verified: Verified,
}

impl Receipt {
    /// How long devices behind queues worked for the batch, copies included; `None` where none did, or
    /// none tells.
    pub(crate) fn device_time(&self) -> Option<Duration> {
        let times = self.parts.iter().filter_map(PartReceipt::device_time);
        times.reduce(|sum, each| sum + each)
    }

    /// How long the host's processor computed the batch, or parts of it.
    pub(crate) fn host_time(&self) -> Duration {
        let parts = self.parts.iter().filter(|part| part.path != Path::Queued);
        parts.map(|part| part.compute).sum()
    }

    /// The receipt of one of the batches that were done together: the one with these rows of all that
    /// were handed over, and with these of all that were kept.
    pub(crate) fn share(&self, batch: u64, rows: Range<u64>, kept: Range<u64>) -> Receipt {
        let share = Share {
            part: rows.clone(),
            of: self.rows_in,
        };
        let share_out = Share {
            part: kept.clone(),
            of: self.rows_out,
        };
        let parts = self.parts.iter().map(|part| PartReceipt {
            rows: share.of(part.rows),
            queued: share.of_time(part.queued),
            copy_in: share.of_time(part.copy_in),
            compute: share.of_time(part.compute),
            copy_out: share.of_time(part.copy_out),
            bytes_compacted: share_out.of(part.bytes_compacted),
            ..part.clone()
        });
        Receipt {
            batch,
            together: self.together,
            rows_in: rows.end - rows.start,
            rows_out: kept.end - kept.start,
            // Each batch's are its own.
            calls: Vec::new(),
            parts: parts.collect(),
            bytes_in: share.of(self.bytes_in),
            bytes_out: share_out.of(self.bytes_out),
            bytes_copied: share_out.of(self.bytes_copied),
            bytes_to_device: share.of(self.bytes_to_device),
            bytes_from_device: share.of(self.bytes_from_device),
            staged: share.of_time(self.staged),
            gathered: share_out.of_time(self.gathered),
            predicted: self.predicted.map(|time| share.of_time(time)),
            predicted_clock: self.predicted_clock,
            taken: share.of_time(self.taken),
            taken_clock: self.taken_clock,
            host_cpu: self.host_cpu.map(|time| share.of_time(time)),
            retries: share.of(self.retries.into()) as u32,
            verified: self.verified,
        }
    }

    /// The receipt of a batch of which one piece has this receipt and another one `other`. Pieces
    /// are worked on side by side.
    pub(crate) fn and(self, other: Receipt) -> Receipt {
        let both = |one: Option<Duration>, other: Option<Duration>| Some(one? + other?);
        Receipt {
            batch: self.batch,
            together: self.together,
            rows_in: self.rows_in + other.rows_in,
            rows_out: self.rows_out + other.rows_out,
            calls: self.calls.into_iter().chain(other.calls).collect(),
            parts: self.parts.into_iter().chain(other.parts).collect(),
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
            bytes_copied: self.bytes_copied + other.bytes_copied,
            bytes_to_device: self.bytes_to_device + other.bytes_to_device,
            bytes_from_device: self.bytes_from_device + other.bytes_from_device,
            staged: self.staged + other.staged,
            gathered: self.gathered + other.gathered,
            predicted: self.predicted.max(other.predicted),
            predicted_clock: self.predicted_clock,
            taken: self.taken.max(other.taken),
            taken_clock: self.taken_clock,
            host_cpu: both(self.host_cpu, other.host_cpu),
            retries: self.retries + other.retries,
            verified: match self.verified {
                Verified::Reference => other.verified,
                Verified::Unverified => self.verified,
            },
        }
    }
}

/// A part of so many rows, in the order of all: the shares of all parts add up.
struct Share {
    part: Range<u64>,
    of: u64,
}

impl Share {
    fn of(&self, amount: u64) -> u64 {
        self.scale(amount.into()) as u64
    }

    fn of_time(&self, time: Duration) -> Duration {
        let nanos = self.scale(time.as_nanos());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn scale(&self, amount: u128) -> u128 {
        let rows = u128::from(self.of.max(1));
        let until = |row: u64| amount.saturating_mul(row.into()) / rows;
        until(self.part.end) - until(self.part.start)
    }
}

/// A call of a user's function for a batch, on the host's CPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallReceipt {
    /// The function's name.
    pub function: Arc<str>,
    /// Rows that it was given: all of the batch.
    pub rows: u64,
    /// What it took, by the runtime's clock, without its arguments. It is part of what the batch took.
    #[serde(rename = "taken_ns", serialize_with = "nanos")]
    pub taken: Duration,
}

/// What one device did for a batch. Its times serialise as null where they [are not
/// known](PartReceipt::is_timed).
#[derive(Clone, Debug, PartialEq)]
pub struct PartReceipt {
    /// The device's name.
    pub device: Arc<str>,
    /// How it got there.
    pub path: Path,
    /// Why this device.
    pub reason: Reason,
    /// Rows it took.
    pub rows: u64,
    /// Whether it ended in a result; `false` where its device failed and the work was repeated.
    pub completed: bool,
    /// Time waiting for the device.
    pub queued: Duration,
    /// Time copying to the device.
    pub copy_in: Duration,
    /// Time computing.
    pub compute: Duration,
    /// Time copying from the device.
    pub copy_out: Duration,
    /// Bytes of payload that the device compacted, of a device behind a queue: of values, offsets,
    /// strings and validity. The rest of [`Receipt::bytes_copied`] the host did.
    pub bytes_compacted: u64,
    /// The clock of this part's times: that of its device.
    pub clock: ClockKind,
}

impl PartReceipt {
    /// Whether its times are known. A device that works through a queue takes some time for
    /// anything: where all of them are zero, it failed, or has no account of what it did.
    pub fn is_timed(&self) -> bool {
        let times = [self.queued, self.copy_in, self.compute, self.copy_out];
        self.path != Path::Queued || times.iter().any(|time| !time.is_zero())
    }

    /// How long a device behind a queue worked for it, copies included; `None` where there is none, or
    /// it does not tell.
    pub(crate) fn device_time(&self) -> Option<Duration> {
        let tells = self.path == Path::Queued && self.is_timed();
        tells.then(|| self.copy_in + self.compute + self.copy_out)
    }
}

impl Serialize for PartReceipt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = |time| self.is_timed().then(|| whole_nanos(time));
        let mut form = serializer.serialize_struct("PartReceipt", 11)?;
        form.serialize_field("device", &self.device)?;
        form.serialize_field("path", &self.path)?;
        form.serialize_field("reason", &self.reason)?;
        form.serialize_field("rows", &self.rows)?;
        form.serialize_field("completed", &self.completed)?;
        form.serialize_field("queued_ns", &known(self.queued))?;
        form.serialize_field("copy_in_ns", &known(self.copy_in))?;
        form.serialize_field("compute_ns", &known(self.compute))?;
        form.serialize_field("copy_out_ns", &known(self.copy_out))?;
        form.serialize_field("bytes_compacted", &self.bytes_compacted)?;
        form.serialize_field("clock", clock_text(self.clock))?;
        form.end()
    }
}

/// How work got to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Path {
    /// On the calling thread (of a stream, on one of its threads), without a queue.
    Inline,
    /// Through a queue of the device.
    Queued,
    /// On the CPU in place of a device that was meant to run it.
    Fallback,
}

/// Why a device was chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Nothing else could have run it: one device, or `auto` with no other but simulators.
    OnlyCandidate,
    /// It was predicted to be the fastest.
    Cheapest {
        /// The runner-up, where there was one.
        next: Option<Arc<str>>,
        /// What the runner-up was predicted to take.
        #[serde(rename = "next_ns", serialize_with = "optional_nanos")]
        next_predicted: Option<Duration>,
    },
    /// It was predicted to take the least of the host's processor, which is what placement aims at.
    SparesHost,
    /// It was not the cheapest, but its rates had not been measured for long.
    Probe,
    /// The caller named it.
    Forced,
    /// The data is there.
    Resident,
    /// The data was there, but had to make room for other data and was sent again.
    Evicted {
        /// The device.
        device: Arc<str>,
    },
    /// Another device lacks an operation.
    Unsupported {
        /// The device that lacks it.
        device: Arc<str>,
        /// What it lacks.
        lacks: Arc<str>,
    },
    /// Another device failed while it ran this batch.
    DeviceFault {
        /// The device that failed.
        device: Arc<str>,
        /// What was seen.
        reason: Arc<str>,
    },
    /// Another device had no memory left for the batch.
    OutOfMemory {
        /// The device without memory.
        device: Arc<str>,
    },
    /// Another device's program is still being compiled.
    Compiling {
        /// The device being compiled for.
        device: Arc<str>,
    },
    /// Another device failed not long ago, and is not trusted yet or is being reset.
    Quarantined {
        /// The device in quarantine.
        device: Arc<str>,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::OnlyCandidate => f.write_str("nothing else could run it"),
            Reason::Cheapest {
                next: Some(next),
                next_predicted: Some(time),
            } => {
                write!(
                    f,
                    "the fastest; {next} would take {:.1} us",
                    time.as_secs_f64() * 1e6
                )
            }
            Reason::Cheapest { .. } => f.write_str("the fastest"),
            Reason::SparesHost => f.write_str("it takes the least of the host's processor"),
            Reason::Probe => f.write_str("to measure it again"),
            Reason::Forced => f.write_str("asked for by name"),
            Reason::Resident => f.write_str("the data is there"),
            Reason::Evicted { device } => write!(f, "the data was on {device} and made room"),
            Reason::Unsupported { device, lacks } => write!(f, "{device} lacks {lacks}"),
            Reason::DeviceFault { device, reason } => write!(f, "{device} failed: {reason}"),
            Reason::OutOfMemory { device } => write!(f, "{device} is out of memory"),
            Reason::Compiling { device } => write!(f, "{device} is still compiling"),
            Reason::Quarantined { device } => write!(f, "{device} is in quarantine"),
        }
    }
}

/// Who vouches for a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verified {
    /// The CPU computed it: it is the reference.
    Reference,
    /// Nothing but the device vouches for it.
    Unverified,
}

pub(crate) fn nanos<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(whole_nanos(*time))
}

/// A time in whole nanoseconds.
pub(crate) fn whole_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn optional_nanos<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => nanos(time, serializer),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn clock_name<S: Serializer>(
    clock: &ClockKind,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(clock_text(*clock))
}

fn optional_clock_name<S: Serializer>(
    clock: &Option<ClockKind>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match clock {
        Some(clock) => clock_name(clock, serializer),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn clock_text(clock: ClockKind) -> &'static str {
    match clock {
        ClockKind::Wall => "wall",
        ClockKind::Virtual => "virtual",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_device_told_is_no_time() {
        let times = ["queued_ns", "copy_in_ns", "compute_ns", "copy_out_ns"];
        let form = |path, compute| {
            let part = PartReceipt {
                device: "card".into(),
                path,
                reason: Reason::Forced,
                rows: 10,
                completed: true,
                queued: Duration::ZERO,
                copy_in: Duration::ZERO,
                compute: Duration::from_nanos(compute),
                copy_out: Duration::ZERO,
                bytes_compacted: 0,
                clock: ClockKind::Wall,
            };
            let json = serde_json::to_value(&part).unwrap();
            times.map(|time| json[time].as_u64())
        };
        assert_eq!(form(Path::Queued, 0), [None; 4]);
        let told = [Some(0), Some(0), Some(7), Some(0)];
        assert_eq!(form(Path::Queued, 7), told);
        // The thread that ran it has looked at its clock.
        assert_eq!(form(Path::Inline, 0), [Some(0); 4]);
    }

    #[test]
    fn shares_add_up() {
        let whole = receipt();
        let rows = [0, 0, 1, 4, 4, 9, 10];
        let shares = rows
            .windows(2)
            .map(|rows| whole.share(0, rows[0]..rows[1], rows[0] * 4 / 10..rows[1] * 4 / 10));
        let none = Receipt {
            rows_in: 0,
            rows_out: 0,
            taken: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            staged: Duration::ZERO,
            gathered: Duration::ZERO,
            retries: 0,
            parts: Vec::new(),
            ..whole.clone()
        };
        let sum = shares.fold(none, |sum, share| Receipt {
            taken: sum.taken + share.taken,
            ..sum.and(share)
        });
        assert_eq!(
            (sum.rows_in, sum.bytes_in, sum.taken),
            (10, 40, whole.taken)
        );
        assert_eq!((sum.rows_out, sum.bytes_out), (4, 16));
        assert_eq!((sum.staged, sum.gathered), (whole.staged, whole.gathered));
        let computed: Duration = sum.parts.iter().map(|part| part.compute).sum();
        assert_eq!(computed, whole.parts[0].compute);
        assert_eq!(sum.parts.iter().map(|part| part.rows).sum::<u64>(), 10);
        assert_eq!(sum.retries, whole.retries);
    }

    #[test]
    fn json_names_clock_units_and_reason() {
        let json = serde_json::to_value(receipt()).unwrap();
        assert_eq!(json["taken_ns"], 3000);
        assert_eq!(json["taken_clock"], "wall");
        assert_eq!(json["predicted_ns"], 4000);
        assert_eq!(json["predicted_clock"], "virtual");
        assert_eq!(json["host_cpu_ns"], serde_json::Value::Null);
        assert_eq!(json["parts"][0]["clock"], "wall");
        assert_eq!(json["parts"][0]["compute_ns"], 2000);
        assert_eq!(json["parts"][0]["path"], "fallback");
        assert_eq!(
            json["parts"][0]["reason"]["unsupported"]["lacks"],
            "rem.f64"
        );
    }

    fn receipt() -> Receipt {
        Receipt {
            batch: 3,
            together: 1,
            rows_in: 10,
            rows_out: 4,
            calls: Vec::new(),
            parts: vec![PartReceipt {
                device: "cpu".into(),
                path: Path::Fallback,
                reason: Reason::Unsupported {
                    device: "sim".into(),
                    lacks: "rem.f64".into(),
                },
                rows: 10,
                completed: true,
                queued: Duration::ZERO,
                copy_in: Duration::ZERO,
                compute: Duration::from_micros(2),
                copy_out: Duration::ZERO,
                bytes_compacted: 0,
                clock: ClockKind::Wall,
            }],
            bytes_in: 40,
            bytes_out: 16,
            bytes_copied: 16,
            bytes_to_device: 0,
            bytes_from_device: 0,
            staged: Duration::from_nanos(7),
            gathered: Duration::from_nanos(9),
            predicted: Some(Duration::from_micros(4)),
            predicted_clock: Some(ClockKind::Virtual),
            taken: Duration::from_micros(3),
            taken_clock: ClockKind::Wall,
            host_cpu: None,
            retries: 1,
            verified: Verified::Reference,
        }
    }
}
