//! The state of a warp. Each lane has a place in the code of its own; lanes at the same place are
//! kept, and run, together.

use super::Launch;
use super::order::Sight;
use super::row::{LANES, Row};
use crate::ptx::RowInit;
use crate::ptx::inst::{Guard, Pred, Reg, Special};

/// Lanes at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) pc: u32,
    pub(super) lanes: u32,
}

/// Lanes that wait for the other lanes of a mask, at a vote, a shuffle or a warp barrier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meeting {
    pub(super) group: Group,
    pub(super) mask: u32,
}

/// Lanes that wait at a barrier of the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) group: Group,
    pub(super) barrier: u32,
    /// How many threads it waits for; none for all.
    pub(super) threads: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Warp {
    rows: Vec<Row>,
    predicates: Vec<u32>,
    /// The carry flag of each lane (PTX ISA 9.7.2).
    pub(super) carry: u32,
    /// Lanes that can run; a lane is in one group only, and no two groups are at one place for
    /// long.
    pub(super) groups: Vec<Group>,
    pub(super) meetings: Vec<Meeting>,
    pub(super) parked: Vec<Parked>,
    pub(super) sight: Sight,
    /// Barriers of the warp that it has passed.
    pub(super) barriers: u32,
    /// The numbers that it last had as one who accesses memory, of weak accesses and of strong ones.
    pub(super) stamps: [u32; 2],
    index: u32,
    /// Lanes that have not left the kernel.
    pub(super) alive: u32,
}

impl Warp {
    /// Warp `index` of a block, before its first instruction.
    pub(super) fn new(launch: &Launch<'_>, block: [u32; 3], index: u32, poison: u64) -> Self {
        let threads = launch.threads() - index * LANES as u32;
        let alive = if threads >= 32 {
            u32::MAX
        } else {
            (1 << threads) - 1
        };
        let rows = launch.kernel.rows.iter().map(|init| match *init {
            RowInit::Register(width) => Row::splat(poison & width.mask()),
            RowInit::Constant(value) => Row::splat(value),
            RowInit::Special(special) => special_row(special, launch, block, index),
        });
        let predicate = |known: &Option<bool>| match known {
            None => poison as u32,
            Some(value) => {
                if *value {
                    u32::MAX
                } else {
                    0
                }
            }
        };
        Warp {
            rows: rows.collect(),
            predicates: launch.kernel.predicates.iter().map(predicate).collect(),
            carry: poison as u32,
            groups: vec![Group {
                pc: 0,
                lanes: alive,
            }],
            meetings: Vec::new(),
            parked: Vec::new(),
            sight: Sight::new(),
            barriers: 0,
            stamps: [0; 2],
            index,
            alive,
        }
    }

    /// Its number in the block.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    #[inline]
    pub(super) fn row(&self, reg: Reg) -> &Row {
        &self.rows[reg.0 as usize]
    }

    #[inline]
    pub(super) fn row_mut(&mut self, reg: Reg) -> &mut Row {
        &mut self.rows[reg.0 as usize]
    }

    /// Takes over a value in some lanes.
    #[inline]
    pub(super) fn set(&mut self, reg: Reg, value: &Row, lanes: u32) {
        self.rows[reg.0 as usize].merge(value, lanes);
    }

    /// The lanes in which a predicate holds.
    #[inline]
    pub(super) fn holds(&self, guard: Guard) -> u32 {
        let bits = self.predicates[guard.pred.0 as usize];
        if guard.negated { !bits } else { bits }
    }

    #[inline]
    pub(super) fn predicate(&self, pred: Pred) -> u32 {
        self.predicates[pred.0 as usize]
    }

    #[inline]
    pub(super) fn set_predicate(&mut self, pred: Pred, bits: u32, lanes: u32) {
        let old = &mut self.predicates[pred.0 as usize];
        *old = *old & !lanes | bits & lanes;
    }

    /// Lets lanes run from a place on, with those that are there already.
    pub(super) fn ready(&mut self, group: Group) {
        if group.lanes == 0 {
            return;
        }
        match self.groups.iter_mut().find(|other| other.pc == group.pc) {
            Some(other) => other.lanes |= group.lanes,
            None => self.groups.push(group),
        }
    }
}

fn special_row(special: Special, launch: &Launch<'_>, block: [u32; 3], warp: u32) -> Row {
    let [width, height, _] = launch.block;
    let thread = |lane: usize| warp * LANES as u32 + lane as u32;
    Row(std::array::from_fn(|lane| {
        let bit = 1u64 << lane;
        let ones = u64::from(u32::MAX);
        match special {
            Special::ThreadX => u64::from(thread(lane) % width),
            Special::ThreadY => u64::from(thread(lane) / width % height),
            Special::ThreadZ => u64::from(thread(lane) / width / height),
            Special::BlockSizeX => u64::from(launch.block[0]),
            Special::BlockSizeY => u64::from(launch.block[1]),
            Special::BlockSizeZ => u64::from(launch.block[2]),
            Special::BlockX => u64::from(block[0]),
            Special::BlockY => u64::from(block[1]),
            Special::BlockZ => u64::from(block[2]),
            Special::GridX => u64::from(launch.grid[0]),
            Special::GridY => u64::from(launch.grid[1]),
            Special::GridZ => u64::from(launch.grid[2]),
            Special::Lane => lane as u64,
            Special::Warp => u64::from(warp),
            Special::MaskEq => bit,
            Special::MaskLt => bit - 1,
            Special::MaskLe => bit | (bit - 1),
            Special::MaskGt => ones & !(bit | (bit - 1)),
            Special::MaskGe => ones & !(bit - 1),
        }
    }))
}
