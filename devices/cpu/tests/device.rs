//! The CPU device, from outside: results against the interpreter, and the manners of a queue.

use std::sync::Arc;
use std::time::Duration;

use unlade_cpu::CpuDevice;
use unlade_hal::*;
use unlade_naive::generate::{Options, Rng, random_inputs, random_program};
use unlade_naive::{Bits, Inputs, RunError};
use unlade_program::{Program, Trap, Ty};

const LONG: Duration = Duration::from_secs(3600);

fn parse(text: &str) -> Arc<Program> {
    Arc::new(text.parse().expect("the program is well formed"))
}

fn span(slot: SlotId, bytes: std::ops::Range<u64>) -> Span {
    Span { slot, bytes }
}

/// Lays what a dispatch writes side by side into one slot.
struct Room<'a> {
    list: &'a mut CommandList,
    device: &'a CpuDevice,
    slot: SlotId,
    used: u64,
}

impl<'a> Room<'a> {
    fn new(list: &'a mut CommandList, device: &'a CpuDevice) -> Self {
        let slab = device.allocate(MemoryKind::Readback, 1 << 20).unwrap();
        let slot = list.slot(Slot::Owned(slab.lease_whole().unwrap()));
        Room {
            list,
            device,
            slot,
            used: 0,
        }
    }

    fn take(&mut self, len: u64) -> Span {
        let start = self
            .used
            .next_multiple_of(self.device.capabilities().alignment);
        self.used = start + len;
        span(self.slot, start..self.used)
    }

    fn output(&mut self, ty: Ty, rows: u64) -> Arg {
        let len = ty.bytes_for(rows) + self.device.capabilities().slack;
        Arg::Span {
            span: self.take(len),
            bit_offset: 0,
        }
    }

    /// Foreign memory, the first bit where it is.
    fn input(&mut self, bits: Bits<'_>) -> Arg {
        let bytes = &bits.bytes[(bits.bit_offset / 8) as usize..];
        let slot = self.list.slot(Slot::Foreign(bytes.to_vec().into()));
        let bit_offset = (bits.bit_offset % 8) as u8;
        Arg::Span {
            span: span(slot, 0..bytes.len() as u64),
            bit_offset,
        }
    }
}

/// A list of one dispatch.
fn dispatch(device: &CpuDevice, exe: &Executable, inputs: &Inputs<'_>) -> CommandList {
    let program = exe.program();
    let mut list = CommandList::new();
    let mut room = Room::new(&mut list, device);
    let mut args = Vec::new();
    for (column, input) in program.columns.iter().zip(&inputs.columns) {
        args.push(room.input(input.values));
        let validity = input.validity.filter(|_| column.nullable);
        args.push(validity.map_or(Arg::Absent, |bits| room.input(bits)));
    }
    args.extend(inputs.params.iter().map(|bytes| Arg::Scalar(*bytes)));
    for entries in inputs.tables.iter().chain(&inputs.sets) {
        args.push(room.input(Bits {
            bytes: entries,
            bit_offset: 0,
        }));
    }
    if program.emit_mask {
        args.push(room.output(Ty::Mask, inputs.rows));
    }
    for (output, ty) in program.outputs.iter().zip(exe.output_types()) {
        args.push(room.output(*ty, inputs.rows));
        let validity = output.valid.map(|_| room.output(Ty::Mask, inputs.rows));
        args.push(validity.unwrap_or(Arg::Absent));
    }
    let status = room.take(Status::BYTES);
    list.push(Command::Dispatch {
        exe: exe.clone(),
        rows: inputs.rows,
        args: args.into(),
        status,
    });
    list
}

fn run(device: &CpuDevice, list: CommandList) -> Completion {
    let mut queue = device.open_queue(1).unwrap();
    let seq = queue.submit(list).unwrap();
    assert_eq!(queue.wait(seq, LONG).unwrap(), Wait::Reached);
    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    done.pop().expect("the list is done")
}

fn bytes_of<'a>(list: &'a CommandList, arg: &Arg) -> &'a [u8] {
    let Arg::Span { span, .. } = arg else {
        panic!("the argument is memory")
    };
    let Slot::Owned(lease) = &list.slots[usize::from(span.slot.0)] else {
        panic!("it is owned")
    };
    &lease.bytes().unwrap()[span.bytes.start as usize..span.bytes.end as usize]
}

/// The rows' values, without what pads a last byte.
fn values(ty: Ty, rows: u64, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes[..ty.bytes_for(rows) as usize].to_vec();
    if let (Ty::Mask, Some(last)) = (ty, bytes.last_mut().filter(|_| !rows.is_multiple_of(8))) {
        *last &= (1 << (rows % 8)) - 1;
    }
    bytes
}

#[test]
fn random_programs_give_what_the_interpreter_gives() {
    let device = CpuDevice::new();
    let mut rng = Rng::new(17);
    let (mut done, mut trapped) = (0, 0);
    for case in 0..150 {
        let program = Arc::new(random_program(&mut rng, &Options::default()));
        let rows = [0, 1, 63, 200, 1000][case % 5];
        let inputs = random_inputs(&program, rows, &mut rng);
        let inputs = inputs.borrow();
        let exe = device.compile(&program).unwrap();
        let completion = run(&device, dispatch(&device, &exe, &inputs));
        let list = &completion.list;
        let Command::Dispatch { args, status, .. } = &list.commands[0] else {
            panic!()
        };
        let status = Arg::Span {
            span: status.clone(),
            bit_offset: 0,
        };
        let status = Status::from_bytes(bytes_of(list, &status).try_into().unwrap());
        let expected = match unlade_naive::run(&program, &inputs) {
            Ok(expected) => expected,
            Err(RunError::Trap(trap)) => {
                assert_eq!(completion.outcome, Outcome::Trapped(trap), "{program}");
                assert_eq!(status.trap, Some(trap));
                trapped += 1;
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        let kept = expected.kept;
        assert_eq!(
            completion.outcome,
            Outcome::Done {
                written: [kept].into()
            },
            "{program}"
        );
        assert_eq!(status, Status { kept, trap: None });
        let layout = unlade_program::args::Layout::of(&program);
        if let Some(mask) = &expected.mask {
            let found = bytes_of(list, &args[layout.mask().unwrap()]);
            assert_eq!(&values(Ty::Mask, rows, found), mask, "mask of\n{program}");
        }
        for (index, column) in expected.columns.iter().enumerate() {
            let at = layout.output(index);
            let found = bytes_of(list, &args[at]);
            let ty = exe.output_types()[index];
            let validity = column.validity.as_ref();
            let valid = |row: u64| {
                validity.is_none_or(|bits| bits[(row / 8) as usize] >> (row % 8) & 1 == 1)
            };
            for row in (0..kept).filter(|row| valid(*row)) {
                let value = |bytes: &[u8]| match ty {
                    Ty::Mask => vec![bytes[(row / 8) as usize] >> (row % 8) & 1],
                    _ => {
                        let width = ty.bytes_for(1) as usize;
                        bytes[row as usize * width..][..width].to_vec()
                    }
                };
                let (found, wanted) = (value(found), value(&column.values));
                assert_eq!(found, wanted, "row {row} of output {index} of\n{program}");
            }
            if let Some(validity) = validity {
                let found = values(Ty::Mask, kept, bytes_of(list, &args[at + 1]));
                assert_eq!(&found, validity, "validity of output {index} of\n{program}");
            }
        }
        done += 1;
    }
    assert!(done > 30 && trapped > 3, "{done} done, {trapped} trapped");
}

fn filter(device: &CpuDevice) -> Executable {
    let program = "columns c0: i32\nparams p0: i32\n%0 = load c0\n%1 = param p0\n\
                   %2 = cmp.gt %0, %1\nkeep %2\noutput %0";
    device.compile(&parse(program)).unwrap()
}

fn filter_list(device: &CpuDevice, exe: &Executable, numbers: &[i32]) -> CommandList {
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let values = Bits {
        bytes: &bytes,
        bit_offset: 0,
    };
    let inputs = Inputs {
        rows: numbers.len() as u64,
        columns: vec![unlade_naive::ColumnInput {
            values,
            validity: None,
        }],
        params: vec![2i128.to_le_bytes()],
        ..Inputs::default()
    };
    dispatch(device, exe, &inputs)
}

#[test]
fn lists_run_when_someone_comes_by_and_come_back_in_order() {
    let device = CpuDevice::new();
    let exe = filter(&device);
    let mut queue = device.open_queue(3).unwrap();
    let seqs = [(); 3].map(|()| queue.submit(filter_list(&device, &exe, &[1, 5])).unwrap());
    let rejected = queue.submit(filter_list(&device, &exe, &[1])).unwrap_err();
    assert_eq!(rejected.reason, RejectReason::Full);

    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    assert_eq!(done.len(), 1, "a poll runs one list");
    assert_eq!(queue.wait(seqs[2], LONG).unwrap(), Wait::Reached);
    assert_eq!(queue.wait(seqs[0], Duration::ZERO).unwrap(), Wait::Reached);
    queue.poll(&mut done).unwrap();
    let delivered: Vec<Seq> = done.iter().map(|completion| completion.seq).collect();
    assert_eq!(delivered, seqs);
    assert!(
        done.iter()
            .all(|completion| completion.timing.clock == Some(ClockKind::Wall))
    );

    let last = queue.submit(rejected.list).unwrap();
    assert_eq!(last, seqs[2].next());
    assert_eq!(
        queue.wait(last, Duration::ZERO).unwrap(),
        Wait::TimedOut,
        "no time, no work"
    );
    let never = last.next();
    assert_eq!(
        queue.wait(never, Duration::from_millis(1)).unwrap(),
        Wait::TimedOut
    );
}

#[test]
fn copies_fills_and_counts() {
    let device = CpuDevice::new();
    let mut list = CommandList::new();
    let slab = device.allocate(MemoryKind::Readback, 4096).unwrap();
    let slot = list.slot(Slot::Owned(slab.lease_whole().unwrap()));
    let foreign = list.slot(Slot::Foreign(vec![1u8, 2, 3, 4, 5, 6, 7, 8].into()));
    let copy_counted = |count, to, unit_bits| Command::CopyCounted {
        from: span(foreign, 0..8),
        to,
        count,
        unit_bits,
    };
    list.push(Command::Copy {
        from: span(foreign, 0..8),
        to: span(slot, 0..8),
    });
    list.push(Command::Copy {
        from: span(slot, 2..6),
        to: span(slot, 8..12),
    });
    list.push(Command::Fill {
        to: span(slot, 12..16),
        byte: 9,
    });
    list.push(Command::Fill {
        to: span(slot, 100..101),
        byte: 11,
    }); // the count 11, in bits
    list.push(copy_counted(span(slot, 100..108), span(slot, 16..24), 1));
    list.push(Command::Fill {
        to: span(slot, 100..108),
        byte: 255,
    });
    list.push(copy_counted(
        span(slot, 100..108),
        span(slot, 24..32),
        u32::MAX,
    ));
    let done = run(&device, list);
    assert_eq!(done.outcome, Outcome::Done { written: [].into() });
    let Slot::Owned(lease) = &done.list.slots[0] else {
        panic!()
    };
    let found = &lease.bytes().unwrap()[..32];
    let wanted = [
        [1, 2, 3, 4, 5, 6, 7, 8],
        [3, 4, 5, 6, 9, 9, 9, 9],
        [1, 2, 0, 0, 0, 0, 0, 0],
        [1, 2, 3, 4, 5, 6, 7, 8],
    ];
    assert_eq!(found, wanted.as_flattened());
}

#[test]
fn a_trap_stops_the_list() {
    let device = CpuDevice::new();
    let program = "columns c0: i32\nparams p0: i32\n%0 = load c0\n%1 = param p0\n\
                   %2 = cmp.eq %0, %1\n%3 = trap.divide_by_zero %2, ordinal 4\noutput %0";
    let exe = device.compile(&parse(program)).unwrap();
    let mut list = filter_list(&device, &exe, &[1, 2, 2]);
    let fill = span(SlotId(0), 4000..4001);
    list.push(Command::Fill { to: fill, byte: 1 });
    let done = run(&device, list);
    assert_eq!(done.outcome, Outcome::Trapped(Trap { row: 1, ordinal: 4 }));
    let Slot::Owned(lease) = &done.list.slots[0] else {
        panic!()
    };
    assert_eq!(lease.bytes().unwrap()[4000], 0);
}

#[test]
fn what_is_not_this_devices_is_refused() {
    let device = CpuDevice::new();
    let exe = filter(&device);
    let mut queue = device.open_queue(1).unwrap();
    let mut list = filter_list(&device, &exe, &[1]);
    let Command::Dispatch { exe, .. } = &mut list.commands[0] else {
        panic!()
    };
    *exe = Executable::new(exe.program().clone(), Arc::new("another device's code"));
    let rejected = queue.submit(list).unwrap_err();
    assert!(
        rejected
            .reason
            .to_string()
            .contains("compiled for another device")
    );

    let malformed = Program {
        emit_mask: true,
        ..Program::default()
    };
    let error = device.compile(&Arc::new(malformed)).unwrap_err();
    assert!(error.to_string().contains("malformed"), "{error}");
    assert!(matches!(device.open_queue(0), Err(DeviceError::Limit(_))));
}

#[test]
fn an_ended_queue_gives_everything_back() {
    let device = CpuDevice::new();
    let exe = filter(&device);
    for (timeout, runs) in [(Duration::ZERO, false), (LONG, true)] {
        let mut queue = device.open_queue(2).unwrap();
        queue.submit(filter_list(&device, &exe, &[7])).unwrap();
        queue.submit(filter_list(&device, &exe, &[7])).unwrap();
        let left = queue.quiesce(timeout);
        assert!(left.leaked.is_empty());
        assert_eq!(left.completions.len(), 2);
        for completion in left.completions {
            assert_eq!(matches!(completion.outcome, Outcome::Done { .. }), runs);
        }
    }
    assert_eq!(device.health(), Health::Ready);
}
