//! Physical expressions as expressions of the language.
//!
//! Columns are named by their positions in the input ([`name`]): a plan's schema may have one name
//! twice. Types need no choice here, for the planner has written every cast.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::utils::normalize_float_zero_scalar;
use datafusion::functions::core::nullif::NullIfFunc;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr,
    IsNullExpr, Literal, NegativeExpr, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use unlade::{Case, Expr, Literal as Constant, case, exact_col, lit, nullif, when};
use unlade_expr::ArithmeticOp;
use unlade_expr::limits::{MAX_DEPTH, MAX_IN_LIST};
use unlade_expr::tree::{BinaryOp, Kind};
use unlade_program::CompareOp;

use crate::latest::changes;
use crate::literal::literal;

/// What the language lacks, in words that complete "because of".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported(pub(crate) String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the column at a position of the input, or of the table where that lies.
pub(crate) fn name(position: usize) -> String {
    format!("c{position}")
}

/// Reads expressions over an input, or over what a filter's projection leaves of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    /// The positions in a table of the input's columns; the same where there is none.
    table: Option<&'a [usize]>,
    /// The positions in the input of the columns that expressions refer to; the same where there is
    /// none.
    kept: Option<&'a [usize]>,
    /// What they refer to.
    schema: &'a Schema,
    /// Levels of nesting above.
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        table: Option<&'a [usize]>,
        kept: Option<&'a [usize]>,
        schema: &'a Schema,
    ) -> Self {
        Reader {
            table,
            kept,
            schema,
            depth: 0,
        }
    }
}

impl Reader<'_> {
    /// # Errors
    /// What the language lacks; types are for its check.
    pub(crate) fn expr(mut self, of: &Arc<dyn PhysicalExpr>) -> Result<Expr, Unsupported> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let what = format!("an expression nested deeper than {MAX_DEPTH} levels");
            return Err(Unsupported(what));
        }
        let read = |of| self.expr(of);
        if let Some(column) = of.downcast_ref::<Column>() {
            return Ok(exact_col(name(self.position(column)?)));
        }
        if let Some(constant) = of.downcast_ref::<Literal>() {
            return literal(constant.value());
        }
        if let Some(binary) = of.downcast_ref::<BinaryExpr>() {
            return self.binary(binary);
        }
        if let Some(cast) = of.downcast_ref::<CastExpr>() {
            let (arg, to) = (read(cast.expr())?, cast.cast_type().clone());
            return Ok(match cast.cast_options().safe {
                true => arg.try_cast(to),
                false => arg.cast(to),
            });
        }
        if let Some(cast) = of.downcast_ref::<TryCastExpr>() {
            return Ok(read(cast.expr())?.try_cast(cast.cast_type().clone()));
        }
        if let Some(not) = of.downcast_ref::<NotExpr>() {
            return Ok(read(not.arg())?.not());
        }
        if let Some(is) = of.downcast_ref::<IsNullExpr>() {
            return Ok(read(is.arg())?.is_null());
        }
        if let Some(is) = of.downcast_ref::<IsNotNullExpr>() {
            return Ok(read(is.arg())?.is_not_null());
        }
        if let Some(negative) = of.downcast_ref::<NegativeExpr>() {
            return Ok(read(negative.arg())?.neg());
        }
        if let Some(list) = of.downcast_ref::<InListExpr>() {
            return self.in_list(list);
        }
        if let Some(case) = of.downcast_ref::<CaseExpr>() {
            return self.case(case);
        }
        if let Some(call) = ScalarFunctionExpr::try_downcast_func::<NullIfFunc>(of.as_ref()) {
            let [value, null_where] = call.args() else {
                return Err(Unsupported(format!("function {}", call.name())));
            };
            return Ok(nullif(read(value)?, read(null_where)?));
        }
        Err(unsupported(of))
    }

    /// A filter's predicate. A condition of its conjunction that others change while it is evaluated is
    /// taken as it is now, and as far as the language has it: it may let more pass.
    pub(crate) fn predicate(self, of: &Arc<dyn PhysicalExpr>) -> Result<Expr, Unsupported> {
        if !changes(of) {
            return self.expr(of);
        }
        let conditions = split_conjunction(of).into_iter();
        let read = conditions.map(|condition| {
            match condition.downcast_ref::<DynamicFilterPhysicalExpr>() {
                Some(filter) => self.hint(filter),
                None => self.expr(condition),
            }
        });
        let read = read.collect::<Result<Vec<_>, _>>()?;
        Ok(all_of(read))
    }

    fn hint(self, of: &DynamicFilterPhysicalExpr) -> Result<Expr, Unsupported> {
        let current = of.current();
        let current = current.map_err(|error| Unsupported(error.to_string()))?;
        let read = split_conjunction(&current).into_iter();
        let read = read.filter_map(|condition| self.expr(condition).ok());
        Ok(all_of(read.filter(|condition| !may_fail(condition))))
    }

    /// Where a column is in the input. Plans that come as bytes may refer to what is not there.
    fn position(self, column: &Column) -> Result<usize, Unsupported> {
        let through = |map: Option<&[usize]>, at: usize| match map {
            Some(map) => map.get(at).copied(),
            None => Some(at),
        };
        let position = through(self.kept, column.index()).and_then(|at| through(self.table, at));
        position.ok_or_else(|| Unsupported(format!("`{column}`, which is not there")))
    }

    fn binary(self, of: &BinaryExpr) -> Result<Expr, Unsupported> {
        // The one way to see that it is to fail on overflow: nothing else tells.
        if *of != BinaryExpr::new(Arc::clone(of.left()), *of.op(), Arc::clone(of.right())) {
            return Err(Unsupported(format!("{} that fails on overflow", of.op())));
        }
        let op = match of.op() {
            Operator::And | Operator::Or => return self.chain(of),
            Operator::Eq => BinaryOp::Compare(CompareOp::Eq),
            Operator::NotEq => BinaryOp::Compare(CompareOp::Ne),
            Operator::Lt => BinaryOp::Compare(CompareOp::Lt),
            Operator::LtEq => BinaryOp::Compare(CompareOp::Le),
            Operator::Gt => BinaryOp::Compare(CompareOp::Gt),
            Operator::GtEq => BinaryOp::Compare(CompareOp::Ge),
            Operator::IsDistinctFrom => BinaryOp::Distinct,
            Operator::IsNotDistinctFrom => BinaryOp::NotDistinct,
            Operator::Plus => BinaryOp::Arithmetic(ArithmeticOp::Add),
            Operator::Minus => BinaryOp::Arithmetic(ArithmeticOp::Sub),
            Operator::Multiply => BinaryOp::Arithmetic(ArithmeticOp::Mul),
            Operator::Divide => BinaryOp::Arithmetic(ArithmeticOp::Div),
            Operator::Modulo => BinaryOp::Arithmetic(ArithmeticOp::Rem),
            other => return Err(Unsupported(format!("operator {other}"))),
        };
        let (lhs, rhs) = match op {
            BinaryOp::Arithmetic(_) => (self.expr(of.left())?, self.expr(of.right())?),
            _ => (
                self.compared(of.left(), of.right())?,
                self.compared(of.right(), of.left())?,
            ),
        };
        Ok(lhs.binary(op, rhs))
    }

    /// What stands beside another operand in a comparison. DataFusion orders floats as IEEE 754's
    /// `totalOrder` does, as the rules here do, but has -0 for 0 where it compares (not in `IN`, `CASE`
    /// and `nullif`). That matters unless the other is a constant, and not zero.
    fn compared(
        self,
        of: &Arc<dyn PhysicalExpr>,
        other: &Arc<dyn PhysicalExpr>,
    ) -> Result<Expr, Unsupported> {
        let expr = self.expr(of)?;
        let [zero, negative] = match of.data_type(self.schema) {
            Ok(DataType::Float32) => [0.0f32, -0.0].map(Constant::from),
            Ok(DataType::Float64) => [0.0f64, -0.0].map(Constant::from),
            _ => return Ok(expr),
        };
        let constant = |of: &Arc<dyn PhysicalExpr>| {
            let literal = of.downcast_ref::<Literal>()?;
            Some(normalize_float_zero_scalar(literal.value().clone()))
        };
        if let Some(value) = constant(of) {
            return literal(&value);
        }
        let is_zero = |value: ScalarValue| {
            matches!(
                value,
                ScalarValue::Float32(Some(0.0)) | ScalarValue::Float64(Some(0.0))
            )
        };
        match constant(other).is_none_or(is_zero) {
            true => Ok(case(expr.clone())
                .when(lit(negative))
                .then(lit(zero))
                .otherwise(expr)),
            false => Ok(expr),
        }
    }

    /// `AND` or `OR`: a chain of them leans to the left, and may be longer than the stack is deep.
    fn chain(self, of: &BinaryExpr) -> Result<Expr, Unsupported> {
        let mut operands = vec![of.right()];
        let mut left = of.left();
        while let Some(inner) = left.downcast_ref::<BinaryExpr>()
            && inner.op() == of.op()
        {
            operands.push(inner.right());
            left = inner.left();
        }
        let first = self.expr(left)?;
        let rest = operands.into_iter().rev();
        rest.map(|operand| self.expr(operand))
            .try_fold(first, |built, operand| {
                Ok(match of.op() {
                    Operator::And => built.and(operand?),
                    _ => built.or(operand?),
                })
            })
    }

    fn in_list(self, of: &InListExpr) -> Result<Expr, Unsupported> {
        if of.len() > MAX_IN_LIST {
            return Err(Unsupported(format!("an IN list of {} members", of.len())));
        }
        let arg = self.expr(of.expr())?;
        let list = of.list().iter().map(|member| self.expr(member));
        let list = list.collect::<Result<Vec<_>, _>>()?;
        Ok(match of.negated() {
            true => arg.not_in_list(list),
            false => arg.in_list(list),
        })
    }

    fn case(self, of: &CaseExpr) -> Result<Expr, Unsupported> {
        let mut built = match of.expr() {
            Some(operand) => Some(case(self.expr(operand)?)),
            None => None,
        };
        for (condition, value) in of.when_then_expr() {
            let (condition, value) = (self.expr(condition)?, self.expr(value)?);
            let branch = match built {
                Some(case) => Case::when(case, condition),
                None => when(condition),
            };
            built = Some(branch.then(value));
        }
        let built = built.ok_or_else(|| Unsupported("a CASE without a branch".to_owned()))?;
        Ok(match of.else_expr() {
            Some(value) => built.otherwise(self.expr(value)?),
            None => built.end(),
        })
    }
}

fn all_of(conditions: impl IntoIterator<Item = Expr>) -> Expr {
    let all = conditions.into_iter().reduce(Expr::and);
    all.unwrap_or_else(|| lit(true))
}

fn unsupported(of: &Arc<dyn PhysicalExpr>) -> Unsupported {
    Unsupported(match of.downcast_ref::<ScalarFunctionExpr>() {
        Some(call) => format!("function {}", call.name()),
        None => {
            let text: String = of.to_string().chars().take(60).collect();
            format!("`{text}`")
        }
    })
}

/// Whether evaluating an expression may be an error on some row, by what it is made of.
pub(crate) fn may_fail(of: &Expr) -> bool {
    match of.kind() {
        Kind::Try(_) => false,
        Kind::TooDeep | Kind::Call { .. } | Kind::Cast { lenient: false, .. } => true,
        Kind::Binary {
            op:
                BinaryOp::IntegerDivide | BinaryOp::Arithmetic(ArithmeticOp::Div | ArithmeticOp::Rem),
            ..
        } => true,
        other => {
            let mut any = false;
            other.for_each_operand(|operand| any |= may_fail(operand));
            any
        }
    }
}
