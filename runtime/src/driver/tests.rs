use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use unlade_cpu::CpuDevice;
use unlade_hal::{DeviceError, DeviceWrapper, Leaked, Quiesced, Rejected, Timing};

use super::*;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// So long for a list, and for all else longer than any test takes.
fn within(list: Duration) -> Patience {
    Patience { list, driver: LONG }
}

fn never() -> bool {
    false
}

/// A driver with a queue.
fn opened(device: &Arc<dyn Device>) -> Driver {
    let driver = Driver::new(4);
    let open = driver.open(device, driver.lock(), LONG, never);
    drop(open.expect("it opens one at once"));
    driver
}

#[test]
fn lists_of_two_threads_are_on_the_device_together() {
    let device: Arc<dyn Device> = Meeting::of(2);
    let driver = Driver::new(4);
    thread::scope(|scope| {
        let run = || {
            driver
                .run(&device, CommandList::new(), within(LONG), never)
                .unwrap()
        };
        let first = scope.spawn(run);
        let second = scope.spawn(run);
        let seqs = [first, second].map(|thread| thread.join().unwrap().completion.seq);
        assert_ne!(seqs[0], seqs[1]);
    });
    assert_eq!(driver.in_flight(), 0);
}

/// The queue is in the hands of a thread with time, which does not see that the other's is up.
#[test]
fn a_thread_whose_time_is_up_ends_the_queue_that_another_drives() {
    let device: Arc<dyn Device> = Meeting::of(3);
    let driver = Driver::new(4);
    thread::scope(|scope| {
        let patient = scope.spawn(|| driver.run(&device, CommandList::new(), within(LONG), never));
        while driver.in_flight() == 0 {
            thread::yield_now();
        }
        let hasty =
            scope.spawn(|| driver.run(&device, CommandList::new(), within(20 * SHORTEST), never));
        for thread in [patient, hasty] {
            let Err(Undone::Lost(lost)) = thread.join().unwrap() else {
                panic!("a list that was never completed is lost");
            };
            assert_eq!(lost.reason, "no completion within 20ms");
        }
    });
    assert_eq!((driver.in_flight(), driver.leaked_bytes()), (0, 2));
}

#[test]
fn a_queue_that_another_thread_drives_is_closed() {
    let device: Arc<dyn Device> = Meeting::of(2);
    let driver = Driver::new(4);
    let closed = DeviceLost {
        device: "meeting".to_owned(),
        reason: "closed".to_owned(),
    };
    thread::scope(|scope| {
        let run = scope.spawn(|| driver.run(&device, CommandList::new(), within(LONG), never));
        while driver.in_flight() == 0 {
            thread::yield_now();
        }
        driver.close(closed.clone());
        assert!(matches!(run.join().unwrap(), Err(Undone::Lost(lost)) if lost == closed));
    });
}

#[test]
fn a_list_that_was_given_up_is_waited_for_by_another_and_its_completion_kept_by_nobody() {
    let device: Arc<dyn Device> = Meeting::of(2);
    let driver = opened(&device);
    let Err(Undone::GivenUp(point)) =
        driver.run(&device, CommandList::new(), within(LONG), || true)
    else {
        panic!("nobody waits for it");
    };
    assert_eq!(driver.in_flight(), 1);
    thread::scope(|scope| {
        let collects = scope.spawn(|| driver.collect(&*device, point, LONG));
        driver
            .run(&device, CommandList::new(), within(LONG), never)
            .unwrap();
        collects.join().unwrap().unwrap();
    });
    assert_eq!(driver.in_flight(), 0);
    assert!(driver.lock().done.is_empty());
    // What is back need not be waited for.
    driver.collect(&*device, point, LONG).unwrap();
}

#[test]
fn a_list_that_was_given_up_has_its_time_all_the_same() {
    let device: Arc<dyn Device> = Meeting::of(2);
    let driver = opened(&device);
    let time = 20 * SHORTEST;
    let Err(Undone::GivenUp(point)) =
        driver.run(&device, CommandList::new(), within(time), || true)
    else {
        panic!("nobody waits for it");
    };
    let lost = driver.collect(&*device, point, time).unwrap_err();
    assert_eq!(lost.reason, "no completion within 20ms");
    assert_eq!((driver.in_flight(), driver.leaked_bytes()), (0, 1));
}

#[test]
fn who_waits_looks_up_less_often_the_longer_a_list_takes_but_never_past_a_deadline() {
    let start = Instant::now();
    let millis = Duration::from_millis;
    let slice_at = |age: u64, deadlines: &[u64]| {
        let deadlines = deadlines.iter().map(|at| start + millis(*at));
        slice(start + millis(age), start, deadlines)
    };
    assert_eq!(slice_at(0, &[60_000]), SHORTEST);
    assert_eq!(slice_at(20, &[60_000]), millis(5));
    assert_eq!(slice_at(1000, &[60_000]), LONGEST);
    // The nearest counts, not that of the list itself.
    assert_eq!(slice_at(20, &[60_000, 23, 40]), millis(3));
    assert_eq!(slice_at(20, &[60_000, 20]), Duration::ZERO);
    assert_eq!(slice_at(20, &[60_000, 19]), Duration::ZERO);
}

#[test]
fn the_queue_of_a_driver_that_is_dropped_is_ended() {
    let meeting = Meeting::of(1);
    let device: Arc<dyn Device> = meeting.clone();
    let driver = Driver::new(4);
    driver
        .run(&device, CommandList::new(), within(LONG), never)
        .unwrap();
    assert_eq!(meeting.ended.load(Ordering::SeqCst), 0);
    drop(driver);
    assert_eq!(meeting.ended.load(Ordering::SeqCst), 1);
}

#[test]
fn a_queue_that_is_not_opened_holds_nobody_up_and_is_used_once_it_is() {
    let meeting = Meeting::of(1);
    let device: Arc<dyn Device> = meeting.clone();
    let driver = Driver::new(4);
    let held = meeting.gate.lock().unwrap();
    let run = |driver_may: Duration, given_up: &dyn Fn() -> bool| {
        let patience = Patience {
            list: LONG,
            driver: driver_may,
        };
        driver.run(&device, CommandList::new(), patience, given_up)
    };
    assert!(matches!(run(LONG, &|| true), Err(Undone::NotBegun)));
    let short = Duration::from_millis(5);
    let Err(Undone::Lost(lost)) = run(short, &never) else {
        panic!("it is late");
    };
    assert_eq!(lost.reason, "its driver opened no queue within 5ms");
    // Whoever looks on, or ends it, waits for nothing; and the next one for the same queue.
    driver.close(lost);
    assert_eq!(driver.in_flight(), 0);
    let first = driver.lock().opening.clone().unwrap();
    assert!(matches!(run(short, &never), Err(Undone::Lost(_))));
    assert!(Arc::ptr_eq(driver.lock().opening.as_ref().unwrap(), &first));
    drop(held);
    run(LONG, &never).unwrap();
    assert_eq!(driver.lock().generation, 1);
}

#[test]
fn a_queue_of_a_device_as_it_was_before_a_reset_is_not_used() {
    let meeting = Meeting::of(1);
    let device: Arc<dyn Device> = meeting.clone();
    let driver = Driver::new(4);
    let held = meeting.gate.lock().unwrap();
    let given_up = driver.run(&device, CommandList::new(), within(LONG), || true);
    assert!(matches!(given_up, Err(Undone::NotBegun)));
    driver.forget_opening();
    drop(held);
    driver
        .run(&device, CommandList::new(), within(LONG), never)
        .unwrap();
    assert_eq!(driver.lock().generation, 1);
    // It is ended all the same, and so is one that is there and nobody has taken.
    let ended = |queues: u32| {
        while meeting.ended.load(Ordering::SeqCst) < queues {
            thread::yield_now();
        }
    };
    ended(1);
    drop(driver);
    ended(2);
    let driver = Driver::new(4);
    let given_up = driver.run(&device, CommandList::new(), within(LONG), || true);
    if let Err(Undone::NotBegun) = given_up {
        let opening = driver.lock().opening.clone().expect("it is being opened");
        assert_eq!(opening.wait(LONG, never), Waited::Ended);
    }
    drop(driver);
    ended(3);
}

/// Completes lists by the group: none before the last of a group is there.
#[derive(Debug)]
struct Meeting {
    /// Stands in for all that does not matter here.
    cpu: CpuDevice,
    group: usize,
    /// Queues that were ended, not only dropped.
    ended: Arc<AtomicU32>,
    /// While this is held no queue is opened.
    gate: Mutex<()>,
}

impl Meeting {
    fn of(group: usize) -> Arc<Self> {
        Arc::new(Meeting {
            cpu: CpuDevice::new(),
            group,
            ended: Arc::default(),
            gate: Mutex::default(),
        })
    }
}

impl DeviceWrapper for Meeting {
    fn inner(&self) -> &dyn Device {
        &self.cpu
    }

    fn open_queue(&self, _: u32) -> Result<Box<dyn Queue>, DeviceError> {
        drop(self.gate.lock());
        Ok(Box::new(MeetingQueue {
            group: self.group,
            ended: Arc::clone(&self.ended),
            present: Vec::new(),
            next: Seq::FIRST,
            left: Seq::FIRST,
        }))
    }
}

#[derive(Debug)]
struct MeetingQueue {
    group: usize,
    ended: Arc<AtomicU32>,
    present: Vec<(Seq, CommandList)>,
    next: Seq,
    /// Lists before this are back.
    left: Seq,
}

impl Queue for MeetingQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        let seq = self.next;
        self.next = seq.next();
        self.present.push((seq, list));
        Ok(seq)
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        if self.present.len() >= self.group {
            let lists = self.present.drain(..self.group);
            done.extend(lists.map(|(seq, list)| Completion {
                seq,
                list,
                outcome: Outcome::Done {
                    written: Box::default(),
                },
                timing: Timing::default(),
            }));
            self.left = done.last().expect("a group has members").seq.next();
        }
        Ok(())
    }

    /// Lists come back in order, so that nobody has a reason to wait for another than the first.
    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        assert!(self.present.iter().all(|(present, _)| seq <= *present));
        if seq < self.left || self.present.len() >= self.group {
            return Ok(Wait::Reached);
        }
        thread::sleep(timeout);
        Ok(Wait::TimedOut)
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Counts a byte for each list.
    fn quiesce(self: Box<Self>, _: Duration) -> Quiesced {
        self.ended.fetch_add(1, Ordering::SeqCst);
        let leaked = self.present.iter().map(|(seq, _)| Leaked {
            seq: *seq,
            bytes: 1,
        });
        Quiesced {
            completions: Vec::new(),
            leaked: leaked.collect(),
        }
    }
}
