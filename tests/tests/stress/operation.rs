//! What a user does next, drawn as a whole: however it ends, the next one is the same.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use unlade_runtime::Priority;

use crate::counts::Way;
use crate::work::Work;

/// What sessions ask for; some of it cannot be had, or not at once.
const REQUESTS: [&str; 6] = [
    "gpu=0.5",
    "gpu=1",
    "dpu=0.5",
    "sim=0.25",
    "sim-dpu=1",
    "gpu=7",
];

/// Most batches at once.
const BATCHES: usize = 6;

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Another session in the place of the one there is.
    Open(Wishes),
    Run(Task),
    /// Each batch with a ticket, which is waited for, called back for, cancelled or dropped.
    Submit(Task, Way),
    /// Read wholly, or so many results of it and then dropped or, after a while, cancelled.
    Stream {
        task: Task,
        way: Way,
        take: usize,
        pause: Duration,
    },
    Pin {
        batches: Vec<usize>,
        device: usize,
    },
    Unpin,
    RunResident {
        query: usize,
    },
    /// In the middle of its work.
    CancelSession(Task),
}

/// A query on batches, all by their numbers.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) query: usize,
    pub(crate) batches: Vec<usize>,
}

/// What a session is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) weight: u32,
    pub(crate) priority: Priority,
    pub(crate) budget: Option<u64>,
    pub(crate) deadline: Option<Duration>,
    /// By its number; `None` for whichever is fastest.
    pub(crate) device: Option<usize>,
    pub(crate) request: Option<&'static str>,
    pub(crate) patience: Duration,
}

impl Operation {
    pub(crate) fn draw(rng: &mut ChaCha8Rng, work: &Work, devices: usize) -> Operation {
        match rng.random_range(0..100) {
            0..12 => Operation::Open(Wishes::draw(rng, devices)),
            12..35 => Operation::Run(Task::draw(rng, work, 1)),
            35..58 => {
                let ways = [
                    Way::TicketWaited,
                    Way::TicketCalledBack,
                    Way::TicketCancelled,
                    Way::TicketDropped,
                ];
                let way = ways[rng.random_range(0..ways.len())];
                Operation::Submit(Task::draw(rng, work, BATCHES), way)
            }
            58..80 => {
                let ways = [Way::StreamWhole, Way::StreamPart, Way::StreamCancelled];
                let way = ways[rng.random_range(0..ways.len())];
                let task = Task::draw(rng, work, 3 * BATCHES);
                let some = rng.random_range(0..=task.batches.len());
                let take = match way {
                    Way::StreamWhole => task.batches.len(),
                    _ => some,
                };
                let pause = Duration::from_micros(rng.random_range(0..3000));
                Operation::Stream {
                    task,
                    way,
                    take,
                    pause,
                }
            }
            80..85 => Operation::Pin {
                batches: Task::draw(rng, work, BATCHES).batches,
                device: rng.random_range(0..devices),
            },
            85..87 => Operation::Unpin,
            87..97 => Operation::RunResident {
                query: rng.random_range(0..work.queries()),
            },
            _ => Operation::CancelSession(Task::draw(rng, work, BATCHES)),
        }
    }

    pub(crate) fn way(&self) -> Way {
        match self {
            Operation::Open(_) => Way::Open,
            Operation::Run(_) => Way::Run,
            Operation::Submit(_, way) | Operation::Stream { way, .. } => *way,
            Operation::Pin { .. } => Way::Pin,
            Operation::Unpin => Way::Unpin,
            Operation::RunResident { .. } => Way::RunResident,
            Operation::CancelSession(_) => Way::CancelSession,
        }
    }
}

impl Task {
    /// Of one batch to so many.
    fn draw(rng: &mut ChaCha8Rng, work: &Work, most: usize) -> Task {
        let query = rng.random_range(0..work.queries());
        let count = rng.random_range(1..=most);
        let batches = (0..count).map(|_| rng.random_range(0..work.batches()));
        Task {
            query,
            batches: batches.collect(),
        }
    }
}

impl Wishes {
    fn draw(rng: &mut ChaCha8Rng, devices: usize) -> Wishes {
        let priorities = [
            Priority::Background,
            Priority::Normal,
            Priority::Interactive,
        ];
        let weight = rng.random_range(1..=8);
        let priority = priorities[rng.random_range(0..priorities.len())];
        let (bytes, micros) = (
            rng.random_range(1 << 10..256 << 10),
            rng.random_range(0..20_000),
        );
        let budget = rng.random_bool(0.15).then_some(bytes);
        let deadline = rng
            .random_bool(0.15)
            .then_some(Duration::from_micros(micros));
        let (device, request) = (
            rng.random_range(0..devices),
            REQUESTS[rng.random_range(0..REQUESTS.len())],
        );
        let request = rng.random_bool(0.3).then_some(request);
        // Whoever asks for devices takes the fastest of those.
        let device = (rng.random_bool(0.75) && request.is_none()).then_some(device);
        Wishes {
            weight,
            priority,
            budget,
            deadline,
            device,
            request,
            patience: Duration::from_micros(rng.random_range(0..10_000)),
        }
    }
}
