//! Whatever goes wrong with a card, a batch ends in one of three ways: in the result of another
//! device, in a receipt that says that nobody but the card vouches for it, or in an error that says
//! why. Each fault has the end that is listed here, and nothing is left behind: no lease, no range
//! of addresses that the card reaches, no thread, process, file, socket or memory.
//!
//! One test, so that nobody else of this process opens or closes anything while it counts.
#![allow(clippy::print_stdout)] // how much was run is what this test reports

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use unlade_cpu::CpuDevice;
use unlade_dpu::{DpuDevice, Options, connect};
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::{Device, Health, MemoryKind};
use unlade_runtime::pool::Pool;
use unlade_runtime::{Error, Fallback, Kernel, Output, Placement, Runtime, Trust, Verified};
use unlade_sim_card::{Config, Fault, FaultPlan, LATE, Served};

/// The job that goes wrong, and with it the batch: each is one job.
const STRUCK: u64 = 2;

/// Batches of a run: one before, the one that is struck, and two behind.
const BATCHES: i32 = 4;

/// For what ends by itself: threads, connections.
const LONG: Duration = Duration::from_secs(20);

/// What the system calls memory that devices reach.
const SLAB: &str = "unlade (deleted)";

/// Pieces of memory that stay for good where a card is gone, as nobody can say what it still writes:
/// the pool's, and the one that the runtime had of the device, of both of which the batch had some.
const ABANDONED: usize = 2;

/// How a batch may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// With the right result, by the card, for which nobody else vouches.
    Card,
    /// With a wrong result, by the card, for which nobody else vouches.
    Believed,
    /// With the CPU's result, because the card had failed.
    Cpu,
    /// With an error that names the card's failure.
    Error,
}

/// How the batch ends that is struck, and what the reason names where the card is blamed: as long
/// as another device may take the work.
fn end_of(fault: Fault) -> (End, &'static str) {
    match fault {
        // Legal.
        Fault::LateCompletion | Fault::ReorderedCompletion => (End::Card, ""),
        // Noticed behind the batch, which is right, so that no receipt names it.
        Fault::DuplicateCompletion => (End::Card, ""),
        Fault::LostCompletion | Fault::StuckDoorbell => (End::Cpu, "no completion within"),
        Fault::WrongPhase => (End::Cpu, "wrong phase"),
        Fault::ResetInTheMiddle => (End::Cpu, "somebody has reset it"),
        Fault::Fatal => (End::Cpu, "stopped by itself"),
        Fault::Removal => (End::Cpu, "it was removed"),
        Fault::ForeignCommandId => (End::Cpu, "not in flight"),
        Fault::WildQueueHead => (End::Cpu, "submission head"),
        Fault::HugeCount => (End::Cpu, "rows kept"),
        Fault::PartialDma | Fault::CorruptData => (End::Believed, ""),
        // To where nothing is mapped, which the table refuses; behind the batch.
        Fault::WriteOutside(_) | Fault::ChangeAfterCompletion => (End::Card, ""),
        other => panic!("{other:?} is new: say here how it ends"),
    }
}

#[test]
fn every_fault_ends_as_is_listed_and_leaves_nothing_behind() {
    let with_result = |batch| Given {
        expected: on_cpu(&batch),
        batch,
    };
    let given: Vec<Given> = (0..BATCHES).map(batch).map(with_result).collect();
    // What is made once in a process is there afterwards.
    Case::new(None, Trust::Trusted, Fallback::Allow).run(&given);
    let mut open = Open::now();
    let mut ends: BTreeMap<End, u32> = BTreeMap::new();
    for fault in Fault::ALL {
        for trust in [Trust::Trusted, Trust::Untrusted] {
            for fallback in [Fallback::Allow, Fallback::Forbid] {
                let case = Case::new(Some(fault), trust, fallback);
                let end = case.run(&given);
                *ends.entry(end).or_default() += 1;
                if fault == Fault::Removal {
                    open.abandon(ABANDONED);
                }
                settle(&format!("{case}"), Open::now, &open);
            }
        }
    }
    println!(
        "{} faults, trusted and not, with another device and without, ended: {ends:?}",
        Fault::ALL.len()
    );
    assert_eq!(ends.len(), 4, "every kind of end was reached: {ends:?}");
}

/// A batch, and what the CPU makes of it.
struct Given {
    batch: RecordBatch,
    expected: RecordBatch,
}

struct Case {
    fault: Option<Fault>,
    trust: Trust,
    fallback: Fallback,
}

impl Case {
    fn new(fault: Option<Fault>, trust: Trust, fallback: Fallback) -> Case {
        Case {
            fault,
            trust,
            fallback,
        }
    }

    /// Runs batches on a card of which one is struck, says how that ended, and checks that the card
    /// reaches as much as before and that every lease is back.
    fn run(&self, given: &[Given]) -> End {
        let plan = FaultPlan::none();
        let faults = match self.fault {
            Some(fault) => plan.at(STRUCK, fault),
            None => plan,
        };
        let config = Config {
            faults,
            ..Config::default()
        };
        let card = Served::start(config).expect("a socket can be made");
        let device = connect(card.path(), &Options::default()).expect("the card is there");
        let mapped = reached(&card, &device);
        let runtime = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .device(device.clone())
            .placement(Placement::Device("sim-dpu".into()))
            .fallback(self.fallback)
            .trust(self.trust)
            .device_timeout(self.patience())
            .pool_reserve(4 << 20)
            .build()
            .expect("a runtime on the card");
        let kernel = compile(&runtime, &given[0].batch);
        let results: Vec<Result<Output, Error>> =
            given.iter().map(|given| kernel.run(&given.batch)).collect();
        thread::sleep(2 * LATE);
        let end = self.check(&results, given);
        let struck: Vec<(u64, Fault)> = self.fault.iter().map(|fault| (STRUCK, *fault)).collect();
        assert_eq!(card.counters().faults, struck, "{self}");
        drop(results);
        Pool::flush_thread();
        let memory = runtime.memory();
        let abandoned = runtime.devices()[1].leaked_bytes;
        assert_eq!(abandoned > 0, self.fault == Some(Fault::Removal), "{self}");
        let mut holders = memory.holders.iter();
        assert!(holders.all(|holder| holder.what.contains("abandoned to a lost device")));
        assert!(memory.leased <= abandoned, "{self}: {memory:?}");
        assert_eq!(memory.waiting, 0, "{self}");
        drop((kernel, runtime));
        // The runtime resets a card when it next has work for it.
        let back = device.health() == Health::Ready || device.reset().is_ok();
        assert_eq!(back, self.fault != Some(Fault::Removal), "{self}");
        if back {
            let now = reached(&card, &device);
            assert_eq!(now, mapped, "{self}: ranges that the card reaches");
        }
        drop(device);
        settle(
            &format!("{self}: ranges left"),
            || card.card().mapped_ranges(),
            &0,
        );
        end
    }

    /// What never comes is not waited for long.
    fn patience(&self) -> Duration {
        match self.fault {
            Some(Fault::LostCompletion | Fault::StuckDoorbell) => Duration::from_millis(200),
            _ => LONG,
        }
    }

    fn check(&self, results: &[Result<Output, Error>], given: &[Given]) -> End {
        let ends: Vec<(End, String)> = results
            .iter()
            .zip(given)
            .map(|(result, given)| self.end(result, &given.expected))
            .collect();
        let Some(fault) = self.fault else {
            assert!(ends.iter().all(|(end, _)| *end == End::Card), "{ends:?}");
            return End::Card;
        };
        // A job at which a doorbell sticks is done, and the next is not.
        let behind = usize::from(fault == Fault::StuckDoorbell);
        let (before, rest) = ends.split_at(STRUCK as usize - 1 + behind);
        let (struck, after) = rest.split_first().expect("there are batches behind it");
        let (end, named) = end_of(fault);
        let end = match (end, self.fallback) {
            (End::Cpu, Fallback::Forbid) => End::Error,
            (end, _) => end,
        };
        assert_eq!(struck.0, end, "{self}: {ends:?}");
        assert!(
            before.iter().all(|(end, _)| *end == End::Card),
            "{self}: {ends:?}"
        );
        let reasons: String = ends.iter().map(|(_, reason)| reason.as_str()).collect();
        assert!(reasons.contains(named), "{self}: {ends:?}");
        // Whatever follows is right, or an error.
        assert!(
            after.iter().all(|(end, _)| *end != End::Believed),
            "{self}: {ends:?}"
        );
        end
    }

    /// How a batch ended, and why not on the card.
    fn end(&self, result: &Result<Output, Error>, expected: &RecordBatch) -> (End, String) {
        let output = match result {
            Ok(output) => output,
            Err(error) => {
                assert_eq!(self.fallback, Fallback::Forbid, "{self}: {error}");
                let said = matches!(error, Error::DeviceFault(_) | Error::Unplaceable(_));
                assert!(said, "{self}: {error}");
                return (End::Error, error.to_string());
            }
        };
        let receipt = &output.receipt;
        let parts = receipt.parts.iter();
        let reason: String = parts.map(|part| part.reason.to_string() + "; ").collect();
        let last = receipt.parts.last().expect("the batch has rows");
        assert!(last.completed, "{self}");
        if receipt.verified == Verified::Reference {
            assert_eq!(&output.batch, expected, "{self}");
            assert_eq!(&*last.device, "cpu", "{self}");
            assert_eq!(self.fallback, Fallback::Allow, "{self}");
            return (End::Cpu, reason);
        }
        assert_eq!(receipt.verified, Verified::Unverified, "{self}");
        assert_eq!(&*last.device, "sim-dpu", "{self}");
        let right = &output.batch == expected;
        (if right { End::Card } else { End::Believed }, reason)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case {
            fault,
            trust,
            fallback,
        } = self;
        write!(f, "{fault:?}, {trust:?}, {fallback:?}")
    }
}

/// How many ranges the card reaches, when all is given back that nobody uses.
fn reached(card: &Served, device: &DpuDevice) -> usize {
    // Given back with the next request; this leaves one range to give back, every time.
    for _ in 0..2 {
        let allocated = device.allocate(MemoryKind::Upload, 1);
        allocated.expect("the card is there");
    }
    card.card().mapped_ranges()
}

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Open {
    /// Descriptors by what they are of: files, sockets, events, memory.
    descriptors: BTreeMap<String, usize>,
    /// Pieces of its memory that are of files, by their names.
    memory: BTreeMap<String, usize>,
    threads: usize,
    children: String,
    /// Folders of sockets.
    folders: Vec<PathBuf>,
}

impl Open {
    fn now() -> Open {
        Open {
            descriptors: descriptors(),
            memory: memory(),
            threads: entries("/proc/self/task").len(),
            children: children(),
            folders: folders(),
        }
    }

    /// Counts so many pieces of memory that stay.
    fn abandon(&mut self, pieces: usize) {
        *self
            .descriptors
            .entry(format!("/memfd:{SLAB}"))
            .or_default() += pieces;
        *self.memory.entry(SLAB.to_owned()).or_default() += pieces;
    }
}

fn settle<T: PartialEq + std::fmt::Debug>(what: &str, now: impl Fn() -> T, wanted: &T) {
    let begun = Instant::now();
    loop {
        let found = now();
        if found == *wanted {
            return;
        }
        assert!(
            begun.elapsed() < LONG,
            "{what}: {found:#?}, not {wanted:#?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn descriptors() -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries("/proc/self/fd") {
        // The one that reads the folder is gone by now.
        let Ok(of) = fs::read_link(entry) else {
            continue;
        };
        let of = of.display().to_string();
        // Without the number of the socket or pipe.
        let kind = of.split(":[").next().unwrap_or(&of).to_owned();
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

fn memory() -> BTreeMap<String, usize> {
    let maps = fs::read_to_string("/proc/self/maps").expect("a process sees its own memory");
    let mut counts = BTreeMap::new();
    let files = maps.lines().filter_map(|line| line.split_once("/memfd:"));
    for (_, name) in files {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

fn children() -> String {
    let tasks = entries("/proc/self/task").into_iter();
    // A thread may have ended meanwhile.
    let children = tasks.filter_map(|task| fs::read_to_string(task.join("children")).ok());
    children.collect()
}

fn folders() -> Vec<PathBuf> {
    let ours = format!(".unlade-card-{}-", std::process::id());
    let all = entries(&std::env::temp_dir().display().to_string()).into_iter();
    all.filter(|path| path.display().to_string().contains(&ours))
        .collect()
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

/// One of other data than the next: what a card leaves behind of one is wrong in another.
fn batch(number: i32) -> RecordBatch {
    let rows = || (0..5_000).map(move |row| row + number);
    let keys = Int32Array::from_iter(rows().map(|row| (row % 5 != 4).then_some(0)));
    let values: ArrayRef = Arc::new(StringArray::from(vec!["the only one"]));
    let keyed = DictionaryArray::<Int32Type>::try_new(keys, values).expect("the key is inside");
    let numbers = Int32Array::from_iter(rows().map(|row| (row % 7 != 3).then_some(row)));
    let columns: [(&str, ArrayRef); 2] = [("d", Arc::new(keyed)), ("a", Arc::new(numbers))];
    RecordBatch::try_from_iter(columns).expect("the columns are as long")
}

fn compile(runtime: &Runtime, batch: &RecordBatch) -> Kernel {
    let filter = parse_expr("a % 3 = 0").expect("it is an expression");
    let select = parse_select_list("d, a * 2 as b, a").expect("it is a list");
    let query = Query::filter(filter).select(select);
    let compiled = runtime.compile(&query, &batch.schema(), &Semantics::arrow());
    compiled.expect("the query is right")
}

fn on_cpu(batch: &RecordBatch) -> RecordBatch {
    let runtime = Runtime::builder().device(Arc::new(CpuDevice::new()));
    let runtime = runtime.build().expect("a runtime on the CPU");
    let output = compile(&runtime, batch).run(batch);
    output.expect("the query has a result").batch
}
