//! Integers of 128 bits, in two registers of 64.

use unlade_program::CompareOp;

use crate::asm::Pred;
use crate::frame::Frame;
use crate::integer::relation;
use crate::value::Wide;

impl Frame<'_> {
    /// A comparison of signed integers of 128 bits.
    pub(crate) fn compare_wide(&mut self, op: CompareOp, lhs: Wide, rhs: Wide) -> Pred {
        let equal = self.asm.pred("setp.eq.s64", (lhs.high, rhs.high));
        match op {
            CompareOp::Eq => {
                let low = self.asm.pred("setp.eq.s64", (lhs.low, rhs.low));
                self.asm.pred("and.pred", (equal, low))
            }
            CompareOp::Ne => {
                let same = self.compare_wide(CompareOp::Eq, lhs, rhs);
                self.not(same)
            }
            // The high halves decide, or the low ones, which have no sign.
            _ => {
                let strict = match op {
                    CompareOp::Lt | CompareOp::Le => "setp.lt.s64",
                    _ => "setp.gt.s64",
                };
                let beyond = self.asm.pred(strict, (lhs.high, rhs.high));
                let low = self
                    .asm
                    .pred(["setp.", relation(op), ".u64"], (lhs.low, rhs.low));
                let low = self.asm.pred("and.pred", (equal, low));
                self.asm.pred("or.pred", (beyond, low))
            }
        }
    }
}
