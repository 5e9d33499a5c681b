//! Bytecode as data: what docs/CARD.md, section 9, writes down in bytes.

mod check;
mod decode;
mod encode;
mod operation;

use std::fmt;

pub(crate) use decode::decode;
pub(crate) use encode::encode;
pub(crate) use operation::{Field, Immediate, Operation, Thing};
use unlade_program::{Column, Ty};

/// Bytes of the header.
const HEADER: usize = 64;
/// Bytes of a declaration.
const DECLARATION: usize = 4;
/// Declarations are padded to a multiple of this.
const ALIGNMENT: usize = 16;
/// Bytes of a constant.
const CONSTANT: usize = 16;
/// Bytes of a word.
const WORD: usize = 16;
/// Where the checksum is, which is taken of bytes in which it is zero.
const CHECKSUM: usize = 12;
/// `UNLB`.
const MAGIC: u32 = 0x424c_4e55;
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
/// The header's flag of a KEEP word.
const FLAG_KEEP: u32 = 1;
/// The header's flag of an EMIT_MASK word.
const FLAG_EMIT_MASK: u32 = 2;
/// In a register field: no register.
const NO_REGISTER: u8 = 0xff;

/// A program as the card loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytecode {
    /// The host's own; no card looks at it.
    pub(crate) label: u64,
    /// How many V registers there are: every number is below.
    pub(crate) value_registers: u16,
    /// How many M registers there are.
    pub(crate) mask_registers: u16,
    pub(crate) columns: Vec<Column>,
    pub(crate) params: Vec<Ty>,
    pub(crate) tables: Vec<Ty>,
    pub(crate) sets: Vec<Ty>,
    pub(crate) outputs: Vec<OutputType>,
    /// The type of each is that of the word that uses it.
    pub(crate) constants: Vec<[u8; CONSTANT]>,
    pub(crate) words: Vec<Word>,
}

impl Bytecode {
    /// Whether a word is this operation: the header's flags.
    fn has(&self, operation: Operation) -> bool {
        self.words.iter().any(|word| word.operation == operation)
    }
}

/// A column that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputType {
    pub(crate) ty: Ty,
    /// Whether a validity is written with it.
    pub(crate) valid: bool,
}

/// One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) operation: Operation,
    pub(crate) operand: Ty,
    pub(crate) result: Ty,
    pub(crate) variant: u8,
    pub(crate) dst: Option<Register>,
    pub(crate) sources: [Option<Register>; 3],
    /// Of a column, parameter, constant, table, set or output; of a trap, why.
    pub(crate) index: u16,
    /// Digits; of a trap, the ordinal.
    pub(crate) immediate: i32,
}

/// A tile register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Register {
    pub(crate) kind: Kind,
    /// Each kind is numbered from 0.
    pub(crate) number: u8,
}

impl fmt::Display for Register {
    /// As `v3` or `m0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.letter(), self.number)
    }
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A number of any type.
    Value,
    /// A mask.
    Mask,
}

impl Kind {
    /// The kind that holds values of a type.
    pub(crate) const fn of(ty: Ty) -> Kind {
        match ty {
            Ty::Mask => Kind::Mask,
            _ => Kind::Value,
        }
    }

    /// As the document names it.
    pub(crate) const fn letter(self) -> char {
        match self {
            Kind::Value => 'v',
            Kind::Mask => 'm',
        }
    }
}

/// The number of a type (docs/CARD.md, section 8).
pub(crate) const fn ty_number(ty: Ty) -> u8 {
    match ty {
        Ty::Mask => 1,
        Ty::I8 => 2,
        Ty::I16 => 3,
        Ty::I32 => 4,
        Ty::I64 => 5,
        Ty::I128 => 6,
        Ty::U8 => 7,
        Ty::U16 => 8,
        Ty::U32 => 9,
        Ty::U64 => 10,
        Ty::F32 => 11,
        Ty::F64 => 12,
    }
}

/// The type of a number, `None` where it is none's.
pub(crate) fn ty_of(number: u8) -> Option<Ty> {
    Ty::ALL.into_iter().find(|&ty| ty_number(ty) == number)
}

#[cfg(test)]
mod tests;
