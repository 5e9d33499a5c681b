//! Harm to what a list has written.

use unlade_hal::{Arg, Command, CommandList, Slot, Span};

/// What replaces bytes that did not arrive: neither zeros nor what any test expects.
const GARBAGE: u8 = 0x5A;

/// Replaces the second half of each written span of host memory.
pub(crate) fn lose_second_halves(list: &mut CommandList) {
    for span in written_spans(list) {
        if let Some(bytes) = host_bytes(list, &span) {
            let half = bytes.len() / 2;
            bytes[half..].fill(GARBAGE);
        }
    }
}

/// Flips one bit of the first byte written to host memory. Returns whether there is such a byte.
pub(crate) fn flip_a_bit(list: &mut CommandList) -> bool {
    for span in written_spans(list) {
        if let Some([first, ..]) = host_bytes(list, &span) {
            *first ^= 1;
            return true;
        }
    }
    false
}

/// The spans that a list writes, status blocks aside.
fn written_spans(list: &CommandList) -> Vec<Span> {
    let mut spans = Vec::new();
    for command in &list.commands {
        match command {
            Command::Copy { to, .. }
            | Command::Fill { to, .. }
            | Command::CopyCounted { to, .. } => spans.push(to.clone()),
            Command::Dispatch { exe, args, .. } => {
                for arg in args.iter().skip(exe.first_written()) {
                    if let Arg::Span { span, .. } = arg {
                        spans.push(span.clone());
                    }
                }
            }
        }
    }
    spans
}

fn host_bytes<'a>(list: &'a mut CommandList, span: &Span) -> Option<&'a mut [u8]> {
    match list.slots.get_mut(usize::from(span.slot.0)) {
        Some(Slot::Owned(lease)) => {
            let bytes = lease.bytes_mut()?;
            bytes.get_mut(span.bytes.start as usize..span.bytes.end as usize)
        }
        _ => None,
    }
}
