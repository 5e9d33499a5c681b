//! Expressions before they have types.

use std::hash::{Hash, Hasher};

use arrow_schema::DataType;
use unlade_program::CompareOp;

use crate::error::Span;
use crate::limits::MAX_DEPTH;
use crate::literal::Literal;
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

#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum Kind {
    Column {
        name: Box<str>,
        /// Whether letter case must agree.
        exact: bool,
    },
    Literal(Value),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Abs(Box<Expr>),
    Binary {
        op: BinaryOp,
        lhs: Box<Expr>,
        rhs: Box<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Is {
        test: IsTest,
        negated: bool,
        arg: Box<Expr>,
    },
    Between {
        negated: bool,
        arg: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
    },
    In {
        negated: bool,
        arg: Box<Expr>,
        list: Vec<Expr>,
    },
    Cast {
        to: DataType,
        /// `TRY_CAST`: null where the value has no counterpart.
        lenient: bool,
        arg: Box<Expr>,
    },
    Try(Box<Expr>),
    Case {
        operand: Option<Box<Expr>>,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Coalesce(Vec<Expr>),
    NullIf(Box<Expr>, Box<Expr>),
    /// A name for an output, on top of a select item only.
    Alias {
        name: Box<str>,
        arg: Box<Expr>,
    },
    /// `*`, as a select item only.
    Wildcard,
    TooDeep,
}

/// Operators between two operands, `AND` and `OR` aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BinaryOp {
    Arithmetic(ArithmeticOp),
    /// `div`
    IntegerDivide,
    Compare(CompareOp),
    Distinct,
    NotDistinct,
}

/// A constant as it was written. Which type all but [`Value::Typed`] have is for the check to say.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i128),
    /// Digits with a point or an exponent, a minus before them possible.
    Number(Box<str>),
    Text(Box<str>),
    Typed(Box<Literal>),
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

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
    fn for_each_operand(&self, mut visit: impl FnMut(&Expr)) {
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
            Kind::And(args) | Kind::Or(args) | Kind::Coalesce(args) => args.iter().for_each(visit),
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
