//! Typing of choices between values: `CASE`, `COALESCE`, `NULLIF`.

use unlade_program::CompareOp;

use super::Checker;
use super::expr::{Operand, constant};
use super::unify::Purpose;
use crate::error::{ExprError, ExprErrorKind};
use crate::semantics::Coercion;
use crate::tree::{BinaryOp, Expr};
use crate::typed::{Node, Typed};

impl<'q> Checker<'q> {
    pub(super) fn case(
        &mut self,
        operand: Option<&'q Expr>,
        branches: &'q [(Expr, Expr)],
        otherwise: Option<&'q Expr>,
    ) -> Result<Typed, ExprError> {
        if branches.is_empty() {
            return Err(ExprError::new(ExprErrorKind::Type, "a CASE has no branch"));
        }
        let mut conditions = Vec::with_capacity(branches.len());
        let mut values = Vec::with_capacity(branches.len() + 1);
        for (condition, value) in branches {
            conditions.push(match operand {
                Some(operand) => {
                    self.binary(BinaryOp::Compare(CompareOp::Eq), operand, condition)?
                }
                None => self.boolean(condition, "a condition of CASE")?,
            });
            values.push(self.operand(value)?);
        }
        if let Some(otherwise) = otherwise {
            values.push(self.operand(otherwise)?);
        }
        self.choose(conditions, values)
    }

    /// A `CASE` of conditions and their values, one value more where there is an `ELSE`.
    fn choose(
        &mut self,
        conditions: Vec<Typed>,
        values: Vec<Operand<'q>>,
    ) -> Result<Typed, ExprError> {
        let mut values = self.unify(values, Purpose::Choose)?;
        let otherwise = match values.len() > conditions.len() {
            true => values.pop().map(Box::new),
            false => None,
        };
        let nullable = values.iter().any(|value| value.nullable)
            || otherwise
                .as_ref()
                .is_none_or(|otherwise| otherwise.nullable);
        Ok(Typed {
            data_type: values[0].data_type.clone(),
            nullable,
            ordinal: 0,
            span: None,
            node: Node::Case {
                branches: conditions.into_iter().zip(values).collect(),
                otherwise,
            },
        })
    }

    pub(super) fn coalesce(&mut self, args: &'q [Expr]) -> Result<Typed, ExprError> {
        if args.is_empty() {
            return Err(ExprError::new(
                ExprErrorKind::Type,
                "coalesce has no operand",
            ));
        }
        let mut operands = Vec::with_capacity(args.len());
        for arg in args {
            operands.push(self.operand(arg)?);
        }
        let args = self.unify(operands, Purpose::Choose)?;
        Ok(Typed {
            data_type: args[0].data_type.clone(),
            nullable: args.iter().all(|arg| arg.nullable),
            ordinal: 0,
            span: None,
            node: Node::Coalesce(args),
        })
    }

    pub(super) fn nullif(
        &mut self,
        value: &'q Expr,
        null_where: &'q Expr,
    ) -> Result<Typed, ExprError> {
        let equal = self.binary(BinaryOp::Compare(CompareOp::Eq), value, null_where)?;
        let value = match self.semantics.coercion {
            // There the value is of the type in which it was compared.
            Coercion::DataFusion => {
                let both = vec![self.operand(value)?, self.operand(null_where)?];
                let mut both = self.unify(both, Purpose::Choose)?;
                both.swap_remove(0)
            }
            _ => self.typed(value)?,
        };
        self.count()?;
        let null = constant(value.data_type.clone(), None, None);
        Ok(Typed {
            data_type: value.data_type.clone(),
            nullable: true,
            ordinal: 0,
            span: None,
            node: Node::Case {
                branches: vec![(equal, null)],
                otherwise: Some(Box::new(value)),
            },
        })
    }
}
