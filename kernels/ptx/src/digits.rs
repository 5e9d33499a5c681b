//! Floats as decimals: the shortest digits that read back as the float.
//!
//! A float `c * 2^q` is the one nearest to all that lie within half of `2^q` of it (a quarter
//! below, where `c` is the least), the ends with it where `c` is even. With `k` such that `10^k` is
//! at most the width of that interval and `10^(k+1)` is more, a multiple of `10^(k+1)` in it, of
//! which there is one at most, is the shortest decimal, and otherwise the nearest multiple of `10^k`
//! in it is. That is Raffaele Giulietti's "The Schubfach way to render doubles", 2020; what follows
//! has no need of its tables, as a decimal of 38 digits asks only of floats between `2^-126` and
//! `2^128`: of those every power of five that is needed, or its reciprocal's, fits 128 bits, and
//! everything is exact.

use crate::asm::{Pred, R32, R64};
use crate::frame::Frame;
use crate::value::Wide;

/// Bits of an `f64` behind its point.
const FRACTION_BITS: u32 = 52;
/// The exponent of the last bit of a float whose biased exponent is zero.
const EXPONENT_OF_ZERO: i32 = 1023 + FRACTION_BITS as i32;
/// The bits of 2^-126: below it nothing is one half of the last digit of 38, but what
/// [`HALF_OF_LAST`] says.
const LEAST: u64 = (1023 - 126) << FRACTION_BITS;
/// The bits of the greatest float below 2^128. It is beyond 128 bits with a sign, as all above are.
const GREATEST: u64 = ((1023 + 128) << FRACTION_BITS) - 1;
/// The least float that is not nearer to zero than to the last of 38 digits.
const HALF_OF_LAST: f64 = 5e-39;
/// The bits of infinity.
const INFINITY: u64 = 0x7ff << FRACTION_BITS;
/// Times this, shifted by [`LOG_SHIFT`], an exponent of two is one of ten: log10(2).
const LOG_OF_TWO: i32 = 631_305;
/// Taken off before the shift where the interval is three quarters as wide: -log10(3/4).
const LOG_OF_THREE_QUARTERS: i32 = 261_663;
/// Bits of those constants behind their point.
const LOG_SHIFT: u32 = 21;
/// Bits behind the point of fractions of `10^k` where `k` is not positive. An interval is 13.4 wide
/// at most, so that four bits are left before it; the 54th power of five needs no more behind it.
const FIXED_BITS: u32 = 124;
/// Most factors of five in 64 bits.
const MOST_FIVES: u32 = 27;
/// From so many digits on, nothing is left of a float's when they are dropped.
const MOST_DROPPED: u32 = 19;

/// A float in units of `10^k`: `whole + rest / one`.
struct Scaled {
    whole: R64,
    rest: Wide,
    one: Wide,
    /// `2^q`, in the unit of `rest`.
    gap: Wide,
}

impl Frame<'_> {
    /// `digits`: a float as a decimal of `by` digits after the point.
    pub(crate) fn digits(&mut self, value: R64, by: i8) -> Wide {
        let sign = self.asm.r64("shr.s64", (value, 63u32));
        let magnitude = self.asm.r64("and.b64", (value, !(1u64 << 63)));
        let small = self
            .asm
            .pred("setp.lt.u64", (magnitude, HALF_OF_LAST.to_bits()));
        let not_number = self.asm.pred("setp.gt.u64", (magnitude, INFINITY));
        let nothing = self.asm.pred("or.pred", (small, not_number));
        let bits = self.asm.r64("max.u64", (magnitude, LEAST));
        let bits = self.asm.r64("min.u64", (bits, GREATEST));

        let biased = self.asm.r64("shr.u64", (bits, FRACTION_BITS));
        let biased = self.asm.r32("cvt.u32.u64", biased);
        let two = self.asm.r32("sub.s32", (biased, EXPONENT_OF_ZERO));
        let fraction = self.asm.r64("and.b64", (bits, (1u64 << FRACTION_BITS) - 1));
        let significand = self.asm.r64("or.b64", (fraction, 1u64 << FRACTION_BITS));
        let lopsided = self.asm.pred("setp.eq.u64", (fraction, 0));
        let ten = self.exponent_of_ten(two, lopsided);

        let scaled = self.scale(significand, two, ten);
        let digits = self.shortest(significand, lopsided, &scaled);
        let exponent = self.asm.r32("add.s32", (ten, i32::from(by)));
        let (unsigned, beyond) = self.times_power_of_ten(digits, exponent);
        let unsigned = Wide {
            low: self.asm.r64("selp.b64", (0, unsigned.low, nothing)),
            high: self.asm.r64("selp.b64", (0, unsigned.high, nothing)),
        };
        let signed = self.with_sign(unsigned, sign);
        // Not a number is beyond by its bits.
        let some = self.not(nothing);
        let beyond = self.asm.pred("and.pred", (beyond, some));
        let end = Wide {
            low: self.asm.r64("not.b64", sign),
            high: self.asm.r64("xor.b64", (sign, i64::MAX as u64)),
        };
        self.select_wide(beyond, end, signed)
    }

    /// The greatest `k` for which `10^k` is no more than the width of the interval around a float
    /// whose last bit is `2^two`.
    fn exponent_of_ten(&mut self, two: R32, lopsided: Pred) -> R32 {
        let less = self
            .asm
            .r32("selp.b32", (-LOG_OF_THREE_QUARTERS, 0, lopsided));
        let log = self.asm.r32("mad.lo.s32", (two, LOG_OF_TWO, less));
        self.asm.r32("shr.s32", (log, LOG_SHIFT))
    }

    /// `significand * 2^two / 10^ten`.
    fn scale(&mut self, significand: R64, two: R32, ten: R32) -> Scaled {
        let count = self.asm.r32("abs.s32", ten);
        let first = self.asm.r32("min.u32", (count, MOST_FIVES));
        let second = self.asm.r32("sub.s32", (count, first));
        let fives = self.power_of_five(first);
        let shift = self.asm.r32("sub.s32", (two, ten));
        let (divide, scaled) = (self.asm.label("divide"), self.asm.label("scaled"));
        let whole = self.asm.new64();
        let mut wide = || Wide {
            low: self.asm.new64(),
            high: self.asm.new64(),
        };
        let (rest, one, gap) = (wide(), wide(), wide());
        let positive = self.asm.pred("setp.gt.s32", (ten, 0));
        self.asm.when(positive).jump(divide);

        // To multiply by fives and shift, with a point within the 128 bits.
        let others = self.power_of_five(second);
        let low = self.asm.r64("mul.lo.u64", (fives, others));
        let high = self.asm.r64("mul.hi.u64", (fives, others));
        let left = self.asm.r32("add.s32", (shift, FIXED_BITS as i32));
        let shifted = self.shift_left(Wide { low, high }, left);
        self.asm.set(gap.low, "mov.b64", shifted.low);
        self.asm.set(gap.high, "mov.b64", shifted.high);
        // Four bits more bring what is whole into a register of its own.
        let spare = 128 - FIXED_BITS;
        let significant = self.asm.r64("shl.b64", (significand, spare));
        let lowest = self.asm.r64("mul.lo.u64", (significant, gap.low));
        let carried = self.asm.r64("mul.hi.u64", (significant, gap.low));
        let middle = self.asm.r64("mul.lo.u64", (significant, gap.high));
        let highest = self.asm.r64("mul.hi.u64", (significant, gap.high));
        let middle = self.asm.r64("add.cc.u64", (middle, carried));
        self.asm.set(whole, "addc.u64", (highest, 0));
        let lowest = self.asm.r64("shr.u64", (lowest, spare));
        let above = self.asm.r64("shl.b64", (middle, 64 - spare));
        self.asm.set(rest.low, "or.b64", (lowest, above));
        self.asm.set(rest.high, "shr.u64", (middle, spare));
        self.asm.set(one.low, "mov.b64", 0u64);
        self.asm.set(one.high, "mov.b64", 1u64 << (64 - spare));
        self.asm.jump(scaled);

        // To divide by fives, eleven bits at a time: all of them fit 53.
        self.asm.place(divide);
        self.asm.set(one.low, "mov.b64", fives);
        self.asm.set(one.high, "mov.b64", 0u64);
        self.asm.set(gap.low, "shl.b64", (1u64, shift));
        self.asm.set(gap.high, "mov.b64", 0u64);
        self.asm.set(rest.high, "mov.b64", 0u64);
        self.asm.set(whole, "div.u64", (significand, fives));
        self.asm.set(rest.low, "rem.u64", (significand, fives));
        let next = self.asm.label("eleven_bits");
        self.asm.place(next);
        let bits = self.asm.r32("min.u32", (shift, 63 - FRACTION_BITS));
        let dividend = self.asm.r64("shl.b64", (rest.low, bits));
        let quotient = self.asm.r64("div.u64", (dividend, fives));
        self.asm.set(rest.low, "rem.u64", (dividend, fives));
        self.asm.set(whole, "shl.b64", (whole, bits));
        self.asm.set(whole, "add.u64", (whole, quotient));
        self.asm.set(shift, "sub.s32", (shift, bits));
        let more = self.asm.pred("setp.ne.u32", (shift, 0u32));
        self.asm.when(more).jump(next);
        self.asm.place(scaled);
        Scaled {
            whole,
            rest,
            one,
            gap,
        }
    }

    /// The shortest decimal that reads back as the float, of several the nearest, of two as near
    /// the even one: how often it has `10^k` in it.
    fn shortest(&mut self, significand: R64, lopsided: Pred, scaled: &Scaled) -> R64 {
        let Scaled {
            whole,
            rest,
            one,
            gap,
        } = *scaled;
        let zero = self.asm.r64("mov.b64", 0u64);
        let wide = |low| Wide { low, high: zero };
        // How far from the float a decimal may be on either side; less than all of it where the
        // float is odd. Distances are whole in their unit, so that halves may be rounded down.
        let odd = self.asm.r64("and.b64", (significand, 1));
        let inside = self.subtract_wide(gap, wide(odd));
        let upper = self.halved(inside);
        let quarter = self.halved(upper);
        let lower = self.select_wide(lopsided, quarter, upper);

        // The two multiples of ten around.
        let last = self.asm.r64("rem.u64", (whole, 10));
        let tens = self.asm.r64("sub.s64", (whole, last));
        let next_tens = self.asm.r64("add.s64", (tens, 10));
        let below = Wide {
            low: self.asm.r64("mul.lo.u64", (one.low, last)),
            high: self.asm.r64("mul.lo.u64", (one.high, last)),
        };
        let below = self.add_wide(below, rest);
        let width = Wide {
            low: self.asm.r64("mul.lo.u64", (one.low, 10)),
            high: self.asm.r64("mul.lo.u64", (one.high, 10)),
        };
        let above = self.subtract_wide(width, below);
        let takes_below = self.at_least(lower, below);
        let takes_above = self.at_least(upper, above);

        // The nearer of the two around, but what lies below may be outside.
        let twice = self.add_wide(rest, rest);
        let whole_odd = self.asm.r64("and.b64", (whole, 1));
        let twice = self.add_wide(twice, wide(whole_odd));
        let nearer_below = self.at_least(one, twice);
        let below_inside = self.at_least(lower, rest);
        let down = self.asm.pred("and.pred", (nearer_below, below_inside));
        let up = self.asm.r64("selp.b64", (0, 1, down));
        let nearest = self.asm.r64("add.s64", (whole, up));

        let other = self.asm.r64("selp.b64", (next_tens, nearest, takes_above));
        self.asm.r64("selp.b64", (tens, other, takes_below))
    }

    /// `digits * 10^exponent`, rounded half away from zero, and whether that is beyond 127 bits.
    fn times_power_of_ten(&mut self, digits: R64, exponent: R32) -> (Wide, Pred) {
        let drops = self.asm.pred("setp.lt.s32", (exponent, 0));
        // So many digits have 52 bits at least that more are beyond anyway.
        let most = self.asm.r32("selp.b32", (MOST_DROPPED, MOST_FIVES, drops));
        let count = self.asm.r32("abs.s32", exponent);
        let count = self.asm.r32("min.u32", (count, most));
        let fives = self.power_of_five(count);

        let product = Wide {
            low: self.asm.r64("mul.lo.u64", (digits, fives)),
            high: self.asm.r64("mul.hi.u64", (digits, fives)),
        };
        let spare = self.asm.r32("sub.s32", (63, count));
        let lost = self.asm.r64("shr.u64", (product.high, spare));
        let beyond = self.asm.pred("setp.ne.u64", (lost, 0));
        let keeps = self.not(drops);
        let beyond = self.asm.pred("and.pred", (beyond, keeps));
        let product = self.shift_left(product, count);

        let power = self.asm.r64("shl.b64", (fives, count));
        let less = self.asm.r32("sub.s32", (count, 1));
        let half = self.asm.r64("shl.b64", (fives, less));
        let sum = self.asm.r64("add.u64", (digits, half));
        let quotient = self.asm.r64("div.u64", (sum, power));
        let result = Wide {
            low: self.asm.r64("selp.b64", (quotient, product.low, drops)),
            high: self.asm.r64("selp.b64", (0, product.high, drops)),
        };
        (result, beyond)
    }

    /// Five to a power of at most [`MOST_FIVES`].
    fn power_of_five(&mut self, exponent: R32) -> R64 {
        let mut factor = 5u64;
        let mut power = None;
        for bit in 0..=MOST_FIVES.ilog2() {
            let digit = self.asm.r32("and.b32", (exponent, 1u32 << bit));
            let set = self.asm.pred("setp.ne.u32", (digit, 0u32));
            let one = self.asm.r64("selp.b64", (factor, 1, set));
            power = Some(match power {
                None => one,
                Some(power) => self.asm.r64("mul.lo.u64", (power, one)),
            });
            factor = factor.wrapping_mul(factor);
        }
        match power {
            Some(power) => power,
            None => unreachable!("an exponent has bits"),
        }
    }

    /// Shifted by at most 127 bits. Shifts that go the wrong way are, unsigned, beyond the
    /// register's width, and leave nothing.
    fn shift_left(&mut self, x: Wide, by: R32) -> Wide {
        let over = self.asm.r32("sub.s32", (by, 64));
        let under = self.asm.r32("sub.s32", (64, by));
        let high = self.asm.r64("shl.b64", (x.high, by));
        let carried = self.asm.r64("shr.u64", (x.low, under));
        let moved = self.asm.r64("shl.b64", (x.low, over));
        let high = self.asm.r64("or.b64", (high, carried));
        Wide {
            low: self.asm.r64("shl.b64", (x.low, by)),
            high: self.asm.r64("or.b64", (high, moved)),
        }
    }

    /// Shifted to the right by one bit, without a sign.
    fn halved(&mut self, x: Wide) -> Wide {
        let low = self.asm.r64("shr.u64", (x.low, 1u32));
        let carried = self.asm.r64("shl.b64", (x.high, 63u32));
        Wide {
            low: self.asm.r64("or.b64", (low, carried)),
            high: self.asm.r64("shr.u64", (x.high, 1u32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exponents of two of all floats that are scaled.
    fn exponents() -> std::ops::RangeInclusive<i32> {
        let two = |bits: u64| (bits >> FRACTION_BITS) as i32 - EXPONENT_OF_ZERO;
        two(LEAST)..=two(GREATEST)
    }

    fn exponent_of_ten(two: i32, less: i32) -> i32 {
        (two * LOG_OF_TWO - less) >> LOG_SHIFT
    }

    #[test]
    fn logarithms_are_rounded_down() {
        let ten = |power: i32| -> f64 { format!("1e{power}").parse().expect("a number") };
        for two in exponents() {
            let width = 2f64.powi(two);
            for (width, less) in [(width, 0), (0.75 * width, LOG_OF_THREE_QUARTERS)] {
                let found = exponent_of_ten(two, less);
                assert!(
                    ten(found) <= width && width < ten(found + 1),
                    "2^{two} less {less}: 10^{found}"
                );
            }
        }
    }

    #[test]
    fn fractions_are_exact_and_intervals_fit() {
        for two in exponents() {
            for less in [0, LOG_OF_THREE_QUARTERS] {
                let ten = exponent_of_ten(two, less);
                if ten > 0 {
                    // A quotient by so many fives of what is shifted so far.
                    assert!(ten as u32 <= MOST_FIVES.min(22), "2^{two}");
                    assert!((1..=53).contains(&(two - ten)), "2^{two}");
                    assert!(5u64.pow(ten as u32) < 1 << 53, "2^{two}");
                    continue;
                }
                let left = two - ten + FIXED_BITS as i32;
                assert!((0..128).contains(&left), "2^{two} is shifted by {left}");
                let fives = 5u128.pow(ten.unsigned_abs());
                assert!(fives.leading_zeros() >= left as u32, "2^{two} is too wide");
                assert!(ten.unsigned_abs() <= 2 * MOST_FIVES, "2^{two}");
            }
        }
    }
}
