//! Casts: the total conversion, and the mask of the rows that it cannot represent.

use arrow_schema::DataType;
use unlade_program::{CastRule, CompareOp, FloatOrder, Imm, Inst, TrapCode, Ty, Val};

use super::logic::Scope;
use super::{Failure, Lowering, Value, ty_of, unsupported};
use crate::error::ExprError;
use crate::narrow;
use crate::semantics::{Dialect, OnError};
use crate::typed::{Node, Typed};

impl Lowering {
    /// `CAST(arg AS type)`.
    pub(super) fn cast(&mut self, tree: &Typed, scope: &Scope) -> Result<Value, ExprError> {
        let Node::Cast {
            on_error,
            dialect,
            arg,
        } = &tree.node
        else {
            unreachable!("the caller matched the node");
        };
        let (from, to) = (ty_of(arg)?, ty_of(tree)?);
        let value = self.value(arg, scope)?;
        let out_of_range = Failure {
            code: TrapCode::CastOutOfRange,
            ordinal: tree.ordinal,
        };
        let plain = |data_type: &DataType| {
            data_type.is_numeric() && !matches!(data_type, DataType::Decimal128(..))
                || *data_type == DataType::Boolean
        };
        if !plain(&arg.data_type) || !plain(&tree.data_type) {
            let what = format!("a cast from {} to {}", arg.data_type, tree.data_type);
            return Err(unsupported(tree, &what));
        }
        if from == to {
            return Ok(value);
        }
        if to == Ty::Mask {
            return Ok(self.number_to_boolean(value, from));
        }
        if from.is_float() && to.is_integer() {
            let saturated = Value {
                value: self.float_to_integer(value.value, to, *on_error, *dialect),
                ..value
            };
            let fails = self.builder.push(Inst::CastFails {
                arg: value.value,
                to,
            });
            return Ok(self.settle(*on_error, saturated, fails, out_of_range, scope));
        }
        let wrapped = Value {
            value: self.wrapped(value.value, from, to),
            ..value
        };
        if from == Ty::Mask || to.is_float() || narrow::holds_all(to, from) {
            return Ok(wrapped);
        }
        let fails = self.builder.push(Inst::CastFails {
            arg: value.value,
            to,
        });
        Ok(self.settle(*on_error, wrapped, fails, out_of_range, scope))
    }

    /// True of every number but zero; NaN is true, -0 is false.
    fn number_to_boolean(&mut self, arg: Value, from: Ty) -> Value {
        let zero = self.builder.constant(Imm::zero(from));
        let order = FloatOrder::Ieee;
        Value {
            value: self
                .builder
                .compare(from, CompareOp::Ne, order, arg.value, zero),
            ..arg
        }
    }

    /// Truncates and saturates. Java, and so Spark without ANSI rules, knows that only for `int`
    /// and `long`: narrower types keep the low bits of the `int`.
    fn float_to_integer(&mut self, arg: Val, to: Ty, on_error: OnError, dialect: Dialect) -> Val {
        let rule = CastRule::Saturate;
        let through_int = on_error == OnError::Wrap
            && dialect == Dialect::Spark
            && matches!(to, Ty::I8 | Ty::I16);
        if !through_int {
            return self.builder.push(Inst::Cast { rule, arg, to });
        }
        let int = self.builder.push(Inst::Cast {
            rule,
            arg,
            to: Ty::I32,
        });
        self.wrapped(int, Ty::I32, to)
    }
}
