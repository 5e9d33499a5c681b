//! Three-valued truth without branches, and which rows an operand is evaluated on.
//!
//! A boolean has two masks: the rows on which it is true and those on which it is false; on the
//! rest it is null. Conjunction and disjunction are one operation on each, complement swaps them.
//! A filter needs only the first, so [`Truth`] is a small tree from which a mask is made when it
//! is asked for.

use std::cell::Cell;

use unlade_program::{Ty, Val};

use super::bounds::{self, Bound};
use super::builder::{Builder, FALSE, TRUE};
use super::{Lowering, Value, ty_of};
use crate::error::ExprError;
use crate::physical::physical_type;
use crate::typed::{IsTest, Node, Typed};

/// A boolean of three values, of which masks are made on demand.
#[derive(Debug)]
pub(super) enum Truth {
    /// A value and where it is valid.
    Known(Value),
    /// The rows on which it is true and those on which it is false.
    Split { is_true: Val, is_false: Val },
    /// A comparison of an integer with a literal, which may still merge with others.
    Bound(Bound),
    /// True where every operand is, false where any is.
    All(Vec<Truth>),
    /// True where any operand is, false where every one is.
    Any(Vec<Truth>),
    /// The complement.
    Not(Box<Truth>),
}

impl Truth {
    /// A boolean that is never null.
    pub(super) fn of(value: Val) -> Self {
        Truth::Known(Value { value, valid: TRUE })
    }

    /// The rows on which this is true.
    pub(super) fn is_true(&self, builder: &mut Builder) -> Val {
        match self {
            Truth::Known(_) | Truth::Bound(_) => {
                let Value { value, valid } = self.value(builder);
                builder.and(value, valid)
            }
            Truth::Split { is_true, .. } => *is_true,
            Truth::All(args) => every(args, true, builder),
            Truth::Any(args) => args.iter().fold(FALSE, |any, arg| {
                let next = arg.is_true(builder);
                builder.or(any, next)
            }),
            Truth::Not(arg) => arg.is_false(builder),
        }
    }

    /// The rows on which this is false.
    pub(super) fn is_false(&self, builder: &mut Builder) -> Val {
        match self {
            Truth::Known(_) | Truth::Bound(_) => {
                let Value { value, valid } = self.value(builder);
                builder.and_not(valid, value)
            }
            Truth::Split { is_false, .. } => *is_false,
            Truth::All(args) => args.iter().fold(FALSE, |any, arg| {
                let next = arg.is_false(builder);
                builder.or(any, next)
            }),
            Truth::Any(args) => every(args, false, builder),
            Truth::Not(arg) => arg.is_true(builder),
        }
    }

    /// The boolean as a value and where that is valid.
    pub(super) fn value(&self, builder: &mut Builder) -> Value {
        match self {
            Truth::Known(value) => *value,
            Truth::Bound(bound) => bound.value(builder),
            Truth::Not(arg) if matches!(**arg, Truth::Known(_)) => {
                let Value { value, valid } = arg.value(builder);
                Value {
                    value: builder.not(value),
                    valid,
                }
            }
            _ if self.is_never_null() => Value {
                value: self.is_true(builder),
                valid: TRUE,
            },
            _ => {
                let value = self.is_true(builder);
                let unmet = self.is_false(builder);
                Value {
                    value,
                    valid: builder.or(value, unmet),
                }
            }
        }
    }

    fn is_never_null(&self) -> bool {
        match self {
            Truth::Known(Value { valid, .. }) | Truth::Bound(Bound { valid, .. }) => *valid == TRUE,
            Truth::Split { .. } => false,
            Truth::All(args) | Truth::Any(args) => args.iter().all(Truth::is_never_null),
            Truth::Not(arg) => arg.is_never_null(),
        }
    }

    /// The complement.
    pub(super) fn complement(self) -> Truth {
        match self {
            Truth::Not(arg) => *arg,
            Truth::Bound(bound) => Truth::Bound(bound.complement()),
            other => Truth::Not(Box::new(other)),
        }
    }
}

/// The rows on which every operand is true, or every operand is false. A validity that several
/// operands share is asked for once.
fn every(args: &[Truth], wanted: bool, builder: &mut Builder) -> Val {
    let mut all = TRUE;
    let mut applied = Vec::new();
    for arg in args {
        if !matches!(arg, Truth::Known(_) | Truth::Bound(_)) {
            let met = match wanted {
                true => arg.is_true(builder),
                false => arg.is_false(builder),
            };
            all = builder.and(all, met);
            continue;
        }
        let Value { value, valid } = arg.value(builder);
        if !applied.contains(&valid) {
            applied.push(valid);
            all = builder.and(all, valid);
        }
        all = match wanted {
            true => builder.and(all, value),
            false => builder.and_not(all, value),
        };
    }
    all
}

/// The rows on which an expression is evaluated: those of the enclosing scope that are not decided
/// yet. Its mask is made only if something inside can fail.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    rows: Rows<'a>,
    mask: Cell<Option<Val>>,
}

#[derive(Debug)]
enum Rows<'a> {
    Of(Val),
    /// The rows that operands before have left open.
    Open(&'a Open, &'a [Truth]),
}

/// What the operands of one operation leave open to the next, so far. An operand adds to it what
/// those before it have decided since; so a long list takes one step for each.
#[derive(Debug)]
struct Open {
    decides: Decides,
    /// How many operands are in the mask.
    operands: Cell<usize>,
    mask: Cell<Option<Val>>,
}

/// What of an operand settles a row.
#[derive(Clone, Copy, Debug)]
enum Decides {
    True,
    False,
}

impl Open {
    fn until(decides: Decides) -> Self {
        Open {
            decides,
            operands: Cell::new(0),
            mask: Cell::new(None),
        }
    }

    fn mask(&self, outer: Val, operands: &[Truth], builder: &mut Builder) -> Val {
        let mut mask = self.mask.get().unwrap_or(outer);
        for operand in &operands[self.operands.get()..] {
            let decided = match self.decides {
                Decides::True => operand.is_true(builder),
                Decides::False => operand.is_false(builder),
            };
            mask = builder.and_not(mask, decided);
        }
        self.operands.set(operands.len());
        self.mask.set(Some(mask));
        mask
    }
}

impl<'a> Scope<'a> {
    /// All rows.
    pub(super) fn everywhere() -> Self {
        Scope {
            outer: None,
            rows: Rows::Of(TRUE),
            mask: Cell::new(Some(TRUE)),
        }
    }

    /// The rows of a mask.
    pub(super) fn only(&'a self, mask: Val) -> Self {
        self.narrowed(Rows::Of(mask))
    }

    fn narrowed(&'a self, rows: Rows<'a>) -> Self {
        Scope {
            outer: Some(self),
            rows,
            mask: Cell::new(None),
        }
    }

    /// The mask of the rows.
    pub(super) fn mask(&self, builder: &mut Builder) -> Val {
        if let Some(mask) = self.mask.get() {
            return mask;
        }
        let outer = self.outer.map_or(TRUE, |outer| outer.mask(builder));
        let mask = match self.rows {
            Rows::Of(rows) => builder.and(outer, rows),
            Rows::Open(open, operands) => open.mask(outer, operands, builder),
        };
        self.mask.set(Some(mask));
        mask
    }
}

impl Lowering<'_> {
    /// Kleene conjunction, bounds on one operand merged.
    pub(super) fn all(&mut self, args: &[Typed], scope: &Scope) -> Result<Truth, ExprError> {
        let operands = self.operands_until(Decides::False, args, scope)?;
        let mut merged = bounds::merge(&mut self.builder, operands);
        Ok(match merged.len() {
            1 => merged.remove(0),
            _ => Truth::All(merged),
        })
    }

    /// Kleene disjunction.
    pub(super) fn any(&mut self, args: &[Typed], scope: &Scope) -> Result<Truth, ExprError> {
        let operands = self.operands_until(Decides::True, args, scope)?;
        Ok(Truth::Any(operands))
    }

    fn operands_until(
        &mut self,
        decides: Decides,
        args: &[Typed],
        scope: &Scope,
    ) -> Result<Vec<Truth>, ExprError> {
        let open = Open::until(decides);
        let mut operands = Vec::with_capacity(args.len());
        for arg in args {
            let rows = scope.narrowed(Rows::Open(&open, &operands));
            let operand = self.truth(arg, &rows)?;
            operands.push(operand);
        }
        Ok(operands)
    }

    /// `IS [NOT] NULL | TRUE | FALSE`.
    pub(super) fn is(
        &mut self,
        test: IsTest,
        negated: bool,
        arg: &Typed,
        scope: &Scope,
    ) -> Result<Truth, ExprError> {
        let met = match test {
            IsTest::Null => {
                let valid = match arg.node {
                    Node::Column(column) if physical_type(&arg.data_type).is_none() => {
                        self.validity_alone(column, arg.nullable)
                    }
                    _ => self.value(arg, scope)?.valid,
                };
                self.builder.not(valid)
            }
            IsTest::True => self.truth(arg, scope)?.is_true(&mut self.builder),
            IsTest::False => self.truth(arg, scope)?.is_false(&mut self.builder),
        };
        let value = if negated { self.builder.not(met) } else { met };
        Ok(Truth::of(value))
    }

    /// The first branch whose condition is true.
    pub(super) fn case(
        &mut self,
        tree: &Typed,
        branches: &[(Typed, Typed)],
        otherwise: Option<&Typed>,
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        let ty = ty_of(tree)?;
        let open = Open::until(Decides::True);
        let mut conditions = Vec::with_capacity(branches.len());
        let mut values = Vec::with_capacity(branches.len());
        for (condition, value) in branches {
            let rows = scope.narrowed(Rows::Open(&open, &conditions));
            let met = self.truth(condition, &rows)?.is_true(&mut self.builder);
            let value = self.value(value, &rows.only(met))?;
            values.push((met, value));
            conditions.push(Truth::of(met));
        }
        let mut result = match otherwise {
            Some(otherwise) => {
                let rows = scope.narrowed(Rows::Open(&open, &conditions));
                self.value(otherwise, &rows)?
            }
            None => self.null(ty),
        };
        for (met, value) in values.into_iter().rev() {
            result = self.choose(ty, met, value, result);
        }
        Ok(result)
    }

    /// The first operand that is valid.
    pub(super) fn coalesce(
        &mut self,
        tree: &Typed,
        args: &[Typed],
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        let ty = ty_of(tree)?;
        let open = Open::until(Decides::True);
        let mut given = Vec::with_capacity(args.len());
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let rows = scope.narrowed(Rows::Open(&open, &given));
            let value = self.value(arg, &rows)?;
            values.push(value);
            given.push(Truth::of(value.valid));
        }
        let mut result = self.null(ty);
        for value in values.into_iter().rev() {
            result = self.choose(ty, value.valid, value, result);
        }
        Ok(result)
    }

    /// `then` where a mask is set, else `other`. The bits of a null mean nothing, so where one
    /// side is never valid the other's serve for both.
    pub(super) fn choose(&mut self, ty: Ty, mask: Val, then: Value, other: Value) -> Value {
        let value = match (then.valid, other.valid) {
            (FALSE, _) => other.value,
            (_, FALSE) => then.value,
            _ => self.builder.select(ty, mask, then.value, other.value),
        };
        let valid = self.builder.select(Ty::Mask, mask, then.valid, other.valid);
        Value { value, valid }
    }
}
