//! Compares a widened integer in the type that it came from.
//!
//! `cast(a as bigint) > 1` asks the same as `a > 1`. Widening an integer keeps its value and
//! cannot fail, so a comparison may look through it wherever the other operand has a counterpart
//! in the narrow type. A literal that has none is less or greater than every value of that type,
//! which is known without looking; that is the one case in which a literal decides the shape of a
//! program. So `cast(a as bigint) + 1 > 5` asks the same as `a > 4`, where no value of the narrow type
//! can leave the wide one.

use std::cmp::Ordering;

use arrow_schema::DataType;
use unlade_program::{Imm, Ty};

use crate::physical::physical_type;
use crate::typed::{ArithmeticOp, Node, Typed};

/// The operand inside of all integer casts around it that hold every one of its values.
pub(crate) fn unwidened(mut tree: &Typed) -> &Typed {
    while let Node::Cast { arg, .. } = &tree.node {
        match (integer(&arg.data_type), integer(&tree.data_type)) {
            (Some(from), Some(to)) if holds_all(to, from) => tree = arg,
            _ => break,
        }
    }
    tree
}

/// The narrowest of two integer types and the type that both were widened to which holds all
/// values of both.
pub(crate) fn common(lhs: Ty, rhs: Ty, widened: Ty) -> Ty {
    if holds_all(lhs, rhs) {
        lhs
    } else if holds_all(rhs, lhs) {
        rhs
    } else {
        widened
    }
}

/// What `sum` was made of by adding or subtracting a literal, and the literal that it compares
/// with as the sum does with `limit`. Only where the sum cannot overflow.
pub(crate) fn unshifted<'a>(sum: &'a Typed, limit: &Typed) -> Option<(&'a Typed, i128)> {
    let Node::Arithmetic { op, lhs, rhs, .. } = &sum.node else {
        return None;
    };
    let limit = literal(limit)?;
    let (arg, limit) = match (op, literal(lhs), literal(rhs)) {
        (ArithmeticOp::Add, None, Some(addend)) => (lhs, limit.checked_sub(addend)?),
        (ArithmeticOp::Add, Some(addend), None) => (rhs, limit.checked_sub(addend)?),
        (ArithmeticOp::Sub, None, Some(subtrahend)) => (lhs, limit.checked_add(subtrahend)?),
        _ => return None,
    };
    stays_in_range(*op, lhs, rhs).then(|| (unwidened(arg), limit))
}

/// Whether a sum, difference or product of integers has no overflow, for the types that its
/// operands were widened from, or the literals that they are.
pub(crate) fn stays_in_range(op: ArithmeticOp, lhs: &Typed, rhs: &Typed) -> bool {
    let ends = |tree: &Typed| match literal(tree) {
        Some(value) => Some((value, value)),
        None => integer(&unwidened(tree).data_type)?.integer_range(),
    };
    let range = integer(&lhs.data_type).and_then(Ty::integer_range);
    let (Some((least, greatest)), Some(left), Some(right)) = (range, ends(lhs), ends(rhs)) else {
        return false;
    };
    // At the corners. What a product saturates to is in no range.
    let results = match op {
        ArithmeticOp::Add => [
            left.0 + right.0,
            left.1 + right.1,
            left.0 + right.1,
            left.1 + right.0,
        ],
        ArithmeticOp::Sub => [
            left.0 - right.1,
            left.1 - right.0,
            left.0 - right.0,
            left.1 - right.1,
        ],
        ArithmeticOp::Mul => [
            left.0.saturating_mul(right.0),
            left.0.saturating_mul(right.1),
            left.1.saturating_mul(right.0),
            left.1.saturating_mul(right.1),
        ],
        ArithmeticOp::Div | ArithmeticOp::Rem => return false,
    };
    results
        .iter()
        .all(|result| (least..=greatest).contains(result))
}

fn literal(tree: &Typed) -> Option<i128> {
    match &tree.node {
        Node::Literal(literal) if literal.data_type.is_integer() => {
            literal.value.map(Imm::as_integer)
        }
        _ => None,
    }
}

/// An integer as a value of another type, or how it compares to every value of that type.
pub(crate) fn converted(value: i128, to: Ty) -> Result<Imm, Ordering> {
    Imm::integer(to, value).ok_or(match to.integer_range() {
        Some((least, _)) if value < least => Ordering::Less,
        _ => Ordering::Greater,
    })
}

/// Whether every value of one integer type is one of another's.
pub(crate) fn holds_all(ty: Ty, other: Ty) -> bool {
    match (ty.integer_range(), other.integer_range()) {
        (Some((least, greatest)), Some((other_least, other_greatest))) => {
            least <= other_least && other_greatest <= greatest
        }
        _ => false,
    }
}

fn integer(data_type: &DataType) -> Option<Ty> {
    data_type
        .is_integer()
        .then(|| physical_type(data_type))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lossless_types_hold_all() {
        assert!(holds_all(Ty::I64, Ty::U32));
        assert!(holds_all(Ty::I16, Ty::I16));
        assert!(!holds_all(Ty::I64, Ty::U64));
        assert!(!holds_all(Ty::U64, Ty::I8));
        assert!(!holds_all(Ty::F64, Ty::I8));
    }

    #[test]
    fn the_common_type_is_the_narrower_that_holds_both() {
        assert_eq!(common(Ty::I8, Ty::I16, Ty::I64), Ty::I16);
        assert_eq!(common(Ty::U8, Ty::I16, Ty::I64), Ty::I16);
        assert_eq!(common(Ty::U8, Ty::I8, Ty::I64), Ty::I64);
    }

    #[test]
    fn literals_beyond_a_type_know_their_side() {
        assert_eq!(converted(300, Ty::I8), Err(Ordering::Greater));
        assert_eq!(converted(-1, Ty::U8), Err(Ordering::Less));
        assert_eq!(converted(7, Ty::U8), Ok(Imm::integer(Ty::U8, 7).unwrap()));
    }
}
