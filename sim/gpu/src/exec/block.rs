//! A block while it is resident: its warps, its shared memory and its barriers.

use super::Launch;
use super::order::BlockStores;
use super::race::BlockOrder;
use super::warp::{Group, Parked, Warp};
use crate::finding::{Fault, FindingKind};
use crate::memory::Bytes;
use crate::ptx::inst::{Inst, Op};

/// Barriers of a block (PTX ISA 9.7.13.1).
const BARRIERS: u64 = 16;

#[derive(Debug)]
pub(super) struct Block {
    /// Its number in the grid, x running fastest.
    pub(super) number: u32,
    pub(super) shared: Bytes,
    pub(super) warps: Vec<Warp>,
    pub(super) stores: BlockStores,
    /// Barriers that it has passed.
    pub(super) barriers: u32,
    pub(super) order: BlockOrder,
}

impl Block {
    pub(super) fn new(launch: &Launch<'_>, number: u32, poison: u64) -> Self {
        let [x, y, _] = launch.grid;
        let place = [number % x, number / x % y, number / x / y];
        let warps = launch.threads().div_ceil(32);
        Block {
            number,
            shared: Bytes::new(launch.shared_bytes() as usize),
            warps: (0..warps)
                .map(|index| Warp::new(launch, place, index, poison))
                .collect(),
            stores: BlockStores::new(),
            barriers: 0,
            order: BlockOrder::default(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.warps.iter().all(|warp| warp.alive == 0)
    }

    /// Threads that have not left the kernel.
    fn alive(&self) -> u32 {
        self.warps.iter().map(|warp| warp.alive.count_ones()).sum()
    }

    /// Lanes of a warp come to a barrier. Returns whether it let everyone go on.
    pub(super) fn park(
        &mut self,
        index: usize,
        group: Group,
        code: &[Inst],
    ) -> Result<bool, Fault> {
        let Op::Barrier { id, threads, .. } = code[group.pc as usize].op else {
            unreachable!("only a barrier parks");
        };
        let warp = &mut self.warps[index];
        let lane = group.lanes.trailing_zeros();
        let uniform = |row: &super::row::Row| {
            let value = row.0[lane as usize];
            super::row::lanes(group.lanes)
                .all(|lane| row.0[lane] == value)
                .then_some(value)
        };
        let fault = |detail: String| Err(Fault::new(FindingKind::Divergence, detail).by(lane));
        let barrier = match uniform(warp.row(id)) {
            Some(barrier) if barrier < BARRIERS => barrier as u32,
            Some(barrier) => return fault(format!("barrier {barrier}; there are {BARRIERS}")),
            None => return fault("lanes name different barriers".to_owned()),
        };
        let threads = match threads.map(|threads| uniform(warp.row(threads))) {
            None => None,
            Some(Some(threads)) if threads > 0 && threads % 32 == 0 => Some(threads as u32),
            Some(_) => return fault("a barrier for threads that are no multiple of 32".to_owned()),
        };
        warp.parked.push(Parked {
            group,
            barrier,
            threads,
        });
        self.complete(barrier, code)
    }

    /// Lets everyone go on from every barrier that nobody is missing from. Threads that left the
    /// kernel are not waited for.
    pub(super) fn complete_all(&mut self, code: &[Inst]) -> Result<bool, Fault> {
        let mut went_on = false;
        let mut waiting: Vec<u32> = self.parked().map(|parked| parked.barrier).collect();
        waiting.sort_unstable();
        waiting.dedup();
        for barrier in waiting {
            went_on |= self.complete(barrier, code)?;
        }
        Ok(went_on)
    }

    fn parked(&self) -> impl Iterator<Item = &Parked> {
        self.warps.iter().flat_map(|warp| &warp.parked)
    }

    fn complete(&mut self, barrier: u32, code: &[Inst]) -> Result<bool, Fault> {
        let here: Vec<&Parked> = self
            .parked()
            .filter(|parked| parked.barrier == barrier)
            .collect();
        let arrived: u32 = here
            .iter()
            .map(|parked| parked.group.lanes.count_ones())
            .sum();
        let Some(wanted) = here.first().map(|parked| parked.threads) else {
            return Ok(false);
        };
        if here.iter().any(|parked| parked.threads != wanted) {
            let detail = format!("threads disagree on how many meet at barrier {barrier}");
            return Err(Fault::new(FindingKind::Divergence, detail));
        }
        if arrived < wanted.unwrap_or_else(|| self.alive()) {
            return Ok(false);
        }
        self.barriers += 1;
        for warp in &mut self.warps {
            let gone = warp
                .parked
                .extract_if(.., |parked| parked.barrier == barrier);
            let gone: Vec<Group> = gone.map(|parked| parked.group).collect();
            check_aligned(&gone, warp.alive, code)?;
            for group in gone {
                warp.ready(Group {
                    pc: group.pc + 1,
                    lanes: group.lanes,
                });
            }
        }
        Ok(true)
    }
}

/// `bar.sync` and `.aligned` want all lanes of the warp at the same instruction.
fn check_aligned(groups: &[Group], alive: u32, code: &[Inst]) -> Result<(), Fault> {
    let lanes = groups.iter().fold(0, |lanes, group| lanes | group.lanes);
    let aligned = |group: &Group| {
        matches!(
            code[group.pc as usize].op,
            Op::Barrier { aligned: true, .. }
        )
    };
    let Some(group) = groups.iter().find(|group| aligned(group)) else {
        return Ok(());
    };
    if groups.iter().all(|other| other.pc == group.pc) && lanes == alive {
        return Ok(());
    }
    let detail = "an aligned barrier that not all lanes of the warp reach at the same instruction";
    Err(Fault::new(FindingKind::Divergence, detail).by(group.lanes.trailing_zeros()))
}
