//! Expressions as text, with no more parentheses than reading them back needs.

use std::fmt;

use arrow_schema::DataType;
use unlade_program::CompareOp;

use crate::calendar;
use crate::literal::Literal;
use crate::tree::{BinaryOp, Expr, Kind, Value};
use crate::type_name::TypeName;
use crate::typed::{ArithmeticOp, IsTest};

/// How tightly an expression binds, from `OR` to an operand that stands for itself. The parser
/// reads by the same levels.
pub(crate) mod level {
    pub(crate) const OR: u8 = 1;
    pub(crate) const AND: u8 = 2;
    pub(crate) const NOT: u8 = 3;
    pub(crate) const IS: u8 = 4;
    pub(crate) const COMPARE: u8 = 5;
    pub(crate) const ADD: u8 = 6;
    pub(crate) const MULTIPLY: u8 = 7;
    pub(crate) const NEGATE: u8 = 8;
    pub(crate) const CAST: u8 = 9;
    pub(crate) const PRIMARY: u8 = 10;
}

/// Words that are no column names unless quoted.
const RESERVED: &[&str] = &[
    "and", "as", "between", "case", "distinct", "div", "else", "end", "false", "from", "ilike",
    "in", "is", "like", "not", "null", "or", "select", "then", "true", "when", "where",
];

/// Whether a word is one of those that structure an expression.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// Whether a name can be written without quotes.
pub(crate) fn is_plain_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !is_reserved(name)
}

/// Characters of a text that an error shows at most.
const MOST_SHOWN: usize = 80;

/// The beginning of a text, and a mark where that is not all.
pub(crate) struct Brief<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Brief<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match text.char_indices().nth(MOST_SHOWN) {
            None => f.write_str(&text),
            Some((end, _)) => write!(f, "{}\u{2026}", &text[..end]),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Column { name, exact: false } => f.write_str(name),
            Kind::Column { name, exact: true } => quoted(f, name),
            Kind::Literal(value) => write_value(f, value),
            Kind::Not(arg) => write!(f, "NOT {}", At(arg, level::NOT)),
            Kind::Negate(arg) => write!(f, "-{}", At(arg, level::CAST)),
            Kind::Abs(arg) => write!(f, "abs({arg})"),
            Kind::Binary { op, lhs, rhs } => {
                let own = self.level();
                write!(f, "{} {} {}", At(lhs, own), op.symbol(), At(rhs, own + 1))
            }
            Kind::And(args) => separated(f, args, " AND ", level::AND + 1),
            Kind::Or(args) => separated(f, args, " OR ", level::OR + 1),
            Kind::Is { test, negated, arg } => {
                let test = match test {
                    IsTest::Null => "NULL",
                    IsTest::True => "TRUE",
                    IsTest::False => "FALSE",
                };
                write!(f, "{} IS {}{test}", At(arg, level::IS), not(*negated))
            }
            Kind::Between {
                negated,
                arg,
                low,
                high,
            } => write!(
                f,
                "{} {}BETWEEN {} AND {}",
                At(arg, level::COMPARE),
                not(*negated),
                At(low, level::ADD),
                At(high, level::ADD)
            ),
            Kind::In { negated, arg, list } => {
                write!(f, "{} {}IN (", At(arg, level::COMPARE), not(*negated))?;
                separated(f, list, ", ", level::OR)?;
                f.write_str(")")
            }
            Kind::Cast { to, lenient, arg } => {
                let function = if *lenient { "TRY_CAST" } else { "CAST" };
                write!(f, "{function}({arg} AS {})", TypeName(to))
            }
            Kind::Try(arg) => write!(f, "TRY({arg})"),
            Kind::Case {
                operand,
                branches,
                otherwise,
            } => {
                f.write_str("CASE")?;
                if let Some(operand) = operand {
                    write!(f, " {operand}")?;
                }
                for (condition, value) in branches {
                    write!(f, " WHEN {condition} THEN {value}")?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {otherwise}")?;
                }
                f.write_str(" END")
            }
            Kind::Coalesce(args) => {
                f.write_str("coalesce(")?;
                separated(f, args, ", ", level::OR)?;
                f.write_str(")")
            }
            Kind::NullIf(value, null_where) => write!(f, "nullif({value}, {null_where})"),
            Kind::Call { function, args } => {
                write!(f, "{}(", function.name())?;
                separated(f, args, ", ", level::OR)?;
                f.write_str(")")
            }
            Kind::Alias { name, arg } => {
                write!(f, "{arg} AS ")?;
                if is_plain_identifier(name) {
                    f.write_str(name)
                } else {
                    quoted(f, name)
                }
            }
            Kind::Wildcard => f.write_str("*"),
            Kind::TooDeep => f.write_str("..."),
        }
    }
}

impl Expr {
    fn level(&self) -> u8 {
        match &self.kind {
            Kind::Or(_) => level::OR,
            Kind::And(_) => level::AND,
            Kind::Not(_) => level::NOT,
            Kind::Is { .. } => level::IS,
            Kind::Between { .. } | Kind::In { .. } => level::COMPARE,
            Kind::Binary { op, .. } => op.level(),
            Kind::Negate(_) => level::NEGATE,
            Kind::Literal(Value::Integer(..0)) => level::NEGATE,
            Kind::Literal(Value::Number(digits)) if digits.starts_with('-') => level::NEGATE,
            _ => level::PRIMARY,
        }
    }
}

impl BinaryOp {
    pub(crate) fn level(self) -> u8 {
        match self {
            BinaryOp::Arithmetic(ArithmeticOp::Add | ArithmeticOp::Sub) => level::ADD,
            BinaryOp::Arithmetic(_) | BinaryOp::IntegerDivide => level::MULTIPLY,
            BinaryOp::Compare(_) => level::COMPARE,
            BinaryOp::Distinct | BinaryOp::NotDistinct => level::IS,
        }
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Arithmetic(op) => match op {
                ArithmeticOp::Add => "+",
                ArithmeticOp::Sub => "-",
                ArithmeticOp::Mul => "*",
                ArithmeticOp::Div => "/",
                ArithmeticOp::Rem => "%",
            },
            BinaryOp::IntegerDivide => "div",
            BinaryOp::Compare(op) => match op {
                CompareOp::Eq => "=",
                CompareOp::Ne => "<>",
                CompareOp::Lt => "<",
                CompareOp::Le => "<=",
                CompareOp::Gt => ">",
                CompareOp::Ge => ">=",
            },
            BinaryOp::Distinct => "IS DISTINCT FROM",
            BinaryOp::NotDistinct => "IS NOT DISTINCT FROM",
        }
    }
}

/// An operand at a place that takes what binds at least this tightly.
struct At<'a>(&'a Expr, u8);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.level() < self.1 {
            write!(f, "({})", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

fn separated(f: &mut fmt::Formatter<'_>, args: &[Expr], separator: &str, level: u8) -> fmt::Result {
    for (position, arg) in args.iter().enumerate() {
        if position > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{}", At(arg, level))?;
    }
    Ok(())
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn quoted(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(f, "\"{}\"", name.replace('"', "\"\""))
}

fn text(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    write!(f, "'{}'", value.replace('\'', "''"))
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Null => f.write_str("NULL"),
        Value::Boolean(true) => f.write_str("TRUE"),
        Value::Boolean(false) => f.write_str("FALSE"),
        Value::Integer(value) => write!(f, "{value}"),
        Value::Number(digits) => f.write_str(digits),
        Value::Text(value) => text(f, value),
        Value::Typed(literal) => write!(f, "{literal}"),
    }
}

impl fmt::Display for Literal {
    /// Writes the literal as an expression that has its type and value, NaN payloads aside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CAST(")?;
        self.write_bare(f)?;
        write!(f, " AS {})", TypeName(&self.data_type))
    }
}

impl Literal {
    fn write_bare(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(imm) = self.value else {
            return f.write_str("NULL");
        };
        match &self.data_type {
            DataType::Boolean => f.write_str(if imm.as_mask() { "TRUE" } else { "FALSE" }),
            DataType::Float32 => write_float(f, f64::from(imm.as_f32())),
            DataType::Float64 => write_float(f, imm.as_f64()),
            DataType::Date32 => text(f, &calendar::format_date(imm.as_integer() as i64)),
            DataType::Date64 => text(
                f,
                &calendar::format_timestamp(
                    imm.as_integer() as i64,
                    arrow_schema::TimeUnit::Millisecond,
                ),
            ),
            DataType::Timestamp(unit, zone) => {
                let clock = calendar::format_timestamp(imm.as_integer() as i64, *unit);
                let suffix = if zone.is_some() { "Z" } else { "" };
                write!(f, "'{clock}{suffix}'")
            }
            DataType::Decimal128(_, scale) => write_decimal(f, imm.as_integer(), *scale),
            _ => write!(f, "{}", imm.as_integer()),
        }
    }
}

fn write_float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_nan() {
        f.write_str("'NaN'")
    } else if value.is_infinite() {
        f.write_str(if value > 0.0 {
            "'Infinity'"
        } else {
            "'-Infinity'"
        })
    } else {
        write!(f, "{value:?}")
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, unscaled: i128, scale: i8) -> fmt::Result {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    match usize::try_from(scale) {
        Ok(0) => write!(f, "{sign}{digits}"),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            write!(f, "{sign}{whole}.{fraction}")
        }
        Err(_) => write!(f, "{sign}{digits}e{}", -i16::from(scale)),
    }
}
