//! What clients do in a run, and with which devices: all of it drawn from the seed.

use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scheduler::Priority;

/// A whole run but for the order in which threads go on.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) seed: u64,
    /// Bytes that batches may hold.
    pub(super) memory: u64,
    pub(super) threads: usize,
    pub(super) max_tickets: usize,
    pub(super) untrusted: bool,
    pub(super) devices: Vec<Device>,
    pub(super) clients: Vec<Client>,
}

/// A simulated device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// Which faults strike, and how probably, in thousandths at each chance.
    pub(super) faults: u64,
    pub(super) fault_rate: u32,
    /// Milliseconds.
    pub(super) reset_takes: u64,
    /// Bytes of its own.
    pub(super) memory: u64,
    pub(super) coherent: bool,
}

/// One who opens a session.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) weight: u32,
    pub(super) priority: Priority,
    pub(super) memory: Option<u64>,
    /// Microseconds.
    pub(super) deadline: Option<u64>,
    pub(super) place: Place,
    /// Thousandths of it that it asks for.
    pub(super) asks: Option<u32>,
    pub(super) acts: Vec<Act>,
}

/// Where a client's work goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Cpu,
    Device(usize),
    /// Wherever it is predicted to be done first.
    Auto,
}

/// What a client does next.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Runs a batch and keeps the result.
    Run { rows: usize },
    /// Runs what the result that it has kept last is made of, and keeps the result of that.
    Again,
    /// Runs a batch with an error in this row.
    Trap { rows: usize, row: usize },
    /// Pins a batch, and runs it twice where it lies.
    Pinned { rows: usize },
    /// Hands a batch over.
    Submit { rows: usize },
    /// Waits for the ticket that it has had for longest, and keeps the result.
    Wait,
    /// Lets it go.
    DropTicket,
    /// Lets go of the result that it has kept for longest.
    DropResult,
    /// Takes so many results of a stream, then cancels it or lets it go.
    Stream {
        batches: usize,
        rows: usize,
        take: usize,
        cancel: bool,
    },
    /// Does nothing for so many milliseconds, in which devices that failed have rested.
    Pause { millis: u64 },
    /// Cancels the session of a client.
    Cancel { client: usize },
    /// Ends the runtime, and cuts off what is not done within so many microseconds.
    Shutdown { within: u64 },
}

impl History {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(!seed);
        let random = &mut random;
        let devices = random.random_range(1..=3);
        let clients = random.random_range(1..=4);
        let mut history = History {
            seed,
            memory: [192 << 10, 1 << 20, 8 << 20][random.random_range(0..3)],
            threads: random.random_range(1..=4),
            max_tickets: [2, 1000][random.random_range(0..2)],
            untrusted: random.random_bool(0.2),
            devices: (0..devices).map(|_| Device::of(random)).collect(),
            clients: (0..clients)
                .map(|_| Client::of(random, devices, clients))
                .collect(),
        };
        if random.random_bool(0.1) {
            let within = [0, 50, 5000][random.random_range(0..3)];
            let acts = &mut history.clients[random.random_range(0..clients)].acts;
            acts.insert(
                random.random_range(0..=acts.len()),
                Act::Shutdown { within },
            );
        }
        history
    }

    /// Histories that lack one thing that this has, the largest first.
    pub(super) fn shorter(&self) -> impl Iterator<Item = History> {
        let without_client = (0..self.clients.len()).map(|client| {
            let mut shorter = self.clone();
            shorter.clients[client].acts.clear();
            shorter
        });
        let without_act = self.clients.iter().enumerate().flat_map(|(at, client)| {
            (0..client.acts.len()).map(move |act| {
                let mut shorter = self.clone();
                shorter.clients[at].acts.remove(act);
                shorter
            })
        });
        let without_faults = (0..self.devices.len()).map(|device| {
            let mut shorter = self.clone();
            shorter.devices[device].fault_rate = 0;
            shorter
        });
        let is_shorter = |shorter: &History| {
            shorter.acts() < self.acts() || shorter.fault_rates() < self.fault_rates()
        };
        let all = without_client.chain(without_act).chain(without_faults);
        all.filter(is_shorter).collect::<Vec<_>>().into_iter()
    }

    fn acts(&self) -> usize {
        self.clients.iter().map(|client| client.acts.len()).sum()
    }

    fn fault_rates(&self) -> u32 {
        self.devices.iter().map(|device| device.fault_rate).sum()
    }
}

impl Device {
    fn of(random: &mut ChaCha8Rng) -> Self {
        Device {
            faults: random.random(),
            fault_rate: [0, 0, 10, 100][random.random_range(0..4)],
            memory: [256 << 10, 64 << 20][random.random_range(0..2)],
            coherent: random.random_bool(0.2),
            // Up to more than is waited for, and than a driver may take.
            reset_takes: [0, 0, 100, 800, 1500][random.random_range(0..5)],
        }
    }
}

impl Client {
    fn of(random: &mut ChaCha8Rng, devices: usize, clients: usize) -> Self {
        let place = match random.random_range(0..10) {
            0..2 => Place::Cpu,
            2..5 => Place::Auto,
            _ => Place::Device(random.random_range(0..devices)),
        };
        Client {
            weight: random.random_range(1..4),
            priority: match random.random_range(0..4) {
                0 => Priority::Background,
                1 => Priority::Interactive,
                _ => Priority::Normal,
            },
            memory: random.random_bool(0.2).then_some(64 << 10),
            deadline: random
                .random_bool(0.2)
                .then(|| random.random_range(1..20_000)),
            place,
            asks: match place {
                Place::Device(_) if random.random_bool(0.3) => {
                    Some([300, 500, 1000][random.random_range(0..3)])
                }
                _ => None,
            },
            acts: (0..random.random_range(1..10))
                .map(|_| Act::of(random, clients))
                .collect(),
        }
    }
}

impl Act {
    fn of(random: &mut ChaCha8Rng, clients: usize) -> Self {
        let rows = match random.random_range(0..6) {
            0 => 0,
            1 => random.random_range(1000..4000),
            _ => random.random_range(1..200),
        };
        match random.random_range(0..31) {
            0..6 => Act::Run { rows },
            6..8 => Act::Again,
            8..10 => Act::Trap {
                rows: rows + 1,
                row: random.random_range(0..=rows),
            },
            10..12 => Act::Pinned { rows },
            12..18 => Act::Submit { rows },
            18..22 => Act::Wait,
            22 => Act::DropTicket,
            23..25 => Act::DropResult,
            25..29 => Act::Stream {
                batches: random.random_range(0..8),
                rows,
                take: random.random_range(0..9),
                cancel: random.random_bool(0.3),
            },
            29 => Act::Pause {
                millis: [1, 100, 1200, 4000][random.random_range(0..4)],
            },
            _ => Act::Cancel {
                client: random.random_range(0..clients),
            },
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} bytes, {} threads, {} tickets at most, devices {}",
            self.seed,
            self.memory,
            self.threads,
            self.max_tickets,
            if self.untrusted {
                "untrusted"
            } else {
                "trusted"
            },
        )?;
        for (number, device) in self.devices.iter().enumerate() {
            writeln!(f, "sim:{number}: {device:?}")?;
        }
        for (number, client) in self.clients.iter().enumerate() {
            let Client { acts, .. } = client;
            let rest = Client {
                acts: Vec::new(),
                ..client.clone()
            };
            writeln!(f, "client {number}: {rest:?}")?;
            for act in acts {
                writeln!(f, "    {act:?}")?;
            }
        }
        Ok(())
    }
}
