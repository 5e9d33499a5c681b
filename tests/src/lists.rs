//! Command lists by hand: what they are made of, and how one is run to its end.

use std::ops::Range;
use std::sync::Arc;

use unlade_hal::{
    Arg, CommandList, Device, Lease, MemoryKind, Outcome, Queue, Slot, SlotId, Span, Wait,
};

use crate::device_runner::LONG;

/// What a byte is filled with, to see whether anything was written to it.
pub(crate) const UNTOUCHED: u8 = 0xa5;

/// Runs a list to its end; what each dispatch has kept.
pub(crate) fn run(
    queue: &mut dyn Queue,
    list: CommandList,
) -> Result<(CommandList, Vec<u64>), String> {
    let seq = queue
        .submit(list)
        .map_err(|rejected| rejected.reason.to_string())?;
    let waited = queue.wait(seq, LONG).map_err(|lost| lost.to_string())?;
    assert_eq!(waited, Wait::Reached);
    let mut done = Vec::new();
    queue.poll(&mut done).map_err(|lost| lost.to_string())?;
    let completion = done.pop().ok_or("a point that is reached is delivered")?;
    match completion.outcome {
        Outcome::Done { written } => Ok((completion.list, written.into())),
        other => Err(format!("it ends as {other:?}")),
    }
}

/// An argument in memory.
pub(crate) fn memory(span: &Span, bit_offset: u8) -> Arg {
    Arg::Span {
        span: span.clone(),
        bit_offset,
    }
}

/// An argument that is a number.
pub(crate) fn scalar(value: u64) -> Arg {
    Arg::Scalar(u128::from(value).to_le_bytes())
}

/// Bytes of a slot.
pub(crate) fn span(slot: SlotId, bytes: Range<u64>) -> Span {
    Span { slot, bytes }
}

/// Memory of its own, of at least so many bytes.
pub(crate) fn lease(device: &Arc<dyn Device>, kind: MemoryKind, len: u64) -> Result<Lease, String> {
    let slab = device
        .allocate(kind, len)
        .map_err(|error| error.to_string())?;
    slab.lease_whole()
        .ok_or_else(|| "a new slab is leased already".to_owned())
}

/// What has come back. A slab may be longer than was asked for.
pub(crate) fn back(list: &CommandList, slot: SlotId, len: u64) -> Result<&[u8], String> {
    let Slot::Owned(lease) = &list.slots[usize::from(slot.0)] else {
        return Err("an owned slot comes back owned".to_owned());
    };
    let bytes = lease
        .bytes()
        .ok_or("memory for reading back is the host's")?;
    Ok(&bytes[..len as usize])
}

/// A byte that tells where it was.
pub(crate) fn pattern(at: u64) -> u8 {
    (at * 31 + at / 251) as u8
}
