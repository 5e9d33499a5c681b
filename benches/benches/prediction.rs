//! How far off placement's predictions are: of each batch what it was predicted to take, beside what
//! it took, by the clock of its device.
//!
//! Five queries take turns at random on slices of one table, of a thousand to a million rows on the
//! CPU and to 64 thousand on simulators, whose results are interpreted. Nothing is known when a run
//! begins but what the profiles guess, and that time counts. An error is `|predicted / taken - 1|`.

#![allow(clippy::print_stdout)] // errors are for people

use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow_array::{Float64Array, Int32Array, Int64Array, RecordBatch};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unlade::{
    Device, Fallback, Placement, Query, Receipt, Runtime, Semantics, builder, open_card_as,
    parse_expr, parse_select_list,
};
use unlade_sim_card::{Config, Server};
use unlade_sim_device::{Profile, SimDevice};
use unlade_tests::figures::{is_asked_for, note};

/// `SELECT`, and `WHERE` if any.
const QUERIES: [(&str, Option<&str>); 5] = [
    ("a", Some("a > 500")),
    ("a", Some("b % 1000003 * 3 % 97 > 50")),
    ("b + 1, c * 2.0", None),
    ("a, b", Some("c < 0.25")),
    ("a + 1", Some("cast(a as bigint) * b > 10 and c > 0.5")),
];

const ROWS: usize = 1 << 20;

/// For results, in bytes. What the system has not handed out yet is waited for, by however much it takes:
/// a run on the CPU begins with all of it handed out, as a runtime has that is not new.
const MEMORY: u64 = 128 << 20;

/// Batches of each run.
const BATCHES: usize = 400;

/// Runs on each device, by their seeds; the median of their medians is noted.
const RUNS: u64 = 5;

fn main() {
    let table = table();
    measure("cpu", &table, ROWS, |_| None);
    for profile in [Profile::gpu(), Profile::coherent_gpu()] {
        let device = |_: &Path| -> Option<Arc<dyn Device>> {
            Some(Arc::new(
                SimDevice::builder(profile.clone()).name("model").build(),
            ))
        };
        measure(&format!("sim {}", profile.name), &table, 1 << 16, device);
    }
    measure("sim-dpu", &table, 1 << 16, |folder| {
        let path = folder.join("card.sock");
        let server = Server::bind(&path, Config::default()).expect("the folder is new");
        thread::spawn(move || server.run().expect("the socket was made"));
        let card = open_card_as(&format!("unix:{}", path.display()), "sim-dpu", None);
        Some(card.expect("the socket was made"))
    });
}

/// Runs batches on a device, or on the CPU where it is none, and notes how far predictions were off.
fn measure(
    name: &str,
    table: &RecordBatch,
    most_rows: usize,
    device: impl Fn(&Path) -> Option<Arc<dyn Device>>,
) {
    let figure = format!("prediction/percent off/{name}");
    if !is_asked_for(&[&figure]) {
        return;
    }
    let runs: Vec<Errors> = (0..RUNS)
        .map(|seed| {
            let folder = tempfile::tempdir().expect("there is room");
            run(table, most_rows, device(folder.path()), seed)
        })
        .collect();
    let medians = Errors(runs.iter().map(|run| run.at(0.5)).collect());
    let tails = Errors(runs.iter().map(|run| run.at(0.9)).collect());
    println!(
        "{name}: off by {:.1}% in the median of {BATCHES} batches ({:.1} to {:.1} in {RUNS} runs), \
         nine of ten by {:.1}% at most",
        medians.at(0.5),
        medians.at(0.0),
        medians.at(1.0),
        tails.at(0.5)
    );
    note(&figure, medians.at(0.5));
}

/// In per cent.
struct Errors(Vec<f64>);

impl Errors {
    /// What so large a part of them does not exceed.
    fn at(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * part).round() as usize]
    }
}

fn run(
    table: &RecordBatch,
    most_rows: usize,
    device: Option<Arc<dyn Device>>,
    seed: u64,
) -> Errors {
    let name = device.as_ref().map_or("cpu", |device| &device.info().name);
    let mut runtime = builder()
        .predictions(true)
        .memory_budget(MEMORY)
        .fallback(Fallback::Forbid)
        .placement(Placement::Device(name.into()));
    if let Some(device) = &device {
        runtime = runtime.device(Arc::clone(device));
    }
    let runtime: Runtime = runtime.build().expect("the device can be had");
    let compile = |select: &str, filter: Option<&str>| {
        let query = filter.map_or_else(Query::all, |text| {
            Query::filter(parse_expr(text).expect("it is an expression"))
        });
        let query = query.select(parse_select_list(select).expect("it is a list"));
        let kernel = runtime.compile(&query, &table.schema(), &Semantics::arrow());
        kernel.expect("the queries fit the table")
    };
    if device.is_none() {
        // Of a kind that none of the queries is of.
        let widest = &compile("a + 1, a + 2, a + 3, a + 4", None);
        // Held until there is no more: what was dropped would be handed out again, and the rest never.
        let pieces = [ROWS, ROWS / 64].map(|rows| table.slice(0, rows));
        let run = |piece| iter::from_fn(move || widest.run(piece).ok());
        let all: Vec<_> = pieces.iter().flat_map(run).collect();
        assert!(!all.is_empty(), "there is memory for one batch at least");
    }
    let kernels = QUERIES.map(|(select, filter)| compile(select, filter));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let errors = (0..BATCHES).map(|_| {
        let octaves = (most_rows as f64 / 1000.0).log2() * random.random::<f64>();
        let rows = ((1000.0 * octaves.exp2()) as usize).min(most_rows);
        let batch = table.slice(random.random_range(0..=ROWS - rows), rows);
        let kernel = &kernels[random.random_range(0..kernels.len())];
        let receipt = kernel.run(&batch).expect("nothing fails").receipt;
        let predicted = receipt.predicted.expect("predictions were asked for");
        100.0 * (predicted.as_secs_f64() / taken(&receipt).as_secs_f64() - 1.0).abs()
    });
    Errors(errors.collect())
}

/// What a batch took by the clock of the prediction: a simulator tells nothing of the host's part.
fn taken(receipt: &Receipt) -> Duration {
    if receipt.predicted_clock == Some(receipt.taken_clock) {
        return receipt.taken;
    }
    let parts = receipt.parts.iter();
    parts
        .map(|part| part.copy_in + part.compute + part.copy_out)
        .sum()
}

fn table() -> RecordBatch {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut below = |most: i64| random.random_range(0..most);
    let a = Int32Array::from_iter_values((0..ROWS).map(|_| below(1000) as i32));
    let b = Int64Array::from_iter_values((0..ROWS).map(|_| below(1 << 40)));
    let c = Float64Array::from_iter_values((0..ROWS).map(|_| below(1 << 20) as f64 / 1048576.0));
    let columns: [(&str, arrow_array::ArrayRef); 3] =
        [("a", Arc::new(a)), ("b", Arc::new(b)), ("c", Arc::new(c))];
    RecordBatch::try_from_iter(columns).expect("they are of one length")
}
