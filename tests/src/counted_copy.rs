//! Copies of as much as a count says that only the device knows.

use std::sync::Arc;

use unlade_hal::{
    Arg, Command, CommandList, Device, MemoryKind, Queue, RejectReason, Rejected, Slot, SlotId,
    Status,
};
use unlade_program::Program;

use crate::lists::{UNTOUCHED, back, lease, memory, pattern, run, scalar, span};

/// Bytes of each slot.
const LEN: u64 = 40_000;

/// Fails where a device that takes counted copies copies more or less than the count says, and
/// where one that does not takes them all the same.
///
/// # Errors
/// What is not as it must be.
pub(crate) fn check(device: &Arc<dyn Device>) -> Result<(), String> {
    let mut queue = device.open_queue(2).map_err(|error| error.to_string())?;
    if !device.capabilities().copy_counted {
        let list = Copy::new(8, 5, 0..16, 0..16).list(device)?;
        return match queue.submit(list) {
            Err(Rejected {
                reason: RejectReason::Invalid(_),
                ..
            }) => Ok(()),
            Err(Rejected { reason, .. }) => Err(format!(
                "it is rejected otherwise than as invalid: {reason}"
            )),
            Ok(_) => Err("a counted copy is accepted by a device that takes none".to_owned()),
        };
    }
    for copy in copies() {
        let list = copy.list(device)?;
        let (list, _) = run(queue.as_mut(), list).map_err(|what| format!("{copy:?}: {what}"))?;
        let found = back(&list, BACK, LEN)?;
        let len = copy.copied();
        for (at, &byte) in found.iter().enumerate() {
            let wanted = match (at as u64).checked_sub(copy.to.start) {
                Some(behind) if behind < len => pattern(copy.from.start + behind),
                _ => UNTOUCHED,
            };
            if byte != wanted {
                return Err(format!("{copy:?}: byte {at} is {byte:#x}, not {wanted:#x}"));
            }
        }
    }
    what_a_filter_kept(device, queue.as_mut())
}

/// The slot that is read back.
const BACK: SlotId = SlotId(0);

/// One copy.
#[derive(Clone, Debug)]
struct Copy {
    unit_bits: u32,
    count: u64,
    from: std::ops::Range<u64>,
    to: std::ops::Range<u64>,
}

fn copies() -> Vec<Copy> {
    let mut copies = Vec::new();
    for unit_bits in [1, 3, 32, 128, u32::MAX] {
        let whole = LEN * 8 / u64::from(unit_bits);
        for count in [0, 1, 7, 9, whole / 2, whole, whole + 1, u64::MAX] {
            copies.push(Copy::new(unit_bits, count, 0..LEN, 0..LEN));
        }
    }
    // Ends that begin anywhere, alike and not.
    for (from, to, len) in [
        (1, 1, 4097),
        (16, 32, 20_001),
        (3, 8, 9_000),
        (5, 0, 17),
        (9, 7, 0),
    ] {
        for count in [0, 13, len, len + 1] {
            copies.push(Copy::new(8, count, from..from + len, to..to + len));
        }
    }
    copies
}

impl Copy {
    fn new(
        unit_bits: u32,
        count: u64,
        from: std::ops::Range<u64>,
        to: std::ops::Range<u64>,
    ) -> Self {
        Copy {
            unit_bits,
            count,
            from,
            to,
        }
    }

    /// Bytes that are to be copied.
    fn copied(&self) -> u64 {
        let bits = u128::from(self.count) * u128::from(self.unit_bits);
        let room = self.from.end - self.from.start;
        bits.div_ceil(8).min(u128::from(room)) as u64
    }

    fn list(&self, device: &Arc<dyn Device>) -> Result<CommandList, String> {
        let mut list = CommandList::new();
        let mut upload = lease(device, MemoryKind::Upload, LEN + 16)?;
        let bytes = upload
            .bytes_mut()
            .ok_or("memory for uploads is the host's")?;
        for (at, byte) in bytes[..LEN as usize].iter_mut().enumerate() {
            *byte = pattern(at as u64);
        }
        // Where no load of eight bytes may.
        let count_at = LEN + 4;
        bytes[count_at as usize..][..8].copy_from_slice(&self.count.to_le_bytes());
        let read_back = lease(device, MemoryKind::Readback, LEN)?;
        let to = list.slot(Slot::Owned(read_back));
        let from = list.slot(Slot::Owned(upload));
        assert_eq!(to, BACK);
        let everything = |slot| span(slot, 0..LEN);
        let fill = |slot| Command::Fill {
            to: everything(slot),
            byte: UNTOUCHED,
        };
        let counted = |from, to| Command::CopyCounted {
            from: span(from, self.from.clone()),
            to: span(to, self.to.clone()),
            count: span(from, count_at..count_at + 8),
            unit_bits: self.unit_bits,
        };
        if device.capabilities().coherent {
            list.push(fill(to));
            list.push(counted(from, to));
            return Ok(list);
        }
        let local = |len| lease(device, MemoryKind::DeviceLocal, len);
        let read = list.slot(Slot::Owned(local(LEN + 16)?));
        let write = list.slot(Slot::Owned(local(LEN)?));
        list.push(Command::Copy {
            from: span(from, 0..LEN + 16),
            to: span(read, 0..LEN + 16),
        });
        // Half of them stay in the GPU's memory, half go straight to the host's.
        if self.count.is_multiple_of(2) {
            list.push(fill(to));
            list.push(counted(read, to));
            return Ok(list);
        }
        list.push(fill(write));
        list.push(counted(read, write));
        list.push(Command::Copy {
            from: everything(write),
            to: everything(to),
        });
        Ok(list)
    }
}

/// A filter, and behind it in the same list a copy of what it keeps, which the host does not know
/// when it submits both.
fn what_a_filter_kept(device: &Arc<dyn Device>, queue: &mut dyn Queue) -> Result<(), String> {
    if !device.capabilities().compaction {
        return Ok(());
    }
    let program: Program = "columns c0: i32
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = cmp.lt %0, %1
         keep %2
         output %0"
        .parse()
        .map_err(|error| format!("{error}"))?;
    let exe = device
        .compile(&Arc::new(program))
        .map_err(|error| error.to_string())?;
    let rows = 10_000;
    for limit in [0, 1, 1234, 10_000] {
        let mut list = CommandList::new();
        let room = 4 * rows + device.capabilities().slack;
        let status_at = room.next_multiple_of(64);
        let (input_len, output_len) = (4 * rows, status_at + Status::BYTES);
        let mut upload = lease(device, MemoryKind::Upload, input_len)?;
        let bytes = upload
            .bytes_mut()
            .ok_or("memory for uploads is the host's")?;
        let bytes = &mut bytes[..input_len as usize];
        for (row, value) in bytes.chunks_exact_mut(4).enumerate() {
            // Every residue once, out of order.
            let number = (row as i32 * 7919) % rows as i32;
            value.copy_from_slice(&number.to_le_bytes());
        }
        let wanted: Vec<u8> = bytes
            .chunks_exact(4)
            .filter(|value| i32::from_le_bytes([value[0], value[1], value[2], value[3]]) < limit)
            .flatten()
            .copied()
            .collect();
        let read_back = lease(device, MemoryKind::Readback, input_len)?;
        let to = list.slot(Slot::Owned(read_back));
        let up = list.slot(Slot::Owned(upload));
        let coherent = device.capabilities().coherent;
        let (kind, read) = match coherent {
            true => (MemoryKind::Readback, up),
            false => {
                let local = lease(device, MemoryKind::DeviceLocal, input_len)?;
                let read = list.slot(Slot::Owned(local));
                list.push(Command::Copy {
                    from: span(up, 0..input_len),
                    to: span(read, 0..input_len),
                });
                (MemoryKind::DeviceLocal, read)
            }
        };
        let results = list.slot(Slot::Owned(lease(device, kind, output_len)?));
        list.push(Command::Fill {
            to: span(to, 0..input_len),
            byte: UNTOUCHED,
        });
        list.push(Command::Dispatch {
            exe: exe.clone(),
            rows,
            args: Box::new([
                memory(&span(read, 0..input_len), 0),
                Arg::Absent,
                scalar(limit as u64),
                memory(&span(results, 0..room), 0),
                Arg::Absent,
            ]),
            status: span(results, status_at..output_len),
        });
        // A status begins with the rows kept.
        list.push(Command::CopyCounted {
            from: span(results, 0..input_len),
            to: span(to, 0..input_len),
            count: span(results, status_at..status_at + 8),
            unit_bits: 32,
        });
        let (list, _) = run(queue, list)?;
        let found = back(&list, to, input_len)?;
        let (kept, rest) = found.split_at(wanted.len());
        if kept != wanted || rest.iter().any(|&byte| byte != UNTOUCHED) {
            return Err(format!(
                "a filter that keeps {limit} rows: not they, or more than they, are copied"
            ));
        }
    }
    Ok(())
}
