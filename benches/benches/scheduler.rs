//! What it costs to give batches their turns on devices, with devices that do nothing.
//!
//! A batch is one job through the dispatcher: submitted, given a turn on its device, given back.
//! An iteration is one batch, of all sessions together. `turns` are served by one or two threads,
//! which poll the turns of all sessions; a batch is done when all others that are ready were polled,
//! so that devices are full and half of the sessions wait. `threads` is a thread of its own for each
//! session, which waits in `Dispatcher::enter` and is done at once. Beside them, `spawn-blocking`
//! hands each batch to tokio's pool for blocking work, as an engine does that has no scheduler.
//!
//! `sessions` is what a batch costs one thread that serves so many sessions. Last, and only printed:
//! both as ratios of runs that took turns, so that whatever else the machine does disturbs both
//! sides, and the process's memory before and after ten million batches.

#![allow(clippy::print_stdout)] // ratios and memory are for people

#[path = "scheduler/executor.rs"]
mod executor;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use unlade_hal::WallClock;
use unlade_runtime::placement::DeviceIndex;
use unlade_runtime::scheduler::{Dispatcher, Job, Limits, Revival, SessionKey, Settings};
use unlade_tests::figures::{is_asked_for, note};

const DEVICES: usize = 8;
const SESSIONS: u64 = 64;
/// Batches that all sessions together have under way where they are counted, so that as many wait
/// with few sessions as with many.
const UNDER_WAY: u64 = 512;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    throughput(&mut criterion);
    sessions(&mut criterion);
    criterion.final_summary();
    // For a quick look, or a list, nothing is measured.
    if std::env::args().any(|word| ["--test", "--list"].contains(&word.as_str())) {
        return;
    }
    let beside = ["turns-1", "turns-2", "threads-64"].map(|way| [rate(way), ratio(way)]);
    let beside: Vec<&str> = beside.iter().flatten().map(String::as_str).collect();
    if is_asked_for(&beside) {
        beside_spawn_blocking();
    }
    let costs = MANY.map(cost);
    if is_asked_for(&[&costs[0], &costs[1]]) {
        beside_eight_sessions();
    }
    if is_asked_for(&[KEPT]) {
        memory();
    }
}

/// Names of figures.
const KEPT: &str = "scheduler/KiB more after 10 M batches";

fn rate(way: &str) -> String {
    format!("scheduler/M batches a second/{way}")
}

fn ratio(way: &str) -> String {
    format!("scheduler/times spawn-blocking/{way}")
}

fn cost(sessions: u64) -> String {
    format!("scheduler/times the cost with 8 sessions/{sessions}")
}

/// How many sessions are held beside 8.
const MANY: [u64; 2] = [64, 512];

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scheduler");
    group.throughput(Throughput::Elements(1));
    for threads in [1, 2] {
        group.bench_function(format!("turns-{threads}"), |bencher| {
            let dispatcher = dispatcher();
            bencher.iter_custom(|batches| turns(&dispatcher, threads, (SESSIONS, 1), batches));
        });
    }
    group.bench_function("threads-64", |bencher| {
        let dispatcher = dispatcher();
        bencher.iter_custom(|batches| blocking(&dispatcher, batches));
    });
    group.bench_function("spawn-blocking", |bencher| {
        let runtime = tokio();
        bencher.iter_custom(|batches| runtime.block_on(spawn_blocking(batches)));
    });
    group.finish();
}

fn sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scheduler/sessions");
    group.throughput(Throughput::Elements(1));
    for sessions in [8, 64, 512] {
        group.bench_function(sessions.to_string(), |bencher| {
            let dispatcher = dispatcher();
            bencher.iter_custom(|batches| {
                turns(&dispatcher, 1, (sessions, UNDER_WAY / sessions), batches)
            });
        });
    }
    group.finish();
}

/// Runs that take turns.
const ROUNDS: usize = 21;

/// Batches a second of all sessions together, and how many times as many as by `spawn_blocking`.
fn beside_spawn_blocking() {
    const BATCHES: u64 = 20_000;
    let tokio = tokio();
    let ways: [(&str, &dyn Fn(u64) -> Duration); 3] = [
        ("turns-1", &|batches| {
            turns(&dispatcher(), 1, (SESSIONS, 1), batches)
        }),
        ("turns-2", &|batches| {
            turns(&dispatcher(), 2, (SESSIONS, 1), batches)
        }),
        ("threads-64", &|batches| blocking(&dispatcher(), batches)),
    ];
    for (name, way) in ways {
        let rounds = (0..ROUNDS).map(|_| {
            let ours = 10.0 * BATCHES as f64 / way(10 * BATCHES).as_secs_f64();
            let theirs = tokio.block_on(spawn_blocking(BATCHES)).as_secs_f64();
            (ours, ours * theirs / BATCHES as f64)
        });
        let (rates, ratios): (Vec<f64>, Vec<f64>) = rounds.unzip();
        let [median, least, most] = spread(rates).map(|rate| rate / 1e6);
        println!("{name}: {median:.2} M batches a second ({least:.2} to {most:.2})");
        note(&rate(name), median);
        let [median, least, most] = spread(ratios);
        println!("{name}: {median:.1} times spawn-blocking ({least:.1} to {most:.1})");
        note(&ratio(name), median);
    }
}

/// How much more a batch costs with more sessions.
fn beside_eight_sessions() {
    const BATCHES: u64 = 200_000;
    let seconds =
        |sessions| turns(&dispatcher(), 1, (sessions, UNDER_WAY / sessions), BATCHES).as_secs_f64();
    for sessions in MANY {
        let ratios = (0..ROUNDS)
            .map(|_| seconds(sessions) / seconds(8))
            .collect();
        let [median, least, most] = spread(ratios);
        println!(
            "{sessions} sessions: {median:.2} times the cost with 8 ({least:.2} to {most:.2})"
        );
        note(&cost(sessions), median);
    }
}

/// The median, the least and the most.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values.len() / 2, 0, values.len() - 1].map(|at| values[at])
}

/// Whether anything is kept of batches that are done, or of sessions that are gone.
fn memory() {
    const BATCHES: u64 = 10_000_000;
    let dispatcher = dispatcher();
    turns(&dispatcher, 1, (SESSIONS, 1), BATCHES / 100);
    let before = resident();
    turns(&dispatcher, 1, (SESSIONS, 1), BATCHES);
    let after = resident();
    println!("memory: {before} KiB resident, {after} KiB after {BATCHES} batches");
    note(KEPT, after as f64 - before as f64);
    let session = |number| Job {
        session: SessionKey(number),
        ..job(number, number)
    };
    for number in 0..BATCHES / 10 {
        let permit = dispatcher.enter(session(SESSIONS + number), |_| Revival::Failed);
        permit.expect("nothing is on the devices").done(None);
    }
    println!("memory: {} KiB after a million sessions more", resident());
}

/// Eight devices with queues of the usual depth.
fn dispatcher() -> Dispatcher {
    let device = |index| (format!("device {index}").into(), Limits::default());
    let devices = (0..DEVICES).map(device).collect();
    Dispatcher::new(devices, Settings::default(), Arc::new(WallClock::new()))
}

/// A session's batches go to the devices in turn.
fn job(session: u64, batch: u64) -> Job {
    Job {
        session: SessionKey(session),
        devices: vec![DeviceIndex((session + batch) as usize % DEVICES)],
        ..Job::new(65_536)
    }
}

/// Threads that each serve some of the sessions, all of which have so many batches under way.
fn turns(
    dispatcher: &Dispatcher,
    threads: u64,
    (sessions, ahead): (u64, u64),
    batches: u64,
) -> Duration {
    let left = &AtomicU64::new(batches);
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let mine = (thread..sessions * ahead).step_by(threads as usize);
            let task = move |number: u64| async move {
                let mut batch = number / sessions;
                while take_one(left) {
                    let turn = dispatcher.turn(job(number % sessions, batch));
                    let permit = turn.await.expect("no device is lost");
                    executor::step_back().await;
                    permit.done(None);
                    batch += 1;
                }
            };
            scope.spawn(move || executor::run(mine.map(task).collect()));
        }
    });
    start.elapsed()
}

/// A thread for each session.
fn blocking(dispatcher: &Dispatcher, batches: u64) -> Duration {
    let left = AtomicU64::new(batches);
    let start = Instant::now();
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            let left = &left;
            scope.spawn(move || {
                let mut batch = 0;
                while take_one(left) {
                    let permit = dispatcher.enter(job(session, batch), |_| Revival::Failed);
                    let permit = permit.expect("no device is lost");
                    black_box(permit.device());
                    permit.done(None);
                    batch += 1;
                }
            });
        }
    });
    start.elapsed()
}

fn tokio() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).build();
    runtime.expect("threads can be had")
}

/// A task for each session, and each batch handed to the pool for blocking work.
async fn spawn_blocking(batches: u64) -> Duration {
    let left = Arc::new(AtomicU64::new(batches));
    let start = Instant::now();
    let tasks: Vec<_> = (0..SESSIONS)
        .map(|session| {
            let left = Arc::clone(&left);
            tokio::spawn(async move {
                while take_one(&left) {
                    let batch = tokio::task::spawn_blocking(move || black_box(session));
                    batch.await.expect("it does nothing");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it does not panic");
    }
    start.elapsed()
}

fn take_one(left: &AtomicU64) -> bool {
    let one_less = |left: u64| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
        .is_ok()
}

/// Memory of this process that is in use, in KiB.
fn resident() -> u64 {
    const PAGE_KIB: u64 = 4;
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    pages.map_or(0, |pages: u64| pages * PAGE_KIB)
}
