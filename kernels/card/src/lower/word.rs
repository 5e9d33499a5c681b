//! Steps as words.

use std::collections::HashMap;

use unlade_program::{Cell, Inst, Program, Ty};

use super::allocate::Placed;
use super::order::Step;
use super::typed;
use crate::bytecode::{Operation, Word};

/// The bytes of a constant.
type Constant = [u8; 16];

/// The words, and the constants that they name: each once, in the order of their first use.
pub(super) fn words(
    program: &Program,
    types: &[Option<Ty>],
    placed: &[Placed],
) -> (Vec<Word>, Vec<Constant>) {
    let mut writer = Writer {
        program,
        types,
        constants: Constants::default(),
    };
    let words = placed.iter().map(|placed| writer.word(placed)).collect();
    (words, writer.constants.list)
}

struct Writer<'a> {
    program: &'a Program,
    types: &'a [Option<Ty>],
    constants: Constants,
}

impl Writer<'_> {
    fn word(&mut self, placed: &Placed) -> Word {
        let mut word = Word {
            operation: Operation::EmitMask,
            operand: Ty::Mask,
            result: Ty::Mask,
            variant: 0,
            dst: placed.dst,
            sources: placed.sources,
            index: 0,
            immediate: 0,
        };
        match placed.step {
            Step::EmitMask => {}
            Step::Keep(_) => word.operation = Operation::Keep,
            Step::Store { index, output } => {
                word.operation = Operation::Store;
                word.operand = typed(self.types, output.value);
                word.result = word.operand;
                word.index = index;
            }
            Step::Compute(val) => self.compute(&mut word, &self.program.insts[val.index()]),
        }
        word
    }

    /// The fields that an instruction decides.
    fn compute(&mut self, word: &mut Word, inst: &Inst) {
        let cell = Cell::of(self.program, self.types, inst);
        word.operation = Operation::Program(cell.op);
        word.operand = cell.operand;
        word.result = cell.result;
        word.variant = cell.variant;
        match *inst {
            Inst::Load { column } | Inst::Validity { column } => word.index = column,
            Inst::Param { index } => word.index = index,
            Inst::Const { value } => word.index = self.constants.index(value.to_le_bytes()),
            Inst::Lookup { table, .. } | Inst::InBounds { table, .. } => word.index = table,
            Inst::InSet { set, .. } => word.index = set,
            Inst::Rescale { by, .. } | Inst::RescaleFails { by, .. } | Inst::Digits { by, .. } => {
                word.immediate = by.into();
            }
            Inst::Trap { code, ordinal, .. } => {
                word.index = code as u16;
                word.immediate = ordinal.cast_signed();
            }
            Inst::Unary { .. }
            | Inst::Binary { .. }
            | Inst::Overflow { .. }
            | Inst::Compare { .. }
            | Inst::Range { .. }
            | Inst::Cast { .. }
            | Inst::CastFails { .. }
            | Inst::Select { .. }
            | Inst::Mask { .. }
            | Inst::Not { .. } => {}
        }
    }
}

/// Constants by their bytes: their types are those of the words.
#[derive(Default)]
struct Constants {
    list: Vec<Constant>,
    indices: HashMap<Constant, u16>,
}

impl Constants {
    /// The index of a constant. There are at most as many as instructions, whose indices a `u16`
    /// holds ([`unlade_program::limits::INSTRUCTIONS`]).
    fn index(&mut self, constant: Constant) -> u16 {
        let list = &mut self.list;
        *self.indices.entry(constant).or_insert_with(|| {
            let next = u16::try_from(list.len()).expect("a program has at most 65536 instructions");
            list.push(constant);
            next
        })
    }
}
