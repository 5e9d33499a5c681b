//! Typing of each kind of expression.

use arrow_schema::DataType;
use unlade_program::{CompareOp, FloatOrder, Imm};

use super::adapt::{self, Fit};
use super::common::common;
use super::types::is_float;
use super::unify::{Purpose, misfit};
use super::{Checker, names};
use crate::display::Brief;
use crate::error::{ExprError, ExprErrorKind, Span};
use crate::limits::{MAX_IN_LIST, list_too_long, too_deep};
use crate::literal::Literal;
use crate::physical::{has_bitmap, physical_type};
use crate::tree::{BinaryOp, Expr, Kind, Value};
use crate::typed::{IsTest, Node, Typed};

/// An operand before its neighbours have had a say about its type.
pub(super) struct Operand<'q> {
    pub(super) source: &'q Expr,
    pub(super) side: Side<'q>,
}

pub(super) enum Side<'q> {
    Typed(Typed),
    /// A constant whose type depends on what stands beside it.
    Free(&'q Value),
}

impl<'q> Checker<'q> {
    /// An expression that stands alone: a constant gets its own type.
    pub(super) fn typed(&mut self, source: &'q Expr) -> Result<Typed, ExprError> {
        let operand = self.operand(source)?;
        self.settle(operand)
    }

    pub(super) fn operand(&mut self, source: &'q Expr) -> Result<Operand<'q>, ExprError> {
        let side = match &source.kind {
            Kind::Literal(Value::Typed(literal)) => Side::Typed(self.typed_literal(literal)?),
            Kind::Literal(value) => {
                self.count()?;
                Side::Free(value)
            }
            _ => {
                let mut typed = self.node(source).map_err(|error| error.at(source.span))?;
                typed.span = source.span;
                Side::Typed(typed)
            }
        };
        Ok(Operand { source, side })
    }

    /// Gives a constant that stands alone its own type.
    pub(super) fn settle(&mut self, operand: Operand<'q>) -> Result<Typed, ExprError> {
        let span = operand.source.span;
        let value = match operand.side {
            Side::Typed(typed) => return Ok(typed),
            Side::Free(value) => value,
        };
        let Some(own) = adapt::own_type(value, self.semantics.coercion) else {
            let (what, help) = match value {
                Value::Null => ("NULL has no type here", "write cast(NULL as bigint)"),
                _ => (
                    "text is not computed with yet",
                    "text stands for a date or timestamp beside one, or in a cast: date '2020-12-31'",
                ),
            };
            return Err(ExprError::new(ExprErrorKind::Type, what)
                .with_help(help)
                .at(span));
        };
        self.require_computable(&own, "a constant")
            .map_err(|error| error.at(span))?;
        match adapt::fit(value, &own) {
            Fit::Exact(imm) => Ok(constant(own, imm, span)),
            _ => Err(ExprError::new(
                ExprErrorKind::Limit,
                "the number has too many digits for any type",
            )
            .at(span)),
        }
    }

    /// A condition: Boolean, or the null.
    pub(super) fn boolean(&mut self, source: &'q Expr, what: &str) -> Result<Typed, ExprError> {
        let operand = self.operand(source)?;
        self.condition(operand, what)
    }

    fn condition(&mut self, operand: Operand<'q>, what: &str) -> Result<Typed, ExprError> {
        let source = operand.source;
        if let Side::Free(Value::Null) = operand.side {
            return Ok(constant(DataType::Boolean, None, source.span));
        }
        let typed = self.settle(operand)?;
        if typed.data_type == DataType::Boolean {
            return Ok(typed);
        }
        Err(ExprError::new(
            ExprErrorKind::Type,
            format!(
                "{what} must be Boolean; `{}` is {}",
                Brief(source),
                typed.data_type
            ),
        )
        .with_help(format!("compare it: {} <> 0", Brief(source)))
        .at(source.span))
    }

    fn node(&mut self, source: &'q Expr) -> Result<Typed, ExprError> {
        self.count()?;
        match &source.kind {
            Kind::Column { name, exact } => self.column(name, *exact, source.span),
            Kind::Literal(_) => unreachable!("literals are operands"),
            Kind::Not(arg) => self.boolean(arg, "the operand of NOT").map(not),
            Kind::Negate(arg) => self.negate(arg),
            Kind::Abs(arg) => self.abs(arg),
            Kind::Binary { op, lhs, rhs } => self.binary(*op, lhs, rhs),
            Kind::And(args) => self.conditions(args, "an operand of AND", Node::And),
            Kind::Or(args) => self.conditions(args, "an operand of OR", Node::Or),
            Kind::Is { test, negated, arg } => self.is(*test, *negated, arg),
            Kind::Between {
                negated,
                arg,
                low,
                high,
            } => self.between(*negated, arg, low, high),
            Kind::In { negated, arg, list } => self.in_list(*negated, arg, list),
            Kind::Cast { to, lenient, arg } => self.explicit_cast(arg, to, *lenient),
            Kind::Try(arg) => self.typed(arg).map(tried),
            Kind::Case {
                operand,
                branches,
                otherwise,
            } => self.case(operand.as_deref(), branches, otherwise.as_deref()),
            Kind::Coalesce(args) => self.coalesce(args),
            Kind::NullIf(value, null_where) => self.nullif(value, null_where),
            Kind::Call { function, .. } => {
                let position = self.result_of(source, function)?;
                self.column_at(position, source.span)
            }
            Kind::Alias { name, .. } => Err(misplaced_alias(name)),
            Kind::Wildcard => Err(misplaced_star()),
            Kind::TooDeep => Err(too_deep()),
        }
    }

    fn column(&mut self, name: &str, exact: bool, span: Option<Span>) -> Result<Typed, ExprError> {
        let position = names::resolve(self.schema, name, exact)?;
        self.column_at(position, span)
    }

    /// The values of a column.
    fn column_at(&mut self, position: usize, span: Option<Span>) -> Result<Typed, ExprError> {
        let field = self.field(position);
        let column = Typed {
            node: Node::Column(position),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            ordinal: 0,
            span,
        };
        let values = match field.data_type() {
            DataType::Dictionary(_, values) => values.as_ref(),
            plain => plain,
        };
        let what = match position < self.schema.fields().len() {
            true => format!("column `{}`", field.name()),
            false => format!("the result of `{}`", field.name()),
        };
        self.require_computable(values, &what)?;
        if values == field.data_type() {
            return Ok(column);
        }
        self.count()?;
        Ok(Typed {
            data_type: values.clone(),
            // A dictionary's values may be null where its keys are not.
            nullable: true,
            ordinal: 0,
            span,
            node: Node::Decode(Box::new(column)),
        })
    }

    /// The position of the column that an expression is as it stands, if it is one: of the batch, or a
    /// call's result.
    pub(super) fn as_column(&self, source: &Expr) -> Result<Option<usize>, ExprError> {
        let position = match &source.kind {
            Kind::Column { name, exact } => names::resolve(self.schema, name, *exact),
            Kind::Call { function, .. } => self.result_of(source, function),
            _ => return Ok(None),
        };
        position.map(Some).map_err(|error| error.at(source.span))
    }

    fn typed_literal(&mut self, literal: &Literal) -> Result<Typed, ExprError> {
        self.count()?;
        self.require_computable(&literal.data_type, "a literal")?;
        let expected = physical_type(&literal.data_type);
        if literal.value.is_some_and(|imm| Some(imm.ty()) != expected) {
            return Err(ExprError::new(
                ExprErrorKind::Type,
                format!(
                    "a literal of type {} holds a value of another",
                    literal.data_type
                ),
            ));
        }
        Ok(constant(literal.data_type.clone(), literal.value, None))
    }

    fn conditions(
        &mut self,
        args: &'q [Expr],
        what: &str,
        node: fn(Vec<Typed>) -> Node,
    ) -> Result<Typed, ExprError> {
        let mut conditions = Vec::with_capacity(args.len());
        for arg in args {
            conditions.push(self.boolean(arg, what)?);
        }
        Ok(boolean_node(conditions, node))
    }

    fn is(&mut self, test: IsTest, negated: bool, arg: &'q Expr) -> Result<Typed, ExprError> {
        let arg = match (test, &arg.kind) {
            (IsTest::Null, Kind::Literal(Value::Null | Value::Text(_))) => {
                let is_null = matches!(arg.kind, Kind::Literal(Value::Null));
                let value = (!is_null).then(|| Imm::mask(true));
                constant(DataType::Boolean, value, arg.span)
            }
            (IsTest::Null, Kind::Column { .. } | Kind::Call { .. }) => {
                self.nullness_of_column(arg)?
            }
            (IsTest::Null, _) => self.typed(arg)?,
            _ => self.boolean(arg, "the operand of IS TRUE and IS FALSE")?,
        };
        Ok(Typed {
            node: Node::Is {
                test,
                negated,
                arg: Box::new(arg),
            },
            data_type: DataType::Boolean,
            nullable: false,
            ordinal: 0,
            span: None,
        })
    }

    /// The operand of `IS [NOT] NULL`: also a column that expressions do not compute with, of which
    /// that is all they ask.
    fn nullness_of_column(&mut self, source: &'q Expr) -> Result<Typed, ExprError> {
        let position = self.as_column(source)?;
        let field = position.map(|position| self.field(position));
        let (Some(position), Some(field)) = (position, field) else {
            return self.typed(source);
        };
        if physical_type(field.data_type()).is_some() {
            return self.typed(source);
        }
        self.count()?;
        Ok(Typed {
            node: Node::Column(position),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable() || !has_bitmap(field.data_type()),
            ordinal: 0,
            span: source.span,
        })
    }

    fn between(
        &mut self,
        negated: bool,
        arg: &'q Expr,
        low: &'q Expr,
        high: &'q Expr,
    ) -> Result<Typed, ExprError> {
        let above = self.binary(BinaryOp::Compare(CompareOp::Ge), arg, low)?;
        let below = self.binary(BinaryOp::Compare(CompareOp::Le), arg, high)?;
        let both = boolean_node(vec![above, below], Node::And);
        if !negated {
            return Ok(both);
        }
        self.count()?;
        Ok(not(both))
    }

    fn in_list(
        &mut self,
        negated: bool,
        arg: &'q Expr,
        list: &'q [Expr],
    ) -> Result<Typed, ExprError> {
        if list.len() > MAX_IN_LIST {
            return Err(list_too_long(list.len()));
        }
        let mut parts = Vec::new();
        let operand = self.operand(arg)?;
        if list.is_empty() {
            // Whatever the operand is, it is none of these.
            return Ok(constant(
                DataType::Boolean,
                Some(Imm::mask(negated)),
                arg.span,
            ));
        }
        let as_set = self.set_of_literals(operand, list, &mut parts)?;
        for member in list {
            if !(as_set && matches!(member.kind, Kind::Literal(_))) {
                parts.push(self.binary(BinaryOp::Compare(CompareOp::Eq), arg, member)?);
            }
        }
        Ok(any_of(parts, negated))
    }

    /// Puts membership among the constants of a list into `parts`, unless the operand is of a
    /// type whose few values are better compared. Returns whether it did.
    fn set_of_literals(
        &mut self,
        operand: Operand<'q>,
        list: &'q [Expr],
        parts: &mut Vec<Typed>,
    ) -> Result<bool, ExprError> {
        let is_literal = |member: &&Expr| matches!(member.kind, Kind::Literal(_));
        match operand.side {
            Side::Typed(typed) if typed.data_type != DataType::Boolean => {
                let literals: Vec<_> = list.iter().filter(is_literal).collect();
                if literals.is_empty() {
                    return Ok(false);
                }
                parts.push(self.in_literals(typed, operand.source, &literals)?);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Membership among constants. One that the operand's type does not hold equals no value.
    fn in_literals(
        &mut self,
        arg: Typed,
        source: &Expr,
        members: &[&'q Expr],
    ) -> Result<Typed, ExprError> {
        let values: Vec<&Value> = members
            .iter()
            .map(|member| match &member.kind {
                Kind::Literal(value) => value,
                _ => unreachable!("members were parted by kind"),
            })
            .collect();
        let meeting = self.meeting_of_list(&arg.data_type, &values);
        let arg = match &meeting {
            Some(meeting) if meeting.shows => self.widen(arg, &meeting.data_type, source)?,
            _ => arg,
        };
        let rounds = meeting.is_some_and(|meeting| meeting.data_type == arg.data_type);
        let mut list = Vec::with_capacity(members.len());
        for (member, value) in members.iter().zip(values) {
            let fit = match rounds {
                true => adapt::fit_rounded(value, &arg.data_type),
                false => adapt::fit(value, &arg.data_type),
            };
            match fit {
                Fit::Exact(value) => list.push(Literal {
                    data_type: arg.data_type.clone(),
                    value,
                }),
                Fit::Needs(needed) => {
                    let coercion = self.semantics.coercion;
                    if common(&arg.data_type, &needed, Purpose::Compare, coercion).is_none() {
                        return Err(ExprError::new(
                            ExprErrorKind::Type,
                            format!("{member} cannot be compared with {}", arg.data_type),
                        )
                        .at(member.span));
                    }
                    self.note(format!(
                        "{member} is left out of an IN list: no {} equals it",
                        arg.data_type
                    ));
                }
                Fit::Never(why) => {
                    return Err(misfit(why, value, &arg.data_type).at(member.span));
                }
            }
        }
        let has_null = list.iter().any(|literal| literal.value.is_none());
        Ok(Typed {
            data_type: DataType::Boolean,
            nullable: arg.nullable || has_null,
            ordinal: 0,
            span: None,
            node: Node::In {
                order: self.order(&arg.data_type),
                arg: Box::new(arg),
                list,
            },
        })
    }

    /// How values of a type are compared.
    pub(super) fn order(&self, data_type: &DataType) -> FloatOrder {
        if is_float(data_type) {
            self.semantics.float_order
        } else {
            FloatOrder::Ieee
        }
    }

    /// Keeps a sentence for `explain`, once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

pub(super) fn constant(data_type: DataType, value: Option<Imm>, span: Option<Span>) -> Typed {
    Typed {
        data_type: data_type.clone(),
        nullable: value.is_none(),
        ordinal: 0,
        span,
        node: Node::Literal(Literal { data_type, value }),
    }
}

fn not(arg: Typed) -> Typed {
    Typed {
        data_type: DataType::Boolean,
        nullable: arg.nullable,
        ordinal: 0,
        span: arg.span,
        node: Node::Not(Box::new(arg)),
    }
}

fn tried(arg: Typed) -> Typed {
    Typed {
        data_type: arg.data_type.clone(),
        nullable: true,
        ordinal: 0,
        span: None,
        node: Node::Try(Box::new(arg)),
    }
}

fn any_of(mut parts: Vec<Typed>, negated: bool) -> Typed {
    let any = match parts.len() {
        1 => parts.swap_remove(0),
        _ => boolean_node(parts, Node::Or),
    };
    if negated { not(any) } else { any }
}

fn misplaced_alias(name: &str) -> ExprError {
    ExprError::new(
        ExprErrorKind::Type,
        format!("the name `{name}` stands inside an expression"),
    )
    .with_help("only an output as a whole can be given a name")
}

fn misplaced_star() -> ExprError {
    ExprError::new(ExprErrorKind::Type, "`*` stands inside an expression")
        .with_help("it is an item of its own in a list of outputs")
}

fn boolean_node(args: Vec<Typed>, node: fn(Vec<Typed>) -> Node) -> Typed {
    Typed {
        data_type: DataType::Boolean,
        nullable: args.iter().any(|arg| arg.nullable),
        ordinal: 0,
        span: None,
        node: node(args),
    }
}
