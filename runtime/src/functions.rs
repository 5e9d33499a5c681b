//! Users' functions: what is registered, and what is made of a call.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use arrow_array::{Array, ArrayRef};
use unlade_expr::{Signature, Signatures, stands_for};

use crate::arrays;
use crate::error::Within;
use crate::error::{Error, FunctionError, FunctionErrorKind};
use crate::sync::RwLock;
use crate::within::{Inside, MOST_DEEP, RuntimeId};
use crate::workers::panic_message;

/// A scalar function that a user has written, of Arrow arrays on the CPU.
///
/// A call of it is computed before the program of the query that has it, for every row of the batch:
/// also for rows that a filter drops or a branch leaves out. It gets one array for each argument, all of
/// the batch's length, and returns one of that length and of its [signature](Signature)'s type, whose
/// nulls are its own to set: it is called for rows with nulls, too. It must be pure, since equal calls are
/// done once and a batch is sometimes done again, and is called from several threads at once. A stream
/// calls it as it reads, one batch at a time. What it returns is its own memory, not of the budget.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow_array::cast::AsArray;
/// use arrow_array::types::Int64Type;
/// use arrow_array::{Int64Array, RecordBatch};
/// use arrow_schema::DataType;
/// use unlade_cpu::CpuDevice;
/// use unlade_expr::{Query, Semantics, Signature, parse_expr_with};
/// use unlade_runtime::{FunctionFailure, Runtime, UserFunction};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let digits = Signature::new("digits", [DataType::Int64], DataType::Int64)?;
/// let digits = UserFunction::new(digits, |arguments| {
///     let numbers = arguments[0].as_primitive::<Int64Type>();
///     if let Some(row) = numbers.iter().position(|number| number.is_some_and(|number| number < 0)) {
///         return Err(FunctionFailure::new("a number below zero").at(row as u64));
///     }
///     let digits = numbers.unary::<_, Int64Type>(|number| {
///         number.checked_ilog10().map_or(1, |digits| i64::from(digits) + 1)
///     });
///     Ok(Arc::new(digits))
/// });
///
/// let runtime = Runtime::builder().device(Arc::new(CpuDevice::new())).build()?;
/// runtime.register(digits)?;
///
/// let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![7, 300])) as _)])?;
/// let query = Query::filter(parse_expr_with("digits(n + 1) > 2", &runtime.functions())?);
/// let kernel = runtime.compile(&query, &batch.schema(), &Semantics::arrow())?;
/// let output = kernel.run(&batch)?;
/// assert_eq!(output.batch, batch.slice(1, 1));
/// assert_eq!(&*output.receipt.calls[0].function, "digits");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct UserFunction {
    signature: Signature,
    body: Body,
}

/// What computes it.
type Body = Arc<dyn Fn(&[ArrayRef]) -> Result<ArrayRef, FunctionFailure> + Send + Sync>;

impl UserFunction {
    /// A function of this signature, computed by `body`.
    pub fn new(
        signature: Signature,
        body: impl Fn(&[ArrayRef]) -> Result<ArrayRef, FunctionFailure> + Send + Sync + 'static,
    ) -> Self {
        UserFunction {
            signature,
            body: Arc::new(body),
        }
    }

    /// What it is called, takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl fmt::Debug for UserFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UserFunction")
            .field(&format_args!("{}", self.signature))
            .finish()
    }
}

/// Why a user's function has no result.
#[derive(Clone, Debug)]
pub struct FunctionFailure {
    kind: FunctionErrorKind,
    row: Option<u64>,
    message: String,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl FunctionFailure {
    /// In words.
    pub fn new(message: impl Into<String>) -> Self {
        FunctionFailure {
            kind: FunctionErrorKind::Failed,
            row: None,
            message: message.into(),
            cause: None,
        }
    }

    /// Of a function in another language whose result is no array, in words.
    pub fn malformed(message: impl Into<String>) -> Self {
        FunctionFailure {
            kind: FunctionErrorKind::Malformed,
            ..FunctionFailure::new(message)
        }
    }

    /// The row that has no result, counted from 0 in the arrays that the function was given.
    pub fn at(self, row: u64) -> Self {
        FunctionFailure {
            row: Some(row),
            ..self
        }
    }

    /// With the error that it comes from, as the source of the batch's.
    pub fn because(self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        FunctionFailure {
            cause: Some(Arc::new(cause)),
            ..self
        }
    }
}

/// So that `?` serves in a function: the message is the error's.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for FunctionFailure {
    fn from(error: E) -> Self {
        FunctionFailure::new(error.to_string()).because(error)
    }
}

/// The functions of a runtime. They stay as long as it does.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Copied where somebody has it when one is added.
    signatures: Arc<Signatures>,
    bodies: HashMap<Arc<Signature>, Function>,
}

impl Functions {
    /// # Errors
    /// [`Error::Expr`] for a name that is taken, and for one function too many.
    pub(crate) fn register(&self, function: UserFunction) -> Result<Arc<Signature>, Error> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let signature = Arc::make_mut(&mut known.signatures).insert(function.signature)?;
        let registered = Function {
            signature: Arc::clone(&signature),
            name: signature.name().into(),
            body: function.body,
        };
        known.bodies.insert(Arc::clone(&signature), registered);
        Ok(signature)
    }

    pub(crate) fn signatures(&self) -> Arc<Signatures> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&known.signatures)
    }

    /// The function that a query was written for.
    ///
    /// # Errors
    /// [`Error::Expr`] where there is none of its name, or one of other types.
    pub(crate) fn find(&self, wanted: &Signature) -> Result<Function, Error> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let signature = known.signatures.require(wanted)?;
        Ok(known.bodies[signature].clone())
    }
}

/// A function that is registered.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) signature: Arc<Signature>,
    pub(crate) name: Arc<str>,
    body: Body,
}

impl Function {
    /// What it gives for so many rows of arguments, of its signature's types.
    pub(crate) fn call(
        &self,
        runtime: RuntimeId,
        arguments: &[ArrayRef],
        rows: usize,
    ) -> Result<ArrayRef, Error> {
        let Some(_inside) = Inside::of(runtime, Within::Function) else {
            let failure = format!(
                "functions that run kernels which call functions are {MOST_DEEP} deep by now: does it \
                 call itself?"
            );
            return Err(self.error(FunctionFailure::new(failure), rows));
        };
        // A list's item may have another name.
        let arguments = arguments.iter().zip(self.signature.arguments());
        let arguments = arguments.map(|(array, as_of)| arrays::relabelled(array, as_of));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let called = catch_unwind(AssertUnwindSafe(|| (self.body)(&arguments)));
        let result = called.unwrap_or_else(|panic| {
            Err(FunctionFailure {
                kind: FunctionErrorKind::Panicked,
                ..FunctionFailure::new(panic_message(panic))
            })
        });
        result
            .and_then(|array| self.kept_its_word(&array, rows))
            .map_err(|failure| self.error(failure, rows))
    }

    /// A result, if it is what the signature promises.
    fn kept_its_word(&self, array: &ArrayRef, rows: usize) -> Result<ArrayRef, FunctionFailure> {
        let wrong = |what| Err(FunctionFailure::malformed(what));
        let (found, promised) = (array.data_type(), self.signature.result());
        if !stands_for(found, promised) {
            return wrong(format!("it returned {found}, not {promised}"));
        }
        if array.len() != rows {
            return wrong(format!("it returned {} rows for {rows}", array.len()));
        }
        if !self.signature.is_nullable()
            && let Some(nulls) = array.logical_nulls()
            && let Some(row) = nulls.iter().position(|valid| !valid)
        {
            let failure = "it returned a null, though it is registered as never null";
            return Err(FunctionFailure::malformed(failure).at(row as u64));
        }
        arrays::relabelled(array, promised)
            .map_err(|error| FunctionFailure::malformed(error.to_string()))
    }

    fn error(&self, failure: FunctionFailure, rows: usize) -> Error {
        let FunctionFailure {
            kind,
            row,
            message,
            cause,
        } = failure;
        Error::Function(Box::new(FunctionError {
            function: Arc::clone(&self.name),
            kind,
            // Of a row that is not there nobody has any use.
            row: row.filter(|row| *row < rows as u64),
            message,
            cause,
        }))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function")
            .field(&format_args!("{}", self.signature))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, Int64Array};
    use arrow_schema::DataType;

    use super::*;

    const RUNTIME: RuntimeId = RuntimeId(1);

    fn registered(
        signature: Signature,
        body: impl Fn(&[ArrayRef]) -> Result<ArrayRef, FunctionFailure> + Send + Sync + 'static,
    ) -> Function {
        let functions = Functions::default();
        let signature = functions.register(UserFunction::new(signature, body));
        functions.find(&signature.unwrap()).unwrap()
    }

    fn signature() -> Signature {
        Signature::new("f", [DataType::Int64], DataType::Int64).unwrap()
    }

    fn failure(function: &Function) -> FunctionError {
        let numbers = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
        match function.call(RUNTIME, &[numbers], 3) {
            Err(Error::Function(error)) => *error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_function_returns_is_what_it_promised() {
        let of_type = registered(signature(), |_| Ok(Arc::new(Int32Array::from(vec![0; 3]))));
        assert_eq!(failure(&of_type).message, "it returned Int32, not Int64");
        let short = registered(signature(), |arguments| Ok(arguments[0].slice(0, 2)));
        assert_eq!(failure(&short).message, "it returned 2 rows for 3");
        let null = registered(signature().never_null(), |_| {
            Ok(Arc::new(Int64Array::from(vec![Some(1), None, None])))
        });
        let error = failure(&null);
        assert_eq!(
            (error.row, error.kind),
            (Some(1), FunctionErrorKind::Malformed)
        );
    }

    #[test]
    fn what_goes_wrong_is_the_functions_error() {
        let fails = registered(signature(), |_| Err(FunctionFailure::new("no").at(2)));
        let error = failure(&fails);
        assert_eq!(
            (error.row, error.kind),
            (Some(2), FunctionErrorKind::Failed)
        );
        assert_eq!(error.to_string(), "row 2: function `f` failed: no");
        let beyond = registered(signature(), |_| Err(FunctionFailure::new("no").at(3)));
        assert_eq!(failure(&beyond).row, None, "there is no such row");
        let panics = registered(signature(), |_| panic!("oh"));
        let error = failure(&panics);
        assert_eq!(error.kind, FunctionErrorKind::Panicked);
        assert_eq!(error.to_string(), "function `f` panicked: oh");
        let caused = registered(signature(), |_| Err("x".parse::<i32>().unwrap_err().into()));
        let error = failure(&caused);
        assert!(
            std::error::Error::source(&error)
                .is_some_and(|source| source.is::<std::num::ParseIntError>())
        );
    }

    #[test]
    fn a_function_that_calls_itself_without_end_is_told() {
        let itself: Arc<std::sync::OnceLock<Function>> = Arc::default();
        let inner = Arc::clone(&itself);
        let function = registered(signature(), move |arguments| {
            let itself = inner.get().expect("it is set before it is called");
            itself
                .call(RUNTIME, arguments, 3)
                .map_err(FunctionFailure::from)
        });
        itself.set(function.clone()).unwrap();
        for _ in 0..2 {
            let error = failure(&function);
            assert!(error.message.contains("16 deep"), "{}", error.message);
        }
    }

    #[test]
    fn who_has_the_signatures_keeps_them_as_they_were() {
        let functions = Functions::default();
        let before = functions.signatures();
        functions
            .register(UserFunction::new(signature(), |arguments| {
                Ok(Arc::clone(&arguments[0]))
            }))
            .unwrap();
        assert_eq!(before.iter().count(), 0);
        assert_eq!(functions.signatures().iter().count(), 1);
        let again = UserFunction::new(signature(), |_| unreachable!());
        assert!(matches!(functions.register(again), Err(Error::Expr(_))));
    }
}
