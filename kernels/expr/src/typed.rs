//! The typed tree: what the check makes of an expression, and what lowering and the oracle read.
//!
//! Every choice that a set of semantics leaves open is written into the nodes. Operands of one
//! operation have one type; where the check widened one to get there, the cast is in the tree and
//! a note tells of it.

use arrow_schema::{DataType, Field, SchemaRef};
use unlade_program::{CompareOp, FloatOrder};

use crate::error::Span;
use crate::literal::Literal;
use crate::semantics::{Dialect, FloatZeroDivision, OnError};

/// A checked query: a predicate and what to put out of the rows it keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The schema of the batches it runs on.
    pub input: SchemaRef,
    /// The schema of the batches it makes.
    pub output: SchemaRef,
    /// The predicate, of type `Boolean`; rows on which it is null are dropped.
    pub filter: Option<Typed>,
    /// One per field of `output`.
    pub columns: Vec<OutputColumn>,
    /// Whether the keep mask is asked for beside (or instead of) columns.
    pub emit_mask: bool,
    /// Widenings that the check inserted, for `explain`.
    pub notes: Vec<String>,
}

/// Where an output column comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputColumn {
    /// An input column as it is, of any Arrow type: the rows kept, copied.
    Payload(usize),
    /// An expression.
    Computed(Typed),
}

/// A node with its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed {
    /// The operation.
    pub node: Node,
    /// The logical type of the result.
    pub data_type: DataType,
    /// Whether the result may be null.
    pub nullable: bool,
    /// The node's number in the order of evaluation (post-order: operands before the operation,
    /// left before right) over the whole query, filter first, then outputs. A trap reports it; of
    /// two traps on one row, the lesser is the error. A device may go on computing with the
    /// meaningless value of a node that trapped: whatever that makes trap is evaluated later and
    /// so has a greater ordinal, and the least one is the error that a sequential reading meets.
    pub ordinal: u32,
    /// Where in the query's text it came from.
    pub span: Option<Span>,
}

/// Arithmetic of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`, and `div` once its operands are integers: integers truncate toward zero.
    Div,
    /// `%`, with the sign of the dividend.
    Rem,
}

/// What `IS` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IsTest {
    /// `IS NULL`
    Null,
    /// `IS TRUE`
    True,
    /// `IS FALSE`
    False,
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// An input column by position. Of a dictionary type only as the operand of [`Node::Decode`];
    /// of a type that expressions do not compute with only as that of [`IsTest::Null`].
    Column(usize),
    /// A scalar.
    Literal(Literal),
    /// The values of a dictionary-encoded column.
    Decode(Box<Typed>),
    /// `lhs op rhs`, both of the result's type, integer or float.
    Arithmetic {
        /// Which.
        op: ArithmeticOp,
        /// What an integer overflow does. Unused by floats.
        overflow: OnError,
        /// What an integer division by zero does: trap or null. Unused by floats.
        zero: OnError,
        /// What a float division by zero does. Unused by integers.
        float_zero: FloatZeroDivision,
        /// Left operand.
        lhs: Box<Typed>,
        /// Right operand.
        rhs: Box<Typed>,
    },
    /// `-arg`
    Negate {
        /// What the minimum does.
        overflow: OnError,
        /// Operand, of the result's type.
        arg: Box<Typed>,
    },
    /// `abs(arg)`
    Abs {
        /// What the minimum does.
        overflow: OnError,
        /// Operand, of the result's type.
        arg: Box<Typed>,
    },
    /// A cast to the node's type.
    Cast {
        /// What an impossible value does.
        on_error: OnError,
        /// Whose rounding and truncation rules hold.
        dialect: Dialect,
        /// Operand.
        arg: Box<Typed>,
    },
    /// One of the six comparisons, null if an operand is.
    Compare {
        /// Which.
        op: CompareOp,
        /// How floats compare; `Ieee` for all other types.
        order: FloatOrder,
        /// Left operand.
        lhs: Box<Typed>,
        /// Right operand, of the same type.
        rhs: Box<Typed>,
    },
    /// `IS DISTINCT FROM`, or its negation; never null.
    Distinct {
        /// Whether this is `IS NOT DISTINCT FROM`.
        negated: bool,
        /// How floats compare.
        order: FloatOrder,
        /// Left operand.
        lhs: Box<Typed>,
        /// Right operand, of the same type.
        rhs: Box<Typed>,
    },
    /// Kleene conjunction; an operand is evaluated only on rows that those before it leave open.
    And(Vec<Typed>),
    /// Kleene disjunction; an operand is evaluated only on rows that those before it leave open.
    Or(Vec<Typed>),
    /// Kleene complement.
    Not(Box<Typed>),
    /// `IS [NOT] NULL | TRUE | FALSE`; never null.
    Is {
        /// Which.
        test: IsTest,
        /// Whether there is a `NOT`.
        negated: bool,
        /// Operand; of type `Boolean` unless the test is for null.
        arg: Box<Typed>,
    },
    /// `arg IN (list)`: true on a match, else null if `arg` is null or the list has one, else
    /// false.
    In {
        /// How floats compare.
        order: FloatOrder,
        /// Operand.
        arg: Box<Typed>,
        /// Literals of the operand's type, nulls possible.
        list: Vec<Literal>,
    },
    /// The value of the first branch whose condition is true, else `otherwise`, else null. A
    /// branch is evaluated only on its rows. `IF`, `NULLIF` and simple `CASE` become this.
    Case {
        /// Condition and value.
        branches: Vec<(Typed, Typed)>,
        /// `ELSE`
        otherwise: Option<Box<Typed>>,
    },
    /// The first operand that is not null; later ones are evaluated only where needed.
    Coalesce(Vec<Typed>),
    /// The operand, null on rows where it would trap.
    Try(Box<Typed>),
}

impl Checked {
    /// The fields of the output.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.output.fields().iter().map(|field| field.as_ref())
    }

    /// The filter and every computed output, in ordinal order.
    pub fn trees(&self) -> impl Iterator<Item = &Typed> {
        self.filter
            .iter()
            .chain(self.columns.iter().filter_map(|column| match column {
                OutputColumn::Computed(tree) => Some(tree),
                OutputColumn::Payload(_) => None,
            }))
    }

    /// The input columns that the query names, ascending: what a reader must provide for the
    /// query to be understood again. Lowering may find that it can do with fewer.
    pub fn named_columns(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = self
            .columns
            .iter()
            .filter_map(|column| match column {
                OutputColumn::Payload(column) => Some(*column),
                OutputColumn::Computed(_) => None,
            })
            .collect();
        self.trees()
            .for_each(|tree| tree.collect_columns(&mut columns));
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// Visits the operands of a node behind a reference, shared or mutable.
macro_rules! visit_operands {
    ($node:expr, $visit:ident) => {
        match $node {
            Node::Column(_) | Node::Literal(_) => {}
            Node::Decode(arg)
            | Node::Negate { arg, .. }
            | Node::Abs { arg, .. }
            | Node::Cast { arg, .. }
            | Node::Not(arg)
            | Node::Is { arg, .. }
            | Node::In { arg, .. }
            | Node::Try(arg) => $visit(arg),
            Node::Arithmetic { lhs, rhs, .. }
            | Node::Compare { lhs, rhs, .. }
            | Node::Distinct { lhs, rhs, .. } => {
                $visit(lhs);
                $visit(rhs);
            }
            Node::And(args) | Node::Or(args) | Node::Coalesce(args) => {
                for arg in args {
                    $visit(arg);
                }
            }
            Node::Case {
                branches,
                otherwise,
            } => {
                for (condition, value) in branches {
                    $visit(condition);
                    $visit(value);
                }
                if let Some(otherwise) = otherwise {
                    $visit(otherwise);
                }
            }
        }
    };
}

impl Typed {
    fn collect_columns(&self, columns: &mut Vec<usize>) {
        if let Node::Column(column) = self.node {
            columns.push(column);
        }
        self.for_each_child(|child| child.collect_columns(columns));
    }

    /// Calls `visit` with each operand, in pre-order of the source.
    pub fn for_each_child<'a>(&'a self, mut visit: impl FnMut(&'a Typed)) {
        visit_operands!(&self.node, visit);
    }

    /// As [`for_each_child`](Self::for_each_child), to change them.
    pub fn for_each_child_mut(&mut self, mut visit: impl FnMut(&mut Typed)) {
        visit_operands!(&mut self.node, visit);
    }

    /// The node with this ordinal, for the words of an error.
    pub fn find(&self, ordinal: u32) -> Option<&Typed> {
        if self.ordinal == ordinal {
            return Some(self);
        }
        let mut found = None;
        self.for_each_child(|child| {
            if found.is_none() {
                found = child.find(ordinal);
            }
        });
        found
    }
}
