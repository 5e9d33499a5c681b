//! Exact arithmetic and comparison of single values.

use std::cmp::Ordering;

use unlade_expr::{ArithmeticOp, FloatZeroDivision, OnError};
use unlade_program::{CompareOp, FloatOrder, Imm, TrapCode, Ty};

/// The value of an operation: a scalar, null, or why there is none.
pub(crate) type Outcome = Result<Option<Imm>, TrapCode>;

/// How an arithmetic node treats what its type cannot hold.
#[derive(Clone, Copy)]
pub(crate) struct ArithmeticModes {
    pub(crate) overflow: OnError,
    pub(crate) zero: OnError,
    pub(crate) float_zero: FloatZeroDivision,
}

/// `lhs op rhs` of two scalars of one type.
pub(crate) fn arithmetic(op: ArithmeticOp, modes: ArithmeticModes, lhs: Imm, rhs: Imm) -> Outcome {
    match lhs.ty() {
        Ty::F32 => {
            let (l, r) = (lhs.as_f32(), rhs.as_f32());
            if let Some(outcome) = float_division_by_zero(op, modes.float_zero, r == 0.0) {
                return outcome;
            }
            Ok(Some(f32_result(match op {
                ArithmeticOp::Add => l + r,
                ArithmeticOp::Sub => l - r,
                ArithmeticOp::Mul => l * r,
                ArithmeticOp::Div => l / r,
                ArithmeticOp::Rem => l % r,
            })))
        }
        Ty::F64 => {
            let (l, r) = (lhs.as_f64(), rhs.as_f64());
            if let Some(outcome) = float_division_by_zero(op, modes.float_zero, r == 0.0) {
                return outcome;
            }
            Ok(Some(f64_result(match op {
                ArithmeticOp::Add => l + r,
                ArithmeticOp::Sub => l - r,
                ArithmeticOp::Mul => l * r,
                ArithmeticOp::Div => l / r,
                ArithmeticOp::Rem => l % r,
            })))
        }
        ty => integer_arithmetic(op, modes, ty, lhs.as_integer(), rhs.as_integer()),
    }
}

/// `-arg`: exact for integers, the sign bit flipped for floats.
pub(crate) fn negate(overflow: OnError, arg: Imm) -> Outcome {
    match arg.ty() {
        Ty::F32 => Ok(Some(Imm::f32(f32::from_bits(
            arg.as_f32().to_bits() ^ (1 << 31),
        )))),
        Ty::F64 => Ok(Some(Imm::f64(f64::from_bits(
            arg.as_f64().to_bits() ^ (1 << 63),
        )))),
        ty => {
            let value = arg.as_integer();
            integer_result(ty, value.checked_neg(), value.wrapping_neg(), overflow)
        }
    }
}

/// `abs(arg)`: exact for integers, the sign bit cleared for floats.
pub(crate) fn abs(overflow: OnError, arg: Imm) -> Outcome {
    match arg.ty() {
        Ty::F32 => Ok(Some(Imm::f32(f32::from_bits(
            arg.as_f32().to_bits() & !(1 << 31),
        )))),
        Ty::F64 => Ok(Some(Imm::f64(f64::from_bits(
            arg.as_f64().to_bits() & !(1 << 63),
        )))),
        ty => {
            let value = arg.as_integer();
            integer_result(ty, value.checked_abs(), value.wrapping_abs(), overflow)
        }
    }
}

/// Whether `lhs op rhs` holds for two scalars of one type.
pub(crate) fn compare(op: CompareOp, order: FloatOrder, lhs: Imm, rhs: Imm) -> bool {
    let ordering = ordering(order, lhs, rhs);
    match op {
        CompareOp::Eq => ordering == Some(Ordering::Equal),
        CompareOp::Ne => ordering != Some(Ordering::Equal),
        CompareOp::Lt => ordering == Some(Ordering::Less),
        CompareOp::Le => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        CompareOp::Gt => ordering == Some(Ordering::Greater),
        CompareOp::Ge => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// What an operation without a result in its type gives: `wrapped` is its value under
/// [`OnError::Wrap`], null where wrapping has no meaning.
pub(crate) fn settle(on_error: OnError, code: TrapCode, wrapped: Option<Imm>) -> Outcome {
    match on_error {
        OnError::Trap => Err(code),
        OnError::Null => Ok(None),
        OnError::Wrap => Ok(wrapped),
    }
}

/// The low bits of an integer, read as the type.
pub(crate) fn low_bits(ty: Ty, value: i128) -> Imm {
    Imm::from_le_bytes(ty, value.to_le_bytes())
}

/// The result of binary32 arithmetic: every NaN becomes the canonical one.
pub(crate) fn f32_result(value: f32) -> Imm {
    Imm::f32(if value.is_nan() {
        f32::from_bits(0x7fc0_0000)
    } else {
        value
    })
}

/// The result of binary64 arithmetic: every NaN becomes the canonical one.
pub(crate) fn f64_result(value: f64) -> Imm {
    Imm::f64(if value.is_nan() {
        f64::from_bits(0x7ff8_0000_0000_0000)
    } else {
        value
    })
}

fn integer_arithmetic(
    op: ArithmeticOp,
    modes: ArithmeticModes,
    ty: Ty,
    l: i128,
    r: i128,
) -> Outcome {
    let divides = matches!(op, ArithmeticOp::Div | ArithmeticOp::Rem);
    if divides && r == 0 {
        debug_assert_ne!(modes.zero, OnError::Wrap, "a division by zero cannot wrap");
        return settle(modes.zero, TrapCode::DivideByZero, None);
    }
    // Operands have at most 64 bits, so that i128 holds every sum, difference, quotient and
    // remainder; a product that it does not hold is outside every type, and its low 64 bits are
    // right nevertheless.
    let (exact, wrapping) = match op {
        ArithmeticOp::Add => (l.checked_add(r), l.wrapping_add(r)),
        ArithmeticOp::Sub => (l.checked_sub(r), l.wrapping_sub(r)),
        ArithmeticOp::Mul => (l.checked_mul(r), l.wrapping_mul(r)),
        ArithmeticOp::Div => (l.checked_div(r), l.wrapping_div(r)),
        ArithmeticOp::Rem => (Some(l.wrapping_rem(r)), l.wrapping_rem(r)),
    };
    integer_result(ty, exact, wrapping, modes.overflow)
}

fn integer_result(ty: Ty, exact: Option<i128>, wrapping: i128, overflow: OnError) -> Outcome {
    match exact.and_then(|value| Imm::integer(ty, value)) {
        Some(value) => Ok(Some(value)),
        None => settle(overflow, TrapCode::Overflow, Some(low_bits(ty, wrapping))),
    }
}

fn float_division_by_zero(
    op: ArithmeticOp,
    rule: FloatZeroDivision,
    divisor_is_zero: bool,
) -> Option<Outcome> {
    let divides = matches!(op, ArithmeticOp::Div | ArithmeticOp::Rem);
    match rule {
        _ if !divides || !divisor_is_zero => None,
        FloatZeroDivision::Ieee => None,
        FloatZeroDivision::Null => Some(Ok(None)),
        FloatZeroDivision::Trap => Some(Err(TrapCode::DivideByZero)),
    }
}

/// How two scalars of one type are ordered, `None` where they are not.
fn ordering(order: FloatOrder, lhs: Imm, rhs: Imm) -> Option<Ordering> {
    debug_assert_eq!(lhs.ty(), rhs.ty());
    // Widening to binary64 is exact and keeps the order of everything but NaN payloads, hence
    // total order compares each width on its own.
    match (lhs.ty(), order) {
        (Ty::F32, FloatOrder::Total) => Some(lhs.as_f32().total_cmp(&rhs.as_f32())),
        (Ty::F64, FloatOrder::Total) => Some(lhs.as_f64().total_cmp(&rhs.as_f64())),
        (Ty::F32, _) => number_ordering(order, lhs.as_f32().into(), rhs.as_f32().into()),
        (Ty::F64, _) => number_ordering(order, lhs.as_f64(), rhs.as_f64()),
        _ => Some(lhs.bits().cmp(&rhs.bits())),
    }
}

fn number_ordering(order: FloatOrder, l: f64, r: f64) -> Option<Ordering> {
    match order {
        FloatOrder::Spark => Some(match (l.is_nan(), r.is_nan()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => l.partial_cmp(&r)?,
        }),
        FloatOrder::Ieee | FloatOrder::Total => l.partial_cmp(&r),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAP: ArithmeticModes = ArithmeticModes {
        overflow: OnError::Trap,
        zero: OnError::Trap,
        float_zero: FloatZeroDivision::Ieee,
    };
    const WRAP: ArithmeticModes = ArithmeticModes {
        overflow: OnError::Wrap,
        zero: OnError::Null,
        float_zero: FloatZeroDivision::Null,
    };

    fn integer(ty: Ty, value: i128) -> Imm {
        Imm::integer(ty, value).expect("the test's value fits its type")
    }

    #[test]
    fn products_wider_than_128_bits_keep_their_low_bits() {
        let max = integer(Ty::U64, u64::MAX.into());
        assert_eq!(
            arithmetic(ArithmeticOp::Mul, WRAP, max, max),
            Ok(Some(integer(Ty::U64, 1)))
        );
        assert_eq!(
            arithmetic(ArithmeticOp::Mul, TRAP, max, max),
            Err(TrapCode::Overflow)
        );
    }

    #[test]
    fn minimum_by_minus_one() {
        for ty in [Ty::I8, Ty::I16, Ty::I32, Ty::I64] {
            let (low, _) = ty.integer_range().expect("an integer type");
            let (low, minus_one) = (integer(ty, low), integer(ty, -1));
            let div = ArithmeticOp::Div;
            assert_eq!(arithmetic(div, WRAP, low, minus_one), Ok(Some(low)));
            assert_eq!(
                arithmetic(div, TRAP, low, minus_one),
                Err(TrapCode::Overflow)
            );
            let zero = Ok(Some(integer(ty, 0)));
            assert_eq!(arithmetic(ArithmeticOp::Rem, TRAP, low, minus_one), zero);
            assert_eq!(negate(OnError::Wrap, low), Ok(Some(low)));
            assert_eq!(abs(OnError::Null, low), Ok(None));
        }
    }

    #[test]
    fn arithmetic_makes_canonical_nans_and_signs_keep_payloads() {
        let payload = Imm::f32(f32::from_bits(0xffc0_1234));
        let sum = arithmetic(ArithmeticOp::Add, TRAP, payload, payload);
        assert_eq!(sum, Ok(Some(Imm::f32(f32::from_bits(0x7fc0_0000)))));
        let flipped = Imm::f32(f32::from_bits(0x7fc0_1234));
        assert_eq!(negate(OnError::Trap, payload), Ok(Some(flipped)));
        assert_eq!(abs(OnError::Trap, payload), Ok(Some(flipped)));
    }

    #[test]
    fn float_division_by_zero_follows_its_rule() {
        let (one, zero) = (Imm::f64(1.0), Imm::f64(-0.0));
        let minus_infinity = Ok(Some(Imm::f64(f64::NEG_INFINITY)));
        assert_eq!(
            arithmetic(ArithmeticOp::Div, TRAP, one, zero),
            minus_infinity
        );
        assert_eq!(arithmetic(ArithmeticOp::Rem, WRAP, one, zero), Ok(None));
        assert_eq!(
            arithmetic(ArithmeticOp::Mul, WRAP, one, zero),
            Ok(Some(zero))
        );
    }

    #[test]
    fn the_three_orders_differ_on_zeros_and_nans() {
        let (minus_zero, zero) = (Imm::f64(-0.0), Imm::f64(0.0));
        let (nan, minus_nan) = (Imm::f64(f64::NAN), Imm::f64(-f64::NAN));
        let infinity = Imm::f64(f64::INFINITY);
        let holds = |order, op, l, r| compare(op, order, l, r);
        assert!(holds(FloatOrder::Total, CompareOp::Lt, minus_zero, zero));
        assert!(holds(FloatOrder::Spark, CompareOp::Eq, minus_zero, zero));
        assert!(holds(FloatOrder::Ieee, CompareOp::Eq, minus_zero, zero));
        assert!(holds(FloatOrder::Total, CompareOp::Lt, minus_nan, infinity));
        assert!(holds(FloatOrder::Spark, CompareOp::Gt, minus_nan, infinity));
        assert!(holds(FloatOrder::Spark, CompareOp::Eq, nan, minus_nan));
        assert!(holds(FloatOrder::Ieee, CompareOp::Ne, nan, nan));
        assert!(!holds(FloatOrder::Ieee, CompareOp::Ge, nan, nan));
    }
}
