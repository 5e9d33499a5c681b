//! What a list does, step by step, to the device's memory and to the host's.

use unlade_hal::{
    Arg, Command, CommandList, DomainId, Executable, Offsets, Slot, SlotId, Span, Status,
    StringsArg, StringsStatus,
};
use unlade_naive::{Bits, ColumnInput, Inputs, RunError};
use unlade_program::args::Layout;
use unlade_program::{Program, Trap};

use crate::memory::{Fault, Memory};
use crate::profile::{Profile, Traffic};
use crate::timeline::{Schedule, Work};

/// How a list ended.
pub(crate) enum End {
    Done { written: Vec<u64> },
    Trapped(Trap),
    Faulted(String),
}

/// Runs the steps of a validated list, and lays their time onto the engines.
pub(crate) fn execute(
    list: &mut CommandList,
    domain: DomainId,
    profile: &Profile,
    memory: &mut Memory,
    schedule: &mut Schedule<'_>,
) -> End {
    let CommandList { slots, commands } = list;
    let mut machine = Machine {
        slots,
        domain,
        memory,
    };
    let mut written = Vec::new();
    for (position, command) in commands.iter().enumerate() {
        let fault = |fault: Fault| End::Faulted(format!("step {position}: {fault}"));
        match command {
            Command::Copy { from, to } => {
                let (work, takes) = machine.copy_cost(profile, from, to, from.len());
                schedule.step(work, takes);
                if let Err(broken) = machine.copy(from, to) {
                    return fault(broken);
                }
            }
            Command::Fill { to, byte } => {
                let bytes = vec![*byte; to.len() as usize];
                schedule.step(Work::Compute, profile.copy_within_time(to.len()));
                if let Err(broken) = machine.write(to, &bytes) {
                    return fault(broken);
                }
            }
            Command::CopyCounted {
                from,
                to,
                count,
                unit_bits,
            } => {
                let count = match machine.bytes(count) {
                    Ok(bytes) => u64::from_le_bytes(bytes.try_into().expect("validated: 8 bytes")),
                    Err(broken) => return fault(broken),
                };
                let len = counted_bytes(count, *unit_bits).min(from.len());
                let (from, to) = (prefix(from, len), prefix(to, len));
                let (work, takes) = machine.copy_cost(profile, &from, &to, len);
                schedule.step(work, takes);
                if let Err(broken) = machine.copy(&from, &to) {
                    return fault(broken);
                }
            }
            Command::Dispatch {
                exe,
                rows,
                args,
                status,
            } => {
                let traffic = machine.traffic(args);
                if let Some(offsets) = exe.strings() {
                    schedule.step(Work::Compute, profile.strings_time(traffic));
                    match machine.compact_strings(offsets, *rows, args, status) {
                        Ok(kept) => written.push(kept),
                        Err(broken) => return fault(broken),
                    }
                    continue;
                }
                schedule.step(
                    Work::Compute,
                    profile.dispatch_time(exe.program(), *rows, traffic),
                );
                match machine.dispatch(exe, *rows, args, status) {
                    Ok(Ok(kept)) => written.push(kept),
                    Ok(Err(trap)) => return End::Trapped(trap),
                    Err(broken) => return fault(broken),
                }
            }
        }
    }
    End::Done { written }
}

/// Whole bytes that hold this many units.
fn counted_bytes(count: u64, unit_bits: u32) -> u64 {
    (u128::from(count) * u128::from(unit_bits))
        .div_ceil(8)
        .try_into()
        .unwrap_or(u64::MAX)
}

fn prefix(span: &Span, len: u64) -> Span {
    Span {
        slot: span.slot,
        bytes: span.bytes.start..span.bytes.start + len,
    }
}

/// Where the bytes of a slot are.
enum Place<'a> {
    Host(&'a [u8]),
    Device(u64),
}

struct Machine<'a> {
    slots: &'a mut [Slot],
    domain: DomainId,
    memory: &'a mut Memory,
}

impl Machine<'_> {
    fn place(&self, slot: SlotId) -> Place<'_> {
        let slot = &self.slots[usize::from(slot.0)];
        match slot.bytes() {
            Some(bytes) => Place::Host(bytes),
            None => {
                let address = slot
                    .address(self.domain)
                    .expect("validated: it is registered");
                Place::Device(address.0)
            }
        }
    }

    /// Bytes that a step needs to know: all must have been written.
    fn bytes(&self, span: &Span) -> Result<&[u8], Fault> {
        match self.place(span.slot) {
            Place::Host(bytes) => Ok(&bytes[span.bytes.start as usize..span.bytes.end as usize]),
            Place::Device(at) => self.memory.read(at + span.bytes.start, span.len()),
        }
    }

    fn write(&mut self, to: &Span, bytes: &[u8]) -> Result<(), Fault> {
        if let Place::Device(at) = self.place(to.slot) {
            return self.memory.write(at + to.bytes.start, bytes);
        }
        let Slot::Owned(lease) = &mut self.slots[usize::from(to.slot.0)] else {
            unreachable!("validated: what is written is owned")
        };
        let all = lease.bytes_mut().expect("it is host memory");
        all[to.bytes.start as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Copies carry bytes that were never written along as what they are: a device does not look
    /// at what it copies.
    fn copy(&mut self, from: &Span, to: &Span) -> Result<(), Fault> {
        let len = from.len();
        let bytes = match (self.place(from.slot), self.place(to.slot)) {
            (Place::Device(source), Place::Device(target)) => {
                let (source, target) = (source + from.bytes.start, target + to.bytes.start);
                return self.memory.copy(source, target, len);
            }
            (Place::Device(source), Place::Host(_)) => {
                self.memory.raw(source + from.bytes.start, len)?.to_vec()
            }
            (Place::Host(_), _) => self.bytes(from)?.to_vec(),
        };
        self.write(to, &bytes)
    }

    fn copy_cost(
        &self,
        profile: &Profile,
        from: &Span,
        to: &Span,
        len: u64,
    ) -> (Work, std::time::Duration) {
        match (self.place(from.slot), self.place(to.slot)) {
            (Place::Host(_), _) => (Work::CopyIn, profile.copy_in_time(len)),
            (Place::Device(_), Place::Host(_)) => (Work::CopyOut, profile.copy_out_time(len)),
            (Place::Device(_), Place::Device(_)) => (Work::Compute, profile.copy_within_time(len)),
        }
    }

    fn traffic(&self, args: &[Arg]) -> Traffic {
        let mut traffic = Traffic::default();
        for arg in args {
            if let Arg::Span { span, .. } = arg {
                match self.place(span.slot) {
                    Place::Host(_) => traffic.host_bytes += span.len(),
                    Place::Device(_) => traffic.device_bytes += span.len(),
                }
            }
        }
        traffic
    }

    /// Rows kept, or the trap.
    fn dispatch(
        &mut self,
        exe: &Executable,
        rows: u64,
        args: &[Arg],
        status: &Span,
    ) -> Result<Result<u64, Trap>, Fault> {
        let layout = Layout::of(exe.program());
        let inputs = self.inputs(exe.program(), &layout, rows, args);
        let inputs = inputs?;
        let outputs = match unlade_naive::run(exe.program(), &inputs) {
            Ok(outputs) => outputs,
            Err(RunError::Trap(trap)) => {
                let block = Status {
                    kept: 0,
                    trap: Some(trap),
                }
                .to_bytes();
                self.write(status, &block)?;
                return Ok(Err(trap));
            }
            Err(other) => return Err(Fault::Declined(other.to_string())),
        };
        let mut writes = Vec::new();
        if let (Some(at), Some(mask)) = (layout.mask(), outputs.mask) {
            writes.push((at, mask));
        }
        for (index, column) in outputs.columns.into_iter().enumerate() {
            writes.push((layout.output(index), column.values));
            writes.extend(column.validity.map(|bits| (layout.output(index) + 1, bits)));
        }
        for (at, bytes) in writes {
            if let Arg::Span { span, .. } = &args[at] {
                self.write(span, &bytes)?;
            }
        }
        let block = Status {
            kept: outputs.kept,
            trap: None,
        }
        .to_bytes();
        self.write(status, &block)?;
        Ok(Ok(outputs.kept))
    }

    /// Rows kept. String by string, as plainly as can be.
    fn compact_strings(
        &mut self,
        width: Offsets,
        rows: u64,
        args: &[Arg],
        status: &Span,
    ) -> Result<u64, Fault> {
        let span = |arg: StringsArg| match &args[arg as usize] {
            Arg::Span { span, bit_offset } => (span, u64::from(*bit_offset)),
            Arg::Absent | Arg::Scalar(_) => unreachable!("validated: it is memory"),
        };
        let Arg::Scalar(first) = args[StringsArg::First as usize] else {
            unreachable!("validated: the first offset is a scalar")
        };
        let first = u128::from_le_bytes(first) as u64;
        let (mask, first_bit) = span(StringsArg::Mask);
        let mask = self.bytes(&prefix(mask, (rows + first_bit).div_ceil(8)))?;
        let offsets = span(StringsArg::Offsets).0;
        let offsets = self.bytes(&prefix(offsets, (rows + 1) * width.bytes()))?;
        let bytes = span(StringsArg::Bytes).0;
        let offset = |row: u64| {
            let at = (row * width.bytes()) as usize;
            let mut wide = [0; 8];
            wide[..width.bytes() as usize]
                .copy_from_slice(&offsets[at..][..width.bytes() as usize]);
            u64::from_le_bytes(wide)
        };
        // Offsets may be any: what becomes of strings is said in the module of them.
        let len = bytes.len().min(width.most());
        let behind_first = |offset: u64| offset.saturating_sub(first).min(len);
        let (mut kept, mut kept_bytes) = (0, Vec::new());
        let mut kept_offsets = 0u64.to_le_bytes()[..width.bytes() as usize].to_vec();
        for row in 0..rows {
            let bit = first_bit + row;
            if mask[(bit / 8) as usize] >> (bit % 8) & 1 == 0 {
                continue;
            }
            let [start, end] = [row, row + 1].map(|row| behind_first(offset(row)));
            let room = len - kept_bytes.len() as u64;
            let end = end.max(start).min(start + room);
            let string = Span {
                slot: bytes.slot,
                bytes: bytes.bytes.start + start..bytes.bytes.start + end,
            };
            kept += 1;
            kept_bytes.extend_from_slice(self.bytes(&string)?);
            let end = (kept_bytes.len() as u64).to_le_bytes();
            kept_offsets.extend_from_slice(&end[..width.bytes() as usize]);
        }
        let block = StringsStatus {
            kept,
            bytes: kept_bytes.len() as u64,
        };
        self.write(span(StringsArg::KeptOffsets).0, &kept_offsets)?;
        self.write(span(StringsArg::KeptBytes).0, &kept_bytes)?;
        self.write(status, &block.to_bytes())?;
        Ok(kept)
    }

    fn inputs(
        &self,
        program: &Program,
        layout: &Layout,
        rows: u64,
        args: &[Arg],
    ) -> Result<Inputs<'_>, Fault> {
        // Of what a span has, only the rows' bytes need have been written.
        let needed = |at: usize, bits_per_row: u64| match &args[at] {
            Arg::Span { span, bit_offset } => {
                let bits = rows * bits_per_row + u64::from(*bit_offset);
                let bytes = self.bytes(&prefix(span, bits.div_ceil(8)))?;
                Ok(Some(Bits {
                    bytes,
                    bit_offset: u64::from(*bit_offset),
                }))
            }
            Arg::Absent | Arg::Scalar(_) => Ok(None),
        };
        let entries = |at: usize| match &args[at] {
            Arg::Span { span, .. } => self.bytes(span),
            Arg::Absent | Arg::Scalar(_) => unreachable!("validated: entries are memory"),
        };
        let mut inputs = Inputs {
            rows,
            ..Inputs::default()
        };
        for (index, column) in program.columns.iter().enumerate() {
            let at = layout.column(index);
            let values = needed(at, u64::from(column.ty.bits()))?;
            let values = values.expect("validated: values are memory");
            inputs.columns.push(ColumnInput {
                values,
                validity: needed(at + 1, 1)?,
            });
        }
        for index in 0..program.params.len() {
            match &args[layout.param(index)] {
                Arg::Scalar(bytes) => inputs.params.push(*bytes),
                Arg::Span { .. } | Arg::Absent => unreachable!("validated: parameters are scalars"),
            }
        }
        for index in 0..program.tables.len() {
            inputs.tables.push(entries(layout.table(index))?);
        }
        for index in 0..program.sets.len() {
            inputs.sets.push(entries(layout.set(index))?);
        }
        Ok(inputs)
    }
}
