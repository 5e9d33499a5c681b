//! Conversions between types.

use unlade_program::{CastRule, CompareOp, Ty};

use crate::asm::{Pred, R32, R64};
use crate::frame::Frame;
use crate::value::{Value, Wide, suffix};

impl Frame<'_> {
    /// `cast.wrap` and `cast.saturate`.
    pub(crate) fn cast(&mut self, rule: CastRule, from: Ty, to: Ty, arg: Value) -> Value {
        match (rule, from, to) {
            (CastRule::Saturate, ..) => self.saturate(from, to, arg),
            (CastRule::Wrap, Ty::F32, _) => {
                let long = self.asm.r64("cvt.f64.f32", arg.word());
                Value::Long(self.canonical(to, long))
            }
            (CastRule::Wrap, Ty::F64, _) => {
                let word = self.asm.r32("cvt.rn.f32.f64", arg.long());
                Value::Word(self.canonical(to, word))
            }
            (CastRule::Wrap, Ty::Mask, _) => {
                let word = self.asm.r32("selp.b32", (1, 0, arg.mask()));
                self.cast(CastRule::Wrap, Ty::U32, to, Value::Word(word))
            }
            (CastRule::Wrap, _, Ty::F32 | Ty::F64) => self.integer_to_float(from, to, arg),
            (CastRule::Wrap, ..) => self.integer_to_integer(from, to, arg),
        }
    }

    /// The low bits.
    fn integer_to_integer(&mut self, from: Ty, to: Ty, arg: Value) -> Value {
        match to.bits() {
            128 => Value::Wide(self.widen(from, arg)),
            64 => Value::Long(self.lengthen(from, arg)),
            _ => {
                let word = match arg {
                    Value::Word(word) => word,
                    Value::Wide(wide) => self.asm.r32("cvt.u32.u64", wide.low),
                    other => self.asm.r32("cvt.u32.u64", other.long()),
                };
                Value::Word(self.narrow(to, word))
            }
        }
    }

    /// The low 64 bits, extended as the type's sign says.
    pub(crate) fn lengthen(&mut self, from: Ty, arg: Value) -> R64 {
        match arg {
            Value::Word(word) if from.is_signed() => self.asm.r64("cvt.s64.s32", word),
            Value::Word(word) => self.extend(word),
            Value::Wide(wide) => wide.low,
            other => other.long(),
        }
    }

    fn widen(&mut self, from: Ty, arg: Value) -> Wide {
        if let Value::Wide(wide) = arg {
            return wide;
        }
        let low = self.lengthen(from, arg);
        let high = match from.is_signed() {
            true => self.asm.r64("shr.s64", (low, 63u32)),
            false => self.asm.r64("mov.b64", 0u64),
        };
        Wide { low, high }
    }

    /// Rounded to nearest even, once.
    fn integer_to_float(&mut self, from: Ty, to: Ty, arg: Value) -> Value {
        match (arg, to) {
            (Value::Wide(wide), _) => self.wide_to_float(to, wide),
            (Value::Word(word), Ty::F32) => {
                Value::Word(self.asm.r32(["cvt.rn.f32.", suffix(from)], word))
            }
            (Value::Word(word), _) => {
                Value::Long(self.asm.r64(["cvt.rn.f64.", suffix(from)], word))
            }
            (long, Ty::F32) => {
                Value::Word(self.asm.r32(["cvt.rn.f32.", suffix(from)], long.long()))
            }
            (long, _) => Value::Long(self.asm.r64(["cvt.rn.f64.", suffix(from)], long.long())),
        }
    }

    /// The magnitude's highest 64 bits, the last of them set where any beyond are: rounding those
    /// rounds all. Times a power of two, which is exact.
    fn wide_to_float(&mut self, to: Ty, arg: Wide) -> Value {
        let (magnitude, sign) = self.absolute_wide(arg);
        // Shifts by 64 leave nothing.
        let zeros = self.asm.r32("clz.b64", magnitude.high);
        let others = self.asm.r32("sub.s32", (64, zeros));
        let above = self.asm.r64("shl.b64", (magnitude.high, zeros));
        let below = self.asm.r64("shr.u64", (magnitude.low, others));
        let top = self.asm.r64("or.b64", (above, below));
        let beyond = self.asm.r64("shl.b64", (magnitude.low, zeros));
        let any = self.asm.pred("setp.ne.u64", (beyond, 0));
        let last = self.asm.r64("selp.b64", (1, 0, any));
        let top = self.asm.r64("or.b64", (top, last));
        match to {
            Ty::F32 => {
                let rounded = self.asm.r32("cvt.rn.f32.u64", top);
                let exponent = self.asm.r32("add.s32", (others, 127));
                let scale = self.asm.r32("shl.b32", (exponent, 23u32));
                let scaled = self.asm.r32("mul.rn.f32", (rounded, scale));
                let sign = self.asm.r32("cvt.u32.u64", sign);
                let sign = self.asm.r32("and.b32", (sign, 1u32 << 31));
                Value::Word(self.asm.r32("or.b32", (scaled, sign)))
            }
            _ => {
                let rounded = self.asm.r64("cvt.rn.f64.u64", top);
                let exponent = self.asm.r32("add.s32", (others, 1023));
                let exponent = self.extend(exponent);
                let scale = self.asm.r64("shl.b64", (exponent, 52u32));
                let scaled = self.asm.r64("mul.rn.f64", (rounded, scale));
                let sign = self.asm.r64("and.b64", (sign, 1u64 << 63));
                Value::Long(self.asm.r64("or.b64", (scaled, sign)))
            }
        }
    }

    /// A float as an `f64`, which holds every `f32`.
    fn lengthen_float(&mut self, arg: Value) -> R64 {
        match arg {
            Value::Word(word) => self.asm.r64("cvt.f64.f32", word),
            other => other.long(),
        }
    }

    /// Truncated and clamped; zero for a NaN. Only what fits is given to the hardware to convert.
    fn saturate(&mut self, from: Ty, to: Ty, arg: Value) -> Value {
        debug_assert!(from.is_float());
        let value = self.lengthen_float(arg);
        let (least, greatest) = range(to);
        let bounds = Bounds::of(self, to);
        let below = self.asm.pred("setp.lt.f64", (value, bounds.least));
        let above = self.asm.pred("setp.ge.f64", (value, bounds.beyond));
        let not_number = self.asm.pred("setp.nan.f64", (value, value));
        let outside = self.asm.pred("or.pred", (below, above));
        let outside = self.asm.pred("or.pred", (outside, not_number));
        let value = self.asm.r64("selp.b64", (0, value, outside));
        let least = self.constant(to, least);
        let greatest = self.constant(to, greatest);
        let converted = match to {
            Ty::I128 => Value::Wide(self.float_to_wide(value)),
            Ty::U64 => Value::Long(self.asm.r64("cvt.rzi.u64.f64", value)),
            _ => {
                let long = self.asm.r64("cvt.rzi.s64.f64", value);
                self.integer_to_integer(Ty::I64, to, Value::Long(long))
            }
        };
        let converted = self.select(above, greatest, converted);
        self.select(below, least, converted)
    }

    /// A float between the bounds of 128 bits, truncated: its significand, shifted.
    fn float_to_wide(&mut self, value: R64) -> Wide {
        let sign = self.asm.r64("shr.s64", (value, 63u32));
        let biased = self.asm.r64("shr.u64", (value, 52u32));
        let biased = self.asm.r32("cvt.u32.u64", biased);
        let biased = self.asm.r32("and.b32", (biased, 0x7ffu32));
        let fraction = self.asm.r64("and.b64", (value, (1u64 << 52) - 1));
        let significand = self.asm.r64("or.b64", (fraction, 1u64 << 52));
        // Of four shifts those that go the wrong way are, unsigned, beyond the register's width,
        // and leave nothing.
        let left = self.asm.r32("sub.s32", (biased, 1075));
        let right = self.asm.r32("neg.s32", left);
        let over = self.asm.r32("sub.s32", (left, 64));
        let under = self.asm.r32("sub.s32", (64, left));
        let mut join = |one: (&str, R32), other: (&str, R32)| {
            let one = self.asm.r64(one.0, (significand, one.1));
            let other = self.asm.r64(other.0, (significand, other.1));
            self.asm.r64("or.b64", (one, other))
        };
        let low = join(("shl.b64", left), ("shr.u64", right));
        let high = join(("shl.b64", over), ("shr.u64", under));
        self.with_sign(Wide { low, high }, sign)
    }

    /// Whether a value, truncated, is outside a type's range.
    pub(crate) fn cast_fails(&mut self, from: Ty, to: Ty, arg: Value) -> Pred {
        if from.is_float() {
            let value = self.lengthen_float(arg);
            let whole = self.asm.r64("cvt.rzi.f64.f64", value);
            let bounds = Bounds::of(self, to);
            let above = self.asm.pred("setp.ge.f64", (whole, bounds.least));
            let below = self.asm.pred("setp.lt.f64", (whole, bounds.beyond));
            let fits = self.asm.pred("and.pred", (above, below));
            return self.not(fits);
        }
        let ((source_least, source_greatest), (least, greatest)) = (range(from), range(to));
        let mut fails = None;
        for (op, bound, matters) in [
            (CompareOp::Lt, least, least > source_least),
            (CompareOp::Gt, greatest, greatest < source_greatest),
        ] {
            if !matters {
                continue;
            }
            let bound = self.constant(from, bound);
            let outside = self.compare(op, from, arg, bound);
            fails = Some(match fails {
                None => outside,
                Some(fails) => self.asm.pred("or.pred", (fails, outside)),
            });
        }
        match fails {
            Some(fails) => fails,
            None => {
                let always = self.always();
                self.not(always)
            }
        }
    }
}

/// The bounds of an integer type as registers that hold an `f64`.
struct Bounds {
    /// The least value: a power of two, or zero, and so exact.
    least: R64,
    /// The greatest plus one, exact likewise.
    beyond: R64,
}

impl Bounds {
    fn of(frame: &mut Frame<'_>, ty: Ty) -> Bounds {
        let (least, _) = range(ty);
        let power = ty.bits() - u32::from(ty.is_signed());
        let beyond = f64::from_bits(u64::from(1023 + power) << 52);
        Bounds {
            least: frame.asm.r64("mov.b64", (least as f64).to_bits()),
            beyond: frame.asm.r64("mov.b64", beyond.to_bits()),
        }
    }
}

fn range(ty: Ty) -> (i128, i128) {
    match ty.integer_range() {
        Some(range) => range,
        None => unreachable!("verified: {ty} is an integer type"),
    }
}
