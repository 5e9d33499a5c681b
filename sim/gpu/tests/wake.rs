//! The event of a queue of the GPU's device, on the simulated driver: whoever waits for it learns of
//! every list's end, whenever streams run.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use unlade_cuda::CudaDevice;
use unlade_hal::{
    Command, CommandList, Completion, Device, MemoryKind, Queue, Seq, Slot, Span, Wait,
};
use unlade_sim_fault::FaultPlan;
use unlade_sim_gpu::{Driver, DriverConfig, DriverFault, Mode, Profile};

const MODES: [Mode; 3] = [Mode::Eager, Mode::Lazy, Mode::Concurrent];
const LONG: Duration = Duration::from_secs(60);
const LISTS: usize = 7;

/// The driver is the process's: one test at a time has it, and begins anew.
fn device(mode: Mode, seed: u64) -> (MutexGuard<'static, ()>, CudaDevice) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = DriverConfig::default().with_devices([Profile::h200()]);
    Driver::get().restart(config.with_mode(mode).with_seed(seed));
    (guard, unlade_cuda::open(0).expect("it is found"))
}

/// Fills memory of the GPU, and brings it back.
fn list(device: &CudaDevice, byte: u8) -> CommandList {
    let mut list = CommandList::new();
    let mut slot = |kind| {
        let slab = device.allocate(kind, 64).expect("there is room");
        list.slot(Slot::Owned(slab.lease_whole().expect("it is new")))
    };
    let (local, back) = (slot(MemoryKind::DeviceLocal), slot(MemoryKind::Readback));
    let span = |slot| Span { slot, bytes: 0..64 };
    list.push(Command::Fill {
        to: span(local),
        byte,
    });
    list.push(Command::Copy {
        from: span(local),
        to: span(back),
    });
    list
}

fn submit(device: &CudaDevice, queue: &mut dyn Queue, byte: u8) -> Seq {
    queue.submit(list(device, byte)).expect("it is accepted")
}

fn completed(queue: &mut dyn Queue) -> Vec<Completion> {
    let mut done = Vec::new();
    queue.poll(&mut done).expect("the device is there");
    done
}

/// Whether it is readable within a moment.
fn is_readable(event: BorrowedFd<'_>) -> bool {
    let moment = Timespec::try_from(Duration::from_millis(1)).expect("a moment");
    let mut events = [PollFd::new(&event, PollFlags::IN)];
    poll(&mut events, Some(&moment)).expect("it is open") == 1
}

fn told(queue: &dyn Queue) -> bool {
    is_readable(queue.wake_fd().expect("there is a descriptor"))
}

/// Descriptors of events that this process has open.
fn events() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("this is Linux");
    let names = open.filter_map(|each| std::fs::read_link(each.ok()?.path()).ok());
    names
        .filter(|name| name.to_string_lossy().contains("[eventfd]"))
        .count()
}

#[test]
fn a_list_that_ends_at_once_is_told_of_at_once() {
    let (_one, device) = device(Mode::Eager, 1);
    let mut queue = device.open_queue(8).expect("a queue");
    assert!(told(&*queue), "something may have ended before");
    assert!(completed(&mut *queue).is_empty());
    assert!(!told(&*queue), "a poll resets it");
    for byte in 0..3 {
        submit(&device, &mut *queue, byte);
        assert!(told(&*queue));
        assert!(told(&*queue), "looking at it changes nothing");
        assert_eq!(completed(&mut *queue).len(), 1);
        assert!(!told(&*queue));
    }
    // A list of nothing ends where it is submitted.
    queue.submit(CommandList::new()).expect("it is accepted");
    assert!(told(&*queue));
    assert_eq!(completed(&mut *queue).len(), 1);
}

#[test]
fn who_waits_for_the_event_has_all_lists() {
    for mode in MODES {
        for seed in 0..10 {
            let (_one, device) = device(mode, seed);
            let before = events();
            let mut queue = device.open_queue(8).expect("a queue");
            assert!(told(&*queue));
            let wanted: Vec<Seq> = (0..LISTS)
                .map(|byte| submit(&device, &mut *queue, byte as u8))
                .collect();
            let mut done = Vec::new();
            while done.len() < LISTS {
                // Streams run when the driver is called, which waiting does not.
                told(&*queue);
                done.extend(completed(&mut *queue));
            }
            let found: Vec<Seq> = done.iter().map(|completion| completion.seq).collect();
            assert_eq!(found, wanted, "{mode:?} {seed}");
            for (byte, completion) in done.iter().enumerate() {
                let Slot::Owned(back) = &completion.list.slots[1] else {
                    panic!("an owned slot comes back owned")
                };
                let bytes = back.bytes().expect("it is the host's");
                assert!(bytes[..64].iter().all(|found| usize::from(*found) == byte));
            }
            assert_eq!(Driver::get().calls()["cuLaunchHostFunc"], LISTS as u64);
            assert!(queue.quiesce(LONG).leaked.is_empty());
            // Streams end when something is next asked for; with them what was to be told.
            drop(done);
            drop(device.allocate(MemoryKind::DeviceLocal, 1));
            assert_eq!(events(), before, "{mode:?} {seed}");
        }
    }
}

#[test]
fn a_list_in_flight_is_told_of_to_who_asks_later() {
    for mode in [Mode::Lazy, Mode::Concurrent] {
        let (_one, device) = device(mode, 2);
        let mut queue = device.open_queue(8).expect("a queue");
        submit(&device, &mut *queue, 1);
        assert!(!Driver::get().calls().contains_key("cuLaunchHostFunc"));
        assert!(told(&*queue), "it may have ended before");
        assert_eq!(Driver::get().calls()["cuLaunchHostFunc"], 1);
        while completed(&mut *queue).is_empty() {}
        // Behind the point that was asked for comes the telling, before what comes later.
        let last = submit(&device, &mut *queue, 2);
        assert_eq!(queue.wait(last, LONG), Ok(Wait::Reached));
        assert!(told(&*queue), "{mode:?}");
    }
}

#[test]
fn who_does_not_ask_has_no_function_called() {
    let (_one, device) = device(Mode::Concurrent, 3);
    let mut queue = device.open_queue(8).expect("a queue");
    let seq = submit(&device, &mut *queue, 1);
    assert_eq!(queue.wait(seq, LONG), Ok(Wait::Reached));
    assert!(!Driver::get().calls().contains_key("cuLaunchHostFunc"));
}

#[test]
fn a_loss_is_told_of_on_every_queue() {
    for mode in MODES {
        let (_one, device) = device(mode, 4);
        let mut queues = [(); 2].map(|()| device.open_queue(8).expect("a queue"));
        for queue in &mut queues {
            assert!(told(&**queue));
            assert!(completed(&mut **queue).is_empty());
            assert!(!told(&**queue));
        }
        Driver::get().set_faults(FaultPlan::nth(1, DriverFault::ContextLost));
        device
            .allocate(MemoryKind::DeviceLocal, 64)
            .expect_err("the context is lost");
        for queue in &mut queues {
            assert!(told(&**queue), "{mode:?}");
            assert!(queue.poll(&mut Vec::new()).is_err());
        }
    }
}

#[test]
fn a_call_that_fails_loses_the_device() {
    for mode in MODES {
        for nth in 1..60 {
            let (_one, device) = device(mode, 5);
            let mut queue = device.open_queue(8).expect("a queue");
            assert!(told(&*queue));
            let list = list(&device, 1);
            Driver::get().set_faults(FaultPlan::nth(nth, DriverFault::ContextLost));
            let submitted = queue.submit(list);
            let struck = Driver::get().struck();
            Driver::get().set_faults(FaultPlan::none());
            match struck.first() {
                Some(&"cuLaunchHostFunc") => {
                    assert!(submitted.is_ok(), "the list is in flight, on a lost device");
                    assert!(told(&*queue));
                    assert!(queue.poll(&mut Vec::new()).is_err());
                    assert_eq!(queue.quiesce(Duration::ZERO).leaked.len(), 1);
                    break;
                }
                Some(_) => {}
                None => panic!("{mode:?}: the call is never made"),
            }
        }
    }
}
