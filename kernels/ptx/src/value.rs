//! Values of a program in registers.

use unlade_program::Ty;

use crate::asm::{Pred, R32, R64};

/// The value of one instruction on one row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    /// A mask's bit.
    Mask(Pred),
    /// An integer of at most 32 bits, sign- or zero-extended as its type is, or the bits of an
    /// `f32`.
    Word(R32),
    /// An integer of 64 bits, or the bits of an `f64`.
    Long(R64),
    /// An integer of 128 bits.
    Wide(Wide),
}

/// An integer of 128 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide {
    /// The low half.
    pub(crate) low: R64,
    /// The high half, the sign in it.
    pub(crate) high: R64,
}

impl Value {
    pub(crate) fn mask(self) -> Pred {
        match self {
            Value::Mask(pred) => pred,
            other => unreachable!("verified: a mask, not {other:?}"),
        }
    }

    pub(crate) fn word(self) -> R32 {
        match self {
            Value::Word(register) => register,
            other => unreachable!("verified: at most 32 bits, not {other:?}"),
        }
    }

    pub(crate) fn long(self) -> R64 {
        match self {
            Value::Long(register) => register,
            other => unreachable!("verified: 64 bits, not {other:?}"),
        }
    }

    pub(crate) fn wide(self) -> Wide {
        match self {
            Value::Wide(wide) => wide,
            other => unreachable!("verified: 128 bits, not {other:?}"),
        }
    }
}

/// The suffix of an arithmetic instruction on a type that a register holds: `s32` for the
/// narrower signed types, too.
pub(crate) fn suffix(ty: Ty) -> &'static str {
    match ty {
        Ty::I8 | Ty::I16 | Ty::I32 => "s32",
        Ty::U8 | Ty::U16 | Ty::U32 => "u32",
        Ty::I64 => "s64",
        Ty::U64 => "u64",
        Ty::F32 => "f32",
        Ty::F64 => "f64",
        Ty::Mask | Ty::I128 => unreachable!("{ty} has no instructions of its own"),
    }
}
