//! Expressions, as arrays of a number and operands.

use std::sync::Arc;

use arrow_schema::DataType;
use unlade_expr::limits::MAX_ARGUMENTS;
use unlade_expr::tree::{BinaryOp, Kind, Value};
use unlade_expr::{
    Expr, Literal, Signature, all, case, coalesce, exact_col, lit, null, nullif, parse_expr,
    physical_type, when,
};
use unlade_program::Imm;

use crate::cbor::{Item, Reader, Writer};
use crate::envelope::VERSION_OF_CALLS;
use crate::error::WireError;

/// The numbers of expressions. Each is given once and never again.
mod number {
    pub(super) const COLUMN: u64 = 0;
    pub(super) const NULL: u64 = 1;
    pub(super) const BOOLEAN: u64 = 2;
    pub(super) const INTEGER: u64 = 3;
    pub(super) const NUMBER: u64 = 4;
    pub(super) const TEXT: u64 = 5;
    pub(super) const TYPED: u64 = 6;
    pub(super) const WILDCARD: u64 = 7;
    pub(super) const NOT: u64 = 8;
    pub(super) const NEGATE: u64 = 9;
    pub(super) const ABS: u64 = 10;
    pub(super) const TRY: u64 = 11;
    pub(super) const BINARY: u64 = 12;
    pub(super) const AND: u64 = 13;
    pub(super) const OR: u64 = 14;
    pub(super) const COALESCE: u64 = 15;
    pub(super) const IS: u64 = 16;
    pub(super) const BETWEEN: u64 = 17;
    pub(super) const IN: u64 = 18;
    pub(super) const CAST: u64 = 19;
    pub(super) const CASE: u64 = 20;
    pub(super) const NULLIF: u64 = 21;
    pub(super) const ALIAS: u64 = 22;
    pub(super) const CALL: u64 = 23;
}

impl Item for Expr {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        to.counts.expression()?;
        match self.kind() {
            Kind::Column { name, exact } => {
                to.tagged(number::COLUMN, 2)?;
                to.text(name)?;
                to.boolean(*exact)?;
            }
            Kind::Literal(value) => write_value(value, to)?,
            Kind::Not(arg) => write_unary(number::NOT, arg, to)?,
            Kind::Negate(arg) => write_unary(number::NEGATE, arg, to)?,
            Kind::Abs(arg) => write_unary(number::ABS, arg, to)?,
            Kind::Try(arg) => write_unary(number::TRY, arg, to)?,
            Kind::Binary { op, lhs, rhs } => {
                to.tagged(number::BINARY, 3)?;
                op.write(to)?;
                to.items([lhs.as_ref(), rhs])?;
            }
            Kind::And(args) => write_list(number::AND, args, to)?,
            Kind::Or(args) => write_list(number::OR, args, to)?,
            Kind::Coalesce(args) => write_list(number::COALESCE, args, to)?,
            Kind::Is { test, negated, arg } => {
                to.tagged(number::IS, 3)?;
                test.write(to)?;
                to.boolean(*negated)?;
                arg.write(to)?;
            }
            Kind::Between {
                negated,
                arg,
                low,
                high,
            } => {
                to.tagged(number::BETWEEN, 4)?;
                to.boolean(*negated)?;
                to.items([arg.as_ref(), low, high])?;
            }
            Kind::In { negated, arg, list } => {
                to.tagged(number::IN, 2 + list.len())?;
                to.boolean(*negated)?;
                arg.write(to)?;
                to.items(list)?;
            }
            Kind::Cast {
                to: data_type,
                lenient,
                arg,
            } => {
                to.tagged(number::CAST, 3)?;
                data_type.write(to)?;
                to.boolean(*lenient)?;
                arg.write(to)?;
            }
            Kind::Case {
                operand,
                branches,
                otherwise,
            } => {
                to.tagged(number::CASE, 2 + 2 * branches.len())?;
                to.optional(operand.as_deref())?;
                to.optional(otherwise.as_deref())?;
                for (condition, value) in branches {
                    to.items([condition, value])?;
                }
            }
            Kind::NullIf(value, null_where) => {
                to.tagged(number::NULLIF, 2)?;
                to.items([value.as_ref(), null_where])?;
            }
            Kind::Call { function, args } => {
                to.needs(VERSION_OF_CALLS);
                to.tagged(number::CALL, 4 + args.len())?;
                to.text(function.name())?;
                to.array(function.arguments().len())?;
                to.items(function.arguments())?;
                function.result().write(to)?;
                to.boolean(function.is_nullable())?;
                to.items(args)?;
            }
            Kind::Alias { name, arg } => {
                to.tagged(number::ALIAS, 2)?;
                to.text(name)?;
                arg.write(to)?;
            }
            Kind::Wildcard => to.tagged(number::WILDCARD, 0)?,
            Kind::TooDeep => {
                return Err(WireError::NotEncodable(
                    "an expression nests deeper than expressions may".to_owned(),
                ));
            }
        }
        to.counts.end_expression();
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.counts.expression()?;
        let (number, operands) = from.tagged()?;
        let expr = match read_operand(number, operands, from)? {
            Some(expr) => expr,
            None => read_operation(number, operands, from)?,
        };
        from.counts.end_expression();
        Ok(expr)
    }
}

fn write_unary(number: u64, arg: &Expr, to: &mut Writer) -> Result<(), WireError> {
    to.tagged(number, 1)?;
    arg.write(to)
}

fn write_list(number: u64, args: &[Expr], to: &mut Writer) -> Result<(), WireError> {
    to.tagged(number, args.len())?;
    to.items(args)
}

fn write_value(value: &Value, to: &mut Writer) -> Result<(), WireError> {
    match value {
        Value::Null => to.tagged(number::NULL, 0),
        Value::Boolean(value) => {
            to.tagged(number::BOOLEAN, 1)?;
            to.boolean(*value)
        }
        Value::Integer(value) => {
            to.tagged(number::INTEGER, 1)?;
            to.integer(*value)
        }
        Value::Number(digits) => {
            to.tagged(number::NUMBER, 1)?;
            to.text(digits)
        }
        Value::Text(text) => {
            to.tagged(number::TEXT, 1)?;
            to.text(text)
        }
        Value::Typed(literal) => {
            to.tagged(number::TYPED, 2)?;
            literal.write(to)
        }
    }
}

/// A column, constant or `*`; `None` where the number is another's.
fn read_operand(
    number: u64,
    operands: usize,
    from: &mut Reader<'_>,
) -> Result<Option<Expr>, WireError> {
    let expected = match number {
        number::NULL | number::WILDCARD => 0,
        number::BOOLEAN | number::INTEGER | number::NUMBER | number::TEXT => 1,
        number::COLUMN | number::TYPED => 2,
        _ => return Ok(None),
    };
    expect(operands, expected, number, from)?;
    Ok(Some(match number {
        number::NULL => null(),
        number::WILDCARD => all(),
        number::BOOLEAN => lit(from.boolean()?),
        number::INTEGER => lit(from.integer()?),
        number::NUMBER => {
            let digits = from.text()?;
            let is_it = |kind: &Kind| matches!(kind, Kind::Literal(Value::Number(number)) if **number == *digits);
            as_text(
                &digits,
                is_it,
                "no number with a point or an exponent",
                from,
            )?
        }
        number::TEXT => lit(from.text()?.as_str()),
        number::COLUMN => {
            let name = from.text()?;
            match from.boolean()? {
                true => exact_col(name),
                false => {
                    let is_it = |kind: &Kind| matches!(kind, Kind::Column { name: read, exact: false } if **read == *name);
                    as_text(
                        &name,
                        is_it,
                        "no name without quotes, and must be exact",
                        from,
                    )?
                }
            }
        }
        _ => lit(Literal::read(from)?),
    }))
}

/// What the text front makes of a text, where it is what it should be.
fn as_text(
    text: &str,
    is_it: impl Fn(&Kind) -> bool,
    what: &str,
    from: &mut Reader<'_>,
) -> Result<Expr, WireError> {
    let read = parse_expr(text).ok().filter(|expr| is_it(expr.kind()));
    read.ok_or_else(|| {
        let beginning: String = text.chars().take(40).collect();
        from.malformed(format!("{beginning:?} is {what}"))
    })
}

fn read_operation(number: u64, operands: usize, from: &mut Reader<'_>) -> Result<Expr, WireError> {
    if let number::AND | number::OR | number::COALESCE = number {
        return read_list(number, operands, from);
    }
    if let number::CASE = number {
        return read_case(operands, from);
    }
    if let number::CALL = number {
        return read_call(operands, from);
    }
    if let number::IN = number {
        let members = operands.checked_sub(2);
        let members = members.ok_or_else(|| from.malformed("an IN lacks its operand"))?;
        let negated = from.boolean()?;
        let arg = Expr::read(from)?;
        let list = from.items(members)?;
        return Ok(match negated {
            false => arg.in_list(list),
            true => arg.not_in_list(list),
        });
    }
    let expected = match number {
        number::NOT | number::NEGATE | number::ABS | number::TRY => 1,
        number::NULLIF | number::ALIAS => 2,
        number::BINARY | number::IS | number::CAST => 3,
        number::BETWEEN => 4,
        _ => return Err(from.malformed(format!("no expression has number {number}"))),
    };
    expect(operands, expected, number, from)?;
    Ok(match number {
        number::NOT => Expr::read(from)?.not(),
        number::NEGATE => Expr::read(from)?.neg(),
        number::ABS => Expr::read(from)?.abs(),
        number::TRY => Expr::read(from)?.try_(),
        number::NULLIF => nullif(Expr::read(from)?, Expr::read(from)?),
        number::ALIAS => {
            let name = from.text()?;
            Expr::read(from)?.alias(name)
        }
        number::BINARY => {
            let op = BinaryOp::read(from)?;
            Expr::read(from)?.binary(op, Expr::read(from)?)
        }
        number::IS => {
            let (test, negated) = (Item::read(from)?, from.boolean()?);
            Expr::read(from)?.is(test, negated)
        }
        number::CAST => {
            let (data_type, lenient) = (DataType::read(from)?, from.boolean()?);
            let arg = Expr::read(from)?;
            match lenient {
                false => arg.cast(data_type),
                true => arg.try_cast(data_type),
            }
        }
        _ => {
            let negated = from.boolean()?;
            let (arg, low, high) = (Expr::read(from)?, Expr::read(from)?, Expr::read(from)?);
            match negated {
                false => arg.between(low, high),
                true => arg.not_between(low, high),
            }
        }
    })
}

fn read_list(number: u64, operands: usize, from: &mut Reader<'_>) -> Result<Expr, WireError> {
    if number == number::COALESCE {
        return Ok(coalesce(from.items::<Expr>(operands)?));
    }
    if operands < 2 {
        return Err(from.malformed("AND and OR have two operands or more"));
    }
    let mut chain = Expr::read(from)?;
    for _ in 1..operands {
        let operand = Expr::read(from)?;
        chain = match number {
            number::AND => chain.and(operand),
            _ => chain.or(operand),
        };
    }
    Ok(chain)
}

fn read_case(operands: usize, from: &mut Reader<'_>) -> Result<Expr, WireError> {
    let branches = operands.checked_sub(2).filter(|parts| parts % 2 == 0);
    let branches = branches.ok_or_else(|| from.malformed("a CASE lacks a part"))? / 2;
    let operand = from.optional(Expr::read)?;
    let otherwise = from.optional(Expr::read)?;
    let mut built = operand.map(case);
    for _ in 0..branches {
        let (condition, value) = (Expr::read(from)?, Expr::read(from)?);
        let condition = match built {
            Some(case) => case.when(condition),
            None => when(condition),
        };
        built = Some(condition.then(value));
    }
    let built = built.ok_or_else(|| from.malformed("a CASE of conditions has none"))?;
    Ok(match otherwise {
        Some(otherwise) => built.otherwise(otherwise),
        None => built.end(),
    })
}

/// A call of a user's function, which the reader has to know.
fn read_call(operands: usize, from: &mut Reader<'_>) -> Result<Expr, WireError> {
    let args = operands.checked_sub(4);
    let args = args.ok_or_else(|| from.malformed("a call lacks a part of what it calls"))?;
    let name = from.text()?;
    let types = from.array()?;
    if types > MAX_ARGUMENTS {
        return Err(from.malformed(format!("a function takes {types} arguments")));
    }
    let types: Vec<DataType> = from.items(types)?;
    let result = DataType::read(from)?;
    let nullable = from.boolean()?;
    let signature = Signature::new(name, types, result);
    let signature = signature.map_err(|error| from.malformed(error.to_string()))?;
    let signature = match nullable {
        true => signature,
        false => signature.never_null(),
    };
    let known = from.functions().require(&signature);
    let function = Arc::clone(known.map_err(WireError::Function)?);
    Ok(function.call(from.items::<Expr>(args)?))
}

fn expect(
    operands: usize,
    expected: usize,
    number: u64,
    from: &mut Reader<'_>,
) -> Result<(), WireError> {
    match operands == expected {
        true => Ok(()),
        false => Err(from.malformed(format!(
            "expression {number} has {expected} operands, not {operands}"
        ))),
    }
}

/// A literal: its type, and the little-endian bytes of its value in the type's width or null.
impl Item for Literal {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        self.data_type.write(to)?;
        let Some(imm) = self.value else {
            return to.null();
        };
        if physical_type(&self.data_type) != Some(imm.ty()) {
            return Err(WireError::NotEncodable(format!(
                "a literal of type {} holds a value of another, {}",
                self.data_type,
                imm.ty()
            )));
        }
        to.bytes(&imm.to_le_bytes()[..imm.ty().bytes_for(1) as usize])
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let data_type = DataType::read(from)?;
        let Some(bytes) = from.optional(Reader::bytes)? else {
            return Ok(Literal::null(data_type));
        };
        let Some(ty) = physical_type(&data_type) else {
            return Err(from.malformed(format!("literals of type {data_type} are null alone")));
        };
        let width = ty.bytes_for(1) as usize;
        if bytes.len() != width {
            return Err(from.malformed(format!(
                "a value of type {data_type} is {width} bytes wide, not {}",
                bytes.len()
            )));
        }
        let mut wide = [0; 16];
        wide[..width].copy_from_slice(&bytes);
        Ok(Literal {
            data_type,
            value: Some(Imm::from_le_bytes(ty, wide)),
        })
    }
}
