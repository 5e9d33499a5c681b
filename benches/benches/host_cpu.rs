//! What a batch costs the host's processors, on the CPU and on a card: CPU time, user and system, of
//! all threads of this process. The card is a model that another process serves, as a card's own
//! processor would be.
//!
//! An iteration is a table of [`BATCHES`] batches, one after the other. `host-cpu-compare` computes
//! less than it moves, `host-cpu-heavy` more. A model takes a hundred times as long as a card would,
//! and what its host spends on waiting meanwhile is counted, too.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::{Int32Array, Int64Array, RecordBatch};
use criterion::{Criterion, Throughput};
use rustix::time::{ClockId, clock_gettime};
use unlade::{Device, Fallback, Placement, Query, Runtime, Semantics, builder, col, open_card_as};
use unlade_sim_card::{Config, Server};

/// Rows of a batch, and how many make a table.
const ROWS: usize = 1 << 20;
const BATCHES: usize = 8;

/// Where the predicate says what is read: its name, its text, and bytes of a row.
const WORKLOADS: [(&str, &str, usize); 2] = [
    ("compare", "a > 500", 4),
    (
        "heavy",
        "b % 1000003 * 3 % 97 > 50 and b div 7 % 11 < 5",
        12,
    ),
];

/// The argument with which this program serves a card at a socket instead of measuring.
const SERVE: &str = "--serve-card";

fn main() {
    let mut arguments = std::env::args_os();
    if let Some(path) = arguments.find(|word| word == SERVE).and(arguments.next()) {
        let server = Server::bind(path.as_ref(), Config::default());
        let served = server.and_then(|server| server.run());
        served.expect("a socket can be made in a new directory");
        return;
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    host_cpu(&mut criterion);
    criterion.final_summary();
}

fn host_cpu(criterion: &mut Criterion) {
    let card = CardProcess::start();
    let table: Vec<RecordBatch> = (0..BATCHES).map(batch).collect();
    let on_cpu = runtime(None);
    let on_card = runtime(Some(card.open()));
    for (name, predicate, width) in WORKLOADS {
        let mut group = criterion.benchmark_group(format!("host-cpu-{name}"));
        group.throughput(Throughput::Bytes((width * ROWS * BATCHES) as u64));
        for (device, runtime) in [("cpu", &on_cpu), ("card", &on_card)] {
            let predicate = unlade::parse_expr(predicate).expect("it is an expression");
            let query = Query::filter(predicate).select([col("a")]);
            let kernel = runtime
                .compile(&query, &table[0].schema(), &Semantics::arrow())
                .expect("workloads are well-formed");
            group.bench_function(device, |bencher| {
                bencher.iter_custom(|iterations| {
                    let before = process_cpu_time();
                    for _ in 0..iterations {
                        for batch in &table {
                            let output = kernel.run(black_box(batch)).expect("nothing fails");
                            assert_eq!(&*output.receipt.parts[0].device, device);
                        }
                    }
                    process_cpu_time() - before
                });
            });
        }
        group.finish();
    }
}

/// Numbers below a thousand, and larger ones.
fn batch(number: usize) -> RecordBatch {
    let first = number * ROWS;
    let scattered = (first..first + ROWS).map(|row| row.wrapping_mul(2_654_435_761) >> 7);
    let a = scattered.clone().map(|value| (value % 1000) as i32);
    let b = scattered.map(|value| (value % (1 << 40)) as i64);
    RecordBatch::try_from_iter([
        ("a", Arc::new(Int32Array::from_iter_values(a)) as _),
        ("b", Arc::new(Int64Array::from_iter_values(b)) as _),
    ])
    .expect("columns are of one length")
}

/// Everything on the card, or on the CPU where there is none.
fn runtime(card: Option<Arc<dyn Device>>) -> Runtime {
    let placement = Placement::Device(if card.is_some() { "card" } else { "cpu" }.into());
    card.into_iter()
        .fold(builder(), |builder, card| builder.device(card))
        .threads(1)
        .placement(placement)
        .fallback(Fallback::Forbid)
        .build()
        .expect("the configuration is complete")
}

fn process_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("time that has passed is not negative")
}

/// A card that is served by another process, which ends with this.
struct CardProcess {
    directory: PathBuf,
    process: Child,
}

impl CardProcess {
    fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("unlade-bench-{}", std::process::id()));
        std::fs::create_dir(&directory).expect("a directory can be made");
        let program = std::env::current_exe().expect("this program has a path");
        let process = Command::new(program)
            .arg(SERVE)
            .arg(socket(&directory))
            .spawn()
            .expect("this program can be run");
        CardProcess { directory, process }
    }

    fn open(&self) -> Arc<dyn Device> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let name = format!("dpu:unix:{}", socket(&self.directory).display());
        let start = Instant::now();
        loop {
            match open_card_as(&name, "card", None) {
                Ok(card) => return card,
                Err(error) if start.elapsed() > PATIENCE => panic!("{error}"),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for CardProcess {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
        let _removed = std::fs::remove_dir_all(&self.directory);
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("card.sock")
}
