//! One walk over the instructions of a program that replaces each by another or by a value.

use crate::{Imm, Inst, Program, Ty, Val};

/// What becomes of an instruction.
pub(super) enum Becomes {
    /// This instruction, which may be the same.
    Inst(Inst),
    /// A value that is already there.
    Val(Val),
    /// Nothing; only a trap, which has no value, may.
    Nothing,
}

/// The instructions made so far, with the types of their results.
pub(super) struct Made<'a> {
    pub(super) program: &'a Program,
    pub(super) insts: Vec<Inst>,
    pub(super) types: Vec<Option<Ty>>,
}

impl Made<'_> {
    pub(super) fn inst(&self, val: Val) -> &Inst {
        &self.insts[val.index()]
    }

    pub(super) fn ty(&self, val: Val) -> Ty {
        self.types[val.index()].expect("a verified program uses no trap's value")
    }

    pub(super) fn constant(&self, val: Val) -> Option<Imm> {
        match self.insts[val.index()] {
            Inst::Const { value } => Some(value),
            _ => None,
        }
    }
}

/// Walks forward; `step` is given each instruction with its operands already replaced. Returns
/// whether anything changed.
pub(super) fn rewrite(
    program: &mut Program,
    mut step: impl FnMut(Inst, &mut Made<'_>) -> Becomes,
) -> bool {
    let count = program.insts.len();
    let mut places: Vec<Val> = Vec::with_capacity(count);
    let mut made = Made {
        program,
        insts: Vec::with_capacity(count),
        types: Vec::with_capacity(count),
    };
    for inst in &made.program.insts {
        let mut inst = *inst;
        inst.map_operands(|operand| places[operand.index()]);
        places.push(match step(inst, &mut made) {
            Becomes::Inst(inst) => {
                let place = Val(made.insts.len() as u32);
                let ty = made.program.result_type(&made.types, &inst);
                made.insts.push(inst);
                made.types.push(ty);
                place
            }
            Becomes::Val(val) => val,
            // Nothing refers to a trap.
            Becomes::Nothing => Val(u32::MAX),
        });
    }
    let insts = made.insts;
    if insts == program.insts {
        return false;
    }
    program.insts = insts;
    replace_roots(program, |val| places[val.index()]);
    true
}

/// Replaces the values that the filter and the outputs refer to.
pub(super) fn replace_roots(program: &mut Program, place: impl Fn(Val) -> Val) {
    program.keep = program.keep.map(&place);
    for output in &mut program.outputs {
        output.value = place(output.value);
        output.valid = output.valid.map(&place);
    }
}
