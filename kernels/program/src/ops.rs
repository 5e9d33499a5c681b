//! The op table: one row for every operation, from which documentation, the text form, capability
//! cells and conformance suites are made.
//!
//! ```
//! use unlade_program::{Op, Ty};
//!
//! let row = Op::Round.row();
//! assert_eq!((row.number(), row.name), (12, "round"));
//! assert_eq!(row.operands, [Ty::F32, Ty::F64]);
//! // The table is also what reference pages are printed from.
//! for row in unlade_program::OPS.iter().take(3) {
//!     println!("{:>3} {:<10} {}", row.number(), row.name, row.signature);
//! }
//! ```

use std::fmt;

use crate::{BinaryOp, CastRule, CompareOp, Inst, MaskOp, OverflowOp, Ty, UnaryOp};

/// An operation: the kind of an instruction together with its operator.
///
/// The discriminants are stable numbers. They are part of the shape hash and of what devices are
/// sent, so a number is never reused and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
#[allow(missing_docs)] // the row of each says what it does
pub enum Op {
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
    CompareEq = 40,
    CompareNe = 41,
    CompareLt = 42,
    CompareLe = 43,
    CompareGt = 44,
    CompareGe = 45,
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
}

/// What an operation does with nulls. Validity is a mask of its own, so no operation makes a null;
/// the rule says what lowering has to do with the validity of the operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NullRule {
    /// The result means something only where every operand is valid.
    Strict,
    /// The operation reads or combines masks, which have no nulls, or picks between its operands.
    NotStrict,
}

/// What one row of an operation costs, roughly; placement refines it by measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cost {
    /// Reading an input or an immediate.
    Source,
    /// One simple instruction on every machine: add, compare, select, a mask operation.
    Simple,
    /// A multiplication, or a conversion that takes several instructions.
    Multiply,
    /// A division or remainder.
    Divide,
    /// An access to memory whose address depends on the row.
    Gather,
}

/// One row of the op table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpRow {
    /// The operation. Its discriminant is the stable number.
    pub op: Op,
    /// The name in the text form, without the operands of a comparison's or rounding's choice.
    pub name: &'static str,
    /// Operands and result in words.
    pub signature: &'static str,
    /// Types admitted for the operand that decides the others': the left one, the one converted,
    /// the alternatives of a select, the index of a lookup. For sources, the types they yield.
    pub operands: &'static [Ty],
    /// What happens to nulls.
    pub nulls: NullRule,
    /// What one row costs.
    pub cost: Cost,
}

impl OpRow {
    /// The stable number.
    pub const fn number(&self) -> u16 {
        self.op as u16
    }
}

const MASK: &[Ty] = &[Ty::Mask];
const ANY: &[Ty] = &Ty::ALL;
const FLOATS: &[Ty] = &[Ty::F32, Ty::F64];
const DOUBLE: &[Ty] = &[Ty::F64];
const DECIMAL: &[Ty] = &[Ty::I128];
const INTEGERS: &[Ty] = &[
    Ty::I8,
    Ty::I16,
    Ty::I32,
    Ty::I64,
    Ty::I128,
    Ty::U8,
    Ty::U16,
    Ty::U32,
    Ty::U64,
];
const INDICES: &[Ty] = &[
    Ty::I8,
    Ty::I16,
    Ty::I32,
    Ty::I64,
    Ty::U8,
    Ty::U16,
    Ty::U32,
    Ty::U64,
];
const SIGNED_OR_FLOAT: &[Ty] = &[
    Ty::I8,
    Ty::I16,
    Ty::I32,
    Ty::I64,
    Ty::I128,
    Ty::F32,
    Ty::F64,
];
const NUMBERS: &[Ty] = &[
    Ty::I8,
    Ty::I16,
    Ty::I32,
    Ty::I64,
    Ty::I128,
    Ty::U8,
    Ty::U16,
    Ty::U32,
    Ty::U64,
    Ty::F32,
    Ty::F64,
];

const fn row(
    op: Op,
    name: &'static str,
    signature: &'static str,
    operands: &'static [Ty],
    nulls: NullRule,
    cost: Cost,
) -> OpRow {
    OpRow {
        op,
        name,
        signature,
        operands,
        nulls,
        cost,
    }
}

use Cost::{Divide, Gather, Multiply, Simple, Source};
use NullRule::{NotStrict, Strict};

/// The op table, ascending by number.
#[rustfmt::skip]
pub static OPS: [OpRow; 40] = [
    row(Op::Load,         "load",          "values of a column of type T -> T",                 ANY,             NotStrict, Source),
    row(Op::Validity,     "valid",         "validity of a column -> mask",                      MASK,            NotStrict, Source),
    row(Op::Param,        "param",         "scalar of the execution, of type T -> T",           ANY,             NotStrict, Source),
    row(Op::Const,        "const",         "scalar of the program, of type T -> T",             ANY,             NotStrict, Source),
    row(Op::Neg,          "neg",           "T -> T",                                            SIGNED_OR_FLOAT, Strict,    Simple),
    row(Op::Abs,          "abs",           "T -> T",                                            SIGNED_OR_FLOAT, Strict,    Simple),
    row(Op::Round,        "round",         "T -> T",                                            FLOATS,          Strict,    Multiply),
    row(Op::Add,          "add",           "T, T -> T",                                         NUMBERS,         Strict,    Simple),
    row(Op::Sub,          "sub",           "T, T -> T",                                         NUMBERS,         Strict,    Simple),
    row(Op::Mul,          "mul",           "T, T -> T",                                         NUMBERS,         Strict,    Multiply),
    row(Op::Div,          "div",           "T, T -> T",                                         NUMBERS,         Strict,    Divide),
    row(Op::Rem,          "rem",           "T, T -> T",                                         NUMBERS,         Strict,    Divide),
    row(Op::FloorDiv,     "floordiv",      "T, T -> T",                                         INTEGERS,        Strict,    Divide),
    row(Op::OverflowAdd,  "overflow.add",  "T, T -> mask",                                      INTEGERS,        Strict,    Simple),
    row(Op::OverflowSub,  "overflow.sub",  "T, T -> mask",                                      INTEGERS,        Strict,    Simple),
    row(Op::OverflowMul,  "overflow.mul",  "T, T -> mask",                                      INTEGERS,        Strict,    Multiply),
    row(Op::OverflowDiv,  "overflow.div",  "T, T -> mask",                                      INTEGERS,        Strict,    Simple),
    row(Op::CompareEq,    "cmp.eq",        "T, T -> mask",                                      ANY,             Strict,    Simple),
    row(Op::CompareNe,    "cmp.ne",        "T, T -> mask",                                      ANY,             Strict,    Simple),
    row(Op::CompareLt,    "cmp.lt",        "T, T -> mask",                                      NUMBERS,         Strict,    Simple),
    row(Op::CompareLe,    "cmp.le",        "T, T -> mask",                                      NUMBERS,         Strict,    Simple),
    row(Op::CompareGt,    "cmp.gt",        "T, T -> mask",                                      NUMBERS,         Strict,    Simple),
    row(Op::CompareGe,    "cmp.ge",        "T, T -> mask",                                      NUMBERS,         Strict,    Simple),
    row(Op::Range,        "range",         "T, low T, high T -> mask",                          INTEGERS,        Strict,    Simple),
    row(Op::CastWrap,     "cast.wrap",     "T -> another type, float to integer excepted",      ANY,             Strict,    Simple),
    row(Op::CastSaturate, "cast.saturate", "float -> integer",                                  FLOATS,          Strict,    Multiply),
    row(Op::CastFails,    "cast.fails",    "T, asked about another, integer type -> mask",      NUMBERS,         Strict,    Simple),
    row(Op::Rescale,      "rescale",       "i128, digits -> i128",                              DECIMAL,         Strict,    Divide),
    row(Op::RescaleFails, "rescale.fails", "i128, digits added -> mask",                        DECIMAL,         Strict,    Multiply),
    row(Op::Digits,       "digits",        "f64, digits after the point -> i128",               DOUBLE,          Strict,    Divide),
    row(Op::Select,       "select",        "mask, T, T -> T",                                   ANY,             NotStrict, Simple),
    row(Op::And,          "and",           "mask, mask -> mask",                                MASK,            NotStrict, Simple),
    row(Op::Or,           "or",            "mask, mask -> mask",                                MASK,            NotStrict, Simple),
    row(Op::AndNot,       "andnot",        "mask, mask -> mask",                                MASK,            NotStrict, Simple),
    row(Op::Xor,          "xor",           "mask, mask -> mask",                                MASK,            NotStrict, Simple),
    row(Op::Not,          "not",           "mask -> mask",                                      MASK,            NotStrict, Simple),
    row(Op::Lookup,       "lookup",        "table of type T, index -> T",                       INDICES,         Strict,    Gather),
    row(Op::InBounds,     "in_bounds",     "table, index -> mask",                              INDICES,         Strict,    Simple),
    row(Op::InSet,        "in_set",        "set of type T, T -> mask",                          NUMBERS,         Strict,    Gather),
    row(Op::Trap,         "trap",          "mask -> nothing",                                   MASK,            NotStrict, Simple),
];

impl Op {
    /// The operation of an instruction.
    pub const fn of(inst: &Inst) -> Op {
        match inst {
            Inst::Load { .. } => Op::Load,
            Inst::Validity { .. } => Op::Validity,
            Inst::Param { .. } => Op::Param,
            Inst::Const { .. } => Op::Const,
            Inst::Unary { op, .. } => match op {
                UnaryOp::Neg => Op::Neg,
                UnaryOp::Abs => Op::Abs,
                UnaryOp::Round => Op::Round,
            },
            Inst::Binary { op, .. } => match op {
                BinaryOp::Add => Op::Add,
                BinaryOp::Sub => Op::Sub,
                BinaryOp::Mul => Op::Mul,
                BinaryOp::Div => Op::Div,
                BinaryOp::Rem => Op::Rem,
                BinaryOp::FloorDiv => Op::FloorDiv,
            },
            Inst::Overflow { op, .. } => match op {
                OverflowOp::Add => Op::OverflowAdd,
                OverflowOp::Sub => Op::OverflowSub,
                OverflowOp::Mul => Op::OverflowMul,
                OverflowOp::Div => Op::OverflowDiv,
            },
            Inst::Compare { op, .. } => match op {
                CompareOp::Eq => Op::CompareEq,
                CompareOp::Ne => Op::CompareNe,
                CompareOp::Lt => Op::CompareLt,
                CompareOp::Le => Op::CompareLe,
                CompareOp::Gt => Op::CompareGt,
                CompareOp::Ge => Op::CompareGe,
            },
            Inst::Range { .. } => Op::Range,
            Inst::Cast { rule, .. } => match rule {
                CastRule::Wrap => Op::CastWrap,
                CastRule::Saturate => Op::CastSaturate,
            },
            Inst::CastFails { .. } => Op::CastFails,
            Inst::Rescale { .. } => Op::Rescale,
            Inst::RescaleFails { .. } => Op::RescaleFails,
            Inst::Digits { .. } => Op::Digits,
            Inst::Select { .. } => Op::Select,
            Inst::Mask { op, .. } => match op {
                MaskOp::And => Op::And,
                MaskOp::Or => Op::Or,
                MaskOp::AndNot => Op::AndNot,
                MaskOp::Xor => Op::Xor,
            },
            Inst::Not { .. } => Op::Not,
            Inst::Lookup { .. } => Op::Lookup,
            Inst::InBounds { .. } => Op::InBounds,
            Inst::InSet { .. } => Op::InSet,
            Inst::Trap { .. } => Op::Trap,
        }
    }

    /// The row of the op table.
    pub fn row(self) -> &'static OpRow {
        match OPS.binary_search_by_key(&self, |row| row.op) {
            Ok(position) => &OPS[position],
            Err(_) => unreachable!("{self:?} has no row in the op table"),
        }
    }

    /// The stable number.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ascends_and_names_are_unique() {
        assert!(OPS.is_sorted_by(|left, right| left.number() < right.number()));
        let mut names: Vec<_> = OPS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPS.len());
    }
}
