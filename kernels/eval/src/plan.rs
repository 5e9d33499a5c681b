//! From a program to lists of steps.
//!
//! A tile is computed in two stages. The first decides which rows are kept, and computes on all
//! rows what that needs. The second computes everything else on the kept rows alone: what it
//! takes from the input or from the first stage is compacted when it is first used. It is planned
//! twice, because a tile that is kept as a whole needs no compaction.
//!
//! A trap belongs to the second stage where its condition implies that the row is kept; lowering
//! sees to that for everything that only outputs need.

mod registers;
mod stages;

use unlade_program::{Imm, Inst, MaskOp, Program, Ty, Val};

use crate::Level;
use crate::element::Scalar;
use crate::frame::{Entry, Place, Step};
use crate::kernels;
use crate::mask::WORD;
use registers::Allocator;
use stages::Stages;

/// Bytes of a tile of the columns that decide which rows are kept: an eighth of a first-level
/// cache. While one step ends, the CPU has begun to read for the next.
const SHORT_TILE_BYTES: usize = 4096;

/// Rows of such a tile. With fewer, the steps' own costs show.
const SHORT_TILE: [usize; 2] = [512, 1024];

/// Rows of a tile where many columns are read. Every column of a tile is a stretch of memory that
/// the CPU must begin to fetch; longer ones are worth leaving the first-level cache.
const LONG_TILE: usize = 8192;

/// Most rows of a tile, which a caller may ask for; and those of a tile where few rows are kept, so
/// that memory is read by one test and hardly again. It is tested in several places at a time.
pub(crate) const MAX_TILE: usize = 65_536;

/// Where at most one row in so many is kept, few are.
pub(crate) const FEW: usize = 24;

/// Columns up to which tiles are short, of those that only outputs need.
const FEW_COLUMNS: usize = 2;

/// A program planned for this machine, to be [`run`](crate::run) any number of times, by any
/// number of threads at once.
#[derive(Clone, Debug)]
pub struct Executable {
    pub(crate) program: Program,
    pub(crate) plan: Plan,
    pub(crate) level: Level,
    pub(crate) tile_rows: usize,
    /// Rows of a tile after one of which few were kept.
    pub(crate) sparse_tile_rows: usize,
}

impl Executable {
    /// Plans a program for the best level of this machine.
    ///
    /// # Panics
    /// Where the program is malformed: `unlade_program::verify` comes first.
    pub fn new(program: &Program) -> Executable {
        Executable::with_level(program, Level::detect())
    }

    /// Plans a program for a given level, as a test wants it.
    ///
    /// # Panics
    /// As [`Executable::new`].
    pub fn with_level(program: &Program, level: Level) -> Executable {
        let plan = Planner::new(program, level).plan();
        Executable {
            program: program.clone(),
            tile_rows: plan.tile_rows,
            sparse_tile_rows: plan.sparse_tile_rows,
            plan,
            level,
        }
    }

    /// The same with tiles of another size.
    ///
    /// # Panics
    /// Where that is not a multiple of 64 between 64 and 65,536.
    pub fn with_tile_rows(mut self, rows: usize) -> Executable {
        assert!(
            rows.is_multiple_of(WORD) && (WORD..=MAX_TILE).contains(&rows),
            "tiles of {rows} rows: take a multiple of {WORD} up to {MAX_TILE}"
        );
        self.tile_rows = rows;
        self.sparse_tile_rows = rows;
        self
    }

    /// Rows of a tile.
    pub fn tile_rows(&self) -> usize {
        self.tile_rows
    }

    /// Rows of the tile after one of `rows` of which so many were kept.
    pub(crate) fn tile_after(&self, rows: usize, kept: usize) -> usize {
        match kept <= rows / FEW {
            true => self.sparse_tile_rows,
            false => self.tile_rows,
        }
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The level it was planned for.
    pub fn level(&self) -> Level {
        self.level
    }
}

/// The steps of a program and the registers that they use.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The scalars that are known before the first tile.
    pub(crate) scalars: Vec<ScalarSource>,
    /// Steps that compute scalars from scalars, as tiles of one row, and which scalar each makes.
    pub(crate) prologue: Vec<(Step, usize)>,
    /// What all rows of a tile take.
    pub(crate) first: Vec<Step>,
    /// Which rows the second stage is for, once the first has run.
    pub(crate) keep: Place,
    /// The second stage of a tile that is kept as a whole.
    pub(crate) dense: Vec<Step>,
    /// The second stage of any other tile.
    pub(crate) compacted: Vec<Step>,
    /// Rows of a tile that suit the program.
    pub(crate) tile_rows: usize,
    /// Rows that suit it where few are kept.
    pub(crate) sparse_tile_rows: usize,
    /// Bytes per row of each vector register.
    pub(crate) vector_widths: Vec<usize>,
    /// Number of mask registers.
    pub(crate) masks: usize,
    /// Types of the outputs' values.
    pub(crate) output_types: Vec<Ty>,
}

/// Where a scalar comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScalarSource {
    Param(usize),
    Const(Scalar),
    /// A step of the prologue makes it.
    Computed,
}

/// Which list of steps is being planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    First,
    Dense,
    Compacted,
}

struct Planner<'p> {
    program: &'p Program,
    level: Level,
    types: Vec<Option<Ty>>,
    stages: Stages,
    scalars: Vec<ScalarSource>,
    allocator: Allocator,
    /// Where values are that are the same in every list: scalars, and columns of elements.
    fixed: Vec<Place>,
    /// The output that a value computed in the second stage is written to at once.
    direct: Vec<Option<u32>>,
    /// How often a value is an operand, an output or what is kept.
    uses: Vec<u32>,
}

impl<'p> Planner<'p> {
    fn new(program: &'p Program, level: Level) -> Self {
        let types = program.types();
        let stages = Stages::of(program, &types);
        let count = program.insts.len();
        let mut direct = vec![None; count];
        for (index, output) in program.outputs.iter().enumerate() {
            let value = stages.root(output.value);
            if types[value.index()] != Some(Ty::Mask) {
                direct[value.index()].get_or_insert(index as u32);
            }
        }
        let mut uses = vec![0; count];
        let mut note = |val: Val| uses[stages.root(val).index()] += 1;
        for inst in &program.insts {
            inst.for_each_operand(&mut note);
        }
        program.keep.into_iter().for_each(&mut note);
        for output in &program.outputs {
            note(output.value);
            output.valid.into_iter().for_each(&mut note);
        }
        Planner {
            program,
            level,
            types,
            uses,
            stages,
            scalars: Vec::new(),
            allocator: Allocator::default(),
            fixed: vec![Place::None; count],
            direct,
        }
    }

    fn plan(mut self) -> Plan {
        let mut prologue = self.plan_scalars();
        let mut places = self.fixed.clone();
        let first = self.plan_list(List::First, &mut places);
        let mut keep = self.program.keep.map_or(Place::AllRows, |keep| {
            places[self.stages.root(keep).index()]
        });
        let dense = self.plan_list(List::Dense, &mut places.clone());
        let compacted = match self.program.keep {
            Some(_) => self.plan_list(List::Compacted, &mut places),
            None => Vec::new(),
        };

        // There is a register for each value so far; those of values that do not live at the same
        // time become one.
        let Planner {
            program,
            types,
            stages,
            scalars,
            allocator,
            ..
        } = self;
        let mut lists = [first, dense, compacted];
        let (vector_widths, masks) = allocator.assign(&mut prologue, &mut lists, &mut keep);
        let [first, dense, compacted] = lists;
        let tile_rows = tile_rows(program, &columns_of(&first), &columns_of(&dense));
        let sparse_tile_rows = match reads_memory_once(&first) {
            true => MAX_TILE,
            false => tile_rows,
        };
        let output_types = program
            .outputs
            .iter()
            .map(|output| types[stages.root(output.value).index()].expect("outputs have values"))
            .collect();
        Plan {
            scalars,
            prologue,
            first,
            keep,
            dense,
            compacted,
            tile_rows,
            sparse_tile_rows,
            vector_widths,
            masks,
            output_types,
        }
    }

    /// Gives every scalar its slot and every column its place.
    fn plan_scalars(&mut self) -> Vec<(Step, usize)> {
        let mut prologue = Vec::new();
        for (index, inst) in self.program.insts.iter().enumerate() {
            let val = Val(index as u32);
            if self.stages.root(val) != val {
                continue;
            }
            let place = match *inst {
                Inst::Param { index } => self.scalar(ScalarSource::Param(index as usize)),
                Inst::Const { value } => self.constant(value),
                Inst::Load { column } if self.types[index] != Some(Ty::Mask) => {
                    Place::Column(u32::from(column))
                }
                _ if self.stages.is_scalar(val) => {
                    let to = self.register(val);
                    let step = self.step(inst, val, to, |planner, operand| planner.fixed[operand]);
                    let slot = self.scalar(ScalarSource::Computed);
                    prologue.push((step, self.scalars.len() - 1));
                    slot
                }
                _ => Place::None,
            };
            self.fixed[index] = place;
        }
        prologue
    }

    /// Plans one list of steps. `places` says where values are when the list begins, and when it
    /// has ended.
    fn plan_list(&mut self, list: List, places: &mut [Place]) -> Vec<Step> {
        let mut steps = Vec::new();
        if list != List::First {
            self.enter_second_stage(list, places);
        }
        for (index, inst) in self.program.insts.iter().enumerate() {
            let val = Val(index as u32);
            let wanted = match list {
                List::First => self.stages.in_first(val),
                _ => self.stages.in_second(val),
            };
            if !wanted || places[index] != Place::None {
                continue;
            }
            if list == List::Compacted && matches!(inst, Inst::Load { .. } | Inst::Validity { .. })
            {
                // Compacted when first used; bits are first brought into a register.
                if self.types[index] == Some(Ty::Mask) {
                    let whole = self.allocator.mask();
                    steps.push(self.step(inst, val, whole, |_, _| Place::None));
                    let to = self.allocator.mask();
                    steps.push(self.compact_mask(whole, to));
                    places[index] = to;
                }
                continue;
            }
            inst.for_each_operand(|operand| {
                self.bring(list, self.stages.root(operand), places, &mut steps);
            });
            let to = match self.direct[index] {
                _ if self.types[index].is_none() => Place::None,
                Some(output) if list != List::First => Place::Output(output),
                _ => self.register(val),
            };
            let step = match self.confined(inst, places, &mut steps) {
                Some(test) => Step { to, ..test },
                None => self.step(inst, val, to, |_, operand| places[operand]),
            };
            steps.push(step);
            places[index] = to;
        }
        if list != List::First {
            self.finish_outputs(list, places, &mut steps);
        }
        steps
    }

    /// The test that a conjunction is with its other operand, where that is all the test is for:
    /// taken out of the steps and confined to the rows that the other operand sets. So a test reads
    /// nothing of a tile in which those before it leave no row.
    fn confined(&self, inst: &Inst, places: &[Place], steps: &mut Vec<Step>) -> Option<Step> {
        let Inst::Mask { op, lhs, rhs } = *inst else {
            return None;
        };
        let candidates = match op {
            MaskOp::And => [Some((rhs, lhs)), Some((lhs, rhs))],
            MaskOp::AndNot => [Some((rhs, lhs)), None],
            MaskOp::Or | MaskOp::Xor => [None, None],
        };
        candidates.into_iter().flatten().find_map(|(test, other)| {
            let (test, other) = (self.stages.root(test), self.stages.root(other));
            if !self.is_test(test) || self.uses[test.index()] != 1 {
                return None;
            }
            let at = steps
                .iter()
                .position(|step| step.to == places[test.index()])?;
            let step = steps.remove(at);
            Some(Step {
                negate: step.negate ^ (op == MaskOp::AndNot),
                within: places[other.index()],
                ..step
            })
        })
    }

    /// Whether a value's kernel can be confined to some rows.
    fn is_test(&self, val: Val) -> bool {
        match self.program.insts[val.index()] {
            Inst::Compare { lhs, .. } => self.types[lhs.index()] != Some(Ty::Mask),
            Inst::Range { .. } | Inst::InSet { .. } => true,
            _ => false,
        }
    }

    /// What the second stage knows from the start: the facts that keeping a row implies. In the
    /// compacted list nothing else but scalars is in place.
    fn enter_second_stage(&mut self, list: List, places: &mut [Place]) {
        if list == List::Compacted {
            places.copy_from_slice(&self.fixed);
            for (place, inst) in places.iter_mut().zip(&self.program.insts) {
                if matches!(inst, Inst::Load { .. }) {
                    *place = Place::None;
                }
            }
        }
        for (index, place) in places.iter_mut().enumerate() {
            match self.stages.fact(Val(index as u32)) {
                Some(true) => *place = Place::AllRows,
                Some(false) => *place = self.constant(Imm::mask(false)),
                None => {}
            }
        }
    }

    /// Compacts a value of the first stage, or a column, unless that has been done.
    fn bring(&mut self, list: List, val: Val, places: &mut [Place], steps: &mut Vec<Step>) {
        let index = val.index();
        if list != List::Compacted || places[index] != Place::None {
            return;
        }
        let inst = &self.program.insts[index];
        let ty = self.types[index].expect("operands have values");
        let from = match self.fixed[index] {
            Place::None => self.allocator.of(val),
            place => place,
        };
        if ty == Ty::Mask {
            let to = self.allocator.mask();
            steps.push(self.compact_mask(from, to));
            places[index] = to;
        } else {
            let to = match self.direct[index] {
                Some(output) => Place::Output(output),
                None => self.allocator.vector(ty.bits() as usize / 8),
            };
            steps.push(Step {
                run: kernels::compact(self.level, ty),
                to,
                args: [from, Place::None, Place::None],
                inst: *inst,
                negate: false,
                within: Place::AllRows,
                index: 0,
            });
            places[index] = to;
        }
    }

    fn compact_mask(&self, from: Place, to: Place) -> Step {
        Step {
            run: kernels::compact_mask(self.level),
            to,
            args: [from, Place::None, Place::None],
            inst: Inst::Const {
                value: Imm::mask(false),
            },
            negate: false,
            within: Place::AllRows,
            index: 0,
        }
    }

    /// Puts into the outputs what is not there yet.
    fn finish_outputs(&mut self, list: List, places: &mut [Place], steps: &mut Vec<Step>) {
        for (index, output) in self.program.outputs.iter().enumerate() {
            let value = self.stages.root(output.value);
            self.bring(list, value, places, steps);
            let ty = self.types[value.index()].expect("outputs have values");
            let from = places[value.index()];
            let to = Place::Output(index as u32);
            let copy = if ty == Ty::Mask {
                kernels::append_mask(self.level)
            } else {
                kernels::copy_to_output(self.level, ty)
            };
            if from != to {
                steps.push(self.output_step(copy, from, to, index));
            }
            if let Some(valid) = output.valid {
                let valid = self.stages.root(valid);
                self.bring(list, valid, places, steps);
                let append = kernels::append_validity(self.level);
                steps.push(self.output_step(append, places[valid.index()], to, index));
            }
        }
    }

    fn output_step(&self, run: Entry, from: Place, to: Place, index: usize) -> Step {
        Step {
            run,
            to,
            args: [from, Place::None, Place::None],
            inst: Inst::Const {
                value: Imm::mask(false),
            },
            negate: false,
            within: Place::AllRows,
            index: index as u32,
        }
    }

    /// The step of an instruction, its operands where `place` finds their roots.
    fn step(
        &mut self,
        inst: &Inst,
        val: Val,
        to: Place,
        place: impl Fn(&Self, usize) -> Place,
    ) -> Step {
        let mut args = [Place::None; 3];
        let mut count = 0;
        let mut arg_ty = None;
        inst.for_each_operand(|operand| {
            let root = self.stages.root(operand);
            args[count] = place(self, root.index());
            if count == 0 {
                arg_ty = self.types[operand.index()];
            }
            count += 1;
        });
        let recipe = match inst {
            Inst::Range { .. } if !matches!(args, [_, Place::Scalar(_), Place::Scalar(_)]) => {
                kernels::range_of_rows(arg_ty)
            }
            _ => kernels::recipe(self.level, inst, arg_ty, self.types[val.index()]),
        };
        if recipe.swap {
            args.swap(0, 1);
        }
        if let Some(bounds) = recipe.bounds {
            let ty = arg_ty.expect("bounds are for an operand");
            for (arg, bound) in args[count..].iter_mut().zip(bounds) {
                *arg = self.constant(bound_of(ty, bound));
            }
        }
        Step {
            run: recipe.entry,
            to,
            args,
            inst: *inst,
            negate: recipe.negate,
            within: Place::AllRows,
            index: 0,
        }
    }

    /// The register that a value is computed into.
    fn register(&mut self, val: Val) -> Place {
        match self.types[val.index()] {
            Some(Ty::Mask) => self.allocator.mask_for(val),
            Some(ty) => self.allocator.vector_for(val, ty.bits() as usize / 8),
            None => Place::None,
        }
    }

    fn scalar(&mut self, source: ScalarSource) -> Place {
        self.scalars.push(source);
        Place::Scalar(self.scalars.len() as u32 - 1)
    }

    fn constant(&mut self, value: Imm) -> Place {
        self.scalar(ScalarSource::Const(value.to_le_bytes()))
    }
}

/// Rows of a tile that suit a program: `decisive` columns are read for every row, `wanted` ones for
/// those kept.
fn tile_rows(program: &Program, decisive: &[u32], wanted: &[u32]) -> usize {
    let payload = wanted.iter().filter(|column| !decisive.contains(column));
    if payload.count() > FEW_COLUMNS {
        return LONG_TILE;
    }
    let width = |column: &u32| program.columns[*column as usize].ty.bits() as usize / 8;
    let row: usize = decisive.iter().map(width).sum();
    let [fewest, most] = SHORT_TILE;
    (SHORT_TILE_BYTES / row.max(1))
        .next_power_of_two()
        .clamp(fewest, most)
}

/// Whether the first stage tests what it reads where it lies: it keeps no values for later steps,
/// and no test waits to see whether another leaves it a row of the tile, which of a short tile is
/// often none.
fn reads_memory_once(first: &[Step]) -> bool {
    let at_once = |step: &Step| {
        matches!(step.to, Place::Mask(_) | Place::None) && step.within == Place::AllRows
    };
    !first.is_empty() && first.iter().all(at_once)
}

/// The columns of elements that a list reads.
fn columns_of(steps: &[Step]) -> Vec<u32> {
    let columns = steps
        .iter()
        .flat_map(|step| step.args)
        .filter_map(|place| match place {
            Place::Column(column) => Some(column),
            _ => None,
        });
    let mut columns: Vec<u32> = columns.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// A bound of an operand's type. Only zero is asked of floats, whose bits are zero.
fn bound_of(ty: Ty, bound: i128) -> Imm {
    Imm::integer(ty, bound).unwrap_or(Imm::zero(ty))
}
