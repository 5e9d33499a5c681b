//! The words: checks 12 and 13 of docs/CARD.md, section 9.

use super::operation::{Bank, Immediate, Index, Operation};
use super::{LoadLimits, Program, Word};
use crate::bytes::{u16_at, u32_at};
use crate::status::Status;
use crate::types::Type;

/// A register field that names nothing.
const NO_REGISTER: u8 = 0xFF;

/// What a program lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// A word that a flag of the header announces.
    Flag,
    /// The STORE of this output.
    Output(usize),
}

/// Checks words one after the other, and knows what the earlier ones have written.
#[derive(Debug)]
pub(super) struct WordChecker<'a> {
    program: &'a Program,
    limits: &'a LoadLimits,
    /// The type of what a V register holds.
    values: Vec<Option<Type>>,
    /// Whether an M register holds anything.
    masks: Vec<bool>,
    kept: bool,
    emitted: bool,
    stored: Vec<bool>,
}

impl<'a> WordChecker<'a> {
    pub(super) fn new(program: &'a Program, limits: &'a LoadLimits) -> Self {
        WordChecker {
            program,
            limits,
            values: vec![None; usize::from(program.v_registers)],
            masks: vec![false; usize::from(program.m_registers)],
            kept: false,
            emitted: false,
            stored: vec![false; program.outputs.len()],
        }
    }

    /// Checks a to m of the next word, 16 bytes.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Result<Word, Status> {
        let operation = Operation::from_number(u16_at(bytes, 0)).ok_or(Status::UnknownOperation)?;
        check_unused(operation, bytes)?;
        let word = decode(operation, bytes)?;
        if word.variant >= operation.variants(word.operand) {
            return Err(Status::BadVariant);
        }
        self.check_index(word)?;
        if operation.immediate() == Immediate::Digits
            && !operation.takes_digits(word.variant, word.immediate)
        {
            return Err(Status::BadImmediate);
        }
        self.check_supported(word)?;
        self.check_sources(word)?;
        self.check_order(word)?;
        self.check_dst(word)?;
        Ok(word)
    }

    /// What the program lacks after its last word: check 13.
    pub(super) fn missing(&self) -> Option<Missing> {
        if self.program.keep && !self.kept || self.program.emit_mask && !self.emitted {
            return Some(Missing::Flag);
        }
        self.stored
            .iter()
            .position(|stored| !stored)
            .map(Missing::Output)
    }

    /// Checks e and f.
    fn check_index(&self, word: Word) -> Result<(), Status> {
        let program = self.program;
        let index = usize::from(word.index);
        let declarations = match word.operation.index() {
            Index::None | Index::Code => return Ok(()),
            Index::Constant if index < program.constants.len() => return Ok(()),
            Index::Constant => return Err(Status::BadIndex),
            Index::Column => &program.columns,
            Index::Param => &program.params,
            Index::Table => &program.tables,
            Index::Set => &program.sets,
            Index::Output => &program.outputs,
        };
        let declared = declarations.get(index).ok_or(Status::BadIndex)?.ty;
        let said = match word.operation {
            // These say nothing of the type: a mask comes of a column, or of a table's bounds.
            Operation::Validity | Operation::InBounds => declared,
            Operation::Lookup => word.result,
            _ => word.operand,
        };
        if said == declared {
            Ok(())
        } else {
            Err(Status::BadType)
        }
    }

    /// Check h.
    fn check_supported(&self, word: Word) -> Result<(), Status> {
        let supported = match word.operation {
            Operation::Keep => self.limits.compaction || self.program.outputs.is_empty(),
            Operation::EmitMask | Operation::Store => true,
            operation => {
                let types = (word.operand, word.result);
                self.limits
                    .capabilities
                    .lists(operation, types, word.variant)
            }
        };
        if supported {
            Ok(())
        } else {
            Err(Status::Unsupported)
        }
    }

    /// Checks i to k.
    fn check_sources(&self, word: Word) -> Result<(), Status> {
        for source in 0..word.operation.sources() {
            self.check_source(
                word.operation.source(source, word.operand),
                word.sources[source],
            )?;
        }
        if word.operation == Operation::Store && word.sources[1] != NO_REGISTER {
            self.check_source(Bank::Mask, word.sources[1])?;
        }
        Ok(())
    }

    fn check_source(&self, bank: Bank, register: u8) -> Result<(), Status> {
        let register = usize::from(register);
        match bank {
            Bank::Mask => match self.masks.get(register) {
                None => Err(Status::BadRegister),
                Some(false) => Err(Status::UndefinedRegister),
                Some(true) => Ok(()),
            },
            Bank::Value(ty) => match self.values.get(register) {
                None => Err(Status::BadRegister),
                Some(None) => Err(Status::UndefinedRegister),
                Some(Some(held)) if *held == ty => Ok(()),
                Some(Some(_)) => Err(Status::RegisterType),
            },
        }
    }

    /// Check l.
    fn check_order(&mut self, word: Word) -> Result<(), Status> {
        let legal = match word.operation {
            Operation::Keep => self.program.keep && !std::mem::replace(&mut self.kept, true),
            Operation::EmitMask => {
                let first = !std::mem::replace(&mut self.emitted, true);
                self.program.emit_mask && self.kept && first
            }
            Operation::Store => {
                let output = usize::from(word.index);
                let first = !std::mem::replace(&mut self.stored[output], true);
                let has_validity = word.sources[1] != NO_REGISTER;
                (self.kept || !self.program.keep)
                    && first
                    && has_validity == self.program.outputs[output].validity
            }
            _ => true,
        };
        if legal { Ok(()) } else { Err(Status::BadOrder) }
    }

    /// Check m; dst holds a value from here on.
    fn check_dst(&mut self, word: Word) -> Result<(), Status> {
        let register = usize::from(word.dst);
        match word.operation.dst(word.result) {
            None => {}
            Some(Bank::Mask) => {
                *self.masks.get_mut(register).ok_or(Status::BadRegister)? = true;
            }
            Some(Bank::Value(ty)) => {
                *self.values.get_mut(register).ok_or(Status::BadRegister)? = Some(ty);
            }
        }
        Ok(())
    }
}

/// Check b.
fn check_unused(operation: Operation, bytes: &[u8]) -> Result<(), Status> {
    let uses_dst = operation.dst(Type::Mask).is_some();
    let used = if operation == Operation::Store {
        2
    } else {
        operation.sources()
    };
    let legal = bytes[9] == 0
        && (uses_dst || bytes[5] == NO_REGISTER)
        && bytes[6 + used..9]
            .iter()
            .all(|&register| register == NO_REGISTER)
        && (operation.index() != Index::None || u16_at(bytes, 10) == 0)
        && (operation.immediate() != Immediate::None || u32_at(bytes, 12) == 0);
    if legal {
        Ok(())
    } else {
        Err(Status::ReservedNotZero)
    }
}

/// Check c, and the fields.
fn decode(operation: Operation, bytes: &[u8]) -> Result<Word, Status> {
    let operand = Type::from_number(bytes[2]).ok_or(Status::BadType)?;
    let result = Type::from_number(bytes[3]).ok_or(Status::BadType)?;
    if !operation.admits(operand, result) {
        return Err(Status::BadType);
    }
    Ok(Word {
        operation,
        operand,
        result,
        variant: bytes[4],
        dst: bytes[5],
        sources: [bytes[6], bytes[7], bytes[8]],
        index: u16_at(bytes, 10),
        immediate: u32_at(bytes, 12).cast_signed(),
    })
}
