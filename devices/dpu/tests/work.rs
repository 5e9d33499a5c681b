//! The driver on a model of a card that was written from docs/CARD.md by others.

mod common;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::in_process::InProcess;
use common::*;
use unlade_dpu::{CannotOpen, DpuDevice, Options, VfioUser, connect};
use unlade_hal::{
    AllocError, ClockKind, Command, CommandList, CompileError, Device, DeviceError, DeviceKind,
    Health, Lease, MemoryKind, Outcome, PageSize, Quantity, Queue, RejectReason, Slab, Slot, Wait,
};
use unlade_program::{Program, Trap};
use unlade_sim_card::{Card, Config, Fault, Profile};

#[test]
fn a_card_says_what_it_is() {
    let (card, device) = card([]);
    let info = device.info();
    assert_eq!(
        (info.name.as_str(), info.kind),
        ("sim-dpu", DeviceKind::Simulator)
    );
    assert_eq!((info.clock, info.memory), (ClockKind::Virtual, 0));
    let path = card.path().display().to_string();
    assert_eq!(info.address.as_deref(), Some(&*format!("unix:{path}")));
    assert!(
        info.architecture.contains("firmware"),
        "{}",
        info.architecture
    );
    let can = device.capabilities();
    assert!(can.coherent && !can.foreign_read && can.compaction && can.copy_counted);
    assert_eq!(device.health(), Health::Ready);
    let readings = device.readings();
    let temperature = readings
        .iter()
        .find(|each| each.quantity == Quantity::Temperature);
    assert!(
        temperature.is_some_and(|each| each.value.is_ok()),
        "{readings:?}"
    );
    assert_eq!(device.errors(), Ok(vec![]));
    assert!(
        !info.description.contains("virtual"),
        "{}",
        info.description
    );
    assert_eq!(card.counters().findings, [""; 0]);
}

#[test]
fn fills_and_copies_move_bytes() {
    let (card, device) = card([]);
    let mut queue = device.open_queue(4).unwrap();
    let mut list = fill(&device, 7);
    let copy = list.slot(Slot::Owned(lease(&device, MemoryKind::DeviceLocal, 4096)));
    let first = unlade_hal::SlotId(0);
    list.push(Command::Copy {
        from: span(first, 1..1001),
        to: span(copy, 3..1003),
    });
    // Nothing to do is done too.
    list.push(Command::Copy {
        from: span(first, 0..0),
        to: span(copy, 9..9),
    });
    let done = run(&mut *queue, list);
    assert_eq!(done.outcome, Outcome::Done { written: [].into() });
    assert_eq!(done.timing.clock, Some(ClockKind::Virtual));
    assert!(done.timing.compute > Duration::ZERO);
    let copied = bytes(&done.list, 1);
    assert_eq!(
        (&copied[..4], copied[1002], copied[1003]),
        (&[0, 0, 0, 7][..], 7, 0)
    );

    let empty = run(&mut *queue, CommandList::new());
    assert_eq!(empty.outcome, Outcome::Done { written: [].into() });
    assert_eq!(card.counters().findings, [""; 0]);
}

#[test]
fn a_filter_compacts_and_a_counted_copy_takes_what_it_kept() {
    let (card, device) = card([]);
    let exe = filter(&device);
    let mut queue = device.open_queue(4).unwrap();
    let values_in: Vec<i32> = (0..10_000).map(|row| row * 7919 % 10_000).collect();
    let mut list = filter_list(&device, &exe, &values_in, 1234);
    let copy = list.slot(Slot::Owned(lease(&device, MemoryKind::Readback, 40_000)));
    let results = unlade_hal::SlotId(1);
    list.push(Command::CopyCounted {
        from: span(results, STATUS_AFTER..STATUS_AFTER + 40_000),
        to: span(copy, 0..40_000),
        count: span(results, 0..8),
        unit_bits: 32,
    });
    let done = run(&mut *queue, list);
    assert_eq!(
        done.outcome,
        Outcome::Done {
            written: [1234].into()
        }
    );
    let wanted: Vec<i32> = values_in
        .into_iter()
        .filter(|value| *value < 1234)
        .collect();
    assert_eq!(values(&done.list, 1, STATUS_AFTER as usize, 1234), wanted);
    assert_eq!(values(&done.list, 2, 0, 1234), wanted);
    assert_eq!(values(&done.list, 2, 4 * 1234, 1), [0]);
    assert_eq!(card.counters().findings, [""; 0]);
}

#[test]
fn a_trap_ends_the_list() {
    let (_card, device) = card([]);
    let exe = filter(&device);
    let mut queue = device.open_queue(1).unwrap();
    let mut values = vec![3; 1000];
    (values[700], values[900]) = (-1, -1);
    let done = run(&mut *queue, filter_list(&device, &exe, &values, 9));
    let trap = Trap {
        row: 700,
        ordinal: 5,
    };
    assert_eq!(done.outcome, Outcome::Trapped(trap));
    let none = run(&mut *queue, filter_list(&device, &exe, &[], 9));
    assert_eq!(
        none.outcome,
        Outcome::Done {
            written: [0].into()
        }
    );
    // That is an error of the data.
    assert_eq!(device.errors(), Ok(vec![]));
}

#[test]
fn what_a_card_has_noted_is_told_behind_resets_too() {
    let (_card, device) = card([(2, Fault::Fatal)]);
    let exe = filter(&device);
    let mut queue = device.open_queue(1).unwrap();
    let trapped = run(&mut *queue, filter_list(&device, &exe, &[-1], 9));
    assert!(matches!(trapped.outcome, Outcome::Trapped(_)));
    let seq = queue
        .submit(filter_list(&device, &exe, &[1], 9))
        .map_err(|rejected| rejected.reason)
        .unwrap();
    queue.wait(seq, Duration::from_secs(10)).unwrap_err();
    drop(queue);
    for _ in 0..2 {
        device.reset().unwrap();
        let errors = device.errors().unwrap();
        let [stopped] = &errors[..] else {
            panic!("{errors:?}")
        };
        assert!(stopped.starts_with("error 1, at "), "{stopped}");
        assert!(stopped.contains("it stopped by itself"), "{stopped}");
    }
}

#[test]
fn checksums_are_compared_and_agree() {
    let card = Model::start(Config::default());
    let mut options = Options::default();
    options.checksums = true;
    options.name = Some("checked".to_owned());
    let transport = Arc::new(VfioUser::connect(card.path()).unwrap());
    let device = DpuDevice::open(transport, &options).unwrap();
    assert_eq!(device.info().name, "checked");
    let exe = filter(&device);
    let mut queue = device.open_queue(1).unwrap();
    let values: Vec<i32> = (0..1000).collect();
    let done = run(&mut *queue, filter_list(&device, &exe, &values, 77));
    assert_eq!(
        done.outcome,
        Outcome::Done {
            written: [77].into()
        }
    );
}

#[test]
fn lists_that_break_a_rule_come_back_whole() {
    let (_card, device) = card([]);
    let mut queue = device.open_queue(2).unwrap();
    let mut refused = |list: CommandList, named: &str| {
        let steps = list.commands.len();
        let rejected = queue.submit(list).unwrap_err();
        let RejectReason::Invalid(reason) = rejected.reason else {
            panic!("{:?}", rejected.reason)
        };
        assert!(reason.contains(named), "{reason}");
        assert_eq!(rejected.list.commands.len(), steps);
    };
    let mut outside = fill(&device, 1);
    outside.push(Command::Fill {
        to: span(unlade_hal::SlotId(0), 0..4097),
        byte: 1,
    });
    refused(outside, "not inside slot 0");

    let mut unknown = CommandList::new();
    let slab = Slab::host(MemoryKind::Readback, 4096, PageSize::Base).unwrap();
    let slot = unknown.slot(Slot::Owned(slab.lease_whole().unwrap()));
    unknown.push(Command::Fill {
        to: span(slot, 0..8),
        byte: 1,
    });
    refused(unknown, "register its slab first");

    let (_other_card, other) = card([]);
    let exe = filter(&other);
    refused(filter_list(&device, &exe, &[1, 2], 2), "another device");

    let mut long = fill(&device, 1);
    let steps = 70_000;
    long.commands = vec![long.commands[0].clone(); steps];
    refused(long, "steps");
}

#[test]
fn memory_is_registered_once_and_never_the_heap() {
    let (_card, device) = card([]);
    let slab = Slab::host(MemoryKind::Readback, 10_000, PageSize::Base).unwrap();
    device.register(&slab).unwrap();
    let domain = device.info().domain;
    let address = slab.address(domain).unwrap();
    device.register(&slab).unwrap();
    assert_eq!(slab.address(domain), Some(address));
    let heap = Lease::pageable(100).unwrap();
    assert_eq!(device.register(heap.slab()), Err(AllocError::Pageable));
    drop(slab);
    // The next one takes the addresses of the one that is gone.
    let next = Slab::host(MemoryKind::Readback, 10_000, PageSize::Base).unwrap();
    device.register(&next).unwrap();
    assert_eq!(next.address(domain), Some(address));
}

#[test]
fn programs_that_the_card_lacks_are_refused() {
    let config = Config {
        profile: Profile::small(),
        ..Config::default()
    };
    let card = Model::start(config);
    let device = connect(card.path(), &Options::default()).unwrap();
    assert!(!device.capabilities().compaction);
    assert_eq!(device.capabilities().max_queues, 1);
    let divides: Program = "columns c0: i32
         %0 = load c0
         %1 = div %0, %0
         output %1"
        .parse()
        .unwrap();
    let refused = device.compile(&Arc::new(divides)).unwrap_err();
    assert!(
        matches!(refused, CompileError::Unsupported { .. }),
        "{refused:?}"
    );
    let adds: Program = "columns c0: i32
         %0 = load c0
         %1 = add %0, %0
         output %1"
        .parse()
        .unwrap();
    let adds = Arc::new(adds);
    // As many as there is room for, and again when they are dropped.
    for _ in 0..2 {
        let loaded: Vec<_> = (0..16).map(|_| device.compile(&adds).unwrap()).collect();
        let refused = device.compile(&adds).unwrap_err().to_string();
        assert!(refused.contains("room for 16 programs"), "{refused}");
        drop(loaded);
    }
    let one = device.open_queue(1).unwrap();
    let second = device.open_queue(1).unwrap_err();
    assert!(matches!(second, DeviceError::Limit(_)), "{second}");
    drop(one);
    assert!(
        device.open_queue(1).is_ok(),
        "a queue that was dropped makes room"
    );
}

#[test]
fn two_queues_work_at_once() {
    let (card, device) = card([]);
    let exe = filter(&device);
    let work = |byte: u8| {
        let (device, exe) = (&device, &exe);
        move || {
            let mut queue = device.open_queue(8).unwrap();
            for round in 0..50 {
                let values: Vec<i32> = (0..500).collect();
                let first = submit(&mut *queue, fill(device, byte));
                let second = submit(&mut *queue, filter_list(device, exe, &values, round));
                assert_eq!(queue.wait(second, LONG), Ok(Wait::Reached));
                let mut done = Vec::new();
                queue.poll(&mut done).unwrap();
                let seqs: Vec<_> = done.iter().map(|each| each.seq).collect();
                assert_eq!(seqs, [first, second]);
                assert!(bytes(&done[0].list, 0).iter().all(|found| *found == byte));
                let written = [round as u64].into();
                assert_eq!(done[1].outcome, Outcome::Done { written });
            }
            assert!(queue.quiesce(LONG).leaked.is_empty());
        }
    };
    thread::scope(|scope| {
        scope.spawn(work(1));
        scope.spawn(work(2));
    });
    assert_eq!(card.counters().findings, [""; 0]);
}

#[test]
fn the_event_tells_that_something_is_done() {
    let (_card, device) = card([]);
    let mut queue = device.open_queue(1).unwrap();
    let seq = submit(&mut *queue, fill(&device, 1));
    let mut done = Vec::new();
    // The first queue shares its vector with the admin queue, and each event may be of either.
    while done.is_empty() {
        signalled(&*queue);
        queue.poll(&mut done).unwrap();
    }
    assert_eq!(done[0].seq, seq);
}

/// Waits for the event of a queue.
fn signalled(queue: &dyn Queue) {
    let event = queue.wake_fd().expect("the card interrupts");
    let mut events = [rustix::event::PollFd::new(
        &event,
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec::try_from(LONG).unwrap();
    assert_eq!(rustix::event::poll(&mut events, Some(&timeout)), Ok(1));
}

#[test]
fn a_card_makes_do_with_the_vectors_that_are_left() {
    let _limit = Limit::start();
    for (left, queues) in [(100, 8), (8, 8), (7, 4), (3, 2), (1, 1)] {
        let card = Arc::new(Card::start(Config::default()));
        let transport = Arc::new(InProcess::with_vectors(&card, left));
        let device = DpuDevice::open(transport, &Options::default()).unwrap();
        assert_eq!(device.capabilities().max_queues, queues, "{left} left");
        let mut open: Vec<_> = (0..queues).map(|_| device.open_queue(2).unwrap()).collect();
        let full = device.open_queue(2).unwrap_err();
        assert!(matches!(full, DeviceError::Limit(_)), "{full}");
        // Each is signalled by its own event.
        for queue in &mut open {
            let seq = submit(&mut **queue, fill(&device, 1));
            signalled(&**queue);
            assert_eq!(finish(&mut **queue, seq).seq, seq);
        }
        assert_eq!(card.counters().findings, [""; 0]);
    }
    let card = Arc::new(Card::start(Config::default()));
    let transport = Arc::new(InProcess::with_vectors(&card, 0));
    let error = DpuDevice::open(transport, &Options::default()).unwrap_err();
    assert!(matches!(error, CannotOpen::Short { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("no 1 interrupt vectors left"), "{error}");
    assert!(!error.contains("replace it"), "{error}");
}

/// Through a socket the second one would wait for the first; here both reach one BAR0.
#[test]
fn a_second_opener_is_told_who_was_first() {
    let _limit = Limit::start();
    let card = Arc::new(Card::start(Config::default()));
    let open = |owner: &str| {
        let mut options = Options::default();
        options.owner = owner.to_owned();
        DpuDevice::open(Arc::new(InProcess::new(&card)), &options)
    };
    let first = open("the first, with a name of more than 32 bytes").unwrap();
    let error = open("the second").unwrap_err();
    let CannotOpen::InUse { holder, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(holder, "the first, with a name of more t");
    assert!(error.to_string().contains("in use by the first"));
    // The attempt has not disturbed the first one.
    let mut queue = first.open_queue(1).unwrap();
    let done = run(&mut *queue, fill(&first, 1));
    assert_eq!(done.outcome, Outcome::Done { written: [].into() });
    first.close();
    assert!(matches!(first.health(), Health::Lost(_)));
    let second = open("the second").unwrap();
    assert_eq!(second.health(), Health::Ready);
}

#[test]
fn what_is_no_card_is_not_touched() {
    let _limit = Limit::start();
    let card = Arc::new(Card::start(Config::default()));
    let nothing = Arc::new(InProcess::nothing(&card));
    let error = DpuDevice::open(nothing, &Options::default()).unwrap_err();
    assert!(
        matches!(
            error,
            CannotOpen::NotACard {
                magic: u32::MAX,
                ..
            }
        ),
        "{error}"
    );
}
