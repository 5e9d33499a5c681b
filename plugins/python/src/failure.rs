//! Errors as the exceptions that `unlade/_errors.py` defines.

use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyException, PyKeyboardInterrupt};
use pyo3::prelude::*;
use unlade::{Clause, DataError, Error, ExprError, ExprErrorKind, FunctionError};

/// The classes, as Python has them.
mod classes {
    use pyo3::import_exception;

    import_exception!(unlade._errors, Cancelled);
    import_exception!(unlade._errors, CompileError);
    import_exception!(unlade._errors, ConfigError);
    import_exception!(unlade._errors, DataFormatError);
    import_exception!(unlade._errors, DeadlineExceeded);
    import_exception!(unlade._errors, DeviceLost);
    import_exception!(unlade._errors, Error);
    import_exception!(unlade._errors, Exhausted);
    import_exception!(unlade._errors, Forked);
    import_exception!(unlade._errors, FunctionError);
    import_exception!(unlade._errors, InputError);
    import_exception!(unlade._errors, LimitError);
    import_exception!(unlade._errors, Refused);
    import_exception!(unlade._errors, SchemaError);
    import_exception!(unlade._errors, Shutdown);
    import_exception!(unlade._errors, TrapError);
    import_exception!(unlade._errors, Unplaceable);
}

/// What ends a call: an error of Unlade's, or an exception of Python's.
#[derive(Debug)]
pub(crate) enum Failure {
    Unlade(Error),
    Python(PyErr),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Unlade(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Failure::Python(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unlade(error) => raised(error),
            Failure::Python(error) => error,
        }
    }
}

/// A mistake in how something is asked for.
pub(crate) fn config(what: impl Into<String>) -> Failure {
    Error::Config(what.into()).into()
}

/// What work makes; an error where it panics, which is a bug: Python is not to see a panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Error::panicked(panic).into())
}

/// Data that breaks the rules of its format.
pub(crate) fn malformed(what: &str) -> PyErr {
    classes::DataFormatError::new_err(what.to_owned())
}

/// The same error with its row counted from so many rows before the batch.
pub(crate) fn with_rows_before(error: Error, before: u64) -> Error {
    match error {
        Error::Data(mut data) => {
            data.row += before;
            if let Some(description) = &mut data.description {
                description.row += before;
            }
            Error::Data(data)
        }
        Error::Function(mut function) => {
            function.row = function.row.map(|row| row + before);
            Error::Function(function)
        }
        other => other,
    }
}

/// An expression that is refused, with its text if it came from one.
pub(crate) fn refused(error: &ExprError, text: Option<&str>) -> Failure {
    let rendered = text.map_or_else(
        || {
            let help = error.help().map(|help| format!("\nhelp: {help}"));
            format!("error: {}{}", error.message(), help.unwrap_or_default())
        },
        |text| error.render(text),
    );
    let kind = match error.kind() {
        ExprErrorKind::Syntax => "syntax",
        ExprErrorKind::Unknown => "unknown",
        ExprErrorKind::Type => "type",
        ExprErrorKind::Unsupported => "unsupported",
        ExprErrorKind::Limit => "limit",
        _ => "other",
    };
    let clause = error.clause().map(|clause| match clause {
        Clause::Filter => "filter",
        Clause::Select => "select",
    });
    let span = error.span().map(|span| (span.start, span.end));
    let help = error.help().map(str::to_owned);
    let message = error.message().to_owned();
    classes::CompileError::new_err((message, rendered, kind, clause, span, help)).into()
}

/// Substrait that is not read.
pub(crate) fn not_imported(message: &str, help: Option<&str>) -> Failure {
    let hint = help.map_or_else(String::new, |help| format!("\nhelp: {help}"));
    let rendered = format!("error: {message}{hint}");
    let (none, no_span) = (None::<&str>, None::<(u32, u32)>);
    classes::CompileError::new_err((
        message.to_owned(),
        rendered,
        "substrait",
        none,
        no_span,
        help.map(str::to_owned),
    ))
    .into()
}

/// An expression of pyarrow's that it does not serialise.
pub(crate) fn not_serialised(py: Python<'_>, error: PyErr) -> Failure {
    let said = error.value(py).to_string();
    let help = if said.contains("unsafe casts") {
        "write casts as `x.cast(type, safe=False)`: they become checked ones here. Beside a column of \
         another type pyarrow puts a safe cast itself: give constants the column's type, as \
         `pc.scalar(pa.scalar(3, pa.uint16()))`"
    } else {
        "write it as text; `unlade.functions()` lists the language"
    };
    let failure = not_imported(
        &format!("pyarrow does not serialise the expression: {said}"),
        Some(help),
    );
    let refused = PyErr::from(failure);
    refused.set_cause(py, Some(error));
    refused.into()
}

fn raised(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Expr(error) => refused(&error, None).into(),
        Error::Data(data) => trapped(message, &data),
        Error::Function(function) => of_function(message, &function),
        Error::Schema(_) => classes::SchemaError::new_err(message),
        Error::Exhausted(exhausted) => {
            let holders: Vec<_> = exhausted
                .holders
                .iter()
                .map(|holder| (holder.what.clone(), holder.bytes))
                .collect();
            classes::Exhausted::new_err((message, exhausted.asked, exhausted.budget, holders))
        }
        Error::Unplaceable(unplaceable) => {
            let reasons: Vec<_> = unplaceable
                .reasons
                .iter()
                .map(|(device, reason)| (device.to_string(), reason.clone()))
                .collect();
            classes::Unplaceable::new_err((message, reasons))
        }
        Error::DeviceFault(lost) => {
            classes::DeviceLost::new_err((message, lost.device, lost.reason))
        }
        Error::Cancelled => classes::Cancelled::new_err(message),
        Error::DeadlineExceeded(session) => {
            classes::DeadlineExceeded::new_err((message, session.to_string()))
        }
        Error::Refused(refused) => classes::Refused::new_err((
            message,
            refused.session.to_string(),
            refused.asked.clone(),
            refused.reason.clone(),
        )),
        Error::Shutdown => classes::Shutdown::new_err(message),
        Error::Forked(_) => classes::Forked::new_err(message),
        Error::Limit { asked, limit, .. } => classes::LimitError::new_err((message, asked, limit)),
        Error::Malformed(_) => classes::DataFormatError::new_err(message),
        Error::Input(_) if interrupts(&message) => PyKeyboardInterrupt::new_err(()),
        Error::Input(_) => classes::InputError::new_err(message),
        Error::Config(_) | Error::Reserve { .. } | Error::WaitWithin(_) => {
            classes::ConfigError::new_err(message)
        }
        _ => classes::Error::new_err(message),
    }
}

/// Whether a reader that is written in Python failed because of Ctrl-C. An exception comes through a C
/// stream as nothing but its text: of this one, a line of the traceback.
fn interrupts(message: &str) -> bool {
    message
        .lines()
        .any(|line| line.trim() == "KeyboardInterrupt")
}

/// The exception of a function in Python is the cause; one that is to end the program stays what it is.
fn of_function(message: String, error: &FunctionError) -> PyErr {
    Python::attach(|py| {
        let cause = error
            .source()
            .and_then(|cause| cause.downcast_ref::<PyErr>());
        let cause = cause.map(|cause| cause.clone_ref(py));
        if let Some(cause) = cause
            .as_ref()
            .filter(|it| !it.is_instance_of::<PyException>(py))
        {
            return cause.clone_ref(py);
        }
        let function = error.function.to_string();
        let raised = classes::FunctionError::new_err((message, function, error.row));
        raised.set_cause(py, cause);
        raised
    })
}

fn trapped(message: String, data: &DataError) -> PyErr {
    let description = data.description.as_ref();
    let operation = description.map(|description| description.operation.clone());
    let value = description.map(|description| description.value.clone());
    classes::TrapError::new_err((
        message,
        data.row,
        operation,
        value,
        data.ordinal,
        data.spark_class,
    ))
}
