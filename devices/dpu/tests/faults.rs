//! A card that fails or lies: results are right or there are none, the device is lost with a reason
//! that says what was seen, every list is accounted for, and a reset brings it back.

mod common;

use std::sync::Arc;

use common::*;
use unlade_dpu::{DpuDevice, Options, VfioUser};
use unlade_hal::{CommandList, Device, Health, Wait};
use unlade_sim_card::{Config, Fault, FaultPlan};

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
fn a_card_that_is_gone_does_not_come_back() {
    let (_card, device) = card([(2, Fault::Removal)]);
    removed(&device);
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
    let memory = lease(&device, unlade_hal::MemoryKind::Upload, 4096);
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
