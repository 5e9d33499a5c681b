//! What is wrong with a text.

/// Why a text is not accepted, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message}")]
#[non_exhaustive]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: u32,
    /// What sort of error it is, which decides the driver's error code.
    pub kind: ParseErrorKind,
    /// What is wrong with it.
    pub message: String,
}

/// The sorts of errors in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// It is no PTX: a name is unknown, a type does not fit, something is missing.
    Invalid,
    /// It is PTX, but of a part that is not simulated.
    Unsupported,
    /// Its `.version` is newer than the simulated driver.
    Version,
    /// Its `.target` is no architecture that is known.
    Target,
}

pub(crate) type Result<T> = std::result::Result<T, ParseError>;

pub(crate) fn invalid<T>(line: u32, message: impl Into<String>) -> Result<T> {
    fail(line, ParseErrorKind::Invalid, message)
}

pub(crate) fn unsupported<T>(line: u32, message: impl Into<String>) -> Result<T> {
    fail(line, ParseErrorKind::Unsupported, message)
}

pub(crate) fn fail<T>(line: u32, kind: ParseErrorKind, message: impl Into<String>) -> Result<T> {
    Err(ParseError {
        line,
        kind,
        message: message.into(),
    })
}
