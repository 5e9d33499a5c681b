//! A part of a query on a device: staging, the command list, and what comes back.
//!
//! [`back`] has what comes back, all at once or what is kept of it; [`strings`] those that the device
//! compacts.

mod back;
mod strings;

use std::time::Duration;

use arrow_buffer::Buffer;
use unlade_hal::{
    AllocError, Arg, Capabilities, Command, CommandList, DeviceLost, Lease, Outcome, PinnedBuffer,
    Slab, Slot, SlotId, Span, Status, StringsStatus, Timing, check_written,
};
use unlade_program::{Trap, Ty};

use self::strings::PlacedStrings;
use crate::call::Call;
use crate::device_slot::DeviceSlot;
use crate::driver::{Point, Undone};
use crate::error::Error;
use crate::heap::NoLease;
use crate::inline::Results;
use crate::parts::{Arguments, Brings, PlannedPart};
use crate::pool;
use crate::resident::ResidentBytes;

/// Spans begin at a cache line at least, whatever less a device asks for.
pub(crate) const LINE: u64 = 64;

/// What a device made of a part.
#[derive(Debug)]
pub(crate) struct Offloaded {
    pub(crate) results: Results,
    pub(crate) timing: Timing,
    /// Time of the host's, copying the inputs to where they are uploaded from.
    pub(crate) staged: Duration,
    pub(crate) bytes_to_device: u64,
    pub(crate) bytes_from_device: u64,
}

/// Why a device made nothing of it.
#[derive(Debug)]
pub(crate) enum OffloadFailure {
    /// A row has no result.
    Trap(Trap),
    /// The device failed, or said what cannot be: it is not to be trusted until it is reset.
    Fault(DeviceLost),
    /// The device has not enough memory for so many rows.
    OutOfMemory,
    /// Nobody waits for it any more; the device still has the list.
    GivenUp(Point),
    /// The host has none, or the batch is malformed.
    Error(Error),
}

impl From<Error> for OffloadFailure {
    fn from(error: Error) -> Self {
        OffloadFailure::Error(error)
    }
}

/// Runs a part on a device; returns when its results are on the host.
pub(crate) fn run(
    slot: &DeviceSlot,
    part: &PlannedPart,
    arguments: &Arguments<'_>,
    call: &Call<'_>,
) -> Result<Offloaded, OffloadFailure> {
    let memory = &call.session.memory;
    let capabilities = slot.device.capabilities();
    if arguments.rows as u64 > capabilities.max_rows {
        return Err(OffloadFailure::OutOfMemory);
    }
    let pinned = call.runtime.within_reach().reserve();
    let plan = Plan::new(part, arguments, capabilities, pinned);
    let (list, places) = plan.list(slot, part, arguments, call)?;
    let mut ran = Ran::to_the_end(slot, list, call)?;
    let mut lease = ran.take(places.readback);
    let (mut timing, mut bytes_back) = (ran.timing, plan.readback);
    let kept = ran.written[0] as usize;
    let strings = plan
        .strings_written(&lease, &ran.written)
        .map_err(|wrong| OffloadFailure::Fault(lost(slot, wrong)))?;
    let rows = arguments.rows;
    let mut back = plan.everything(kept, rows, &strings);
    if let (Some(local), Brings::Kept { mask }) = (places.local, plan.brings) {
        let local = ran.take(local);
        // Who waits for memory of the host holds none of it.
        drop((ran, lease));
        back = plan.what_is_kept(part, kept, rows, mask, &strings);
        let (list, readback) = plan.fetch(&back, local, call)?;
        let mut fetched = Ran::to_the_end(slot, list, call)?;
        lease = fetched.take(readback);
        timing = sum(timing, fetched.timing);
        bytes_back += back.bytes();
    }
    let results = plan.results(lease, &back, part, memory, call.runtime.options.trust)?;
    if let Some(mask) = &results.mask {
        let ones = mask.count_set_bits_offset(0, rows);
        if ones != kept {
            let reason = format!("it reports {kept} rows kept, and a mask of {ones}");
            return Err(OffloadFailure::Fault(lost(slot, reason)));
        }
    }
    Ok(Offloaded {
        results,
        timing,
        staged: places.staged,
        bytes_to_device: plan.bytes_read(),
        bytes_from_device: match plan.reach {
            Reach::Everywhere => 0,
            // It writes what is kept to the host's memory, whatever there is room for.
            Reach::Slabs => plan.what_is_kept(part, kept, rows, true, &strings).bytes(),
            Reach::Own => bytes_back,
        },
    })
}

/// A list that ran.
struct Ran {
    slots: Vec<Option<Slot>>,
    written: Box<[u64]>,
    timing: Timing,
}

impl Ran {
    fn to_the_end(
        slot: &DeviceSlot,
        list: CommandList,
        call: &Call<'_>,
    ) -> Result<Self, OffloadFailure> {
        let patience = call.runtime.options.patience();
        let given_up = || call.check().is_err();
        let back = slot
            .driver
            .run(&slot.device, list, patience, given_up)
            .map_err(|undone| match undone {
                Undone::Lost(lost) => OffloadFailure::Fault(lost),
                Undone::GivenUp(point) => OffloadFailure::GivenUp(point),
                Undone::NotBegun => OffloadFailure::Error(call.why_ended()),
                Undone::Invalid(reason) => OffloadFailure::Fault(lost(
                    slot,
                    format!(
                        "it rejected a command list that the runtime holds to be valid: \
                             {reason}"
                    ),
                )),
            })?;
        call.runtime.trace.list(slot, call, &back);
        let completion = back.completion;
        let written = match completion.outcome {
            Outcome::Trapped(trap) => return Err(OffloadFailure::Trap(trap)),
            Outcome::Aborted(lost) => return Err(OffloadFailure::Fault(lost)),
            Outcome::Done { written } => written,
        };
        check_written(&completion.list, &written)
            .map_err(|wrong| OffloadFailure::Fault(lost(slot, wrong.to_string())))?;
        Ok(Ran {
            slots: completion.list.slots.into_iter().map(Some).collect(),
            written,
            timing: completion.timing,
        })
    }

    fn take(&mut self, slot: SlotId) -> Lease {
        match self.slots[usize::from(slot.0)].take() {
            Some(Slot::Owned(lease)) => lease,
            _ => unreachable!("results come back in a lease, which is taken once"),
        }
    }
}

/// Of one list and another behind it.
fn sum(first: Timing, then: Timing) -> Timing {
    Timing {
        clock: first.clock,
        submitted: first.submitted,
        queued: first.queued + then.queued,
        copy_in: first.copy_in + then.copy_in,
        compute: first.compute + then.compute,
        copy_out: first.copy_out + then.copy_out,
        began: first.began,
    }
}

pub(crate) fn lost(slot: &DeviceSlot, reason: String) -> DeviceLost {
    DeviceLost {
        device: slot.name.to_string(),
        reason,
    }
}

/// Which memory of the host a device works on where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// All of it.
    Everywhere,
    /// Slabs that it was told of: what lies elsewhere is copied to one.
    Slabs,
    /// None: it has memory of its own, to which everything is copied.
    Own,
}

impl Reach {
    fn of(capabilities: &Capabilities, arguments: &Arguments<'_>) -> Self {
        match (capabilities.coherent, capabilities.foreign_read) {
            (true, true) => Reach::Everywhere,
            // What is resident is made and brought back where it lies.
            (true, false) if arguments.resident.is_none() => Reach::Slabs,
            _ => Reach::Own,
        }
    }
}

/// Where everything lies. Offsets count from the start of the upload, of the readback, and of the
/// device's own memory, which begins with a copy of the upload and of what is pinned.
#[derive(Debug)]
struct Plan {
    alignment: u64,
    reach: Reach,
    brings: Brings,
    /// For each column its values and validity, then each table and each set.
    inputs: Vec<Input>,
    /// The mask, then each output's values and validity.
    outputs: Vec<Option<Placed>>,
    status: u64,
    /// Behind it what strings become.
    strings: Vec<PlacedStrings>,
    upload: u64,
    /// Room for copies of what is pinned, behind that of the upload.
    pinned: u64,
    readback: u64,
    /// Bytes of the outputs as the device lays them out, with its slack.
    written: u64,
}

/// Slots of a list in which something comes back.
struct Places {
    readback: SlotId,
    /// The device's own memory, where there is any.
    local: Option<SlotId>,
    /// How long staging took.
    staged: Duration,
}

/// An input of the program.
#[derive(Debug)]
enum Input {
    /// A validity where all rows are valid.
    Absent,
    /// Copied to pinned memory, with all that has to be.
    Staged { from: Buffer, placed: Placed },
    /// In memory that the device was told of; placed where it is copied to, if it is.
    Pinned { at: PinnedBuffer, placed: Placed },
    /// In memory that the device reads in place, wherever that is.
    Foreign { at: Buffer, bit_offset: u8 },
    /// On the device already.
    Resident(ResidentBytes),
}

/// A run of bytes.
#[derive(Clone, Copy, Debug)]
struct Placed {
    /// Where the device has it: from the start of the upload or of what is pinned for inputs, of the
    /// written area for outputs.
    at: u64,
    /// Where the readback has it, for outputs.
    back: u64,
    len: u64,
    bit_offset: u8,
}

/// What is pinned is copied to a device by a command of its own. An estimate of what that costs, as
/// bytes that the host copies meanwhile: ten microseconds at some 6 GB/s.
const WORTH_A_COPY: u64 = 64 << 10;

impl Plan {
    /// `slab` is what may have pinned inputs in it.
    fn new(
        part: &PlannedPart,
        arguments: &Arguments<'_>,
        capabilities: &Capabilities,
        slab: Option<&Slab>,
    ) -> Self {
        let rows = arguments.rows as u64;
        let alignment = capabilities.alignment.max(LINE);
        let reach = Reach::of(capabilities, arguments);
        let (mut upload, mut pinned) = (0, 0);
        let mut input = |from: &Buffer, start: usize, (len, bit_offset): (u64, u8)| {
            let from = from.slice_with_length(start, len as usize);
            if reach == Reach::Everywhere {
                return Input::Foreign {
                    at: from,
                    bit_offset,
                };
            }
            let there = slab.and_then(|slab| PinnedBuffer::of(slab, &from));
            let there = there.filter(|there| match reach {
                Reach::Slabs => there.start().is_multiple_of(capabilities.alignment),
                Reach::Everywhere | Reach::Own => len >= WORTH_A_COPY,
            });
            let room = match there {
                Some(_) => &mut pinned,
                None => &mut upload,
            };
            let placed = Placed {
                at: *room,
                back: 0,
                len,
                bit_offset,
            };
            *room = (*room + len).next_multiple_of(alignment);
            match there {
                Some(at) => Input::Pinned { at, placed },
                None => Input::Staged { from, placed },
            }
        };
        let mut inputs = Vec::new();
        for (column, argument) in part.program.columns.iter().zip(&arguments.columns) {
            if let Some(resident) = argument.resident {
                inputs.push(Input::Resident(resident.values));
                inputs.push(resident.validity.map_or(Input::Absent, Input::Resident));
                continue;
            }
            let (values, bit) = (&argument.values.buffer, argument.values.bit_offset);
            inputs.push(input(values, bit / 8, extent(column.ty, bit, rows)));
            inputs.push(match argument.validity {
                Some((bits, bit)) => input(bits, bit / 8, extent(Ty::Mask, bit, rows)),
                None => Input::Absent,
            });
        }
        for table in &arguments.tables {
            inputs.push(input(table, 0, (table.len() as u64, 0)));
        }
        for set in &arguments.sets {
            inputs.push(input(&Buffer::from(*set), 0, (set.len() as u64, 0)));
        }

        let brings = arguments.brings;
        let mut written = 0;
        let mut readback = 0;
        let mut output = |ty: Ty| {
            let len = ty.bytes_for(rows);
            let placed = Placed {
                at: written,
                back: readback,
                len,
                bit_offset: 0,
            };
            written = (written + len + capabilities.slack).next_multiple_of(alignment);
            if brings == Brings::Everything {
                readback = (readback + len).next_multiple_of(alignment);
            }
            Some(placed)
        };
        let mut outputs = vec![part.program.emit_mask.then(|| output(Ty::Mask)).flatten()];
        for (declared, ty) in part.program.outputs.iter().zip(&part.output_types) {
            outputs.push(output(*ty));
            outputs.push(declared.valid.and_then(|_| output(Ty::Mask)));
        }
        let status = written;
        let mut written = (written + Status::BYTES).next_multiple_of(alignment);
        let place = |argument| {
            PlacedStrings::new(argument, rows, capabilities.slack, |len| {
                let at = written;
                written = (written + len).next_multiple_of(alignment);
                at
            })
        };
        let strings: Vec<PlacedStrings> = arguments.strings.iter().map(place).collect();
        if brings != Brings::Everything {
            readback = strings.len() as u64 * StringsStatus::BYTES;
        }
        Plan {
            alignment,
            reach,
            brings,
            strings,
            inputs,
            outputs,
            status,
            upload,
            pinned,
            readback,
            written,
        }
    }

    /// Bytes of the host's that the device reads over its bus.
    fn bytes_read(&self) -> u64 {
        let pinned = self.inputs.iter().map(|input| match input {
            Input::Pinned { placed, .. } => placed.len,
            _ => 0,
        });
        self.upload + pinned.sum::<u64>()
    }

    /// The list, its memory leased all at once and its inputs staged, and the slots in which
    /// something comes back.
    fn list(
        &self,
        slot: &DeviceSlot,
        part: &PlannedPart,
        arguments: &Arguments<'_>,
        call: &Call<'_>,
    ) -> Result<(CommandList, Places), OffloadFailure> {
        // What begins at an odd place of its slab is brought in line by room at its start.
        let back = match self.reach {
            Reach::Own => self.readback,
            Reach::Everywhere | Reach::Slabs => self.written,
        };
        let sizes = [
            back.max(LINE) + self.alignment,
            self.upload.max(LINE) + self.alignment,
        ];
        let stages = self.reach != Reach::Everywhere && self.upload > 0;
        let sizes = if stages { &sizes } else { &sizes[..1] };
        let session = call.session.memory.within_reach();
        let leases = call.acquire(sizes)?.into_iter();
        let mut leases = leases.map(|lease| session.mark(lease, pool::Use::InFlight));
        let readback = leases.next().expect("one lease for each size");
        let back_base = self.base(&readback);
        let mut list = CommandList::new();
        let mut staged = Duration::ZERO;
        let upload = leases.next().map(|mut upload| {
            let clock = &call.runtime.clock;
            let start = clock.now();
            let base = self.base(&upload);
            self.stage(&mut upload, base);
            staged = clock.now().since(start);
            (list.slot(Slot::Owned(upload)), base)
        });
        let local = match self.reach {
            Reach::Own => Some(self.local(slot, call)?),
            Reach::Everywhere | Reach::Slabs => None,
        };
        let local = local.map(|lease| {
            let base = self.base(&lease);
            (list.slot(Slot::Owned(lease)), base)
        });
        let readback = list.slot(Slot::Owned(readback));
        if let (Some((upload, from)), Some((local, to))) = (upload, local) {
            list.push(Command::Copy {
                from: span(upload, from, self.upload),
                to: span(local, to, self.upload),
            });
        }
        // Where nothing is staged, what is has no bytes.
        let staged_at = local.or(upload).unwrap_or((readback, back_base));
        let resident = arguments
            .resident
            .map(|lease| list.slot(Slot::Resident(lease.clone())));
        let mut args = Vec::with_capacity(part.program.arg_count());
        for (position, input) in self.inputs.iter().enumerate() {
            args.push(self.input(input, &mut list, local, staged_at, resident));
            self.insert_params(&mut args, position, arguments);
        }
        self.insert_params_of_none(&mut args, arguments);
        // What is made is in the device's own memory, or where the host looks for it.
        let (made, made_base) = match local {
            Some((local, base)) => (local, base + self.inputs_room()),
            None => (readback, back_base),
        };
        self.push_outputs(&mut args, part, made, made_base);
        list.push(self.dispatch(part, arguments, args, made, made_base));
        self.push_strings(&mut list, arguments, resident, made, made_base);
        if local.is_some() {
            let everything = self.outputs.iter().flatten();
            let everything = everything.filter(|_| self.brings == Brings::Everything);
            for placed in everything.filter(|placed| placed.len > 0) {
                list.push(Command::Copy {
                    from: span(made, made_base + placed.at, placed.len),
                    to: span(readback, back_base + placed.back, placed.len),
                });
            }
            for (placed, back) in self.strings.iter().zip(self.statuses_back()) {
                list.push(Command::Copy {
                    from: span(made, made_base + placed.status, StringsStatus::BYTES),
                    to: span(readback, back_base + back, StringsStatus::BYTES),
                });
            }
        }
        let places = Places {
            readback,
            local: local.map(|(slot, _)| slot),
            staged,
        };
        Ok((list, places))
    }

    /// Memory of the device's own: for inputs and for what is made of them.
    fn local(&self, slot: &DeviceSlot, call: &Call<'_>) -> Result<Lease, OffloadFailure> {
        let len = self.inputs_room() + self.written + self.alignment;
        slot.lease(len, call).map_err(|none| match none {
            NoLease::Refused(AllocError::OutOfMemory { .. }) => OffloadFailure::OutOfMemory,
            NoLease::Refused(AllocError::Lost(lost)) | NoLease::Late(lost) => {
                OffloadFailure::Fault(lost)
            }
            NoLease::Refused(other) => OffloadFailure::Fault(lost(slot, other.to_string())),
            NoLease::GivenUp => OffloadFailure::Error(call.why_ended()),
        })
    }

    /// Bytes of the device's own memory before what it makes.
    fn inputs_room(&self) -> u64 {
        self.upload + self.pinned
    }

    /// An input as the dispatch is handed it; copied to the device's own memory first, if it has any.
    fn input(
        &self,
        input: &Input,
        list: &mut CommandList,
        local: Option<(SlotId, u64)>,
        (staged, staged_base): (SlotId, u64),
        resident: Option<SlotId>,
    ) -> Arg {
        match input {
            Input::Absent => Arg::Absent,
            Input::Staged { placed, .. } => argument(staged, staged_base, Some(*placed)),
            Input::Pinned { at, placed } => {
                let there = list.slot(Slot::Pinned(at.clone()));
                let Some((local, base)) = local else {
                    return argument(there, 0, Some(Placed { at: 0, ..*placed }));
                };
                let base = base + self.upload;
                list.push(Command::Copy {
                    from: span(there, 0, placed.len),
                    to: span(local, base + placed.at, placed.len),
                });
                argument(local, base, Some(*placed))
            }
            Input::Foreign { at, bit_offset } => {
                let len = at.len() as u64;
                Arg::Span {
                    span: span(list.slot(Slot::Foreign(at.clone())), 0, len),
                    bit_offset: *bit_offset,
                }
            }
            Input::Resident(bytes) => {
                let slot = resident.expect("what is resident has its lease");
                Arg::Span {
                    span: span(slot, bytes.at, bytes.len),
                    bit_offset: 0,
                }
            }
        }
    }

    /// Parameters stand behind the columns.
    fn insert_params(&self, args: &mut Vec<Arg>, position: usize, arguments: &Arguments<'_>) {
        if position + 1 == 2 * arguments.columns.len() {
            args.extend(arguments.params.iter().map(|value| Arg::Scalar(*value)));
        }
    }

    /// The same where there is no column; tables and sets then come without any, too.
    fn insert_params_of_none(&self, args: &mut Vec<Arg>, arguments: &Arguments<'_>) {
        if arguments.columns.is_empty() {
            let params = arguments.params.iter().map(|value| Arg::Scalar(*value));
            args.splice(0..0, params);
        }
    }

    fn push_outputs(&self, args: &mut Vec<Arg>, part: &PlannedPart, slot: SlotId, base: u64) {
        let outputs = if part.program.emit_mask {
            &self.outputs[..]
        } else {
            &self.outputs[1..]
        };
        args.extend(outputs.iter().map(|placed| {
            let with_slack = placed.map(|placed| Placed {
                len: self.room(placed),
                ..placed
            });
            argument(slot, base, with_slack)
        }));
    }

    /// Bytes that an output may take: up to where the next one begins.
    fn room(&self, placed: Placed) -> u64 {
        let after = self
            .outputs
            .iter()
            .flatten()
            .map(|other| other.at)
            .filter(|at| *at > placed.at);
        after.min().unwrap_or(self.status) - placed.at
    }

    fn dispatch(
        &self,
        part: &PlannedPart,
        arguments: &Arguments<'_>,
        args: Vec<Arg>,
        slot: SlotId,
        base: u64,
    ) -> Command {
        Command::Dispatch {
            exe: part.executable.clone(),
            rows: arguments.rows as u64,
            args: args.into(),
            status: span(slot, base + self.status, Status::BYTES),
        }
    }

    /// Copies to where the device reads, or is sent, what does not lie there already.
    fn stage(&self, upload: &mut Lease, base: u64) {
        let bytes = upload.bytes_mut().expect("pinned memory is the host's");
        for input in &self.inputs {
            if let Input::Staged { from, placed } = input {
                bytes[(base + placed.at) as usize..][..from.len()].copy_from_slice(from);
            }
        }
    }

    /// Where a lease's first aligned byte is.
    fn base(&self, lease: &Lease) -> u64 {
        let start = lease.range().start;
        start.next_multiple_of(self.alignment) - start
    }
}

/// Bytes of so many rows from a bit on, and the position of the bit in the first.
fn extent(ty: Ty, bit_offset: usize, rows: u64) -> (u64, u8) {
    let first = (bit_offset % 8) as u8;
    match ty {
        Ty::Mask => ((u64::from(first) + rows).div_ceil(8), first),
        _ => (ty.bytes_for(rows), 0),
    }
}

fn argument(slot: SlotId, base: u64, placed: Option<Placed>) -> Arg {
    match placed {
        Some(Placed {
            at,
            len,
            bit_offset,
            ..
        }) => Arg::Span {
            span: span(slot, base + at, len),
            bit_offset,
        },
        None => Arg::Absent,
    }
}

fn span(slot: SlotId, start: u64, len: u64) -> Span {
    Span {
        slot,
        bytes: start..start + len,
    }
}
