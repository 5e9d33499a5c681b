//! What went wrong in a call, before it becomes an error of C's.

use std::any::Any;

use unlade::FunctionErrorKind;
use unlade_cdata::CDataError;
use unlade_ingest::IngestError;

use crate::code::unlade_code::{self, *};

/// Why a call has no result.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: unlade_code,
    pub(crate) message: String,
    /// The row that has no result, of an error of the data.
    pub(crate) row: Option<u64>,
}

impl Failure {
    pub(crate) fn new(code: unlade_code, message: impl Into<String>) -> Self {
        Failure {
            code,
            message: message.into(),
            row: None,
        }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Failure::new(UNLADE_INVALID_ARGUMENT, message)
    }

    /// An argument that must not be null.
    pub(crate) fn null(what: &str) -> Self {
        Failure::argument(format!("the {what} is a null pointer"))
    }

    /// A handle of another kind, or of none.
    pub(crate) fn handle(wanted: &str, is: Option<&str>) -> Self {
        let why = match is {
            Some(is) => format!("it is a {is}"),
            None => "it was freed, or never given out".to_owned(),
        };
        Failure::new(
            UNLADE_INVALID_HANDLE,
            format!("the handle is no {wanted}: {why}"),
        )
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Failure::new(UNLADE_MALFORMED, message)
    }

    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Failure::new(
            UNLADE_INTERNAL,
            format!("a panic inside of Unlade: {said}; this is a bug in it"),
        )
    }
}

impl From<unlade::Error> for Failure {
    fn from(error: unlade::Error) -> Self {
        use unlade::Error;
        let row = match &error {
            Error::Data(data) => Some(data.row),
            Error::Function(function) => function.row,
            _ => None,
        };
        let code = match &error {
            Error::Expr(_) => UNLADE_EXPRESSION,
            Error::Data(_) => UNLADE_DATA,
            Error::Function(function) => match function.kind {
                FunctionErrorKind::Malformed => UNLADE_MALFORMED,
                _ => UNLADE_DATA,
            },
            Error::Schema(_) => UNLADE_SCHEMA,
            Error::Exhausted(_) | Error::Reserve { .. } => UNLADE_EXHAUSTED,
            Error::Unplaceable(_) => UNLADE_UNSUPPORTED,
            Error::DeviceFault(_) => UNLADE_DEVICE_FAULT,
            Error::Cancelled => UNLADE_CANCELLED,
            Error::DeadlineExceeded(_) => UNLADE_DEADLINE,
            Error::Refused(_) => UNLADE_REFUSED,
            Error::Shutdown => UNLADE_SHUTDOWN,
            Error::Forked(_) => UNLADE_FORKED,
            Error::Limit { .. } => UNLADE_LIMIT,
            Error::Malformed(_) => UNLADE_MALFORMED,
            Error::Input(_) => UNLADE_INPUT,
            Error::Config(_) => UNLADE_CONFIG,
            Error::WaitWithin(_) => UNLADE_INVALID_ARGUMENT,
            // Of a kind that came after this was written; tests list those that there are.
            _ => UNLADE_INTERNAL,
        };
        Failure {
            code,
            message: error.to_string(),
            row,
        }
    }
}

impl From<unlade_hal::fork::Forked> for Failure {
    fn from(forked: unlade_hal::fork::Forked) -> Self {
        Failure::new(UNLADE_FORKED, forked.to_string())
    }
}

impl From<CDataError> for Failure {
    fn from(error: CDataError) -> Self {
        let code = match &error {
            CDataError::Null(_) => UNLADE_INVALID_ARGUMENT,
            CDataError::Malformed(_) => UNLADE_MALFORMED,
            CDataError::Schema(_) => UNLADE_SCHEMA,
            CDataError::Stream(_) => UNLADE_INPUT,
            // Of a kind that came after this was written.
            _ => UNLADE_INTERNAL,
        };
        Failure::new(code, error.to_string())
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        Failure::new(UNLADE_INPUT, error.to_string())
    }
}
