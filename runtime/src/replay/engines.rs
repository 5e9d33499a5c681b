//! What of the devices works on one batch at a time: their links and processors.

use std::collections::BTreeMap;

use super::ReplayDevice;
use crate::placement::LinkId;
use crate::trace::Activity;

/// A stage of a batch on a device behind a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    CopyIn,
    Compute,
    CopyOut,
}

impl Stage {
    /// In the order of a batch.
    pub(super) const ALL: [Stage; 3] = [Stage::CopyIn, Stage::Compute, Stage::CopyOut];

    pub(super) fn activity(self) -> Activity {
        match self {
            Stage::CopyIn => Activity::CopyIn,
            Stage::Compute => Activity::Compute,
            Stage::CopyOut => Activity::CopyOut,
        }
    }
}

/// When each engine is free again, in nanoseconds; who comes first is served first.
#[derive(Debug)]
pub(super) struct Engines {
    /// For each device its link in, its processor and its link back: positions in `free_at`.
    of: Vec<[usize; 3]>,
    free_at: Vec<u64>,
}

impl Engines {
    /// One of each for every device, but for links that are shared.
    pub(super) fn new(devices: &[ReplayDevice]) -> Self {
        let mut engines = Engines {
            of: Vec::with_capacity(devices.len()),
            free_at: Vec::new(),
        };
        let mut shared: BTreeMap<LinkId, [usize; 2]> = BTreeMap::new();
        for device in devices {
            let own = [engines.one_more(), engines.one_more()];
            let [copy_in, copy_out] = match device.profile.link {
                Some(link) => *shared.entry(link).or_insert(own),
                None => own,
            };
            let compute = engines.one_more();
            engines.of.push([copy_in, compute, copy_out]);
        }
        engines
    }

    /// Has a device's engine work for so long, as soon as it is free; returns from when to when.
    pub(super) fn reserve(
        &mut self,
        device: usize,
        stage: Stage,
        now: u64,
        takes: u64,
    ) -> (u64, u64) {
        let free_at = &mut self.free_at[self.of[device][stage as usize]];
        let from = now.max(*free_at);
        *free_at = from.saturating_add(takes);
        (from, *free_at)
    }

    fn one_more(&mut self) -> usize {
        self.free_at.push(0);
        self.free_at.len() - 1
    }
}
