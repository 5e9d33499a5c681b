//! Every fault of the driver at every call that a run makes: the first call fails, then the second,
//! and so on, until a run has no more.
//!
//! Results equal the CPU's. What the device took from the driver is back when it is next used, a
//! device that was lost being brought back for that; of one that stays lost, what it has abandoned is what it counts, and all pages of the host that the
//! driver still knows are still mapped.
//!
//! A process has one driver, so each kind of fault is swept in a process of its own, which is this
//! executable again: without the cache of machine code on disk, so that every run assembles.
#![allow(clippy::print_stdout)] // how much was swept is what these tests report

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ops::Range;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use unlade_cpu::CpuDevice;
use unlade_cuda::CudaDevice;
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::{Command as Step, CommandList, Device, Health, MemoryKind, Slot, Span};
use unlade_runtime::pool::Pool;
use unlade_runtime::{Placement, Runtime};
use unlade_sim_fault::FaultPlan;
use unlade_sim_gpu::{Alive, Driver, DriverConfig, DriverFault, Mode, Profile};

const MODES: [Mode; 3] = [Mode::Eager, Mode::Lazy, Mode::Concurrent];

/// What is run.
const QUERIES: [Queried; 4] = [
    Queried::new("b, a + 1 as x", "a > 41 and b % 3 = 0"),
    Queried::new("text, a", "a > 41"),
    Queried::new("cast(a as bigint) * b as product", ""),
    Queried::new("text, a", "a > 41").on_pinned_batches(),
];

/// A query, and where its batches are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queried {
    select: &'static str,
    filter: &'static str,
    /// Whether they are sent to the device before; its strings are compacted there.
    pinned: bool,
}

impl Queried {
    const fn new(select: &'static str, filter: &'static str) -> Self {
        Queried {
            select,
            filter,
            pinned: false,
        }
    }

    const fn on_pinned_batches(self) -> Self {
        Queried {
            pinned: true,
            ..self
        }
    }
}

/// Batches of one run: after a fault the device is used again, as far as it is to be had.
const BATCHES: i32 = 2;

/// Most bytes of the host's in which what is abandoned in a run was to have its statuses.
const STATUSES: u64 = 4096;

/// More calls than a run has.
const MOST: u64 = 2000;

/// The variable by which a test knows that it has a process of its own; where the driver is opened
/// with a fault, its value is the call.
const OWN_PROCESS: &str = "UNLADE_SWEEP_PROCESS";

/// What needs memory and so may find none.
const ALLOCATING: [&str; 6] = [
    "cuEventCreate",
    "cuLinkCreate_v2",
    "cuMemAllocAsync",
    "cuMemHostRegister_v2",
    "cuModuleLoadData",
    "cuStreamCreate",
];

#[test]
fn no_memory() {
    sweep_alone("no_memory", DriverFault::OutOfMemory, None);
}

/// Memory that errs while the device is brought back.
#[test]
fn memory_that_errs_in_recovery() {
    let lost = Some(DriverFault::LaunchFails);
    sweep_alone("memory_that_errs_in_recovery", DriverFault::Ecc, lost);
}

#[test]
fn no_memory_in_recovery() {
    let lost = Some(DriverFault::LaunchFails);
    sweep_alone("no_memory_in_recovery", DriverFault::OutOfMemory, lost);
}

#[test]
fn a_launch_that_is_refused() {
    sweep_alone("a_launch_that_is_refused", DriverFault::LaunchRefused, None);
}

#[test]
fn a_launch_that_fails() {
    sweep_alone("a_launch_that_fails", DriverFault::LaunchFails, None);
}

#[test]
fn a_context_that_is_lost() {
    sweep_alone("a_context_that_is_lost", DriverFault::ContextLost, None);
}

#[test]
fn memory_that_errs() {
    sweep_alone("memory_that_errs", DriverFault::Ecc, None);
}

#[test]
fn a_stream_that_hangs() {
    sweep_alone("a_stream_that_hangs", DriverFault::Hang, None);
}

/// The calls that a process makes but once: each fails in a process of its own.
#[test]
fn a_driver_that_cannot_be_opened() {
    const NAME: &str = "a_driver_that_cannot_be_opened";
    if let Ok(nth) = env::var(OWN_PROCESS) {
        return open_with_a_fault(nth.parse().expect("a number"));
    }
    let mut swept: BTreeMap<String, u64> = BTreeMap::new();
    for nth in 1..MOST {
        let printed = in_own_process(NAME, &nth.to_string());
        let struck = printed
            .lines()
            .find_map(|line| line.strip_prefix("struck "));
        match struck {
            Some(call) => *swept.entry(call.to_owned()).or_default() += 1,
            None => break,
        }
    }
    println!("calls failed when the driver is opened: {swept:?}");
    for call in ["cuInit", "cuDriverGetVersion", "cuDeviceGetCount"] {
        assert_eq!(swept.get(call), Some(&1), "{call}");
    }
}

fn open_with_a_fault(nth: u64) {
    let driver = Driver::get();
    driver.set_faults(FaultPlan::nth(nth, DriverFault::Ecc));
    let found = unlade_cuda::discover();
    let Some(call) = driver.struck().first().copied() else {
        assert_eq!(found.expect("nothing failed").len(), 1);
        return;
    };
    println!("struck {call}");
    // An error that is not the call's own is told by the next call.
    let usable = found.is_ok_and(|gpus| gpus[0].open_queue(1).is_ok());
    assert!(!usable, "{call} failed and nobody noticed");
}

/// With a fault `before`, which the first chance for one has, the calls that come after it fail.
fn sweep_alone(name: &str, kind: DriverFault, before: Option<DriverFault>) {
    match env::var_os(OWN_PROCESS) {
        Some(_) => sweep(kind, before),
        None => print!("{}", in_own_process(name, "sweep")),
    }
}

/// Runs one of these tests in a process of its own; what it printed.
fn in_own_process(test: &str, value: &str) -> String {
    let program = env::current_exe().expect("this executable");
    let ran = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(OWN_PROCESS, value)
        .env("UNLADE_CUDA_CACHE", "off")
        .output()
        .expect("it starts");
    let [out, err] =
        [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ran.status.success(), "{test}, {value}: {out}{err}");
    out
}

/// Fails every call of a kind, in every mode, for every query.
fn sweep(kind: DriverFault, before: Option<DriverFault>) {
    // Where the variable is set from outside, tests share this process.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // What a process calls but once is not swept here.
    drop(unlade_cuda::open(0).expect("the simulated driver is found"));
    let (mut made, mut swept) = (BTreeSet::new(), BTreeMap::<&str, u64>::new());
    let (mut unopened, mut lost, mut leaked) = (0, 0, 0);
    let plan = |nth| match before {
        None => FaultPlan::nth(nth, kind),
        Some(before) => FaultPlan::nth(1, before).then(nth, kind),
    };
    let faults = if before.is_none() { 1 } else { 2 };
    // A device is brought back in the same way whatever was asked of it.
    let queries = &QUERIES[..if before.is_none() { QUERIES.len() } else { 1 }];
    for (query, mode) in queries
        .iter()
        .flat_map(|query| MODES.map(|mode| (query, mode)))
    {
        let expected = run(&runtime(None), query);
        let unharmed = once(
            mode,
            faults,
            FaultPlan::none(),
            query,
            &expected,
            "no fault",
        );
        let kept = unharmed.kept.expect("it is not lost");
        let without = Driver::get().calls();
        once(mode, faults, plan(0), query, &expected, "the fault before");
        let calls = Driver::get().calls().into_keys();
        made.extend(calls.filter(|call| before.is_none() || !without.contains_key(call)));
        for nth in 1.. {
            assert!(nth < MOST, "the sweep has no end");
            let what = format!("{kind:?} at {nth} after {before:?}, {mode:?}, {query:?}");
            let after = once(mode, faults, plan(nth), query, &expected, &what);
            let struck = after.struck.get(faults - 1);
            let Some(&call) = struck else { break };
            *swept.entry(call).or_default() += 1;
            let Abandoned { counted, of_host } = after.abandoned;
            leaked += counted;
            match after.kept {
                Some(mut after) => {
                    // A slab of which something was abandoned stays: where the same runtime brought
                    // the device back, registered with the new context.
                    let stay = after.host_ranges.saturating_sub(kept.host_ranges);
                    assert!(
                        stay <= usize::from(of_host > 0),
                        "{what}, at {call}: {after:?}"
                    );
                    after.host_ranges -= stay;
                    assert_eq!(after, kept, "{what}, at {call}");
                }
                None if after.opened => {
                    let loses = kind != DriverFault::OutOfMemory || before.is_some();
                    assert!(loses, "{what}: the GPU is lost");
                    let left = after.device_bytes.saturating_sub(kept.device_bytes) + of_host;
                    assert!(
                        left <= counted,
                        "{what}: {left} bytes are left, {counted} counted"
                    );
                    lost += 1;
                }
                None => unopened += 1,
            }
        }
    }
    let runs: u64 = swept.values().sum();
    println!(
        "{kind:?} after {before:?}: {runs} runs; {unopened} without the GPU, {lost} lost it, {leaked} bytes abandoned; \
         {swept:?}"
    );
    let struck: BTreeSet<&str> = swept.into_keys().collect();
    if before.is_some() {
        // What comes after the fault is mostly what a run makes without one.
        let may_fail = |call: &&str| kind != DriverFault::OutOfMemory || ALLOCATING.contains(call);
        made.retain(may_fail);
        assert!(kind == DriverFault::OutOfMemory || !made.is_empty());
        assert!(made.is_subset(&struck), "{made:?} are made in recovery");
        assert!(runs > 0);
        return;
    }
    let may_fail = match kind {
        DriverFault::ContextLost | DriverFault::Ecc => made,
        DriverFault::OutOfMemory => ALLOCATING.into(),
        _ => ["cuLaunchKernel"].into(),
    };
    assert_eq!(struck, may_fail, "struck, and what of a run may fail so");
}

/// Bytes that a runtime abandoned.
#[derive(Clone, Copy, Debug, Default)]
struct Abandoned {
    /// All that it counts.
    counted: u64,
    /// Of these, those of the host's that it has lent.
    of_host: u64,
}

/// What a run left.
struct After {
    /// The calls that failed.
    struck: Vec<&'static str>,
    /// Whether there was a device at all.
    opened: bool,
    abandoned: Abandoned,
    /// Bytes that the driver has given out of the device's memory.
    device_bytes: u64,
    /// What the driver holds for a device that was used again after its fault. Nothing is comparable
    /// of one that is lost, or could not be opened, or went on in the context in which it had
    /// abandoned something.
    kept: Option<Alive>,
}

/// Opens the device, runs as often as there are faults, and looks what is left.
fn once(
    mode: Mode,
    faults: usize,
    plan: FaultPlan<DriverFault>,
    query: &Queried,
    expected: &[RecordBatch],
    what: &str,
) -> After {
    let driver = Driver::get();
    let config = DriverConfig::default().with_devices([Profile::h200()]);
    driver.restart(config.with_mode(mode).with_seed(7));
    driver.set_faults(plan);
    let device = unlade_cuda::open(0).ok();
    let mut abandoned = compare(device.as_ref(), query, expected, what);
    if faults > 1 {
        // A device that was lost is brought back when it is next opened.
        let again = compare(device.as_ref(), query, expected, what);
        abandoned.counted += again.counted;
        abandoned.of_host += again.of_host;
    }
    if let Some(device) = &device {
        // One query is enough: nothing of it is the query's.
        if *query == QUERIES[0] {
            wake(device, what);
        }
        // What was dropped goes back when something is next asked for, and may fail to; memory of
        // the GPU is there when what was freed before it is.
        drop(device.allocate(MemoryKind::DeviceLocal, 1));
    }
    let struck = driver.struck();
    driver.set_faults(FaultPlan::none());
    check_mapped(what);
    let Some(device) = device else {
        let Alive {
            device_bytes,
            streams,
            host_ranges,
            ..
        } = driver.alive();
        assert_eq!((device_bytes, streams, host_ranges), (0, 0, 0), "{what}");
        return After {
            struck,
            opened: false,
            abandoned,
            device_bytes: 0,
            kept: None,
        };
    };
    // It is used again, as far as it is to be had.
    compare(Some(&device), query, expected, what);
    drop(device.allocate(MemoryKind::DeviceLocal, 1));
    check_mapped(what);
    let alive = driver.alive();
    assert_eq!(alive.device_bytes, device.used_memory(), "{what}");
    let is_lost = matches!(device.health(), Health::Lost(_));
    // What was abandoned went with the context that was left.
    let renewed = driver.calls().contains_key("cuDevicePrimaryCtxRelease_v2");
    After {
        struck,
        opened: true,
        abandoned,
        device_bytes: alive.device_bytes,
        kept: (!is_lost && (abandoned.counted == 0 || renewed)).then_some(alive),
    }
}

/// Waits for a list by a queue's event, as far as there is a device: it ends, or the device is lost,
/// and either is told.
fn wake(device: &CudaDevice, what: &str) {
    let Ok(mut queue) = device.open_queue(1) else {
        return;
    };
    let Ok(slab) = device.allocate(MemoryKind::Readback, 64) else {
        return;
    };
    assert!(queue.wake_fd().is_some(), "{what}");
    let mut list = CommandList::new();
    let slot = list.slot(Slot::Owned(slab.lease_whole().expect("it is new")));
    let to = Span { slot, bytes: 0..64 };
    list.push(Step::Fill { to, byte: 7 });
    if let Ok(_seq) = queue.submit(list) {
        let mut done = Vec::new();
        for _ in 0..100 {
            if queue.poll(&mut done).is_err() || !done.is_empty() {
                break;
            }
        }
        assert_eq!(
            done.is_empty(),
            matches!(device.health(), Health::Lost(_)),
            "{what}"
        );
        for completion in &done {
            let Slot::Owned(lease) = &completion.list.slots[0] else {
                panic!("{what}: an owned slot comes back owned")
            };
            let bytes = lease.bytes().expect("it is the host's");
            assert_eq!(bytes[..64], [7; 64], "{what}");
        }
    }
    queue.quiesce(Duration::from_millis(20));
}

/// Runs a query and compares; everything leased is back, or counted as abandoned.
fn compare(
    device: Option<&CudaDevice>,
    query: &Queried,
    expected: &[RecordBatch],
    what: &str,
) -> Abandoned {
    let runtime = runtime(device);
    let found = run(&runtime, query);
    assert_eq!(found, expected, "{what}");
    drop(found);
    Pool::flush_thread();
    let (memory, devices) = (runtime.memory(), runtime.devices());
    let leaked = devices.get(1).map_or(0, |device| device.leaked_bytes);
    assert_eq!(memory.waiting, 0, "{what}");
    // The lists that are abandoned have memory of the host and of the device.
    let of_device = leaked.checked_sub(memory.leased);
    let used = device.map_or(0, CudaDevice::used_memory);
    assert!(
        of_device.is_some_and(|bytes| bytes <= used + STATUSES),
        "{what}: {leaked} bytes abandoned, {used} used on the device, {memory:?}"
    );
    Abandoned {
        counted: leaked,
        of_host: memory.leased,
    }
}

fn runtime(device: Option<&CudaDevice>) -> Runtime {
    let mut builder = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device_timeout(Duration::from_millis(20))
        .pool_reserve(1 << 20);
    if let Some(device) = device {
        let name = device.info().name.as_str().into();
        builder = builder
            .device(Arc::new(device.clone()))
            .placement(Placement::Device(name));
    }
    builder.build().expect("a runtime")
}

fn run(runtime: &Runtime, queried: &Queried) -> Vec<RecordBatch> {
    let query = match queried.filter {
        "" => Query::all(),
        filter => Query::filter(parse_expr(filter).expect("a filter")),
    };
    let query = query.select(parse_select_list(queried.select).expect("a list"));
    let schema = batch(0).schema();
    let kernel = runtime.compile(&query, &schema, &Semantics::arrow());
    let kernel = kernel.expect("it compiles");
    let batches: Vec<RecordBatch> = (0..BATCHES).map(|at| batch(at * 1000)).collect();
    if !queried.pinned {
        let run = |batch| kernel.run(batch).expect("it runs").batch;
        return batches.iter().map(run).collect();
    }
    let devices = runtime.devices();
    let pinned = runtime.pin(&batches, devices.get(1).map(|device| &*device.name));
    let outputs = kernel.run_resident(&pinned.expect("a name that is known"));
    let outputs = outputs.expect("it runs");
    outputs.into_iter().map(|output| output.batch).collect()
}

fn batch(first: i32) -> RecordBatch {
    let rows = first..first + 700;
    let a: Int32Array = rows
        .clone()
        .map(|row| (row % 11 != 5).then_some(row % 100))
        .collect();
    let b = Int64Array::from_iter_values(rows.clone().map(i64::from));
    let text = StringArray::from_iter_values(rows.map(|row| format!("row {row}")));
    let columns: [(&str, ArrayRef); 3] = [
        ("a", Arc::new(a)),
        ("b", Arc::new(b)),
        ("text", Arc::new(text)),
    ];
    RecordBatch::try_from_iter(columns).expect("a batch")
}

/// Whether all pages of the host that the driver knows are mapped.
fn check_mapped(what: &str) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("this is Linux");
    let address = |text: &str| usize::from_str_radix(text, 16).expect("an address");
    let range = |line: &str| -> Option<Range<usize>> {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some(address(start)..address(end))
    };
    let mapped: Vec<Range<usize>> = maps.lines().filter_map(range).collect();
    for known in Driver::get().host_ranges() {
        // Neighbours follow each other in the list.
        let end = mapped.iter().fold(known.start, |reached, range| {
            match range.contains(&reached) {
                true => range.end,
                false => reached,
            }
        });
        assert!(end >= known.end, "{what}: {known:x?} is mapped no more");
    }
}
