//! Two cards at once.

use std::thread;

use unlade_dpu::DpuDevice;
use unlade_hal::{Command, CommandList, Device, MemoryKind, Outcome, Slot, Wait};
use unlade_tests::cards::{
    LONG, STATUS_AFTER, bytes, fill, filter, filter_list, lease, run, span, submit, values,
};

use super::open;

/// Lists that each card is given.
const ROUNDS: i32 = 50;

pub(crate) fn check(first: &str, second: &str) -> Result<String, String> {
    let (first, second) = (open(first)?, open(second)?);
    if first.info().description == second.info().description {
        return Err(format!("both say {}", first.info().description));
    }
    thread::scope(|scope| {
        let works = [(&first, 1), (&second, 2)]
            .map(|(device, byte)| scope.spawn(move || work(device, byte)));
        works.map(|work| {
            work.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    });
    hand_over(&first, &second);
    Ok(format!(
        "{}; {}; each had {ROUNDS} rounds of its own, and one read what the other wrote",
        first.info().description,
        second.info().description
    ))
}

/// Rounds of a fill and a filter, whose results are this card's and nobody else's.
fn work(device: &DpuDevice, byte: u8) {
    let exe = filter(device);
    let input: Vec<i32> = (0..500).map(|row| i32::from(byte) * row).collect();
    let mut queue = device.open_queue(8).expect("a queue is free");
    for below in 0..ROUNDS {
        submit(&mut *queue, fill(device, byte));
        let second = submit(&mut *queue, filter_list(device, &exe, &input, below));
        assert_eq!(queue.wait(second, LONG), Ok(Wait::Reached));
        let mut done = Vec::new();
        queue.poll(&mut done).expect("the device is there");
        let [filled, filtered] = &done[..] else {
            panic!("{} lists are delivered", done.len())
        };
        assert!(bytes(&filled.list, 0).iter().all(|found| *found == byte));
        let wanted: Vec<i32> = input
            .iter()
            .copied()
            .filter(|value| *value < below)
            .collect();
        let written = [wanted.len() as u64].into();
        assert_eq!(filtered.outcome, Outcome::Done { written });
        let after = usize::try_from(STATUS_AFTER).expect("a page");
        assert_eq!(values(&filtered.list, 1, after, wanted.len()), wanted);
    }
    assert!(queue.quiesce(LONG).leaked.is_empty());
}

/// What one card has written the other reads, at an address of its own.
fn hand_over(first: &DpuDevice, second: &DpuDevice) {
    let mut queue = first.open_queue(1).expect("a queue is free");
    let filled = run(&mut *queue, fill(first, 0x5A));
    let Some(Slot::Owned(memory)) = filled.list.slots.into_iter().next() else {
        panic!("the slot of a fill is owned")
    };
    second.register(memory.slab()).expect("it can be mapped");
    let mut list = CommandList::new();
    let from = list.slot(Slot::Owned(memory));
    let to = list.slot(Slot::Owned(lease(second, MemoryKind::Readback, 4096)));
    list.push(Command::Copy {
        from: span(from, 0..4096),
        to: span(to, 0..4096),
    });
    let mut queue = second.open_queue(1).expect("a queue is free");
    let copied = run(&mut *queue, list);
    assert_eq!(copied.outcome, Outcome::Done { written: [].into() });
    assert!(bytes(&copied.list, 1).iter().all(|byte| *byte == 0x5A));
}
