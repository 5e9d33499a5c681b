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
