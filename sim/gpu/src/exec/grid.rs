//! Which blocks are resident, and who runs next.

use super::access::Reach;
use super::block::Block;
use super::collective;
use super::history::History;
use super::order::Haste;
use super::race::Races;
use super::rng::Rng;
use super::step::step;
use super::warp::{Group, Warp};
use super::{Counters, Launch};
use crate::finding::{Fault, Finding, FindingKind};
use crate::memory::DeviceMemory;
use crate::ptx::inst::{Op, Scope};

/// Blocks begin in an order that is drawn from so many at a time.
const WINDOW: usize = 16;

/// Runs a grid to its end.
pub(crate) fn run(
    launch: &Launch<'_>,
    memory: &mut DeviceMemory,
) -> Result<Counters, Box<Finding>> {
    let mut rng = Rng::new(launch.interleaving.seed);
    let poison = rng.next() | 1;
    let haste = Haste::draw(&mut rng);
    let races = Races::new(launch.blocks(), memory.first_stamp());
    let mut grid = Grid {
        launch,
        memory,
        resident: Vec::new(),
        waiting: Vec::with_capacity(WINDOW),
        next: 0,
        rng,
        counters: Counters::default(),
        poison,
        idle: 0,
        leaving: Vec::new(),
        history: History::new(),
        races,
        haste,
    };
    loop {
        grid.admit();
        if grid.resident.is_empty() {
            while grid.leave() {}
            grid.memory.stamped(grid.races.next());
            return Ok(grid.counters);
        }
        grid.turn()?;
    }
}

struct Grid<'g> {
    launch: &'g Launch<'g>,
    memory: &'g mut DeviceMemory,
    resident: Vec<Block>,
    /// Numbers of the next blocks, in no order.
    waiting: Vec<u32>,
    /// The first block that is not even waiting.
    next: u32,
    rng: Rng,
    counters: Counters,
    poison: u64,
    /// Instructions since anyone stored, left or passed a barrier.
    idle: u64,
    /// Blocks whose threads have left, and whose stores not everyone sees.
    leaving: Vec<Block>,
    history: History,
    races: Races,
    haste: Haste,
}

/// A fault and where in the text it happened.
type Located = (Fault, u32);

impl Grid<'_> {
    fn admit(&mut self) {
        let blocks = self.launch.blocks();
        while self.resident.len() < self.launch.interleaving.resident_blocks.max(1) as usize {
            while self.waiting.len() < WINDOW && self.next < blocks {
                self.waiting.push(self.next);
                self.next += 1;
            }
            if self.waiting.is_empty() {
                return;
            }
            let number = self.waiting.swap_remove(self.rng.below(self.waiting.len()));
            self.resident
                .push(Block::new(self.launch, number, self.poison));
            self.counters.blocks += 1;
        }
    }

    /// Lets one group of lanes run for a while.
    fn turn(&mut self) -> Result<(), Box<Finding>> {
        let first = self.rng.below(self.resident.len());
        let found = (0..self.resident.len()).find_map(|offset| {
            let index = (first + offset) % self.resident.len();
            self.runnable(index).map(|warp| (index, warp))
        });
        let Some((block, warp)) = found else {
            return Err(self.deadlock("no thread can go on"));
        };
        let (group, ahead) = self.choose_group(block, warp);
        let turns = 8 + self.rng.below(120);
        if let Err((fault, pc)) = self.run_group(block, warp, group, ahead, turns) {
            return Err(self.finding(block, warp, pc, fault));
        }
        if self.resident[block].is_done() {
            let done = self.resident.swap_remove(block);
            if !done.stores.is_empty() {
                self.leaving.push(done);
            }
        }
        if self.haste.moves(&mut self.rng) {
            self.leave();
        }
        if self.idle > self.launch.interleaving.patience {
            return Err(self.deadlock("all threads run in circles, waiting for each other"));
        }
        Ok(())
    }

    /// One store of a block that is gone reaches memory; false if there is none.
    fn leave(&mut self) -> bool {
        if self.leaving.is_empty() {
            return false;
        }
        let index = self.rng.below(self.leaving.len());
        let block = &mut self.leaving[index];
        let mut reach = Reach {
            memory: self.memory,
            shared: &mut block.shared,
            parameters: &[],
            counters: &mut self.counters,
            rng: &mut self.rng,
            block: block.number,
            block_stores: &mut block.stores,
            history: &mut self.history,
            races: &mut self.races,
            block_order: &mut block.order,
            barriers: block.barriers,
            find_races: false,
            ordered: true,
        };
        reach.settle_one_of_block();
        if block.stores.is_empty() {
            self.leaving.swap_remove(index);
        }
        true
    }

    /// A warp of the block that has lanes to run.
    fn runnable(&mut self, block: usize) -> Option<usize> {
        let warps = &self.resident[block].warps;
        let first = if warps.len() > 1 {
            self.rng.below(warps.len())
        } else {
            0
        };
        (0..warps.len())
            .map(|i| (first + i) % warps.len())
            .find(|&i| !warps[i].groups.is_empty())
    }

    /// Takes a group out of a warp: mostly the one that is furthest behind, so that lanes come
    /// together again; sometimes any, and sometimes only a part of it. Those may run ahead of
    /// others, which is the second result.
    fn choose_group(&mut self, block: usize, warp: usize) -> (Group, bool) {
        let groups = &mut self.resident[block].warps[warp].groups;
        let any = groups.len() > 1 && self.rng.one_in(8);
        let index = if any {
            self.rng.below(groups.len())
        } else {
            let furthest = (0..groups.len()).min_by_key(|&i| groups[i].pc);
            furthest.expect("there are groups")
        };
        let group = groups.swap_remove(index);
        let tear = self.launch.interleaving.tear_one_in as usize;
        if tear == 0 || group.lanes.count_ones() < 2 || !self.rng.one_in(tear) {
            return (group, any);
        }
        let lanes = group.lanes & self.rng.next() as u32;
        if lanes == 0 || lanes == group.lanes {
            return (group, any);
        }
        groups.push(Group {
            lanes: group.lanes & !lanes,
            ..group
        });
        (Group { lanes, ..group }, true)
    }

    /// Runs a group until it is torn apart, waits, leaves, or its time is over.
    fn run_group(
        &mut self,
        block: usize,
        index: usize,
        mut group: Group,
        ahead: bool,
        turns: usize,
    ) -> Result<(), Located> {
        let code = &self.launch.kernel.code;
        let resident = &mut self.resident[block];
        let warp = &mut resident.warps[index];
        let mut reach = Reach {
            memory: self.memory,
            shared: &mut resident.shared,
            parameters: self.launch.parameters,
            counters: &mut self.counters,
            rng: &mut self.rng,
            block: resident.number,
            block_stores: &mut resident.stores,
            history: &mut self.history,
            races: &mut self.races,
            block_order: &mut resident.order,
            barriers: resident.barriers,
            find_races: self.launch.interleaving.find_races,
            ordered: self.launch.kernel.communicates,
        };
        reach.drift(warp, self.haste);
        for turn in 0..turns {
            if turn > 0 && !warp.groups.is_empty() {
                // Others may be here already, or behind.
                let met = |other: &Group| other.pc == group.pc || (other.pc < group.pc && !ahead);
                if warp.groups.iter().any(met) {
                    break;
                }
            }
            let pc = group.pc;
            let inst = &code[pc as usize];
            let active = inst
                .guard
                .map_or(group.lanes, |guard| group.lanes & warp.holds(guard));
            reach.counters.warp_instructions += 1;
            reach.counters.thread_instructions += u64::from(active.count_ones());
            self.idle += 1;
            let rest = Group {
                pc: pc + 1,
                lanes: group.lanes & !active,
            };
            match inst.op {
                _ if active == 0 => group.pc += 1,
                Op::Branch { target, uniform } => {
                    if uniform && rest.lanes != 0 {
                        let fault = Fault::new(
                            FindingKind::Divergence,
                            "`bra.uni` is not taken by all lanes",
                        );
                        return Err((fault.by(rest.lanes.trailing_zeros()), pc));
                    }
                    if rest.lanes == 0 {
                        group.pc = target;
                    } else {
                        warp.ready(rest);
                        group = Group {
                            pc: target,
                            lanes: active,
                        };
                        break;
                    }
                }
                Op::Exit => {
                    self.idle = 0;
                    reach.release(warp, active, Scope::Block);
                    return self.exit(block, index, active, rest);
                }
                Op::Trap => {
                    let fault = Fault::new(FindingKind::Trap, "the kernel stops itself");
                    return Err((fault.by(active.trailing_zeros()), pc));
                }
                Op::Vote { .. } | Op::Shuffle { .. } | Op::WarpBarrier { .. } => {
                    warp.ready(rest);
                    if matches!(inst.op, Op::WarpBarrier { .. }) {
                        reach.release(warp, active, Scope::Block);
                        warp.sight.share(warp.sight.latest());
                        warp.barriers += 1;
                    }
                    let arriving = Group { pc, lanes: active };
                    return meet(warp, code, arriving, self.poison);
                }
                Op::Barrier { .. } => {
                    warp.ready(rest);
                    reach.release(warp, active, Scope::Block);
                    let passed =
                        self.resident[block].park(index, Group { pc, lanes: active }, code);
                    return match passed {
                        Ok(passed) => {
                            self.passed(block, passed);
                            Ok(())
                        }
                        Err(fault) => Err((fault, pc)),
                    };
                }
                _ => {
                    if matches!(inst.op, Op::Store(_) | Op::Atomic(_)) {
                        self.idle = 0;
                    }
                    if let Err(fault) = step(warp, &inst.op, active, &mut reach, self.poison) {
                        return Err((fault, pc));
                    }
                    group.pc += 1;
                    if matches!(inst.op, Op::Yield) {
                        break;
                    }
                }
            }
        }
        warp.ready(group);
        Ok(())
    }

    /// Lanes leave; what others waited for may now be complete.
    fn exit(&mut self, block: usize, index: usize, lanes: u32, rest: Group) -> Result<(), Located> {
        let code = &self.launch.kernel.code;
        let warp = &mut self.resident[block].warps[index];
        warp.alive &= !lanes;
        warp.ready(rest);
        collective::complete(warp, code, self.poison);
        match self.resident[block].complete_all(code) {
            Ok(passed) => {
                self.passed(block, passed);
                Ok(())
            }
            Err(fault) => Err((fault, rest.pc - 1)),
        }
    }

    /// Threads of a block passed a barrier: what one has acquired, all have.
    fn passed(&mut self, block: usize, passed: bool) {
        if !passed {
            return;
        }
        self.idle = 0;
        self.counters.barriers += 1;
        self.races.met(&mut self.resident[block].order);
        let warps = &mut self.resident[block].warps;
        let latest = warps.iter().map(|warp| warp.sight.latest()).max();
        for warp in warps {
            warp.sight.share(latest.unwrap_or(0));
        }
    }

    #[cold]
    fn finding(&self, block: usize, warp: usize, pc: u32, fault: Fault) -> Box<Finding> {
        let kernel = self.launch.kernel;
        Box::new(Finding {
            kind: fault.kind,
            kernel: kernel.name.clone(),
            line: kernel.code[pc as usize].line,
            block: self.resident[block].number,
            warp: warp as u32,
            lane: fault.lane,
            detail: fault.detail,
        })
    }

    /// Names the first that waits, and counts the others.
    #[cold]
    fn deadlock(&self, why: &str) -> Box<Finding> {
        let mut places: Vec<(usize, usize, Group)> = Vec::new();
        for (block, state) in self.resident.iter().enumerate() {
            for (index, warp) in state.warps.iter().enumerate() {
                let meetings = warp.meetings.iter().map(|meeting| meeting.group);
                let parked = warp.parked.iter().map(|parked| parked.group);
                let groups = warp.groups.iter().copied().chain(meetings).chain(parked);
                places.extend(groups.map(|group| (block, index, group)));
            }
        }
        places.sort_by_key(|&(block, warp, group)| {
            (
                self.resident[block].number,
                warp,
                group.lanes.trailing_zeros(),
            )
        });
        let lines = places
            .iter()
            .map(|(_, _, group)| self.launch.kernel.code[group.pc as usize].line);
        let mut lines: Vec<u32> = lines.collect();
        lines.sort_unstable();
        lines.dedup();
        let detail = format!(
            "{why}; {} groups of lanes stand at lines {lines:?}",
            places.len()
        );
        let (block, warp, group) =
            places
                .first()
                .copied()
                .unwrap_or((0, 0, Group { pc: 0, lanes: 1 }));
        let fault = Fault::new(FindingKind::Deadlock, detail).by(group.lanes.trailing_zeros());
        self.finding(block, warp, group.pc, fault)
    }
}

fn meet(
    warp: &mut Warp,
    code: &[crate::ptx::inst::Inst],
    group: Group,
    poison: u64,
) -> Result<(), Located> {
    collective::arrive(warp, code, group, poison).map_err(|fault| (fault, group.pc))
}
