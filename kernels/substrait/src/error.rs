//! Why a message is refused.

use unlade_expr::ExprError;

/// Why a message is refused. Each says what is wrong in words of Substrait's specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubstraitError {
    /// The bytes are no Protobuf, or no `ExtendedExpression`.
    #[error("the ExtendedExpression is malformed: {0}")]
    Malformed(String),
    /// More of something than is read.
    #[error("there are more than {most} {what}; split the expression")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        most: usize,
    },
    /// A field that no version of the specification known here has.
    #[error(
        "{message} has field {number}, which Substrait 0.{} does not know; it may mean anything, so write the expression by a version between 0.44 and that",
        substrait::version::SUBSTRAIT_MINOR_VERSION
    )]
    UnknownField {
        /// The message's name.
        message: String,
        /// The field's number.
        number: u32,
    },
    /// Something that must be said is not.
    #[error("{0} is not set; it may be of another version of Substrait")]
    Unset(&'static str),
    /// Something that Substrait has and this reader has not.
    #[error("{0}")]
    Unsupported(String),
    /// A function that is not known, or not by its origin.
    #[error("there is no function `{name}` (anchor {anchor}, {origin}); {help}")]
    UnknownFunction {
        /// Its name.
        name: String,
        /// Where it is declared.
        anchor: u32,
        /// Of which extension it is, in words.
        origin: String,
        /// What is near.
        help: String,
    },
    /// A function that is called with what it does not take.
    #[error("function `{name}` (anchor {anchor}): {what}")]
    Call {
        /// Its name.
        name: String,
        /// Where it is declared.
        anchor: u32,
        /// What is wrong.
        what: String,
    },
    /// Two demands, by options or casts, that one kernel cannot both meet.
    #[error(
        "{first} and {second} ask for different rules, and a kernel has one set of them; compile the expressions apart"
    )]
    Conflict {
        /// What asked first.
        first: String,
        /// What asked for another.
        second: String,
    },
    /// The expression does not pass the check.
    #[error("output `{output}`: {error}")]
    Check {
        /// The output's name.
        output: String,
        /// Why.
        error: ExprError,
    },
    /// An output's type is not the one that is declared.
    #[error("output `{output}` is declared {declared}, and is {found} by these rules")]
    OutputType {
        /// The output's name.
        output: String,
        /// What the message says.
        declared: String,
        /// What it is.
        found: String,
    },
}

/// That something is not supported, with what to do.
pub(crate) fn unsupported<T>(what: impl Into<String>) -> Result<T, SubstraitError> {
    Err(SubstraitError::Unsupported(what.into()))
}
