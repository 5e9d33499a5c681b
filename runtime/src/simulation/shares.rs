//! What sessions get of a device, by their streams and tickets: shares as their weights.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatchIterator;
use unlade_cpu::CpuDevice;
use unlade_expr::{Query, Semantics, parse_expr};
use unlade_sim_clock::VirtualClock;

use super::awaited::Awaited;
use super::simulate;
use super::world::{batch, come_to_rest, in_time};
use crate::figures::note;
use crate::options::Placement;
use crate::runtime::Runtime;
use crate::session::Session;
use crate::sync::{Mutex, thread};

const SEEDS: u64 = 4;

/// How long the device works in all, until it is looked who got what.
const WORK: Duration = Duration::from_millis(400);

/// Bytes per second to and from the device: little, so that it is what all wait for.
const SPEED: u64 = 50_000_000;

/// Part of its share that a session may have more, or less: a twentieth.
const TOLERANCE: f64 = 0.05;

#[test]
fn streams_have_shares_as_their_weights() {
    hold(&[(1, Way::Stream, 4096), (3, Way::Stream, 4096)]);
}

#[test]
fn streams_of_many_sessions_have_shares_as_their_weights() {
    let stream = |weight| (weight, Way::Stream, 4096);
    hold(&[1, 2, 1, 4, 2].map(stream));
}

#[test]
fn large_batches_are_no_larger_share() {
    hold(&[(1, Way::Stream, 8192), (1, Way::Stream, 2048)]);
}

#[test]
fn tickets_have_shares_as_their_weights() {
    hold(&[(1, Way::Tickets, 4096), (3, Way::Tickets, 4096)]);
}

#[test]
fn tickets_and_streams_have_shares_as_their_weights() {
    hold(&[(2, Way::Tickets, 4096), (1, Way::Stream, 4096)]);
}

/// How a session has its batches run.
#[derive(Clone, Copy, Debug)]
enum Way {
    Stream,
    /// Sixteen at once.
    Tickets,
}

/// A session: its weight, its way, and rows of its batches.
type Load = (u32, Way, usize);

/// Checks that of all the time that the device works, each has its part by weight.
fn hold(loads: &[Load]) {
    let mut most = 0.0f64;
    for seed in 0..SEEDS {
        let of_run = loads.to_vec();
        let times = simulate(seed, move || in_time(|clock| device_times(&of_run, clock)));
        let times = times.unwrap();
        let (sum, weights) = (
            times.iter().sum::<Duration>().as_secs_f64(),
            loads
                .iter()
                .map(|(weight, ..)| f64::from(*weight))
                .sum::<f64>(),
        );
        for (time, (weight, ..)) in times.iter().zip(loads) {
            let fair = sum * f64::from(*weight) / weights;
            let off = time.as_secs_f64() / fair - 1.0;
            assert!(
                off.abs() < TOLERANCE,
                "seed {seed}, weight {weight}: {off}, {times:?}"
            );
            most = most.max(off.abs());
        }
    }
    note("percent off the weights, runtime", most * 100.0);
}

/// How long the device has worked for each session, all of them busy.
fn device_times(loads: &[Load], clock: &VirtualClock) -> Vec<Duration> {
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(Awaited::behind_a_bus("sim", SPEED, clock))
        .clock(Arc::new(clock.clone()))
        .placement(Placement::Device("sim".into()))
        .build()
        .unwrap();
    let sessions: Vec<Session> = loads
        .iter()
        .map(|(weight, ..)| {
            let session = runtime.session(format!("weight {weight}"));
            session.weight(*weight).open().unwrap()
        })
        .collect();
    let race = Arc::new(Race {
        sessions,
        times: Mutex::default(),
    });
    let clients: Vec<_> = loads
        .iter()
        .enumerate()
        .map(|(number, &(_, way, rows))| {
            let race = Arc::clone(&race);
            thread::spawn(move || race.client(number, way, rows))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let race = Arc::into_inner(race).expect("all clients have ended");
    drop(race.sessions);
    come_to_rest(&runtime.core);
    let times = race.times.into_inner().unwrap();
    times.expect("all were busy until there were some")
}

/// Sessions that are busy all the while.
struct Race {
    sessions: Vec<Session>,
    /// What each had got when it was over.
    times: Mutex<Option<Vec<Duration>>>,
}

impl Race {
    fn client(&self, number: usize, way: Way, rows: usize) {
        let one = batch(0, rows);
        let query = Query::filter(parse_expr("n % 2 = 0").unwrap());
        let kernel = self.sessions[number]
            .compile(&query, &one.schema(), &Semantics::arrow())
            .unwrap();
        match way {
            Way::Stream => {
                let endless = std::iter::repeat(one.clone()).map(Ok);
                let mut stream = kernel.stream(RecordBatchIterator::new(endless, one.schema()));
                while !self.is_over() {
                    stream.next().expect("it has no end").unwrap();
                }
            }
            Way::Tickets => {
                let mut tickets = VecDeque::new();
                while !self.is_over() {
                    while tickets.len() < 16 {
                        tickets.push_back(kernel.submit(one.clone()).unwrap());
                    }
                    let oldest = tickets.pop_front().expect("there are sixteen");
                    oldest.wait().unwrap();
                }
            }
        }
    }

    /// Whether the device has worked for long enough. Who has results looks: there is always somebody
    /// at work, so that time does not pass for who sleeps.
    fn is_over(&self) -> bool {
        let mut times = self.times.lock().unwrap();
        let now = self
            .sessions
            .iter()
            .map(|session| session.status().device_time);
        let now: Vec<Duration> = now.collect();
        if now.iter().sum::<Duration>() >= WORK {
            times.get_or_insert(now);
        }
        times.is_some()
    }
}
