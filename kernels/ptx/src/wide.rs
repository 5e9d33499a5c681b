//! Integers of 128 bits, in two registers of 64.

use unlade_program::{BinaryOp, CompareOp, OverflowOp, Rounding};

use crate::asm::{Pred, R64};
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

    /// The operations of two integers of 128 bits.
    pub(crate) fn wide(&mut self, op: BinaryOp, x: Wide, y: Wide) -> Wide {
        match op {
            BinaryOp::Add => self.add_wide(x, y),
            BinaryOp::Sub => self.subtract_wide(x, y),
            BinaryOp::Mul => self.multiply_wide(x, y),
            BinaryOp::Div | BinaryOp::Rem | BinaryOp::FloorDiv => self.divide_wide(op, x, y),
        }
    }

    pub(crate) fn add_wide(&mut self, x: Wide, y: Wide) -> Wide {
        Wide {
            low: self.asm.r64("add.cc.u64", (x.low, y.low)),
            high: self.asm.r64("addc.u64", (x.high, y.high)),
        }
    }

    pub(crate) fn subtract_wide(&mut self, x: Wide, y: Wide) -> Wide {
        Wide {
            low: self.asm.r64("sub.cc.u64", (x.low, y.low)),
            high: self.asm.r64("subc.u64", (x.high, y.high)),
        }
    }

    /// Two's complement negation.
    pub(crate) fn negate_wide(&mut self, x: Wide) -> Wide {
        Wide {
            low: self.asm.r64("sub.cc.u64", (0, x.low)),
            high: self.asm.r64("subc.u64", (0, x.high)),
        }
    }

    /// The absolute value, unsigned, and the sign as zero or all ones.
    pub(crate) fn absolute_wide(&mut self, x: Wide) -> (Wide, R64) {
        let sign = self.asm.r64("shr.s64", (x.high, 63u32));
        (self.with_sign(x, sign), sign)
    }

    /// Negated where `sign` is all ones, unchanged where it is zero.
    pub(crate) fn with_sign(&mut self, x: Wide, sign: R64) -> Wide {
        let flipped = Wide {
            low: self.asm.r64("xor.b64", (x.low, sign)),
            high: self.asm.r64("xor.b64", (x.high, sign)),
        };
        self.subtract_wide(
            flipped,
            Wide {
                low: sign,
                high: sign,
            },
        )
    }

    /// The first where the predicate is true, else the second.
    pub(crate) fn select_wide(&mut self, pred: Pred, then: Wide, other: Wide) -> Wide {
        Wide {
            low: self.asm.r64("selp.b64", (then.low, other.low, pred)),
            high: self.asm.r64("selp.b64", (then.high, other.high, pred)),
        }
    }

    fn multiply_wide(&mut self, x: Wide, y: Wide) -> Wide {
        let low = self.asm.r64("mul.lo.u64", (x.low, y.low));
        let carried = self.asm.r64("mul.hi.u64", (x.low, y.low));
        let cross = self.asm.r64("mad.lo.u64", (x.low, y.high, carried));
        let high = self.asm.r64("mad.lo.u64", (x.high, y.low, cross));
        Wide { low, high }
    }

    /// Adds zero or one, as the predicate says.
    fn increment(&mut self, x: Wide, pred: Pred) -> Wide {
        let one = self.asm.r64("selp.b64", (1, 0, pred));
        let zero = self.asm.r64("mov.b64", 0u64);
        self.add_wide(
            x,
            Wide {
                low: one,
                high: zero,
            },
        )
    }

    fn is_zero(&mut self, x: Wide) -> Pred {
        let bits = self.asm.r64("or.b64", (x.low, x.high));
        self.asm.pred("setp.eq.u64", (bits, 0))
    }

    /// Quotients and remainders, in magnitudes and signs.
    fn divide_wide(&mut self, op: BinaryOp, x: Wide, y: Wide) -> Wide {
        let by_zero = self.is_zero(y);
        let (dividend, x_sign) = self.absolute_wide(x);
        let (magnitude, y_sign) = self.absolute_wide(y);
        // By one where it is zero, so that the quotient is the only thing that is not zero yet.
        let divisor = self.increment(magnitude, by_zero);
        let (quotient, rest) = self.divide_unsigned(dividend, divisor);
        if op == BinaryOp::Rem {
            return self.with_sign(rest, x_sign);
        }
        let sign = self.asm.r64("xor.b64", (x_sign, y_sign));
        let quotient = if op == BinaryOp::FloorDiv {
            // Below zero the magnitude grows.
            let exact = self.is_zero(rest);
            let negative = self.asm.pred("setp.ne.u64", (sign, 0));
            let not_exact = self.not(exact);
            let grows = self.asm.pred("and.pred", (not_exact, negative));
            self.increment(quotient, grows)
        } else {
            quotient
        };
        let signed = self.with_sign(quotient, sign);
        Wide {
            low: self.asm.r64("selp.b64", (0, signed.low, by_zero)),
            high: self.asm.r64("selp.b64", (0, signed.high, by_zero)),
        }
    }

    /// Quotient and remainder of unsigned integers below 2^127 and one, the divisor not zero:
    /// in 64 bits where that will do, else a bit of the quotient at a time.
    fn divide_unsigned(&mut self, dividend: Wide, divisor: Wide) -> (Wide, Wide) {
        let copy = |frame: &mut Self, of: R64| frame.asm.r64("mov.b64", of);
        let quotient = Wide {
            low: copy(self, dividend.low),
            high: copy(self, dividend.high),
        };
        let rest = Wide {
            low: self.asm.r64("mov.b64", 0u64),
            high: self.asm.r64("mov.b64", 0u64),
        };
        let (long, next, done) = (
            self.asm.label("long_division"),
            self.asm.label("bit"),
            self.asm.label("divided"),
        );
        let high = self.asm.r64("or.b64", (dividend.high, divisor.high));
        let wide = self.asm.pred("setp.ne.u64", (high, 0));
        self.asm.when(wide).jump(long);
        self.asm
            .set(quotient.low, "div.u64", (dividend.low, divisor.low));
        self.asm
            .set(rest.low, "rem.u64", (dividend.low, divisor.low));
        self.asm.jump(done);

        self.asm.place(long);
        // The dividend leaves its register to the left, bit by bit, as the quotient enters.
        let left = self.asm.r32("mov.b32", 128u32);
        let short = self.asm.pred("setp.eq.u64", (dividend.high, 0));
        self.asm
            .when(short)
            .set(quotient.high, "mov.b64", dividend.low);
        self.asm.when(short).set(quotient.low, "mov.b64", 0u64);
        self.asm.when(short).set(left, "mov.b32", 64u32);
        self.asm.place(next);
        self.asm
            .set(quotient.low, "add.cc.u64", (quotient.low, quotient.low));
        self.asm
            .set(quotient.high, "addc.cc.u64", (quotient.high, quotient.high));
        self.asm.set(rest.low, "addc.cc.u64", (rest.low, rest.low));
        self.asm.set(rest.high, "addc.u64", (rest.high, rest.high));
        let fits = self.at_least(rest, divisor);
        let less = self.subtract_wide(rest, divisor);
        self.asm.when(fits).set(rest.low, "mov.b64", less.low);
        self.asm.when(fits).set(rest.high, "mov.b64", less.high);
        self.asm
            .when(fits)
            .set(quotient.low, "or.b64", (quotient.low, 1));
        self.asm.set(left, "sub.s32", (left, 1));
        let more = self.asm.pred("setp.ne.u32", (left, 0));
        self.asm.when(more).jump(next);
        self.asm.place(done);
        (quotient, rest)
    }

    /// Whether one unsigned integer is not below another.
    pub(crate) fn at_least(&mut self, x: Wide, y: Wide) -> Pred {
        let above = self.asm.pred("setp.gt.u64", (x.high, y.high));
        let equal = self.asm.pred("setp.eq.u64", (x.high, y.high));
        let low = self.asm.pred("setp.ge.u64", (x.low, y.low));
        let low = self.asm.pred("and.pred", (equal, low));
        self.asm.pred("or.pred", (above, low))
    }

    /// Whether a sum, difference or product of 128 bits wraps.
    pub(crate) fn wide_overflows(&mut self, op: OverflowOp, x: Wide, y: Wide) -> Pred {
        let (left, right) = match op {
            OverflowOp::Add => {
                let sum = self.add_wide(x, y);
                (
                    self.asm.r64("xor.b64", (sum.high, x.high)),
                    self.asm.r64("xor.b64", (sum.high, y.high)),
                )
            }
            OverflowOp::Sub => {
                let difference = self.subtract_wide(x, y);
                (
                    self.asm.r64("xor.b64", (x.high, y.high)),
                    self.asm.r64("xor.b64", (x.high, difference.high)),
                )
            }
            OverflowOp::Mul | OverflowOp::Div => return self.product_overflows_wide(x, y),
        };
        let both = self.asm.r64("and.b64", (left, right));
        self.asm.pred("setp.lt.s64", (both, 0))
    }

    /// Whether the product of two magnitudes is beyond what its sign allows.
    fn product_overflows_wide(&mut self, x: Wide, y: Wide) -> Pred {
        let (x, x_sign) = self.absolute_wide(x);
        let (y, y_sign) = self.absolute_wide(y);
        let x_long = self.asm.pred("setp.ne.u64", (x.high, 0));
        let y_long = self.asm.pred("setp.ne.u64", (y.high, 0));
        let mut beyond = self.asm.pred("and.pred", (x_long, y_long));
        // Of the cross products one at most is not zero now, so that their sum is exact.
        for (high, low) in [(x.high, y.low), (y.high, x.low)] {
            let carried = self.asm.r64("mul.hi.u64", (high, low));
            let carries = self.asm.pred("setp.ne.u64", (carried, 0));
            beyond = self.asm.pred("or.pred", (beyond, carries));
        }
        let one = self.asm.r64("mul.lo.u64", (x.high, y.low));
        let cross = self.asm.r64("mad.lo.u64", (y.high, x.low, one));
        let carried = self.asm.r64("mul.hi.u64", (x.low, y.low));
        let high = self.asm.r64("add.u64", (carried, cross));
        let wraps = self.asm.pred("setp.lt.u64", (high, carried));
        beyond = self.asm.pred("or.pred", (beyond, wraps));
        // A magnitude of 2^127 fits if it is to be negative.
        let low = self.asm.r64("mul.lo.u64", (x.low, y.low));
        let differ = self.asm.r64("xor.b64", (x_sign, y_sign));
        let product = self.with_sign(Wide { low, high }, differ);
        let sign = self.asm.r64("shr.s64", (product.high, 63u32));
        let zero = self.is_zero(product);
        let wrong = self.asm.pred("setp.ne.s64", (sign, differ));
        let not_zero = self.not(zero);
        let wrong = self.asm.pred("and.pred", (wrong, not_zero));
        self.asm.pred("or.pred", (beyond, wrong))
    }

    /// `rescale`: times ten to a power, or divided by one and rounded.
    pub(crate) fn rescale(&mut self, arg: Wide, by: i8, rounding: Rounding) -> Wide {
        let power = self.power_of_ten(by);
        if by > 0 {
            return self.multiply_wide(arg, power);
        }
        let (magnitude, sign) = self.absolute_wide(arg);
        let (quotient, rest) = self.divide_unsigned(magnitude, power);
        let grows = match rounding {
            Rounding::Truncate => None,
            Rounding::HalfAwayFromZero => {
                let twice = self.add_wide(rest, rest);
                Some(self.at_least(twice, power))
            }
            Rounding::Floor => {
                let exact = self.is_zero(rest);
                let negative = self.asm.pred("setp.ne.u64", (sign, 0));
                let not_exact = self.not(exact);
                Some(self.asm.pred("and.pred", (not_exact, negative)))
            }
        };
        let rounded = match grows {
            Some(grows) => self.increment(quotient, grows),
            None => quotient,
        };
        self.with_sign(rounded, sign)
    }

    /// Whether adding digits wraps.
    pub(crate) fn rescale_fails(&mut self, arg: Wide, by: i8) -> Pred {
        let power = self.power_of_ten(by);
        self.product_overflows_wide(arg, power)
    }

    fn power_of_ten(&mut self, digits: i8) -> Wide {
        let power = 10i128.pow(u32::from(digits.unsigned_abs()));
        Wide {
            low: self.asm.r64("mov.b64", power as u64),
            high: self.asm.r64("mov.b64", (power >> 64) as u64),
        }
    }
}
