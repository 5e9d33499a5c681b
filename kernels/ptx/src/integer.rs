//! Integers of at most 64 bits.
//!
//! Narrow types are computed in 32 bits and brought back into range; nothing is asked of the
//! hardware that PTX leaves open, such as a quotient by zero.

use unlade_program::{BinaryOp, CompareOp, MaskOp, OverflowOp, Ty};

use crate::asm::{Pred, R32, R64, Register};
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
            (Value::Wide(lhs), Value::Wide(rhs)) => self.compare_wide(op, lhs, rhs),
            (Value::Mask(lhs), Value::Mask(rhs)) => {
                let differ = self.combine(MaskOp::Xor, lhs, rhs);
                match op {
                    CompareOp::Eq => self.not(differ),
                    _ => differ,
                }
            }
            other => unreachable!("verified: values of {ty}, not {other:?}"),
        }
    }

    /// The low bits of a word as a value of a type of at most 32 bits.
    pub(crate) fn narrow(&mut self, ty: Ty, word: R32) -> R32 {
        match ty {
            Ty::I8 => self.asm.r32("cvt.s32.s8", word),
            Ty::I16 => self.asm.r32("cvt.s32.s16", word),
            Ty::U8 => self.asm.r32("and.b32", (word, 0xffu32)),
            Ty::U16 => self.asm.r32("and.b32", (word, 0xffffu32)),
            _ => word,
        }
    }

    /// `neg`.
    pub(crate) fn negate(&mut self, ty: Ty, arg: Value) -> Value {
        match arg {
            Value::Word(arg) => {
                let negative = self.asm.r32("neg.s32", arg);
                Value::Word(self.narrow(ty, negative))
            }
            Value::Long(arg) => Value::Long(self.asm.r64("neg.s64", arg)),
            other => Value::Wide(self.negate_wide(other.wide())),
        }
    }

    /// `abs`. The least value is its own absolute value, which `abs.s32` does not promise.
    pub(crate) fn absolute(&mut self, ty: Ty, arg: Value) -> Value {
        match arg {
            Value::Word(arg) => {
                let absolute = self.flip_negative("s32", arg);
                Value::Word(self.narrow(ty, absolute))
            }
            Value::Long(arg) => Value::Long(self.flip_negative("s64", arg)),
            other => Value::Wide(self.absolute_wide(other.wide()).0),
        }
    }

    fn flip_negative<R: Register>(&mut self, suffix: &str, arg: R) -> R {
        let sign: R = self.asm.reg(["shr.", suffix], (arg, R::BITS - 1));
        let flipped: R = self.asm.reg(["xor.", R::PLAIN], (arg, sign));
        self.asm.reg(["sub.", suffix], (flipped, sign))
    }

    /// The operations of two integers.
    pub(crate) fn integers(&mut self, op: BinaryOp, ty: Ty, lhs: Value, rhs: Value) -> Value {
        match (lhs, rhs) {
            (Value::Word(lhs), Value::Word(rhs)) => {
                let result = self.integer(op, ty, lhs, rhs);
                Value::Word(self.narrow(ty, result))
            }
            (Value::Long(lhs), Value::Long(rhs)) => Value::Long(self.integer(op, ty, lhs, rhs)),
            (lhs, rhs) => Value::Wide(self.wide(op, lhs.wide(), rhs.wide())),
        }
    }

    fn integer<R: Register>(&mut self, op: BinaryOp, ty: Ty, x: R, y: R) -> R {
        let name = |op| [op, suffix(ty)];
        match op {
            BinaryOp::Add => self.asm.reg(name("add."), (x, y)),
            BinaryOp::Sub => self.asm.reg(name("sub."), (x, y)),
            BinaryOp::Mul => self.asm.reg(name("mul.lo."), (x, y)),
            BinaryOp::Div => self.divide(ty, x, y),
            BinaryOp::Rem => {
                // By one the remainder is zero, as it is to be where the divisor will not do.
                let divisor = self.divisor(ty, y);
                self.asm.reg(name("rem."), (x, divisor))
            }
            BinaryOp::FloorDiv => self.floor_divide(ty, x, y),
        }
    }

    /// The divisor, or one where it is zero or where the quotient might not fit.
    fn divisor<R: Register>(&mut self, ty: Ty, y: R) -> R {
        let mut unfit = self.asm.pred(["setp.eq.", suffix(ty)], (y, 0));
        if ty.is_signed() {
            let minus_one = self.asm.pred(["setp.eq.", suffix(ty)], (y, -1));
            unfit = self.asm.pred("or.pred", (unfit, minus_one));
        }
        self.asm.reg(["selp.", R::PLAIN], (1, y, unfit))
    }

    fn divide<R: Register>(&mut self, ty: Ty, x: R, y: R) -> R {
        let divisor = self.divisor(ty, y);
        let mut quotient: R = self.asm.reg(["div.", suffix(ty)], (x, divisor));
        if ty.is_signed() {
            let minus_one = self.asm.pred(["setp.eq.", suffix(ty)], (y, -1));
            let negative: R = self.asm.reg(["neg.", suffix(ty)], x);
            quotient = self
                .asm
                .reg(["selp.", R::PLAIN], (negative, quotient, minus_one));
        }
        let zero = self.asm.pred(["setp.eq.", suffix(ty)], (y, 0));
        self.asm.reg(["selp.", R::PLAIN], (0, quotient, zero))
    }

    fn floor_divide<R: Register>(&mut self, ty: Ty, x: R, y: R) -> R {
        let quotient = self.divide(ty, x, y);
        if !ty.is_signed() {
            return quotient;
        }
        let divisor = self.divisor(ty, y);
        let rest: R = self.asm.reg(["rem.", suffix(ty)], (x, divisor));
        let inexact = self.asm.pred(["setp.ne.", suffix(ty)], (rest, 0));
        let signs: R = self.asm.reg(["xor.", R::PLAIN], (x, y));
        let negative = self.asm.pred(["setp.lt.", suffix(ty)], (signs, 0));
        let lower = self.asm.pred("and.pred", (inexact, negative));
        let less: R = self.asm.reg(["sub.", suffix(ty)], (quotient, 1));
        self.asm.reg(["selp.", R::PLAIN], (less, quotient, lower))
    }

    /// Whether an operation of two integers wraps.
    pub(crate) fn overflows(&mut self, op: OverflowOp, ty: Ty, lhs: Value, rhs: Value) -> Pred {
        match (op, lhs, rhs) {
            (OverflowOp::Div, lhs, rhs) => self.quotient_overflows(ty, lhs, rhs),
            (_, Value::Word(x), Value::Word(y)) if ty.bits() < 32 => {
                let name = match op {
                    OverflowOp::Add => "add.s32",
                    OverflowOp::Sub => "sub.s32",
                    _ => "mul.lo.s32",
                };
                // 32 bits hold the exact result, or one of its bits beyond the type's.
                let exact = self.asm.r32(name, (x, y));
                let result = self.narrow(ty, exact);
                self.asm.pred("setp.ne.u32", (exact, result))
            }
            (OverflowOp::Mul, Value::Word(x), Value::Word(y)) => {
                self.product_overflows_word(ty, x, y)
            }
            (OverflowOp::Mul, Value::Long(x), Value::Long(y)) => {
                self.product_overflows_long(ty, x, y)
            }
            (OverflowOp::Add, Value::Word(x), Value::Word(y)) => self.sum_overflows(ty, x, y),
            (OverflowOp::Add, Value::Long(x), Value::Long(y)) => self.sum_overflows(ty, x, y),
            (OverflowOp::Sub, Value::Word(x), Value::Word(y)) => {
                self.difference_overflows(ty, x, y)
            }
            (OverflowOp::Sub, Value::Long(x), Value::Long(y)) => {
                self.difference_overflows(ty, x, y)
            }
            (op, lhs, rhs) => self.wide_overflows(op, lhs.wide(), rhs.wide()),
        }
    }

    fn sum_overflows<R: Register>(&mut self, ty: Ty, x: R, y: R) -> Pred {
        let sum: R = self.asm.reg(["add.", suffix(ty)], (x, y));
        if !ty.is_signed() {
            return self.asm.pred(["setp.lt.", suffix(ty)], (sum, x));
        }
        // Both operands have the sign that the sum lacks.
        let left: R = self.asm.reg(["xor.", R::PLAIN], (sum, x));
        let right: R = self.asm.reg(["xor.", R::PLAIN], (sum, y));
        self.both_negative(ty, left, right)
    }

    fn difference_overflows<R: Register>(&mut self, ty: Ty, x: R, y: R) -> Pred {
        if !ty.is_signed() {
            return self.asm.pred(["setp.lt.", suffix(ty)], (x, y));
        }
        let difference: R = self.asm.reg(["sub.", suffix(ty)], (x, y));
        let left: R = self.asm.reg(["xor.", R::PLAIN], (x, y));
        let right: R = self.asm.reg(["xor.", R::PLAIN], (x, difference));
        self.both_negative(ty, left, right)
    }

    fn both_negative<R: Register>(&mut self, ty: Ty, left: R, right: R) -> Pred {
        let both: R = self.asm.reg(["and.", R::PLAIN], (left, right));
        self.asm.pred(["setp.lt.", suffix(ty)], (both, 0))
    }

    fn product_overflows_word(&mut self, ty: Ty, x: R32, y: R32) -> Pred {
        if !ty.is_signed() {
            let high = self.asm.r32("mul.hi.u32", (x, y));
            return self.asm.pred("setp.ne.u32", (high, 0));
        }
        let exact = self.asm.r64("mul.wide.s32", (x, y));
        let low = self.asm.r32("cvt.u32.u64", exact);
        let result = self.asm.r64("cvt.s64.s32", low);
        self.asm.pred("setp.ne.s64", (exact, result))
    }

    fn product_overflows_long(&mut self, ty: Ty, x: R64, y: R64) -> Pred {
        let high = self.asm.r64(["mul.hi.", suffix(ty)], (x, y));
        if !ty.is_signed() {
            return self.asm.pred("setp.ne.u64", (high, 0));
        }
        let low = self.asm.r64("mul.lo.s64", (x, y));
        let sign = self.asm.r64("shr.s64", (low, 63u32));
        self.asm.pred("setp.ne.s64", (high, sign))
    }

    /// Whether it is the least value divided by -1.
    fn quotient_overflows(&mut self, ty: Ty, lhs: Value, rhs: Value) -> Pred {
        let Some((least, _)) = ty.integer_range().filter(|_| ty.is_signed()) else {
            let always = self.always();
            return self.not(always);
        };
        let least = self.constant(ty, least);
        let minus_one = self.constant(ty, -1);
        let least = self.compare(CompareOp::Eq, ty, lhs, least);
        let minus_one = self.compare(CompareOp::Eq, ty, rhs, minus_one);
        self.asm.pred("and.pred", (least, minus_one))
    }
}
