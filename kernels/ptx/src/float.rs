//! Floats, as bits in plain registers.
//!
//! Every operation is the one that IEEE 754 defines, rounded to nearest even, with subnormals;
//! a NaN that arithmetic makes is the canonical one, whatever the hardware makes. Signs are
//! changed as bits.

use unlade_program::{BinaryOp, CompareOp, FloatOrder, Ty, UnaryOp};

use crate::asm::{Pred, R64, Register};
use crate::frame::Frame;
use crate::integer::relation;
use crate::value::{Value, suffix};

/// The NaN that arithmetic makes.
const fn nan(ty: Ty) -> u64 {
    match ty {
        Ty::F32 => 0x7fc0_0000,
        _ => 0x7ff8_0000_0000_0000,
    }
}

/// The bit of the sign.
const fn sign(ty: Ty) -> u64 {
    1 << (ty.bits() - 1)
}

/// The bits of one and of a half.
const fn one_and_half(ty: Ty) -> (u64, u64) {
    match ty {
        Ty::F32 => (0x3f80_0000, 0x3f00_0000),
        _ => (0x3ff0_0000_0000_0000, 0x3fe0_0000_0000_0000),
    }
}

/// Bits of the fraction of an `f64`.
const FRACTION_BITS: u32 = 52;
/// The bits of positive infinity.
const INFINITY: u64 = 0x7ff0_0000_0000_0000;

impl Frame<'_> {
    /// `neg`, `abs` and `round` of a float.
    pub(crate) fn float_unary(&mut self, op: UnaryOp, ty: Ty, arg: Value) -> Value {
        match arg {
            Value::Word(arg) => self.unary_bits(op, ty, arg).value(),
            other => self.unary_bits(op, ty, other.long()).value(),
        }
    }

    fn unary_bits<R: Register>(&mut self, op: UnaryOp, ty: Ty, arg: R) -> R {
        match op {
            UnaryOp::Neg => self.asm.reg(["xor.", R::PLAIN], (arg, sign(ty))),
            UnaryOp::Abs => self.asm.reg(["and.", R::PLAIN], (arg, sign(ty) - 1)),
            UnaryOp::Round => self.round(ty, arg),
        }
    }

    /// To the nearest whole number, ties away from zero.
    fn round<R: Register>(&mut self, ty: Ty, arg: R) -> R {
        let suffix = suffix(ty);
        let (one, half) = one_and_half(ty);
        let whole: R = self.asm.reg(["cvt.rzi.", suffix, ".", suffix], arg);
        // Exact: the fraction is a part of the operand's own bits.
        let fraction: R = self.asm.reg(["sub.rn.", suffix], (arg, whole));
        let fraction: R = self.asm.reg(["and.", R::PLAIN], (fraction, sign(ty) - 1));
        let half: R = self.asm.reg(["mov.", R::PLAIN], half);
        let away = self.asm.pred(["setp.ge.", suffix], (fraction, half));
        let step: R = self.asm.reg(["and.", R::PLAIN], (arg, sign(ty)));
        let step: R = self.asm.reg(["or.", R::PLAIN], (step, one));
        let next: R = self.asm.reg(["add.rn.", suffix], (whole, step));
        let rounded: R = self.asm.reg(["selp.", R::PLAIN], (next, whole, away));
        self.canonical(ty, rounded)
    }

    /// The canonical NaN for any NaN.
    pub(crate) fn canonical<R: Register>(&mut self, ty: Ty, value: R) -> R {
        let is_nan = self.asm.pred(["setp.nan.", suffix(ty)], (value, value));
        self.asm.reg(["selp.", R::PLAIN], (nan(ty), value, is_nan))
    }

    /// The operations of two floats.
    pub(crate) fn floats(&mut self, op: BinaryOp, ty: Ty, lhs: Value, rhs: Value) -> Value {
        match (lhs, rhs) {
            (Value::Word(lhs), Value::Word(rhs)) if op == BinaryOp::Rem => {
                // Exact in f64, and the result, a multiple of the operands' last place, is a
                // value of f32 again.
                let lhs = self.asm.r64("cvt.f64.f32", lhs);
                let rhs = self.asm.r64("cvt.f64.f32", rhs);
                let rest = self.remainder(lhs, rhs);
                let rest = self.asm.r32("cvt.rn.f32.f64", rest);
                Value::Word(self.canonical(ty, rest))
            }
            (Value::Word(lhs), Value::Word(rhs)) => self.float(op, ty, lhs, rhs).value(),
            (lhs, rhs) if op == BinaryOp::Rem => {
                Value::Long(self.remainder(lhs.long(), rhs.long()))
            }
            (lhs, rhs) => self.float(op, ty, lhs.long(), rhs.long()).value(),
        }
    }

    fn float<R: Register>(&mut self, op: BinaryOp, ty: Ty, lhs: R, rhs: R) -> R {
        let name = match op {
            BinaryOp::Add => "add.rn.",
            BinaryOp::Sub => "sub.rn.",
            BinaryOp::Mul => "mul.rn.",
            BinaryOp::Div => "div.rn.",
            BinaryOp::Rem | BinaryOp::FloorDiv => unreachable!("no instruction of its own: {op:?}"),
        };
        let result: R = self.asm.reg([name, suffix(ty)], (lhs, rhs));
        self.canonical(ty, result)
    }

    /// A comparison of floats.
    pub(crate) fn compare_floats(
        &mut self,
        op: CompareOp,
        order: FloatOrder,
        ty: Ty,
        lhs: Value,
        rhs: Value,
    ) -> Pred {
        match (lhs, rhs) {
            (Value::Word(lhs), Value::Word(rhs)) => self.compare_bits(op, order, ty, lhs, rhs),
            (lhs, rhs) => self.compare_bits(op, order, ty, lhs.long(), rhs.long()),
        }
    }

    fn compare_bits<R: Register>(
        &mut self,
        op: CompareOp,
        order: FloatOrder,
        ty: Ty,
        x: R,
        y: R,
    ) -> Pred {
        match order {
            FloatOrder::Ieee => {
                // Of what is unordered, only `ne` is true.
                let relation = if op == CompareOp::Ne {
                    "neu"
                } else {
                    relation(op)
                };
                self.asm.pred(["setp.", relation, ".", suffix(ty)], (x, y))
            }
            FloatOrder::Total => {
                let (x, y) = (self.total_key(x), self.total_key(y));
                let signed = if R::BITS == 32 { "s32" } else { "s64" };
                self.asm.pred(["setp.", relation(op), ".", signed], (x, y))
            }
            FloatOrder::Spark => self.compare_spark(op, ty, x, y),
        }
    }

    /// A signed integer that is ordered as the float is: below zero, magnitudes descend.
    fn total_key<R: Register>(&mut self, bits: R) -> R {
        let (signed, unsigned) = match R::BITS {
            32 => ("shr.s32", "shr.u32"),
            _ => ("shr.s64", "shr.u64"),
        };
        let negative: R = self.asm.reg(signed, (bits, R::BITS - 1));
        let magnitude: R = self.asm.reg(unsigned, (negative, 1u32));
        self.asm.reg(["xor.", R::PLAIN], (bits, magnitude))
    }

    /// All NaNs equal, and greater than anything else.
    fn compare_spark<R: Register>(&mut self, op: CompareOp, ty: Ty, x: R, y: R) -> Pred {
        match op {
            CompareOp::Gt => self.compare_spark(CompareOp::Lt, ty, y, x),
            CompareOp::Ne | CompareOp::Ge => {
                let opposite = match op {
                    CompareOp::Ne => CompareOp::Eq,
                    _ => CompareOp::Lt,
                };
                let found = self.compare_spark(opposite, ty, x, y);
                self.not(found)
            }
            CompareOp::Le => {
                let found = self.compare_spark(CompareOp::Lt, ty, y, x);
                self.not(found)
            }
            CompareOp::Eq | CompareOp::Lt => {
                let name = ["setp.", relation(op), ".", suffix(ty)];
                let numbers = self.asm.pred(name, (x, y));
                let x_nan = self.asm.pred(["setp.nan.", suffix(ty)], (x, x));
                let y_nan = self.asm.pred(["setp.nan.", suffix(ty)], (y, y));
                let x_fits = match op {
                    CompareOp::Eq => x_nan,
                    _ => self.not(x_nan),
                };
                let nans = self.asm.pred("and.pred", (x_fits, y_nan));
                self.asm.pred("or.pred", (numbers, nans))
            }
        }
    }

    /// The exact remainder `x - n * y`, `n` being the quotient truncated: long division of the
    /// significands, eleven bits at a time.
    fn remainder(&mut self, x: R64, y: R64) -> R64 {
        let result = self.asm.r64("mov.b64", nan(Ty::F64));
        let (next, divided, done) = (
            self.asm.label("digits"),
            self.asm.label("divided"),
            self.asm.label("remainder"),
        );
        let dividend = self.asm.r64("and.b64", (x, sign(Ty::F64) - 1));
        let divisor = self.asm.r64("and.b64", (y, sign(Ty::F64) - 1));
        let infinite = self.asm.pred("setp.ge.u64", (dividend, INFINITY));
        let not_number = self.asm.pred("setp.gt.u64", (divisor, INFINITY));
        let zero = self.asm.pred("setp.eq.u64", (divisor, 0));
        let invalid = self.asm.pred("or.pred", (infinite, not_number));
        let invalid = self.asm.pred("or.pred", (invalid, zero));
        self.asm.when(invalid).jump(done);
        self.asm.set(result, "mov.b64", x);
        let below = self.asm.pred("setp.lt.u64", (dividend, divisor));
        self.asm.when(below).jump(done);

        let (rest, x_exponent) = self.significand(dividend);
        let (divisor, exponent) = self.significand(divisor);
        self.asm.set(rest, "rem.u64", (rest, divisor));
        let left = self.asm.r32("sub.s32", (x_exponent, exponent));
        self.asm.place(next);
        let none_left = self.asm.pred("setp.eq.u32", (left, 0));
        self.asm.when(none_left).jump(divided);
        let digits = self.asm.r32("min.u32", (left, 63 - FRACTION_BITS));
        let shifted = self.asm.r64("shl.b64", (rest, digits));
        self.asm.set(rest, "rem.u64", (shifted, divisor));
        self.asm.set(left, "sub.s32", (left, digits));
        self.asm.jump(next);

        self.asm.place(divided);
        self.compose(result, rest, exponent);
        let zero = self.asm.pred("setp.eq.u64", (rest, 0));
        self.asm.when(zero).set(result, "mov.b64", 0u64);
        let x_sign = self.asm.r64("and.b64", (x, sign(Ty::F64)));
        self.asm.set(result, "or.b64", (result, x_sign));
        self.asm.place(done);
        result
    }

    /// The significand of a positive, finite float that is not zero, its highest bit that of
    /// normal ones, and the exponent that goes with it, below 1 for subnormal ones.
    fn significand(&mut self, bits: R64) -> (R64, crate::asm::R32) {
        let biased = self.asm.r64("shr.u64", (bits, FRACTION_BITS));
        let biased = self.asm.r32("cvt.u32.u64", biased);
        let normal = self.asm.pred("setp.ne.u32", (biased, 0));
        let exponent = self.asm.r32("max.u32", (biased, 1u32));
        let fraction = self.asm.r64("and.b64", (bits, (1u64 << FRACTION_BITS) - 1));
        let implied = self.asm.r64("selp.b64", (1u64 << FRACTION_BITS, 0, normal));
        let whole = self.asm.r64("or.b64", (fraction, implied));
        let zeros = self.asm.r32("clz.b64", whole);
        let shift = self.asm.r32("sub.s32", (zeros, 63 - FRACTION_BITS));
        let whole = self.asm.r64("shl.b64", (whole, shift));
        let exponent = self.asm.r32("sub.s32", (exponent, shift));
        (whole, exponent)
    }

    /// The float of a significand that is not zero, which it must hold exactly.
    fn compose(&mut self, into: R64, significand: R64, exponent: crate::asm::R32) {
        let zeros = self.asm.r32("clz.b64", significand);
        let shift = self.asm.r32("sub.s32", (zeros, 63 - FRACTION_BITS));
        let whole = self.asm.r64("shl.b64", (significand, shift));
        let exponent = self.asm.r32("sub.s32", (exponent, shift));
        let subnormal = self.asm.pred("setp.lt.s32", (exponent, 1));
        let down = self.asm.r32("sub.s32", (1, exponent));
        let small = self.asm.r64("shr.u64", (whole, down));
        let fraction = self
            .asm
            .r64("and.b64", (whole, (1u64 << FRACTION_BITS) - 1));
        let biased = self.asm.r64("cvt.s64.s32", exponent);
        let biased = self.asm.r64("shl.b64", (biased, FRACTION_BITS));
        let normal = self.asm.r64("or.b64", (fraction, biased));
        self.asm.set(into, "selp.b64", (small, normal, subnormal));
    }
}
