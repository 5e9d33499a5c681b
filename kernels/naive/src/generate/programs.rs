//! Random programs.

use unlade_program::{
    BinaryOp, CastRule, Cell, Column, CompareOp, FloatOrder, Inst, MaskOp, Op, Output, OverflowOp,
    Program, Rounding, TrapCode, Ty, UnaryOp, Val, cells, verify,
};

use super::{Rng, random_value};

/// What kind of programs to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operations to include, in this order; random ones where empty.
    pub cells: Vec<Cell>,
    /// How many random operations to make where `cells` is empty.
    pub random_cells: usize,
    /// Whether there may be traps besides those that `cells` asks for. They fire on few inputs
    /// only: each is guarded by a mask column that [`super::random_inputs`] leaves empty mostly.
    pub traps: bool,
    /// Whether there may be a filter.
    pub keep: bool,
    /// How many in a hundred of the sources made for an operand are constants.
    pub constants: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cells: Vec::new(),
            random_cells: 12,
            traps: true,
            keep: true,
            constants: 15,
        }
    }
}

/// A verified program. Every value that nothing else uses is an output, so that no instruction is
/// dead.
pub fn random_program(rng: &mut Rng, options: &Options) -> Program {
    let mut maker = Maker {
        program: Program::default(),
        types: Vec::new(),
        constants: options.constants,
        guards: Vec::new(),
    };
    if options.cells.is_empty() {
        let all: Vec<Cell> = cells().filter(|cell| cell.op != Op::Trap).collect();
        for _ in 0..options.random_cells {
            let cell = rng.pick(&all);
            maker.make(cell, rng);
        }
    } else {
        for &cell in &options.cells {
            maker.make(cell, rng);
        }
    }
    if options.traps && rng.chance(60) {
        for _ in 0..=rng.below(3) {
            maker.trap(rng);
        }
    }
    maker.finish(options, rng)
}

/// A program being made, and the type of each of its values.
struct Maker {
    program: Program,
    types: Vec<Option<Ty>>,
    constants: usize,
    /// The masks that let traps fire.
    guards: Vec<Val>,
}

impl Maker {
    /// An instruction of the cell, and the operands it needs.
    fn make(&mut self, cell: Cell, rng: &mut Rng) -> Val {
        let ty = cell.operand;
        let inst = match cell.op {
            Op::Load => self.load(ty, rng),
            Op::Validity => Inst::Validity {
                column: self.column(rng),
            },
            Op::Param => self.param(ty, rng),
            Op::Const => Inst::Const {
                value: random_value(ty, rng),
            },
            Op::Neg => self.unary(UnaryOp::Neg, ty, rng),
            Op::Abs => self.unary(UnaryOp::Abs, ty, rng),
            Op::Round => self.unary(UnaryOp::Round, ty, rng),
            Op::Add => self.binary(BinaryOp::Add, ty, rng),
            Op::Sub => self.binary(BinaryOp::Sub, ty, rng),
            Op::Mul => self.binary(BinaryOp::Mul, ty, rng),
            Op::Div => self.binary(BinaryOp::Div, ty, rng),
            Op::Rem => self.binary(BinaryOp::Rem, ty, rng),
            Op::FloorDiv => self.binary(BinaryOp::FloorDiv, ty, rng),
            Op::OverflowAdd => self.overflow(OverflowOp::Add, ty, rng),
            Op::OverflowSub => self.overflow(OverflowOp::Sub, ty, rng),
            Op::OverflowMul => self.overflow(OverflowOp::Mul, ty, rng),
            Op::OverflowDiv => self.overflow(OverflowOp::Div, ty, rng),
            Op::CompareEq => self.compare(CompareOp::Eq, cell, rng),
            Op::CompareNe => self.compare(CompareOp::Ne, cell, rng),
            Op::CompareLt => self.compare(CompareOp::Lt, cell, rng),
            Op::CompareLe => self.compare(CompareOp::Le, cell, rng),
            Op::CompareGt => self.compare(CompareOp::Gt, cell, rng),
            Op::CompareGe => self.compare(CompareOp::Ge, cell, rng),
            Op::Range => Inst::Range {
                arg: self.operand(ty, rng),
                low: self.operand(ty, rng),
                high: self.operand(ty, rng),
            },
            Op::CastWrap | Op::CastSaturate => Inst::Cast {
                rule: match cell.op {
                    Op::CastWrap => CastRule::Wrap,
                    _ => CastRule::Saturate,
                },
                arg: self.operand(ty, rng),
                to: cell.result,
            },
            Op::CastFails => Inst::CastFails {
                arg: self.operand(ty, rng),
                to: cell.result,
            },
            Op::Rescale => {
                let digits = random_digits(rng);
                Inst::Rescale {
                    arg: self.operand(ty, rng),
                    by: if cell.variant == 0 { digits } else { -digits },
                    rounding: match cell.variant {
                        0 => rng.pick(&Rounding::ALL),
                        1 => Rounding::HalfAwayFromZero,
                        2 => Rounding::Truncate,
                        _ => Rounding::Floor,
                    },
                }
            }
            Op::Digits => Inst::Digits {
                arg: self.operand(ty, rng),
                by: random_digits(rng) - 1,
            },
            Op::RescaleFails => Inst::RescaleFails {
                arg: self.operand(ty, rng),
                by: random_digits(rng),
            },
            Op::Select => Inst::Select {
                mask: self.operand(Ty::Mask, rng),
                then: self.operand(ty, rng),
                other: self.operand(ty, rng),
            },
            Op::And => self.mask(MaskOp::And, rng),
            Op::Or => self.mask(MaskOp::Or, rng),
            Op::AndNot => self.mask(MaskOp::AndNot, rng),
            Op::Xor => self.mask(MaskOp::Xor, rng),
            Op::Not => Inst::Not {
                arg: self.operand(Ty::Mask, rng),
            },
            Op::Lookup => Inst::Lookup {
                table: self.table(cell.result, rng),
                index: self.operand(ty, rng),
            },
            Op::InBounds => {
                let table = rng.pick(&Ty::ALL);
                Inst::InBounds {
                    table: self.table(table, rng),
                    index: self.operand(ty, rng),
                }
            }
            Op::InSet => Inst::InSet {
                set: entry(&mut self.program.sets, ty, 70, rng),
                arg: self.operand(ty, rng),
            },
            Op::Trap => return self.trap(rng),
        };
        let ty = match cell.op {
            Op::CastFails => Ty::Mask,
            _ => cell.result,
        };
        self.push(inst, Some(ty))
    }

    /// A trap whose condition includes a mask column made for that.
    fn trap(&mut self, rng: &mut Rng) -> Val {
        let any = self.operand(Ty::Mask, rng);
        self.trap_within(any, rng)
    }

    fn trap_within(&mut self, any: Val, rng: &mut Rng) -> Val {
        // Traps of one guard fire on the same rows, where their ordinals decide.
        let guard = if !self.guards.is_empty() && rng.chance(50) {
            rng.pick(&self.guards)
        } else {
            self.guard()
        };
        let when = Inst::Mask {
            op: MaskOp::And,
            lhs: any,
            rhs: guard,
        };
        let when = self.push(when, Some(Ty::Mask));
        let trap = Inst::Trap {
            when,
            code: rng.pick(&TrapCode::ALL),
            ordinal: rng.below(6) as u32,
        };
        self.push(trap, None)
    }

    /// A mask column of its own, which lets a trap fire.
    fn guard(&mut self) -> Val {
        let column = self.program.columns.len() as u16;
        self.program.columns.push(Column {
            ty: Ty::Mask,
            nullable: false,
        });
        let guard = self.push(Inst::Load { column }, Some(Ty::Mask));
        self.guards.push(guard);
        guard
    }

    /// A value of a type: one that is there already, or a new source.
    fn operand(&mut self, ty: Ty, rng: &mut Rng) -> Val {
        let there: Vec<Val> = (0u32..)
            .zip(&self.types)
            .filter(|(_, found)| **found == Some(ty))
            .map(|(index, _)| Val(index))
            .collect();
        if !there.is_empty() && rng.chance(55) {
            return rng.pick(&there);
        }
        let source = if rng.chance(self.constants) {
            Inst::Const {
                value: random_value(ty, rng),
            }
        } else if rng.chance(75) {
            self.load(ty, rng)
        } else {
            self.param(ty, rng)
        };
        self.push(source, Some(ty))
    }

    fn load(&mut self, ty: Ty, rng: &mut Rng) -> Inst {
        let column = Column {
            ty,
            nullable: rng.chance(60),
        };
        Inst::Load {
            column: entry(&mut self.program.columns, column, 40, rng),
        }
    }

    /// Any column at all.
    fn column(&mut self, rng: &mut Rng) -> u16 {
        let column = Column {
            ty: rng.pick(&Ty::ALL),
            nullable: true,
        };
        entry(&mut self.program.columns, column, 70, rng)
    }

    fn param(&mut self, ty: Ty, rng: &mut Rng) -> Inst {
        Inst::Param {
            index: entry(&mut self.program.params, ty, 30, rng),
        }
    }

    fn table(&mut self, ty: Ty, rng: &mut Rng) -> u16 {
        entry(&mut self.program.tables, ty, 70, rng)
    }

    fn unary(&mut self, op: UnaryOp, ty: Ty, rng: &mut Rng) -> Inst {
        Inst::Unary {
            op,
            arg: self.operand(ty, rng),
        }
    }

    fn binary(&mut self, op: BinaryOp, ty: Ty, rng: &mut Rng) -> Inst {
        Inst::Binary {
            op,
            lhs: self.operand(ty, rng),
            rhs: self.operand(ty, rng),
        }
    }

    fn overflow(&mut self, op: OverflowOp, ty: Ty, rng: &mut Rng) -> Inst {
        Inst::Overflow {
            op,
            lhs: self.operand(ty, rng),
            rhs: self.operand(ty, rng),
        }
    }

    fn compare(&mut self, op: CompareOp, cell: Cell, rng: &mut Rng) -> Inst {
        Inst::Compare {
            op,
            order: FloatOrder::ALL[usize::from(cell.variant)],
            lhs: self.operand(cell.operand, rng),
            rhs: self.operand(cell.operand, rng),
        }
    }

    fn mask(&mut self, op: MaskOp, rng: &mut Rng) -> Inst {
        Inst::Mask {
            op,
            lhs: self.operand(Ty::Mask, rng),
            rhs: self.operand(Ty::Mask, rng),
        }
    }

    fn push(&mut self, inst: Inst, ty: Option<Ty>) -> Val {
        let val = Val(self.program.insts.len() as u32);
        self.program.insts.push(inst);
        self.types.push(ty);
        val
    }

    fn finish(mut self, options: &Options, rng: &mut Rng) -> Program {
        if options.keep && rng.chance(75) {
            let conjuncts = 1 + rng.below(3);
            let mut all = self.operand(Ty::Mask, rng);
            for _ in 1..conjuncts {
                let next = Inst::Mask {
                    op: MaskOp::And,
                    lhs: all,
                    rhs: self.operand(Ty::Mask, rng),
                };
                all = self.push(next, Some(Ty::Mask));
            }
            self.program.keep = Some(all);
            self.program.emit_mask = rng.chance(40);
            if options.traps && rng.chance(30) {
                self.trap_within(all, rng);
            }
        }
        let mut used = vec![false; self.program.insts.len()];
        for inst in &self.program.insts {
            inst.for_each_operand(|operand| used[operand.index()] = true);
        }
        if let Some(keep) = self.program.keep {
            used[keep.index()] = true;
        }
        for (index, used) in used.into_iter().enumerate() {
            let sink = !used && self.types[index].is_some();
            let extra = self.types[index].is_some() && rng.chance(3);
            if sink || extra {
                let value = Val(index as u32);
                let valid = rng.chance(40).then(|| self.any_mask(rng)).flatten();
                self.program.outputs.push(Output { value, valid });
            }
        }
        if let Err(error) = verify(&self.program) {
            unreachable!(
                "a generated program is not well formed: {error}\n{}",
                self.program
            );
        }
        self.program
    }

    /// A mask that is there already.
    fn any_mask(&self, rng: &mut Rng) -> Option<Val> {
        let masks: Vec<Val> = (0u32..)
            .zip(&self.types)
            .filter(|(_, ty)| **ty == Some(Ty::Mask))
            .map(|(index, _)| Val(index))
            .collect();
        (!masks.is_empty()).then(|| rng.pick(&masks))
    }
}

fn random_digits(rng: &mut Rng) -> i8 {
    if rng.chance(60) {
        1 + rng.below(6) as i8
    } else {
        1 + rng.below(38) as i8
    }
}

/// The index of an equal entry of the list, mostly, or of a new one.
fn entry<T: Copy + PartialEq>(list: &mut Vec<T>, wanted: T, reuse: usize, rng: &mut Rng) -> u16 {
    if rng.chance(reuse)
        && let Some(found) = list.iter().position(|each| *each == wanted)
    {
        return found as u16;
    }
    list.push(wanted);
    (list.len() - 1) as u16
}

/// A mask column whose bits let a trap fire: see [`Options::traps`].
pub(super) fn is_trap_guard(program: &Program, column: u16) -> bool {
    program.insts.iter().any(|inst| {
        let Inst::Trap { when, .. } = inst else {
            return false;
        };
        let Inst::Mask {
            op: MaskOp::And,
            rhs,
            ..
        } = program.insts[when.index()]
        else {
            return false;
        };
        program.insts[rhs.index()] == Inst::Load { column }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cell_can_be_asked_for() {
        let mut rng = Rng::new(1);
        for cell in cells() {
            let options = Options {
                cells: vec![cell],
                ..Options::default()
            };
            let program = random_program(&mut rng, &options);
            let types = program.types();
            assert!(
                program
                    .insts
                    .iter()
                    .any(|inst| Cell::of(&program, &types, inst) == cell),
                "{cell} is missing from\n{program}"
            );
        }
    }

    #[test]
    fn random_programs_come_to_cover_every_cell() {
        let mut rng = Rng::new(2);
        let mut seen = BTreeSet::new();
        for _ in 0..1000 {
            let program = random_program(&mut rng, &Options::default());
            let types = program.types();
            for inst in &program.insts {
                seen.insert(Cell::of(&program, &types, inst));
            }
        }
        assert_eq!(seen.len(), cells().len());
    }

    #[test]
    fn a_seed_is_replayed() {
        let make = || random_program(&mut Rng::new(3), &Options::default());
        assert_eq!(make(), make());
    }
}
