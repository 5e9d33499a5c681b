//! Functions that C has written, for queries to call.

use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use unlade::{FunctionFailure, Signature, UserFunction};
use unlade_cdata::check::Depth;
use unlade_cdata::import::{Owned, Rules};
use unlade_cdata::raw::{ArrowArray, ArrowSchema};
use unlade_cdata::{export, schema};

use crate::border::enter;
use crate::code::unlade_code::{self, UNLADE_EXPRESSION, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles;
use crate::runtime::{RuntimeHeld, unlade_runtime};
use crate::sized::{self, Grows};
use crate::text;

/// Bytes of the message of a function that fails, with the zero byte at its end.
pub const UNLADE_FUNCTION_MESSAGE: usize = 512;

/// Why a function has no result, filled by the function.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_function_failure {
    /// The row that has none, counted from 0 in the arrays that it was given; -1, as it comes, where it is
    /// no one row.
    pub row: i64,
    /// Why, in UTF-8, with a zero byte at its end. It comes empty.
    pub message: [c_char; UNLADE_FUNCTION_MESSAGE],
}

/// Computes a function: 0 where `result` is filled, anything else where `failure` says why it is not.
///
/// `arguments` are `count` arrays of `rows` rows each, of the types that the function was registered with,
/// which `types` has as a struct of them, to be read. They are on the memory where Unlade has them, and are
/// not to be written. A function may move one out, as Arrow has it, and then releases it itself; what it
/// leaves is released when it returns.
///
/// `result` comes as all 0. What the function puts there is handed over: an array of `rows` rows of the
/// type that it was registered with. It is looked at as `UNLADE_CHECK_VALUES` says.
///
/// It must be pure: equal calls are done once, and a batch is sometimes done again. It is called by several
/// threads at once, must not throw or jump, and may call Unlade, but not wait for other results of the
/// same runtime.
#[allow(non_camel_case_types)]
pub type unlade_function_call = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        types: *const ArrowSchema,
        arguments: *mut ArrowArray,
        count: usize,
        rows: i64,
        result: *mut ArrowArray,
        failure: *mut unlade_function_failure,
    ) -> c_int,
>;

/// Called once, when nothing calls the function any more: by any thread.
#[allow(non_camel_case_types)]
pub type unlade_function_release = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// A function for queries to call. Set all of it to 0, and `struct_size` to its size.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_function {
    /// `sizeof(struct unlade_function)`.
    pub struct_size: usize,
    /// What it is called: letters of ASCII, digits and `_`. Words of the language are taken.
    pub name: *const c_char,
    /// The types of its arguments, as a struct of one field for each. Read, and not released.
    pub arguments: *const ArrowSchema,
    /// The type of its result; without `ARROW_FLAG_NULLABLE` no result is ever null. Columns that are
    /// results as they came have its metadata: an extension type, say. Read, and not released.
    pub result: *const ArrowSchema,
    /// What computes it.
    pub call: unlade_function_call,
    /// Handed to `call` and `release`.
    pub user: *mut c_void,
    /// Called when nothing calls the function any more. Null: nothing is.
    pub release: unlade_function_release,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_function {
    const NAME: &'static str = "unlade_function";
    const FIRST: usize = size_of::<unlade_function>();
}

/// Registers a function at a runtime, for as long as that lives: queries that are read with the runtime
/// (`unlade_query_text_with` and its like) may call it by its name, in a filter and in a select list, on
/// arguments that are any expressions. Kernels that call it compute it on the CPU, before their program,
/// for every row of a batch, also for those that a filter drops; the receipt and the explanation say so.
/// Its failure is `UNLADE_DATA`, with the row if it named one; a result that is no array of its type and
/// length is `UNLADE_MALFORMED`.
///
/// `function` is read, and `user` is the runtime's from then on: `release` is called when the runtime and
/// all that was made with it have ended. Where this fails nothing was taken, and it is not called.
/// `UNLADE_EXPRESSION` for a name that is none or is taken.
///
/// # Safety
/// Pointers are null or as the header says; `call` and `release` may be called as said above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_function_register(
    runtime: *const unlade_runtime,
    function: *const unlade_function,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            let runtime = handles::get::<RuntimeHeld>(runtime)?;
            if function.is_null() {
                return Err(Failure::null("unlade_function"));
            }
            let given = sized::read(function)?;
            let name = text::optional(given.name, "name of the function")?;
            let name = name.ok_or_else(|| Failure::null("name of the function"))?;
            let call = given
                .call
                .ok_or_else(|| Failure::null("`call` of the function"))?;
            let arguments = schema::read(given.arguments)?;
            let result = schema::field(given.result)?;
            let types = arguments.fields().iter();
            let types = types.map(|field| field.data_type().clone());
            let signature = Signature::new(name, types, result.data_type().clone())
                .map_err(|error| Failure::new(UNLADE_EXPRESSION, error.to_string()))?
                .with_result_metadata(result.metadata().clone());
            let signature = match result.is_nullable() {
                true => signature,
                false => signature.never_null(),
            };
            let callee = Arc::new(Callee {
                call,
                types: FFI_ArrowSchema::try_from(&*arguments)
                    .map_err(|error| Failure::malformed(error.to_string()))?,
                result: result.data_type().clone(),
                user: given.user,
                release: OnceLock::new(),
            });
            let body = Arc::clone(&callee);
            let called = move |arguments: &[ArrayRef]| body.called(arguments);
            runtime.0.register(UserFunction::new(signature, called))?;
            // Until here `user` was the caller's.
            if let Some(release) = given.release {
                let _first = callee.release.set(release);
            }
            Ok(UNLADE_OK)
        })
    }
}

type Call = unsafe extern "C" fn(
    *mut c_void,
    *const ArrowSchema,
    *mut ArrowArray,
    usize,
    i64,
    *mut ArrowArray,
    *mut unlade_function_failure,
) -> c_int;

/// What computes a function, with what it is to be handed.
struct Callee {
    call: Call,
    /// Of arrow-rs's making; it releases itself.
    types: FFI_ArrowSchema,
    result: DataType,
    user: *mut c_void,
    /// Set once `user` is the function's.
    release: OnceLock<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: Who registers it vouches that any thread may call and release it, and several at once; the
// schema is not written.
unsafe impl Send for Callee {}
// SAFETY: The same.
unsafe impl Sync for Callee {}

impl Callee {
    fn called(&self, arguments: &[ArrayRef]) -> Result<ArrayRef, FunctionFailure> {
        let rows = arguments[0].len();
        let exported = arguments.iter().map(|argument| export::column(argument));
        let mut handed = Handed(exported.collect());
        let mut result = ArrowArray::released();
        let mut failure = unlade_function_failure {
            row: -1,
            message: [0; UNLADE_FUNCTION_MESSAGE],
        };
        // SAFETY: As who registered it vouches; what is handed over outlives the call.
        let code = unsafe {
            (self.call)(
                self.user,
                std::ptr::from_ref(&self.types).cast(),
                handed.0.as_mut_ptr(),
                handed.0.len(),
                rows as i64,
                &raw mut result,
                &raw mut failure,
            )
        };
        drop(handed);
        // SAFETY: It is here; what is in it is handed over, whatever the function says.
        let result = unsafe { Owned::take(&raw mut result) };
        let result = result.map_err(|error| FunctionFailure::malformed(error.to_string()))?;
        if code != 0 {
            return Err(failure.told(code));
        }
        // SAFETY: It is an array of the interface, as the function vouches; the rest is looked at.
        let imported = unsafe { result.import_column(&self.result, RESULTS) };
        imported.map_err(|error| FunctionFailure::malformed(error.to_string()))
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        if let Some(release) = self.release.get() {
            // SAFETY: As who registered it vouches; nothing calls it any more.
            unsafe { release(self.user) };
        }
    }
}

/// How results are looked at: who wrote the function may be new to Arrow.
const RESULTS: Rules = Rules {
    depth: Depth::Values,
    only_aligned: false,
};

/// Arguments that are released unless they are taken.
struct Handed(Vec<ArrowArray>);

impl Drop for Handed {
    fn drop(&mut self) {
        for array in &mut self.0 {
            if let Some(release) = array.release {
                // SAFETY: It is an array of ours that nobody took.
                unsafe { release(array) };
            }
        }
    }
}

impl unlade_function_failure {
    fn told(&self, code: c_int) -> FunctionFailure {
        let text = self.message.map(|byte| byte as u8);
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let message = match String::from_utf8_lossy(text) {
            text if text.is_empty() => format!("it returned {code} and no message"),
            text => text.into_owned(),
        };
        let failure = FunctionFailure::new(message);
        match u64::try_from(self.row) {
            Ok(row) => failure.at(row),
            Err(_) => failure,
        }
    }
}
