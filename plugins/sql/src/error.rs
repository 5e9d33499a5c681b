//! Errors and exit codes, which are those of the `unlade` command.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use datafusion::common::DataFusionError;
use unlade::{Error, printable};

/// Why a statement, or the command, ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 1: an error of a row, or another while a statement ran.
    Data(String),
    /// 2: the command line, SQL, an option.
    Usage(String),
    /// 3: a file.
    File(String),
    /// 4: a device or memory.
    Resource(String),
    /// 0: whoever read the output has seen enough.
    Closed,
    /// 130: Ctrl-C.
    Interrupted,
}

impl Failure {
    /// Prints it, and gives the exit code of a process that ends with it.
    pub(crate) fn report(&self) -> ExitCode {
        self.say();
        ExitCode::from(match self {
            Failure::Data(_) => 1,
            Failure::Usage(_) => 2,
            Failure::File(_) => 3,
            Failure::Resource(_) => 4,
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
            Failure::Data(message)
            | Failure::Usage(message)
            | Failure::File(message)
            | Failure::Resource(message) => f.write_str(message),
            Failure::Closed => f.write_str("the output was closed"),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        let message = error.strip_backtrace();
        match error.find_root() {
            DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::Configuration(_)
            | DataFusionError::NotImplemented(_) => Failure::Usage(message),
            DataFusionError::IoError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::ParquetError(_) => Failure::File(message),
            DataFusionError::ResourcesExhausted(_) => Failure::Resource(message),
            DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
                Some(Error::Data(_)) | None => Failure::Data(message),
                Some(Error::Expr(_) | Error::Schema(_)) => Failure::Usage(message),
                Some(Error::Malformed { .. }) => Failure::File(message),
                Some(_) => Failure::Resource(message),
            },
            _ => Failure::Data(message),
        }
    }
}

impl From<io::Error> for Failure {
    /// Of an error of standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::File(format!("standard output: {error}")),
        }
    }
}
