//! Programs on any device: inputs to where it reads them, a dispatch, results back.

use std::collections::VecDeque;
use std::time::Duration;

use unlade_hal::{
    Arg, Command, CommandList, Completion, Device, Executable, Lease, MemoryKind, Outcome, Queue,
    Seq, Slot, Span, Status, Wait, check_written,
};
use unlade_naive::{Bits, Inputs, OutputColumn, Outputs};
use unlade_program::{Trap, Ty};

/// Longer than any list takes, on whatever clock.
pub const LONG: Duration = Duration::from_secs(3600);

/// Runs that may be under way at once.
pub const DEPTH: usize = 4;

/// A device with a queue and memory to run programs in.
#[derive(Debug)]
pub struct DeviceRunner<'d> {
    device: &'d dyn Device,
    queue: Box<dyn Queue>,
    /// What the queue has delivered and nobody has asked for.
    done: VecDeque<Completion>,
}

impl<'d> DeviceRunner<'d> {
    /// Opens a queue.
    ///
    /// # Panics
    /// Where the device opens none.
    pub fn new(device: &'d dyn Device) -> Self {
        let queue = device
            .open_queue(DEPTH as u32)
            .expect("the device opens a queue");
        DeviceRunner {
            device,
            queue,
            done: VecDeque::new(),
        }
    }

    /// Runs an executable of the device.
    ///
    /// # Errors
    /// The trap, if the program traps.
    ///
    /// # Panics
    /// Where the device fails or breaks a rule of the interface.
    pub fn run(&mut self, exe: &Executable, inputs: &Inputs<'_>) -> Result<Outputs, Trap> {
        let started = self.start(exe, inputs);
        self.finish(started)
    }

    /// Submits a run of an executable of the device. At most [`DEPTH`] are under way at once.
    ///
    /// # Panics
    /// As [`run`](DeviceRunner::run).
    pub fn start(&mut self, exe: &Executable, inputs: &Inputs<'_>) -> Started {
        let staged = Staged::new(self.device, exe, inputs);
        let seq = self
            .queue
            .submit(staged.list)
            .unwrap_or_else(|rejected| panic!("the device rejects the list: {}", rejected.reason));
        Started {
            seq,
            exe: exe.clone(),
            rows: inputs.rows,
            places: staged.places,
            results: staged.results,
        }
    }

    /// The results of what was started, which has to be finished in the same order.
    ///
    /// # Errors
    /// The trap, if the program traps.
    ///
    /// # Panics
    /// As [`run`](DeviceRunner::run).
    pub fn finish(&mut self, started: Started) -> Result<Outputs, Trap> {
        let waited = self
            .queue
            .wait(started.seq, LONG)
            .expect("the device is there");
        assert_eq!(waited, Wait::Reached);
        let mut done = Vec::new();
        self.queue.poll(&mut done).expect("the device is there");
        self.done.extend(done);
        let completion = self
            .done
            .pop_front()
            .expect("a point that is reached is delivered");
        assert_eq!(completion.seq, started.seq, "completions come in order");
        let Started {
            exe, rows, places, ..
        } = started;
        places.read(&exe, rows, started.results, completion)
    }
}

/// A run under way.
#[derive(Debug)]
pub struct Started {
    seq: Seq,
    exe: Executable,
    rows: u64,
    places: Places,
    results: usize,
}

/// A list with its inputs in place.
struct Staged {
    list: CommandList,
    places: Places,
    results: usize,
}

/// Where results will be, in bytes of the slot of results.
#[derive(Debug)]
struct Places {
    mask: Option<u64>,
    outputs: Vec<(u64, Option<u64>)>,
}

/// Hands out aligned ranges of a slot that is made later.
struct Layout {
    alignment: u64,
    used: u64,
}

impl Layout {
    fn take(&mut self, len: u64) -> u64 {
        let start = self.used.next_multiple_of(self.alignment);
        self.used = start + len;
        start
    }
}

impl Staged {
    fn new(device: &dyn Device, exe: &Executable, inputs: &Inputs<'_>) -> Staged {
        let (program, can) = (exe.program(), device.capabilities());
        let layout = || Layout {
            alignment: can.alignment.max(16),
            used: 0,
        };
        let (mut reads, mut writes) = (layout(), layout());

        let mut sources: Vec<(u64, &[u8])> = Vec::new();
        let input = |bits: Bits<'_>, len_bits: u64| {
            let (byte, offset) = (bits.bit_offset / 8, bits.bit_offset % 8);
            let len = (offset + len_bits).div_ceil(8);
            (byte as usize, len, offset as u8)
        };
        // Ranges first, arguments once the slots are known.
        enum Place {
            Read(u64, u64, u8),
            Write(u64, u64),
            Absent,
            Scalar([u8; 16]),
        }
        let mut args = Vec::new();
        for (column, given) in program.columns.iter().zip(&inputs.columns) {
            let (byte, len, offset) =
                input(given.values, inputs.rows * u64::from(column.ty.bits()));
            let start = reads.take(len);
            sources.push((start, &given.values.bytes[byte..][..len as usize]));
            args.push(Place::Read(start, len, offset));
            match given.validity.filter(|_| column.nullable) {
                Some(validity) => {
                    let (byte, len, offset) = input(validity, inputs.rows);
                    let start = reads.take(len);
                    sources.push((start, &validity.bytes[byte..][..len as usize]));
                    args.push(Place::Read(start, len, offset));
                }
                None => args.push(Place::Absent),
            }
        }
        args.extend(inputs.params.iter().map(|bytes| Place::Scalar(*bytes)));
        for &entries in inputs.tables.iter().chain(&inputs.sets) {
            let start = reads.take(entries.len() as u64);
            sources.push((start, entries));
            args.push(Place::Read(start, entries.len() as u64, 0));
        }
        let status = writes.take(Status::BYTES);
        let mut room = |ty: Ty, args: &mut Vec<Place>| {
            let len = ty.bytes_for(inputs.rows) + can.slack;
            let start = writes.take(len);
            args.push(Place::Write(start, len));
            start
        };
        let mask = program.emit_mask.then(|| room(Ty::Mask, &mut args));
        let mut outputs = Vec::new();
        for (output, &ty) in program.outputs.iter().zip(exe.output_types()) {
            let values = room(ty, &mut args);
            let validity = output.valid.map(|_| room(Ty::Mask, &mut args));
            if validity.is_none() {
                args.push(Place::Absent);
            }
            outputs.push((values, validity));
        }

        let mut upload = lease(device, MemoryKind::Upload, reads.used);
        let bytes = upload
            .bytes_mut()
            .expect("memory for uploads is the host's");
        for (start, source) in sources {
            bytes[start as usize..][..source.len()].copy_from_slice(source);
        }
        let readback = lease(device, MemoryKind::Readback, writes.used);
        let mut list = CommandList::new();
        let (up, back) = (
            list.slot(Slot::Owned(upload)),
            list.slot(Slot::Owned(readback)),
        );
        let span = |slot, start: u64, len: u64| Span {
            slot,
            bytes: start..start + len,
        };
        let (read, write) = match can.coherent {
            true => (up, back),
            false => {
                let read = list.slot(Slot::Owned(lease(
                    device,
                    MemoryKind::DeviceLocal,
                    reads.used,
                )));
                let write = list.slot(Slot::Owned(lease(
                    device,
                    MemoryKind::DeviceLocal,
                    writes.used,
                )));
                let from = span(up, 0, reads.used);
                list.push(Command::Copy {
                    from,
                    to: span(read, 0, reads.used),
                });
                (read, write)
            }
        };
        let arg = |place| match place {
            Place::Read(start, len, bit_offset) => Arg::Span {
                span: span(read, start, len),
                bit_offset,
            },
            Place::Write(start, len) => Arg::Span {
                span: span(write, start, len),
                bit_offset: 0,
            },
            Place::Absent => Arg::Absent,
            Place::Scalar(bytes) => Arg::Scalar(bytes),
        };
        list.push(Command::Dispatch {
            exe: exe.clone(),
            rows: inputs.rows,
            args: args.into_iter().map(arg).collect(),
            status: span(write, status, Status::BYTES),
        });
        if write != back {
            let from = span(write, 0, writes.used);
            list.push(Command::Copy {
                from,
                to: span(back, 0, writes.used),
            });
        }
        let results = usize::from(back.0);
        Staged {
            list,
            places: Places { mask, outputs },
            results,
        }
    }
}

impl Places {
    fn read(
        &self,
        exe: &Executable,
        rows: u64,
        results: usize,
        completion: Completion,
    ) -> Result<Outputs, Trap> {
        let written = match completion.outcome {
            Outcome::Done { written } => written,
            Outcome::Trapped(trap) => return Err(trap),
            Outcome::Aborted(lost) => panic!("{lost}"),
        };
        check_written(&completion.list, &written).expect("counts that can be");
        let Slot::Owned(lease) = &completion.list.slots[results] else {
            panic!("the slot of results is owned");
        };
        let bytes = lease
            .bytes()
            .expect("memory for reading back is the host's");
        let first = |start: u64, ty: Ty, count: u64| {
            let len = ty.bytes_for(count) as usize;
            let mut values = bytes[start as usize..][..len].to_vec();
            if let (Ty::Mask, Some(last), 1..) = (ty, values.last_mut(), count % 8) {
                *last &= (1 << (count % 8)) - 1;
            }
            values
        };
        let kept = written[0];
        let outputs = self.outputs.iter().zip(exe.output_types());
        Ok(Outputs {
            kept,
            mask: self.mask.map(|start| first(start, Ty::Mask, rows)),
            columns: outputs
                .map(|(&(values, validity), &ty)| OutputColumn {
                    values: first(values, ty, kept),
                    validity: validity.map(|start| first(start, Ty::Mask, kept)),
                })
                .collect(),
        })
    }
}

fn lease(device: &dyn Device, kind: MemoryKind, len: u64) -> Lease {
    let slab = device
        .allocate(kind, len.max(1))
        .expect("the device has memory");
    slab.lease_whole().expect("the slab is new")
}
