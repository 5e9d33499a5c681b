//! Checksums of outputs, which the card computes of what it means to write and the host of what
//! has arrived: docs/CARD.md, section 7, checksum block.

use unlade_hal::{Access, Arg, Command, CommandList, Executable, Slot, Span};
use unlade_program::Ty;
use unlade_program::args::Layout;

use crate::fault::Fault;
use crate::fields::Fields;
use crate::job;

/// Bytes kept for the checksums of one list.
pub(crate) const ROOM: u64 = 1024;

/// Bytes from the block of a dispatch to that of the next.
pub(crate) fn block_len(exe: &Executable) -> u64 {
    let program = exe.program();
    let sums = u64::from(program.emit_mask) + 2 * program.outputs.len() as u64;
    // Each begins where a u64 may.
    (4 * sums).next_multiple_of(8)
}

/// Bytes of all blocks of a list.
pub(crate) fn len(list: &CommandList) -> u64 {
    job::dispatches(list)
        .map(|dispatch| block_len(dispatch.exe))
        .sum()
}

/// Whether what lies in the outputs of a list that is done is what the card has computed. Outputs
/// that a later step has written over are left out.
pub(crate) fn check(list: &CommandList, kept: &[u64], blocks: &[u8]) -> Result<(), Fault> {
    let mut block = 0;
    for (dispatch, kept) in job::dispatches(list).zip(kept) {
        let (exe, position) = (dispatch.exe, dispatch.position);
        let Command::Dispatch { args, rows, .. } = &list.commands[position] else {
            continue;
        };
        for (at, (argument, ty, rows)) in (block..).step_by(4).zip(outputs(exe, *rows, *kept)) {
            let Some(Arg::Span { span, .. }) = args.get(argument) else {
                continue;
            };
            if is_overwritten(list, position, span) {
                continue;
            }
            let (told, found) = (Fields(blocks).u32(at), checksum(list, span, ty, rows));
            if found != Some(told) {
                return Err(Fault::Lie(format!(
                    "argument {argument} of step {position} has arrived with checksum {:#010x}, \
                     not {told:#010x}: it was corrupted on the way",
                    found.unwrap_or(0)
                )));
            }
        }
        block += usize::try_from(block_len(exe)).expect("a list's checksums have at most 1 KiB");
    }
    Ok(())
}

/// Argument, type and rows of each output, in the order of the block.
fn outputs(exe: &Executable, rows: u64, kept: u64) -> Vec<(usize, Ty, u64)> {
    let layout = Layout::of(exe.program());
    let mask = layout.mask().map(|mask| (mask, Ty::Mask, rows));
    let columns = exe.output_types().iter().enumerate();
    let columns = columns.flat_map(|(index, ty)| {
        let values = layout.output(index);
        [(values, *ty, kept), (values + 1, Ty::Mask, kept)]
    });
    mask.into_iter().chain(columns).collect()
}

fn is_overwritten(list: &CommandList, position: usize, span: &Span) -> bool {
    let later = list.commands[position + 1..].iter().flat_map(job::uses);
    later
        .into_iter()
        .any(|(used, access)| access == Access::Write && job::overlap(used, span))
}

/// Of the first rows of a span; bits behind the last row count as zero. `None` where they are not
/// there.
fn checksum(list: &CommandList, span: &Span, ty: Ty, rows: u64) -> Option<u32> {
    let Slot::Owned(lease) = list.slots.get(usize::from(span.slot.0))? else {
        return None;
    };
    let bytes = lease.bytes()?.get(job::range(span)?)?;
    let bytes = bytes.get(..usize::try_from(ty.bytes_for(rows)).ok()?)?;
    match (ty, rows % 8, bytes.split_last()) {
        (Ty::Mask, used @ 1.., Some((last, whole))) => {
            let last = last & ((1 << used) - 1);
            Some(crc32c::crc32c_append(crc32c::crc32c(whole), &[last]))
        }
        _ => Some(crc32c::crc32c(bytes)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use unlade_hal::{DomainId, MemoryKind, PageSize, Slab, Status};
    use unlade_program::Program;

    use super::*;
    use crate::admin::Handle;
    use crate::iova::Iova;
    use crate::program::Loaded;
    use crate::returns::{Returned, Returns};
    use crate::vectors::{self, Vector};

    const DECIMAL: &str = "columns c0: i128?, c1: i64
         params p0: i64
         %0 = load c1
         %1 = param p0
         %2 = const i64 1000
         %3 = range %0, %1, %2
         %4 = load c0
         %5 = rescale.half_away %4 by -2
         %6 = valid c0
         keep %3
         output %5 valid %6
         output %0";

    /// The sums are those of what the execution of that name puts out, and of nothing else.
    pub(crate) fn reads(vector: &Vector) {
        let execution = vectors::named(&vector.name.replace("checksums", "execution"));
        let outputs = ["output.0.values", "output.0.validity", "output.1.values"];
        let outputs = outputs.map(|field| vectors::bytes_of(execution.text(field)));
        let slab = Slab::host(MemoryKind::Readback, 4096, PageSize::Base).unwrap();
        let mut lease = slab.lease_whole().unwrap();
        let places = [0, 1024, 2048];
        for (place, bytes) in places.into_iter().zip(&outputs) {
            lease.bytes_mut().unwrap()[place..][..bytes.len()].copy_from_slice(bytes);
        }
        let mut list = CommandList::new();
        let slot = list.slot(Slot::Owned(lease));
        let span = |start: u64, len: u64| Span {
            slot,
            bytes: start..start + len,
        };
        let program: Arc<Program> = Arc::new(DECIMAL.parse().unwrap());
        let keep = Returns::default().on_drop(Returned::Mapping(Iova(0)));
        let loaded = Loaded::new(Handle(1), DomainId::unique(), 0, keep);
        let output = |place: u64| Arg::Span {
            span: span(place, 160),
            bit_offset: 0,
        };
        list.push(Command::Dispatch {
            exe: Executable::new(program, Arc::new(loaded)),
            rows: execution.u64("rows"),
            args: Box::new([
                Arg::Absent,
                Arg::Absent,
                Arg::Absent,
                Arg::Absent,
                Arg::Scalar(1_u128.to_le_bytes()),
                output(0),
                output(1024),
                output(2048),
                Arg::Absent,
            ]),
            status: span(4000, Status::BYTES),
        });
        let kept = u64::from_le_bytes(execution.hex[..8].try_into().unwrap());
        assert_eq!(check(&list, &[kept], &vector.hex), Ok(()));
        // The last is that of no validity, which nobody looks at.
        for byte in 0..12 {
            let mut wrong = vector.hex.clone();
            wrong[byte] ^= 1;
            assert!(check(&list, &[kept], &wrong).is_err(), "byte {byte}");
        }
    }
}
