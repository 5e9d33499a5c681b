//! A part of a query on a device: staging, the command list, and what comes back.
//!
//! [`back`] has what comes back, all at once or what is kept of it; [`strings`] those that the device
//! compacts.

mod back;
mod strings;

use std::time::Duration;

use arrow_buffer::Buffer;
use unlade_hal::{
    Arg, Capabilities, Command, CommandList, DeviceLost, Lease, Outcome, Slot, SlotId, Span,
    Status, StringsStatus, Timing, check_written,
};
use unlade_program::{Trap, Ty};

use self::strings::PlacedStrings;
use crate::call::Call;
use crate::device_slot::DeviceSlot;
use crate::driver::{Point, Undone};
use crate::error::Error;
use crate::inline::Results;
use crate::parts::{Arguments, Brings, PlannedPart};
use crate::pool;
use crate::resident::ResidentBytes;

/// Spans begin at a cache line at least, whatever less a device asks for.
const LINE: u64 = 64;

/// How long a batch waits for memory that other batches will give back.
const MEMORY_WAIT: Duration = Duration::from_secs(10);

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
    let plan = Plan::new(part, arguments, capabilities, slot.is_coherent());
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
        let (list, readback) = plan.fetch(&back, local, memory)?;
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
        bytes_to_device: if plan.in_place { 0 } else { plan.upload },
        bytes_from_device: if plan.in_place { 0 } else { bytes_back },
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
        let timeout = call.runtime.options.device_timeout;
        let given_up = || call.check().is_err();
        let back = slot
            .driver
            .run(&*slot.device, list, timeout, given_up)
            .map_err(|undone| match undone {
                Undone::Lost(lost) => OffloadFailure::Fault(lost),
                Undone::GivenUp(point) => OffloadFailure::GivenUp(point),
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

/// Where everything lies. Offsets count from the start of the upload, of the readback, and of the
/// device's own memory, which begins with a copy of the upload.
#[derive(Debug)]
struct Plan {
    alignment: u64,
    in_place: bool,
    brings: Brings,
    /// For each column its values and validity, then each table and each set.
    inputs: Vec<Input>,
    /// The mask, then each output's values and validity.
    outputs: Vec<Option<Placed>>,
    status: u64,
    /// Behind it what strings become.
    strings: Vec<PlacedStrings>,
    upload: u64,
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
#[derive(Clone, Copy, Debug)]
enum Input {
    /// A validity where all rows are valid.
    Absent,
    /// In the host's memory: uploaded, or read in place.
    Host(Placed),
    /// On the device already.
    Resident(ResidentBytes),
}

/// A run of bytes.
#[derive(Clone, Copy, Debug)]
struct Placed {
    /// Where the device has it: from the start of the upload for inputs, of the written area for
    /// outputs.
    at: u64,
    /// Where the readback has it, for outputs.
    back: u64,
    len: u64,
    bit_offset: u8,
}

impl Plan {
    fn new(
        part: &PlannedPart,
        arguments: &Arguments<'_>,
        capabilities: &Capabilities,
        in_place: bool,
    ) -> Self {
        let rows = arguments.rows as u64;
        let alignment = capabilities.alignment.max(LINE);
        let mut upload = 0;
        let mut input = |len: u64, bit_offset: u8| {
            let at = upload;
            upload = (upload + len).next_multiple_of(alignment);
            Input::Host(Placed {
                at,
                back: 0,
                len,
                bit_offset,
            })
        };
        let mut inputs = Vec::new();
        for (column, argument) in part.program.columns.iter().zip(&arguments.columns) {
            if let Some(resident) = argument.resident {
                inputs.push(Input::Resident(resident.values));
                inputs.push(resident.validity.map_or(Input::Absent, Input::Resident));
                continue;
            }
            let (len, offset) = extent(column.ty, argument.values.bit_offset, rows);
            inputs.push(input(len, offset));
            inputs.push(match argument.validity {
                Some((_, bit)) => {
                    let (len, offset) = extent(Ty::Mask, bit, rows);
                    input(len, offset)
                }
                None => Input::Absent,
            });
        }
        for table in &arguments.tables {
            inputs.push(input(table.len() as u64, 0));
        }
        for set in &arguments.sets {
            inputs.push(input(set.len() as u64, 0));
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
            in_place,
            brings,
            strings,
            inputs,
            outputs,
            status,
            upload,
            readback,
            written,
        }
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
        let back = if self.in_place {
            self.written
        } else {
            self.readback
        };
        let sizes = [
            self.upload.max(LINE) + self.alignment,
            back.max(LINE) + self.alignment,
        ];
        let sizes = if self.in_place {
            &sizes[1..]
        } else {
            &sizes[..]
        };
        let request = pool::Request {
            sizes,
            memory: pool::Memory::Pinned,
            wait: Some(MEMORY_WAIT),
        };
        let session = call.session.memory.within_reach();
        let leases = session.acquire(&request).map_err(Error::from)?.into_iter();
        let mut leases: Vec<Lease> = leases
            .map(|lease| session.mark(lease, pool::Use::InFlight))
            .collect();
        let readback = leases.pop().expect("one lease for each size");
        let back_base = self.base(&readback);
        let mut list = CommandList::new();
        let mut args = Vec::with_capacity(part.program.arg_count());

        if let Some(mut upload) = leases.pop() {
            let up_base = self.base(&upload);
            let clock = &call.runtime.clock;
            let start = clock.now();
            self.stage(&mut upload, up_base, arguments);
            let staged = clock.now().since(start);
            let local = slot
                .lease(self.upload + self.written + self.alignment)
                .map_err(|error| match error {
                    unlade_hal::AllocError::OutOfMemory { .. } => OffloadFailure::OutOfMemory,
                    unlade_hal::AllocError::Lost(lost) => OffloadFailure::Fault(lost),
                    other => OffloadFailure::Fault(lost(slot, other.to_string())),
                })?;
            let base = self.base(&local);
            let upload = list.slot(Slot::Owned(upload));
            let local = list.slot(Slot::Owned(local));
            let readback = list.slot(Slot::Owned(readback));
            if self.upload > 0 {
                list.push(Command::Copy {
                    from: span(upload, up_base, self.upload),
                    to: span(local, base, self.upload),
                });
            }
            let resident = arguments
                .resident
                .map(|lease| list.slot(Slot::Resident(lease.clone())));
            for (position, input) in self.inputs.iter().enumerate() {
                args.push(match (*input, resident) {
                    (Input::Host(placed), _) => argument(local, base, Some(placed)),
                    (Input::Resident(bytes), Some(slot)) => Arg::Span {
                        span: span(slot, bytes.at, bytes.len),
                        bit_offset: bytes.bit_offset,
                    },
                    (Input::Absent | Input::Resident(_), _) => Arg::Absent,
                });
                self.insert_params(&mut args, position, arguments);
            }
            self.insert_params_of_none(&mut args, arguments);
            let out_base = base + self.upload;
            self.push_outputs(&mut args, part, local, out_base);
            list.push(self.dispatch(part, arguments, args, local, out_base));
            self.push_strings(&mut list, arguments, resident, local, out_base);
            let everything = self.outputs.iter().flatten();
            let everything = everything.filter(|_| self.brings == Brings::Everything);
            for placed in everything.filter(|placed| placed.len > 0) {
                list.push(Command::Copy {
                    from: span(local, out_base + placed.at, placed.len),
                    to: span(readback, back_base + placed.back, placed.len),
                });
            }
            for (placed, back) in self.strings.iter().zip(self.statuses_back()) {
                list.push(Command::Copy {
                    from: span(local, out_base + placed.status, StringsStatus::BYTES),
                    to: span(readback, back_base + back, StringsStatus::BYTES),
                });
            }
            let places = Places {
                readback,
                local: Some(local),
                staged,
            };
            return Ok((list, places));
        }

        let readback = list.slot(Slot::Owned(readback));
        for (position, (buffer, start)) in foreign(arguments).into_iter().enumerate() {
            args.push(match (buffer, self.inputs[position]) {
                (Some(buffer), Input::Host(placed)) => {
                    let slot = list.slot(Slot::Foreign(buffer));
                    let at = Placed {
                        at: start,
                        ..placed
                    };
                    argument(slot, 0, Some(at))
                }
                _ => Arg::Absent,
            });
            self.insert_params(&mut args, position, arguments);
        }
        self.insert_params_of_none(&mut args, arguments);
        self.push_outputs(&mut args, part, readback, back_base);
        list.push(self.dispatch(part, arguments, args, readback, back_base));
        self.push_strings(&mut list, arguments, None, readback, back_base);
        let places = Places {
            readback,
            local: None,
            staged: Duration::ZERO,
        };
        Ok((list, places))
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

    /// Copies the inputs to where they are uploaded from.
    fn stage(&self, upload: &mut Lease, base: u64, arguments: &Arguments<'_>) {
        let bytes = upload.bytes_mut().expect("pinned memory is the host's");
        for ((source, start), placed) in foreign(arguments).into_iter().zip(&self.inputs) {
            if let (Some(source), Input::Host(placed)) = (source, placed) {
                let from = &source.as_slice()[start as usize..][..placed.len as usize];
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

/// For each input its memory and where in it the first row's byte is.
fn foreign(arguments: &Arguments<'_>) -> Vec<(Option<Buffer>, u64)> {
    let mut inputs = Vec::new();
    for column in &arguments.columns {
        let bit = column.values.bit_offset;
        inputs.push((Some(column.values.buffer.clone()), bit as u64 / 8));
        inputs.push(match column.validity {
            Some((bits, offset)) => (Some(bits.clone()), offset as u64 / 8),
            None => (None, 0),
        });
    }
    inputs.extend(
        arguments
            .tables
            .iter()
            .map(|table| (Some(table.clone()), 0)),
    );
    inputs.extend(
        arguments
            .sets
            .iter()
            .map(|set| (Some(Buffer::from(*set)), 0)),
    );
    inputs
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
