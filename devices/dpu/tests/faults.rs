//! A card that fails or lies: results are right or there are none, the device is lost with a reason
//! that says what was seen, every list is accounted for, and a reset brings it back.

mod common;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use common::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use unlade_dpu::{DpuDevice, Options, VfioUser};
use unlade_hal::{CommandList, Device, Health, MemoryKind, Outcome, Wait};
use unlade_sim_card::{Config, Fault, FaultPlan, Region};

#[test]
fn a_card_that_fails_or_lies_is_lost_until_it_is_reset() {
    for (fault, named) in LOSSES {
        let (card, device) = card([(2, fault)]);
        let (_, quiesced) = lost_by(fault, named, &device);
        // A controller reset has made sure of that.
        assert_eq!(quiesced.leaked, [], "{fault:?}");
        assert_eq!(card.counters().faults, [(2, fault)]);
        device
            .reset()
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(device.health(), Health::Ready, "{fault:?}");
        works(&device);
        assert_eq!(card.counters().findings, [""; 0], "{fault:?}");
    }
}

#[test]
fn a_card_that_lies_about_lengths_is_lost_when_it_is_asked() {
    for fault in SAID_WHEN_ASKED {
        let (card, device) = card([(2, fault)]);
        lies_about_lengths(fault, &device);
        device.reset().unwrap();
        works(&device);
        assert!(device.readings()[0].value.is_ok(), "{fault:?}");
        assert_eq!(card.counters().findings, [""; 0], "{fault:?}");
    }
}

#[test]
fn a_card_that_is_gone_does_not_come_back() {
    let (card, device) = card([(2, Fault::Removal)]);
    removed(&device);
    assert_eq!(card.card().mapped_ranges(), 0);
}

/// A card on which a fault strikes the second job, on a way that somebody meddles with.
fn meddled(fault: Fault) -> (Model, Arc<Meddler>, Arc<DpuDevice>) {
    let config = Config {
        faults: FaultPlan::none().at(2, fault),
        ..Config::default()
    };
    let card = Model::start(config);
    let way = VfioUser::connect(card.path()).unwrap();
    let meddler = Arc::new(Meddler::new(Arc::new(way)));
    let device = DpuDevice::open(meddler.clone(), &Options::default()).unwrap();
    (card, meddler, device)
}

/// How many ranges the card reaches, when all is given back that nobody uses.
fn reached(card: &Model, device: &DpuDevice) -> usize {
    // Given back with the next request; this leaves one range to give back, every time.
    for _ in 0..2 {
        device.allocate(MemoryKind::Upload, 1).unwrap();
    }
    card.card().mapped_ranges()
}

#[test]
fn from_a_card_that_no_reset_reaches_memory_is_taken() {
    let (fault, named) = (Fault::WrongPhase, "wrong phase");
    let (card, meddler, device) = meddled(fault);
    let mapped = reached(&card, &device);
    meddler.deafen(true);
    meddler.refuse_resets(true);
    let (_, quiesced) = lost_by(fault, named, &device);
    assert_eq!((quiesced.leaked.len(), card.card().mapped_ranges()), (0, 0));
    drop(quiesced);
    // When it hears again it has all of it again.
    meddler.deafen(false);
    device.reset().unwrap();
    works(&device);
    assert_eq!(reached(&card, &device), mapped);
    assert_eq!(card.counters().findings, [""; 0]);
}

/// That takes its owner and its interrupts, too.
#[test]
fn a_card_that_was_quieted_by_a_function_level_reset_is_set_up_again() {
    let (card, meddler, device) = meddled(Fault::WrongPhase);
    let owner = || {
        let mut owner = [0; 4];
        card.card().read(Region::Bar0, 0x40, &mut owner).unwrap();
        u32::from_le_bytes(owner)
    };
    assert_ne!(owner(), 0);
    meddler.deafen(true);
    lost_by(Fault::WrongPhase, "wrong phase", &device);
    assert_eq!(owner(), 0, "the function was reset");
    device.reset().unwrap();
    assert_ne!(owner(), 0);
    let mut queue = device.open_queue(1).unwrap();
    // What came before is no sign of it.
    queue.poll(&mut Vec::new()).unwrap();
    submit(&mut *queue, fill(&device, 1));
    let event = queue.wake_fd().unwrap();
    let mut events = [PollFd::new(&event, PollFlags::IN)];
    let timeout = Timespec::try_from(LONG).unwrap();
    assert_eq!(poll(&mut events, Some(&timeout)), Ok(1), "it interrupts");
    drop(queue);
    works(&device);
    assert_eq!(card.counters().findings, [""; 0]);
}

#[test]
fn memory_that_cannot_be_taken_from_a_card_is_abandoned() {
    let (fault, named) = (Fault::WrongPhase, "wrong phase");
    let (_card, meddler, device) = meddled(fault);
    meddler.deafen(true);
    meddler.refuse_resets(true);
    meddler.refuse_to_unmap();
    let (_, quiesced) = lost_by(fault, named, &device);
    let leaked: Vec<u64> = quiesced.leaked.iter().map(|leaked| leaked.bytes).collect();
    assert!(!leaked.is_empty() && leaked.iter().all(|bytes| *bytes == 4096));
}

#[test]
fn where_neither_reset_helps_a_new_connection_does() {
    for unmaps in [true, false] {
        renewed(unmaps);
    }
}

/// Has a card reset that gives memory back, or does not, by a new connection.
fn renewed(unmaps: bool) {
    let (card, meddler, device) = meddled(Fault::LostCompletion);
    let mapped = reached(&card, &device);
    let before = fill(&device, 7);
    let mut queue = device.open_queue(2).unwrap();
    let first = submit(&mut *queue, fill(&device, 1));
    submit(&mut *queue, fill(&device, 2));
    assert_eq!(queue.wait(first, LONG), Ok(Wait::Reached));
    meddler.deafen(true);
    meddler.refuse_resets(true);
    if !unmaps {
        meddler.refuse_to_unmap();
    }
    device.reset().unwrap();
    assert_eq!(device.health(), Health::Ready);
    // What was in flight has come back, and memory is where it was.
    let quiesced = queue.quiesce(SHORT);
    assert_eq!((quiesced.completions.len(), quiesced.leaked.len()), (2, 0));
    drop(quiesced);
    let mut queue = device.open_queue(1).unwrap();
    let done = run(&mut *queue, before);
    assert_eq!(done.outcome, Outcome::Done { written: [].into() });
    assert!(bytes(&done.list, 0).iter().all(|found| *found == 7));
    drop((queue, done));
    works(&device);
    assert_eq!(reached(&card, &device), mapped);
    // Nobody meddles with the new connection, so this is a controller's reset.
    device.reset().unwrap();
    works(&device);
    assert_eq!(card.counters().findings, [""; 0]);
}

/// As many as the admin queue has entries, and more: each would wait as long as the first for an answer
/// that does not come.
#[test]
fn those_in_line_behind_a_command_without_an_answer_send_none_of_their_own() {
    const LINE: usize = 20;

    let (card, _meddler, device) = meddled(Fault::LostCompletion);
    // Memory space enable, and no bus master: the card fetches nothing.
    card.card().write(Region::Config, 4, &[0x02, 0]).unwrap();
    let begin = Barrier::new(LINE);
    thread::scope(|scope| {
        let asked = [(); LINE].map(|()| {
            scope.spawn(|| {
                begin.wait();
                device.readings()
            })
        });
        for asked in asked {
            let readings = asked.join().expect("nobody finds the queue full");
            assert!(readings.iter().all(|reading| reading.value.is_err()));
        }
    });
    let Health::Lost(lost) = device.health() else {
        panic!("it has answered nothing")
    };
    assert!(lost.reason.contains("has not ended within"), "{lost}");
    device.reset().unwrap();
    works(&device);
    assert_eq!(card.counters().findings, [""; 0]);
}

/// A reset may take seconds.
#[test]
fn who_asks_how_a_card_is_does_not_wait_for_its_reset() {
    let (fault, named) = (Fault::WrongPhase, "wrong phase");
    let (_card, meddler, device) = meddled(fault);
    lost_by(fault, named, &device);
    thread::scope(|scope| {
        let held = meddler.hold_resets();
        let resets = [(); 2].map(|()| scope.spawn(|| device.reset()));
        meddler.wait_until_held();
        assert!(matches!(device.health(), Health::Lost(_)));
        // The other has come, too, and waits until the first is done.
        thread::sleep(Duration::from_millis(50));
        assert_eq!(meddler.wait_until_held(), 1);
        drop(held);
        for reset in resets {
            reset.join().expect("it does not panic").unwrap();
        }
    });
    works(&device);
}

#[test]
fn what_does_not_come_is_aborted_when_its_queue_ends() {
    for fault in [Fault::LostCompletion, Fault::StuckDoorbell] {
        let (card, device) = card([(2, fault)]);
        never_comes(fault, &device);
        device.reset().unwrap();
        works(&device);
        assert_eq!(card.counters().findings, [""; 0], "{fault:?}");
    }
}

#[test]
fn what_comes_late_or_in_another_order_is_delivered_in_order() {
    let faults = [
        (1, Fault::ReorderedCompletion),
        (3, Fault::LateCompletion),
        (4, Fault::ReorderedCompletion),
    ];
    let (_card, device) = card(faults);
    let mut queue = device.open_queue(8).unwrap();
    let submitted = [1, 2, 3, 4, 5, 6].map(|byte| submit(&mut *queue, fill(&device, byte)));
    assert_eq!(queue.wait(submitted[5], LONG), Ok(Wait::Reached));
    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    let seqs: Vec<_> = done.iter().map(|each| each.seq).collect();
    assert_eq!(seqs, submitted);
    for (byte, completion) in (1..).zip(&done) {
        assert!(
            bytes(&completion.list, 0)
                .iter()
                .all(|found| *found == byte)
        );
    }
}

#[test]
fn counts_that_cannot_be_and_corrupted_outputs_are_noticed() {
    for (fault, named) in [
        (Fault::HugeCount, "rows kept"),
        (
            Fault::HugeTrap,
            "a trap of step 0 at row 1099511628775 of 999",
        ),
        (Fault::CorruptData, "corrupted on the way"),
        (Fault::PartialDma, "corrupted on the way"),
    ] {
        let config = Config {
            faults: FaultPlan::none().at(1, fault),
            ..Config::default()
        };
        let card = Model::start(config);
        let mut options = Options::default();
        options.checksums = true;
        let transport = Arc::new(VfioUser::connect(card.path()).unwrap());
        let device = DpuDevice::open(transport, &options).unwrap();
        let exe = filter(&device);
        let mut queue = device.open_queue(1).unwrap();
        let values: Vec<i32> = (1..1000).collect();
        let seq = submit(&mut *queue, filter_list(&device, &exe, &values, 900));
        let lost = queue.wait(seq, LONG).unwrap_err();
        assert!(lost.reason.contains(named), "{fault:?}: {lost}");
        drop(queue);
        device.reset().unwrap();
        works(&device);
    }
}

#[test]
fn a_write_outside_of_what_is_mapped_does_not_arrive() {
    let (card, device) = card([(2, Fault::WriteOutside(0))]);
    writes_outside(&device);
    assert_eq!(card.counters().dma_refused, 1);
}

#[test]
fn what_was_made_before_a_reset_is_void() {
    let (card, device) = card([]);
    let exe = filter(&device);
    let mut queue = device.open_queue(2).unwrap();
    submit(&mut *queue, fill(&device, 1));
    let memory = lease(&device, MemoryKind::Upload, 4096);
    device.reset().unwrap();
    let rejected = queue.submit(fill(&device, 2)).unwrap_err();
    assert!(rejected.reason.to_string().contains("it was reset"));
    let quiesced = queue.quiesce(SHORT);
    assert_eq!((quiesced.completions.len(), quiesced.leaked.len()), (1, 0));
    let mut queue = device.open_queue(2).unwrap();
    let rejected = queue
        .submit(filter_list(&device, &exe, &[1], 2))
        .unwrap_err();
    assert!(rejected.reason.to_string().contains("was reset"));
    // Slabs stay mapped.
    device.register(memory.slab()).unwrap();
    drop((exe, queue));
    works(&device);
    assert_eq!(card.counters().findings, [""; 0]);
}

#[test]
fn who_waits_for_a_list_while_the_card_is_reset_is_told() {
    let (_card, device) = card([(1, Fault::LostCompletion)]);
    let mut queue = device.open_queue(1).unwrap();
    let seq = submit(&mut *queue, fill(&device, 1));
    thread::scope(|scope| {
        let waits = scope.spawn(|| queue.wait(seq, LONG));
        // Until it waits, which nothing tells.
        thread::sleep(Duration::from_millis(50));
        device.reset().unwrap();
        let lost = waits.join().unwrap().unwrap_err();
        assert!(lost.reason.contains("it was reset"), "{lost}");
    });
    assert_eq!(queue.quiesce(SHORT).completions.len(), 1);
    works(&device);
}

#[test]
fn a_server_that_is_gone_is_a_lost_device() {
    let (card, device) = card([]);
    let mut queue = device.open_queue(2).unwrap();
    drop(card);
    let seq = submit(&mut *queue, CommandList::new());
    let lost = queue.wait(seq, LONG).unwrap_err();
    assert!(lost.reason.contains("connection"), "{lost}");
    let quiesced = queue.quiesce(SHORT);
    assert_eq!(quiesced.leaked.len() + quiesced.completions.len(), 1);
    assert!(
        device
            .reset()
            .unwrap_err()
            .to_string()
            .contains("does not come back")
    );
}
