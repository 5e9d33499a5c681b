//! What can go wrong, and what to do about it.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{ArrowError, DataType};
use unlade_expr::ExprError;
use unlade_hal::fork::Forked;
use unlade_hal::{AllocError, DeviceLost};
use unlade_naive::Description;

use crate::workers::panic_message;

/// Why a query was not compiled or a batch has no result.
///
/// Cheap to clone: several tickets may end with one error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The expression is refused: syntax, names, types, limits.
    #[error(transparent)]
    Expr(#[from] ExprError),
    /// A row has no result under the chosen semantics: overflow, division by zero, a bad cast.
    #[error(transparent)]
    Data(#[from] Box<DataError>),
    /// A user's function has no result for a batch.
    #[error(transparent)]
    Function(#[from] Box<FunctionError>),
    /// A batch is not of the schema that the kernel was compiled for.
    #[error(transparent)]
    Schema(#[from] Box<SchemaError>),
    /// The memory budget is used up.
    #[error(transparent)]
    Exhausted(#[from] Box<Exhausted>),
    /// No device that placement may choose runs this query.
    #[error(transparent)]
    Unplaceable(#[from] Box<Unplaceable>),
    /// A device failed and nothing else was allowed to take its work.
    #[error("device {} failed and no other device took the batch: {}", .0.device, .0.reason)]
    DeviceFault(DeviceLost),
    /// The ticket, stream or session was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The deadline of the session, which is named, has passed.
    #[error(
        "the deadline of session `{0}` has passed; open one that has longer, or give it less to do"
    )]
    DeadlineExceeded(Arc<str>),
    /// A session cannot have the devices that it asks for.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// The runtime has [ended](crate::Runtime::shutdown), or was dropped while work was outstanding.
    #[error("the runtime is shut down")]
    Shutdown,
    /// The runtime was made by this process's parent. Devices and pinned memory do not survive a fork.
    #[error(transparent)]
    Forked(#[from] Forked),
    /// The system has not as much pinned memory as the runtime was to reserve at its start.
    #[error("reserving {asked} bytes of memory: {source}; reserve less")]
    Reserve {
        /// Bytes asked for.
        asked: u64,
        /// What the system said.
        source: AllocError,
    },
    /// Something is larger or more than a limit allows.
    #[error("{what}: {asked} is more than the limit of {limit}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// What was asked for.
        asked: u64,
        /// The limit.
        limit: u64,
    },
    /// Data breaks a rule of its own format: a key outside its dictionary, a wrong length.
    #[error("malformed data: {0}")]
    Malformed(String),
    /// The reader that feeds a stream failed.
    #[error("reading the input failed: {0}")]
    Input(Arc<ArrowError>),
    /// A ticket was waited for inside of what its own runtime has called, which may have the thread that
    /// is to do its work: the wait might have no end.
    #[error(
        "waiting for a ticket inside of {0} that the ticket's own runtime has called might have no end, \
         since it may have the thread that is to do the work; call `run` there, or wait outside of it"
    )]
    WaitWithin(Within),
    /// A worker panicked; the message is the panic's.
    #[error(
        "a worker panicked: {0}; this is a bug in unlade or in a reader or callback handed to it"
    )]
    Panicked(String),
    /// Something was asked for that cannot be: an option, a device, a batch that is not there.
    #[error("{0}")]
    Config(String),
}

impl Error {
    /// What was caught of a panic.
    pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Self {
        Error::Panicked(panic_message(panic))
    }
}

/// What a runtime calls of its users'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Within {
    /// A function of a query.
    Function,
    /// The reader of a stream.
    Reader,
    /// What is told of a ticket's result.
    Callback,
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Within::Function => "a user's function",
            Within::Reader => "a reader",
            Within::Callback => "a callback",
        })
    }
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        Error::Data(Box::new(error))
    }
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        Error::Schema(Box::new(error))
    }
}

impl From<Exhausted> for Error {
    fn from(error: Exhausted) -> Self {
        Error::Exhausted(Box::new(error))
    }
}

impl From<Unplaceable> for Error {
    fn from(error: Unplaceable) -> Self {
        Error::Unplaceable(Box::new(error))
    }
}

/// So that kernels can be part of Arrow readers.
impl From<Error> for ArrowError {
    fn from(error: Error) -> Self {
        ArrowError::ExternalError(Box::new(error))
    }
}

/// Devices that a session asked for and cannot have, now or ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session `{session}` asks for {asked}: {reason}")]
#[non_exhaustive]
pub struct Refused {
    /// The session's label.
    pub session: Arc<str>,
    /// What it asked for.
    pub asked: String,
    /// Why it cannot be had, and what to do.
    pub reason: String,
}

/// The error of one row: the least failing row of the batch, and on it the operation that a
/// sequential reading of the query meets first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DataError {
    /// The row, counted from 0 in the batch that the caller handed over.
    pub row: u64,
    /// The operation's number in the order of evaluation.
    pub ordinal: u32,
    /// What went wrong, on which value; `None` where evaluating the row again showed no error, so
    /// that the device which reported one is not to be trusted.
    pub description: Option<Description>,
    /// Apache Spark's error class, under Spark semantics: `ARITHMETIC_OVERFLOW` ...
    pub spark_class: Option<&'static str>,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(class) = self.spark_class {
            write!(f, "[{class}] ")?;
        }
        match &self.description {
            Some(description) => description.fmt(f),
            None => write!(
                f,
                "row {}: the device reported an error in operation {} that evaluating the row \
                 again does not show",
                self.row, self.ordinal
            ),
        }
    }
}

impl std::error::Error for DataError {}

/// The error of a user's function: of one row, if it named one, or of the batch. It stands before the
/// errors of rows that the query's program has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FunctionError {
    /// The function's name.
    pub function: Arc<str>,
    /// What went wrong with it.
    pub kind: FunctionErrorKind,
    /// The row, counted from 0 in the batch that the caller handed over.
    pub row: Option<u64>,
    /// In the function's words.
    pub message: String,
    /// The source, where it is another error.
    pub(crate) cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong with a user's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FunctionErrorKind {
    /// It said so.
    Failed,
    /// It returned what is not of its signature: of another length or type, or with nulls that it was
    /// not to have; or, from another language, what is no array.
    Malformed,
    /// It panicked.
    Panicked,
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            write!(f, "row {row}: ")?;
        }
        let what = match self.kind {
            FunctionErrorKind::Failed => "failed",
            FunctionErrorKind::Malformed => "broke its promise",
            FunctionErrorKind::Panicked => "panicked",
        };
        write!(f, "function `{}` {what}: {}", self.function, self.message)
    }
}

impl std::error::Error for FunctionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

/// How a batch differs from the schema that the kernel was compiled for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Another number of columns.
    #[error(
        "the batch has {given} columns, the kernel was compiled for {expected}{differs}; compile for \
         the schema of the data, or hand over these columns alone, in that order"
    )]
    Columns {
        /// Columns of the compiled schema.
        expected: usize,
        /// Columns of the batch.
        given: usize,
        /// Which of them the one has and the other has not, in words.
        differs: String,
    },
    /// A column of another name, where that was [asked for](crate::Kernel::check_names).
    #[error(
        "column {index} is `{given}`, and `{expected}` in the schema that the kernel was compiled for, whose \
         columns are taken by position; put them in its order under its names, or compile for the schema of \
         the data"
    )]
    Name {
        /// Position of the column.
        index: usize,
        /// Its name in the compiled schema.
        expected: String,
        /// Its name in the batch.
        given: String,
    },
    /// A column of another type.
    #[error(
        "column {index} (`{name}`) is {given}, the kernel was compiled for {expected}; cast it before, or \
         compile for the schema of the data"
    )]
    Type {
        /// Position of the column.
        index: usize,
        /// Its name in the compiled schema.
        name: String,
        /// Type in the compiled schema.
        expected: DataType,
        /// Type in the batch.
        given: DataType,
    },
    /// Nulls where the schema promised none.
    #[error(
        "column {index} (`{name}`) has {nulls} nulls, but the kernel was compiled for a schema in \
         which it is not nullable; compile with a nullable field"
    )]
    Nulls {
        /// Position of the column.
        index: usize,
        /// Its name in the compiled schema.
        name: String,
        /// How many nulls there are.
        nulls: usize,
    },
}

/// The memory budget cannot give what a batch needs, and nothing that is held will come back
/// without the caller's doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Bytes asked for.
    pub asked: u64,
    /// The budget in bytes: the session's, where that is less than the runtime's.
    pub budget: u64,
    /// Who holds how much, the largest first.
    pub holders: Vec<Holder>,
    /// Why the system or a device gave no more, where the budget had room for it.
    pub cause: Option<String>,
}

/// One who holds memory of the budget.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Holder {
    /// What it is: `exported to the caller`, `in flight on sim`, `pinned`.
    pub what: String,
    /// Bytes held.
    pub bytes: u64,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exhausted { asked, budget, .. } = self;
        write!(
            f,
            "memory exhausted: {asked} bytes asked for, the budget is {budget} bytes"
        )?;
        for (i, holder) in self.holders.iter().enumerate() {
            let lead = if i == 0 { "; held: " } else { ", " };
            write!(f, "{lead}{} bytes {}", holder.bytes, holder.what)?;
        }
        match &self.cause {
            Some(cause) => write!(f, "; no more is to be had than that: {cause}"),
            None => f.write_str("; drop results sooner, use smaller batches or raise the budget"),
        }
    }
}

impl std::error::Error for Exhausted {}

/// No allowed device runs the query; one reason for each device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaceable {
    /// Device name and why not.
    pub reasons: Vec<(Arc<str>, String)>,
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no device may run this query")?;
        for (i, (device, reason)) in self.reasons.iter().enumerate() {
            let lead = if i == 0 { ": " } else { "; " };
            write!(f, "{lead}{device}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unplaceable {}
