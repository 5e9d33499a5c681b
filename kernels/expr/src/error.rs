//! Errors of the text front, the check and lowering.

use std::fmt;

/// A range of bytes in a query's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// Why an expression cannot be compiled.
///
/// Displayed as one line; [`ExprError::render`] adds the text with the place underlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    kind: ExprErrorKind,
    message: String,
    help: Option<String>,
    span: Option<Span>,
}

/// What kind of error an [`ExprError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExprErrorKind {
    /// The text is no expression.
    Syntax,
    /// A column, function or type that does not exist.
    Unknown,
    /// Operands whose types do not fit.
    Type,
    /// Something that exists but that these semantics or this version refuse.
    Unsupported,
    /// Too deep, too many nodes, too long a list.
    Limit,
}

impl ExprError {
    /// An error with its message: what is wrong, in the words of the query.
    pub fn new(kind: ExprErrorKind, message: impl Into<String>) -> Self {
        ExprError {
            kind,
            message: message.into(),
            help: None,
            span: None,
        }
    }

    /// The same error with what would fit.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        ExprError {
            help: Some(help.into()),
            ..self
        }
    }

    /// The same error at a place of the text, unless it already has one.
    pub fn at(self, span: Option<Span>) -> Self {
        ExprError {
            span: self.span.or(span),
            ..self
        }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ExprErrorKind {
        self.kind
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would fit, where that is known.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Where in the text, if the expression came from text.
    pub fn span(&self) -> Option<Span> {
        self.span
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ExprError {}
