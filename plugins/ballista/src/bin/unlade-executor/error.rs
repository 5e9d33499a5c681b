//! Errors and exit codes, which are those of the `unlade` command.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use ballista_core::error::BallistaError;
use unlade::{FailureKind, printable};

/// Why the command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 2 to 4: what was wrong, in words; 1 is what went wrong while it ran.
    Of(FailureKind, String),
    /// 130: a second Ctrl-C or SIGTERM.
    Interrupted,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure::Of(FailureKind::Usage, message.into())
    }

    pub(crate) fn file(path: &Path, error: impl std::fmt::Display) -> Self {
        Failure::Of(FailureKind::File, format!("{}: {error}", path.display()))
    }

    pub(crate) fn resource(message: impl Into<String>) -> Self {
        Failure::Of(FailureKind::Resource, message.into())
    }

    /// Prints it, and gives the exit code of a process that ends with it.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Failure::Of(kind, message) => {
                say(&format!("error: {message}"));
                ExitCode::from(kind.exit_code())
            }
            Failure::Interrupted => ExitCode::from(130),
        }
    }
}

/// A line on standard error, where nothing of a file controls the terminal. That it is closed or full
/// is no reason to say something else.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(line));
}

impl From<BallistaError> for Failure {
    fn from(error: BallistaError) -> Self {
        let kind = match error {
            BallistaError::Configuration(_) => FailureKind::Usage,
            BallistaError::GrpcConnectionError(_)
            | BallistaError::GrpcError(_)
            | BallistaError::TonicError(_) => FailureKind::Resource,
            BallistaError::IoError(_) => FailureKind::File,
            _ => FailureKind::Data,
        };
        Failure::Of(kind, format!("the executor ended: {error}"))
    }
}
