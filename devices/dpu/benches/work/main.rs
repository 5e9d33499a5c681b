//! What the driver and the bus do for a card's jobs: the driver's own time per job, the bytes of a
//! column, and how busy lists under way keep the card. `cargo xtask bench` holds the figures against
//! their targets.

#![allow(clippy::print_stdout)] // the report is for people

#[path = "../../tests/common/in_process.rs"]
#[allow(dead_code, unreachable_pub)] // the tests use more of it
mod in_process;
mod timed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use unlade_dpu::{DpuDevice, Options};
use unlade_hal::{
    Arg, Command, CommandList, Completion, Device, Executable, Lease, MemoryKind, Outcome, Queue,
    Slot, Status,
};
use unlade_program::Program;
use unlade_sim_card::{Card, Config, Profile};
use unlade_tests::cards::{lease, span, submit};
use unlade_tests::figures::{is_asked_for, note};

use self::in_process::InProcess;
use self::timed::Timed;

fn main() {
    // `cargo test --benches` and the like ask for a quick look.
    let quick = std::env::args().any(|word| word == "--test");
    // Each by its name here, too.
    if is_asked_for(&["driver", DRIVER]) {
        driver_time(if quick { 1_000 } else { 50_000 });
    }
    if is_asked_for(&["bytes", READ, WRITTEN, BLOCKS]) {
        bytes_of_a_column(if quick { 1 << 20 } else { 64 << 20 });
    }
    // Of as many bytes each.
    let bytes = if quick { 128 << 20 } else { 1_024 << 20 };
    for (list, depths) in SIZES {
        let names: Vec<String> = depths.iter().map(|depth| busy(list, *depth)).collect();
        let mut asked = vec!["utilisation"];
        asked.extend(names.iter().map(String::as_str));
        if is_asked_for(&asked) {
            utilisation(list, depths, (bytes / list) as usize);
        }
    }
}

/// Names of figures.
const DRIVER: &str = "card/driver's own work per job";
const READ: &str = "card/bytes read, of those on paper";
const WRITTEN: &str = "card/bytes written, of those on paper";
const BLOCKS: &str = "card/bytes of result blocks per job";

/// Bytes of a list's column, and lists under way at once.
const SIZES: [(u64, &[usize]); 3] = [(1 << 20, &[1, 4, 64]), (4 << 20, &[64]), (16 << 20, &[64])];

fn busy(list: u64, depth: usize) -> String {
    match list >> 20 {
        1 => format!("card/percent at work, lists under way/{depth}"),
        size => format!("card/percent at work, lists of {size} MiB under way/{depth}"),
    }
}

/// A card of this process, and the device that drives it.
struct Rig {
    card: Arc<Card>,
    transport: Arc<Timed<InProcess>>,
    device: Arc<DpuDevice>,
    mask: Executable,
}

impl Rig {
    fn new() -> Self {
        let card = Arc::new(Card::start(Config {
            profile: Profile::full(),
            ..Config::default()
        }));
        let transport = Arc::new(Timed::new(InProcess::new(&card)));
        let device = DpuDevice::open(transport.clone(), &Options::default()).expect("a card");
        let mask: Program = "columns c0: i32
             params p0: i32
             %0 = load c0
             %1 = param p0
             %2 = cmp.gt %0, %1
             keep %2
             emit mask"
            .parse()
            .expect("the program is one");
        let mask = device.compile(&Arc::new(mask)).expect("the card has it");
        Rig {
            card,
            transport,
            device,
            mask,
        }
    }

    /// `int32 > ?` over a column of ascending numbers.
    fn list(&self, rows: u64) -> CommandList {
        let mut input = lease(&self.device, MemoryKind::Upload, 4 * rows);
        let values = input.bytes_mut().expect("the memory is the host's");
        for (value, row) in values.chunks_exact_mut(4).zip(0i32..) {
            value.copy_from_slice(&row.to_le_bytes());
        }
        let output = lease(
            &self.device,
            MemoryKind::Readback,
            RESULTS + rows.div_ceil(8),
        );
        self.list_of(rows, input, output)
    }

    fn list_of(&self, rows: u64, input: Lease, output: Lease) -> CommandList {
        let mut list = CommandList::new();
        let input = list.slot(Slot::Owned(input));
        let output = list.slot(Slot::Owned(output));
        let memory = |span| Arg::Span {
            span,
            bit_offset: 0,
        };
        let mut parameter = [0; 16];
        parameter[..4].copy_from_slice(&((rows / 2) as i32).to_le_bytes());
        list.push(Command::Dispatch {
            exe: self.mask.clone(),
            rows,
            args: Box::new([
                memory(span(input, 0..4 * rows)),
                Arg::Absent,
                Arg::Scalar(parameter),
                memory(span(output, RESULTS..RESULTS + rows.div_ceil(8))),
            ]),
            status: span(output, 0..Status::BYTES),
        });
        list
    }

    /// The same list again, of memory that came back.
    fn again(&self, done: Completion, rows: u64) -> CommandList {
        assert_eq!(kept(&done), rows - 1 - rows / 2);
        let mut slots = done.list.slots.into_iter().map(|slot| match slot {
            Slot::Owned(lease) => lease,
            other => panic!("{other:?} is not owned"),
        });
        let mut next = || slots.next().expect("two slots");
        let (input, output) = (next(), next());
        self.list_of(rows, input, output)
    }

    /// Waits until the card has done so many jobs in all.
    fn wait_for(&self, jobs: u64) {
        while self.card.counters().jobs_succeeded < jobs {
            nap();
        }
    }

    /// Runs so many jobs with so many under way.
    fn run(&self, queue: &mut dyn Queue, jobs: usize, depth: usize, rows: u64) {
        let depth = depth.min(jobs);
        let mut ready: VecDeque<CommandList> = (0..depth).map(|_| self.list(rows)).collect();
        let (mut submitted, mut ended) = (0, 0);
        let mut done = Vec::new();
        while ended < jobs {
            while submitted < jobs
                && let Some(list) = ready.pop_front()
            {
                submit(queue, list);
                submitted += 1;
            }
            nap();
            queue.poll(&mut done).expect("the device is there");
            ended += done.len();
            ready.extend(done.drain(..).map(|done| self.again(done, rows)));
        }
    }

    /// Runs lists once, and gives what is to be run next and how long it took to submit them and to
    /// take their results, without what the transport took.
    fn turn(
        &self,
        queue: &mut dyn Queue,
        lists: Vec<CommandList>,
        rows: u64,
    ) -> (Vec<CommandList>, Duration) {
        let count = lists.len();
        let mut done = Vec::with_capacity(count);
        let before = self.card.counters().jobs_succeeded;
        self.transport.restart();
        let start = Instant::now();
        for list in lists {
            submit(queue, list);
        }
        let submitting = start.elapsed();
        self.wait_for(before + count as u64);
        let start = Instant::now();
        queue.poll(&mut done).expect("the device is there");
        let spent = submitting + start.elapsed();
        assert_eq!(done.len(), count);
        let lists = done
            .into_iter()
            .map(|done| self.again(done, rows))
            .collect();
        (lists, spent.saturating_sub(self.transport.spent()))
    }
}

/// Leaves results to gather for a while.
fn nap() {
    thread::sleep(Duration::from_micros(200));
}

/// Where the mask begins, in bytes of the output.
const RESULTS: u64 = 4096;

fn kept(done: &Completion) -> u64 {
    match &done.outcome {
        Outcome::Done { written } => written[0],
        other => panic!("{other:?}"),
    }
}

/// Of submit and delivery, without what the transport does: that is an access to a register, which a
/// card of hardware takes in a hundred nanoseconds or so, and a model in its own time. Results are
/// taken once all of some jobs are done, so that no poll is in vain.
fn driver_time(jobs: usize) {
    const AT_ONCE: usize = 16;
    const ROWS: u64 = 64;
    let rig = Rig::new();
    let mut queue = rig.device.open_queue(32).expect("a queue");
    let mut lists: Vec<CommandList> = (0..AT_ONCE).map(|_| rig.list(ROWS)).collect();
    let mut turns = Vec::new();
    for _ in 0..jobs / AT_ONCE {
        let (next, spent) = rig.turn(&mut *queue, lists, ROWS);
        lists = next;
        turns.push(spent / AT_ONCE as u32);
    }
    turns.sort();
    let [low, median, high] = [1, 2, 3].map(|quarter| turns[turns.len() * quarter / 4]);
    println!("driver's own work per job: {median:?}, quartiles {low:?} to {high:?}");
    note(DRIVER, median.as_nanos() as f64);
}

/// What the model counts while a predicate reads a column into a mask, beside the count on paper.
fn bytes_of_a_column(bytes: u64) {
    let rig = Rig::new();
    let mut queue = rig.device.open_queue(64).expect("a queue");
    let (column, rows) = (bytes, bytes / 4);
    let most = rig.device.capabilities().max_rows.min(1 << 20);
    let jobs = rows.div_ceil(most) as usize;
    let before = rig.card.counters();
    rig.run(&mut *queue, jobs, 8.min(jobs), rows / jobs as u64);
    let after = rig.card.counters();
    let mask = rows / 8;
    let read = after.bytes_read - before.bytes_read;
    let written = after.bytes_written - before.bytes_written;
    let blocks = after.block_bytes_written - before.block_bytes_written;
    let bits = written - blocks;
    println!(
        "a column of {column} bytes in {jobs} jobs: {read} bytes read, on paper {column}; \
         {bits} written, on paper {mask}, a bit for each row; and {blocks} of result blocks"
    );
    note(READ, read as f64 / column as f64);
    note(WRITTEN, bits as f64 / mask as f64);
    note(BLOCKS, blocks as f64 / jobs as f64);
    let (bus_read, bus_written) = (
        after.bus_read - before.bus_read,
        after.bus_written - before.bus_written,
    );
    println!(
        "    with entries, descriptors and reports {bus_read} and {bus_written}: {:.3}% more",
        100.0 * (bus_read + bus_written) as f64 / (read + written) as f64 - 100.0
    );
}

/// How much of the simulated time the card worked, while so many lists of so many bytes were under way.
/// What a host takes from a completion to the next doorbell passes on that clock.
fn utilisation(list: u64, depths: &[usize], jobs: usize) {
    let rig = Rig::new();
    let timing = Profile::full().timing;
    println!(
        "a host takes {} ns to notice a completion, {} ns to ring again, {} ns to reach the card; that \
         takes {} ns to fetch a job",
        timing.interrupt_nanos, timing.host_nanos, timing.doorbell_nanos, timing.job_nanos
    );
    for &depth in depths {
        let mut queue = rig.device.open_queue(64).expect("a queue");
        let before = rig.card.counters();
        rig.run(&mut *queue, jobs, depth, list / 4);
        let after = rig.card.counters();
        let worked = (after.busy_time.0 - before.busy_time.0) as f64;
        let worked = 100.0 * worked / (after.time.0 - before.time.0) as f64;
        let size = list >> 20;
        println!(
            "{depth} lists of {size} MiB under way: the card works {worked:.2}% of the simulated time"
        );
        note(&busy(list, depth), worked);
    }
}
