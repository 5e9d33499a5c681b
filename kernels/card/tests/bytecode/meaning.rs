//! What a program and its bytecode compute, as symbols: equal symbols are equal computations.
//!
//! Following the symbols through registers tells whether each output, filter and trap of bytecode
//! is computed from what the program computes it from, whatever the order and the registers.

use std::collections::HashMap;
use std::fmt;

use unlade_program::{Cell, Imm, Inst, Op, Program, Ty, Val};

use crate::reader::{self, NONE, Word, ty_number};

/// The symbols of some programs.
#[derive(Default)]
pub(crate) struct Symbols {
    numbers: HashMap<Symbol, usize>,
}

/// One operation on symbols.
#[derive(PartialEq, Eq, Hash)]
struct Symbol {
    operation: u16,
    operand: u8,
    result: u8,
    variant: u8,
    index: u16,
    /// Digits, or the bits of a constant.
    number: i128,
    operands: Vec<usize>,
}

/// What a program is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    declarations: [Vec<(u8, u8)>; 5],
    keep: Option<usize>,
    emit_mask: bool,
    /// Values and validities, by output.
    outputs: Vec<(usize, Option<usize>)>,
    /// Conditions, codes and ordinals, ascending.
    traps: Vec<(usize, u16, u32)>,
}

const MASK: u8 = 1;
const KEEP: u16 = 0x8001;
const EMIT_MASK: u16 = 0x8002;
const STORE: u16 = 0x8003;

impl Symbols {
    fn number(&mut self, symbol: Symbol) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(symbol).or_insert(next)
    }

    /// The meaning of a verified program.
    pub(crate) fn of_program(&mut self, program: &Program) -> Meaning {
        let types = program.types();
        let mut symbols: Vec<usize> = Vec::with_capacity(program.insts.len());
        let mut traps = Vec::new();
        for inst in &program.insts {
            let mut operands = Vec::new();
            inst.for_each_operand(|operand| operands.push(symbols[operand.index()]));
            let cell = Cell::of(program, &types, inst);
            let (index, number) = match *inst {
                Inst::Load { column } | Inst::Validity { column } => (column, 0),
                Inst::Param { index } => (index, 0),
                Inst::Const { value } => (0, value.bits()),
                Inst::Lookup { table, .. } | Inst::InBounds { table, .. } => (table, 0),
                Inst::InSet { set, .. } => (set, 0),
                Inst::Rescale { by, .. }
                | Inst::RescaleFails { by, .. }
                | Inst::Digits { by, .. } => (0, by.into()),
                Inst::Trap { code, ordinal, .. } => {
                    traps.push((operands[0], code as u16, ordinal));
                    (0, 0)
                }
                _ => (0, 0),
            };
            symbols.push(self.number(Symbol {
                operation: cell.op.number(),
                operand: ty_number(cell.operand),
                result: ty_number(cell.result),
                variant: cell.variant,
                index,
                number,
                operands,
            }));
        }
        traps.sort_unstable();
        let declared = |types: &[Ty]| types.iter().map(|&ty| (ty_number(ty), 0)).collect();
        let typed = |val: Val| ty_number(types[val.index()].unwrap());
        Meaning {
            declarations: [
                program
                    .columns
                    .iter()
                    .map(|column| (ty_number(column.ty), column.nullable.into()))
                    .collect(),
                declared(&program.params),
                declared(&program.tables),
                declared(&program.sets),
                program
                    .outputs
                    .iter()
                    .map(|output| (typed(output.value), output.valid.is_some().into()))
                    .collect(),
            ],
            keep: program.keep.map(|keep| symbols[keep.index()]),
            emit_mask: program.emit_mask,
            outputs: program
                .outputs
                .iter()
                .map(|output| {
                    let valid = output.valid.map(|valid| symbols[valid.index()]);
                    (symbols[output.value.index()], valid)
                })
                .collect(),
            traps,
        }
    }

    /// The meaning of bytecode. Asserts that registers are counted by the header and written before
    /// they are read, that types agree, that unused fields are empty, and that stores come once and
    /// behind the filter.
    pub(crate) fn of_bytecode(&mut self, bytes: &[u8]) -> Meaning {
        let code = reader::read(bytes);
        let [columns, params, tables, sets, outputs] = &code.declarations;
        let mut registers = Registers {
            values: vec![None; code.registers[0].into()],
            masks: vec![None; code.registers[1].into()],
        };
        let mut keep = None;
        let mut emit_mask = false;
        let mut stored = vec![None; outputs.len()];
        let mut traps = Vec::new();
        for (position, word) in code.words.iter().enumerate() {
            let context = At { position, word };
            let (dst, wanted) = form(word);
            let mut operands = Vec::new();
            for (number, ty) in word.sources.into_iter().zip(wanted) {
                let Some(ty) = ty else {
                    assert_eq!(number, NONE, "unused source, {context}");
                    continue;
                };
                if number == NONE && word.operation == STORE {
                    continue;
                }
                let (symbol, held) = registers.read(ty, number, &context);
                assert_eq!(held, ty, "type of a source, {context}");
                operands.push(symbol);
            }
            let declared = |list: &[(u8, u8)]| list[usize::from(word.index)].0;
            let mut index = word.index;
            let mut number = i128::from(word.immediate);
            match word.operation {
                KEEP => {
                    assert!(code.keep && keep.is_none(), "{context}");
                    keep = Some(operands[0]);
                }
                EMIT_MASK => {
                    assert!(code.emit_mask && keep.is_some() && !emit_mask, "{context}");
                    emit_mask = true;
                }
                STORE => {
                    assert_eq!(code.keep, keep.is_some(), "{context}");
                    let (ty, valid) = outputs[usize::from(index)];
                    assert_eq!(ty, word.operand, "{context}");
                    assert_eq!(valid == 1, operands.len() == 2, "{context}");
                    let store = (operands[0], operands.get(1).copied());
                    let before = stored[usize::from(index)].replace(store);
                    assert_eq!(before, None, "{context}");
                }
                _ => match op(word.operation) {
                    Op::Load => assert_eq!(declared(columns), word.operand, "{context}"),
                    Op::Validity => assert!(columns.len() > index.into(), "{context}"),
                    Op::Param => assert_eq!(declared(params), word.operand, "{context}"),
                    Op::Lookup => assert_eq!(declared(tables), word.result, "{context}"),
                    Op::InBounds => assert!(tables.len() > index.into(), "{context}"),
                    Op::InSet => assert_eq!(declared(sets), word.operand, "{context}"),
                    Op::Const => {
                        let bytes = code.constants[usize::from(index)];
                        let ty = Ty::ALL[usize::from(word.result) - 1];
                        (index, number) = (0, Imm::from_le_bytes(ty, bytes).bits());
                    }
                    Op::Trap => {
                        let ordinal = word.immediate.cast_unsigned();
                        traps.push((operands[0], index, ordinal));
                    }
                    Op::Rescale | Op::RescaleFails | Op::Digits => assert_eq!(index, 0),
                    _ => assert_eq!((index, number), (0, 0), "unused fields, {context}"),
                },
            }
            let Some(ty) = dst else {
                assert_eq!(word.dst, NONE, "unused dst, {context}");
                continue;
            };
            let symbol = self.number(Symbol {
                operation: word.operation,
                operand: word.operand,
                result: word.result,
                variant: word.variant,
                index,
                number,
                operands,
            });
            registers.write(ty, word.dst, symbol, &context);
        }
        assert_eq!((code.keep, code.emit_mask), (keep.is_some(), emit_mask));
        traps.sort_unstable();
        Meaning {
            declarations: code.declarations,
            keep,
            emit_mask,
            outputs: stored
                .into_iter()
                .map(|store| store.expect("every output is stored"))
                .collect(),
            traps,
        }
    }
}

/// Where a rule is broken.
struct At<'a> {
    position: usize,
    word: &'a Word,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "word {}: {:?}", self.position, self.word)
    }
}

/// The registers of both kinds: what each holds, and as which type.
struct Registers {
    values: Vec<Option<(usize, u8)>>,
    masks: Vec<Option<(usize, u8)>>,
}

impl Registers {
    fn read(&self, ty: u8, number: u8, context: &At<'_>) -> (usize, u8) {
        let kind = if ty == MASK {
            &self.masks
        } else {
            &self.values
        };
        kind[usize::from(number)].unwrap_or_else(|| panic!("read before written, {context}"))
    }

    fn write(&mut self, ty: u8, number: u8, symbol: usize, context: &At<'_>) {
        let kind = if ty == MASK {
            &mut self.masks
        } else {
            &mut self.values
        };
        let register = kind.get_mut(usize::from(number));
        *register.unwrap_or_else(|| panic!("beyond the header's count, {context}")) =
            Some((symbol, ty));
    }
}

fn op(number: u16) -> Op {
    let row = unlade_program::OPS
        .iter()
        .find(|row| row.number() == number);
    row.expect("an operation of the document").op
}

/// The types of what a word writes and reads: the table of section 9, "Words".
fn form(word: &Word) -> (Option<u8>, [Option<u8>; 3]) {
    let (ty, result) = (Some(word.operand), Some(word.result));
    match word.operation {
        1..=4 => (result, [None; 3]),
        10..=12 | 60 | 61 | 70..=72 | 94 | 100..=102 => (result, [ty, None, None]),
        20..=25 | 30..=33 | 40..=45 | 90..=93 => (result, [ty, ty, None]),
        50 => (result, [ty; 3]),
        62 => (Some(MASK), [ty, None, None]),
        80 => (result, [Some(MASK), ty, ty]),
        110 | KEEP => (None, [ty, None, None]),
        EMIT_MASK => (None, [None; 3]),
        STORE => (None, [ty, Some(MASK), None]),
        other => panic!("the document has no operation {other}"),
    }
}
