//! Lowers a checked query to a program.
//!
//! Every value of the tree becomes a value of the program and a mask of the rows on which it is
//! valid. There are no branches: what `AND`, `OR`, `CASE`, `COALESCE` and the filter leave
//! unevaluated is the complement of a [`Scope`], and an operation that can fail traps only on rows
//! of its scope whose operands are valid.
//!
//! - [`builder`] makes instructions, folds those of literals and shares equal ones;
//! - [`logic`] has three-valued truth and scopes, [`bounds`] merges what an `AND` asks of one
//!   integer;
//! - [`arith`], [`compare`] and [`cast`] are the operations, [`dictionary`] evaluates them once
//!   per dictionary where it can;
//! - [`payload`] has the columns that pass through, [`sweep`] drops what turned out useless.

mod arith;
mod bounds;
mod builder;
mod cast;
mod compare;
mod dictionary;
mod logic;
mod payload;
mod sweep;
#[cfg(test)]
mod tests;

use arrow_schema::Schema;
use unlade_program::{
    CastRule, Column, CompareOp, FloatOrder, Imm, Inst, Output, TrapCode, Ty, Val,
};

use self::builder::{Builder, FALSE, TRUE};
use self::dictionary::{Reading, Reads, Stage};
use self::logic::{Scope, Truth};
use crate::error::{ExprError, ExprErrorKind};
use crate::lowered::{Destination, Lowered, Payload, StringsPayload};
use crate::physical::physical_type;
use crate::semantics::OnError;
use crate::typed::{Checked, Node, OutputColumn, Typed};

/// Lowers a query to a program and the sources of its arguments.
///
/// ```
/// use std::sync::Arc;
/// use arrow_schema::{DataType, Field, Schema};
/// use unlade_expr::{Payload, Query, Semantics, check, lower, parse_expr};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true)]));
/// let query = Query::mask(parse_expr("cast(a as bigint) > 1")?);
/// let lowered = lower(&check(&query, &schema, &Semantics::arrow())?, Payload::Late)?;
/// // The literal is a parameter, and the cast is gone.
/// assert_eq!(
///     lowered.program.to_string(),
///     "columns c0: i32?\n\
///      params p0: i32\n\
///      %0 = load c0\n\
///      %1 = valid c0\n\
///      %2 = param p0\n\
///      %3 = cmp.gt %0, %2\n\
///      %4 = and %1, %3\n\
///      keep %4\n\
///      emit mask\n"
/// );
/// assert_eq!(lowered.params[0].as_integer(), 1);
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
///
/// The program has the same shape for all values of its literals, with these exceptions: a literal
/// that a narrower column cannot hold decides its comparison; one that overflows a widened column's
/// sum or product, or cannot, decides whether that is checked; two bounds of one kind, of which one
/// excludes a type's last value, are never met; literal divisors 0 and -1 are checked; booleans
/// and nulls are part of the program; an `IN` list is a set from nine members on; and
/// an operation that is written twice over the same column with equal literals is computed once.
///
/// # Errors
/// Where the query exceeds a limit of programs, or holds what the check does not admit.
pub fn lower(checked: &Checked, payload: Payload) -> Result<Lowered, ExprError> {
    let mut lowering = Lowering {
        input: &checked.input,
        builder: Builder::new(),
        failures: Failures::Trap,
        reads: dictionary::analyse(checked),
        reading: Reading::Keys,
        stages: Vec::new(),
    };
    let everywhere = Scope::everywhere();
    let keep = match &checked.filter {
        None => TRUE,
        Some(filter) => {
            let truth = lowering.truth(filter, &everywhere)?;
            truth.is_true(&mut lowering.builder)
        }
    };
    let kept = everywhere.only(keep);

    let mut outputs = Vec::with_capacity(checked.columns.len());
    let mut destinations = Vec::with_capacity(checked.columns.len());
    let mut strings: Vec<StringsPayload> = Vec::new();
    let mut emit_mask = checked.emit_mask;
    for column in &checked.columns {
        let position = outputs.len();
        let (value, destination) = match column {
            OutputColumn::Computed(tree) => (
                lowering.value(tree, &kept)?,
                Destination::Program { output: position },
            ),
            OutputColumn::Payload(column) => {
                let builder = &mut lowering.builder;
                match payload::place(builder, checked, *column, payload, keep) {
                    Ok(value) => (value, payload::destination(checked, *column, position)),
                    Err(destination) => {
                        emit_mask |= keep != TRUE;
                        destinations.push(destination);
                        let asked = payload == Payload::FusedWithStrings && keep != TRUE;
                        let known = || strings.iter().any(|known| known.column == *column);
                        if asked && payload::is_strings(checked, *column) && !known() {
                            let validity = lowering.output_of_validity(*column, &mut outputs);
                            strings.push(StringsPayload {
                                column: *column,
                                validity,
                            });
                        }
                        continue;
                    }
                }
            }
        };
        destinations.push(destination);
        outputs.push(Output {
            value: value.value,
            valid: Some(value.valid),
        });
    }

    let keep = (keep != TRUE || emit_mask).then_some(keep);
    let mut built = sweep::sweep(lowering.builder.finish(keep, emit_mask, &outputs)?)?;
    let stages = dictionary::finish(lowering.stages, &mut built.tables)?;
    Ok(Lowered {
        program: built.program,
        columns: built.columns,
        params: built.params,
        tables: built.tables,
        sets: built.sets,
        stages,
        outputs: destinations,
        strings,
    })
}

/// A value of the tree: bits that mean something on the rows where it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    value: Val,
    valid: Val,
}

/// What becomes of a row on which an operation fails and the query says to trap.
#[derive(Debug)]
enum Failures {
    /// The execution ends.
    Trap,
    /// The enclosing `TRY` is null: the mask of rows that failed so far.
    Null(Val),
    /// Whoever looks a dictionary's value up decides: each failure with the mask of its values.
    Collect(Vec<(Failure, Val)>),
}

/// A query on its way to a program.
#[derive(Debug)]
struct Lowering<'q> {
    input: &'q Schema,
    builder: Builder,
    failures: Failures,
    /// What each node reads, by ordinal.
    reads: Vec<Reads>,
    reading: Reading,
    stages: Vec<Stage<'q>>,
}

impl Lowering<'_> {
    /// Lowers a tree of any type.
    fn value(&mut self, tree: &Typed, scope: &Scope) -> Result<Value, ExprError> {
        if let Some(column) = self.staged(tree) {
            return self.stage_value(tree, column, scope);
        }
        match &tree.node {
            Node::Column(column) => Ok(self.column(*column, ty_of(tree)?)),
            Node::Literal(literal) => Ok(match literal.value {
                Some(imm) => Value {
                    value: self.builder.literal(imm),
                    valid: TRUE,
                },
                None => self.null(ty_of(tree)?),
            }),
            Node::Decode(arg) => self.decode(tree, arg, scope),
            Node::Arithmetic { .. } => self.arithmetic(tree, scope),
            Node::Negate { overflow, arg } => self.negate(tree, *overflow, arg, scope),
            Node::Abs { overflow, arg } => self.abs(tree, *overflow, arg, scope),
            Node::Cast { .. } => self.cast(tree, scope),
            Node::Case {
                branches,
                otherwise,
            } => self.case(tree, branches, otherwise.as_deref(), scope),
            Node::Coalesce(args) => self.coalesce(tree, args, scope),
            Node::Try(arg) => self.attempt(arg),
            Node::Compare { .. }
            | Node::Distinct { .. }
            | Node::And(_)
            | Node::Or(_)
            | Node::Not(_)
            | Node::Is { .. }
            | Node::In { .. } => {
                let truth = self.truth(tree, scope)?;
                Ok(truth.value(&mut self.builder))
            }
        }
    }

    /// Lowers a tree of type `Boolean` without deciding yet which of its masks are needed.
    fn truth(&mut self, tree: &Typed, scope: &Scope) -> Result<Truth, ExprError> {
        if let Some(column) = self.staged(tree) {
            return self.stage_truth(tree, column, scope);
        }
        match &tree.node {
            Node::Compare {
                op,
                order,
                lhs,
                rhs,
            } => self.comparison(*op, *order, lhs, rhs, scope),
            Node::Distinct {
                negated,
                order,
                lhs,
                rhs,
            } => self.distinct(*negated, *order, lhs, rhs, scope),
            Node::In { order, arg, list } => self.member(*order, arg, list, scope),
            Node::And(args) => self.all(args, scope),
            Node::Or(args) => self.any(args, scope),
            Node::Not(arg) => Ok(self.truth(arg, scope)?.complement()),
            Node::Is { test, negated, arg } => self.is(*test, *negated, arg, scope),
            _ => Ok(Truth::Known(self.value(tree, scope)?)),
        }
    }

    /// A batch column, or the keys of a dictionary-encoded one, as `ty`.
    fn column(&mut self, source: usize, ty: Ty) -> Value {
        let column = Column {
            ty,
            nullable: self.input.field(source).is_nullable(),
        };
        Value {
            value: self.builder.load(source, column),
            valid: self.builder.validity(source, column),
        }
    }

    /// Which rows of a batch column are not null, of a column whose values programs do not know:
    /// it enters the program as its validity and nothing else.
    fn validity_alone(&mut self, source: usize, nullable: bool) -> Val {
        let bits = Column {
            ty: Ty::Mask,
            nullable: false,
        };
        match nullable {
            true => self.builder.load(source, bits),
            false => TRUE,
        }
    }

    /// Puts out which rows of a batch column are not null, and says where; `None` where all are.
    fn output_of_validity(&mut self, source: usize, outputs: &mut Vec<Output>) -> Option<usize> {
        let nullable = self.input.field(source).is_nullable();
        nullable.then(|| {
            outputs.push(Output {
                value: self.validity_alone(source, nullable),
                valid: None,
            });
            outputs.len() - 1
        })
    }

    fn null(&mut self, ty: Ty) -> Value {
        Value {
            value: self.builder.constant(Imm::zero(ty)),
            valid: FALSE,
        }
    }

    /// `TRY`: null where anything inside would trap. Rows outside of the scope are nobody's, so
    /// that inside every row counts.
    fn attempt(&mut self, arg: &Typed) -> Result<Value, ExprError> {
        let outer = std::mem::replace(&mut self.failures, Failures::Null(FALSE));
        let value = self.value(arg, &Scope::everywhere());
        let inner = std::mem::replace(&mut self.failures, outer);
        let Failures::Null(failed) = inner else {
            unreachable!("what lowers a tree puts back the failures it found");
        };
        let value = value?;
        Ok(Value {
            valid: self.builder.and_not(value.valid, failed),
            ..value
        })
    }

    /// Does to a value what the mode says, on rows where its operation fails.
    fn settle(
        &mut self,
        on_error: OnError,
        value: Value,
        fails: Val,
        failure: Failure,
        scope: &Scope,
    ) -> Value {
        match on_error {
            OnError::Wrap => value,
            OnError::Null => Value {
                valid: self.builder.and_not(value.valid, fails),
                ..value
            },
            OnError::Trap => {
                self.fail(fails, value.valid, failure, scope);
                value
            }
        }
    }

    /// Makes rows of the scope fail where an operation does and its operands are valid.
    fn fail(&mut self, fails: Val, valid: Val, failure: Failure, scope: &Scope) {
        if fails == FALSE {
            return;
        }
        let valid = self.builder.and(fails, valid);
        let active = scope.mask(&mut self.builder);
        let when = self.builder.and(valid, active);
        match &mut self.failures {
            Failures::Trap => self.builder.trap(when, failure.code, failure.ordinal),
            Failures::Null(failed) => *failed = self.builder.or(*failed, when),
            Failures::Collect(failures) if when != FALSE => failures.push((failure, when)),
            Failures::Collect(_) => {}
        }
    }

    /// Whether a number is zero, of either sign.
    fn is_zero(&mut self, ty: Ty, value: Val) -> Val {
        let zero = self.builder.constant(Imm::zero(ty));
        self.builder
            .compare(ty, CompareOp::Eq, FloatOrder::Ieee, value, zero)
    }

    /// A cast that wraps, or nothing where the types are the same.
    fn wrapped(&mut self, arg: Val, from: Ty, to: Ty) -> Val {
        if from == to {
            return arg;
        }
        let rule = CastRule::Wrap;
        self.builder.push(Inst::Cast { rule, arg, to })
    }
}

/// Why an operation fails, and where in the query.
#[derive(Clone, Copy, Debug)]
struct Failure {
    code: TrapCode,
    ordinal: u32,
}

fn ty_of(tree: &Typed) -> Result<Ty, ExprError> {
    physical_type(&tree.data_type).ok_or_else(|| {
        let what = format!("a value of type {}", tree.data_type);
        unsupported(tree, &what)
    })
}

fn unsupported(tree: &Typed, what: &str) -> ExprError {
    ExprError::new(
        ExprErrorKind::Unsupported,
        format!("expressions cannot compute with {what}"),
    )
    .at(tree.span)
}
