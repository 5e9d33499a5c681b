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
pub const LOSSES: [(Fault, &str); 6] = [
    (Fault::DuplicateCompletion, "not in flight"),
    (Fault::WrongPhase, "wrong phase"),
    (Fault::ResetInTheMiddle, "somebody has reset it"),
    (Fault::Fatal, "stopped by itself"),
    (Fault::ForeignCommandId, "not in flight"),
    (Fault::WildQueueHead, "submission head"),
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

/// Asks a card how it is that says, from the second job on, that it has written more than there was
/// room for.
///
/// # Panics
/// Where it is believed, or the device is not lost for that.
pub fn lies_about_lengths(device: &DpuDevice) -> DeviceLost {
    let mut queue = device.open_queue(1).expect("a queue is free");
    for byte in [1, 2] {
        let done = run(&mut *queue, fill(device, byte));
        assert_eq!(done.outcome, Outcome::Done { written: [].into() });
    }
    let quiesced = queue.quiesce(SHORT);
    assert!(quiesced.completions.is_empty() && quiesced.leaked.is_empty());
    asked_how_it_is(device)
}

/// Asks a card how it is, which answers with a length that cannot be.
///
/// # Panics
/// Where it is believed, or the device is not lost for that.
pub fn asked_how_it_is(device: &DpuDevice) -> DeviceLost {
    let readings = device.readings();
    let Health::Lost(lost) = device.health() else {
        panic!("a huge length goes unnoticed: {readings:?}")
    };
    assert!(
        lost.reason.contains("4294967295 bytes were written"),
        "{lost}"
    );
    let believed = readings.iter().any(|reading| reading.value.is_ok());
    assert!(!believed, "{readings:?}");
    lost
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
