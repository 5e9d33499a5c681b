//! The simulated device, from outside.

use std::sync::Arc;
use std::time::Duration;

use unlade_hal::*;
use unlade_program::{Program, Trap};
use unlade_sim_device::{Link, POISON, Profile, SimDevice};

const LONG: Duration = Duration::from_secs(3600);

fn compile(device: &dyn Device, text: &str) -> Executable {
    let program: Program = text.parse().expect("the program is well formed");
    device
        .compile(&Arc::new(program))
        .expect("the device compiles it")
}

/// `c0 > 2`, the column filtered by it.
const FILTER: &str = "
    columns c0: i32
    params p0: i32
    %0 = load c0
    %1 = param p0
    %2 = cmp.gt %0, %1
    keep %2
    output %0
";

/// Traps where a row is zero.
const DIVIDE: &str = "
    columns c0: i32
    params p0: i32
    %0 = load c0
    %1 = param p0
    %2 = cmp.eq %0, %1
    %3 = trap.divide_by_zero %2, ordinal 7
    output %0
";

fn span(slot: SlotId, bytes: std::ops::Range<u64>) -> Span {
    Span { slot, bytes }
}

fn memory(slot: SlotId, bytes: std::ops::Range<u64>) -> Arg {
    Arg::Span {
        span: span(slot, bytes),
        bit_offset: 0,
    }
}

fn lease(device: &SimDevice, kind: MemoryKind) -> Lease {
    device.allocate(kind, 4096).unwrap().lease_whole().unwrap()
}

fn write(lease: &mut Lease, numbers: &[i32]) {
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    lease.bytes_mut().unwrap()[..bytes.len()].copy_from_slice(&bytes);
}

fn read(slot: &Slot, at: usize, count: usize) -> Vec<i32> {
    let Slot::Owned(lease) = slot else {
        panic!("the slot is owned")
    };
    let bytes = &lease.bytes().unwrap()[at..at + 4 * count];
    bytes
        .chunks_exact(4)
        .map(|four| i32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

/// Numbers in slot 0 (host) go to slot 1 (device) and through a program of one column, one
/// parameter and one output, which comes back at byte 1024, and the status at 2048.
fn round_trip(device: &SimDevice, exe: &Executable, numbers: &[i32], param: i32) -> CommandList {
    let mut upload = lease(device, MemoryKind::Readback);
    write(&mut upload, numbers);
    let mut list = CommandList::new();
    let host = list.slot(Slot::Owned(upload));
    let own = list.slot(Slot::Owned(lease(device, MemoryKind::DeviceLocal)));
    let len = 4 * numbers.len() as u64;
    list.push(Command::Copy {
        from: span(host, 0..len),
        to: span(own, 0..len),
    });
    list.push(Command::Dispatch {
        exe: exe.clone(),
        rows: numbers.len() as u64,
        args: [
            memory(own, 0..len),
            Arg::Absent,
            Arg::Scalar(i128::from(param).to_le_bytes()),
            memory(own, 1024..1024 + len),
            Arg::Absent,
        ]
        .into(),
        status: span(own, 2048..2072),
    });
    list.push(Command::Copy {
        from: span(own, 1024..1024 + len),
        to: span(host, 1024..1024 + len),
    });
    list
}

fn finish(queue: &mut Box<dyn Queue>, seq: Seq) -> Completion {
    assert_eq!(queue.wait(seq, LONG).unwrap(), Wait::Reached);
    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    let completion = done.pop().expect("the list is done");
    assert_eq!(completion.seq, seq);
    completion
}

fn run(device: &SimDevice, list: CommandList) -> Completion {
    let mut queue = device.open_queue(4).unwrap();
    let seq = queue.submit(list).unwrap();
    finish(&mut queue, seq)
}

#[test]
fn a_filter_keeps_what_it_should_and_leaves_the_rest_poison() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let exe = compile(&device, FILTER);
    let done = run(&device, round_trip(&device, &exe, &[1, 5, 2, 9], 2));
    assert_eq!(
        done.outcome,
        Outcome::Done {
            written: [2].into()
        }
    );
    assert_eq!(check_written(&done.list, &[2]), Ok(()));
    let poison = i32::from_le_bytes([POISON; 4]);
    assert_eq!(read(&done.list.slots[0], 1024, 4), [5, 9, poison, poison]);
}

#[test]
fn a_trap_ends_the_list_and_names_row_and_ordinal() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let exe = compile(&device, DIVIDE);
    let mut list = round_trip(&device, &exe, &[3, 0, 0], 0);
    let status = span(SlotId(1), 2048..2072);
    list.commands.insert(
        2,
        Command::Copy {
            from: status,
            to: span(SlotId(0), 100..124),
        },
    );
    let done = run(&device, list);
    let trap = Trap { row: 1, ordinal: 7 };
    assert_eq!(done.outcome, Outcome::Trapped(trap));
    let untouched = read(&done.list.slots[0], 100, 6);
    assert_eq!(untouched, [0; 6], "later steps did not run");
}

#[test]
fn time_passes_only_when_the_clock_goes() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let exe = compile(&device, FILTER);
    let begin = device.clock().now();
    let mut queue = device.open_queue(4).unwrap();
    let lists = [(); 3].map(|()| round_trip(&device, &exe, &[1, 2, 3, 4], 2));
    let seqs = lists.map(|list| queue.submit(list).unwrap());
    assert_eq!(seqs.map(Seq::get), [1, 2, 3]);
    assert_eq!(device.clock().now(), begin);

    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    assert!(done.is_empty());
    assert_eq!(
        queue.wait(seqs[2], Duration::from_nanos(1)).unwrap(),
        Wait::TimedOut
    );
    assert_eq!(device.clock().now().since(begin), Duration::from_nanos(1));

    assert_eq!(queue.wait(seqs[1], LONG).unwrap(), Wait::Reached);
    queue.poll(&mut done).unwrap();
    let delivered: Vec<Seq> = done.iter().map(|completion| completion.seq).collect();
    assert_eq!(delivered, seqs[..2], "in order, and the third is not due");
    let two = device.clock().now().since(begin);
    let launch = Profile::gpu().launch_latency;
    assert!(two >= 2 * launch && two < 3 * launch, "{two:?}");
    assert_eq!(done[1].timing.clock, Some(ClockKind::Virtual));
    assert!(done[1].timing.compute >= launch && done[1].timing.copy_in > Duration::ZERO);

    assert_eq!(
        queue.wait(seqs[0], LONG).unwrap(),
        Wait::Reached,
        "delivered is reached"
    );
    assert_eq!(device.clock().now().since(begin), two);
    let never = seqs[2].next();
    assert_eq!(queue.wait(never, 2 * launch).unwrap(), Wait::TimedOut);
    queue.poll(&mut done).unwrap();
    assert_eq!(done.len(), 3);
}

#[test]
fn two_runs_take_the_same_time_and_a_shared_bus_takes_longer() {
    let elapsed = |shared_bus: bool| {
        let slow = Profile {
            host_to_device: 1_000_000,
            ..Profile::gpu()
        };
        let link = Link::new();
        let one = SimDevice::builder(slow.clone()).link(link.clone()).build();
        let other = SimDevice::builder(slow)
            .name("sim:1")
            .clock(one.clock().clone());
        let other = if shared_bus { other.link(link) } else { other }.build();
        let exes = [&one, &other].map(|device| (device, compile(device, FILTER)));
        let mut queues = exes.map(|(device, exe)| {
            let mut queue = device.open_queue(1).unwrap();
            let seq = queue
                .submit(round_trip(device, &exe, &[1; 100], 2))
                .unwrap();
            (queue, seq)
        });
        for (queue, seq) in &mut queues {
            finish(queue, *seq);
        }
        one.clock().now()
    };
    assert_eq!(elapsed(false), elapsed(false));
    assert!(elapsed(true) > elapsed(false));
}

#[test]
fn reading_what_was_never_written_loses_the_device() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let exe = compile(&device, FILTER);
    let mut list = round_trip(&device, &exe, &[1, 2, 3, 4], 2);
    let Command::Copy { from, to } = &mut list.commands[0] else {
        panic!()
    };
    (from.bytes.end, to.bytes.end) = (12, 12); // the last row is missing
    let mut queue = device.open_queue(4).unwrap();
    let seq = queue.submit(list).unwrap();
    let lost = queue.wait(seq, LONG).unwrap_err();
    assert!(lost.reason.contains("step 1: byte 0x"), "{lost}");
    assert!(
        lost.reason.contains("is read but was never written"),
        "{lost}"
    );
    assert_eq!(device.health(), Health::Lost(lost.clone()));
    let left = queue.quiesce(LONG);
    assert!(left.leaked.is_empty());
    assert_eq!(left.completions[0].outcome, Outcome::Aborted(lost));
}

#[test]
fn host_addresses_are_refused() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let exe = compile(&device, FILTER);
    let mut queue = device.open_queue(4).unwrap();
    let mut refused = |list: CommandList, wanted: &str| {
        let slots = list.slots.len();
        let rejected = queue.submit(list).unwrap_err();
        assert!(
            rejected.reason.to_string().contains(wanted),
            "{}",
            rejected.reason
        );
        assert_eq!(rejected.list.slots.len(), slots, "the list comes back");
    };
    let mut list = round_trip(&device, &exe, &[1], 2);
    list.slots[0] = Slot::Owned(Lease::pageable(4096).unwrap());
    refused(list, "was not told of");
    let mut list = round_trip(&device, &exe, &[1], 2);
    list.slot(Slot::Foreign(vec![0u8; 4].into()));
    refused(list, "foreign memory");
    let mut list = round_trip(&device, &exe, &[1], 2);
    let Command::Dispatch { args, .. } = &mut list.commands[1] else {
        panic!()
    };
    args[0] = memory(SlotId(0), 0..4);
    refused(list, "computes on its own memory only");
    let other = SimDevice::builder(Profile::gpu()).build();
    let foreign_exe = compile(&other, FILTER);
    let list = round_trip(&device, &foreign_exe, &[1], 2);
    refused(list, "compiled for another device");

    assert_eq!(
        device.register(&Slab::heap(64).unwrap()),
        Err(AllocError::Pageable)
    );
    let slab = Slab::host(MemoryKind::Upload, 4096, PageSize::Base).unwrap();
    device.register(&slab).unwrap();
    let address = slab.address(device.info().domain);
    device.register(&slab).unwrap();
    assert_eq!(slab.address(device.info().domain), address, "twice is once");
}

#[test]
fn a_coherent_device_works_on_host_memory() {
    let device = SimDevice::builder(Profile::coherent_gpu()).build();
    let exe = compile(&device, FILTER);
    let mut list = CommandList::new();
    let numbers: Vec<u8> = [7i32, 1, 8]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let input = list.slot(Slot::Foreign(numbers.into()));
    let output = list.slot(Slot::Owned(lease(&device, MemoryKind::Readback)));
    list.push(Command::Dispatch {
        exe,
        rows: 3,
        args: [
            memory(input, 0..12),
            Arg::Absent,
            Arg::Scalar(2i128.to_le_bytes()),
            memory(output, 1024..1036),
            Arg::Absent,
        ]
        .into(),
        status: span(output, 0..24),
    });
    let done = run(&device, list);
    assert_eq!(
        done.outcome,
        Outcome::Done {
            written: [2].into()
        }
    );
    assert_eq!(read(&done.list.slots[1], 1024, 2), [7, 8]);
    let Slot::Owned(lease) = &done.list.slots[1] else {
        panic!()
    };
    let block = lease.bytes().unwrap()[..24].try_into().unwrap();
    assert_eq!(
        Status::from_bytes(block),
        Status {
            kept: 2,
            trap: None
        }
    );
    assert_eq!(done.timing.copy_in + done.timing.copy_out, Duration::ZERO);
}

#[test]
fn a_counted_copy_brings_only_what_was_kept() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let exe = compile(&device, FILTER);
    let mut list = round_trip(&device, &exe, &[1, 5, 2, 9], 2);
    let (host, own) = (SlotId(0), SlotId(1));
    list.commands[2] = Command::CopyCounted {
        from: span(own, 1024..1040),
        to: span(host, 1024..1040),
        count: span(own, 2048..2056),
        unit_bits: 32,
    };
    let done = run(&device, list);
    assert_eq!(read(&done.list.slots[0], 1024, 4), [5, 9, 0, 0]);

    // A count beyond the span copies the span.
    let mut list = round_trip(&device, &exe, &[1, 5, 2, 9], 2);
    list.commands.truncate(1);
    list.push(Command::Fill {
        to: span(own, 512..520),
        byte: 0xff,
    });
    list.push(Command::CopyCounted {
        from: span(own, 0..8),
        to: span(host, 1024..1032),
        count: span(own, 512..520),
        unit_bits: u32::MAX,
    });
    let done = run(&device, list);
    assert_eq!(read(&done.list.slots[0], 1024, 3), [1, 5, 0]);
}

#[test]
fn limits_are_kept() {
    let profile = Profile {
        max_queues: 2,
        queue_depth: 3,
        ..Profile::gpu()
    };
    let device = SimDevice::builder(profile).build();
    let exe = compile(&device, FILTER);
    assert!(matches!(device.open_queue(0), Err(DeviceError::Limit(_))));
    let mut queue = device.open_queue(100).unwrap();
    let second = device.open_queue(1).unwrap();
    assert!(matches!(device.open_queue(1), Err(DeviceError::Limit(_))));
    drop(second);
    device.open_queue(1).unwrap();

    let mut last = Seq::FIRST;
    for _ in 0..3 {
        last = queue.submit(round_trip(&device, &exe, &[1], 0)).unwrap();
    }
    let rejected = queue
        .submit(round_trip(&device, &exe, &[1], 0))
        .unwrap_err();
    assert_eq!(rejected.reason, RejectReason::Full);
    queue.wait(last, LONG).unwrap();
    queue.poll(&mut Vec::new()).unwrap();
    assert_eq!(
        queue.submit(rejected.list).unwrap(),
        last.next(),
        "a rejection takes no number"
    );

    let card = SimDevice::builder(Profile {
        max_insts: 4,
        ..Profile::card()
    })
    .build();
    let long: Program =
        "columns c0: i32\n%0 = load c0\n%1 = neg %0\n%2 = neg %1\n%3 = neg %2\n%4 = neg %3\noutput %4"
            .parse()
            .unwrap();
    let error = card.compile(&Arc::new(long)).unwrap_err();
    assert!(
        matches!(error, CompileError::TooLarge { cut: Some(_), .. }),
        "{error}"
    );
    let divide: Program = "columns c0: i32\n%0 = load c0\n%1 = div %0, %0\noutput %1"
        .parse()
        .unwrap();
    let error = card.compile(&Arc::new(divide)).unwrap_err();
    assert!(error.to_string().contains("div"), "{error}");
}

#[test]
fn memory_is_limited_and_comes_back() {
    let device = SimDevice::builder(Profile {
        memory: 10_000,
        ..Profile::gpu()
    })
    .build();
    let slab = device.allocate(MemoryKind::DeviceLocal, 5000).unwrap();
    assert_eq!((slab.len(), device.free_memory()), (8192, 1808));
    let error = device.allocate(MemoryKind::DeviceLocal, 5000).unwrap_err();
    assert_eq!(
        error,
        AllocError::OutOfMemory {
            asked: 5000,
            free: 1808
        }
    );
    let lease = slab.lease_whole().unwrap();
    drop(slab);
    assert_eq!(device.free_memory(), 1808, "a lease holds the slab");
    drop(lease);
    assert_eq!(device.free_memory(), 10_000);
}

#[test]
fn a_lost_device_gives_everything_back_and_is_reset() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let exe = compile(&device, FILTER);
    let mut queue = device.open_queue(4).unwrap();
    let first = queue.submit(round_trip(&device, &exe, &[3], 2)).unwrap();
    queue.wait(first, LONG).unwrap();
    queue.submit(round_trip(&device, &exe, &[3], 2)).unwrap();
    device.lose("pulled out");
    device.lose("again"); // the first reason stays

    let list = round_trip_without_device();
    let rejected = queue.submit(list).unwrap_err();
    assert!(matches!(&rejected.reason, RejectReason::Lost(lost) if lost.reason == "pulled out"));
    assert!(queue.poll(&mut Vec::new()).is_err());
    assert!(device.allocate(MemoryKind::Upload, 1).is_err());
    assert!(device.open_queue(1).is_err());
    assert!(device.compile(exe.program()).is_err());
    let left = queue.quiesce(LONG);
    assert!(
        matches!(left.completions[0].outcome, Outcome::Done { .. }),
        "done before the loss"
    );
    assert!(matches!(left.completions[1].outcome, Outcome::Aborted(_)));

    let old = device_memory_of(left);
    device.reset().unwrap();
    assert_eq!(device.health(), Health::Ready);
    let mut queue = device.open_queue(4).unwrap();
    let rejected = queue.submit(old).unwrap_err();
    assert!(
        rejected
            .reason
            .to_string()
            .contains("from before the device was reset")
    );
    let rejected = queue
        .submit(round_trip(&device, &exe, &[3], 2))
        .unwrap_err();
    assert!(
        rejected
            .reason
            .to_string()
            .contains("compiled for another device")
    );
    let exe = compile(&device, FILTER);
    assert!(queue.submit(round_trip(&device, &exe, &[3], 2)).is_ok());
}

fn round_trip_without_device() -> CommandList {
    CommandList::new()
}

fn device_memory_of(mut left: Quiesced) -> CommandList {
    left.completions.pop().expect("a list was in flight").list
}

#[test]
fn a_registration_is_made_again_after_a_reset() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let slab = Slab::host(MemoryKind::Readback, 4096, PageSize::Base).unwrap();
    device.register(&slab).unwrap();
    let before = slab.address(device.info().domain);
    device.reset().unwrap();
    device.register(&slab).unwrap();
    assert_ne!(slab.address(device.info().domain), before);
}

#[test]
fn a_queue_that_ends_early_aborts_what_is_not_due() {
    let device = SimDevice::builder(Profile::gpu()).build();
    let exe = compile(&device, FILTER);
    let mut queue = device.open_queue(4).unwrap();
    for _ in 0..2 {
        queue.submit(round_trip(&device, &exe, &[3], 2)).unwrap();
    }
    let left = queue.quiesce(Profile::gpu().launch_latency * 3 / 2);
    assert!(matches!(left.completions[0].outcome, Outcome::Done { .. }));
    assert!(matches!(left.completions[1].outcome, Outcome::Aborted(_)));
    assert_eq!(device.health(), Health::Ready);
}
