//! Compares a widened integer in the type that it came from.
//!
//! `cast(a as bigint) > 1` asks the same as `a > 1`. Widening an integer keeps its value and
//! cannot fail, so a comparison may look through it wherever the other operand has a counterpart
//! in the narrow type. A literal that has none is less or greater than every value of that type,
//! which is known without looking; that is the one case in which a literal decides the shape of a
//! program.

use std::cmp::Ordering;

use arrow_schema::DataType;
use unlade_program::{Imm, Ty};

use crate::physical::physical_type;
use crate::typed::{Node, Typed};

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

/// An integer as a value of another type, or how it compares to every value of that type.
pub(crate) fn converted(value: Imm, to: Ty) -> Result<Imm, Ordering> {
    let value = value.as_integer();
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
        let value = |value| Imm::integer(Ty::I64, value).unwrap();
        assert_eq!(converted(value(300), Ty::I8), Err(Ordering::Greater));
        assert_eq!(converted(value(-1), Ty::U8), Err(Ordering::Less));
        assert_eq!(
            converted(value(7), Ty::U8),
            Ok(Imm::integer(Ty::U8, 7).unwrap())
        );
    }
}
