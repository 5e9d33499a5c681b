//! Arithmetic: the total operation, and the masks of the rows on which it has no result.

use unlade_program::{
    BinaryOp, CompareOp, FloatOrder, Inst, OverflowOp, TrapCode, Ty, UnaryOp, Val,
};

use super::builder::FALSE;
use super::logic::Scope;
use super::{Failure, Lowering, Value, ty_of};
use crate::error::ExprError;
use crate::narrow::stays_in_range;
use crate::semantics::{FloatZeroDivision, OnError};
use crate::typed::{ArithmeticOp, Node, Typed};

impl Lowering<'_> {
    /// `+ - * / %`.
    ///
    /// A divisor that is a literal decides at once what it can: only the literals 0 and -1 leave
    /// a check in the program, and so give it another shape.
    pub(super) fn arithmetic(&mut self, tree: &Typed, scope: &Scope) -> Result<Value, ExprError> {
        let Node::Arithmetic {
            op,
            overflow,
            zero,
            float_zero,
            lhs,
            rhs,
        } = &tree.node
        else {
            unreachable!("the caller matched the node");
        };
        let ty = ty_of(tree)?;
        let may_overflow =
            *overflow != OnError::Wrap && ty.is_integer() && !stays_in_range(*op, lhs, rhs);
        let lhs = self.value(lhs, scope)?;
        let rhs = self.value(rhs, scope)?;
        let divides = matches!(op, ArithmeticOp::Div | ArithmeticOp::Rem);
        let mut result = Value {
            value: self.builder.push(Inst::Binary {
                op: binary(*op),
                lhs: lhs.value,
                rhs: rhs.value,
            }),
            valid: self.builder.and(lhs.valid, rhs.valid),
        };
        let zero = match ty.is_float() {
            false => Some(match zero {
                OnError::Null => OnError::Null,
                // An integer has no quotient by zero to wrap to.
                OnError::Trap | OnError::Wrap => OnError::Trap,
            }),
            true => match float_zero {
                FloatZeroDivision::Ieee => None,
                FloatZeroDivision::Null => Some(OnError::Null),
                FloatZeroDivision::Trap => Some(OnError::Trap),
            },
        };
        if let (true, Some(on_zero)) = (divides, zero) {
            let fails = self.is_zero(ty, rhs.value);
            let failure = Failure {
                code: TrapCode::DivideByZero,
                ordinal: tree.ordinal,
            };
            result = self.settle(on_zero, result, fails, failure, scope);
        }
        if may_overflow {
            let fails = self.overflows(ty, *op, lhs.value, rhs.value);
            result = self.settle(*overflow, result, fails, overflow_at(tree), scope);
        }
        Ok(result)
    }

    /// `-arg`: of the minimum it has no result.
    pub(super) fn negate(
        &mut self,
        tree: &Typed,
        overflow: OnError,
        arg: &Typed,
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        self.sign(tree, UnaryOp::Neg, overflow, arg, scope)
    }

    /// `abs(arg)`: of the minimum it has no result; unsigned integers stay as they are.
    pub(super) fn abs(
        &mut self,
        tree: &Typed,
        overflow: OnError,
        arg: &Typed,
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        let ty = ty_of(tree)?;
        if ty.is_integer() && !ty.is_signed() {
            return self.value(arg, scope);
        }
        self.sign(tree, UnaryOp::Abs, overflow, arg, scope)
    }

    fn sign(
        &mut self,
        tree: &Typed,
        op: UnaryOp,
        overflow: OnError,
        arg: &Typed,
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        let ty = ty_of(tree)?;
        let arg = self.value(arg, scope)?;
        let result = Value {
            value: self.builder.push(Inst::Unary { op, arg: arg.value }),
            valid: arg.valid,
        };
        let Some((least, _)) = ty.integer_range() else {
            return Ok(result);
        };
        if overflow == OnError::Wrap {
            return Ok(result);
        }
        let least = self.builder.integer(ty, least);
        let fails = self
            .builder
            .compare(ty, CompareOp::Eq, FloatOrder::Ieee, arg.value, least);
        Ok(self.settle(overflow, result, fails, overflow_at(tree), scope))
    }

    fn overflows(&mut self, ty: Ty, op: ArithmeticOp, lhs: Val, rhs: Val) -> Val {
        let op = match op {
            ArithmeticOp::Add => OverflowOp::Add,
            ArithmeticOp::Sub => OverflowOp::Sub,
            ArithmeticOp::Mul => OverflowOp::Mul,
            // Only MIN / -1 leaves the range, and MIN % -1 is 0.
            ArithmeticOp::Rem => return FALSE,
            ArithmeticOp::Div if !ty.is_signed() => return FALSE,
            ArithmeticOp::Div => match self.builder.known(rhs) {
                Some(divisor) if divisor.as_integer() != -1 => return FALSE,
                _ => OverflowOp::Div,
            },
        };
        self.builder.push(Inst::Overflow { op, lhs, rhs })
    }
}

fn binary(op: ArithmeticOp) -> BinaryOp {
    match op {
        ArithmeticOp::Add => BinaryOp::Add,
        ArithmeticOp::Sub => BinaryOp::Sub,
        ArithmeticOp::Mul => BinaryOp::Mul,
        ArithmeticOp::Div => BinaryOp::Div,
        ArithmeticOp::Rem => BinaryOp::Rem,
    }
}

fn overflow_at(tree: &Typed) -> Failure {
    Failure {
        code: TrapCode::Overflow,
        ordinal: tree.ordinal,
    }
}
