//! Who goes on: a seed's choice.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

/// What the thread is called that keeps the time.
pub(super) const KEEPER: &str = "keeper";

/// Turns that a run takes at most: several times the longest seen.
const MOST_TURNS: u64 = 1_000_000;

/// How probably a thread that is parked may go on for no reason, as threads may.
const WAKES_PARKED: f64 = 0.05;

/// Runs once, and lets a thread that may go on be chosen at random; the [keeper of
/// time](crate::sync::simulated::keep_time) where no other may.
#[derive(Debug)]
pub(super) struct Seeded {
    random: ChaCha8Rng,
    /// How probably a thread goes on that could.
    stays: f64,
    seed: Option<u64>,
    turns: u64,
}

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let stays = [0.0, 0.5, 0.9][random.random_range(0..3)];
        Seeded {
            random,
            stays,
            seed: Some(seed),
            turns: 0,
        }
    }
}

impl Scheduler for Seeded {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.seed.take().map(Schedule::new)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        self.turns += 1;
        assert!(self.turns < MOST_TURNS, "it does not come to an end");
        let others = runnable
            .iter()
            .filter(|task| task.name().as_deref() != Some(KEEPER));
        // Those that are parked may go on for no reason: now and then, or time would never pass.
        let wakes_parked = self.random.random_bool(WAKES_PARKED);
        let others = others.filter(|task| task.runnable() || wakes_parked);
        let others: Vec<TaskId> = others.map(|task| task.id()).collect();
        let Some(last) = others.len().checked_sub(1) else {
            let keeper = runnable
                .iter()
                .find(|task| task.name().as_deref() == Some(KEEPER));
            return Some(keeper.unwrap_or(&runnable[0]).id());
        };
        let current = current.filter(|current| !is_yielding && others.contains(current));
        match current {
            Some(current) if self.random.random_bool(self.stays) => Some(current),
            _ => Some(others[self.random.random_range(0..=last)]),
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.random.random()
    }
}
