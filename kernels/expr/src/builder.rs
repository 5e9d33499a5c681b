//! The builder: expressions and queries made in Rust.

use std::ops;

use arrow_schema::DataType;
use unlade_program::CompareOp;

use crate::display::is_plain_identifier;
use crate::literal::Literal;
use crate::tree::{BinaryOp, Expr, Kind, Value};
use crate::typed::{ArithmeticOp, IsTest};

/// A column by name.
///
/// The name is matched as text without quotes would be: exactly, else letter case aside if that
/// leaves one column. A name that text would have to quote (`"unit price"`) matches exactly.
pub fn col(name: impl Into<Box<str>>) -> Expr {
    let name = name.into();
    let exact = !is_plain_identifier(&name);
    Expr::new(Kind::Column { name, exact })
}

/// A column by its exact name, letter case included, whatever the name looks like.
///
/// ```
/// use unlade_expr::exact_col;
/// assert_eq!(exact_col("Price").to_string(), "\"Price\"");
/// ```
pub fn exact_col(name: impl Into<Box<str>>) -> Expr {
    let name = name.into();
    Expr::new(Kind::Column { name, exact: true })
}

/// A literal.
///
/// It means what the same constant means in text, under the [`Coercion`](crate::Coercion) of the
/// rules that the query is checked by: an integer of any Rust type is a whole number, an `f64` a
/// number with an exponent (Spark's `DOUBLE`, where `0.5` in text is a `DECIMAL`), and text stands
/// for dates and timestamps. A [`Literal`] (and an `f32`) has a type of its own and keeps it.
pub fn lit(value: impl IntoLiteral) -> Expr {
    value.into_literal()
}

/// The null, of the type of what stands beside it.
pub fn null() -> Expr {
    Expr::new(Kind::Literal(Value::Null))
}

/// Every input column, as an item of [`Query::select`](crate::Query::select).
pub fn all() -> Expr {
    Expr::new(Kind::Wildcard)
}

/// The first operand that is not null; later ones are evaluated only on rows that need them.
pub fn coalesce(operands: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::new(Kind::Coalesce(operands.into_iter().collect()))
}

/// Null where the operands are equal, else the first.
pub fn nullif(value: Expr, null_where: Expr) -> Expr {
    Expr::new(Kind::NullIf(Box::new(value), Box::new(null_where)))
}

/// `then` where the condition is true, else `otherwise`; each evaluated only on its rows.
pub fn if_(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    when(condition).then(then).otherwise(otherwise)
}

/// Starts a `CASE` with conditions.
///
/// ```
/// use unlade_expr::{col, lit, when};
///
/// let size = when(col("a").lt(lit(10))).then(lit(1)).when(col("a").lt(lit(100))).then(lit(2));
/// assert_eq!(
///     size.otherwise(lit(3)).to_string(),
///     "CASE WHEN a < 10 THEN 1 WHEN a < 100 THEN 2 ELSE 3 END",
/// );
/// ```
pub fn when(condition: Expr) -> When {
    When {
        case: Case {
            operand: None,
            branches: Vec::new(),
        },
        condition,
    }
}

/// Starts a `CASE` that compares an operand with values.
pub fn case(operand: Expr) -> Case {
    Case {
        operand: Some(operand),
        branches: Vec::new(),
    }
}

/// A `CASE` that takes further branches, or ends.
#[derive(Clone, Debug)]
pub struct Case {
    operand: Option<Expr>,
    branches: Vec<(Expr, Expr)>,
}

/// A branch of a `CASE` that awaits its value.
#[derive(Clone, Debug)]
pub struct When {
    case: Case,
    condition: Expr,
}

impl When {
    /// The value of the branch.
    pub fn then(self, value: Expr) -> Case {
        let mut case = self.case;
        case.branches.push((self.condition, value));
        case
    }
}

impl Case {
    /// A further branch: its condition, or the value that the operand must equal.
    pub fn when(self, condition: Expr) -> When {
        When {
            case: self,
            condition,
        }
    }

    /// Ends with the value of rows that no branch took.
    pub fn otherwise(self, value: Expr) -> Expr {
        self.finish(Some(Box::new(value)))
    }

    /// Ends with null for rows that no branch took.
    pub fn end(self) -> Expr {
        self.finish(None)
    }

    fn finish(self, otherwise: Option<Box<Expr>>) -> Expr {
        Expr::new(Kind::Case {
            operand: self.operand.map(Box::new),
            branches: self.branches,
            otherwise,
        })
    }
}

/// What [`lit`] takes.
pub trait IntoLiteral {
    /// The value as an expression.
    fn into_literal(self) -> Expr;
}

macro_rules! integer_literals {
    ($($native:ty)*) => {$(
        impl IntoLiteral for $native {
            fn into_literal(self) -> Expr {
                Expr::new(Kind::Literal(Value::Integer(self as i128)))
            }
        }
    )*};
}

integer_literals!(i8 i16 i32 i64 i128 u8 u16 u32 u64 isize usize);

impl IntoLiteral for bool {
    fn into_literal(self) -> Expr {
        Expr::new(Kind::Literal(Value::Boolean(self)))
    }
}

impl IntoLiteral for f32 {
    fn into_literal(self) -> Expr {
        Literal::from(self).into_literal()
    }
}

impl IntoLiteral for f64 {
    fn into_literal(self) -> Expr {
        if !self.is_finite() {
            return Literal::from(self).into_literal();
        }
        // The shortest digits that read back as this float; with an exponent they are a double
        // also where a number with a point alone is a decimal.
        let mut digits = format!("{self:?}");
        if !digits.contains('e') {
            digits.push_str("e0");
        }
        let digits = digits.into();
        Expr::new(Kind::Literal(Value::Number(digits)))
    }
}

impl IntoLiteral for &str {
    fn into_literal(self) -> Expr {
        Expr::new(Kind::Literal(Value::Text(self.into())))
    }
}

impl IntoLiteral for Literal {
    fn into_literal(self) -> Expr {
        Expr::new(Kind::Literal(Value::Typed(Box::new(self))))
    }
}

fn compare(op: CompareOp, lhs: Expr, rhs: Expr) -> Expr {
    lhs.binary(BinaryOp::Compare(op), rhs)
}

fn arithmetic(op: ArithmeticOp, lhs: Expr, rhs: Expr) -> Expr {
    lhs.binary(BinaryOp::Arithmetic(op), rhs)
}

// The operators of std::ops are there too; the methods stand beside them so that a chain of
// calls need not be broken.
#[allow(clippy::should_implement_trait)]
impl Expr {
    /// `self op other`, by an operator's value; each has a method of its own, too.
    pub fn binary(self, op: BinaryOp, other: Expr) -> Expr {
        Expr::new(Kind::Binary {
            op,
            lhs: Box::new(self),
            rhs: Box::new(other),
        })
    }

    /// `self = other`
    pub fn eq(self, other: Expr) -> Expr {
        compare(CompareOp::Eq, self, other)
    }

    /// `self <> other`
    pub fn ne(self, other: Expr) -> Expr {
        compare(CompareOp::Ne, self, other)
    }

    /// `self < other`
    pub fn lt(self, other: Expr) -> Expr {
        compare(CompareOp::Lt, self, other)
    }

    /// `self <= other`
    pub fn le(self, other: Expr) -> Expr {
        compare(CompareOp::Le, self, other)
    }

    /// `self > other`
    pub fn gt(self, other: Expr) -> Expr {
        compare(CompareOp::Gt, self, other)
    }

    /// `self >= other`
    pub fn ge(self, other: Expr) -> Expr {
        compare(CompareOp::Ge, self, other)
    }

    /// `self IS DISTINCT FROM other`: unequal, nulls being equal to each other; never null.
    pub fn distinct_from(self, other: Expr) -> Expr {
        self.binary(BinaryOp::Distinct, other)
    }

    /// `self IS NOT DISTINCT FROM other`, Spark's `<=>`.
    pub fn not_distinct_from(self, other: Expr) -> Expr {
        self.binary(BinaryOp::NotDistinct, other)
    }

    /// `self BETWEEN low AND high`, both bounds included.
    pub fn between(self, low: Expr, high: Expr) -> Expr {
        self.between_or_not(low, high, false)
    }

    /// `self NOT BETWEEN low AND high`
    pub fn not_between(self, low: Expr, high: Expr) -> Expr {
        self.between_or_not(low, high, true)
    }

    pub(crate) fn between_or_not(self, low: Expr, high: Expr, negated: bool) -> Expr {
        Expr::new(Kind::Between {
            negated,
            arg: Box::new(self),
            low: Box::new(low),
            high: Box::new(high),
        })
    }

    /// `self IN (list)`, which is false where the list is empty, as text cannot have it
    pub fn in_list(self, list: impl IntoIterator<Item = Expr>) -> Expr {
        self.in_or_not(list.into_iter().collect(), false)
    }

    /// `self NOT IN (list)`
    pub fn not_in_list(self, list: impl IntoIterator<Item = Expr>) -> Expr {
        self.in_or_not(list.into_iter().collect(), true)
    }

    pub(crate) fn in_or_not(self, list: Vec<Expr>, negated: bool) -> Expr {
        Expr::new(Kind::In {
            negated,
            arg: Box::new(self),
            list,
        })
    }

    /// `self AND other`; the right side is evaluated only on rows that the left leaves open.
    pub fn and(self, other: Expr) -> Expr {
        self.chain(other, true)
    }

    /// `self OR other`; the right side is evaluated only on rows that the left leaves open.
    pub fn or(self, other: Expr) -> Expr {
        self.chain(other, false)
    }

    /// `NOT self`
    pub fn not(self) -> Expr {
        Expr::new(Kind::Not(Box::new(self)))
    }

    /// `self IS NULL`
    pub fn is_null(self) -> Expr {
        self.is(IsTest::Null, false)
    }

    /// `self IS NOT NULL`
    pub fn is_not_null(self) -> Expr {
        self.is(IsTest::Null, true)
    }

    /// `self IS TRUE`
    pub fn is_true(self) -> Expr {
        self.is(IsTest::True, false)
    }

    /// `self IS NOT TRUE`
    pub fn is_not_true(self) -> Expr {
        self.is(IsTest::True, true)
    }

    /// `self IS FALSE`
    pub fn is_false(self) -> Expr {
        self.is(IsTest::False, false)
    }

    /// `self IS NOT FALSE`
    pub fn is_not_false(self) -> Expr {
        self.is(IsTest::False, true)
    }

    /// `self IS [NOT] NULL | TRUE | FALSE`
    pub fn is(self, test: IsTest, negated: bool) -> Expr {
        Expr::new(Kind::Is {
            test,
            negated,
            arg: Box::new(self),
        })
    }

    /// `self + other`
    pub fn add(self, other: Expr) -> Expr {
        arithmetic(ArithmeticOp::Add, self, other)
    }

    /// `self - other`
    pub fn sub(self, other: Expr) -> Expr {
        arithmetic(ArithmeticOp::Sub, self, other)
    }

    /// `self * other`
    pub fn mul(self, other: Expr) -> Expr {
        arithmetic(ArithmeticOp::Mul, self, other)
    }

    /// `self / other`: of integers the truncated quotient, under Spark's rules a double.
    pub fn div(self, other: Expr) -> Expr {
        arithmetic(ArithmeticOp::Div, self, other)
    }

    /// `self div other`: the truncated quotient of integers, under Spark's rules a bigint.
    pub fn int_div(self, other: Expr) -> Expr {
        self.binary(BinaryOp::IntegerDivide, other)
    }

    /// `self % other`, with the sign of the dividend.
    pub fn rem(self, other: Expr) -> Expr {
        arithmetic(ArithmeticOp::Rem, self, other)
    }

    /// `-self`; of a number, the negative number.
    pub fn neg(self) -> Expr {
        match self.kind {
            Kind::Literal(Value::Integer(value)) if value != i128::MIN => {
                Expr::new(Kind::Literal(Value::Integer(-value)))
            }
            Kind::Literal(Value::Number(digits)) => {
                let negated = match digits.strip_prefix('-') {
                    Some(positive) => positive.into(),
                    None => format!("-{digits}").into(),
                };
                Expr::new(Kind::Literal(Value::Number(negated)))
            }
            _ => Expr::new(Kind::Negate(Box::new(self))),
        }
    }

    /// `abs(self)`
    pub fn abs(self) -> Expr {
        Expr::new(Kind::Abs(Box::new(self)))
    }

    /// `CAST(self AS to)`; the semantics say what a value without counterpart does.
    pub fn cast(self, to: DataType) -> Expr {
        self.cast_or_null(to, false)
    }

    /// `TRY_CAST(self AS to)`: null where the value has no counterpart.
    pub fn try_cast(self, to: DataType) -> Expr {
        self.cast_or_null(to, true)
    }

    pub(crate) fn cast_or_null(self, to: DataType, lenient: bool) -> Expr {
        Expr::new(Kind::Cast {
            to,
            lenient,
            arg: Box::new(self),
        })
    }

    /// `TRY(self)`: null on rows where evaluating it fails.
    pub fn try_(self) -> Expr {
        Expr::new(Kind::Try(Box::new(self)))
    }

    /// A name for the output, as `self AS name`. Only as an item of [`Query::select`](crate::Query::select).
    pub fn alias(self, name: impl Into<Box<str>>) -> Expr {
        Expr::new(Kind::Alias {
            name: name.into(),
            arg: Box::new(self),
        })
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident;)*) => {$(
        impl ops::$trait for Expr {
            type Output = Expr;

            fn $method(self, other: Expr) -> Expr {
                arithmetic(ArithmeticOp::$op, self, other)
            }
        }
    )*};
}

operators! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
    Rem rem Rem;
}

impl ops::Neg for Expr {
    type Output = Expr;

    fn neg(self) -> Expr {
        Expr::neg(self)
    }
}

impl ops::Not for Expr {
    type Output = Expr;

    fn not(self) -> Expr {
        Expr::not(self)
    }
}
