//! Expressions before they have types: what the builder and the text front make.
//!
//! An [`Expr`] is made by those two alone, and shown by [`Expr::kind`] to what writes it down in
//! another form.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::DataType;
use unlade_program::CompareOp;

use crate::error::Span;
use crate::limits::MAX_DEPTH;
use crate::literal::Literal;
use crate::signature::Signature;
use crate::typed::{ArithmeticOp, IsTest};

/// An expression over the columns of a batch, not yet checked against a schema.
///
/// Made by the builder ([`col`](crate::col), [`lit`](crate::lit) and the methods here) or from
/// text ([`parse_expr`](crate::parse_expr)), and displayed as text that parses back to an equal
/// expression. Equality does not look at places in text.
///
/// ```
/// use arrow_schema::DataType;
/// use unlade_expr::{col, lit, parse_expr};
///
/// let built = col("a").cast(DataType::Int64).gt(lit(1));
/// assert_eq!(built.to_string(), "CAST(a AS bigint) > 1");
/// assert_eq!(parse_expr("a::bigint > 1")?, built);
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
///
/// An expression nested deeper than [`MAX_DEPTH`] is replaced by a marker while it is built, so
/// that no walk over one exhausts the stack; the check then says so.
#[derive(Clone, Debug)]
pub struct Expr {
    pub(crate) kind: Kind,
    /// Levels of nesting; kept so that building one level more is no walk.
    depth: u32,
    pub(crate) span: Option<Span>,
}

/// What an expression is, and of which operands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A column of the input.
    Column {
        /// Its name.
        name: Box<str>,
        /// Whether letter case must agree.
        exact: bool,
    },
    /// A constant.
    Literal(Value),
    /// `NOT arg`
    Not(Box<Expr>),
    /// `-arg`
    Negate(Box<Expr>),
    /// `abs(arg)`
    Abs(Box<Expr>),
    /// `lhs op rhs`
    Binary {
        /// Which.
        op: BinaryOp,
        /// Left operand.
        lhs: Box<Expr>,
        /// Right operand.
        rhs: Box<Expr>,
    },
    /// `AND` of two or more; the first is no `AND` itself.
    And(Vec<Expr>),
    /// `OR` of two or more; the first is no `OR` itself.
    Or(Vec<Expr>),
    /// `arg IS [NOT] NULL | TRUE | FALSE`
    Is {
        /// Which.
        test: IsTest,
        /// Whether there is a `NOT`.
        negated: bool,
        /// Operand.
        arg: Box<Expr>,
    },
    /// `arg [NOT] BETWEEN low AND high`
    Between {
        /// Whether there is a `NOT`.
        negated: bool,
        /// Operand.
        arg: Box<Expr>,
        /// Lower bound, included.
        low: Box<Expr>,
        /// Upper bound, included.
        high: Box<Expr>,
    },
    /// `arg [NOT] IN (list)`
    In {
        /// Whether there is a `NOT`.
        negated: bool,
        /// Operand.
        arg: Box<Expr>,
        /// Members.
        list: Vec<Expr>,
    },
    /// `CAST(arg AS to)`
    Cast {
        /// The type.
        to: DataType,
        /// `TRY_CAST`: null where the value has no counterpart.
        lenient: bool,
        /// Operand.
        arg: Box<Expr>,
    },
    /// `TRY(arg)`
    Try(Box<Expr>),
    /// `CASE`
    Case {
        /// What conditions are compared with, if they are values.
        operand: Option<Box<Expr>>,
        /// Condition and value of each `WHEN`.
        branches: Vec<(Expr, Expr)>,
        /// `ELSE`
        otherwise: Option<Box<Expr>>,
    },
    /// `coalesce(...)`
    Coalesce(Vec<Expr>),
    /// `nullif(value, null_where)`
    NullIf(Box<Expr>, Box<Expr>),
    /// A call of a user's function.
    Call {
        /// What it is called, takes and gives.
        function: Arc<Signature>,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// A name for an output, on top of a select item only.
    Alias {
        /// The name.
        name: Box<str>,
        /// The output.
        arg: Box<Expr>,
    },
    /// `*`, as a select item only.
    Wildcard,
    /// Stands for what nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Operators between two operands, `AND` and `OR` aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+ - * / %`
    Arithmetic(ArithmeticOp),
    /// `div`
    IntegerDivide,
    /// One of the six comparisons.
    Compare(CompareOp),
    /// `IS DISTINCT FROM`
    Distinct,
    /// `IS NOT DISTINCT FROM`
    NotDistinct,
}

/// A constant as it was written. Which type all but [`Value::Typed`] have is for the check to say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// `NULL`
    Null,
    /// `TRUE` or `FALSE`
    Boolean(bool),
    /// A whole number.
    Integer(i128),
    /// Digits with a point or an exponent, a minus before them possible.
    Number(Box<str>),
    /// Text, which stands for a date or timestamp.
    Text(Box<str>),
    /// A literal with a type of its own.
    Typed(Box<Literal>),
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for Expr {}

/// As equality: where in a text it stood does not count.
impl Hash for Expr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl Expr {
    /// A node over operands, or the marker where that would be too deep.
    pub(crate) fn new(kind: Kind) -> Self {
        let mut below = 0;
        let mut too_deep = false;
        kind.for_each_operand(|operand| {
            below = below.max(operand.depth);
            too_deep |= matches!(operand.kind, Kind::TooDeep);
        });
        if too_deep || below >= MAX_DEPTH {
            return Expr {
                kind: Kind::TooDeep,
                depth: 1,
                span: None,
            };
        }
        Expr {
            kind,
            depth: below + 1,
            span: None,
        }
    }

    /// The same expression, said to come from this place of the text.
    pub(crate) fn spanning(self, span: Span) -> Self {
        Expr {
            span: Some(span),
            ..self
        }
    }

    /// Appends to a flat chain of `AND` or `OR`, whose depth the new operand may raise.
    pub(crate) fn chain(self, operand: Expr, is_and: bool) -> Self {
        let mut operands = match (self.kind, is_and) {
            (Kind::And(operands), true) | (Kind::Or(operands), false) => {
                return extend(operands, operand, self.depth, is_and);
            }
            (kind, _) => vec![Expr { kind, ..self }],
        };
        operands.push(operand);
        Expr::new(chain_kind(operands, is_and))
    }

    /// What it is, and of which operands.
    ///
    /// ```
    /// use unlade_expr::{col, tree::Kind};
    /// assert!(matches!(col("a").not().kind(), Kind::Not(arg) if *arg.as_ref() == col("a")));
    /// ```
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Where in the text this came from, if it came from text.
    pub fn span(&self) -> Option<Span> {
        self.span
    }
}

fn extend(mut operands: Vec<Expr>, operand: Expr, depth: u32, is_and: bool) -> Expr {
    if matches!(operand.kind, Kind::TooDeep) || operand.depth >= MAX_DEPTH {
        operands.push(operand);
        return Expr::new(chain_kind(operands, is_and));
    }
    let depth = depth.max(operand.depth + 1);
    operands.push(operand);
    Expr {
        kind: chain_kind(operands, is_and),
        depth,
        span: None,
    }
}

fn chain_kind(operands: Vec<Expr>, is_and: bool) -> Kind {
    if is_and {
        Kind::And(operands)
    } else {
        Kind::Or(operands)
    }
}

impl Kind {
    /// Calls `visit` with each operand, in the order in which they are written.
    pub fn for_each_operand<'a>(&'a self, mut visit: impl FnMut(&'a Expr)) {
        match self {
            Kind::Column { .. } | Kind::Literal(_) | Kind::Wildcard | Kind::TooDeep => {}
            Kind::Not(arg)
            | Kind::Negate(arg)
            | Kind::Abs(arg)
            | Kind::Is { arg, .. }
            | Kind::Cast { arg, .. }
            | Kind::Try(arg)
            | Kind::Alias { arg, .. } => visit(arg),
            Kind::Binary { lhs, rhs, .. } | Kind::NullIf(lhs, rhs) => {
                visit(lhs);
                visit(rhs);
            }
            Kind::And(args) | Kind::Or(args) | Kind::Coalesce(args) | Kind::Call { args, .. } => {
                args.iter().for_each(visit)
            }
            Kind::Between { arg, low, high, .. } => {
                visit(arg);
                visit(low);
                visit(high);
            }
            Kind::In { arg, list, .. } => {
                visit(arg);
                list.iter().for_each(visit);
            }
            Kind::Case {
                operand,
                branches,
                otherwise,
            } => {
                operand.iter().for_each(|operand| visit(operand));
                for (condition, value) in branches {
                    visit(condition);
                    visit(value);
                }
                otherwise.iter().for_each(|otherwise| visit(otherwise));
            }
        }
    }
}
