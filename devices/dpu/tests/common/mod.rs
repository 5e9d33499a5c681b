//! A model of a card, a device on it, and lists to run there.
#![allow(dead_code, unreachable_pub)] // each test uses some of it

pub mod in_process;
#[path = "../../../../sim/card/tests/card/limit.rs"]
mod limit;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use limit::Limit;
use unlade_dpu::{DpuDevice, Options, connect};
use unlade_hal::{
    Arg, Command, CommandList, Completion, Device, Executable, Lease, MemoryKind, Queue, Seq, Slot,
    SlotId, Span, Status, Wait,
};
use unlade_program::Program;
use unlade_sim_card::{Config, Fault, FaultPlan, Served};

/// Longer than anything takes that is going to happen.
pub const LONG: Duration = Duration::from_secs(30);

/// A card that is served, whose end is waited for so long and no longer.
pub struct Model {
    served: Served,
    _limit: Limit,
}

impl Model {
    pub fn start(config: Config) -> Model {
        let limit = Limit::start();
        Model {
            served: Served::start(config).expect("a socket can be made"),
            _limit: limit,
        }
    }
}

impl Deref for Model {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

/// A card on which these faults strike these jobs, and the device that drives it.
pub fn card(faults: impl IntoIterator<Item = (u64, Fault)>) -> (Model, Arc<DpuDevice>) {
    let plan = FaultPlan::none();
    let faults = faults
        .into_iter()
        .fold(plan, |plan, (job, fault)| plan.at(job, fault));
    let config = Config {
        faults,
        ..Config::default()
    };
    let card = Model::start(config);
    let device =
        connect(card.path(), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    (card, device)
}

/// Memory of a device.
pub fn lease(device: &DpuDevice, kind: MemoryKind, len: u64) -> Lease {
    let slab = device.allocate(kind, len).expect("there is memory");
    slab.lease_whole().expect("the slab is new")
}

/// Bytes of a slot.
pub fn span(slot: SlotId, bytes: std::ops::Range<u64>) -> Span {
    Span { slot, bytes }
}

/// A list that fills a page of its own, in slot 0.
pub fn fill(device: &DpuDevice, byte: u8) -> CommandList {
    let mut list = CommandList::new();
    let slot = list.slot(Slot::Owned(lease(device, MemoryKind::Readback, 4096)));
    let to = span(slot, 0..4096);
    list.push(Command::Fill { to, byte });
    list
}

/// The bytes of an owned slot.
pub fn bytes(list: &CommandList, slot: usize) -> &[u8] {
    match &list.slots[slot] {
        Slot::Owned(lease) => lease.bytes().expect("the memory is the host's"),
        other => panic!("{other:?} is not owned"),
    }
}

/// Keeps what is less than a parameter, and traps at what is negative.
pub fn filter(device: &DpuDevice) -> Executable {
    let program: Program = "columns c0: i32
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = const i32 0
         %3 = cmp.lt %0, %2
         %4 = trap.overflow %3, ordinal 5
         %5 = cmp.lt %0, %1
         keep %5
         output %0"
        .parse()
        .expect("the program is one");
    device.compile(&Arc::new(program)).expect("the card has it")
}

/// The filter over values: they are in slot 0, the results in slot 1, the status at `STATUS` of it.
pub fn filter_list(
    device: &DpuDevice,
    exe: &Executable,
    values: &[i32],
    below: i32,
) -> CommandList {
    let len = 4 * values.len() as u64;
    let mut input = lease(device, MemoryKind::Upload, len.max(1));
    let all = input.bytes_mut().expect("the memory is the host's");
    for (to, value) in all.chunks_exact_mut(4).zip(values) {
        to.copy_from_slice(&value.to_le_bytes());
    }
    let mut list = CommandList::new();
    let input = list.slot(Slot::Owned(input));
    let output = lease(device, MemoryKind::Readback, STATUS_AFTER + len);
    let output = list.slot(Slot::Owned(output));
    let mut parameter = [0; 16];
    parameter[..4].copy_from_slice(&below.to_le_bytes());
    let memory = |span| Arg::Span {
        span,
        bit_offset: 0,
    };
    list.push(Command::Dispatch {
        exe: exe.clone(),
        rows: values.len() as u64,
        args: Box::new([
            memory(span(input, 0..len)),
            Arg::Absent,
            Arg::Scalar(parameter),
            memory(span(output, STATUS_AFTER..STATUS_AFTER + len)),
            Arg::Absent,
        ]),
        status: span(output, 0..Status::BYTES),
    });
    list
}

/// Where results of [`filter_list`] begin, in bytes of slot 1.
pub const STATUS_AFTER: u64 = 4096;

/// The first values of a slot, from a byte on.
pub fn values(list: &CommandList, slot: usize, from: usize, count: usize) -> Vec<i32> {
    bytes(list, slot)[from..][..4 * count]
        .chunks_exact(4)
        .map(|four| i32::from_le_bytes(four.try_into().expect("four bytes")))
        .collect()
}

/// Submits a list and waits for it.
pub fn run(queue: &mut dyn Queue, list: CommandList) -> Completion {
    let seq = submit(queue, list);
    finish(queue, seq)
}

pub fn submit(queue: &mut dyn Queue, list: CommandList) -> Seq {
    queue
        .submit(list)
        .unwrap_or_else(|rejected| panic!("{}", rejected.reason))
}

pub fn finish(queue: &mut dyn Queue, seq: Seq) -> Completion {
    assert_eq!(queue.wait(seq, LONG), Ok(Wait::Reached));
    let mut done = Vec::new();
    queue.poll(&mut done).expect("the device is there");
    let completion = done.pop().expect("a point that is reached is delivered");
    assert_eq!((completion.seq, done.len()), (seq, 0));
    completion
}
