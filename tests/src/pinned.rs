//! Bytes that nobody writes any more, in memory that a device was told of.

use std::ops::Range;
use std::sync::Arc;

use arrow_buffer::Buffer;
use unlade_hal::{
    Arg, Command, CommandList, Device, MemoryKind, PageSize, PinnedBuffer, Queue, RejectReason,
    Rejected, Slab, Slot, SlotId, Status,
};
use unlade_program::Program;

use crate::lists::{back, lease, memory, pattern, run, scalar, span};

/// Bytes of the slab.
const LEN: u64 = 40_000;

/// Fails where a device does not read such bytes as they are, copied or in place, where it writes
/// them, and where it takes those that it was not told of.
///
/// # Errors
/// What is not as it must be.
pub(crate) fn check(device: &Arc<dyn Device>) -> Result<(), String> {
    let slab = device.allocate(MemoryKind::Upload, LEN);
    let slab = slab.map_err(|error| error.to_string())?;
    let buffer = frozen(&slab)?;
    let mut queue = device.open_queue(2).map_err(|error| error.to_string())?;
    for bytes in [0..LEN, 4096..LEN, 64..65, 3..20_001] {
        copied(device, queue.as_mut(), pinned(&slab, &buffer, bytes)?)?;
    }
    if device.capabilities().coherent {
        let alignment = device.capabilities().alignment;
        for start in [0, 3 * alignment.max(4)] {
            in_place(device, queue.as_mut(), pinned(&slab, &buffer, start..LEN)?)?;
        }
    }
    let mut list = CommandList::new();
    let there = list.slot(Slot::Pinned(pinned(&slab, &buffer, 0..LEN)?));
    list.push(Command::Fill {
        to: span(there, 0..LEN),
        byte: 0,
    });
    is_refused(queue.as_mut(), list, "it writes what is read-only")?;
    let unknown = Slab::host(MemoryKind::Upload, LEN, PageSize::Base);
    let unknown = unknown.map_err(|error| error.to_string())?;
    let bytes = frozen(&unknown)?;
    // A device without memory of its own works on whatever the host has.
    if device.info().memory > 0 {
        let list = copy(device, pinned(&unknown, &bytes, 0..LEN)?)?;
        is_refused(queue.as_mut(), list, "it reads what it was not told of")?;
    }
    Ok(())
}

/// The slab's bytes, each by its place.
fn frozen(slab: &Slab) -> Result<Buffer, String> {
    let mut lease = slab.lease_whole().ok_or("a new slab is leased already")?;
    let bytes = lease.bytes_mut().ok_or("memory is the host's")?;
    for (at, byte) in bytes[..LEN as usize].iter_mut().enumerate() {
        *byte = pattern(at as u64);
    }
    lease
        .freeze(LEN as usize)
        .map_err(|_| "memory of the host does not freeze".to_owned())
}

fn pinned(slab: &Slab, buffer: &Buffer, bytes: Range<u64>) -> Result<PinnedBuffer, String> {
    let len = (bytes.end - bytes.start) as usize;
    let buffer = buffer.slice_with_length(bytes.start as usize, len);
    let pinned = PinnedBuffer::of(slab, &buffer).ok_or("bytes of a slab are not found in it")?;
    match pinned.start() == bytes.start {
        true => Ok(pinned),
        false => Err(format!("byte {} is byte {}", bytes.start, pinned.start())),
    }
}

/// The slot that a copy is read back from.
const BACK: SlotId = SlotId(0);

fn copy(device: &Arc<dyn Device>, pinned: PinnedBuffer) -> Result<CommandList, String> {
    let len = pinned.bytes().len() as u64;
    let mut list = CommandList::new();
    let to = list.slot(Slot::Owned(lease(device, MemoryKind::Readback, len)?));
    let mut from = list.slot(Slot::Pinned(pinned));
    if !device.capabilities().coherent {
        let local = lease(device, MemoryKind::DeviceLocal, len)?;
        let local = list.slot(Slot::Owned(local));
        list.push(Command::Copy {
            from: span(from, 0..len),
            to: span(local, 0..len),
        });
        from = local;
    }
    list.push(Command::Copy {
        from: span(from, 0..len),
        to: span(to, 0..len),
    });
    Ok(list)
}

fn copied(
    device: &Arc<dyn Device>,
    queue: &mut dyn Queue,
    pinned: PinnedBuffer,
) -> Result<(), String> {
    let wanted = pinned.bytes().to_vec();
    let list = copy(device, pinned)?;
    let (list, _) = run(queue, list)?;
    match back(&list, BACK, wanted.len() as u64)? == wanted {
        true => Ok(()),
        false => Err(format!(
            "{} pinned bytes are copied as others",
            wanted.len()
        )),
    }
}

/// A dispatch that reads them where they are.
fn in_place(
    device: &Arc<dyn Device>,
    queue: &mut dyn Queue,
    pinned: PinnedBuffer,
) -> Result<(), String> {
    let program: Program = "columns c0: i32
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = add %0, %1
         output %2"
        .parse()
        .map_err(|error| format!("{error}"))?;
    let exe = device.compile(&Arc::new(program));
    let exe = exe.map_err(|error| error.to_string())?;
    let values = pinned.bytes().chunks_exact(4);
    let values = values.map(|value| i32::from_le_bytes([value[0], value[1], value[2], value[3]]));
    let wanted: Vec<u8> = values
        .flat_map(|value| value.wrapping_add(1).to_le_bytes())
        .collect();
    let len = wanted.len() as u64;
    let room = len + device.capabilities().slack;
    let status_at = room.next_multiple_of(device.capabilities().alignment.max(64));
    let mut list = CommandList::new();
    let readback = lease(device, MemoryKind::Readback, status_at + Status::BYTES)?;
    let to = list.slot(Slot::Owned(readback));
    let from = list.slot(Slot::Pinned(pinned));
    list.push(Command::Dispatch {
        exe,
        rows: len / 4,
        args: Box::new([
            memory(&span(from, 0..len), 0),
            Arg::Absent,
            scalar(1),
            memory(&span(to, 0..room), 0),
            Arg::Absent,
        ]),
        status: span(to, status_at..status_at + Status::BYTES),
    });
    let (list, _) = run(queue, list)?;
    match back(&list, to, len)? == wanted {
        true => Ok(()),
        false => Err(format!("{len} pinned bytes are read as others")),
    }
}

fn is_refused(queue: &mut dyn Queue, list: CommandList, otherwise: &str) -> Result<(), String> {
    match queue.submit(list) {
        Err(Rejected {
            reason: RejectReason::Invalid(_),
            ..
        }) => Ok(()),
        Err(Rejected { reason, .. }) => Err(format!(
            "it is rejected otherwise than as invalid: {reason}"
        )),
        Ok(_) => Err(otherwise.to_owned()),
    }
}
