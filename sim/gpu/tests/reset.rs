//! A GPU that an error has spoilt is brought back, and computes what it did before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::{Int32Array, RecordBatch};
use unlade_cpu::CpuDevice;
use unlade_cuda::CudaDevice;
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::{
    AllocError, Command, CommandList, Device, DeviceAddr, DeviceError, Health, MemoryKind,
    PageSize, RejectReason, Slab, Slot, SlotId, Span,
};
use unlade_runtime::{Fallback, Path, Placement, Runtime};
use unlade_sim_fault::FaultPlan;
use unlade_sim_gpu::{Driver, DriverConfig, DriverFault, Mode, Profile};

const MODES: [Mode; 3] = [Mode::Eager, Mode::Lazy, Mode::Concurrent];

/// The driver is the process's: one test at a time has it, and begins anew.
fn driver(mode: Mode, gpus: usize) -> (MutexGuard<'static, ()>, Driver) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = DriverConfig::default().with_devices(vec![Profile::h200(); gpus]);
    Driver::get().restart(config.with_mode(mode).with_seed(3));
    (guard, Driver::get())
}

fn open(ordinal: u32) -> CudaDevice {
    unlade_cuda::open(ordinal).expect("the simulated driver is found")
}

/// Spoils a device's context by a call that fails.
fn spoil(driver: Driver, device: &CudaDevice, fault: DriverFault) {
    driver.set_faults(FaultPlan::nth(1, fault));
    let failed = device.allocate(MemoryKind::DeviceLocal, 4096).unwrap_err();
    assert!(matches!(failed, AllocError::Lost(_)), "{failed}");
    assert!(matches!(device.health(), Health::Lost(_)));
    driver.set_faults(FaultPlan::none());
}

fn runtime(device: &CudaDevice) -> Runtime {
    let name = device.info().name.as_str().into();
    Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(Arc::new(device.clone()))
        .placement(Placement::Device(name))
        .fallback(Fallback::Forbid)
        .pool_reserve(1 << 20)
        .build()
        .expect("a runtime")
}

/// A query, which ran on the device and nowhere else.
fn run(runtime: &Runtime) -> RecordBatch {
    let query = Query::filter(parse_expr("a % 3 = 0").expect("a filter"))
        .select(parse_select_list("a * 2 as x").expect("a list"));
    let a = Arc::new(Int32Array::from_iter_values(0..10_000)) as _;
    let batch = RecordBatch::try_from_iter([("a", a)]).expect("a batch");
    let kernel = runtime
        .compile(&query, &batch.schema(), &Semantics::arrow())
        .expect("it compiles");
    let output = kernel.run(&batch).expect("it runs");
    let parts = &output.receipt.parts;
    assert!(
        parts
            .iter()
            .all(|part| part.completed && part.path == Path::Queued),
        "{parts:?}"
    );
    output.batch
}

fn copy(from: Slot, to: Slot) -> CommandList {
    let mut list = CommandList::new();
    let (from, to) = (list.slot(from), list.slot(to));
    let span = |slot: SlotId| Span {
        slot,
        bytes: 0..4096,
    };
    list.push(Command::Copy {
        from: span(from),
        to: span(to),
    });
    list
}

fn refusal(device: &CudaDevice, list: CommandList) -> String {
    let mut queue = device.open_queue(1).expect("it is back");
    match queue.submit(list).expect_err("it is void").reason {
        RejectReason::Invalid(why) => why,
        other => panic!("{other}"),
    }
}

#[test]
fn a_spoilt_gpu_comes_back_and_computes_the_same() {
    for (mode, fault) in MODES
        .into_iter()
        .flat_map(|mode| [DriverFault::ContextLost, DriverFault::Ecc].map(|fault| (mode, fault)))
    {
        let (_one, driver) = driver(mode, 1);
        let device = open(0);
        let before = runtime(&device);
        let expected = run(&before);
        let mut queue = device.open_queue(2).expect("a queue");
        spoil(driver, &device, fault);
        assert!(queue.poll(&mut Vec::new()).is_err());
        // The runtime brings it back by itself, and goes on.
        assert_eq!(run(&before), expected, "{mode:?}, {fault:?}");
        assert_eq!(device.health(), Health::Ready);
        assert!(
            queue.poll(&mut Vec::new()).is_err(),
            "it is from before the reset"
        );
        assert_eq!(run(&runtime(&device)), expected, "{mode:?}, {fault:?}");
        assert_eq!(driver.alive().contexts, 1);
        assert_eq!(driver.findings(), []);
    }
}

#[test]
fn a_kernel_that_fails_spoils_the_gpu_once() {
    let (_one, driver) = driver(Mode::Eager, 1);
    let device = open(0);
    let runtime = runtime(&device);
    let expected = run(&runtime);
    driver.set_faults(FaultPlan::nth(1, DriverFault::LaunchFails));
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&runtime)));
    assert!(again.is_err(), "nothing else may run it");
    assert!(matches!(device.health(), Health::Lost(_)));
    device.reset().expect("nobody else holds the context");
    assert_eq!(run(&self::runtime(&device)), expected);
}

#[test]
fn what_was_made_before_is_void() {
    let (_one, driver) = driver(Mode::Lazy, 1);
    let device = open(0);
    let memory = |device: &CudaDevice| {
        let slab = device
            .allocate(MemoryKind::DeviceLocal, 4096)
            .expect("memory");
        slab.lease_whole().expect("nobody has asked")
    };
    let host = Slab::host(MemoryKind::Upload, 4096, PageSize::Base).expect("pages");
    device.register(&host).expect("it is registered");
    let void = memory(&device);
    assert!(device.used_memory() >= 4096);
    spoil(driver, &device, DriverFault::Ecc);
    device.reset().expect("nobody else holds the context");
    assert_eq!(device.used_memory(), 0);

    // The new memory lies where the old did, and is not taken for it.
    let domain = device.info().domain;
    let new = memory(&device);
    assert_eq!(new.address(domain), void.address(domain));
    let why = refusal(&device, copy(Slot::Owned(void), Slot::Owned(new)));
    assert!(why.contains("lost by a reset"), "{why}");

    // Pages are registered again before they are used.
    assert_eq!(host.address(domain), None);
    let lease = host.lease_whole().expect("nobody has asked");
    let why = refusal(
        &device,
        copy(Slot::Owned(lease), Slot::Owned(memory(&device))),
    );
    assert!(why.contains("was not told of"), "{why}");
    device.register(&host).expect("it is registered again");
    assert!(host.address(domain).is_some());
    assert_eq!(driver.alive().host_ranges, 1);
}

#[test]
fn memory_that_is_not_the_devices_own_is_refused_at_any_address() {
    let (_one, driver) = driver(Mode::Eager, 1);
    let device = open(0);
    let domain = device.info().domain;
    let own = device
        .allocate(MemoryKind::DeviceLocal, 1 << 16)
        .expect("memory");
    let at = own.address(domain).expect("it is the device's").0;
    // As another library would hand it over: an odd address, one that is right, one of nothing.
    for address in [at + 1, at, 1] {
        let foreign = Slab::device(domain, DeviceAddr(address), 4096, Arc::new(()));
        let foreign = foreign.lease_whole().expect("nobody has asked");
        let to = device
            .allocate(MemoryKind::DeviceLocal, 4096)
            .expect("memory");
        let to = to.lease_whole().expect("nobody has asked");
        let why = refusal(&device, copy(Slot::Owned(foreign), Slot::Owned(to)));
        assert!(why.contains("sim-gpu:0 did not allocate"), "{why}");
    }
    assert_eq!(device.health(), Health::Ready);
    assert_eq!(driver.findings(), []);
}

#[test]
fn a_context_that_others_hold_stays_theirs() {
    let (_one, driver) = driver(Mode::Eager, 1);
    let (device, other) = (open(0), open(0));
    spoil(driver, &device, DriverFault::ContextLost);
    let Err(DeviceError::Lost(lost)) = device.reset() else {
        panic!("the other one's context was taken");
    };
    assert!(lost.reason.contains("holds it"), "{lost}");
    assert!(matches!(device.health(), Health::Lost(_)));
    // The other one learns of it by its next call. With both out, there is a new context.
    assert!(other.allocate(MemoryKind::DeviceLocal, 1).is_err());
    other.reset().expect("it was the last");
    device.reset().expect("there is a context that works");
    assert_eq!(run(&runtime(&device)), run(&runtime(&other)));
    assert_eq!(driver.alive().contexts, 2);
}

#[test]
fn pages_that_another_gpu_uses_stay_pinned() {
    let (_one, driver) = driver(Mode::Eager, 2);
    let (device, beside) = (open(0), open(1));
    let pages = device.allocate(MemoryKind::Upload, 4096).expect("pages");
    spoil(driver, &device, DriverFault::ContextLost);
    let refused = device.reset().unwrap_err();
    assert!(matches!(refused, DeviceError::Unsupported(_)), "{refused}");
    assert_eq!(beside.health(), Health::Ready);
    drop(pages);
    device.reset().expect("it pins nothing any more");
    assert_eq!(run(&runtime(&device)), run(&runtime(&beside)));
}

#[test]
fn a_gpu_that_is_lost_without_being_spoilt_keeps_its_context() {
    let (_one, driver) = driver(Mode::Eager, 1);
    let device = open(0);
    let expected = run(&runtime(&device));
    let kept = device
        .allocate(MemoryKind::DeviceLocal, 4096)
        .expect("memory");
    let mut queue = device.open_queue(2).expect("a queue");
    device.reset().expect("the context works");
    assert!(
        queue.poll(&mut Vec::new()).is_err(),
        "it is from before the reset"
    );
    drop((queue, kept));
    assert_eq!(run(&runtime(&device)), expected);
    assert_eq!(driver.calls().get("cuDevicePrimaryCtxRelease_v2"), None);
    // What was dropped after it went back, as ever.
    drop(device.allocate(MemoryKind::DeviceLocal, 1));
    assert_eq!(driver.alive().device_bytes, device.used_memory());
}
