//! The operations: their numbers, which fields of a word they use, and which types they take;
//! docs/CARD.md, sections 9 and 10.

use crate::types::Type;

/// What a word does. The discriminant is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub(crate) enum Operation {
    Load = 1,
    Validity = 2,
    Param = 3,
    Const = 4,
    Neg = 10,
    Abs = 11,
    Round = 12,
    Add = 20,
    Sub = 21,
    Mul = 22,
    Div = 23,
    Rem = 24,
    FloorDiv = 25,
    OverflowAdd = 30,
    OverflowSub = 31,
    OverflowMul = 32,
    OverflowDiv = 33,
    Eq = 40,
    Ne = 41,
    Lt = 42,
    Le = 43,
    Gt = 44,
    Ge = 45,
    Range = 50,
    CastWrap = 60,
    CastSaturate = 61,
    CastFails = 62,
    Rescale = 70,
    RescaleFails = 71,
    Digits = 72,
    Select = 80,
    And = 90,
    Or = 91,
    AndNot = 92,
    Xor = 93,
    Not = 94,
    Lookup = 100,
    InBounds = 101,
    InSet = 102,
    Trap = 110,
    Keep = 0x8001,
    EmitMask = 0x8002,
    Store = 0x8003,
}

use Operation::*;

/// What the index of a word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    None,
    Column,
    Param,
    Constant,
    Table,
    Set,
    Output,
    /// The code of a TRAP: any number.
    Code,
}

/// What the immediate of a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Immediate {
    None,
    Digits,
    Ordinal,
}

/// The kind of register that a field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bank {
    /// Numbers, of this type.
    Value(Type),
    Mask,
}

impl Bank {
    pub(crate) fn of(ty: Type) -> Bank {
        if ty.is_mask() {
            Bank::Mask
        } else {
            Bank::Value(ty)
        }
    }
}

impl Operation {
    pub(crate) const ALL: [Operation; 43] = [
        Load,
        Validity,
        Param,
        Const,
        Neg,
        Abs,
        Round,
        Add,
        Sub,
        Mul,
        Div,
        Rem,
        FloorDiv,
        OverflowAdd,
        OverflowSub,
        OverflowMul,
        OverflowDiv,
        Eq,
        Ne,
        Lt,
        Le,
        Gt,
        Ge,
        Range,
        CastWrap,
        CastSaturate,
        CastFails,
        Rescale,
        RescaleFails,
        Digits,
        Select,
        And,
        Or,
        AndNot,
        Xor,
        Not,
        Lookup,
        InBounds,
        InSet,
        Trap,
        Keep,
        EmitMask,
        Store,
    ];

    pub(crate) fn from_number(number: u16) -> Option<Operation> {
        Operation::ALL
            .into_iter()
            .find(|operation| operation.number() == number)
    }

    pub(crate) fn number(self) -> u16 {
        self as u16
    }

    /// Whether it is one of the card's own words, which no capability list names.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Keep | EmitMask | Store)
    }

    /// Sources it reads: A, then B, then C. STORE's validity is not counted.
    pub(crate) fn sources(self) -> usize {
        match self {
            Load | Validity | Param | Const | EmitMask => 0,
            Neg | Abs | Round | CastWrap | CastSaturate | CastFails | Rescale | RescaleFails
            | Digits | Not | Lookup | InBounds | InSet | Trap | Keep | Store => 1,
            Add | Sub | Mul | Div | Rem | FloorDiv | OverflowAdd | OverflowSub | OverflowMul
            | OverflowDiv | Eq | Ne | Lt | Le | Gt | Ge | And | Or | AndNot | Xor => 2,
            Range | Select => 3,
        }
    }

    /// What a source holds, of a word with this operand type.
    pub(crate) fn source(self, source: usize, operand: Type) -> Bank {
        if self == Select && source == 0 {
            Bank::Mask
        } else {
            Bank::of(operand)
        }
    }

    /// What dst holds, of a word with this result type; none where there is no dst.
    pub(crate) fn dst(self, result: Type) -> Option<Bank> {
        match self {
            Trap | Keep | EmitMask | Store => None,
            CastFails => Some(Bank::Mask),
            _ => Some(Bank::of(result)),
        }
    }

    pub(crate) fn index(self) -> Index {
        match self {
            Load | Validity => Index::Column,
            Param => Index::Param,
            Const => Index::Constant,
            Lookup | InBounds => Index::Table,
            InSet => Index::Set,
            Store => Index::Output,
            Trap => Index::Code,
            _ => Index::None,
        }
    }

    pub(crate) fn immediate(self) -> Immediate {
        match self {
            Rescale | RescaleFails | Digits => Immediate::Digits,
            Trap => Immediate::Ordinal,
            _ => Immediate::None,
        }
    }

    /// Whether section 10 admits the pair of types.
    pub(crate) fn admits(self, operand: Type, result: Type) -> bool {
        let same = operand == result;
        let to_mask = result.is_mask();
        match self {
            Load | Param | Const | Select | Store => same,
            Validity | And | Or | AndNot | Xor | Not | Trap | Keep | EmitMask => {
                operand.is_mask() && to_mask
            }
            Neg | Abs => same && (operand.is_signed() || operand.is_float()),
            Round => same && operand.is_float(),
            Add | Sub | Mul | Div | Rem => same && operand.is_number(),
            FloorDiv => same && operand.is_integer(),
            OverflowAdd | OverflowSub | OverflowMul | OverflowDiv | Range => {
                operand.is_integer() && to_mask
            }
            Eq | Ne => to_mask,
            Lt | Le | Gt | Ge | InSet => operand.is_number() && to_mask,
            CastWrap => {
                let from_exact = operand.is_integer() || operand.is_mask();
                !same
                    && result.is_number()
                    && (from_exact || (operand.is_float() && result.is_float()))
            }
            CastSaturate => operand.is_float() && result.is_integer(),
            CastFails => operand.is_number() && result.is_integer() && !same,
            Rescale => operand == Type::I128 && result == Type::I128,
            RescaleFails => operand == Type::I128 && to_mask,
            Digits => operand == Type::F64 && result == Type::I128,
            Lookup => operand.is_index(),
            InBounds => operand.is_index() && to_mask,
        }
    }

    /// How many variants it has on the operand type; their numbers begin at 0.
    pub(crate) fn variants(self, operand: Type) -> u8 {
        match self {
            Eq | Ne | Lt | Le | Gt | Ge if operand.is_float() => 3,
            Rescale => 4,
            _ => 1,
        }
    }

    /// Whether the digits of a word are legal.
    pub(crate) fn takes_digits(self, variant: u8, digits: i32) -> bool {
        match self {
            Rescale if variant == 0 => (1..=38).contains(&digits),
            Rescale => (-38..=-1).contains(&digits),
            RescaleFails => (1..=38).contains(&digits),
            Digits => (0..=38).contains(&digits),
            _ => true,
        }
    }
}
