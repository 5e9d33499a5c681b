//! Command lists: what is submitted to a queue.
//!
//! A list owns the memory it writes from submit until it comes back, in a completion or a
//! rejection. Commands name slots, not pointers, so that a list prints, diffs and replays.

use std::ops::Range;
use std::sync::Arc;

use crate::executable::Executable;
use crate::id::{DeviceAddr, DomainId, SlotId};
use crate::memory::{Lease, PinnedBuffer};

/// Memory that a list uses.
#[derive(Debug)]
pub enum Slot {
    /// Memory that the list may write.
    Owned(Lease),
    /// Memory on a device that several lists read.
    Resident(Arc<Lease>),
    /// Host memory that the device was told of and nobody writes any more.
    Pinned(PinnedBuffer),
    /// Host memory that the list reads, for devices that can ([`foreign_read`]).
    ///
    /// [`foreign_read`]: crate::Capabilities::foreign_read
    Foreign(arrow_buffer::Buffer),
}

impl Slot {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Slot::Owned(lease) => lease.len(),
            Slot::Resident(lease) => lease.len(),
            Slot::Pinned(buffer) => buffer.bytes().len() as u64,
            Slot::Foreign(buffer) => buffer.len() as u64,
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if the host reaches them.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Slot::Owned(lease) => lease.bytes(),
            Slot::Resident(lease) => lease.bytes(),
            Slot::Pinned(buffer) => Some(buffer.bytes()),
            Slot::Foreign(buffer) => Some(buffer.as_slice()),
        }
    }

    /// Where the devices of a domain have the first byte, if they were told of the slab that it is
    /// in.
    pub fn address(&self, domain: DomainId) -> Option<DeviceAddr> {
        match self {
            Slot::Owned(lease) => lease.address(domain),
            Slot::Resident(lease) => lease.address(domain),
            Slot::Pinned(buffer) => buffer.address(domain),
            Slot::Foreign(_) => None,
        }
    }

    /// Where in its slab the first byte is; foreign memory is in none.
    pub fn start(&self) -> Option<u64> {
        match self {
            Slot::Owned(lease) => Some(lease.range().start),
            Slot::Resident(lease) => Some(lease.range().start),
            Slot::Pinned(buffer) => Some(buffer.start()),
            Slot::Foreign(_) => None,
        }
    }
}

/// A range of bytes of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which slot.
    pub slot: SlotId,
    /// Bytes, counted from the start of the slot.
    pub bytes: Range<u64>,
}

impl Span {
    /// Length in bytes, 0 where the range ends before it starts.
    pub fn len(&self) -> u64 {
        self.bytes.end.saturating_sub(self.bytes.start)
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.bytes.end <= self.bytes.start
    }
}

/// One argument of a dispatch, in the order of [`unlade_program::args`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Memory. `bit_offset` (0 to 7) is the position of the first row's bit in the first byte, for
    /// bitmaps and mask columns; else 0.
    Span {
        /// The memory.
        span: Span,
        /// First bit, for bitmaps.
        bit_offset: u8,
    },
    /// No validity bitmap: all rows are valid.
    Absent,
    /// A parameter's little-endian bytes.
    Scalar([u8; 16]),
}

/// One step. Within a list, steps run in order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Copies bytes; both spans have one length.
    Copy {
        /// Source.
        from: Span,
        /// Destination, in an owned slot.
        to: Span,
    },
    /// Sets every byte.
    Fill {
        /// Destination, in an owned slot.
        to: Span,
        /// The value.
        byte: u8,
    },
    /// Copies as many units as a count that only the device knows: the `u64` at `count`. Where
    /// that many are more than the spans, which have one length, all of the span is copied; a
    /// last, partial byte is copied whole. A device may decline it
    /// ([`Capabilities::copy_counted`]).
    ///
    /// [`Capabilities::copy_counted`]: crate::Capabilities::copy_counted
    CopyCounted {
        /// Source.
        from: Span,
        /// Destination, in an owned slot.
        to: Span,
        /// Where the count is: 8 bytes.
        count: Span,
        /// Bits per unit: 1 for a bitmap.
        unit_bits: u32,
    },
    /// Runs a program over rows, or compacts the strings of so many.
    Dispatch {
        /// The program, compiled for this device, or [what compacts
        /// strings](crate::Device::compile_strings).
        exe: Executable,
        /// How many rows.
        rows: u64,
        /// The arguments; of strings in the order of [`StringsArg`](crate::StringsArg).
        args: Box<[Arg]>,
        /// Where the device writes [`Status`](crate::Status): [`Status::BYTES`](crate::Status::BYTES) bytes in an owned slot;
        /// of strings [`StringsStatus`](crate::StringsStatus).
        status: Span,
    },
}

/// Memory and steps, submitted as one.
#[derive(Debug, Default)]
pub struct CommandList {
    /// The memory; [`SlotId`] is a position here.
    pub slots: Vec<Slot>,
    /// The steps.
    pub commands: Vec<Command>,
}

impl CommandList {
    /// A list without slots or steps.
    pub fn new() -> Self {
        CommandList::default()
    }

    /// Adds memory.
    ///
    /// # Panics
    /// On more than 65,536 slots.
    pub fn slot(&mut self, slot: Slot) -> SlotId {
        let id = u16::try_from(self.slots.len()).expect("a list has at most 65,536 slots");
        self.slots.push(slot);
        SlotId(id)
    }

    /// Leaves the list to a lost device that may still be working on it, for good: nothing that it may
    /// write is let go, and whoever owned slots came from is told. Returns the bytes of these.
    /// Memory that it only reads stays mapped; what is pinned there may become others' meanwhile, as
    /// nobody takes what it makes of that.
    pub fn abandon(self) -> u64 {
        let abandoned = self.slots.into_iter().map(|slot| match slot {
            Slot::Owned(lease) => {
                let bytes = lease.len();
                lease.abandon();
                bytes
            }
            Slot::Pinned(buffer) => {
                buffer.abandon();
                0
            }
            read @ (Slot::Resident(_) | Slot::Foreign(_)) => {
                std::mem::forget(read);
                0
            }
        });
        abandoned.sum()
    }

    /// Adds a step.
    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }
}
