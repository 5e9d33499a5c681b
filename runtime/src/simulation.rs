//! The whole runtime, devices included, on one thread and one clock: a seed is a run.
//!
//! Clients open sessions and run, submit, stream, keep, cancel at random, on devices that fail at
//! random, in an order that is random as well: the runtime's own locks and threads are Shuttle's here,
//! and whenever one is touched the seed decides who goes on. At every step a client sees that nothing
//! broke its promise, and at the end that nothing is lost: see [`world`].
//!
//! A run that fails prints its shortest history and how to replay it. `cargo xtask simulate` runs
//! them; it sets `UNLADE_SEEDS`, how many seeds to try, or `UNLADE_SEED`, the only one.

mod awaited;
mod history;
mod schedule;
mod shares;
mod spreading;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use self::history::History;
use self::schedule::Seeded;
use self::world::Seen;
use crate::sync::simulated;
use crate::workers::panic_message;

/// How many seeds are tried where nobody says: one to three minutes of them.
const SEEDS: u64 = 10_000;

#[test]
fn every_promise_is_kept_whatever_happens() {
    if let Some(seed) = variable("UNLADE_SEED") {
        let history = History::of(seed);
        println!("{history}");
        note_failures();
        match run(&history) {
            Ok(seen) => println!("{seen:?}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    note_failures();
    let seeds = variable("UNLADE_SEEDS").unwrap_or(SEEDS);
    let (next, seen) = (AtomicU64::new(0), Mutex::new(Seen::default()));
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let history = History::of(seed);
                    match run(&history) {
                        Ok(more) => seen.lock().unwrap().add(&more),
                        Err(failure) => *failed.lock().unwrap() = Some((history, failure)),
                    }
                }
            });
        }
    });
    if let Some((history, failure)) = failed.into_inner().unwrap() {
        let (shortest, why) = shortest(history, failure);
        panic!(
            "{why}\n{shortest}\nthe whole of it again: cargo xtask simulate --seed {}",
            shortest.seed
        );
    }
    let seen = seen.into_inner().unwrap();
    println!("{seeds} seeds: {seen:?}");
    // The runs are worth something only if they reach everything.
    assert!(seeds < SEEDS || seen.is_rich(), "{seen:?}");
}

#[test]
fn a_seed_replays_its_run() {
    let seen = |seed| run(&History::of(seed)).unwrap();
    assert_eq!(seen(1), seen(1));
    assert_ne!(seen(1), seen(2));
}

/// Has a panic noted by the run that it ends.
fn note_failures() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        simulated::fail();
        hook(panic);
    }));
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is no number")),
    )
}

/// Runs a history; what was seen, or what is wrong.
fn run(history: &History) -> Result<Seen, String> {
    let to_run = history.clone();
    simulate(history.seed, move || world::run(&to_run))
}

/// Runs something on Shuttle's threads, by a seed's schedule; what comes of it, or what is wrong.
fn simulate<T: Clone + Default + Send + 'static>(
    seed: u64,
    run: impl Fn() -> T + Send + Sync + 'static,
) -> Result<T, String> {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::None; // the schedule has an end
    config.silence_warnings = true;
    config.stack_size = 1 << 18;
    let seen = std::sync::Arc::new(Mutex::new(T::default()));
    let tell = std::sync::Arc::clone(&seen);
    let runs = move || {
        let runner = Runner::new(Seeded::new(seed), config);
        runner.run(move || *tell.lock().unwrap() = run());
    };
    // On a thread of its own: a run that fails leaves its traces there.
    std::thread::spawn(runs).join().map_err(panic_message)?;
    let seen = seen.lock().unwrap().clone();
    Ok(seen)
}

/// The history without whatever is not needed for it to fail.
fn shortest(mut history: History, mut failure: String) -> (History, String) {
    std::panic::set_hook(Box::new(|_| simulated::fail()));
    loop {
        let shorter = history.shorter().find_map(|shorter| {
            let failure = run(&shorter).err()?;
            Some((shorter, failure))
        });
        match shorter {
            Some(found) => (history, failure) = found,
            None => break,
        }
    }
    let _quiet = std::panic::take_hook();
    (history, failure)
}
