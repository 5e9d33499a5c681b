//! Instructions of a program.
//!
//! Every data operation is total: it has a defined result for every operand, however meaningless.
//! What can go wrong is computed as a mask by a companion instruction ([`Inst::Overflow`],
//! [`Inst::CastFails`], ...) and becomes either a [`Inst::Trap`] or a cleared validity bit.

use std::fmt;

use crate::{Imm, Ty};

/// A value of a program: the index of the instruction that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Val(pub u32);

impl Val {
    /// The index of the instruction.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Val {
    /// As in the text form: `%3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// How the values of a float type are ordered. Integers and masks have one order only and always
/// use [`FloatOrder::Ieee`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FloatOrder {
    /// IEEE 754: -0 equals +0; a NaN is unordered, so that of the six comparisons only `ne` is
    /// true of it.
    Ieee,
    /// `totalOrder` of IEEE 754-2008: -NaN < -inf < ... < -0 < +0 < ... < +inf < +NaN, NaNs by
    /// payload. What arrow-rs does.
    Total,
    /// All NaNs are equal and greater than anything else, -0 equals +0. What Spark does.
    Spark,
}

/// One of the six comparisons. The result is a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CompareOp {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// Operations of one operand that keep its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnaryOp {
    /// Two's complement negation, wrapping at the minimum; of a float, its sign bit flipped.
    /// Signed and float types.
    Neg,
    /// Absolute value, wrapping at the minimum; of a float, its sign bit cleared. Signed and
    /// float types.
    Abs,
    /// To the nearest whole number, ties away from zero; a NaN becomes the canonical one. Float
    /// types.
    Round,
}

/// Operations of two operands of one type, which is also the result's.
///
/// A float result that is a NaN is always the canonical one, `0x7fc00000` or
/// `0x7ff8000000000000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BinaryOp {
    /// Sum; integers wrap, floats round to nearest even.
    Add,
    /// Difference; integers wrap.
    Sub,
    /// Product; integers wrap.
    Mul,
    /// Quotient. Integers truncate toward zero, `x / 0` is 0 and `MIN / -1` is `MIN`; floats
    /// follow IEEE 754.
    Div,
    /// Remainder with the sign of the dividend. Integers: `x % 0` is 0, `MIN % -1` is 0; floats:
    /// exact `fmod`.
    Rem,
    /// Quotient rounded toward negative infinity, integers only, total as `Div` is. Dates and
    /// timestamps before 1970 need it.
    FloorDiv,
}

/// Integer operations whose wrapping can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverflowOp {
    /// Whether [`BinaryOp::Add`] wraps.
    Add,
    /// Whether [`BinaryOp::Sub`] wraps.
    Sub,
    /// Whether [`BinaryOp::Mul`] wraps.
    Mul,
    /// Whether [`BinaryOp::Div`] is `MIN / -1`. False for a zero divisor, which a comparison
    /// finds.
    Div,
}

/// Bitwise operations of two masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MaskOp {
    /// Both.
    And,
    /// Either.
    Or,
    /// The left without the right.
    AndNot,
    /// Exactly one.
    Xor,
}

/// How [`Inst::Cast`] maps values that its target cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CastRule {
    /// Integer to integer: keep the low bits. Mask to number: 0 or 1. Integer to float and float
    /// to float: round to nearest even, a NaN becoming the canonical one.
    Wrap,
    /// Float to integer only: truncate toward zero, clamp to the target's range, NaN to 0. What
    /// Java and Rust's `as` do.
    Saturate,
}

/// How [`Inst::Rescale`] rounds when it drops decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rounding {
    /// To nearest, ties away from zero.
    HalfAwayFromZero,
    /// Toward zero.
    Truncate,
    /// Toward negative infinity.
    Floor,
}

/// Why a row cannot be computed. Numbers are stable: devices report them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum TrapCode {
    /// An integer operation left the range of its type.
    Overflow = 1,
    /// Division or remainder by zero.
    DivideByZero = 2,
    /// A cast's value has no counterpart in the target type.
    CastOutOfRange = 3,
    /// A decimal has more digits than its precision.
    DecimalPrecision = 4,
    /// A dictionary key points outside the dictionary: the array is malformed.
    InvalidKey = 5,
}

impl TrapCode {
    /// Every code, ascending.
    pub const ALL: [TrapCode; 5] = [
        TrapCode::Overflow,
        TrapCode::DivideByZero,
        TrapCode::CastOutOfRange,
        TrapCode::DecimalPrecision,
        TrapCode::InvalidKey,
    ];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            TrapCode::Overflow => "overflow",
            TrapCode::DivideByZero => "divide_by_zero",
            TrapCode::CastOutOfRange => "cast_out_of_range",
            TrapCode::DecimalPrecision => "decimal_precision",
            TrapCode::InvalidKey => "invalid_key",
        }
    }
}

impl FloatOrder {
    /// Every order.
    pub const ALL: [FloatOrder; 3] = [FloatOrder::Ieee, FloatOrder::Total, FloatOrder::Spark];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            FloatOrder::Ieee => "ieee",
            FloatOrder::Total => "total",
            FloatOrder::Spark => "spark",
        }
    }
}

impl Rounding {
    /// Every rounding.
    pub const ALL: [Rounding; 3] = [
        Rounding::HalfAwayFromZero,
        Rounding::Truncate,
        Rounding::Floor,
    ];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Rounding::HalfAwayFromZero => "half_away",
            Rounding::Truncate => "truncate",
            Rounding::Floor => "floor",
        }
    }
}

/// One instruction. Operands are values made by earlier instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each variant's text says what its fields are
pub enum Inst {
    /// The values of an input column, null rows holding arbitrary bits. Result: the column's type.
    Load { column: u16 },
    /// Which rows of a column are not null. All rows where the column has no validity bitmap.
    Validity { column: u16 },
    /// A scalar supplied with each execution. Result: the parameter's type.
    Param { index: u16 },
    /// A scalar that is part of the program.
    Const { value: Imm },
    /// See [`UnaryOp`].
    Unary { op: UnaryOp, arg: Val },
    /// See [`BinaryOp`].
    Binary { op: BinaryOp, lhs: Val, rhs: Val },
    /// Whether the integer operation wraps. Result: mask.
    Overflow { op: OverflowOp, lhs: Val, rhs: Val },
    /// Comparison of two values of one type. Result: mask. On masks only `eq` and `ne`.
    Compare {
        op: CompareOp,
        order: FloatOrder,
        lhs: Val,
        rhs: Val,
    },
    /// `low <= arg <= high` for integers, both bounds included. Result: mask.
    Range { arg: Val, low: Val, high: Val },
    /// Conversion to another physical type, total under its rule. Never to a mask (a comparison
    /// with zero does that) nor to the operand's own type.
    Cast { rule: CastRule, arg: Val, to: Ty },
    /// Whether the value, a float being truncated first, is out of the target's range or a NaN.
    /// From integers and floats to integers of another type. Result: mask.
    CastFails { arg: Val, to: Ty },
    /// An `i128` times (`by > 0`, wrapping) or divided by (`by < 0`) ten to the power of `|by|`,
    /// which is at least 1 and at most 38. Where `by > 0` nothing is rounded.
    Rescale {
        arg: Val,
        by: i8,
        rounding: Rounding,
    },
    /// Whether [`Inst::Rescale`] with `by > 0` wraps. Result: mask.
    RescaleFails { arg: Val, by: i8 },
    /// An `f64` as a decimal of `by` digits after the point, 0 to 38 of them: the shortest decimal
    /// that reads back as the float (of several the nearest, of two as near the even one), times
    /// ten to the power of `by`, rounded half away from zero. What exceeds an `i128` becomes the nearest end of its range; a
    /// NaN becomes 0. Result: `i128`.
    Digits { arg: Val, by: i8 },
    /// `then` where the mask is set, else `other`; bits are kept, NaN payloads included.
    Select { mask: Val, then: Val, other: Val },
    /// See [`MaskOp`].
    Mask { op: MaskOp, lhs: Val, rhs: Val },
    /// The complement of a mask.
    Not { arg: Val },
    /// The entry of a table at an integer index of at most 64 bits; zero where the index is
    /// outside the table. Result: the table's type.
    Lookup { table: u16, index: Val },
    /// Whether an integer index of at most 64 bits lies inside the table. Result: mask.
    InBounds { table: u16, index: Val },
    /// Whether a number is a member of a set of its type. Floats are members by their bits: -0 is
    /// not +0, and a NaN is itself. Result: mask.
    InSet { set: u16, arg: Val },
    /// Ends the execution with an error if any row is set, kept or not: what a filter drops must
    /// already be absent from `when`. Of all rows and traps that fire, the least `(row, ordinal)`
    /// is reported. Has no result.
    Trap {
        when: Val,
        code: TrapCode,
        ordinal: u32,
    },
}

impl Inst {
    /// Calls `visit` with each operand, in order.
    pub fn for_each_operand(&self, mut visit: impl FnMut(Val)) {
        let mut copy = *self;
        copy.map_operands(|operand| {
            visit(operand);
            operand
        });
    }

    /// Replaces each operand by what `map` returns for it, in order.
    pub fn map_operands(&mut self, mut map: impl FnMut(Val) -> Val) {
        match self {
            Inst::Load { .. } | Inst::Validity { .. } | Inst::Param { .. } | Inst::Const { .. } => {
            }
            Inst::Unary { arg, .. }
            | Inst::Cast { arg, .. }
            | Inst::CastFails { arg, .. }
            | Inst::Rescale { arg, .. }
            | Inst::RescaleFails { arg, .. }
            | Inst::Digits { arg, .. }
            | Inst::Not { arg }
            | Inst::InSet { arg, .. }
            | Inst::Lookup { index: arg, .. }
            | Inst::InBounds { index: arg, .. }
            | Inst::Trap { when: arg, .. } => *arg = map(*arg),
            Inst::Binary { lhs, rhs, .. }
            | Inst::Overflow { lhs, rhs, .. }
            | Inst::Compare { lhs, rhs, .. }
            | Inst::Mask { lhs, rhs, .. } => {
                *lhs = map(*lhs);
                *rhs = map(*rhs);
            }
            Inst::Range { arg, low, high } => {
                *arg = map(*arg);
                *low = map(*low);
                *high = map(*high);
            }
            Inst::Select { mask, then, other } => {
                *mask = map(*mask);
                *then = map(*then);
                *other = map(*other);
            }
        }
    }

    /// Whether the instruction has the same value on every row.
    pub const fn is_scalar_source(&self) -> bool {
        matches!(self, Inst::Param { .. } | Inst::Const { .. })
    }
}
