//! From a doorbell to its completion, beside a bare ping-pong between two threads.
//!
//! A card is served over vfio-user by threads of this process; a command that asks for nothing is
//! submitted to it and waited for. Two threads that wake each other through eventfds do it beside
//! that, on the same processors: both sides on one, or each on its own. A line after each pair gives
//! the ratio, which `cargo xtask bench` holds against its target.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use unlade_dpu::{Options, connect};
use unlade_hal::{CommandList, Device, Outcome, Queue};
use unlade_sim_card::{Config, Served};
use unlade_tests::cards::run;
use unlade_tests::figures::{is_asked_for, note};

/// On which processors the two sides are.
#[derive(Clone, Copy, Debug)]
struct Placement {
    name: &'static str,
    host: usize,
    card: usize,
}

fn doorbells(criterion: &mut Criterion) {
    let cores = cores();
    let (first, last) = (cores[0], cores[cores.len() - 1]);
    let one = Placement {
        name: "on one core",
        host: first,
        card: first,
    };
    let across = Placement {
        name: "across cores",
        host: first,
        card: last,
    };
    for placement in [one, across] {
        beside(criterion, placement);
    }
    pin(&cores);
}

fn beside(criterion: &mut Criterion, placement: Placement) {
    // Threads begin where the one is that starts them.
    pin(&[placement.card]);
    let partner = Partner::start();
    let card = Served::start(Config::default()).expect("a socket can be made");
    pin(&[placement.host]);
    let device = connect(card.path(), &Options::default()).expect("a card");
    let mut queue = device.open_queue(8).expect("a queue");
    let mut ping = || partner.ping();
    let mut command = || nothing(&mut *queue);

    let mut group = criterion.benchmark_group(format!("doorbell, {}", placement.name));
    group.bench_function("ping-pong", |bencher| bencher.iter(&mut ping));
    group.bench_function("doorbell to completion", |bencher| {
        bencher.iter(&mut command);
    });
    group.finish();
    let figure = format!("card/doorbell to completion/{}", placement.name);
    if is_asked_for(&[&figure]) {
        ratio(&figure, placement, &mut ping, &mut command);
    }
    assert_eq!(card.counters().findings, [""; 0]);
}

/// A command that asks for nothing, from submission to its delivery.
fn nothing(queue: &mut dyn Queue) {
    let done = run(queue, CommandList::new());
    assert!(matches!(done.outcome, Outcome::Done { .. }));
}

/// A thread that answers.
struct Partner {
    ping: Arc<OwnedFd>,
    pong: Arc<OwnedFd>,
}

impl Partner {
    fn start() -> Self {
        let event = || Arc::new(eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor is free"));
        let partner = Partner {
            ping: event(),
            pong: event(),
        };
        let [ping, pong] = [&partner.ping, &partner.pong].map(Arc::clone);
        // It waits for good when the last ping has come, and ends with the process.
        thread::spawn(move || {
            loop {
                wait(&*ping);
                signal(&*pong);
            }
        });
        partner
    }

    fn ping(&self) {
        signal(&*self.ping);
        wait(&*self.pong);
    }
}

fn signal(event: &impl AsFd) {
    rustix::io::write(event, &1u64.to_ne_bytes()).expect("far from full");
}

fn wait(event: &impl AsFd) {
    rustix::io::read(event, &mut [0; 8]).expect("it waits until there is something");
}

/// The median of many short rounds, in each of which both are measured.
#[allow(clippy::print_stdout)] // the report is for people
fn ratio(figure: &str, placement: Placement, ping: &mut dyn FnMut(), command: &mut dyn FnMut()) {
    const ROUNDS: usize = 201;
    const REPEATS: u32 = 100;
    let time = |what: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..REPEATS).for_each(|_| what());
        start.elapsed() / REPEATS
    };
    let rounds: Vec<(Duration, Duration)> =
        (0..ROUNDS).map(|_| (time(ping), time(command))).collect();
    let quartiles = |figure: &dyn Fn(&(Duration, Duration)) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        [1, 2, 3].map(|quarter| figures[ROUNDS * quarter / 4])
    };
    let micros = |time: &Duration| time.as_secs_f64() * 1e6;
    let [_, ping, _] = quartiles(&|(ping, _)| micros(ping));
    let [_, command, _] = quartiles(&|(_, command)| micros(command));
    let [low, ratio, high] =
        quartiles(&|(ping, command)| command.as_secs_f64() / ping.as_secs_f64());
    println!(
        "doorbell to completion, {}: {command:.2} us, {ratio:.2} times a ping-pong of {ping:.2} us, \
         quartiles {low:.2} to {high:.2}",
        placement.name
    );
    note(figure, ratio);
}

/// The processors that this process may use.
fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("every process is somewhere");
    (0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .collect()
}

/// Keeps this thread, and those that it starts, on these processors.
fn pin(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).expect("processors that this process may use");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700));
    targets = doorbells
}
criterion_main!(benches);
