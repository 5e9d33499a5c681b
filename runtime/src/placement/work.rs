//! What placement is told: about a batch, about devices at the moment, and afterwards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::DeviceIndex;

/// One batch, as far as its cost is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// What kind of work it is: measurements of one kind say nothing of another.
    pub key: WorkKey,
    /// Which program it is, where that is known. Of one that has run often enough its own
    /// measurements count; until then, those of its kind.
    pub program: Option<ProgramId>,
    /// Rows.
    pub rows: u64,
    /// Units of work per row: the sum of the program's costs in the op table.
    pub cost_per_row: f64,
    /// Bytes of the columns that are read.
    pub bytes_in: u64,
    /// Bytes of results that a device sends back, from the [`Selectivity`](super::Selectivity) so
    /// far.
    pub bytes_out: u64,
    /// Bytes of payload that the host compacts afterwards.
    pub bytes_gathered: u64,
    /// Where the columns lie.
    pub buffer: HostBuffer,
    /// Dispatches.
    pub launches: u32,
}

impl Default for Work {
    /// One dispatch over no rows of pageable memory.
    fn default() -> Self {
        Work {
            key: WorkKey::default(),
            program: None,
            rows: 0,
            cost_per_row: 1.0,
            bytes_in: 0,
            bytes_out: 0,
            bytes_gathered: 0,
            buffer: HostBuffer::Pageable,
            launches: 1,
        }
    }
}

impl Work {
    /// This batch and another one of the same query as one.
    #[must_use]
    pub fn and(&self, other: &Work) -> Work {
        Work {
            rows: self.rows + other.rows,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
            bytes_gathered: self.bytes_gathered + other.bytes_gathered,
            ..self.clone()
        }
    }

    /// The same work on so many rows: on the first ones of the batch, or on more than it has.
    #[must_use]
    pub fn slice(&self, rows: u64) -> Work {
        let share = rows as f64 / self.rows.max(1) as f64;
        let part = |bytes: u64| (bytes as f64 * share).ceil() as u64;
        Work {
            rows,
            bytes_in: part(self.bytes_in),
            bytes_out: part(self.bytes_out),
            bytes_gathered: part(self.bytes_gathered),
            ..self.clone()
        }
    }

    /// Batches of one class differ in size by at most a factor of two.
    pub(super) fn size_class(&self) -> u32 {
        self.rows.max(1).ilog2()
    }
}

/// A program, by the first bytes of its shape's hash: the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProgramId(pub u64);

/// A kind of work.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct WorkKey {
    /// What is done.
    pub operation: Operation,
    /// On what.
    pub ty: TypeClass,
}

/// What is done with a batch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Operation {
    /// Finding the rows that a predicate keeps.
    #[default]
    Filter,
    /// Computing columns.
    Project,
    /// Both.
    FilterProject,
}

/// What the columns are made of, in the main.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum TypeClass {
    /// Booleans and integers of up to 32 bits.
    #[default]
    Narrow,
    /// Integers of 64 bits.
    Wide,
    /// Floating point.
    Float,
    /// Decimals of 128 bits.
    Decimal,
}

/// Where the columns of a batch lie.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum HostBuffer {
    /// In ordinary memory: copied to pinned memory first, where a device needs that.
    #[default]
    Pageable,
    /// In memory that devices reach.
    Pinned,
    /// On a device already; for all others it is pageable.
    Resident {
        /// The device.
        on: DeviceIndex,
        /// Whether payload is compacted there as well, and comes back with the results.
        compacts: bool,
    },
}

/// How a device is at the moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Until its queue is empty, by the device's own clock.
    pub queue_wait: Duration,
    /// How the link to it is, if it shares that with others.
    pub link_in: LinkLoad,
    /// The same of the other direction.
    pub link_out: LinkLoad,
    /// What compiling for it will still take.
    pub compile: Duration,
    /// Over how many batches that compile pays off; 0 counts as 1.
    pub compile_batches: u64,
    /// Why it cannot be chosen, if it cannot.
    pub ineligible: Option<Ineligible>,
}

/// How one direction of a link is that a device shares with others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkLoad {
    /// How long what the device was given will take the link.
    pub own: Duration,
    /// The same of the other devices.
    pub others: Duration,
    /// The share of the link that the others take until then.
    pub taken: f64,
}

impl LinkLoad {
    /// How much later a batch is done that takes the link for so long, for the others' sake: theirs
    /// and the device's own go side by side until either are done.
    pub fn wait(&self, takes: Duration) -> Duration {
        let left = 1.0 - self.taken;
        let side_by_side = (self.own + takes).as_secs_f64() * self.taken / left;
        match side_by_side < self.others.as_secs_f64() {
            true if left > 0.0 => Duration::from_secs_f64(side_by_side),
            _ => self.others,
        }
    }
}

/// Why a device cannot be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ineligible {
    /// It is a simulator.
    Simulator,
    /// Its times are of another clock.
    OtherClock,
    /// It lacks this operation.
    Unsupported(String),
    /// Its program is being compiled.
    Compiling,
    /// Its program could not be compiled.
    CompileFailed(String),
    /// It failed not long ago, or is lost.
    Quarantined(String),
    /// It has no memory left for the batch.
    OutOfMemory,
    /// The caller does not want it.
    Excluded,
    /// The session asked for devices, and this is none of those that it was granted.
    NotGranted,
}

impl std::fmt::Display for Ineligible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ineligible::Simulator => f.write_str("simulators are never picked by auto"),
            Ineligible::OtherClock => f.write_str("its times are of another clock"),
            Ineligible::Unsupported(what) => write!(f, "it lacks {what}"),
            Ineligible::Compiling => f.write_str("its program is still being compiled"),
            Ineligible::CompileFailed(why) => write!(f, "its program failed to compile: {why}"),
            Ineligible::Quarantined(why) => write!(f, "in quarantine: {why}"),
            Ineligible::OutOfMemory => f.write_str("no memory left for the batch"),
            Ineligible::Excluded => f.write_str("not asked for"),
            Ineligible::NotGranted => f.write_str("the session was not granted it"),
        }
    }
}

/// What a batch took, by the clock of its device. `None`: not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Copying columns to pinned memory.
    pub stage: Option<Duration>,
    /// Copying to the device.
    pub copy_in: Option<Duration>,
    /// Dispatches, launches included.
    pub compute: Option<Duration>,
    /// Copying from the device.
    pub copy_out: Option<Duration>,
    /// Compacting payload on the host.
    pub gather: Option<Duration>,
}
