//! The memory of the GPU's device, `unlade-cuda`, on the simulated driver: whose it is, when it goes
//! back, and what is said when there is none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use unlade_hal::{
    AllocError, Command, CommandList, Device, Health, MemoryKind, PageSize, RejectReason, Slab,
    Slot, Span,
};
use unlade_sim_gpu::{Driver, DriverConfig, Mode, Profile};

/// The driver is the process's: one test at a time has it, and begins anew.
fn driver(gpus: usize) -> (MutexGuard<'static, ()>, Driver) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let gpus = std::iter::repeat_with(Profile::h200).take(gpus);
    let config = DriverConfig::default().with_devices(gpus);
    Driver::get().restart(config.with_mode(Mode::Lazy));
    (guard, Driver::get())
}

#[test]
fn what_is_dropped_goes_back_when_something_is_next_asked_for() {
    let (_one, driver) = driver(1);
    let gpu = unlade_cuda::open(0).unwrap();
    let before = driver.alive();
    for _ in 0..3 {
        let memory = gpu.allocate(MemoryKind::DeviceLocal, 1 << 20).unwrap();
        let upload = gpu.allocate(MemoryKind::Upload, 1 << 20).unwrap();
        let queue = gpu.open_queue(4).unwrap();
        drop((memory, upload, queue));
    }
    assert_eq!(gpu.used_memory(), 1 << 20, "only what was dropped last");
    let _upload = gpu.allocate(MemoryKind::Upload, 1).unwrap();
    let after = driver.alive();
    assert_eq!(gpu.used_memory(), 0);
    assert_eq!(after.allocations, before.allocations);
    assert_eq!(after.streams, before.streams);
    assert_eq!(after.events, before.events);
    assert_eq!(after.host_ranges, before.host_ranges + 1);
}

/// As for a pool that needs more than its reserve, while nothing else is asked of the GPU.
#[test]
fn pages_that_were_dropped_are_unpinned_as_others_are_pinned() {
    let (_one, driver) = driver(1);
    let gpu = unlade_cuda::open(0).unwrap();
    let before = driver.alive().host_ranges;
    for _ in 0..5 {
        let pages = Slab::host(MemoryKind::Upload, 4096, PageSize::Base).unwrap();
        gpu.register(&pages).unwrap();
        assert_eq!(driver.alive().host_ranges, before + 1);
    }
}

#[test]
fn memory_of_one_gpu_is_refused_by_another() {
    let (_one, _driver) = driver(2);
    let gpus = [0, 1].map(|ordinal| unlade_cuda::open(ordinal).unwrap());
    let memory = gpus[0].allocate(MemoryKind::DeviceLocal, 4096).unwrap();
    let mut queue = gpus[1].open_queue(1).unwrap();
    let rejected = queue.submit(fill(&memory)).unwrap_err();
    let RejectReason::Invalid(what) = rejected.reason else {
        panic!("{:?}", rejected.reason);
    };
    assert!(what.contains("did not allocate"), "{what}");
    // Memory of the host is every GPU's, once it is one's.
    let upload = gpus[0].allocate(MemoryKind::Upload, 4096).unwrap();
    gpus[1].register(&upload).unwrap();
    queue.submit(fill(&upload)).unwrap();
}

/// A list that fills a slab's first page.
fn fill(slab: &Slab) -> CommandList {
    let mut list = CommandList::new();
    let slot = list.slot(Slot::Owned(slab.lease_whole().unwrap()));
    let to = Span {
        slot,
        bytes: 0..4096,
    };
    list.push(Command::Fill { to, byte: 1 });
    list
}

#[test]
fn a_gpu_that_is_full_says_how_much_is_free_and_goes_on() {
    let (_one, _driver) = driver(1);
    let gpu = unlade_cuda::open(0).unwrap();
    let all = gpu.info().memory;
    let refused = gpu.allocate(MemoryKind::DeviceLocal, all + 1).unwrap_err();
    let AllocError::OutOfMemory { asked, free } = refused else {
        panic!("{refused:?}");
    };
    assert!(asked > all && free <= all);
    assert!(gpu.allocate(MemoryKind::DeviceLocal, 0).is_err());
    assert_eq!(gpu.health(), Health::Ready);
    assert!(gpu.allocate(MemoryKind::DeviceLocal, 4096).is_ok());
}
