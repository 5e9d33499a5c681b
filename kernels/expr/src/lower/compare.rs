//! Comparisons, distinctness and membership.

use std::cmp::Ordering;

use unlade_program::{BinaryOp, CompareOp, FloatOrder, Imm, Inst, Ty, Val};

use super::bounds::Bound;
use super::builder::{Builder, FALSE, TRUE};
use super::logic::{Scope, Truth};
use super::{Lowering, Value, ty_of};
use crate::error::ExprError;
use crate::literal::Literal;
use crate::narrow;
use crate::typed::Typed;

/// The longest `IN` list that is compared literal by literal. A longer one is a sorted set, whose
/// length is no part of the program.
const SHORT_LIST: usize = 8;

/// Two operands in the narrowest type that serves.
struct Operands {
    ty: Ty,
    lhs: Value,
    rhs: Value,
    /// How the operands compare on every row, where that is known from their types.
    ordering: Option<Ordering>,
}

impl Lowering<'_> {
    /// One of the six comparisons.
    pub(super) fn comparison(
        &mut self,
        op: CompareOp,
        order: FloatOrder,
        lhs: &Typed,
        rhs: &Typed,
        scope: &Scope,
    ) -> Result<Truth, ExprError> {
        let operands = self.operands(lhs, rhs, scope)?;
        let Operands { ty, lhs, rhs, .. } = operands;
        let valid = self.builder.and(lhs.valid, rhs.valid);
        let bound = |op, arg: Value, limit: Value| {
            Truth::Bound(Bound {
                op,
                ty,
                arg: arg.value,
                limit: limit.value,
                valid,
            })
        };
        if operands.ordering.is_none()
            && ty.is_integer()
            && !matches!(op, CompareOp::Eq | CompareOp::Ne)
        {
            match (self.builder.known(lhs.value), self.builder.known(rhs.value)) {
                (None, Some(_)) => return Ok(bound(op, lhs, rhs)),
                (Some(_), None) => return Ok(bound(mirrored(op), rhs, lhs)),
                _ => {}
            }
        }
        let value = self.compared(op, order, &operands);
        Ok(Truth::Known(Value { value, valid }))
    }

    /// `IS [NOT] DISTINCT FROM`.
    pub(super) fn distinct(
        &mut self,
        negated: bool,
        order: FloatOrder,
        lhs: &Typed,
        rhs: &Typed,
        scope: &Scope,
    ) -> Result<Truth, ExprError> {
        let operands = self.operands(lhs, rhs, scope)?;
        let (lhs, rhs) = (operands.lhs.valid, operands.rhs.valid);
        let both = self.builder.and(lhs, rhs);
        let distinct = if both != TRUE && (lhs == TRUE || rhs == TRUE) {
            let equal = self.compared(CompareOp::Eq, order, &operands);
            let same = self.builder.and(equal, both);
            self.builder.not(same)
        } else {
            let differ = self.compared(CompareOp::Ne, order, &operands);
            let differ = self.builder.and(differ, both);
            let one_null = self.builder.xor(lhs, rhs);
            self.builder.or(differ, one_null)
        };
        let value = match negated {
            true => self.builder.not(distinct),
            false => distinct,
        };
        Ok(Truth::of(value))
    }

    /// `arg IN (list)`.
    pub(super) fn member(
        &mut self,
        order: FloatOrder,
        arg: &Typed,
        list: &[Literal],
        scope: &Scope,
    ) -> Result<Truth, ExprError> {
        let arg = narrow::unwidened(arg);
        let ty = ty_of(arg)?;
        let arg = self.value(arg, scope)?;
        let listed = list.iter().filter_map(|literal| literal.value);
        // What the narrow type does not hold, no row equals.
        let listed: Vec<Imm> = match ty.is_integer() {
            true => listed
                .filter_map(|value| narrow::converted(value.as_integer(), ty).ok())
                .collect(),
            false => listed.collect(),
        };
        let is_set = listed.len() > SHORT_LIST && ty != Ty::Mask;
        let found = if is_set && self.builder.known(arg.value).is_none() {
            self.in_set(ty, order, arg.value, listed)
        } else {
            let mut found = FALSE;
            for value in listed {
                let value = self.builder.literal(value);
                let equal = self
                    .builder
                    .compare(ty, CompareOp::Eq, order, arg.value, value);
                found = self.builder.or(found, equal);
            }
            found
        };
        let has_null = list.iter().any(|literal| literal.value.is_none());
        Ok(match has_null {
            // Never false: no match may be one with the null.
            true => Truth::Split {
                is_true: self.builder.and(arg.valid, found),
                is_false: FALSE,
            },
            false => Truth::Known(Value {
                value: found,
                valid: arg.valid,
            }),
        })
    }

    /// Membership of a long list. Sets know floats by their bits, which is what total order does.
    /// The other orders see one zero, which adding +0 makes of two; and one NaN or none, where the
    /// sum is the canonical one.
    fn in_set(&mut self, ty: Ty, order: FloatOrder, arg: Val, mut listed: Vec<Imm>) -> Val {
        if !ty.is_float() || order == FloatOrder::Total {
            let set = self.builder.set(ty, sorted_bytes(ty, listed));
            return self.builder.push(Inst::InSet { set, arg });
        }
        let zero = self.builder.constant(Imm::zero(ty));
        let canonical = |builder: &mut Builder, lhs| {
            let (op, rhs) = (BinaryOp::Add, zero);
            builder.push(Inst::Binary { op, lhs, rhs })
        };
        listed.retain(|value| order == FloatOrder::Spark || !is_nan(*value));
        for value in &mut listed {
            let literal = self.builder.literal(*value);
            let sum = canonical(&mut self.builder, literal);
            *value = self.builder.known(sum).unwrap_or(*value);
        }
        let arg = canonical(&mut self.builder, arg);
        let set = self.builder.set(ty, sorted_bytes(ty, listed));
        self.builder.push(Inst::InSet { set, arg })
    }

    fn compared(&mut self, op: CompareOp, order: FloatOrder, operands: &Operands) -> Val {
        let Operands { ty, lhs, rhs, .. } = operands;
        match operands.ordering {
            Some(ordering) if holds(op, ordering) => TRUE,
            Some(_) => FALSE,
            None => self.builder.compare(*ty, op, order, lhs.value, rhs.value),
        }
    }

    /// Lowers two operands of one type, looking through casts that widen integers.
    fn operands(&mut self, lhs: &Typed, rhs: &Typed, scope: &Scope) -> Result<Operands, ExprError> {
        let widened = ty_of(lhs)?;
        let (lhs, rhs) = (narrow::unwidened(lhs), narrow::unwidened(rhs));
        if let Some((lhs, limit)) = narrow::unshifted(lhs, rhs) {
            return self.with_limit(lhs, limit, scope);
        }
        if let Some((rhs, limit)) = narrow::unshifted(rhs, lhs) {
            return Ok(self.with_limit(rhs, limit, scope)?.exchanged());
        }
        let (left, right) = (ty_of(lhs)?, ty_of(rhs)?);
        let (mut lhs, mut rhs) = (self.value(lhs, scope)?, self.value(rhs, scope)?);
        let mut ordering = None;
        let known = (self.builder.known(lhs.value), self.builder.known(rhs.value));
        let ty = match known {
            _ if left == right => left,
            (None, Some(value)) => {
                match narrow::converted(value.as_integer(), left) {
                    Ok(value) => rhs.value = self.builder.literal(value),
                    Err(side) => ordering = Some(side.reverse()),
                }
                left
            }
            (Some(value), None) => {
                match narrow::converted(value.as_integer(), right) {
                    Ok(value) => lhs.value = self.builder.literal(value),
                    Err(side) => ordering = Some(side),
                }
                right
            }
            _ => {
                let ty = narrow::common(left, right, widened);
                lhs.value = self.wrapped(lhs.value, left, ty);
                rhs.value = self.wrapped(rhs.value, right, ty);
                ty
            }
        };
        Ok(Operands {
            ty,
            lhs,
            rhs,
            ordering,
        })
    }

    /// An integer and the literal that it is compared with.
    fn with_limit(
        &mut self,
        arg: &Typed,
        limit: i128,
        scope: &Scope,
    ) -> Result<Operands, ExprError> {
        let ty = ty_of(arg)?;
        let lhs = self.value(arg, scope)?;
        let (limit, ordering) = match narrow::converted(limit, ty) {
            Ok(limit) => (limit, None),
            Err(side) => (Imm::zero(ty), Some(side.reverse())),
        };
        let rhs = Value {
            value: self.builder.literal(limit),
            valid: TRUE,
        };
        Ok(Operands {
            ty,
            lhs,
            rhs,
            ordering,
        })
    }
}

impl Operands {
    fn exchanged(self) -> Self {
        Operands {
            ty: self.ty,
            lhs: self.rhs,
            rhs: self.lhs,
            ordering: self.ordering.map(Ordering::reverse),
        }
    }
}

/// Whether a comparison is true of operands in this order.
fn holds(op: CompareOp, ordering: Ordering) -> bool {
    match op {
        CompareOp::Eq => ordering.is_eq(),
        CompareOp::Ne => ordering.is_ne(),
        CompareOp::Lt => ordering.is_lt(),
        CompareOp::Le => ordering.is_le(),
        CompareOp::Gt => ordering.is_gt(),
        CompareOp::Ge => ordering.is_ge(),
    }
}

/// The comparison with its operands exchanged.
fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Eq => CompareOp::Eq,
        CompareOp::Ne => CompareOp::Ne,
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Ge => CompareOp::Le,
    }
}

fn is_nan(value: Imm) -> bool {
    match value.ty() {
        Ty::F32 => value.as_f32().is_nan(),
        Ty::F64 => value.as_f64().is_nan(),
        _ => false,
    }
}

/// Ascending entries without duplicates, as little-endian bytes of the type.
fn sorted_bytes(ty: Ty, mut entries: Vec<Imm>) -> Vec<u8> {
    entries.sort_unstable_by_key(|entry| entry.bits());
    entries.dedup();
    let width = (ty.bits() / 8) as usize;
    let mut bytes = Vec::with_capacity(width * entries.len());
    for entry in entries {
        bytes.extend_from_slice(&entry.to_le_bytes()[..width]);
    }
    bytes
}
