//! Which values each stage computes, and what the second may take for granted.

use unlade_program::{Inst, MaskOp, Program, Ty, Val};

/// The answers, one entry per value.
#[derive(Debug)]
pub(super) struct Stages {
    roots: Vec<Val>,
    scalar: Vec<bool>,
    first: Vec<bool>,
    second: Vec<bool>,
    facts: Vec<Option<bool>>,
}

impl Stages {
    pub(super) fn of(program: &Program, types: &[Option<Ty>]) -> Stages {
        let count = program.insts.len();
        let mut stages = Stages {
            roots: roots(program, types),
            scalar: vec![false; count],
            first: vec![false; count],
            second: vec![false; count],
            facts: vec![None; count],
        };
        stages.find_scalars(program);

        if let Some(keep) = program.keep {
            stages.facts = stages.assume(program, keep);
            stages.need_first(program, keep);
        }
        let mut late_traps = Vec::new();
        for (index, inst) in program.insts.iter().enumerate() {
            let Inst::Trap { when, .. } = *inst else {
                continue;
            };
            let late = program.keep.is_none_or(|keep| {
                let facts = stages.assume(program, when);
                stages.implied(program, &facts, keep, true)
            });
            if late {
                late_traps.push((index, when));
            } else {
                stages.first[index] = true;
                stages.need_first(program, when);
            }
        }
        for (index, when) in late_traps {
            stages.second[index] = true;
            stages.need_second(program, when);
        }
        for output in &program.outputs {
            stages.need_second(program, output.value);
            if let Some(valid) = output.valid {
                stages.need_second(program, valid);
            }
        }
        stages
    }

    /// The value whose bits a value has: itself, or the operand of a cast that changes nothing.
    pub(super) fn root(&self, val: Val) -> Val {
        self.roots[val.index()]
    }

    /// Whether a value is the same on all rows.
    pub(super) fn is_scalar(&self, val: Val) -> bool {
        self.scalar[val.index()]
    }

    /// Whether the first stage computes it.
    pub(super) fn in_first(&self, val: Val) -> bool {
        self.first[val.index()]
    }

    /// Whether the second stage computes it.
    pub(super) fn in_second(&self, val: Val) -> bool {
        self.second[val.index()]
    }

    /// What a mask is on every row that is kept, where that follows from its being kept.
    pub(super) fn fact(&self, val: Val) -> Option<bool> {
        self.facts[val.index()]
    }

    fn find_scalars(&mut self, program: &Program) {
        for (index, inst) in program.insts.iter().enumerate() {
            self.scalar[index] = match inst {
                Inst::Load { .. } | Inst::Validity { .. } | Inst::Trap { .. } => false,
                _ => {
                    let mut all = true;
                    inst.for_each_operand(|operand| all &= self.scalar[operand.index()]);
                    all
                }
            };
        }
    }

    fn need_first(&mut self, program: &Program, val: Val) {
        let mut open = vec![val];
        while let Some(val) = open.pop() {
            let root = self.root(val);
            if self.scalar[root.index()] || self.first[root.index()] {
                continue;
            }
            self.first[root.index()] = true;
            program.insts[root.index()].for_each_operand(|operand| open.push(operand));
        }
    }

    fn need_second(&mut self, program: &Program, val: Val) {
        let mut open = vec![val];
        while let Some(val) = open.pop() {
            let root = self.root(val);
            let index = root.index();
            let known = self.scalar[index] || self.facts[index].is_some();
            if known || self.first[index] || self.second[index] {
                continue;
            }
            self.second[index] = true;
            program.insts[index].for_each_operand(|operand| open.push(operand));
        }
    }

    /// What follows for other masks where one is set.
    fn assume(&self, program: &Program, set: Val) -> Vec<Option<bool>> {
        let mut facts = vec![None; program.insts.len()];
        let mut open = vec![(set, true)];
        while let Some((val, truth)) = open.pop() {
            let root = self.root(val);
            if self.scalar[root.index()] || facts[root.index()].is_some() {
                continue;
            }
            facts[root.index()] = Some(truth);
            open.extend(parts(program, root, truth).into_iter().flatten());
        }
        facts
    }

    /// Whether facts imply that a mask has the given value.
    fn implied(&self, program: &Program, facts: &[Option<bool>], val: Val, truth: bool) -> bool {
        let root = self.root(val);
        match facts[root.index()] {
            Some(known) => known == truth,
            None => {
                let parts = parts(program, root, truth);
                parts.iter().flatten().next().is_some()
                    && parts
                        .into_iter()
                        .flatten()
                        .all(|(part, truth)| self.implied(program, facts, part, truth))
            }
        }
    }
}

/// The masks whose given values together are the same as this mask's having the given value;
/// nothing where there are none such.
fn parts(program: &Program, val: Val, truth: bool) -> [Option<(Val, bool)>; 2] {
    match program.insts[val.index()] {
        Inst::Mask {
            op: MaskOp::And,
            lhs,
            rhs,
        } if truth => [Some((lhs, true)), Some((rhs, true))],
        Inst::Mask {
            op: MaskOp::AndNot,
            lhs,
            rhs,
        } if truth => [Some((lhs, true)), Some((rhs, false))],
        Inst::Mask {
            op: MaskOp::Or,
            lhs,
            rhs,
        } if !truth => [Some((lhs, false)), Some((rhs, false))],
        Inst::Not { arg } => [Some((arg, !truth)), None],
        _ => [None, None],
    }
}

/// Follows casts that keep all bits to the value they are of.
fn roots(program: &Program, types: &[Option<Ty>]) -> Vec<Val> {
    let mut roots: Vec<Val> = Vec::with_capacity(program.insts.len());
    for (index, inst) in program.insts.iter().enumerate() {
        let root = match *inst {
            Inst::Cast { arg, to, .. } if keeps_bits(types[arg.index()], to) => roots[arg.index()],
            Inst::Rescale { arg, by: 0, .. } => roots[arg.index()],
            _ => Val(index as u32),
        };
        roots.push(root);
    }
    roots
}

/// Between integers of one width nothing changes; between floats a NaN may.
fn keeps_bits(from: Option<Ty>, to: Ty) -> bool {
    from.is_some_and(|from| from.bits() == to.bits() && !from.is_float() && !to.is_float())
}
