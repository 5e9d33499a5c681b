//! Compaction of strings, as every device must do it that says it does.

use std::sync::Arc;

use arrow_buffer::Buffer;
use unlade_hal::{
    Arg, Command, CommandList, CompileError, Device, Executable, MemoryKind, Offsets, Queue,
    RejectReason, Slot, SlotId, Span, Status, StringsArg, StringsStatus,
};
use unlade_naive::generate::Rng;
use unlade_program::Program;

use crate::lists::{UNTOUCHED, lease, memory, run, scalar, span};

/// Spans begin at a multiple of this, which suits every device.
const LINE: u64 = 64;

/// Fails where a device that compacts strings compacts them otherwise than string by string, and where
/// one that does not compiles it all the same. How many columns of strings were compacted.
///
/// # Errors
/// What is not as it must be.
pub(crate) fn check(device: &Arc<dyn Device>) -> Result<usize, String> {
    if !device.capabilities().strings {
        for width in Offsets::ALL {
            match device.compile_strings(width) {
                Err(CompileError::Unsupported { name, .. }) if name.contains("strings") => {}
                other => return Err(format!("strings are compiled by who has none: {other:?}")),
            }
        }
        return Ok(0);
    }
    let mut columns = 0;
    let mut queue = device.open_queue(2).map_err(|error| error.to_string())?;
    let mut rng = Rng::new(11);
    for width in Offsets::ALL {
        let exe = device.compile_strings(width).map_err(|e| e.to_string())?;
        for rows in [0, 1, 7, 33, 4097, 9000] {
            for keep_percent in [0, 3, 50, 100] {
                let case = Case::random(width, rows, keep_percent, &mut rng);
                let what = |what| format!("{width:?}, {rows} rows, {keep_percent}% kept: {what}");
                columns += case.check(device, queue.as_mut(), &exe).map_err(what)?;
            }
        }
        for rows in [1, 100, 9000] {
            let case = Case::of_any_offsets(width, rows, &mut rng);
            let what = |what| format!("{width:?}, {rows} rows, any offsets: {what}");
            columns += case.check(device, queue.as_mut(), &exe).map_err(what)?;
        }
        behind_a_filter(device, queue.as_mut(), &exe)?;
        columns += 1;
        broken_rules(device, queue.as_mut(), &exe)?;
    }
    Ok(columns)
}

/// One column and what is kept of it.
struct Case {
    width: Offsets,
    rows: u64,
    /// From this bit on.
    mask: Vec<u8>,
    first_bit: u8,
    offsets: Vec<u64>,
    /// What the first offset refers to.
    bytes: Vec<u8>,
}

impl Case {
    fn random(width: Offsets, rows: u64, keep_percent: u64, rng: &mut Rng) -> Self {
        let first_bit = rng.below(8) as u8;
        let mut mask = vec![0u8; (rows as usize + usize::from(first_bit)).div_ceil(8).max(1)];
        for byte in &mut mask {
            *byte = rng.next() as u8;
        }
        let longest = rng.pick(if rows < 1000 { &[0, 40, 300] } else { &[3, 20] });
        // The first offset may be any, as in a slice.
        let mut offsets = vec![rng.pick(&[0, 5, 1 << 20])];
        for row in 0..rows as usize {
            let bit = row + usize::from(first_bit);
            mask[bit / 8] &= !(1 << (bit % 8));
            let keep = rng.below(100) < keep_percent as usize;
            mask[bit / 8] |= u8::from(keep) << (bit % 8);
            let len = if rng.below(4) == 0 {
                0
            } else {
                rng.below(longest + 1)
            };
            offsets.push(offsets[row] + len as u64);
        }
        let bytes = offsets[rows as usize] - offsets[0];
        Case {
            width,
            rows,
            mask,
            first_bit,
            bytes: (0..bytes).map(|_| rng.next() as u8).collect(),
            offsets,
        }
    }

    /// Offsets that no column has, some near the bytes and some far from them.
    fn of_any_offsets(width: Offsets, rows: u64, rng: &mut Rng) -> Self {
        let mut case = Case::random(width, rows, 70, rng);
        let (first, len) = (case.offsets[0], case.bytes.len());
        for (row, offset) in case.offsets.iter_mut().enumerate().skip(1) {
            let any = match rng.below(4) {
                0 => rng.next(),
                // Whole, and none, in turn: together far more than there is.
                1 => row as u64 % 2 * u64::MAX,
                _ => (first + rng.below(len + 40) as u64).saturating_sub(20),
            };
            *offset = match width {
                Offsets::I32 => any & u64::from(u32::MAX),
                Offsets::I64 => any,
            };
        }
        case
    }

    fn keeps(&self, row: usize) -> bool {
        let bit = row + usize::from(self.first_bit);
        self.mask[bit / 8] >> (bit % 8) & 1 == 1
    }

    fn little_endian(&self, offsets: &[u64]) -> Vec<u8> {
        let width = self.width.bytes() as usize;
        let each = |offset: &u64| offset.to_le_bytes()[..width].to_vec();
        offsets.iter().flat_map(each).collect()
    }

    /// Offsets and bytes, string by string; of offsets that may be any, by the rules of the device's
    /// interface for them.
    fn expected(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        let at = |row: usize| {
            let behind = self.offsets[row].saturating_sub(self.offsets[0]);
            behind.min(self.bytes.len() as u64) as usize
        };
        for row in (0..self.rows as usize).filter(|row| self.keeps(*row)) {
            let (start, end) = (at(row), at(row + 1));
            bytes.extend_from_slice(&self.bytes[start..end.max(start)]);
            bytes.truncate(self.bytes.len());
            offsets.push(bytes.len() as u64);
        }
        (self.little_endian(&offsets), bytes)
    }

    /// Runs it from memory of every kind that the device reads. How many there are.
    fn check(
        &self,
        device: &Arc<dyn Device>,
        queue: &mut dyn Queue,
        exe: &Executable,
    ) -> Result<usize, String> {
        let offsets = self.little_endian(&self.offsets);
        let parts = [&self.mask[..], &offsets, &self.bytes];
        let mut work = Work::new(device, &parts)?;
        self.run(device, queue, exe, &mut work)?;
        if !device.capabilities().foreign_read {
            return Ok(1);
        }
        let foreign = parts.map(|part| Buffer::from(part.to_vec()));
        let mut work = Work::new(device, &[])?;
        for buffer in foreign {
            let len = buffer.len() as u64;
            let slot = work.list.slot(Slot::Foreign(buffer));
            work.inputs.push(span(slot, 0..len));
        }
        self.run(device, queue, exe, &mut work)?;
        Ok(2)
    }

    fn run(
        &self,
        device: &Arc<dyn Device>,
        queue: &mut dyn Queue,
        exe: &Executable,
        work: &mut Work,
    ) -> Result<(), String> {
        let bytes = self.bytes.len() as u64;
        let results = Results::new(device, work, self.width, self.rows, bytes)?;
        let [mask, offsets, strings] = &work.inputs[..] else {
            return Err("three inputs".to_owned());
        };
        let inputs = [
            memory(mask, self.first_bit),
            memory(offsets, 0),
            memory(strings, 0),
            scalar(self.offsets[0]),
        ];
        let dispatch = results.dispatch(exe, self.rows, inputs);
        work.list.push(dispatch);
        let list = results.bring_back(std::mem::take(&mut work.list));
        let (list, written) = run(queue, list)?;
        let (offsets, bytes) = self.expected();
        let kept = (offsets.len() as u64) / self.width.bytes() - 1;
        if written != [kept] {
            return Err(format!("{written:?} rows are reported, {kept} are kept"));
        }
        results.compare(&list, kept, &offsets, &bytes)
    }
}

/// A list with inputs in the device's reach.
struct Work {
    list: CommandList,
    inputs: Vec<Span>,
}

impl Work {
    fn new(device: &Arc<dyn Device>, parts: &[&[u8]]) -> Result<Self, String> {
        let mut list = CommandList::new();
        let mut places = Vec::new();
        let mut len = 0u64;
        for part in parts {
            places.push(len..len + part.len() as u64);
            len = (len + part.len() as u64).next_multiple_of(LINE);
        }
        let mut upload = lease(device, MemoryKind::Upload, len.max(1))?;
        let bytes = upload
            .bytes_mut()
            .ok_or("memory for uploads is the host's")?;
        for (place, part) in places.iter().zip(parts) {
            bytes[place.start as usize..place.end as usize].copy_from_slice(part);
        }
        let mut slot = list.slot(Slot::Owned(upload));
        if !device.capabilities().coherent && len > 0 {
            let local = lease(device, MemoryKind::DeviceLocal, len)?;
            let to = list.slot(Slot::Owned(local));
            // Each by itself: what lies between them was never written.
            for place in places.iter().filter(|place| !place.is_empty()) {
                list.push(Command::Copy {
                    from: span(slot, place.clone()),
                    to: span(to, place.clone()),
                });
            }
            slot = to;
        }
        let inputs = places.into_iter().map(|place| span(slot, place)).collect();
        Ok(Work { list, inputs })
    }
}

/// Where results go.
struct Results {
    offsets: Span,
    bytes: Span,
    status: Span,
    /// Room of the host's to bring them to; the same memory where the device works in that.
    back: SlotId,
    slack: u64,
}

impl Results {
    fn new(
        device: &Arc<dyn Device>,
        work: &mut Work,
        width: Offsets,
        rows: u64,
        bytes: u64,
    ) -> Result<Self, String> {
        let slack = device.capabilities().slack;
        let offsets = 0..(rows + 1) * width.bytes() + slack;
        let start = offsets.end.next_multiple_of(LINE);
        let bytes = start..start + bytes + slack;
        let start = bytes.end.next_multiple_of(LINE);
        let status = start..start + StringsStatus::BYTES;
        let len = status.end;
        let back = lease(device, MemoryKind::Readback, len)?;
        let back = work.list.slot(Slot::Owned(back));
        let slot = match device.capabilities().coherent {
            true => back,
            false => {
                let local = lease(device, MemoryKind::DeviceLocal, len)?;
                work.list.slot(Slot::Owned(local))
            }
        };
        work.list.push(Command::Fill {
            to: span(slot, 0..len),
            byte: UNTOUCHED,
        });
        Ok(Results {
            offsets: span(slot, offsets),
            bytes: span(slot, bytes),
            status: span(slot, status),
            back,
            slack,
        })
    }

    fn dispatch(&self, exe: &Executable, rows: u64, inputs: [Arg; 4]) -> Command {
        let outputs = [memory(&self.offsets, 0), memory(&self.bytes, 0)];
        Command::Dispatch {
            exe: exe.clone(),
            rows,
            args: inputs.into_iter().chain(outputs).collect(),
            status: self.status.clone(),
        }
    }

    fn bring_back(&self, mut list: CommandList) -> CommandList {
        if self.offsets.slot != self.back {
            let all = 0..self.status.bytes.end;
            list.push(Command::Copy {
                from: span(self.offsets.slot, all.clone()),
                to: span(self.back, all),
            });
        }
        list
    }

    fn compare(
        &self,
        list: &CommandList,
        kept: u64,
        offsets: &[u8],
        bytes: &[u8],
    ) -> Result<(), String> {
        let Slot::Owned(lease) = &list.slots[usize::from(self.back.0)] else {
            return Err("an owned slot comes back owned".to_owned());
        };
        let all = lease
            .bytes()
            .ok_or("memory for reading back is the host's")?;
        let of = |span: &Span| &all[span.bytes.start as usize..span.bytes.end as usize];
        let status = of(&self.status).first_chunk().ok_or("16 bytes")?;
        let wanted = StringsStatus {
            kept,
            bytes: bytes.len() as u64,
        };
        let found = StringsStatus::from_bytes(*status);
        if found != wanted {
            return Err(format!("its status is {found:?}, not {wanted:?}"));
        }
        for (what, span, wanted) in [
            ("offsets", &self.offsets, offsets),
            ("bytes", &self.bytes, bytes),
        ] {
            let (found, rest) = of(span).split_at(wanted.len());
            if found != wanted {
                let at = found.iter().zip(wanted).position(|(a, b)| a != b);
                return Err(format!("other {what} from byte {at:?} on"));
            }
            let rest = rest.get(self.slack as usize..).unwrap_or(&[]);
            if rest.iter().any(|byte| *byte != UNTOUCHED) {
                return Err(format!("{what} are written beyond those that are kept"));
            }
        }
        Ok(())
    }
}

/// The mask is what a program makes in the same list.
fn behind_a_filter(
    device: &Arc<dyn Device>,
    queue: &mut dyn Queue,
    exe: &Executable,
) -> Result<(), String> {
    let program: Program = "columns c0: i32
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = cmp.lt %0, %1
         keep %2
         emit mask"
        .parse()
        .map_err(|error| format!("{error}"))?;
    let filter = device
        .compile(&Arc::new(program))
        .map_err(|error| error.to_string())?;
    let width = exe.strings().ok_or("it compacts strings")?;
    let mut rng = Rng::new(12);
    let mut case = Case::random(width, 5000, 50, &mut rng);
    case.first_bit = 0;
    let numbers: Vec<i32> = (0..case.rows as i32).map(|row| row * 7919 % 5000).collect();
    let limit = 1700;
    case.mask = vec![0; case.rows.div_ceil(8) as usize];
    for row in (0..numbers.len()).filter(|row| numbers[*row] < limit) {
        case.mask[row / 8] |= 1 << (row % 8);
    }
    let numbers: Vec<u8> = numbers.iter().flat_map(|each| each.to_le_bytes()).collect();
    let offsets = case.little_endian(&case.offsets);
    let mut work = Work::new(device, &[&numbers, &offsets, &case.bytes])?;
    let results = Results::new(device, &mut work, width, case.rows, case.bytes.len() as u64)?;
    let mask_len = case.rows.div_ceil(8) + device.capabilities().slack;
    let status = mask_len.next_multiple_of(LINE);
    let kind = match device.capabilities().coherent {
        true => MemoryKind::Readback,
        false => MemoryKind::DeviceLocal,
    };
    let own = lease(device, kind, status + Status::BYTES)?;
    let own = work.list.slot(Slot::Owned(own));
    let mask = span(own, 0..mask_len);
    let [numbers, offsets, strings] = &work.inputs[..] else {
        return Err("three inputs".to_owned());
    };
    work.list.push(Command::Dispatch {
        exe: filter,
        rows: case.rows,
        args: Box::new([
            memory(numbers, 0),
            Arg::Absent,
            scalar(limit as u64),
            memory(&mask, 0),
        ]),
        status: span(own, status..status + Status::BYTES),
    });
    let inputs = [
        memory(&mask, 0),
        memory(offsets, 0),
        memory(strings, 0),
        scalar(case.offsets[0]),
    ];
    let dispatch = results.dispatch(exe, case.rows, inputs);
    work.list.push(dispatch);
    let list = results.bring_back(std::mem::take(&mut work.list));
    let (list, written) = run(queue, list)?;
    let kept = limit as u64;
    if written != [kept, kept] {
        return Err(format!("{written:?} rows are reported, {kept} are kept"));
    }
    let (offsets, bytes) = case.expected();
    results
        .compare(&list, kept, &offsets, &bytes)
        .map_err(|what| format!("behind a filter: {what}"))
}

/// Each breaks one rule, and comes back as invalid.
fn broken_rules(
    device: &Arc<dyn Device>,
    queue: &mut dyn Queue,
    exe: &Executable,
) -> Result<(), String> {
    type Break = Box<dyn Fn(&mut [Arg])>;
    let width = exe.strings().ok_or("it compacts strings")?;
    let case = Case::random(width, 100, 50, &mut Rng::new(13));
    let offsets = case.little_endian(&case.offsets);
    let too_short = |arg: StringsArg| {
        move |args: &mut [Arg]| {
            if let Arg::Span { span, .. } = &mut args[arg as usize] {
                span.bytes.end = span.bytes.start + 8;
            }
        }
    };
    let breaks: [(&str, Break); 6] = [
        ("few mask bits", Box::new(too_short(StringsArg::Mask))),
        ("few offsets", Box::new(too_short(StringsArg::Offsets))),
        (
            "no room for offsets",
            Box::new(too_short(StringsArg::KeptOffsets)),
        ),
        (
            "no first offset",
            Box::new(|args| args[StringsArg::First as usize] = Arg::Absent),
        ),
        (
            "no bytes",
            Box::new(|args| args[StringsArg::Bytes as usize] = Arg::Absent),
        ),
        (
            "what is read is written",
            Box::new(|args| args[StringsArg::KeptOffsets as usize] = args[1].clone()),
        ),
    ];
    for (what, breaks) in breaks {
        let mut work = Work::new(device, &[&case.mask, &offsets, &case.bytes])?;
        let results = Results::new(device, &mut work, width, case.rows, case.bytes.len() as u64)?;
        let inputs = [
            memory(&work.inputs[0], case.first_bit),
            memory(&work.inputs[1], 0),
            memory(&work.inputs[2], 0),
            scalar(case.offsets[0]),
        ];
        let mut dispatch = results.dispatch(exe, case.rows, inputs);
        if let Command::Dispatch { args, .. } = &mut dispatch {
            breaks(args);
        }
        work.list.push(dispatch);
        match queue.submit(work.list).map_err(|rejected| rejected.reason) {
            Err(RejectReason::Invalid(reason)) if reason.contains("step") => {}
            other => return Err(format!("{what}: {other:?}")),
        }
    }
    Ok(())
}
