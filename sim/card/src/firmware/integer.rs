//! Integers. Every value of every integer type is an `i128`, so there is one arithmetic for all.

use crate::bytecode::Operation;
use crate::types::Type;

/// The number that the bits are; of a mask 0 or 1.
pub(super) fn value(bits: u128, ty: Type) -> i128 {
    if ty.is_signed() {
        let unused = 128 - ty.bits();
        (bits << unused).cast_signed() >> unused
    } else {
        bits.cast_signed()
    }
}

/// The low bits of the type: the number modulo 2^w.
pub(super) fn wrap(value: i128, ty: Type) -> u128 {
    value.cast_unsigned() & ty.mask()
}

/// Whether the type has the number.
pub(super) fn fits(value: i128, ty: Type) -> bool {
    ty.min() <= value && value <= ty.max()
}

/// Arithmetic, wrapped. `y` is not looked at by NEG and ABS.
///
/// Results modulo 2^128 have the right low bits for every type, and quotients of types of 64 bits
/// and fewer are exact; of i128, min / -1 wraps to min as the document wants.
pub(super) fn arithmetic(operation: Operation, ty: Type, x: u128, y: u128) -> u128 {
    let (x, y) = (value(x, ty), value(y, ty));
    let result = match operation {
        Operation::Neg => x.wrapping_neg(),
        Operation::Abs => x.wrapping_abs(),
        Operation::Add => x.wrapping_add(y),
        Operation::Sub => x.wrapping_sub(y),
        Operation::Mul => x.wrapping_mul(y),
        Operation::Div | Operation::Rem | Operation::FloorDiv if y == 0 => 0,
        Operation::Div => x.wrapping_div(y),
        Operation::Rem => x.wrapping_rem(y),
        Operation::FloorDiv => {
            let below = x.wrapping_rem(y) != 0 && (x < 0) != (y < 0);
            x.wrapping_div(y) - i128::from(below)
        }
        other => unreachable!("{other:?} is no arithmetic of integers"),
    };
    wrap(result, ty)
}

/// Whether the exact result is outside of the type.
pub(super) fn overflows(operation: Operation, ty: Type, x: u128, y: u128) -> bool {
    let (x, y) = (value(x, ty), value(y, ty));
    let exact = match operation {
        Operation::OverflowAdd => x.checked_add(y),
        Operation::OverflowSub => x.checked_sub(y),
        Operation::OverflowMul => x.checked_mul(y),
        Operation::OverflowDiv if y == 0 => return false,
        Operation::OverflowDiv => x.checked_div(y),
        other => unreachable!("{other:?} asks for no overflow"),
    };
    exact.is_none_or(|exact| !fits(exact, ty))
}
