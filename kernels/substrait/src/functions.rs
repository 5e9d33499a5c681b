//! The functions that are read.

use std::sync::Arc;

use unlade_expr::tree::BinaryOp;
use unlade_expr::{ArithmeticOp, Expr, IsTest, Signature, Signatures, closest, coalesce, nullif};
use unlade_program::CompareOp;

use crate::error::SubstraitError;
use crate::extensions::{Declared, Origin};

/// A function that is read.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name, without the types of its arguments.
    pub name: &'static str,
    /// The extensions of Substrait's that have it; none where it is an engine's own, by bare name.
    pub files: &'static [&'static str],
    /// What it becomes, as text writes it.
    pub text: &'static str,
    /// Which options it takes.
    pub options: Options,
    meaning: Meaning,
}

/// Which options a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// None.
    None,
    /// `overflow`, and of floats `rounding`.
    Arithmetic,
    /// Those, and what dividing by zero does.
    Division,
    /// Those of a division of integers, and which quotient is meant.
    Modulus,
}

#[derive(Clone, Copy, Debug)]
enum Meaning {
    Binary(BinaryOp),
    And,
    AndNot,
    Or,
    Not,
    Negate,
    Abs,
    Between,
    Is(IsTest, bool),
    Coalesce,
    NullIf,
}

const COMPARISON: &[&str] = &["functions_comparison"];
const ORDER: &[&str] = &["functions_comparison", "functions_datetime"];
const BOOLEAN: &[&str] = &["functions_boolean"];
const ARITHMETIC: &[&str] = &["functions_arithmetic", "functions_arithmetic_decimal"];
/// Of DataFusion, which names no extension.
const BARE: &[&str] = &[];

const fn compare(name: &'static str, op: CompareOp, text: &'static str) -> Function {
    let files = match op {
        CompareOp::Eq | CompareOp::Ne => COMPARISON,
        _ => ORDER,
    };
    plain(name, files, text, Meaning::Binary(BinaryOp::Compare(op)))
}

const fn arithmetic(name: &'static str, op: ArithmeticOp, text: &'static str) -> Function {
    Function {
        options: match op {
            ArithmeticOp::Div => Options::Division,
            ArithmeticOp::Rem => Options::Modulus,
            _ => Options::Arithmetic,
        },
        ..plain(
            name,
            ARITHMETIC,
            text,
            Meaning::Binary(BinaryOp::Arithmetic(op)),
        )
    }
}

const fn is(
    name: &'static str,
    files: &'static [&'static str],
    test: IsTest,
    negated: bool,
    text: &'static str,
) -> Function {
    plain(name, files, text, Meaning::Is(test, negated))
}

const fn plain(
    name: &'static str,
    files: &'static [&'static str],
    text: &'static str,
    meaning: Meaning,
) -> Function {
    Function {
        name,
        files,
        text,
        options: Options::None,
        meaning,
    }
}

/// Every function that is read, in the order of docs/SUBSTRAIT.md.
pub const FUNCTIONS: &[Function] = &[
    compare("equal", CompareOp::Eq, "x = y"),
    compare("not_equal", CompareOp::Ne, "x <> y"),
    compare("lt", CompareOp::Lt, "x < y"),
    compare("lte", CompareOp::Le, "x <= y"),
    compare("gt", CompareOp::Gt, "x > y"),
    compare("gte", CompareOp::Ge, "x >= y"),
    plain("between", COMPARISON, "x BETWEEN y AND z", Meaning::Between),
    plain(
        "is_distinct_from",
        COMPARISON,
        "x IS DISTINCT FROM y",
        Meaning::Binary(BinaryOp::Distinct),
    ),
    plain(
        "is_not_distinct_from",
        COMPARISON,
        "x IS NOT DISTINCT FROM y",
        Meaning::Binary(BinaryOp::NotDistinct),
    ),
    is("is_null", COMPARISON, IsTest::Null, false, "x IS NULL"),
    is(
        "is_not_null",
        COMPARISON,
        IsTest::Null,
        true,
        "x IS NOT NULL",
    ),
    is("is_true", COMPARISON, IsTest::True, false, "x IS TRUE"),
    is(
        "is_not_true",
        COMPARISON,
        IsTest::True,
        true,
        "x IS NOT TRUE",
    ),
    is("is_false", COMPARISON, IsTest::False, false, "x IS FALSE"),
    is(
        "is_not_false",
        COMPARISON,
        IsTest::False,
        true,
        "x IS NOT FALSE",
    ),
    is("is_unknown", BARE, IsTest::Null, false, "x IS NULL"),
    is("is_not_unknown", BARE, IsTest::Null, true, "x IS NOT NULL"),
    plain(
        "coalesce",
        COMPARISON,
        "coalesce(x, ...)",
        Meaning::Coalesce,
    ),
    plain("nullif", COMPARISON, "nullif(x, y)", Meaning::NullIf),
    plain("and", BOOLEAN, "x AND ...", Meaning::And),
    plain("or", BOOLEAN, "x OR ...", Meaning::Or),
    plain("not", BOOLEAN, "NOT x", Meaning::Not),
    plain(
        "xor",
        BOOLEAN,
        "x <> y",
        Meaning::Binary(BinaryOp::Compare(CompareOp::Ne)),
    ),
    plain("and_not", BOOLEAN, "x AND NOT y", Meaning::AndNot),
    arithmetic("add", ArithmeticOp::Add, "x + y"),
    arithmetic("subtract", ArithmeticOp::Sub, "x - y"),
    arithmetic("multiply", ArithmeticOp::Mul, "x * y"),
    arithmetic("divide", ArithmeticOp::Div, "x / y"),
    arithmetic("modulus", ArithmeticOp::Rem, "x % y"),
    plain(
        "integer_divide",
        BARE,
        "x div y",
        Meaning::Binary(BinaryOp::IntegerDivide),
    ),
    Function {
        options: Options::Arithmetic,
        ..plain("negate", ARITHMETIC, "-x", Meaning::Negate)
    },
    Function {
        options: Options::Arithmetic,
        ..plain("abs", ARITHMETIC, "abs(x)", Meaning::Abs)
    },
];

/// What is declared at an anchor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resolved<'a> {
    /// A function that is read.
    Known(&'static Function),
    /// One that a user has registered.
    Users(&'a Arc<Signature>),
}

/// The function that is declared at an anchor: what is not read may be a user's.
pub(crate) fn resolve<'a>(
    declared: &Declared,
    anchor: u32,
    users: &'a Signatures,
) -> Result<Resolved<'a>, SubstraitError> {
    // The types of arguments may follow the name: `gt:any_any`.
    let name = declared.name.split(':').next().unwrap_or_default();
    let found = FUNCTIONS.iter().find(|function| function.name == name);
    let is_of = |function: &&Function| match &declared.origin {
        Origin::Bare => true,
        Origin::Standard(file) => function.files.contains(&file.as_str()),
        Origin::Arrow => function.name == "xor",
        Origin::Other(_) => false,
    };
    if let Some(known) = found.filter(is_of) {
        return Ok(Resolved::Known(known));
    }
    match users.get(name) {
        Some(function) => Ok(Resolved::Users(function)),
        None => Err(SubstraitError::UnknownFunction {
            name: name.to_owned(),
            anchor,
            origin: declared.origin.describe(),
            help: help(name, found, &declared.origin, users),
        }),
    }
}

fn help(name: &str, found: Option<&Function>, origin: &Origin, users: &Signatures) -> String {
    let known = FUNCTIONS.iter().map(|function| function.name);
    let users = users.iter().map(|function| function.name());
    match (found, origin) {
        (Some(function), _) if !function.files.is_empty() => {
            format!(
                "there is one of that name in {}",
                function.files.join(" and ")
            )
        }
        (Some(_), _) => "there is one of that name where none names an extension".to_owned(),
        (None, _) => match closest(name, known.chain(users)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "docs/SUBSTRAIT.md lists those that are read".to_owned(),
        },
    }
}

impl Function {
    /// What it is with these arguments, or what is wrong with their number.
    pub(crate) fn apply(&self, arguments: Vec<Expr>) -> Result<Expr, String> {
        let count = arguments.len();
        let wrong = |takes: &str| format!("it takes {takes}, not {count}");
        match self.meaning {
            Meaning::And | Meaning::Or => {
                let chain = match self.meaning {
                    Meaning::And => Expr::and,
                    _ => Expr::or,
                };
                let chained = arguments.into_iter().reduce(chain);
                chained.ok_or_else(|| wrong("one argument or more"))
            }
            Meaning::Coalesce if count == 0 => Err(wrong("one argument or more")),
            Meaning::Coalesce => Ok(coalesce(arguments)),
            Meaning::Not | Meaning::Negate | Meaning::Abs | Meaning::Is(..) => {
                let one: Result<[Expr; 1], _> = arguments.try_into();
                let [x] = one.map_err(|_| wrong("one argument"))?;
                Ok(match self.meaning {
                    Meaning::Not => x.not(),
                    Meaning::Negate => x.neg(),
                    Meaning::Is(test, negated) => x.is(test, negated),
                    _ => x.abs(),
                })
            }
            Meaning::Between => {
                let three: Result<[Expr; 3], _> = arguments.try_into();
                let [x, low, high] = three.map_err(|_| wrong("three arguments"))?;
                Ok(x.between(low, high))
            }
            Meaning::Binary(_) | Meaning::AndNot | Meaning::NullIf => {
                let two: Result<[Expr; 2], _> = arguments.try_into();
                let [x, y] = two.map_err(|_| wrong("two arguments"))?;
                Ok(match self.meaning {
                    Meaning::Binary(op) => x.binary(op, y),
                    Meaning::AndNot => x.and(y.not()),
                    _ => nullif(x, y),
                })
            }
        }
    }
}
