//! What a launch did, counted.

use crate::ptx::inst::Space;

/// What a launch did. Bytes are those that instructions asked for: no cache is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Blocks that ran.
    pub blocks: u64,
    /// Instructions, each counted once for all lanes of a warp that run it together.
    pub warp_instructions: u64,
    /// Instructions, counted for each thread whose guard let it run.
    pub thread_instructions: u64,
    /// Bytes loaded from global memory.
    pub global_loaded: u64,
    /// Bytes stored to global memory.
    pub global_stored: u64,
    /// Of the bytes loaded from global memory, those of the host's memory.
    pub host_loaded: u64,
    /// Of the bytes stored to global memory, those to the host's memory.
    pub host_stored: u64,
    /// Bytes loaded from shared memory.
    pub shared_loaded: u64,
    /// Bytes stored to shared memory.
    pub shared_stored: u64,
    /// Atomic operations, counted for each thread.
    pub atomics: u64,
    /// Barriers of blocks that were passed.
    pub barriers: u64,
}

impl Counters {
    pub(super) fn loaded(&mut self, space: Space, bytes: u64) {
        match space {
            Space::Global => self.global_loaded += bytes,
            Space::Shared => self.shared_loaded += bytes,
        }
    }

    pub(super) fn stored(&mut self, space: Space, bytes: u64) {
        match space {
            Space::Global => self.global_stored += bytes,
            Space::Shared => self.shared_stored += bytes,
        }
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.blocks += other.blocks;
        self.warp_instructions += other.warp_instructions;
        self.thread_instructions += other.thread_instructions;
        self.global_loaded += other.global_loaded;
        self.global_stored += other.global_stored;
        self.host_loaded += other.host_loaded;
        self.host_stored += other.host_stored;
        self.shared_loaded += other.shared_loaded;
        self.shared_stored += other.shared_stored;
        self.atomics += other.atomics;
        self.barriers += other.barriers;
    }
}
