//! A card that fails or lies: results are right or there are none, the device is lost with a reason
//! that says what was seen, every list is accounted for, and a reset brings it back.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use unlade_dpu::{DpuDevice, Options, VfioUser};
use unlade_hal::{CommandList, Device, DeviceLost, Health, Outcome, Quiesced, Wait};
use unlade_sim_card::{Config, Fault, FaultPlan};

/// For what will not come: long enough to see several looks at the card's status.
const SHORT: Duration = Duration::from_millis(500);

/// Runs three fills, of which a fault strikes the second, until the device is lost.
fn lost_by(fault: Fault, device: &DpuDevice) -> (DeviceLost, Quiesced) {
    let mut queue = device.open_queue(4).unwrap();
    let submitted = [1, 2, 3].map(|byte| submit(&mut *queue, fill(device, byte)));
    // Whatever is wrong comes before the end of the third, or instead of it.
    let waited = queue.wait(submitted[2], LONG);
    let Err(lost) = waited else {
        panic!("{fault:?} goes unnoticed: {waited:?}")
    };
    assert_eq!(device.health(), Health::Lost(lost.clone()), "{fault:?}");
    let next = queue.submit(CommandList::new()).unwrap_err();
    assert_eq!(next.reason, lost.clone().into(), "{fault:?}");
    let polled = queue.poll(&mut Vec::new());
    assert_eq!(polled, Err(lost.clone()), "{fault:?}");
    let quiesced = queue.quiesce(SHORT);
    let all = quiesced.completions.len() + quiesced.leaked.len();
    assert_eq!(all, 3, "{fault:?}: lists that are accounted for");
    (lost, quiesced)
}

fn works(device: &DpuDevice) {
    let mut queue = device.open_queue(4).unwrap();
    let exe = filter(device);
    let values: Vec<i32> = (0..100).collect();
    let done = run(&mut *queue, filter_list(device, &exe, &values, 10));
    assert_eq!(
        done.outcome,
        Outcome::Done {
            written: [10].into()
        }
    );
    let quiesced = queue.quiesce(LONG);
    assert!(quiesced.completions.is_empty() && quiesced.leaked.is_empty());
}

#[test]
fn a_card_that_fails_or_lies_is_lost_until_it_is_reset() {
    for (fault, named) in [
        (Fault::DuplicateCompletion, "not in flight"),
        (Fault::WrongPhase, "wrong phase"),
        (Fault::ResetInTheMiddle, "somebody has reset it"),
        (Fault::Fatal, "stopped by itself"),
        (Fault::ForeignCommandId, "not in flight"),
        (Fault::WildQueueHead, "submission head"),
    ] {
        let (card, device) = card([(2, fault)]);
        let (lost, quiesced) = lost_by(fault, &device);
        assert!(lost.reason.contains(named), "{fault:?}: {lost}");
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
    let (lost, quiesced) = lost_by(Fault::Removal, &device);
    assert!(lost.reason.contains("it was removed"), "{lost}");
    // Nobody can say what it still writes.
    let bytes: Vec<u64> = quiesced.leaked.iter().map(|leaked| leaked.bytes).collect();
    assert!(!bytes.is_empty() && bytes.iter().all(|bytes| *bytes == 4096));
    assert!(device.reset().is_err());
    assert!(device.allocate(unlade_hal::MemoryKind::Upload, 1).is_err());
    assert!(device.open_queue(1).is_err());
}

#[test]
fn what_does_not_come_is_aborted_when_its_queue_ends() {
    for fault in [Fault::LostCompletion, Fault::StuckDoorbell] {
        let (card, device) = card([(2, fault)]);
        let mut queue = device.open_queue(4).unwrap();
        let mut send = |byte| submit(&mut *queue, fill(&device, byte));
        let (first, second) = (send(1), send(2));
        assert_eq!(queue.wait(first, LONG), Ok(Wait::Reached), "{fault:?}");
        // Whether the job is done at which the doorbell sticks is the card's business.
        let _either = queue.wait(second, SHORT);
        let third = submit(&mut *queue, fill(&device, 3));
        let waited = queue.wait(third, SHORT);
        assert_eq!(waited, Ok(Wait::TimedOut), "{fault:?}");
        let quiesced = queue.quiesce(SHORT);
        assert_eq!(quiesced.leaked, [], "{fault:?}");
        let seqs: Vec<_> = quiesced.completions.iter().map(|each| each.seq).collect();
        assert_eq!(seqs, [first, second, third], "{fault:?}");
        let aborted = |outcome: &Outcome| matches!(outcome, Outcome::Aborted(_));
        assert!(!aborted(&quiesced.completions[0].outcome), "{fault:?}");
        let late = &quiesced.completions[1..];
        assert!(late.iter().any(|each| aborted(&each.outcome)), "{fault:?}");
        assert_eq!(device.health(), Health::Ready, "{fault:?}");
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
    let (card, device) = card([(1, Fault::WriteOutside(0))]);
    let mut queue = device.open_queue(1).unwrap();
    let done = run(&mut *queue, fill(&device, 1));
    assert_eq!(done.outcome, Outcome::Done { written: [].into() });
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
