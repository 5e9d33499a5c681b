//! How sessions share a device, on virtual time: shares of device time, weights, and what a small
//! session has to wait beside large ones.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::figures::note;

const SEEDS: Range<u64> = 0..8;

#[test]
fn equal_sessions_have_equal_shares_whatever_the_sizes_of_their_jobs() {
    let mut least = f64::MAX;
    for seed in SEEDS {
        for depth in [1, 4] {
            // From a fifth of a millisecond to a fifth of a second a job.
            let sizes = [200, 500, 1000, 5000, 10_000, 50_000, 100_000, 200_000];
            let loads = sizes.map(|micros| Load {
                micros: micros / 2..micros * 3 / 2,
                ..Load::busy()
            });
            let index = jain(&shares(&run(&loads, depth, seed)));
            assert!(index >= 0.99, "seed {seed}, depth {depth}: {index}");
            least = least.min(index);
        }
    }
    note("Jain's index of equal sessions, least", least);
}

#[test]
fn shares_are_as_the_weights() {
    let mut most = 0.0f64;
    for seed in SEEDS {
        for depth in [1, 4] {
            let weights = [1, 2, 3, 5, 8, 13];
            let loads = weights.map(|weight| Load {
                weight,
                ..Load::busy()
            });
            // Divided by their weights, all are the same.
            let shares = shares(&run(&loads, depth, seed));
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            for (share, weight) in shares.iter().zip(weights) {
                let off = share / mean - 1.0;
                assert!(off.abs() < 0.05, "seed {seed}, weight {weight}: {off}");
                most = most.max(off.abs());
            }
        }
    }
    note("percent off the weights, scheduler", most * 100.0);
}

#[test]
fn what_failed_is_not_paid() {
    for seed in SEEDS {
        let loads = [
            Load {
                fails: 0.5,
                ..Load::busy()
            },
            Load::busy(),
        ];
        let index = jain(&shares(&run(&loads, 4, seed)));
        assert!(index >= 0.99, "seed {seed}: {index}");
    }
}

#[test]
fn new_sessions_do_not_starve_an_old_one() {
    for seed in SEEDS {
        let fleeting = Load {
            fleeting: true,
            outstanding: 1,
            ..Load::busy()
        };
        let mut loads = vec![fleeting; 4];
        loads.push(Load::busy());
        let shares = shares(&run(&loads, 1, seed));
        let old = shares[4] / shares.iter().sum::<f64>();
        assert!(old > 0.15, "seed {seed}: {old}");
    }
}

/// Small: one batch at a time, and a pause so long that it asks for less than its share. Large:
/// always sixteen batches, of the size said. Neither is interrupted on the device, so that the small
/// one waits for what the device has begun.
#[test]
fn a_small_session_waits_little_beside_large_ones() {
    // A device that does one at a time; one that has the next one at hand; and one that copies in,
    // computes and copies out at once, with a queue of the usual depth.
    let mut most = 0.0f64;
    for (depth, engines, size) in [(1, 1, 2), (2, 1, 1), (4, 3, 2)] {
        let small = Load {
            micros: 900..1100,
            outstanding: 1,
            pause: 16_000..48_000,
            ..Load::busy()
        };
        let large = Load {
            micros: 900 * size..1100 * size,
            ..Load::busy()
        };
        let p99 = |loads: &[Load]| {
            let run = |seed| run_on(&mut Engines::new(engines), loads, depth, seed);
            percentile_99(
                SEEDS
                    .flat_map(|seed| run(seed).swap_remove(0).latencies)
                    .collect(),
            )
        };
        let alone = p99(std::slice::from_ref(&small));
        let loads: Vec<Load> = iter::once(small).chain(iter::repeat_n(large, 7)).collect();
        let beside = p99(&loads);
        println!(
            "depth {depth}, engines {engines}, size {size}: {alone:?} alone, {beside:?} beside"
        );
        assert!(beside <= 3 * alone, "{alone:?} alone, {beside:?} beside");
        most = most.max(beside.as_secs_f64() / alone.as_secs_f64());
    }
    note(
        "times the 99th percentile alone, beside seven large sessions",
        most,
    );
}

/// A session and what it asks for.
#[derive(Clone)]
struct Load {
    weight: u32,
    /// Jobs that it always has waiting or on the device, but for the pauses.
    outstanding: usize,
    /// How long its jobs take.
    micros: Range<u64>,
    /// How long it waits, in microseconds, between the end of a job and the next one.
    pause: Range<u64>,
    /// How many of its jobs fail.
    fails: f64,
    /// Whether each job is of a session of its own.
    fleeting: bool,
}

impl Load {
    fn busy() -> Self {
        Load {
            weight: 1,
            outstanding: 16,
            micros: 500..1500,
            pause: 0..1,
            fails: 0.0,
            fleeting: false,
        }
    }
}

/// What a session got.
#[derive(Clone, Default)]
struct Got {
    /// Device time of what succeeded, by weight.
    time: f64,
    latencies: Vec<Duration>,
}

/// A device whose jobs pass through its engines, in order, for equal times.
struct Engines {
    free: Vec<Timestamp>,
}

impl Engines {
    fn new(engines: usize) -> Self {
        Engines {
            free: vec![Timestamp::default(); engines],
        }
    }

    /// When a job that starts now will be done.
    fn start(&mut self, now: Timestamp, takes: Duration) -> Timestamp {
        let each = takes / self.free.len() as u32;
        self.free.iter_mut().fold(now, |ready, free| {
            *free = Timestamp(ready.max(*free).0 + each);
            *free
        })
    }
}

struct Pending {
    load: usize,
    takes: Duration,
    since: Timestamp,
}

enum What {
    Submit(usize),
    Finish(JobId),
}

const HORIZON: Timestamp = Timestamp(Duration::from_secs(20));

fn run(loads: &[Load], depth: u32, seed: u64) -> Vec<Got> {
    run_on(&mut Engines::new(1), loads, depth, seed)
}

fn run_on(device: &mut Engines, loads: &[Load], depth: u32, seed: u64) -> Vec<Got> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let limits = Limits {
        depth,
        bytes: u64::MAX,
    };
    let mut scheduler = Scheduler::new(vec![limits], Settings::default());
    let mut got = vec![Got::default(); loads.len()];
    let mut pending: BTreeMap<JobId, Pending> = BTreeMap::new();
    let mut agenda: BTreeMap<(Timestamp, u64), What> = BTreeMap::new();
    let mut planned = 0;
    for (index, load) in loads.iter().enumerate() {
        for _ in 0..load.outstanding {
            planned += 1;
            agenda.insert((Timestamp::default(), planned), What::Submit(index));
        }
    }
    while let Some(((now, _), what)) = agenda.pop_first() {
        if now > HORIZON {
            break;
        }
        let event = match what {
            What::Submit(index) => {
                planned += 1;
                let (id, load) = (JobId(planned), &loads[index]);
                let takes = Duration::from_micros(random.random_range(load.micros.clone()));
                pending.insert(
                    id,
                    Pending {
                        load: index,
                        takes,
                        since: now,
                    },
                );
                let session = if load.fleeting { planned } else { index as u64 };
                // How long a byte takes varies.
                let bytes = takes.as_nanos() as u64 / random.random_range(500..1500);
                let job = Job {
                    session: SessionKey(session),
                    weight: load.weight,
                    devices: vec![DeviceIndex(0)],
                    ..Job::new(bytes)
                };
                Event::Submit { id, job }
            }
            What::Finish(id) => {
                let device = DeviceIndex(0);
                let job = &pending[&id];
                if random.random_bool(loads[job.load].fails) {
                    Event::Failed { id, device }
                } else {
                    let weight = f64::from(loads[job.load].weight);
                    got[job.load].time += job.takes.as_secs_f64() / weight;
                    let used = job.takes;
                    Event::Completed { id, device, used }
                }
            }
        };
        for action in scheduler.step(event, now) {
            planned += 1;
            match action {
                Action::Dispatch { id, .. } => {
                    let at = device.start(now, pending[&id].takes);
                    agenda.insert((at, planned), What::Finish(id));
                }
                Action::End { id, .. } => {
                    let job = pending.remove(&id).expect("it ends once");
                    got[job.load].latencies.push(now.since(job.since));
                    let pause = random.random_range(loads[job.load].pause.clone());
                    let at = Timestamp(now.0 + Duration::from_micros(pause));
                    agenda.insert((at, planned), What::Submit(job.load));
                }
                Action::Revive { .. } => unreachable!("no device is lost"),
            }
        }
    }
    got
}

fn shares(got: &[Got]) -> Vec<f64> {
    got.iter().map(|got| got.time).collect()
}

/// Jain's index of fairness (1984): 1 where all have the same, 1/n where one has everything.
fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

fn percentile_99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort();
    latencies[latencies.len() * 99 / 100]
}
