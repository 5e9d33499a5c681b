//! Integers of at most 64 bits.

use unlade_program::{CompareOp, MaskOp, Ty};

use crate::asm::Pred;
use crate::frame::Frame;
use crate::value::{Value, suffix};

/// The name of a comparison in PTX.
pub(crate) fn relation(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "eq",
        CompareOp::Ne => "ne",
        CompareOp::Lt => "lt",
        CompareOp::Le => "le",
        CompareOp::Gt => "gt",
        CompareOp::Ge => "ge",
    }
}

impl Frame<'_> {
    /// A comparison of integers or of masks.
    pub(crate) fn compare(&mut self, op: CompareOp, ty: Ty, lhs: Value, rhs: Value) -> Pred {
        let name = |suffix| ["setp.", relation(op), ".", suffix];
        match (lhs, rhs) {
            (Value::Word(lhs), Value::Word(rhs)) => self.asm.pred(name(suffix(ty)), (lhs, rhs)),
            (Value::Long(lhs), Value::Long(rhs)) => self.asm.pred(name(suffix(ty)), (lhs, rhs)),
            (Value::Mask(lhs), Value::Mask(rhs)) => {
                let differ = self.combine(MaskOp::Xor, lhs, rhs);
                match op {
                    CompareOp::Eq => self.not(differ),
                    _ => differ,
                }
            }
            (Value::Wide(lhs), Value::Wide(rhs)) => self.compare_wide(op, lhs, rhs),
            other => unreachable!("verified: values of {ty}, not {other:?}"),
        }
    }
}
