//! The scheduler among simulated devices that are slow, full, wrong, hung and lost, on virtual
//! time. A seed is a whole run; the seed of a run that breaks a rule is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unlade_hal::{Lease, PageSize};

use super::*;
use crate::pool::{Memory, Pool, PoolOptions, Request, Session};

const SEEDS: u64 = 3000;
const JOBS: u64 = 60;
const KIB: u64 = 1024;

#[test]
fn every_rule_holds_at_every_step() {
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    let mut total = Counts::default();
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            (world.ends, world.scheduler.counts())
        });
        let (seen, counts) = run.unwrap_or_else(|_| panic!("the failing seed is {seed}"));
        for end in seen.values() {
            *ends.entry(name(*end)).or_default() += 1;
        }
        total.retries += counts.retries;
        total.leaked += counts.leaked;
        total.losses += counts.losses;
    }
    println!("{ends:?}, {total:?}");
    // The runs are worth something only if they reach everything.
    for end in [
        "done",
        "trapped",
        "no device",
        "cancelled",
        "timed out",
        "refused",
        "shutdown",
    ] {
        assert!(
            ends.get(end).is_some_and(|count| *count > 100),
            "{end} is rare: {ends:?}"
        );
    }
    assert!(
        total.retries > 1000 && total.leaked > 100 && total.losses > 1000,
        "{total:?}"
    );
}

#[test]
fn a_seed_replays_its_run() {
    let run = |seed| {
        let mut world = World::new(seed);
        world.run();
        world.log
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

fn name(end: End) -> &'static str {
    match end {
        End::Done(_) => "done",
        End::Trapped(_) => "trapped",
        End::NoDevice => "no device",
        End::Cancelled => "cancelled",
        End::TimedOut => "timed out",
        End::Refused => "refused",
        End::Shutdown => "shutdown",
    }
}

struct World {
    random: ChaCha8Rng,
    scheduler: Scheduler,
    devices: Vec<Device>,
    pool: Pool,
    session: Session,
    now: Timestamp,
    /// What will happen, and a number that keeps simultaneous events in order.
    agenda: BTreeMap<(Timestamp, u64), Happening>,
    planned: u64,
    jobs: BTreeMap<JobId, Job>,
    ends: BTreeMap<JobId, End>,
    last_of_stream: BTreeMap<StreamId, JobId>,
    log: Vec<(Timestamp, Action)>,
}

/// A device as it really is: its queue may be shorter than its limits say.
struct Device {
    limits: Limits,
    depth: u32,
    fails: f64,
    dies: f64,
    hangs: f64,
    alive: bool,
    /// Counts lives: completions of an earlier one never arrive.
    life: u32,
    working: BTreeMap<JobId, Vec<Lease>>,
    /// Memory of lists that were abandoned.
    leaked: Vec<Lease>,
    tried: BTreeSet<JobId>,
}

enum Happening {
    Submit,
    Cancel(JobId),
    CancelSession(SessionKey),
    ForgetSession(SessionKey),
    Finishes {
        id: JobId,
        device: DeviceIndex,
        life: u32,
        used: Duration,
    },
    /// The driver's watchdog has waited long enough.
    Watchdog {
        id: JobId,
        device: DeviceIndex,
        life: u32,
    },
    Revives(DeviceIndex),
    Shutdown,
    Tick,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let options = PoolOptions {
            reserve: 256 * KIB,
            budget: 1 << 20,
            page_size: PageSize::Base,
        };
        let pool = Pool::new(&options).unwrap();
        let session = pool.session("simulation", u64::MAX);
        let devices: Vec<Device> = (0..random.random_range(1..=4))
            .map(|_| {
                let limits = Limits {
                    depth: random.random_range(1..=4),
                    bytes: random.random_range(8..=64) * KIB,
                };
                Device {
                    limits,
                    depth: random.random_range(1..=limits.depth),
                    fails: random.random_range(0..8) as f64 * 0.02,
                    dies: random.random_range(0..4) as f64 * 0.02,
                    hangs: random.random_range(0..3) as f64 * 0.02,
                    alive: true,
                    life: 0,
                    working: BTreeMap::new(),
                    leaked: Vec::new(),
                    tried: BTreeSet::new(),
                }
            })
            .collect();
        let settings = Settings {
            max_jobs: random.random_range(4..40),
            quarantine: Duration::from_micros(random.random_range(50..500)),
            max_quarantine: Duration::from_millis(2),
        };
        let limits = devices.iter().map(|device| device.limits).collect();
        let mut world = World {
            scheduler: Scheduler::new(limits, settings),
            random,
            devices,
            pool,
            session,
            now: Timestamp::default(),
            agenda: BTreeMap::new(),
            planned: 0,
            jobs: BTreeMap::new(),
            ends: BTreeMap::new(),
            last_of_stream: BTreeMap::new(),
            log: Vec::new(),
        };
        for _ in 0..JOBS {
            let at = world.random.random_range(0..3000);
            world.plan(at, Happening::Submit);
        }
        if world.random.random_bool(0.3) {
            world.plan(2000, Happening::Shutdown);
        }
        for session in (0..3).map(SessionKey) {
            if world.random.random_bool(0.1) {
                let at = world.random.random_range(0..3000);
                world.plan(at, Happening::CancelSession(session));
            }
            if world.random.random_bool(0.1) {
                let at = world.random.random_range(0..3000);
                world.plan(at, Happening::ForgetSession(session));
            }
        }
        world
    }

    fn run(&mut self) {
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            self.now = at;
            self.happen(happening);
            self.check();
            // Where nothing else happens before, time alone does.
            if let Some(tick) = self.scheduler.next_tick() {
                let next = self.agenda.keys().next().map(|(at, _)| *at);
                if next.is_none_or(|next| tick.max(self.now) < next) {
                    let after = tick.since(self.now).as_micros() as u64 + 1;
                    let open = self.scheduler.open_jobs() > 0 || next.is_some();
                    if open {
                        self.plan(after, Happening::Tick);
                    }
                }
            }
        }
        self.check_end();
    }

    fn plan(&mut self, micros: u64, happening: Happening) {
        let at = Timestamp(self.now.0 + Duration::from_micros(micros));
        self.planned += 1;
        self.agenda.insert((at, self.planned), happening);
    }

    fn happen(&mut self, happening: Happening) {
        let event = match happening {
            Happening::Submit => self.submission(),
            Happening::Cancel(id) => Event::Cancel { id },
            Happening::Shutdown => Event::Shutdown,
            Happening::Tick => Event::Tick,
            Happening::CancelSession(session) => Event::CancelSession { session },
            Happening::ForgetSession(session) => Event::ForgetSession { session },
            Happening::Finishes {
                id,
                device,
                life,
                used,
            } => match self.finishes(id, device, life, used) {
                Some(event) => event,
                None => return,
            },
            Happening::Watchdog { id, device, life } => {
                let state = &self.devices[device.0];
                if !state.alive || state.life != life || !state.working.contains_key(&id) {
                    return;
                }
                self.dies(device)
            }
            Happening::Revives(device) => {
                let ready = self.random.random_bool(0.8);
                self.devices[device.0].alive = ready;
                Event::Revived { device, ready }
            }
        };
        self.step(event);
    }

    fn submission(&mut self) -> Event {
        let id = JobId(self.jobs.len() as u64);
        let mut devices: Vec<DeviceIndex> = (0..self.devices.len()).map(DeviceIndex).collect();
        let rotation = self.random.random_range(0..devices.len());
        devices.rotate_left(rotation);
        devices.truncate(self.random.random_range(1..=devices.len()));
        let deadline = self.random.random_bool(0.2).then(|| {
            Timestamp(self.now.0 + Duration::from_micros(self.random.random_range(1..600)))
        });
        let priority = match self.random.random_range(0..10) {
            0 => Priority::Background,
            1 => Priority::Interactive,
            _ => Priority::Normal,
        };
        let stream = self.random.random_range(0..4);
        let job = Job {
            session: SessionKey(self.random.random_range(0..3)),
            weight: self.random.random_range(0..4),
            bytes: self.random.random_range(1..=16) * KIB,
            priority,
            deadline,
            stream: (stream > 0).then_some(StreamId(stream)),
            devices,
        };
        if self.random.random_bool(0.15) {
            let after = self.random.random_range(0..400);
            self.plan(after, Happening::Cancel(id));
        }
        self.jobs.insert(id, job.clone());
        Event::Submit { id, job }
    }

    fn finishes(
        &mut self,
        id: JobId,
        device: DeviceIndex,
        life: u32,
        used: Duration,
    ) -> Option<Event> {
        let state = &mut self.devices[device.0];
        if !state.alive || state.life != life {
            return None;
        }
        if self.random.random_bool(state.dies) {
            return Some(self.dies(device));
        }
        let memory = state.working.remove(&id).expect("it is working on it");
        drop(memory);
        Some(if self.random.random_bool(state.fails) {
            Event::Failed { id, device }
        } else if id.0.is_multiple_of(11) {
            Event::Trapped { id, device, used }
        } else {
            Event::Completed { id, device, used }
        })
    }

    /// The device is lost; of some lists it can be shown that they are quiet.
    fn dies(&mut self, device: DeviceIndex) -> Event {
        let state = &mut self.devices[device.0];
        state.alive = false;
        state.life += 1;
        let mut leaked = Vec::new();
        for (id, memory) in std::mem::take(&mut state.working) {
            if self.random.random_bool(0.5) {
                leaked.push(id);
                state.leaked.extend(memory);
            }
        }
        match leaked.is_empty() && self.random.random_bool(0.5) {
            true => Event::FoundLost { device, by: None },
            false => Event::Lost { device, leaked },
        }
    }

    /// Lets the scheduler know and does what it says, until it says nothing more.
    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.scheduler.step(event, self.now) {
                self.log.push((self.now, action.clone()));
                match action {
                    Action::Dispatch { id, device } => events.extend(self.dispatch(id, device)),
                    Action::End { id, end } => self.end(id, end),
                    Action::Revive { device } => {
                        let after = self.random.random_range(1..100);
                        self.plan(after, Happening::Revives(device));
                    }
                }
            }
        }
    }

    fn dispatch(&mut self, id: JobId, device: DeviceIndex) -> Option<Event> {
        let bytes = self.jobs[&id].bytes;
        let state = &mut self.devices[device.0];
        assert!(!self.ends.contains_key(&id), "{id:?} has ended");
        assert!(state.alive, "{device:?} is not to be used");
        assert!(
            self.jobs[&id].devices.contains(&device),
            "{device:?} may not run {id:?}"
        );
        if state.working.len() >= state.depth as usize {
            return Some(Event::Full { id, device });
        }
        assert!(
            state.tried.insert(id),
            "{id:?} has been on {device:?} before"
        );
        let request = Request {
            sizes: &[bytes],
            memory: Memory::Any,
            wait: None,
        };
        let memory = self
            .session
            .acquire(&request)
            .expect("limits keep within the budget");
        state.working.insert(id, memory);
        let life = state.life;
        if self.random.random_bool(state.hangs) {
            self.plan(300, Happening::Watchdog { id, device, life });
        } else {
            let after = self.random.random_range(1..80);
            let finishes = Happening::Finishes {
                id,
                device,
                life,
                used: Duration::from_micros(after),
            };
            self.plan(after, finishes);
        }
        None
    }

    fn end(&mut self, id: JobId, end: End) {
        let before = self.ends.insert(id, end);
        assert_eq!(before, None, "{id:?} ends twice");
        let job = &self.jobs[&id];
        if end == End::TimedOut {
            assert!(job.deadline.unwrap() <= self.now);
        }
        if let Some(stream) = job.stream {
            let last = self.last_of_stream.insert(stream, id);
            assert!(
                last.is_none_or(|last| last < id),
                "{stream:?}: {id:?} after {last:?}"
            );
        }
    }

    fn check(&mut self) {
        for (index, state) in self.devices.iter().enumerate() {
            assert!(
                !self.scheduler.keeps_waiting(DeviceIndex(index)),
                "a job could go"
            );
            let (lists, bytes) = self.scheduler.in_flight(DeviceIndex(index));
            assert_eq!(lists as usize, state.working.len());
            assert!(lists <= state.limits.depth, "too many lists");
            assert!(lists <= 1 || bytes <= state.limits.bytes, "too many bytes");
            let real: u64 = state.working.keys().map(|id| self.jobs[id].bytes).sum();
            assert_eq!(bytes, real);
        }
    }

    fn check_end(&mut self) {
        let ended: Vec<&JobId> = self.ends.keys().collect();
        assert!(
            ended.into_iter().eq(self.jobs.keys()),
            "some job never ends"
        );
        let counts = self.scheduler.counts();
        let leaked: u64 = self
            .devices
            .iter()
            .map(|device| device.leaked.len() as u64)
            .sum();
        assert_eq!(
            (counts.submitted, counts.ended, counts.leaked),
            (JOBS, JOBS, leaked)
        );
        self.devices.clear(); // the leaked memory; everything else must be back
        Pool::flush_thread();
        assert_eq!(self.pool.status().leased, 0, "leases are lost");
    }
}
