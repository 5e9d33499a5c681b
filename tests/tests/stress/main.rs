//! The runtime under load: several threads open and drop sessions, run, submit, stream, pin and
//! cancel on the CPU and three simulated devices, each of which fails by chance, in every way that
//! is not silent. Every result is what the CPU alone makes of the batch, and every error one that was
//! asked for. Now and then everybody rests, and what the process holds is compared with what it held
//! before; at the end the runtime is shut down under load, and nothing is left behind.
//!
//! `UNLADE_STRESS_SEED` chooses what is done, `UNLADE_STRESS_SECONDS` for how long: that long with
//! all faults but one, and as long again with that, too, a completion that never comes. Memory is
//! abandoned to a device that does not say what it does with it, and only without that can be
//! compared. With `UNLADE_STRESS_PAUSE`, the seconds between two rests, it is a soak of the first
//! half: memory is held to a bound, too, every rest prints a line, and Ctrl-C ends it with its
//! verdict: `cargo xtask soak`. With `UNLADE_STRESS_ABANDONS=0` it is the first half alone, which leaves
//! nothing to be found as a leak.
//!
//! One test, so that nobody else of this process opens or closes anything while it counts.
#![allow(clippy::print_stdout)] // how much was done is what this test reports

mod counts;
mod operation;
mod place;
mod posing;
mod user;
mod watch;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use signal_hook::consts::SIGINT;
use unlade_hal::MemoryKind;
use unlade_sim_fault::FaultKind;
use unlade_tests::devices::simulated_gpu;
use unlade_tests::process::{Held, at_rest, resident_bytes, settle};

use crate::counts::{Counts, End, Way};
use crate::place::Place;
use crate::user::{At, User};
use crate::watch::Watch;
use crate::work::Work;

/// Knows what is in use of what the process holds: the rest is what the allocator keeps. What libraries
/// allocate that are loaded, the simulated GPU's for one, passes it by.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Threads that use the runtime.
const USERS: usize = 5;

/// Until all operations, ends and faults were met, which the first mostly does.
const ROUNDS: u64 = 8;

/// How long the runtime has to shut down, and what is beyond that on a machine that is busy.
const SHUTDOWN: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(10);

/// Seconds of a soak until all is there that is kept: what the simulated GPU notes of its launches,
/// the pool's reserve, the threads; of a short one a third.
const WARM_UP: f64 = 120.0;

/// How much more may be held at a rest than after the warm-up. Memory in use: the list of all faults that
/// were injected, which takes twice its memory when it grows. Memory held: what the allocator keeps at
/// one rest more than at another, too. Descriptors: each
/// piece of memory has one, and a device that is lost at the moment gives back none. What is
/// abandoned keeps its own for good: where other work makes devices miss their deadlines, a soak says
/// nothing of descriptors.
const BOUND: Footprint = Footprint {
    in_use: 8 << 20,
    resident: 64 << 20,
    threads: 8,
    descriptors: 24,
};

#[test]
fn many_users_of_failing_devices() {
    let settings = Settings::from_environment();
    println!("{settings}");
    let work = Work::new();
    // What is made once in a process is there afterwards.
    run(&settings.warm_up(), false, &work);
    let mut totals = Totals::default();
    for round in 0..ROUNDS {
        let before = at_rest(held);
        let settings = settings.of_round(round);
        let quiet = run(&settings, false, &work);
        println!("{quiet}");
        match quiet.leaked {
            0 => settle("what is left behind", held, &before),
            // A device was too slow for its own good.
            _ => left_behind_but_memory(&before),
        }
        totals.add(quiet);
        if settings.abandons {
            let others = run(&settings, true, &work);
            println!("and where memory has to be abandoned:\n{others}");
            left_behind_but_memory(&before);
            totals.add(others);
        }
        let unmet = totals.unmet(&settings);
        if unmet.is_empty() || settings.is_interrupted() {
            return;
        }
        println!("not met yet: {unmet:?}");
    }
    panic!("not all of it was met in {ROUNDS} rounds");
}

fn left_behind_but_memory(before: &Held) {
    settle(
        "what is left behind",
        || held().without_memory(),
        &before.clone().without_memory(),
    );
}

#[derive(Clone, Debug)]
struct Settings {
    seed: u64,
    seconds: f64,
    /// Of a soak, the seconds between two rests.
    pause: Option<f64>,
    /// Whether there is a second half.
    abandons: bool,
    /// Set by Ctrl-C, of a soak.
    interrupted: Arc<AtomicBool>,
}

impl Settings {
    fn from_environment() -> Settings {
        fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
            let text = env::var(variable).ok()?;
            let number = text.parse().ok();
            Some(number.unwrap_or_else(|| panic!("{variable} is no number: {text}")))
        }
        let pause = number("UNLADE_STRESS_PAUSE");
        let interrupted = Arc::new(AtomicBool::new(false));
        if pause.is_some() {
            signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))
                .expect("a process may notice Ctrl-C");
        }
        Settings {
            seed: number("UNLADE_STRESS_SEED").unwrap_or(1),
            seconds: number("UNLADE_STRESS_SECONDS").unwrap_or(3.0),
            abandons: pause.is_none() && number("UNLADE_STRESS_ABANDONS") != Some(0),
            pause,
            interrupted,
        }
    }

    fn warm_up(&self) -> Settings {
        Settings {
            seconds: 0.5,
            pause: None,
            ..self.clone()
        }
    }

    /// The first is as it was asked for; others do something else.
    fn of_round(&self, round: u64) -> Settings {
        Settings {
            seed: self.seed ^ (round << 48),
            ..self.clone()
        }
    }

    /// Seconds between two rests.
    fn shift(&self) -> f64 {
        self.pause.unwrap_or(self.seconds / 3.0)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seconds from UNLADE_STRESS_SEED={}, with {USERS} users",
            self.seconds, self.seed
        )
    }
}

/// One runtime from its beginning to its end; its devices may `leak`, as [`Place::new`] says.
fn run(settings: &Settings, leak: bool, work: &Work) -> Totals {
    let place = Place::new(settings.seed, leak);
    let watch = Watch::new(USERS + 1);
    let mut users: Vec<User> = (0..USERS)
        .map(|number| User::new(settings.seed, number))
        .collect();
    watch.over(&place.runtime, || {
        let ending = AtomicBool::new(false);
        let at = At {
            place: &place,
            work,
            watch: &watch,
            ending: &ending,
        };
        let begun = Instant::now();
        let shift = Duration::from_secs_f64(settings.shift());
        let mut warm: Option<Footprint> = None;
        while begun.elapsed().as_secs_f64() + settings.shift() / 2.0 < settings.seconds
            && !settings.is_interrupted()
        {
            let until = Instant::now() + shift;
            thread::scope(|scope| {
                for user in &mut users {
                    scope.spawn(move || user.work(at, until));
                }
            });
            rest(at);
            let now = Footprint::now(&place);
            if settings.pause.is_some() {
                let operations: u64 = users.iter().map(|user| user.counts.operations()).sum();
                println!(
                    "after {:.0} s: {operations} operations, {now}, {} bytes leased, {} abandoned",
                    begun.elapsed().as_secs_f64(),
                    place.leased(),
                    place.leaked()
                );
                let seconds = begun.elapsed().as_secs_f64();
                match warm {
                    Some(warm) if seconds > WARM_UP.min(settings.seconds / 3.0) => now.check(warm),
                    Some(earlier) => warm = Some(earlier.max(now)),
                    None => warm = Some(now),
                }
            }
        }
        shut_down_under_load(at, &mut users);
    });
    let mut totals = Totals::default();
    for user in &users {
        totals.counts.add(&user.counts);
    }
    for (name, device) in &place.faulty {
        for fault in device.log() {
            *totals.faults.entry(fault.kind).or_default() += 1;
        }
        totals.devices.insert(name.clone());
    }
    totals.leaked = place.leaked();
    totals
}

/// What this process holds once the GPU has given back what it was to, which it does with its next
/// request.
fn held() -> Held {
    if place::is_wanted("sim-gpu") {
        let allocated = simulated_gpu().allocate(MemoryKind::DeviceLocal, 1);
        allocated.expect("it has memory, and was not lost itself");
    }
    Held::now()
}

/// Everybody rests: all is back where it belongs.
fn rest(at: At<'_>) {
    at.watch.begins(USERS, "waits for all leases".to_owned());
    at.place.check_idle();
    at.watch.rests(USERS);
}

fn shut_down_under_load(at: At<'_>, users: &mut [User]) {
    let until = Instant::now() + Duration::from_secs(3600);
    let ended = thread::scope(|scope| {
        for user in users {
            scope.spawn(move || user.work(at, until));
        }
        thread::sleep(Duration::from_millis(300));
        at.watch.begins(USERS, "shuts the runtime down".to_owned());
        at.ending.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let ended = at.place.runtime.shutdown(SHUTDOWN);
        assert!(begun.elapsed() < SHUTDOWN + SLACK, "{:?}", begun.elapsed());
        ended
    });
    assert_eq!(ended.left, 0, "{ended:?}");
    rest(at);
}

/// What is to be the same at every rest.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    /// Bytes that were allocated and not freed.
    in_use: u64,
    /// Bytes of memory, but those that were abandoned to lost devices.
    resident: u64,
    threads: u64,
    descriptors: u64,
}

impl Footprint {
    fn now(place: &Place) -> Footprint {
        place.have_memory_given_back();
        let held = Held::now();
        Footprint {
            in_use: ALLOCATOR.current_usage() as u64,
            resident: resident_bytes().saturating_sub(place.leaked()),
            threads: held.threads as u64,
            descriptors: held.descriptors.values().sum::<usize>() as u64,
        }
    }

    /// The most of each.
    fn max(self, other: Footprint) -> Footprint {
        Footprint {
            in_use: self.in_use.max(other.in_use),
            resident: self.resident.max(other.resident),
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }

    /// Panics where this is more than after the warm-up by more than the bound.
    fn check(self, warm: Footprint) {
        for (what, now, warm, bound) in [
            ("bytes in use", self.in_use, warm.in_use, BOUND.in_use),
            (
                "bytes of memory",
                self.resident,
                warm.resident,
                BOUND.resident,
            ),
            ("threads", self.threads, warm.threads, BOUND.threads),
            (
                "descriptors",
                self.descriptors,
                warm.descriptors,
                BOUND.descriptors,
            ),
        ] {
            assert!(
                now <= warm + bound,
                "{what}: {now} now, {warm} after the warm-up"
            );
        }
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Footprint {
            in_use,
            resident,
            threads,
            descriptors,
        } = self;
        let mebibytes = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{:.1} MiB, {:.2} of them in use, {threads} threads, {descriptors} descriptors",
            mebibytes(resident),
            mebibytes(in_use)
        )
    }
}

/// What came of all of it.
#[derive(Debug, Default)]
struct Totals {
    counts: Counts,
    faults: BTreeMap<FaultKind, u64>,
    /// All but the CPU.
    devices: BTreeSet<String>,
    leaked: u64,
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.counts.add(&other.counts);
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.devices.extend(other.devices);
        self.leaked += other.leaked;
    }

    /// Which operations, ends, devices and kinds of faults have not been met.
    fn unmet(&self, settings: &Settings) -> Vec<String> {
        let Counts { ways, ends, .. } = &self.counts;
        let mut unmet: Vec<String> = Vec::new();
        let missing = Way::ALL.iter().filter(|way| !ways.contains_key(way));
        unmet.extend(missing.map(|way| format!("{way:?}")));
        let missing = End::ALL.iter().filter(|end| !ends.contains_key(end));
        unmet.extend(missing.map(|end| format!("{end:?}")));
        let devices = self.devices.iter().map(String::as_str);
        let idle = devices
            .clone()
            .chain(["cpu"])
            .filter(|device| !self.counts.has_worked(device));
        unmet.extend(idle.map(|device| format!("work of {device}")));
        let flawless = devices.filter(|device| !self.counts.repeated.contains_key(*device));
        unmet.extend(flawless.map(|device| format!("a failure of {device}")));
        let kinds = FaultKind::ALL.into_iter().filter(|kind| {
            let may_leak = *kind != FaultKind::LostCompletion || settings.abandons;
            !kind.is_silent() && may_leak
        });
        let missing = kinds.filter(|kind| !self.faults.contains_key(kind));
        unmet.extend(missing.map(|kind| format!("{kind:?}")));
        unmet
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.counts)?;
        writeln!(f, "faults: {:?}", self.faults)?;
        write!(f, "bytes abandoned to lost devices: {}", self.leaked)
    }
}
