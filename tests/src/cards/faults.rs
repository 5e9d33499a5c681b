//! What the driver must make of a card that fails: results are right or there are none, the device
//! is lost with a reason that says what was seen, every list is accounted for, and a reset brings it
//! back, unless it was removed. On a card of which that fault strikes the second job.

use std::time::Duration;

use unlade_dpu::DpuDevice;
use unlade_hal::{
    CommandList, Device, DeviceLost, Health, MemoryKind, Outcome, Quiesced, Seq, Wait,
};
use unlade_sim_card::Fault;

use super::lists::{LONG, bytes, fill, filter, filter_list, run, submit};

/// For what will not come: long enough to see several looks at the card's status.
pub const SHORT: Duration = Duration::from_millis(500);

/// Faults by which a card is lost until it is reset, and what the reason names.
pub const LOSSES: [(Fault, &str); 8] = [
    (Fault::DuplicateCompletion, "not in flight"),
    (Fault::WrongPhase, "wrong phase"),
    (Fault::ResetInTheMiddle, "somebody has reset it"),
    (Fault::Fatal, "stopped by itself"),
    (Fault::ForeignCommandId, "not in flight"),
    (Fault::WildQueueHead, "submission head"),
    (Fault::HugeSteps, "success of 4294967295 steps"),
    (Fault::HugeReport, "4294967295 of"),
];

/// Runs three fills until the device is lost, for the reason that is named.
///
/// # Panics
/// Where the driver makes something else of it.
pub fn lost_by(fault: Fault, named: &str, device: &DpuDevice) -> (DeviceLost, Quiesced) {
    let mut queue = device.open_queue(4).expect("a queue is free");
    let submitted = [1, 2, 3].map(|byte| submit(&mut *queue, fill(device, byte)));
    // Whatever is wrong comes before the end of the third, or instead of it.
    let waited = queue.wait(submitted[2], LONG);
    let Err(lost) = waited else {
        panic!("{fault:?} goes unnoticed: {waited:?}")
    };
    assert!(lost.reason.contains(named), "{fault:?}: {lost}");
    assert_eq!(device.health(), Health::Lost(lost.clone()), "{fault:?}");
    let next = queue
        .submit(CommandList::new())
        .expect_err("a lost device takes nothing");
    assert_eq!(next.reason, lost.clone().into(), "{fault:?}");
    let polled = queue.poll(&mut Vec::new());
    assert_eq!(polled, Err(lost.clone()), "{fault:?}");
    let quiesced = queue.quiesce(SHORT);
    let all = quiesced.completions.len() + quiesced.leaked.len();
    assert_eq!(all, 3, "{fault:?}: lists that are accounted for");
    (lost, quiesced)
}

/// Has the device lose a card that is gone, and not find it again.
///
/// # Panics
/// Where the driver makes something else of it.
pub fn removed(device: &DpuDevice) {
    let (_, quiesced) = lost_by(Fault::Removal, "it was removed", device);
    // All memory was taken from it, so that it writes nothing any more.
    assert_eq!(quiesced.leaked, []);
    assert!(device.reset().is_err());
    assert!(device.allocate(MemoryKind::Upload, 1).is_err());
    assert!(device.open_queue(1).is_err());
}

/// Ends a queue on which some completion does not come.
///
/// # Panics
/// Where the driver makes something else of it.
pub fn never_comes(fault: Fault, device: &DpuDevice) {
    let mut queue = device.open_queue(4).expect("a queue is free");
    let mut send = |byte| submit(&mut *queue, fill(device, byte));
    let (first, second) = (send(1), send(2));
    assert_eq!(queue.wait(first, LONG), Ok(Wait::Reached), "{fault:?}");
    // Whether the job is done at which a doorbell sticks is the card's business.
    let _either = queue.wait(second, SHORT);
    let third = submit(&mut *queue, fill(device, 3));
    let waited = queue.wait(third, SHORT);
    assert_eq!(waited, Ok(Wait::TimedOut), "{fault:?}");
    let quiesced = queue.quiesce(SHORT);
    assert_eq!(quiesced.leaked, [], "{fault:?}");
    let seqs: Vec<Seq> = quiesced.completions.iter().map(|each| each.seq).collect();
    assert_eq!(seqs, [first, second, third], "{fault:?}");
    let aborted = |outcome: &Outcome| matches!(outcome, Outcome::Aborted(_));
    assert!(!aborted(&quiesced.completions[0].outcome), "{fault:?}");
    let late = &quiesced.completions[1..];
    assert!(late.iter().any(|each| aborted(&each.outcome)), "{fault:?}");
    assert_eq!(device.health(), Health::Ready, "{fault:?}");
}

/// Faults that only who asks a card how it is gets to see, or who resets it.
pub const SAID_WHEN_ASKED: [Fault; 3] = [Fault::HugeLength, Fault::HugeList, Fault::HugeIdentity];

/// Asks a card how it is that lies about that from the second job on. Gives what is said of it.
///
/// # Panics
/// Where it is believed, or the device is not lost for that.
pub fn lies_about_lengths(fault: Fault, device: &DpuDevice) -> String {
    let mut queue = device.open_queue(1).expect("a queue is free");
    for byte in [1, 2] {
        let done = run(&mut *queue, fill(device, byte));
        assert_eq!(done.outcome, Outcome::Done { written: [].into() });
    }
    let quiesced = queue.quiesce(SHORT);
    assert!(quiesced.completions.is_empty() && quiesced.leaked.is_empty());
    asked_how_it_is(fault, device)
}

/// Asks a card how it is, which answers with a length that cannot be. Gives what is said of it; a reset
/// brings the card back.
///
/// # Panics
/// Where it is believed, or the device is not lost for that.
pub fn asked_how_it_is(fault: Fault, device: &DpuDevice) -> String {
    let lost = || match device.health() {
        Health::Lost(lost) => lost.reason,
        Health::Ready => panic!("{fault:?} goes unnoticed"),
    };
    let (said, named) = match fault {
        Fault::HugeLength => {
            let readings = device.readings();
            let believed = readings.iter().any(|reading| reading.value.is_ok());
            assert!(!believed, "{readings:?}");
            (lost(), "4294967295 bytes were written")
        }
        Fault::HugeList => {
            assert_eq!(device.errors(), Ok(vec![]), "of a card that lies");
            (lost(), "(4294967295, 4294967295)")
        }
        // It is asked who it is when it is enabled again.
        Fault::HugeIdentity => {
            let said = device.reset().expect_err("it is another card");
            (said.to_string(), "IDENTIFY says an alignment of 4294967295")
        }
        other => panic!("{other:?} is seen without asking"),
    };
    assert!(said.contains(named), "{fault:?}: {said}");
    said
}

/// Has a card write where it was not told to, and be none the worse for it.
///
/// # Panics
/// Where that comes to the host's notice.
pub fn writes_outside(device: &DpuDevice) {
    let mut queue = device.open_queue(1).expect("a queue is free");
    for byte in [1, 2] {
        let done = run(&mut *queue, fill(device, byte));
        assert_eq!(done.outcome, Outcome::Done { written: [].into() });
        assert!(bytes(&done.list, 0).iter().all(|found| *found == byte));
    }
}

/// Runs a filter on a queue of its own.
///
/// # Panics
/// Where the result is wrong.
pub fn works(device: &DpuDevice) {
    let mut queue = device.open_queue(4).expect("a queue is free");
    let exe = filter(device);
    let values: Vec<i32> = (0..100).collect();
    let done = run(&mut *queue, filter_list(device, &exe, &values, 10));
    let written = [10].into();
    assert_eq!(done.outcome, Outcome::Done { written });
    let quiesced = queue.quiesce(LONG);
    assert!(quiesced.completions.is_empty() && quiesced.leaked.is_empty());
}
