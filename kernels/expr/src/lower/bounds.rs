//! Merges what an `AND` asks of one integer: several bounds of one kind become the tightest, a
//! lower and an upper bound become one [`Inst::Range`].
//!
//! Which instructions come out depends on the comparisons alone, not on the literals, with one
//! exception: two lower (upper) bounds of which one excludes the type's greatest (least) value are
//! the constant false.

use std::collections::BTreeMap;

use unlade_program::{CompareOp, FloatOrder, Imm, Inst, Ty, Val};

use super::Value;
use super::builder::{Builder, FALSE};
use super::logic::Truth;

/// `arg op limit`, where `arg` is an integer, `limit` a scalar and `op` none of `=` and `<>`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) op: CompareOp,
    pub(super) ty: Ty,
    pub(super) arg: Val,
    pub(super) limit: Val,
    /// Where `arg` is valid.
    pub(super) valid: Val,
}

impl Bound {
    /// The comparison itself.
    pub(super) fn value(&self, builder: &mut Builder) -> Value {
        let order = FloatOrder::Ieee;
        Value {
            value: builder.compare(self.ty, self.op, order, self.arg, self.limit),
            valid: self.valid,
        }
    }

    /// The bound that holds where this one does not, on rows where `arg` is valid.
    pub(super) fn complement(self) -> Bound {
        let op = match self.op {
            CompareOp::Eq => CompareOp::Ne,
            CompareOp::Ne => CompareOp::Eq,
            CompareOp::Lt => CompareOp::Ge,
            CompareOp::Le => CompareOp::Gt,
            CompareOp::Gt => CompareOp::Le,
            CompareOp::Ge => CompareOp::Lt,
        };
        Bound { op, ..self }
    }
}

/// The operands of an `AND` with bounds on the same integer merged. Nested `AND`s are flattened.
pub(super) fn merge(builder: &mut Builder, operands: Vec<Truth>) -> Vec<Truth> {
    let flat = flatten(operands);
    let bounds = flat.iter().filter(|each| matches!(each, Truth::Bound(_)));
    if bounds.count() < 2 {
        return flat;
    }
    // Sharing in the builder makes equal operands one value.
    let mut intervals: BTreeMap<(Val, Val), Interval> = BTreeMap::new();
    for operand in &flat {
        if let Truth::Bound(bound) = operand {
            intervals
                .entry((bound.arg, bound.valid))
                .or_default()
                .add(bound, builder);
        }
    }
    let mut merged = Vec::with_capacity(flat.len());
    for operand in flat {
        let Truth::Bound(bound) = &operand else {
            merged.push(operand);
            continue;
        };
        match intervals.get(&(bound.arg, bound.valid)) {
            // Already there, with the first bound of its operand.
            None => {}
            Some(interval) if interval.bounds == 1 => merged.push(operand),
            Some(interval) => {
                merged.push(Truth::Known(interval.value(bound, builder)));
                intervals.remove(&(bound.arg, bound.valid));
            }
        }
    }
    merged
}

fn flatten(operands: Vec<Truth>) -> Vec<Truth> {
    if !operands.iter().any(|each| matches!(each, Truth::All(_))) {
        return operands;
    }
    let mut flat = Vec::with_capacity(operands.len() + 1);
    for operand in operands {
        match operand {
            // Its own operands were flattened when it was made.
            Truth::All(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    flat
}

/// What several bounds leave of an integer's values, both ends included.
#[derive(Debug, Default)]
struct Interval {
    bounds: usize,
    low: Option<i128>,
    high: Option<i128>,
    empty: bool,
}

impl Interval {
    fn add(&mut self, bound: &Bound, builder: &Builder) {
        self.bounds += 1;
        let limit = builder
            .known(bound.limit)
            .expect("the limit of a bound is a scalar")
            .as_integer();
        let (least, greatest) = range_of(bound.ty);
        self.empty |= match bound.op {
            CompareOp::Gt => limit == greatest,
            CompareOp::Lt => limit == least,
            _ => false,
        };
        match bound.op {
            CompareOp::Gt => self.raise(limit.saturating_add(1)),
            CompareOp::Ge => self.raise(limit),
            CompareOp::Lt => self.lower(limit.saturating_sub(1)),
            CompareOp::Le => self.lower(limit),
            CompareOp::Eq | CompareOp::Ne => unreachable!("an equality is no bound"),
        }
    }

    fn raise(&mut self, low: i128) {
        self.low = Some(self.low.map_or(low, |known| known.max(low)));
    }

    fn lower(&mut self, high: i128) {
        self.high = Some(self.high.map_or(high, |known| known.min(high)));
    }

    fn value(&self, bound: &Bound, builder: &mut Builder) -> Value {
        let Bound { ty, arg, valid, .. } = *bound;
        let (least, greatest) = range_of(ty);
        let mut limit = |value: i128| {
            let imm = Imm::integer(ty, value).expect("both ends lie in the type's range");
            builder.literal(imm)
        };
        let value = match (self.low, self.high) {
            (Some(low), Some(high)) => {
                let ends = if self.empty {
                    (greatest, least)
                } else {
                    (low, high)
                };
                let (low, high) = (limit(ends.0), limit(ends.1));
                builder.push(Inst::Range { arg, low, high })
            }
            _ if self.empty => FALSE,
            (Some(low), None) => {
                let limit = limit(low);
                builder.compare(ty, CompareOp::Ge, FloatOrder::Ieee, arg, limit)
            }
            (None, high) => {
                let limit = limit(high.unwrap_or(greatest));
                builder.compare(ty, CompareOp::Le, FloatOrder::Ieee, arg, limit)
            }
        };
        Value { value, valid }
    }
}

fn range_of(ty: Ty) -> (i128, i128) {
    ty.integer_range().expect("bounds are on integers")
}
