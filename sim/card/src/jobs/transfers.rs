//! The bytes of a job's operands on their way, counted; and what a fault does to them.

use std::borrow::Cow;

use super::descriptor::{Placed, Stop};
use crate::bytes::length;
use crate::dma::{Bus, Iova};

/// What a fault does to the data of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tamper {
    #[default]
    Nothing,
    /// A bit of the first write is wrong.
    Corrupt,
    /// The second half of every write stays behind.
    Partial,
    /// The second half of the first write stays behind, and so does all that follows.
    Cut,
    /// Result blocks say that more rows were kept than there are.
    HugeCount,
    /// Result blocks say that a row trapped which there is not.
    HugeTrap,
}

/// Moves the bytes of one job.
#[derive(Debug)]
pub(crate) struct Transfers<'a> {
    bus: Bus<'a>,
    tamper: Tamper,
    step: u32,
    pub(crate) read: u64,
    pub(crate) written: u64,
    /// Bytes of those that are result and checksum blocks.
    pub(crate) blocks: u64,
    /// Where the first byte of an operand was written.
    pub(crate) first_written: Option<Iova>,
}

impl<'a> Transfers<'a> {
    pub(crate) fn new(bus: Bus<'a>, tamper: Tamper) -> Self {
        Transfers {
            bus,
            tamper,
            step: 0,
            read: 0,
            written: 0,
            blocks: 0,
            first_written: None,
        }
    }

    /// The step that errors name from here on.
    pub(super) fn begin_step(&mut self, step: u32) {
        self.step = step;
    }

    pub(super) fn tamper(&self) -> Tamper {
        self.tamper
    }

    /// Ends the job where a reset has begun, for work that moves no bytes.
    pub(super) fn go_on(&self) -> Result<(), Stop> {
        if self.bus.is_abandoned() {
            Err(Stop::Abandoned)
        } else {
            Ok(())
        }
    }

    /// Reads bytes of an operand, from so far behind its first.
    pub(super) fn read(&mut self, from: &Placed, at: u64, bytes: &mut [u8]) -> Result<(), Stop> {
        from.span
            .read(self.bus, at, bytes)
            .map_err(|e| Stop::dma(e, self.step, from.at))?;
        self.read += length(bytes.len());
        Ok(())
    }

    /// Writes bytes of an operand, from so far behind its first.
    pub(super) fn write(&mut self, to: &Placed, at: u64, bytes: &[u8]) -> Result<(), Stop> {
        let first = !bytes.is_empty() && self.first_written.is_none();
        if first {
            self.first_written = to.span.segments.first().map(|segment| segment.iova);
        }
        let changed = match self.tamper {
            Tamper::Corrupt if first => corrupt(bytes),
            Tamper::Partial | Tamper::Cut => Cow::from(&bytes[..bytes.len() / 2]),
            _ => Cow::from(bytes),
        };
        to.span
            .write(self.bus, at, &changed)
            .map_err(|e| Stop::dma(e, self.step, to.at))?;
        self.written += length(bytes.len());
        if self.tamper == Tamper::Cut {
            Err(Stop::Abandoned)
        } else {
            Ok(())
        }
    }

    /// Writes a result or checksum block; `at` is where its IOVA stands in the descriptor.
    pub(super) fn write_block(&mut self, to: (Iova, u32), bytes: &[u8]) -> Result<(), Stop> {
        self.bus
            .write(to.0, bytes)
            .map_err(|e| Stop::dma(e, self.step, to.1))?;
        self.written += length(bytes.len());
        self.blocks += length(bytes.len());
        Ok(())
    }
}

/// The bytes with another first bit.
fn corrupt(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut bytes = bytes.to_vec();
    bytes[0] ^= 1;
    Cow::from(bytes)
}
