//! Which fields of a word each operation uses.

use unlade_program::{OPS, Op, Ty};

/// What a word does: an operation of programs, or one of the card's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// One of section 10, under the number that it has in programs.
    Program(Op),
    /// Chooses the rows kept.
    Keep,
    /// Writes the mask of the rows kept.
    EmitMask,
    /// Writes a value, and a validity, of the rows kept.
    Store,
}

const KEEP: u16 = 0x8001;
const EMIT_MASK: u16 = 0x8002;
const STORE: u16 = 0x8003;

impl Operation {
    /// The number in a word.
    pub(crate) const fn number(self) -> u16 {
        match self {
            Operation::Program(op) => op.number(),
            Operation::Keep => KEEP,
            Operation::EmitMask => EMIT_MASK,
            Operation::Store => STORE,
        }
    }

    /// The operation of a number, `None` where it is none's.
    pub(crate) fn of_number(number: u16) -> Option<Operation> {
        match number {
            KEEP => Some(Operation::Keep),
            EMIT_MASK => Some(Operation::EmitMask),
            STORE => Some(Operation::Store),
            _ => OPS
                .binary_search_by_key(&number, |row| row.number())
                .ok()
                .map(|position| Operation::Program(OPS[position].op)),
        }
    }

    /// The table of docs/CARD.md, section 9, "Words".
    pub(crate) const fn form(self) -> Form {
        use Field::{Mask, Operand, Result};
        const NONE: Form = Form {
            dst: None,
            sources: [None; 3],
            index: None,
            immediate: Immediate::None,
        };
        const UNARY: Form = Form {
            dst: Some(Result),
            sources: [Some(Operand), None, None],
            ..NONE
        };
        let Operation::Program(op) = self else {
            return match self {
                Operation::Keep => Form { dst: None, ..UNARY },
                Operation::Store => Form {
                    sources: [Some(Operand), Some(Mask), None],
                    index: Some(Thing::Output),
                    ..NONE
                },
                _ => NONE,
            };
        };
        match op {
            Op::Load | Op::Validity => Form {
                dst: Some(Result),
                index: Some(Thing::Column),
                ..NONE
            },
            Op::Param => Form {
                dst: Some(Result),
                index: Some(Thing::Param),
                ..NONE
            },
            Op::Const => Form {
                dst: Some(Result),
                index: Some(Thing::Constant),
                ..NONE
            },
            Op::Neg | Op::Abs | Op::Round | Op::CastWrap | Op::CastSaturate | Op::Not => UNARY,
            // The result type is the one asked about.
            Op::CastFails => Form {
                dst: Some(Mask),
                ..UNARY
            },
            Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Div
            | Op::Rem
            | Op::FloorDiv
            | Op::OverflowAdd
            | Op::OverflowSub
            | Op::OverflowMul
            | Op::OverflowDiv
            | Op::CompareEq
            | Op::CompareNe
            | Op::CompareLt
            | Op::CompareLe
            | Op::CompareGt
            | Op::CompareGe
            | Op::And
            | Op::Or
            | Op::AndNot
            | Op::Xor => Form {
                sources: [Some(Operand), Some(Operand), None],
                ..UNARY
            },
            Op::Range => Form {
                sources: [Some(Operand); 3],
                ..UNARY
            },
            Op::Rescale | Op::RescaleFails | Op::Digits => Form {
                immediate: Immediate::Digits,
                ..UNARY
            },
            Op::Select => Form {
                sources: [Some(Mask), Some(Operand), Some(Operand)],
                ..UNARY
            },
            Op::Lookup | Op::InBounds => Form {
                index: Some(Thing::Table),
                ..UNARY
            },
            Op::InSet => Form {
                index: Some(Thing::Set),
                ..UNARY
            },
            Op::Trap => Form {
                dst: None,
                index: Some(Thing::Code),
                immediate: Immediate::Ordinal,
                ..UNARY
            },
        }
    }
}

/// Which fields a word uses; the others are empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) dst: Option<Field>,
    /// Of STORE the second may be empty.
    pub(crate) sources: [Option<Field>; 3],
    pub(crate) index: Option<Thing>,
    pub(crate) immediate: Immediate,
}

/// The type of what a register field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The word's operand type.
    Operand,
    /// The word's result type.
    Result,
    /// A mask, whatever the word's types are.
    Mask,
}

impl Field {
    /// The type in a word of these types.
    pub(crate) const fn ty(self, operand: Ty, result: Ty) -> Ty {
        match self {
            Field::Operand => operand,
            Field::Result => result,
            Field::Mask => Ty::Mask,
        }
    }
}

/// What an index counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Column,
    Param,
    Constant,
    Table,
    Set,
    Output,
    /// Nothing: it tells a reader why a trap fires.
    Code,
}

/// What an immediate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Immediate {
    /// Zero.
    None,
    /// Decimal digits.
    Digits,
    /// The ordinal of a trap, a `u32` in the same four bytes.
    Ordinal,
}
