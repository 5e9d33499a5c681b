//! Lists to run on a card.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use unlade_dpu::DpuDevice;
use unlade_hal::{
    Arg, Command, CommandList, Completion, Device, Executable, Lease, MemoryKind, Queue, Seq, Slot,
    SlotId, Span, Status, Wait,
};
use unlade_program::Program;

/// Longer than anything takes that is going to happen.
pub const LONG: Duration = Duration::from_secs(30);

/// Memory of a device.
///
/// # Panics
/// Where there is none.
pub fn lease(device: &DpuDevice, kind: MemoryKind, len: u64) -> Lease {
    let slab = device.allocate(kind, len).expect("there is memory");
    slab.lease_whole().expect("the slab is new")
}

/// Bytes of a slot.
pub fn span(slot: SlotId, bytes: Range<u64>) -> Span {
    Span { slot, bytes }
}

/// A list that fills a page of its own, in slot 0.
pub fn fill(device: &DpuDevice, byte: u8) -> CommandList {
    let mut list = CommandList::new();
    let slot = list.slot(Slot::Owned(lease(device, MemoryKind::Readback, 4096)));
    let to = span(slot, 0..4096);
    list.push(Command::Fill { to, byte });
    list
}

/// The bytes of an owned slot.
///
/// # Panics
/// Where the slot is not owned.
pub fn bytes(list: &CommandList, slot: usize) -> &[u8] {
    match &list.slots[slot] {
        Slot::Owned(lease) => lease.bytes().expect("the memory is the host's"),
        other => panic!("{other:?} is not owned"),
    }
}

/// Keeps what is less than a parameter, and traps at what is negative.
///
/// # Panics
/// Where the card does not take the program.
pub fn filter(device: &DpuDevice) -> Executable {
    let program: Program = "columns c0: i32
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = const i32 0
         %3 = cmp.lt %0, %2
         %4 = trap.overflow %3, ordinal 5
         %5 = cmp.lt %0, %1
         keep %5
         output %0"
        .parse()
        .expect("the program is one");
    device.compile(&Arc::new(program)).expect("the card has it")
}

/// The filter over values: they are in slot 0, the results in slot 1, from [`STATUS_AFTER`] on, and
/// its status at the beginning of it.
///
/// # Panics
/// Where there is no memory.
pub fn filter_list(
    device: &DpuDevice,
    exe: &Executable,
    values: &[i32],
    below: i32,
) -> CommandList {
    let len = 4 * values.len() as u64;
    let mut input = lease(device, MemoryKind::Upload, len.max(1));
    let all = input.bytes_mut().expect("the memory is the host's");
    for (to, value) in all.chunks_exact_mut(4).zip(values) {
        to.copy_from_slice(&value.to_le_bytes());
    }
    let mut list = CommandList::new();
    let input = list.slot(Slot::Owned(input));
    let output = lease(device, MemoryKind::Readback, STATUS_AFTER + len);
    let output = list.slot(Slot::Owned(output));
    let mut parameter = [0; 16];
    parameter[..4].copy_from_slice(&below.to_le_bytes());
    let memory = |span| Arg::Span {
        span,
        bit_offset: 0,
    };
    list.push(Command::Dispatch {
        exe: exe.clone(),
        rows: values.len() as u64,
        args: Box::new([
            memory(span(input, 0..len)),
            Arg::Absent,
            Arg::Scalar(parameter),
            memory(span(output, STATUS_AFTER..STATUS_AFTER + len)),
            Arg::Absent,
        ]),
        status: span(output, 0..Status::BYTES),
    });
    list
}

/// Where results of [`filter_list`] begin, in bytes of slot 1.
pub const STATUS_AFTER: u64 = 4096;

/// The first values of a slot, from a byte on.
///
/// # Panics
/// Where the slot does not hold them.
pub fn values(list: &CommandList, slot: usize, from: usize, count: usize) -> Vec<i32> {
    bytes(list, slot)[from..][..4 * count]
        .chunks_exact(4)
        .map(|four| i32::from_le_bytes(four.try_into().expect("four bytes")))
        .collect()
}

/// Submits a list and waits for it.
///
/// # Panics
/// Where it is rejected or does not end.
pub fn run(queue: &mut dyn Queue, list: CommandList) -> Completion {
    let seq = submit(queue, list);
    finish(queue, seq)
}

/// Submits a list.
///
/// # Panics
/// Where it is rejected.
pub fn submit(queue: &mut dyn Queue, list: CommandList) -> Seq {
    queue
        .submit(list)
        .unwrap_or_else(|rejected| panic!("{}", rejected.reason))
}

/// Waits for the one list that is in flight.
///
/// # Panics
/// Where it does not end.
pub fn finish(queue: &mut dyn Queue, seq: Seq) -> Completion {
    assert_eq!(queue.wait(seq, LONG), Ok(Wait::Reached));
    let mut done = Vec::new();
    queue.poll(&mut done).expect("the device is there");
    let completion = done.pop().expect("a point that is reached is delivered");
    assert_eq!((completion.seq, done.len()), (seq, 0));
    completion
}
