//! Why a command over a runtime ends without success, in the terms of exit codes.

use unlade_runtime::Error;

/// What was wrong where a command fails: each kind is an exit code of `unlade` and `unlade-sql`.
///
/// ```
/// use unlade::{Error, FailureKind};
///
/// let refused = Error::Config("a weight of 0".to_owned());
/// assert_eq!(FailureKind::of(&refused), FailureKind::Resource);
/// assert_eq!(FailureKind::of(&refused).exit_code(), 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// A row has no result.
    Data,
    /// The command line, an expression, a statement, a setting.
    Usage,
    /// A file.
    File,
    /// A device or memory.
    Resource,
}

impl FailureKind {
    /// What an error of the runtime is about.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Data(_) => FailureKind::Data,
            Error::Expr(_) | Error::Schema(_) => FailureKind::Usage,
            Error::Malformed { .. } => FailureKind::File,
            _ => FailureKind::Resource,
        }
    }

    /// The exit code of a process that ends with it, 1 to 4.
    pub fn exit_code(self) -> u8 {
        match self {
            FailureKind::Data => 1,
            FailureKind::Usage => 2,
            FailureKind::File => 3,
            FailureKind::Resource => 4,
        }
    }
}
