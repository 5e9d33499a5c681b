//! Errors and exit codes, which are those of the `unlade` command.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use unlade::{Error, FailureKind, printable};

/// Why a statement, or the command, ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 1 to 4: what was wrong, in words; 1 is also any other error while a statement ran.
    Of(FailureKind, String),
    /// 0: whoever read the output has seen enough.
    Closed,
    /// 130: Ctrl-C.
    Interrupted,
}

impl Failure {
    pub(crate) fn data(message: impl Into<String>) -> Self {
        Failure::Of(FailureKind::Data, message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure::Of(FailureKind::Usage, message.into())
    }

    pub(crate) fn file(message: impl Into<String>) -> Self {
        Failure::Of(FailureKind::File, message.into())
    }

    pub(crate) fn resource(message: impl Into<String>) -> Self {
        Failure::Of(FailureKind::Resource, message.into())
    }

    /// Prints it, and gives the exit code of a process that ends with it.
    pub(crate) fn report(&self) -> ExitCode {
        self.say();
        ExitCode::from(match self {
            Failure::Of(kind, _) => kind.exit_code(),
            Failure::Closed => 0,
            Failure::Interrupted => 130,
        })
    }

    /// Prints it.
    pub(crate) fn say(&self) {
        if !matches!(self, Failure::Closed) {
            say(&format!("error: {self}"));
        }
    }
}

/// A line on standard error, where nothing of a file controls the terminal. That it is closed or full
/// is no reason to say something else.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(line));
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Of(_, message) => f.write_str(message),
            Failure::Closed => f.write_str("the output was closed"),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        let message = match error.find_root() {
            DataFusionError::SQL(error, _) => no_sql(error),
            _ => error.strip_backtrace(),
        };
        let kind = match error.find_root() {
            DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::Configuration(_)
            | DataFusionError::NotImplemented(_) => FailureKind::Usage,
            DataFusionError::IoError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::ParquetError(_) => FailureKind::File,
            DataFusionError::ResourcesExhausted(_) => FailureKind::Resource,
            DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
                Some(error) => FailureKind::of(error),
                None => FailureKind::Data,
            },
            _ => FailureKind::Data,
        };
        Failure::Of(kind, message)
    }
}

/// What the parser says, in a sentence.
fn no_sql(error: &ParserError) -> String {
    let said = match error {
        ParserError::TokenizerError(said) | ParserError::ParserError(said) => said.as_str(),
        ParserError::RecursionLimitExceeded => "it is nested too deeply",
    };
    let said = said
        .replace("Expected: ", "expected ")
        .replace(", found: EOF", ", found its end")
        .replace(", found: ", ", found ")
        .replace(" at Line: ", " at line ")
        .replace(", Column: ", ", column ");
    format!("this is no SQL: {said}")
}

impl From<io::Error> for Failure {
    /// Of an error of standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::file(format!("standard output: {error}")),
        }
    }
}
