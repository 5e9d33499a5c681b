//! The result of an instruction whose operands are constants.
//!
//! The same bits as every device gives: the instruction's own documentation is the rule, and the
//! naive interpreter, which shares no code with this, is what it is tested against.

use std::cmp::Ordering;

use crate::{
    BinaryOp, CastRule, CompareOp, FloatOrder, Imm, Inst, MaskOp, OverflowOp, Rounding, Ty,
    UnaryOp, Val, shortest_decimal,
};

/// The value of an instruction whose operands are constant, or `None` where one is not or where the
/// instruction depends on more than its operands. Whoever builds programs may fold with it as they
/// go.
///
/// ```
/// use unlade_program::passes::evaluate;
/// use unlade_program::{BinaryOp, Imm, Inst, Ty, Val};
///
/// let sum = Inst::Binary { op: BinaryOp::Add, lhs: Val(0), rhs: Val(1) };
/// let operands = [Imm::integer(Ty::I8, 127), Imm::integer(Ty::I8, 1)];
/// let wrapped = evaluate(&sum, |operand| operands[operand.index()]);
/// assert_eq!(wrapped, Imm::integer(Ty::I8, -128));
/// ```
///
/// # Panics
/// Where the operands have not the types that the instruction needs.
pub fn evaluate(inst: &Inst, constant: impl Fn(Val) -> Option<Imm>) -> Option<Imm> {
    let mask = |val| constant(val).map(Imm::as_mask);
    Some(match *inst {
        Inst::Unary { op, arg } => unary(op, constant(arg)?),
        Inst::Binary { op, lhs, rhs } => binary(op, constant(lhs)?, constant(rhs)?),
        Inst::Overflow { op, lhs, rhs } => Imm::mask(overflow(op, constant(lhs)?, constant(rhs)?)),
        Inst::Compare {
            op,
            order,
            lhs,
            rhs,
        } => Imm::mask(satisfies(
            op,
            compare(order, constant(lhs)?, constant(rhs)?),
        )),
        Inst::Range { arg, low, high } => {
            let bounds = constant(low)?.as_integer()..=constant(high)?.as_integer();
            Imm::mask(bounds.contains(&constant(arg)?.as_integer()))
        }
        Inst::Cast { rule, arg, to } => cast(rule, constant(arg)?, to),
        Inst::CastFails { arg, to } => Imm::mask(!fits(constant(arg)?, to)),
        Inst::Rescale { arg, by, rounding } => {
            wrap(Ty::I128, rescale(constant(arg)?.as_integer(), by, rounding))
        }
        Inst::RescaleFails { arg, by } => {
            let value = constant(arg)?.as_integer();
            Imm::mask(value.checked_mul(power_of_ten(by)).is_none())
        }
        Inst::Digits { arg, by } => {
            Imm::integer(Ty::I128, shortest_decimal(constant(arg)?.as_f64(), by))?
        }
        Inst::Select {
            mask: when,
            then,
            other,
        } => constant(if mask(when)? { then } else { other })?,
        Inst::Mask { op, lhs, rhs } => {
            let (lhs, rhs) = (mask(lhs)?, mask(rhs)?);
            Imm::mask(match op {
                MaskOp::And => lhs & rhs,
                MaskOp::Or => lhs | rhs,
                MaskOp::AndNot => lhs & !rhs,
                MaskOp::Xor => lhs ^ rhs,
            })
        }
        Inst::Not { arg } => Imm::mask(!mask(arg)?),
        Inst::Const { .. }
        | Inst::Load { .. }
        | Inst::Validity { .. }
        | Inst::Param { .. }
        | Inst::Lookup { .. }
        | Inst::InBounds { .. }
        | Inst::InSet { .. }
        | Inst::Trap { .. } => return None,
    })
}

fn unary(op: UnaryOp, arg: Imm) -> Imm {
    let ty = arg.ty();
    if ty.is_float() && op != UnaryOp::Round {
        let sign = 1i128 << (ty.bits() - 1);
        let bits = match op {
            UnaryOp::Neg => arg.bits() ^ sign,
            _ => arg.bits() & !sign,
        };
        return wrap(ty, bits);
    }
    match (op, ty) {
        (UnaryOp::Neg, _) => wrap(ty, arg.bits().wrapping_neg()),
        (UnaryOp::Abs, _) => wrap(ty, arg.bits().wrapping_abs()),
        (UnaryOp::Round, Ty::F32) => f32_result(arg.as_f32().round()),
        (UnaryOp::Round, _) => f64_result(arg.as_f64().round()),
    }
}

fn binary(op: BinaryOp, lhs: Imm, rhs: Imm) -> Imm {
    match lhs.ty() {
        Ty::F32 => {
            let (x, y) = (lhs.as_f32(), rhs.as_f32());
            f32_result(match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                BinaryOp::Div => x / y,
                BinaryOp::Rem => x % y,
                BinaryOp::FloorDiv => unreachable!("the verifier refuses floordiv of f32"),
            })
        }
        Ty::F64 => {
            let (x, y) = (lhs.as_f64(), rhs.as_f64());
            f64_result(match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                BinaryOp::Div => x / y,
                BinaryOp::Rem => x % y,
                BinaryOp::FloorDiv => unreachable!("the verifier refuses floordiv of f64"),
            })
        }
        ty => {
            let (x, y) = (lhs.as_integer(), rhs.as_integer());
            wrap(
                ty,
                match op {
                    BinaryOp::Add => x.wrapping_add(y),
                    BinaryOp::Sub => x.wrapping_sub(y),
                    BinaryOp::Mul => x.wrapping_mul(y),
                    _ if y == 0 => 0,
                    BinaryOp::Div => x.wrapping_div(y),
                    BinaryOp::Rem => x.wrapping_rem(y),
                    // Euclid's quotient is the floor for positive divisors; negating both sides
                    // gives one, and wraps exactly where the division does.
                    BinaryOp::FloorDiv if y > 0 => x.div_euclid(y),
                    BinaryOp::FloorDiv if x == i128::MIN || y == i128::MIN => {
                        let quotient = x.wrapping_div(y);
                        quotient - i128::from(x.wrapping_rem(y) > 0)
                    }
                    BinaryOp::FloorDiv => (-x).div_euclid(-y),
                },
            )
        }
    }
}

fn overflow(op: OverflowOp, lhs: Imm, rhs: Imm) -> bool {
    let (x, y) = (lhs.as_integer(), rhs.as_integer());
    let exact = match op {
        OverflowOp::Add => x.checked_add(y),
        OverflowOp::Sub => x.checked_sub(y),
        OverflowOp::Mul => x.checked_mul(y),
        OverflowOp::Div if y == 0 => Some(0),
        OverflowOp::Div => x.checked_div(y),
    };
    exact.is_none_or(|exact| Imm::integer(lhs.ty(), exact).is_none())
}

fn compare(order: FloatOrder, lhs: Imm, rhs: Imm) -> Option<Ordering> {
    let (x, y) = match lhs.ty() {
        Ty::F32 if order == FloatOrder::Total => {
            return Some(lhs.as_f32().total_cmp(&rhs.as_f32()));
        }
        Ty::F32 => (f64::from(lhs.as_f32()), f64::from(rhs.as_f32())),
        Ty::F64 => (lhs.as_f64(), rhs.as_f64()),
        _ => return Some(lhs.bits().cmp(&rhs.bits())),
    };
    match order {
        FloatOrder::Ieee => x.partial_cmp(&y),
        FloatOrder::Total => Some(x.total_cmp(&y)),
        FloatOrder::Spark => Some(
            x.partial_cmp(&y)
                .unwrap_or_else(|| x.is_nan().cmp(&y.is_nan())),
        ),
    }
}

fn satisfies(op: CompareOp, ordering: Option<Ordering>) -> bool {
    match op {
        CompareOp::Eq => ordering.is_some_and(Ordering::is_eq),
        CompareOp::Ne => !ordering.is_some_and(Ordering::is_eq),
        CompareOp::Lt => ordering.is_some_and(Ordering::is_lt),
        CompareOp::Le => ordering.is_some_and(Ordering::is_le),
        CompareOp::Gt => ordering.is_some_and(Ordering::is_gt),
        CompareOp::Ge => ordering.is_some_and(Ordering::is_ge),
    }
}

fn cast(rule: CastRule, arg: Imm, to: Ty) -> Imm {
    match (rule, arg.ty(), to) {
        (CastRule::Saturate, ..) => {
            let (low, high) = range(to);
            wrap(to, (as_f64(arg) as i128).clamp(low, high))
        }
        (CastRule::Wrap, Ty::F32, _) => f64_result(f64::from(arg.as_f32())),
        (CastRule::Wrap, Ty::F64, _) => f32_result(arg.as_f64() as f32),
        (CastRule::Wrap, _, Ty::F32) => f32_result(arg.bits() as f32),
        (CastRule::Wrap, _, Ty::F64) => f64_result(arg.bits() as f64),
        (CastRule::Wrap, _, to) => wrap(to, arg.bits()),
    }
}

/// Whether a value, truncated, is one of an integer type.
fn fits(arg: Imm, to: Ty) -> bool {
    let (low, high) = range(to);
    if arg.ty().is_integer() {
        return (low..=high).contains(&arg.as_integer());
    }
    let value = as_f64(arg).trunc();
    // `as` clamps, so what is beyond i128 has to be caught before.
    value >= -(2f64.powi(127)) && value < 2f64.powi(127) && (low..=high).contains(&(value as i128))
}

fn rescale(value: i128, by: i8, rounding: Rounding) -> i128 {
    let power = power_of_ten(by);
    if by > 0 {
        return value.wrapping_mul(power);
    }
    match rounding {
        Rounding::Truncate => value / power,
        Rounding::Floor => value.div_euclid(power),
        Rounding::HalfAwayFromZero => {
            // The remainder reaches a half where it reaches what is left to the power.
            let rest = (value % power).abs();
            value / power + i128::from(rest >= power - rest) * value.signum()
        }
    }
}

fn power_of_ten(by: i8) -> i128 {
    10i128.pow(u32::from(by.unsigned_abs()))
}

fn as_f64(value: Imm) -> f64 {
    match value.ty() {
        Ty::F32 => f64::from(value.as_f32()),
        _ => value.as_f64(),
    }
}

fn range(ty: Ty) -> (i128, i128) {
    ty.integer_range()
        .expect("the verifier admits casts that saturate or fail to integers only")
}

fn wrap(ty: Ty, value: i128) -> Imm {
    Imm::from_le_bytes(ty, value.to_le_bytes())
}

fn f32_result(value: f32) -> Imm {
    if value.is_nan() {
        return wrap(Ty::F32, 0x7fc0_0000);
    }
    Imm::f32(value)
}

fn f64_result(value: f64) -> Imm {
    if value.is_nan() {
        return wrap(Ty::F64, 0x7ff8_0000_0000_0000);
    }
    Imm::f64(value)
}
