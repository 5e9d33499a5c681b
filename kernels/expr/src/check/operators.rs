//! Typing of operators: arithmetic and comparison.

use arrow_schema::DataType;

use super::Checker;
use super::expr::{Operand, Side};
use super::types::{is_decimal, is_float, is_integer, is_unsigned};
use super::unify::Purpose;
use crate::display::Brief;
use crate::error::{ExprError, ExprErrorKind};
use crate::semantics::{FloatZeroDivision, OnError};
use crate::tree::{BinaryOp, Expr, Kind, Value};
use crate::typed::{ArithmeticOp, Node, Typed};

impl<'q> Checker<'q> {
    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        lhs: &'q Expr,
        rhs: &'q Expr,
    ) -> Result<Typed, ExprError> {
        let operands = vec![self.operand(lhs)?, self.operand(rhs)?];
        self.count()?;
        self.combine(op, operands)
    }

    /// An operator over typed operands. Apart from [`Checker::binary`], so that what recurses
    /// takes little stack.
    fn combine(&mut self, op: BinaryOp, operands: Vec<Operand<'q>>) -> Result<Typed, ExprError> {
        let sources = [operands[0].source, operands[1].source];
        match op {
            BinaryOp::Compare(op) => {
                let [lhs, rhs] = self.pair(operands, Purpose::Compare)?;
                Ok(Typed {
                    data_type: DataType::Boolean,
                    nullable: lhs.nullable || rhs.nullable,
                    ordinal: 0,
                    span: None,
                    node: Node::Compare {
                        op,
                        order: self.order(&lhs.data_type),
                        lhs: Box::new(lhs),
                        rhs: Box::new(rhs),
                    },
                })
            }
            BinaryOp::Distinct | BinaryOp::NotDistinct => {
                let [lhs, rhs] = self.pair(operands, Purpose::Compare)?;
                Ok(Typed {
                    data_type: DataType::Boolean,
                    nullable: false,
                    ordinal: 0,
                    span: None,
                    node: Node::Distinct {
                        negated: op == BinaryOp::NotDistinct,
                        order: self.order(&lhs.data_type),
                        lhs: Box::new(lhs),
                        rhs: Box::new(rhs),
                    },
                })
            }
            BinaryOp::Arithmetic(ArithmeticOp::Div) if self.is_spark() => {
                let [lhs, rhs] = self.both_double(operands)?;
                self.arithmetic(ArithmeticOp::Div, lhs, rhs, sources)
            }
            BinaryOp::Arithmetic(op) => {
                self.require_numbers(&operands, verb(op))?;
                let [lhs, rhs] = self.pair(operands, Purpose::Arithmetic)?;
                self.arithmetic(op, lhs, rhs, sources)
            }
            BinaryOp::IntegerDivide => {
                let [lhs, rhs] = match self.is_spark() {
                    true => self.both_bigint(operands)?,
                    false => self.pair(operands, Purpose::Arithmetic)?,
                };
                if !is_integer(&lhs.data_type) {
                    return Err(ExprError::new(
                        ExprErrorKind::Type,
                        format!("`div` divides integers; these are {}", lhs.data_type),
                    )
                    .with_help("use `/`, or cast both sides to bigint"));
                }
                self.arithmetic(ArithmeticOp::Div, lhs, rhs, sources)
            }
        }
    }

    pub(super) fn negate(&mut self, arg: &'q Expr) -> Result<Typed, ExprError> {
        let typed = self.typed(arg)?;
        self.negated(typed, arg)
    }

    fn negated(&mut self, typed: Typed, arg: &Expr) -> Result<Typed, ExprError> {
        if is_unsigned(&typed.data_type) {
            return Err(ExprError::new(
                ExprErrorKind::Type,
                format!(
                    "`{}` is {}, which has no negative values",
                    Brief(arg),
                    typed.data_type
                ),
            )
            .with_help(format!("write -cast({} as bigint)", Brief(arg))));
        }
        self.require_arithmetic(&typed.data_type, "negated", arg)?;
        let overflow = self.semantics.overflow;
        Ok(Typed {
            data_type: typed.data_type.clone(),
            nullable: typed.nullable || self.overflow_makes_nulls(&typed.data_type),
            ordinal: 0,
            span: None,
            node: Node::Negate {
                overflow,
                arg: Box::new(typed),
            },
        })
    }

    pub(super) fn abs(&mut self, arg: &'q Expr) -> Result<Typed, ExprError> {
        let typed = self.typed(arg)?;
        self.made_absolute(typed, arg)
    }

    fn made_absolute(&mut self, typed: Typed, arg: &Expr) -> Result<Typed, ExprError> {
        self.require_arithmetic(&typed.data_type, "made absolute", arg)?;
        if is_unsigned(&typed.data_type) {
            return Ok(typed);
        }
        let overflow = self.semantics.overflow;
        Ok(Typed {
            data_type: typed.data_type.clone(),
            nullable: typed.nullable || self.overflow_makes_nulls(&typed.data_type),
            ordinal: 0,
            span: None,
            node: Node::Abs {
                overflow,
                arg: Box::new(typed),
            },
        })
    }

    fn arithmetic(
        &mut self,
        op: ArithmeticOp,
        lhs: Typed,
        rhs: Typed,
        sources: [&Expr; 2],
    ) -> Result<Typed, ExprError> {
        self.require_arithmetic(&lhs.data_type, verb(op), sources[0])?;
        let data_type = lhs.data_type.clone();
        let divides = matches!(op, ArithmeticOp::Div | ArithmeticOp::Rem);
        let zero_makes_nulls = divides
            && match is_float(&data_type) {
                true => self.semantics.float_divide_by_zero == FloatZeroDivision::Null,
                false => self.semantics.divide_by_zero == OnError::Null,
            };
        // arrow-rs, and so DataFusion, has no division that wraps: MIN / -1 is an error there.
        let overflow = match self.semantics.overflow {
            OnError::Wrap if op == ArithmeticOp::Div && !self.is_spark() => OnError::Trap,
            overflow => overflow,
        };
        Ok(Typed {
            nullable: lhs.nullable
                || rhs.nullable
                || zero_makes_nulls
                || self.overflow_makes_nulls(&data_type),
            data_type,
            ordinal: 0,
            span: None,
            node: Node::Arithmetic {
                op,
                overflow,
                zero: self.semantics.divide_by_zero,
                float_zero: self.semantics.float_divide_by_zero,
                lhs: Box::new(lhs),
                rhs: Box::new(rhs),
            },
        })
    }

    fn overflow_makes_nulls(&self, data_type: &DataType) -> bool {
        self.semantics.overflow == OnError::Null && is_integer(data_type)
    }

    /// Whether operands are what is computed with. Spark makes a decimal the float beside it.
    fn require_numbers(&self, operands: &[Operand<'q>], verb: &str) -> Result<(), ExprError> {
        let types = || operands.iter().map(|operand| self.type_of(operand));
        let beside_float = self.is_spark() && types().flatten().any(|ty| is_float(&ty));
        for (operand, data_type) in operands.iter().zip(types()) {
            let has_type = match &operand.side {
                Side::Typed(_) => true,
                Side::Free(_) => self.has_engine_types(),
            };
            match data_type {
                Some(data_type) if has_type && !(beside_float && is_decimal(&data_type)) => {
                    self.require_arithmetic(&data_type, verb, operand.source)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn require_arithmetic(
        &self,
        data_type: &DataType,
        verb: &str,
        source: &Expr,
    ) -> Result<(), ExprError> {
        if is_integer(data_type) || is_float(data_type) {
            return Ok(());
        }
        let (span, kind, source) = (source.span, &source.kind, Brief(source));
        let error = ExprError::new(
            ExprErrorKind::Type,
            format!("`{source}` is {data_type}, which cannot be {verb}"),
        )
        .at(span);
        Err(match (data_type, kind) {
            (DataType::Decimal128(..), Kind::Literal(Value::Number(_))) => error.with_help(
                format!("decimals are compared and cast only; a double is written {source}e0"),
            ),
            (DataType::Decimal128(..), _) => error.with_help(format!(
                "decimals are compared and cast only; write cast({source} as double)"
            )),
            (DataType::Boolean, _) => error.with_help(format!("write cast({source} as int)")),
            _ => error.with_help("dates and timestamps are compared and cast only"),
        })
    }

    /// The operands of Spark's `/`, which computes with doubles.
    fn both_double(&mut self, operands: Vec<Operand<'q>>) -> Result<[Typed; 2], ExprError> {
        self.require_numbers(&operands, verb(ArithmeticOp::Div))?;
        self.both_as(operands, &DataType::Float64, "`/`")
    }

    /// The operands of Spark's `div`, which computes with bigints.
    fn both_bigint(&mut self, operands: Vec<Operand<'q>>) -> Result<[Typed; 2], ExprError> {
        for operand in &operands {
            match self.type_of(operand) {
                Some(data_type) if !is_integer(&data_type) => {
                    let source = operand.source;
                    return Err(ExprError::new(
                        ExprErrorKind::Type,
                        format!("`div` divides integers; `{}` is {data_type}", Brief(source)),
                    )
                    .with_help("use `/`, or cast both sides to bigint")
                    .at(source.span));
                }
                _ => {}
            }
        }
        self.both_as(operands, &DataType::Int64, "`div`")
    }

    /// Both operands as one given type.
    fn both_as(
        &mut self,
        operands: Vec<Operand<'q>>,
        to: &DataType,
        operator: &str,
    ) -> Result<[Typed; 2], ExprError> {
        let mut typed = Vec::with_capacity(2);
        for operand in operands {
            let source = operand.source;
            let side = match operand.side {
                Side::Free(_) => self.free_as(operand, to)?,
                Side::Typed(side) if side.data_type != *to => {
                    self.note(format!(
                        "`{}` is cast from {} to {to}, which {operator} computes with",
                        Brief(source),
                        side.data_type
                    ));
                    self.cast(side, to, OnError::Trap, source)?
                }
                Side::Typed(side) => side,
            };
            typed.push(side);
        }
        Ok(two(typed))
    }

    fn pair(
        &mut self,
        operands: Vec<Operand<'q>>,
        purpose: Purpose,
    ) -> Result<[Typed; 2], ExprError> {
        self.unify(operands, purpose).map(two)
    }
}

fn two(typed: Vec<Typed>) -> [Typed; 2] {
    typed
        .try_into()
        .unwrap_or_else(|_| unreachable!("two operands stay two"))
}

fn verb(op: ArithmeticOp) -> &'static str {
    match op {
        ArithmeticOp::Add => "added",
        ArithmeticOp::Sub => "subtracted",
        ArithmeticOp::Mul => "multiplied",
        ArithmeticOp::Div | ArithmeticOp::Rem => "divided",
    }
}
