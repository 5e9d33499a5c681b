//! The interpreter: a grid runs to its end, or to the first finding.
//!
//! Several blocks are resident at once. Who runs next, how long, and in which order blocks begin
//! is drawn from a seed, because a kernel may rely on none of it; so a seed replays a run. Lanes at
//! the same place run together; now and then a group is torn apart, because no lane may rely on
//! another one's keeping step (PTX ISA 3.1).

mod access;
mod atomic;
mod block;
mod collective;
mod convert;
mod counters;
mod float;
mod grid;
mod history;
mod integer;
mod order;
mod race;
mod rng;
mod row;
mod step;
#[cfg(test)]
mod tests;
mod warp;

pub use counters::Counters;
pub(crate) use grid::run;
pub(crate) use rng::Rng;

use crate::ptx::Kernel;

/// How a kernel is run; the same seed gives the same run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interleaving {
    /// Of everything that is drawn.
    pub seed: u64,
    /// Most blocks that are resident at once.
    pub resident_blocks: u32,
    /// A group of lanes is torn apart once in so many turns; never if 0.
    pub tear_one_in: u32,
    /// Instructions of a warp that may pass without any thread storing, leaving or passing a
    /// barrier, before that counts as a deadlock.
    pub patience: u64,
    /// Whether races are looked for.
    pub find_races: bool,
}

impl Default for Interleaving {
    /// Four blocks, and lanes torn apart once in 64 turns.
    fn default() -> Self {
        Interleaving {
            seed: 0,
            resident_blocks: 4,
            tear_one_in: 64,
            patience: 1 << 22,
            find_races: true,
        }
    }
}

/// A launch, checked.
#[derive(Debug)]
pub(crate) struct Launch<'l> {
    pub(crate) kernel: &'l Kernel,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    /// Shared memory beyond what the kernel declares, in bytes a block.
    pub(crate) dynamic_shared: u64,
    /// As the kernel's parameters lie.
    pub(crate) parameters: &'l [u8],
    pub(crate) interleaving: &'l Interleaving,
}

impl Launch<'_> {
    /// Threads of a block.
    fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    fn blocks(&self) -> u32 {
        self.grid.iter().product()
    }

    fn shared_bytes(&self) -> u64 {
        let layout = self.kernel.shared;
        layout.bytes
            + if layout.dynamic_align.is_some() {
                self.dynamic_shared
            } else {
                0
            }
    }
}
