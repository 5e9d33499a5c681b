//! Errors and exit codes.

use std::fmt;
use std::process::ExitCode;

use unlade::observe::ObserveError;
use unlade::{DataError, Error, FailureKind};
use unlade_ingest::IngestError;

use crate::interrupt;
use crate::report::{self, style};

/// Why a command ends without success. Each kind has an exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 1 to 4: what was wrong, in words.
    Of(FailureKind, String),
    /// 0: whoever read the output has seen enough.
    Closed,
    /// 128 plus its number, as shells have it: a signal, 130 for Ctrl-C.
    Interrupted { signal: i32 },
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

    /// The failure, with something to know before it.
    pub(crate) fn after(self, words: &str) -> Self {
        match self {
            Failure::Of(kind, message) => Failure::Of(kind, format!("{words}{message}")),
            other => other,
        }
    }

    /// The exit code of a process that ends with this.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Of(kind, _) => kind.exit_code(),
            Failure::Closed => 0,
            Failure::Interrupted { signal } => {
                128 + u8::try_from(*signal).expect("the signals watched have small numbers")
            }
        }
    }

    /// Prints the error and gives its exit code.
    pub(crate) fn report(self) -> ExitCode {
        match &self {
            Failure::Closed => {}
            // Names and values come from files, which nobody has looked through for escapes.
            other => report::say(format_args!(
                "{}: {}",
                style::red("error"),
                unlade::printable(&other.to_string())
            )),
        }
        ExitCode::from(self.exit_code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Of(_, message) => f.write_str(message),
            Failure::Closed => f.write_str("the output was closed"),
            Failure::Interrupted { .. } => match interrupt::written() {
                None => f.write_str("interrupted; no file was written"),
                Some(path) => write!(f, "interrupted; only {} was written", path.display()),
            },
        }
    }
}

/// What the system said, and what to look at where it is a limit of the shell's.
pub(crate) fn system(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::FileTooLarge => {
            format!("{error}; `ulimit -f` says how large a file may be")
        }
        _ => error.to_string(),
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Closed { .. } => Failure::Closed,
            IngestError::SchemaDiffers { .. } | IngestError::Unwritable { .. } => {
                Failure::usage(error.to_string())
            }
            IngestError::Io {
                place,
                action,
                source,
            } => Failure::file(format!("{place}: cannot {action}: {}", system(&source))),
            IngestError::OutOfMemory { .. } => Failure::resource(error.to_string()),
            other => Failure::file(other.to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = match error {
            Error::Exhausted(_) => {
                "; half of --memory is for results, the other half for what is read"
            }
            _ => "",
        };
        Failure::Of(FailureKind::of(&error), format!("{error}{hint}"))
    }
}

impl From<ObserveError> for Failure {
    fn from(error: ObserveError) -> Self {
        match error {
            ObserveError::Version { .. }
            | ObserveError::NotASnapshot { .. }
            | ObserveError::Truncated { .. }
            | ObserveError::Io { .. } => Failure::file(error.to_string()),
            other => Failure::resource(other.to_string()),
        }
    }
}

/// The error of a row with the file and the row in it.
pub(crate) fn in_file(error: &DataError, location: &unlade_ingest::Location) -> Failure {
    let mut error = error.clone();
    error.row += location.first_row;
    if let Some(description) = &mut error.description {
        description.row = error.row;
    }
    Failure::data(format!("{}: {error}", location.place))
}
