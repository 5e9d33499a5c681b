//! Strings that the device compacts behind the program, by its mask.

use unlade_hal::{
    Arg, Command, CommandList, Lease, Offsets, Slot, SlotId, StringsArg, StringsStatus,
};

use super::{Plan, span};
use crate::parts::{Arguments, Brings, StringsArgument};

/// Where the device puts what is kept of a column of strings, from the start of the written area.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacedStrings {
    /// The batch column.
    pub(super) column: usize,
    pub(super) width: Offsets,
    pub(super) offsets: u64,
    /// Room for the offsets of all rows, with the device's slack.
    offsets_room: u64,
    pub(super) bytes: u64,
    /// Bytes of the strings of all rows.
    bytes_in: u64,
    /// Room for them, with the device's slack.
    bytes_room: u64,
    pub(super) status: u64,
}

/// What became of a column of strings.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenStrings {
    pub(super) placed: PlacedStrings,
    pub(super) status: StringsStatus,
}

impl PlacedStrings {
    /// `place` gives so many bytes a place.
    pub(super) fn new(
        argument: &StringsArgument<'_>,
        rows: u64,
        slack: u64,
        mut place: impl FnMut(u64) -> u64,
    ) -> Self {
        let width = argument.column.width;
        let bytes_in = argument.column.len();
        let offsets_room = (rows + 1) * width.bytes() + slack;
        let bytes_room = bytes_in + slack;
        PlacedStrings {
            column: argument.planned.column,
            width,
            offsets: place(offsets_room),
            offsets_room,
            bytes: place(bytes_room),
            bytes_in,
            bytes_room,
            status: place(StringsStatus::BYTES),
        }
    }
}

impl Plan {
    /// The dispatches, behind that of the program; `base` is where the written area begins.
    pub(super) fn push_strings(
        &self,
        list: &mut CommandList,
        arguments: &Arguments<'_>,
        resident: Option<SlotId>,
        slot: SlotId,
        base: u64,
    ) {
        for (placed, argument) in self.strings.iter().zip(&arguments.strings) {
            let mask = self.outputs[0].expect("strings are planned for where the mask is emitted");
            let memory = |slot, at, len| Arg::Span {
                span: span(slot, at, len),
                bit_offset: 0,
            };
            let (first, offsets, bytes) = match (argument.resident, resident) {
                (Some(there), Some(slot)) => (
                    0,
                    memory(slot, there.offsets.at, there.offsets.len),
                    memory(slot, there.bytes.at, there.bytes.len),
                ),
                _ => {
                    let len = (arguments.rows as u64 + 1) * placed.width.bytes();
                    let offsets = list.slot(Slot::Foreign(argument.column.offsets.clone()));
                    let bytes = list.slot(Slot::Foreign(argument.column.buffer()));
                    (
                        argument.column.first,
                        memory(offsets, 0, len),
                        memory(bytes, 0, placed.bytes_in),
                    )
                }
            };
            let mut args = [const { Arg::Absent }; StringsArg::ALL.len()];
            let first = u128::from(first);
            for (position, arg) in [
                (StringsArg::Mask, memory(slot, base + mask.at, mask.len)),
                (StringsArg::Offsets, offsets),
                (StringsArg::Bytes, bytes),
                (StringsArg::First, Arg::Scalar(first.to_le_bytes())),
                (
                    StringsArg::KeptOffsets,
                    memory(slot, base + placed.offsets, placed.offsets_room),
                ),
                (
                    StringsArg::KeptBytes,
                    memory(slot, base + placed.bytes, placed.bytes_room),
                ),
            ] {
                args[position as usize] = arg;
            }
            list.push(Command::Dispatch {
                exe: argument.planned.executable.clone(),
                rows: arguments.rows as u64,
                args: args.into(),
                status: span(slot, base + placed.status, StringsStatus::BYTES),
            });
        }
    }

    /// Where in the readback the statuses are, where they are brought by themselves.
    pub(super) fn statuses_back(&self) -> impl Iterator<Item = u64> {
        (0..).step_by(StringsStatus::BYTES as usize)
    }

    /// How much was kept of each column of strings, by what came back; an error says what cannot be.
    /// `written` are the rows that each dispatch kept, the program's first.
    pub(super) fn strings_written(
        &self,
        back: &Lease,
        written: &[u64],
    ) -> Result<Vec<WrittenStrings>, String> {
        let bytes = back.bytes().expect("the host's own memory");
        let base = self.base(back);
        let status_at = |(placed, back): (&PlacedStrings, u64)| match self.brings {
            Brings::Everything => placed.status,
            Brings::Kept { .. } => back,
        };
        let placed = self.strings.iter().zip(self.statuses_back());
        let strings = placed.map(|(placed, back)| {
            let at = (base + status_at((placed, back))) as usize;
            let block = bytes[at..].first_chunk().expect("there is room for it");
            let status = StringsStatus::from_bytes(*block);
            let kept = written[0];
            if status.kept != kept || written.iter().any(|other| *other != kept) {
                return Err(format!(
                    "it reports {kept} rows kept, and strings of {}",
                    status.kept
                ));
            }
            match status.bytes <= placed.bytes_in {
                true => Ok(WrittenStrings {
                    placed: *placed,
                    status,
                }),
                false => Err(format!(
                    "it reports {} bytes of strings kept, of {}",
                    status.bytes, placed.bytes_in
                )),
            }
        });
        strings.collect()
    }
}
