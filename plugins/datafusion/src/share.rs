//! What share of rows a condition is guessed to keep.
//!
//! By what it is made of alone, with the guesses of System R (Selinger and others, Access path selection
//! in a relational database management system, 1979) where nothing else is known: a tenth equals a
//! constant, a third is beyond one, and conditions know nothing of each other.

use unlade::Expr;
use unlade_expr::IsTest;
use unlade_expr::tree::{BinaryOp, Kind};
use unlade_program::CompareOp;

/// What equals something.
const EQUAL: f64 = 0.1;

/// What is beyond something.
const BEYOND: f64 = 1.0 / 3.0;

/// What a list holds, at most.
const IN_LIST: f64 = 0.5;

/// What nothing is known of.
const UNKNOWN: f64 = 0.5;

/// Between 0 and 1.
pub(crate) fn share_kept(by: &Expr) -> f64 {
    let unless = |negated: bool, share: f64| if negated { 1.0 - share } else { share };
    match by.kind() {
        Kind::And(all) => all.iter().map(share_kept).product(),
        Kind::Or(any) => {
            1.0 - any
                .iter()
                .map(|each| 1.0 - share_kept(each))
                .product::<f64>()
        }
        Kind::Not(arg) => 1.0 - share_kept(arg),
        Kind::Binary { op, .. } => match op {
            BinaryOp::Compare(CompareOp::Eq) | BinaryOp::NotDistinct => EQUAL,
            BinaryOp::Compare(CompareOp::Ne) | BinaryOp::Distinct => 1.0 - EQUAL,
            BinaryOp::Compare(_) => BEYOND,
            _ => UNKNOWN,
        },
        Kind::Between { negated, .. } => unless(*negated, BEYOND * BEYOND),
        Kind::In { negated, list, .. } => {
            unless(*negated, (EQUAL * list.len() as f64).min(IN_LIST))
        }
        Kind::Is {
            test: IsTest::Null,
            negated,
            ..
        } => unless(*negated, EQUAL),
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use unlade::parse_expr;

    use super::*;

    #[test]
    fn guesses_are_those_of_the_parts() {
        for (text, wanted) in [
            ("a = 1", 0.1),
            ("a <> 1", 0.9),
            ("a > 1", 0.333),
            ("a > 1 AND b < 2", 0.111),
            ("a = 1 OR b = 2", 0.19),
            ("NOT (a = 1 OR b = 2)", 0.81),
            ("a IN (1, 2)", 0.2),
            ("a NOT IN (1, 2, 3, 4, 5, 6, 7)", 0.5),
            ("a BETWEEN 1 AND 2", 0.111),
            ("a IS NOT NULL", 0.9),
            ("c", 0.5),
        ] {
            let share = share_kept(&parse_expr(text).unwrap());
            assert!((share - wanted).abs() < 1e-3, "{text}: {share}");
        }
    }
}
