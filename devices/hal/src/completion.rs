//! How a submitted list ends: a completion, a rejection or a counted leak.

use std::time::Duration;

use unlade_program::Trap;

use crate::clock::{ClockKind, Timestamp};
use crate::command::CommandList;
use crate::error::{DeviceLost, RejectReason};
use crate::id::Seq;

/// A list that ran, or that died with its device.
#[derive(Debug)]
pub struct Completion {
    /// What submit returned for it.
    pub seq: Seq,
    /// The list, its memory with it.
    pub list: CommandList,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub timing: Timing,
}

/// What came of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps ran.
    Done {
        /// Rows kept by each dispatch, in order. Not yet checked against capacity: the host does.
        written: Box<[u64]>,
    },
    /// A dispatch found an error in the data; later steps did not run.
    Trapped(Trap),
    /// The device is lost. What the list's memory holds is unspecified, but it is quiet.
    Aborted(DeviceLost),
}

/// How long a list took, by the device's own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Which clock measured.
    pub clock: Option<ClockKind>,
    /// When it was submitted, by a clock of the device's own; `None` where that is the host's, which
    /// knows it.
    pub submitted: Option<Timestamp>,
    /// From submit until the device began.
    pub queued: Duration,
    /// Copies to the device.
    pub copy_in: Duration,
    /// Dispatches.
    pub compute: Duration,
    /// Copies from the device.
    pub copy_out: Duration,
    /// When each of these began; `None` where the device does not tell.
    pub began: Option<Began>,
}

impl Timing {
    /// When each kind of step began, counted from submit. What the device does not tell is what it
    /// took: copies to it, dispatches and copies from it, one behind the other.
    pub fn began(&self) -> Began {
        self.began.unwrap_or_else(|| {
            let compute = self.queued.saturating_add(self.copy_in);
            Began {
                copy_in: self.queued,
                compute,
                copy_out: compute.saturating_add(self.compute),
            }
        })
    }
}

/// When a list's steps began, counted from submit: the first of each kind. Of a kind that the list
/// has no step of, it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Began {
    /// Copies to the device.
    pub copy_in: Duration,
    /// Dispatches.
    pub compute: Duration,
    /// Copies from the device.
    pub copy_out: Duration,
}

/// A list that was not accepted, and comes back whole.
#[derive(Debug)]
pub struct Rejected {
    /// The list.
    pub list: CommandList,
    /// Why.
    pub reason: RejectReason,
}

/// What [`Queue::wait`](crate::Queue::wait) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The point is reached: its completion is delivered, or is the next poll's to deliver.
    Reached,
    /// Time ran out first. Nothing can be said of the list's memory.
    TimedOut,
}

/// What is left when a queue ends.
#[derive(Debug, Default)]
pub struct Quiesced {
    /// Lists whose memory is proven quiet.
    pub completions: Vec<Completion>,
    /// Lists whose memory a lost device may still write. It is abandoned, and counted.
    pub leaked: Vec<Leaked>,
}

/// Memory abandoned to a lost device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaked {
    /// The list's point.
    pub seq: Seq,
    /// Bytes of owned slots, and of what else a device gives up with the list, if anything: resident
    /// slots that it may still read, each counted once, and memory that it works with.
    pub bytes: u64,
}

/// The block that a dispatch writes: rows kept, and the trap if there is one.
///
/// Layout, little-endian: `u64` rows kept; `u64` row of the trap, all ones for none; `u32` ordinal
/// of the trap; `u32` zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Rows kept.
    pub kept: u64,
    /// The least trap.
    pub trap: Option<Trap>,
}

impl Status {
    /// Length of the block.
    pub const BYTES: u64 = 24;

    /// The block.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (row, ordinal) = self
            .trap
            .map_or((u64::MAX, 0), |trap| (trap.row, trap.ordinal));
        bytes[..8].copy_from_slice(&self.kept.to_le_bytes());
        bytes[8..16].copy_from_slice(&row.to_le_bytes());
        bytes[16..20].copy_from_slice(&ordinal.to_le_bytes());
        bytes
    }

    /// The block's meaning.
    pub fn from_bytes(bytes: [u8; 24]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let row = word(8);
        let trap = (row != u64::MAX).then_some(Trap {
            row,
            ordinal: word(16) as u32,
        });
        Status {
            kept: word(0),
            trap,
        }
    }
}
