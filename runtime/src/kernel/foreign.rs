//! Memory of devices that others have allocated, brought to the host by the device that has it.

use std::sync::Arc;
use std::time::Duration;

use arrow_buffer::Buffer;
use unlade_hal::{
    Command, CommandList, DeviceError, DeviceLost, ForeignMemory, Lease, Outcome, Slab, Slot, Span,
};

use super::{Kernel, given_up};
use crate::call::Call;
use crate::device_slot::{self, DeviceSlot, Wait};
use crate::driver::{Point, Undone};
use crate::error::Error;
use crate::offload::{self, LINE};
use crate::sync::Instant;

/// Runs of memory that one list copies: it has a slot for each.
const MOST_AT_ONCE: usize = 4096;

/// Bytes that are brought at once at most, which no host has: what is said to be longer is not there.
const MOST_BYTES: u64 = 1 << 48;

/// How long an event is waited for before it is asked whether anybody still waits for the result.
const LOOK_UP: Duration = Duration::from_millis(5);

impl Kernel {
    /// Copies memory that somebody else has allocated on a device of the runtime to the host: a buffer
    /// for each, aligned to 64 bytes, on pinned memory of the kernel's session. It has its turns on the
    /// device as a batch has, and ends as one does with its session.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no such device, where it has no memory that others allocate, and
    /// where a range is not inside of one allocation there; [`Error::Limit`] for more bytes than 2^48;
    /// [`Error::Exhausted`] without memory of the host; [`Error::DeviceFault`] where the device fails, or
    /// is given memory that is not written in time; [`Error::Cancelled`], [`Error::DeadlineExceeded`] and
    /// [`Error::Shutdown`] as for a batch.
    pub fn fetch(&self, device: &str, memory: Vec<ForeignMemory>) -> Result<Vec<Buffer>, Error> {
        unlade_hal::fork::check()?;
        let (runtime, session) = (&self.core.runtime, &self.core.session);
        let slot = device_slot::named(&runtime.devices, device)?;
        let call = self.core.call(self.core.next_batches(1), 1, None);
        let _in_hand = session.take_in_hand(1);
        runtime.door.may_begin()?;
        call.check()?;
        let pieces = pieces(memory.iter().map(ForeignMemory::len))?;
        let sizes: Vec<u64> = pieces.iter().map(|piece| piece.bytes).collect();
        // Nobody holds some memory and waits for more.
        let leases = match sizes.is_empty() {
            true => Vec::new(),
            false => call.acquire(&sizes)?,
        };
        let mut buffers = vec![Buffer::default(); memory.len()];
        for (piece, lease) in pieces.iter().zip(leases) {
            call.check()?;
            let whole = piece.fetch(&call, slot, &memory, lease)?;
            for &(run, at) in &piece.places {
                let len = memory[run].len() as usize;
                buffers[run] = whole.slice_with_length(at as usize, len);
            }
        }
        Ok(buffers)
    }
}

/// What one list copies.
#[derive(Debug, Default)]
struct Piece {
    /// Which runs, and where each comes to.
    places: Vec<(usize, u64)>,
    /// Bytes that all of them take, each from a line on.
    bytes: u64,
}

/// Why a piece was not fetched.
enum Unfetched {
    Error(Error),
    Fault(DeviceLost),
    GivenUp(Point),
}

impl From<Error> for Unfetched {
    fn from(error: Error) -> Self {
        Unfetched::Error(error)
    }
}

/// The runs of these lengths that are not empty, some for each list.
fn pieces(lengths: impl Iterator<Item = u64>) -> Result<Vec<Piece>, Error> {
    let mut all = 0_u64;
    let mut pieces: Vec<Piece> = Vec::new();
    for (run, len) in lengths.enumerate().filter(|(_, len)| *len > 0) {
        let taken = len.checked_next_multiple_of(LINE).unwrap_or(u64::MAX);
        all = all.saturating_add(taken);
        if all > MOST_BYTES {
            return Err(Error::Limit {
                what: "bytes of a device's memory that are brought to the host at once",
                asked: all,
                limit: MOST_BYTES,
            });
        }
        let is_full = |piece: &Piece| piece.places.len() == MOST_AT_ONCE;
        if pieces.last().is_none_or(is_full) {
            pieces.push(Piece::default());
        }
        let piece = pieces.last_mut().expect("there is one with room");
        piece.places.push((run, piece.bytes));
        piece.bytes += taken;
    }
    Ok(pieces)
}

impl Piece {
    /// Brings it, in its turn on a device.
    fn fetch(
        &self,
        call: &Call<'_>,
        slot: usize,
        memory: &[ForeignMemory],
        readback: Lease,
    ) -> Result<Buffer, Error> {
        let (runtime, device) = (call.runtime, &call.runtime.devices[slot]);
        let permit = runtime.enter(slot, call, self.bytes, Wait::ToTheEnd);
        let permit = permit.map_err(|end| {
            let ended = call.ended(end).or_else(|| call.check().err());
            ended.unwrap_or_else(|| Error::DeviceFault(device.distrust()))
        })?;
        match self.copy(call, slot, memory, readback) {
            Ok(buffer) => {
                permit.done(None);
                Ok(buffer)
            }
            Err(Unfetched::Error(error)) => Err(error),
            Err(Unfetched::GivenUp(point)) => Err(given_up::leave(call, permit, point)),
            Err(Unfetched::Fault(lost)) => {
                device.fault(permit, &lost);
                Err(Error::DeviceFault(lost))
            }
        }
    }

    fn copy(
        &self,
        call: &Call<'_>,
        slot: usize,
        memory: &[ForeignMemory],
        readback: Lease,
    ) -> Result<Buffer, Unfetched> {
        let slot = &call.runtime.devices[slot];
        let mut list = CommandList::new();
        let to = list.slot(Slot::Owned(readback));
        for &(run, at) in &self.places {
            let run = &memory[run];
            let lease = adopt(call, slot, run)?.lease_whole();
            let lease = lease.expect("the slab is new");
            let from = list.slot(Slot::Resident(Arc::new(lease)));
            let span = |slot, at: u64| Span {
                slot,
                bytes: at..at + run.len(),
            };
            list.push(Command::Copy {
                from: span(from, 0),
                to: span(to, at),
            });
        }
        let patience = call.runtime.options.patience();
        let given_up = || call.check().is_err();
        let back = slot.driver.run(&slot.device, list, patience, given_up);
        let back = back.map_err(|undone| match undone {
            Undone::Lost(lost) => Unfetched::Fault(lost),
            Undone::GivenUp(point) => Unfetched::GivenUp(point),
            Undone::NotBegun => Unfetched::Error(call.why_ended()),
            // Of what others say of their memory, not of the device.
            Undone::Invalid(reason) => Unfetched::Error(Error::Config(format!(
                "memory of `{}` cannot be copied from where it is said to be: {reason}",
                slot.name
            ))),
        })?;
        call.runtime.trace.list(slot, call, &back);
        let fault = |reason: &str| Unfetched::Fault(offload::lost(slot, reason.to_owned()));
        match back.completion.outcome {
            Outcome::Done { .. } => {}
            Outcome::Aborted(lost) => return Err(Unfetched::Fault(lost)),
            Outcome::Trapped(_) => return Err(fault("a copy of memory to the host trapped")),
        }
        let mut slots = back.completion.list.slots;
        let Slot::Owned(lease) = slots.swap_remove(usize::from(to.0)) else {
            unreachable!("what was owned comes back so");
        };
        let whole = lease.freeze(self.bytes as usize);
        whole.map_err(|_| fault("memory of the host that it wrote is not the host's"))
    }
}

/// Memory of others as a device's own, once it is written.
fn adopt(call: &Call<'_>, slot: &DeviceSlot, run: &ForeignMemory) -> Result<Slab, Unfetched> {
    let timeout = call.runtime.options.device_timeout;
    let since = Instant::now();
    loop {
        let left = timeout.saturating_sub(since.elapsed());
        let refused = match slot.device.adopt(run.clone(), left.min(LOOK_UP)) {
            Ok(slab) => return Ok(slab),
            Err(refused) => refused,
        };
        return Err(match refused {
            DeviceError::NotWritten(_) if !left.is_zero() => {
                call.check()?;
                continue;
            }
            // The device works: who was to write it is late, and the next batch finds it as it was.
            DeviceError::NotWritten(why) => {
                let why = format!("{why} within {timeout:?}");
                Unfetched::Error(Error::DeviceFault(offload::lost(slot, why)))
            }
            DeviceError::Lost(lost) => Unfetched::Fault(lost),
            DeviceError::Foreign(why) => Unfetched::Error(Error::Config(why)),
            other => Unfetched::Error(Error::Config(format!("`{}`: {other}", slot.name))),
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn more_runs_than_a_list_has_slots_are_copied_by_several() {
        let lengths: Vec<u64> = (0..70_000).map(|run| run % 3 * 50).collect();
        let pieces = pieces(lengths.iter().copied()).unwrap();
        let mut copied = Vec::new();
        for piece in &pieces {
            assert!(piece.places.len() <= MOST_AT_ONCE);
            let starts = piece.places.iter().skip(1).map(|(_, at)| *at);
            for ((run, at), next) in piece.places.iter().zip(starts.chain([piece.bytes])) {
                assert!(at + lengths[*run] <= next && at % LINE == 0);
                copied.push(*run);
            }
        }
        let there = (0..lengths.len()).filter(|run| lengths[*run] > 0);
        assert_eq!(copied, there.collect::<Vec<_>>());
    }

    #[test]
    fn lengths_that_no_memory_has_are_refused() {
        let lies: [&[u64]; 4] = [
            &[u64::MAX],
            &[u64::MAX - 63, u64::MAX - 63],
            &[MOST_BYTES, 1],
            &[1 << 63, 1 << 63, 64],
        ];
        for lie in lies {
            let refused = pieces(lie.iter().copied());
            assert!(matches!(refused, Err(Error::Limit { .. })), "{lie:?}");
        }
    }
}
