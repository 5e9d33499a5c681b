//! Operations that depend on their sources alone, docs/CARD.md, section 10.

use super::{decimal, float, integer};
use crate::bytecode::{Operation, Word};
use crate::types::Type;

/// The result of a word on the bits of its sources.
pub(super) fn evaluate(word: &Word, [x, y, z]: [u128; 3]) -> u128 {
    use Operation::*;

    match word.operation {
        Select if x == 1 => y,
        Select => z,
        And => x & y,
        Or => x | y,
        AndNot => x & !y & 1,
        Xor => x ^ y,
        Not => x ^ 1,
        Eq | Ne | Lt | Le | Gt | Ge => u128::from(compare(word, x, y)),
        Range => {
            let [x, low, high] = [x, y, z].map(|bits| integer::value(bits, word.operand));
            u128::from(low <= x && x <= high)
        }
        OverflowAdd | OverflowSub | OverflowMul | OverflowDiv => {
            u128::from(integer::overflows(word.operation, word.operand, x, y))
        }
        CastWrap => cast_wrap(word.operand, word.result, x),
        CastSaturate => float::saturate(float::value(x, word.operand), word.result),
        CastFails if word.operand.is_float() => u128::from(float::cast_fails(
            float::value(x, word.operand),
            word.result,
        )),
        CastFails => {
            let value = integer::value(x, word.operand);
            u128::from(!integer::fits(value, word.result))
        }
        Rescale => decimal::rescale(x.cast_signed(), word.variant, word.immediate).cast_unsigned(),
        RescaleFails => u128::from(decimal::rescale_fails(x.cast_signed(), word.immediate)),
        Digits => decimal::digits(float::value(x, Type::F64), word.immediate).cast_unsigned(),
        Neg | Abs | Round | Add | Sub | Mul | Div | Rem | FloorDiv => match word.operand {
            Type::F32 | Type::F64 => float::arithmetic(word.operation, word.operand, x, y),
            ty => integer::arithmetic(word.operation, ty, x, y),
        },
        Load | Validity | Param | Const | Lookup | InBounds | InSet | Trap | Keep | EmitMask
        | Store => unreachable!("{:?} depends on more than its sources", word.operation),
    }
}

fn compare(word: &Word, x: u128, y: u128) -> bool {
    let ordering = match word.operand {
        Type::F32 | Type::F64 => float::compare(word.operand, word.variant, x, y),
        Type::Mask => Some(x.cmp(&y)),
        ty => Some(integer::value(x, ty).cmp(&integer::value(y, ty))),
    };
    match word.operation {
        Operation::Eq => ordering.is_some_and(|ordering| ordering.is_eq()),
        Operation::Ne => ordering.is_none_or(|ordering| ordering.is_ne()),
        Operation::Lt => ordering.is_some_and(|ordering| ordering.is_lt()),
        Operation::Le => ordering.is_some_and(|ordering| ordering.is_le()),
        Operation::Gt => ordering.is_some_and(|ordering| ordering.is_gt()),
        Operation::Ge => ordering.is_some_and(|ordering| ordering.is_ge()),
        other => unreachable!("{other:?} is no comparison"),
    }
}

fn cast_wrap(from: Type, to: Type, x: u128) -> u128 {
    match (from.is_float(), to.is_float()) {
        (true, true) => float::convert(x, from),
        (false, true) => float::from_integer(integer::value(x, from), to),
        (false, false) => integer::wrap(integer::value(x, from), to),
        (true, false) => unreachable!("a float is cast to an integer by CAST_SATURATE alone"),
    }
}
