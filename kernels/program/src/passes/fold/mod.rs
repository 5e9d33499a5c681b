//! Folding: what is known at compile time is computed at compile time.

mod scalar;

pub use scalar::evaluate;

use super::rewrite::{Becomes, Made, rewrite};
use crate::{
    BinaryOp, CastRule, CompareOp, FloatOrder, Imm, Inst, MaskOp, OverflowOp, Program, Ty, UnaryOp,
    Val,
};

/// Folds constants and identities, and returns whether anything changed.
///
/// - Operations of constants are computed, with the same result bit for bit.
/// - The validity of a column that is not nullable is a constant.
/// - Identities of masks, selects, double negations, double casts, comparisons of a value with
///   itself, and of integers with 0 and 1. Floats keep theirs: `x + 0` is not `x` for -0.
/// - A trap whose condition is the constant false is dropped. One that is constantly true stays:
///   folding never raises an error.
///
/// # Panics
/// Where the program is not one that [`crate::verify`] accepts.
pub fn fold(program: &mut Program) -> bool {
    let changed = rewrite(program, step);
    drop_true_masks(program) || changed
}

fn step(inst: Inst, made: &mut Made<'_>) -> Becomes {
    if let Some(value) = evaluate(&inst, |val| made.constant(val)) {
        // A constant is its own value already.
        return Becomes::Inst(Inst::Const { value });
    }
    match inst {
        Inst::Validity { column } if !made.program.columns[column as usize].nullable => truth(true),
        Inst::Unary { op, arg } => unary(op, arg, made),
        Inst::Binary { op, lhs, rhs } => binary(op, lhs, rhs, made),
        Inst::Overflow { op, lhs, rhs } => overflow(op, lhs, rhs, made),
        Inst::Compare {
            op,
            order,
            lhs,
            rhs,
        } if lhs == rhs => itself(op, order, inst, made.ty(lhs)),
        Inst::Cast { rule, arg, to } => cast(rule, arg, to, made),
        Inst::CastFails { arg, to } if holds(to, made.ty(arg)) => truth(false),
        Inst::Select { mask, then, other } => select(mask, then, other, made),
        Inst::Mask { op, lhs, rhs } => mask(op, lhs, rhs, made),
        Inst::Not { arg } => not(arg, made),
        Inst::Trap { when, .. } if known(when, made) == Some(false) => Becomes::Nothing,
        inst => Becomes::Inst(inst),
    }
}

fn unary(op: UnaryOp, arg: Val, made: &Made<'_>) -> Becomes {
    match (op, *made.inst(arg)) {
        (
            UnaryOp::Neg,
            Inst::Unary {
                op: UnaryOp::Neg,
                arg,
            },
        ) => Becomes::Val(arg),
        (
            UnaryOp::Abs,
            Inst::Unary {
                op: UnaryOp::Neg,
                arg,
            },
        ) => Becomes::Inst(Inst::Unary { op, arg }),
        (
            UnaryOp::Abs,
            Inst::Unary {
                op: UnaryOp::Abs, ..
            },
        )
        | (
            UnaryOp::Round,
            Inst::Unary {
                op: UnaryOp::Round, ..
            },
        ) => Becomes::Val(arg),
        _ => Becomes::Inst(Inst::Unary { op, arg }),
    }
}

/// Identities of integers; every one of them holds where operations wrap.
fn binary(op: BinaryOp, lhs: Val, rhs: Val, made: &Made<'_>) -> Becomes {
    let (left, right) = (integer(lhs, made), integer(rhs, made));
    match (op, left, right) {
        (BinaryOp::Add | BinaryOp::Sub, _, Some(0)) => Becomes::Val(lhs),
        (BinaryOp::Add, Some(0), _) => Becomes::Val(rhs),
        (BinaryOp::Mul | BinaryOp::Div | BinaryOp::FloorDiv, _, Some(1)) => Becomes::Val(lhs),
        (BinaryOp::Mul, Some(1), _) => Becomes::Val(rhs),
        // A quotient or remainder by zero is zero, so of zero they all are.
        (BinaryOp::Mul | BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Rem, Some(0), _) => {
            Becomes::Val(lhs)
        }
        (BinaryOp::Mul | BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Rem, _, Some(0)) => {
            Becomes::Val(rhs)
        }
        _ => Becomes::Inst(Inst::Binary { op, lhs, rhs }),
    }
}

fn overflow(op: OverflowOp, lhs: Val, rhs: Val, made: &Made<'_>) -> Becomes {
    let (left, right) = (integer(lhs, made), integer(rhs, made));
    let never = match op {
        OverflowOp::Add => left == Some(0) || right == Some(0),
        OverflowOp::Sub => right == Some(0),
        OverflowOp::Mul => matches!(left, Some(0 | 1)) || matches!(right, Some(0 | 1)),
        OverflowOp::Div => !made.ty(lhs).is_signed() || right.is_some_and(|right| right != -1),
    };
    if never {
        return truth(false);
    }
    Becomes::Inst(Inst::Overflow { op, lhs, rhs })
}

/// A comparison of a value with itself: known, unless it may be a NaN that equals nothing.
fn itself(op: CompareOp, order: FloatOrder, inst: Inst, ty: Ty) -> Becomes {
    if ty.is_float() && order == FloatOrder::Ieee {
        return Becomes::Inst(inst);
    }
    truth(matches!(op, CompareOp::Eq | CompareOp::Le | CompareOp::Ge))
}

fn cast(rule: CastRule, arg: Val, to: Ty, made: &Made<'_>) -> Becomes {
    let whole = Inst::Cast { rule, arg, to };
    let Inst::Cast {
        rule: CastRule::Wrap,
        arg: inner,
        to: middle,
    } = *made.inst(arg)
    else {
        return Becomes::Inst(whole);
    };
    let from = made.ty(inner);
    let direct = match rule {
        // No value changes on the way to the middle type, or only bits that are dropped anyway.
        CastRule::Wrap if middle.is_integer() => {
            let keeps_value = from == Ty::Mask || holds(middle, from);
            let keeps_bits = from.is_integer() && to.is_integer() && to.bits() <= middle.bits();
            keeps_value || keeps_bits
        }
        // 0 and 1 are exact in every type.
        CastRule::Wrap => from == Ty::Mask,
        // Every f32 is an f64.
        CastRule::Saturate => from == Ty::F32,
    };
    if !direct {
        Becomes::Inst(whole)
    } else if from == to {
        Becomes::Val(inner)
    } else {
        Becomes::Inst(Inst::Cast {
            rule,
            arg: inner,
            to,
        })
    }
}

/// Whether every value of one integer type is a value of another.
fn holds(outer: Ty, inner: Ty) -> bool {
    match (outer.integer_range(), inner.integer_range()) {
        (Some((low, high)), Some((least, greatest))) => low <= least && greatest <= high,
        _ => false,
    }
}

fn select(when: Val, then: Val, other: Val, made: &Made<'_>) -> Becomes {
    if then == other {
        return Becomes::Val(then);
    }
    match known(when, made) {
        Some(true) => return Becomes::Val(then),
        Some(false) => return Becomes::Val(other),
        None => {}
    }
    if let Inst::Not { arg } = *made.inst(when) {
        return Becomes::Inst(Inst::Select {
            mask: arg,
            then: other,
            other: then,
        });
    }
    let combined = |op, lhs, rhs| Becomes::Inst(Inst::Mask { op, lhs, rhs });
    match (known(then, made), known(other, made)) {
        (Some(true), Some(false)) => Becomes::Val(when),
        (Some(false), Some(true)) => Becomes::Inst(Inst::Not { arg: when }),
        (Some(true), None) => combined(MaskOp::Or, when, other),
        (Some(false), None) => combined(MaskOp::AndNot, other, when),
        (None, Some(false)) => combined(MaskOp::And, when, then),
        _ => Becomes::Inst(Inst::Select {
            mask: when,
            then,
            other,
        }),
    }
}

fn mask(op: MaskOp, lhs: Val, rhs: Val, made: &Made<'_>) -> Becomes {
    let complement = |arg| Becomes::Inst(Inst::Not { arg });
    match (op, known(lhs, made), known(rhs, made)) {
        (MaskOp::And, Some(true), _) | (MaskOp::Or, Some(false), _) => return Becomes::Val(rhs),
        (MaskOp::And, _, Some(true)) | (MaskOp::Or, _, Some(false)) => return Becomes::Val(lhs),
        (MaskOp::And, Some(false), _) | (MaskOp::And, _, Some(false)) => return truth(false),
        (MaskOp::Or, Some(true), _) | (MaskOp::Or, _, Some(true)) => return truth(true),
        (MaskOp::AndNot, _, Some(false)) => return Becomes::Val(lhs),
        (MaskOp::AndNot, _, Some(true)) | (MaskOp::AndNot, Some(false), _) => return truth(false),
        (MaskOp::AndNot, Some(true), _) => return complement(rhs),
        (MaskOp::Xor, Some(false), _) => return Becomes::Val(rhs),
        (MaskOp::Xor, _, Some(false)) => return Becomes::Val(lhs),
        (MaskOp::Xor, Some(true), _) => return complement(rhs),
        (MaskOp::Xor, _, Some(true)) => return complement(lhs),
        (_, None, None) => {}
    }
    if lhs == rhs {
        return match op {
            MaskOp::And | MaskOp::Or => Becomes::Val(lhs),
            MaskOp::AndNot | MaskOp::Xor => truth(false),
        };
    }
    let opposites =
        *made.inst(lhs) == Inst::Not { arg: rhs } || *made.inst(rhs) == Inst::Not { arg: lhs };
    match op {
        MaskOp::And if opposites => truth(false),
        MaskOp::Or | MaskOp::Xor if opposites => truth(true),
        MaskOp::AndNot if opposites => Becomes::Val(lhs),
        _ => Becomes::Inst(Inst::Mask { op, lhs, rhs }),
    }
}

fn not(arg: Val, made: &Made<'_>) -> Becomes {
    match *made.inst(arg) {
        Inst::Not { arg } => Becomes::Val(arg),
        Inst::Compare {
            op,
            order,
            lhs,
            rhs,
        } => opposite(op, order, made.ty(lhs)).map_or(Becomes::Inst(Inst::Not { arg }), |op| {
            Becomes::Inst(Inst::Compare {
                op,
                order,
                lhs,
                rhs,
            })
        }),
        _ => Becomes::Inst(Inst::Not { arg }),
    }
}

/// The comparison that is true where `op` is false, if there is one: of a NaN in the IEEE order
/// all but equality are false either way.
fn opposite(op: CompareOp, order: FloatOrder, ty: Ty) -> Option<CompareOp> {
    let partial = ty.is_float() && order == FloatOrder::Ieee;
    match op {
        CompareOp::Eq => Some(CompareOp::Ne),
        CompareOp::Ne => Some(CompareOp::Eq),
        _ if partial => None,
        CompareOp::Lt => Some(CompareOp::Ge),
        CompareOp::Le => Some(CompareOp::Gt),
        CompareOp::Gt => Some(CompareOp::Le),
        CompareOp::Ge => Some(CompareOp::Lt),
    }
}

/// Masks that are always true need not be told.
fn drop_true_masks(program: &mut Program) -> bool {
    let is_true = |val: Val| {
        let value = Imm::mask(true);
        program.insts[val.index()] == Inst::Const { value }
    };
    let keep = program
        .keep
        .filter(|&keep| program.emit_mask || !is_true(keep));
    let mut changed = keep != program.keep;
    let valids: Vec<Option<Val>> = program
        .outputs
        .iter()
        .map(|output| output.valid.filter(|&valid| !is_true(valid)))
        .collect();
    program.keep = keep;
    for (output, valid) in program.outputs.iter_mut().zip(valids) {
        changed |= output.valid != valid;
        output.valid = valid;
    }
    changed
}

fn known(val: Val, made: &Made<'_>) -> Option<bool> {
    made.constant(val)
        .filter(|value| value.ty() == Ty::Mask)
        .map(Imm::as_mask)
}

fn integer(val: Val, made: &Made<'_>) -> Option<i128> {
    made.constant(val)
        .filter(|value| value.ty().is_integer())
        .map(Imm::as_integer)
}

fn truth(value: bool) -> Becomes {
    let value = Imm::mask(value);
    Becomes::Inst(Inst::Const { value })
}
