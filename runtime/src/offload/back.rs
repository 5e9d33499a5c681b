//! What comes back from a device: everything that there is room for, with the list that makes it, or
//! what is kept, by a list of its own.
//!
//! Columns that are compacted where they lie can be as long as the batch. Brought back only once it
//! is known how much of them is kept, no other bytes cross the bus, and no more memory of the host is
//! held than results take. It costs one more round trip.

use arrow_buffer::Buffer;
use unlade_hal::{Command, CommandList, Lease, Slot, SlotId};
use unlade_program::Ty;

use super::strings::WrittenStrings;
use super::{LINE, OffloadFailure, Placed, Plan, Reach, span};
use crate::arrays;
use crate::block::Memory;
use crate::call::Call;
use crate::error::Error;
use crate::inline::{ProgramOutput, Results, StringsOutput};
use crate::options::Trust;
use crate::parts::PlannedPart;
use crate::pool;

/// Bytes that the device wrote, and where they come back.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// From the start of the written area.
    at: u64,
    /// From the start of what comes back.
    back: u64,
    len: u64,
}

/// Where results are in what comes back.
#[derive(Debug)]
pub(super) struct Back {
    kept: usize,
    rows: usize,
    /// The mask, then each output's values and validity, as in [`Plan::outputs`].
    outputs: Vec<Option<Run>>,
    /// For each column of strings its offsets and its bytes.
    strings: Vec<(usize, Run, Run)>,
    len: u64,
}

impl Back {
    fn runs(&self) -> impl Iterator<Item = &Run> {
        let strings = self
            .strings
            .iter()
            .flat_map(|(_, offsets, bytes)| [offsets, bytes]);
        self.outputs.iter().flatten().chain(strings)
    }

    /// Bytes that come back, gaps aside.
    pub(super) fn bytes(&self) -> u64 {
        self.runs().map(|run| run.len).sum()
    }
}

impl Plan {
    /// Results that come with the list. Where the device works in the host's memory they stay where it
    /// wrote them. Strings that are kept whole are the batch's own, which the host has.
    pub(super) fn everything(&self, kept: usize, rows: usize, strings: &[WrittenStrings]) -> Back {
        let run = |placed: &Placed| Run {
            at: placed.at,
            back: match self.reach {
                Reach::Own => placed.back,
                Reach::Everywhere | Reach::Slabs => placed.at,
            },
            len: placed.len,
        };
        let in_place = |at: u64, len: u64| Run { at, back: at, len };
        let strings = strings.iter().filter(|_| kept < rows);
        let strings = strings.map(|WrittenStrings { placed, status }| {
            let offsets = in_place(placed.offsets, (status.kept + 1) * placed.width.bytes());
            (placed.column, offsets, in_place(placed.bytes, status.bytes))
        });
        Back {
            kept,
            rows,
            outputs: self
                .outputs
                .iter()
                .map(|placed| placed.as_ref().map(run))
                .collect(),
            strings: strings.collect(),
            len: self.readback,
        }
    }

    /// Results that are kept, one behind the other.
    pub(super) fn what_is_kept(
        &self,
        part: &PlannedPart,
        kept: usize,
        rows: usize,
        mask: bool,
        strings: &[WrittenStrings],
    ) -> Back {
        let mut end = 0;
        let mut next = |at: u64, len: u64| {
            let back = end;
            end = (end + len).next_multiple_of(self.alignment);
            Run { at, back, len }
        };
        let mut outputs = Vec::with_capacity(self.outputs.len());
        let mut placed = self.outputs.iter();
        let mask_placed = placed.next().and_then(Option::as_ref).filter(|_| mask);
        outputs.push(mask_placed.map(|placed| next(placed.at, Ty::Mask.bytes_for(rows as u64))));
        for ty in &part.output_types {
            for ty in [*ty, Ty::Mask] {
                let placed = placed.next().and_then(Option::as_ref);
                outputs.push(placed.map(|placed| next(placed.at, ty.bytes_for(kept as u64))));
            }
        }
        let strings = strings.iter().filter(|_| kept < rows);
        let strings = strings.map(|WrittenStrings { placed, status }| {
            let offsets = next(placed.offsets, (status.kept + 1) * placed.width.bytes());
            (placed.column, offsets, next(placed.bytes, status.bytes))
        });
        let strings = strings.collect();
        Back {
            kept,
            rows,
            outputs,
            strings,
            len: end,
        }
    }

    /// The list that brings them, and the slot in which they come.
    pub(super) fn fetch(
        &self,
        back: &Back,
        local: Lease,
        call: &Call<'_>,
    ) -> Result<(CommandList, SlotId), OffloadFailure> {
        let session = call.session.memory.within_reach();
        let mut leases = call.acquire(&[back.len.max(LINE) + self.alignment])?;
        let readback = leases.pop().expect("one lease for each size");
        let readback = session.mark(readback, pool::Use::InFlight);
        let from_base = self.base(&local) + self.inputs_room();
        let to_base = self.base(&readback);
        let mut list = CommandList::new();
        let local = list.slot(Slot::Owned(local));
        let readback = list.slot(Slot::Owned(readback));
        for run in back.runs().filter(|run| run.len > 0) {
            list.push(Command::Copy {
                from: span(local, from_base + run.at, run.len),
                to: span(readback, to_base + run.back, run.len),
            });
        }
        Ok((list, readback))
    }

    /// Makes buffers of what came back. Where the device is not trusted they are copied first, so
    /// that it cannot change them any more.
    pub(super) fn results(
        &self,
        lease: Lease,
        back: &Back,
        part: &PlannedPart,
        memory: &Memory,
        trust: Trust,
    ) -> Result<Results, Error> {
        let (kept, rows) = (back.kept, back.rows);
        let base = self.base(&lease);
        let whole = match trust {
            Trust::Trusted => {
                let len = lease.len() as usize;
                let lease = memory.within_reach().mark(lease, pool::Use::Exported);
                lease.freeze(len).expect("the host's own memory")
            }
            Trust::Untrusted => memory.copy(lease.bytes().expect("the host's own memory"))?,
        };
        let slice = |run: &Run, len: u64| -> Buffer {
            whole.slice_with_length((base + run.back) as usize, len as usize)
        };
        let take = |run: &Run, ty: Ty, rows: usize| slice(run, ty.bytes_for(rows as u64));
        let mut runs = back.outputs.iter();
        let mask = runs.next().and_then(Option::as_ref);
        let mask = mask.map(|run| take(run, Ty::Mask, rows));
        let mut outputs = Vec::with_capacity(part.output_types.len());
        for ty in &part.output_types {
            let values = runs.next().and_then(Option::as_ref);
            let validity = runs.next().and_then(Option::as_ref);
            outputs.push(ProgramOutput {
                values: take(values.expect("an output has values"), *ty, kept),
                nulls: validity.and_then(|run| arrays::nulls(take(run, Ty::Mask, kept), kept)),
            });
        }
        let strings = back
            .strings
            .iter()
            .map(|(column, offsets, bytes)| StringsOutput {
                column: *column,
                offsets: slice(offsets, offsets.len),
                bytes: slice(bytes, bytes.len),
            });
        Ok(Results {
            kept,
            mask,
            outputs,
            strings: strings.collect(),
        })
    }
}
