//! Kernels: queries compiled for batches of a schema.

use std::ffi::c_char;

use unlade::{Kernel, OnError, Semantics};
use unlade_cdata::check::Depth;
use unlade_cdata::import::{Imported, Owned, Rules};
use unlade_cdata::raw::{ArrowArray, ArrowSchema};
use unlade_cdata::{export, schema};

use crate::border::{end, enter, place, put};
use crate::code::unlade_code::{self, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::output::{self, unlade_output};
use crate::query::{QueryHeld, unlade_query};
use crate::runtime::{RuntimeHeld, to_json, unlade_runtime};
use crate::session::{SessionHeld, unlade_session};
use crate::sized::{self, Grows};
use crate::text;

/// A query compiled for batches of one schema. It runs on any number of batches, from any number of
/// threads at once.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_kernel {
    _opaque: [u8; 0],
}

/// Of `unlade_kernel_options.check` and of `unlade_pin_options`: arrays that are handed over are looked
/// at as far as memory depends on it: lengths, counts, pointers, each offset, each view, counts of nulls.
pub const UNLADE_CHECK_OFFSETS: u32 = 0;
/// Of `unlade_kernel_options.check` and of `unlade_pin_options`: only what does not grow with the rows is
/// looked at: a wrong offset in the middle of a column is undefined behaviour. For arrays of one's own making.
pub const UNLADE_CHECK_SHAPE: u32 = 1;
/// Of `unlade_kernel_options.check` and of `unlade_pin_options`: UTF-8 and keys of dictionaries are looked at
/// as well.
pub const UNLADE_CHECK_VALUES: u32 = 2;

/// Of `unlade_kernel_options.overflow` and `cast`: as the rules have it.
pub const UNLADE_ON_ERROR_DEFAULT: u32 = 0;
/// Of `unlade_kernel_options.overflow` and `cast`: the batch fails, naming the row.
pub const UNLADE_ON_ERROR_TRAP: u32 = 1;
/// Of `unlade_kernel_options.cast`: the row becomes null.
pub const UNLADE_ON_ERROR_NULL: u32 = 2;
/// Of `unlade_kernel_options.overflow`: integers keep their low bits.
pub const UNLADE_ON_ERROR_WRAP: u32 = 3;

/// Of `unlade_kernel_options.flags` and of `unlade_pin_options`: values that are not aligned to their width
/// are an error, rather than copied and counted, in `unlade_output.bytes_copied` or
/// `unlade_resident_status.bytes_copied`.
pub const UNLADE_ONLY_ALIGNED: u32 = 1;

/// How a query is compiled. Set all of it to 0, and `struct_size` to its size.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_kernel_options {
    /// `sizeof(struct unlade_kernel_options)`.
    pub struct_size: usize,
    /// Whose rules hold: `arrow`, `datafusion`, `spark-legacy` or `spark-ansi`. Null: `arrow`.
    pub semantics: *const c_char,
    /// What becomes of integers that overflow: `UNLADE_ON_ERROR_TRAP` or `_WRAP`.
    pub overflow: u32,
    /// What becomes of values that a cast cannot hold: `UNLADE_ON_ERROR_TRAP` or `_NULL`.
    pub cast: u32,
    /// How arrays are looked at that are handed over: `UNLADE_CHECK_OFFSETS` or another one.
    pub check: u32,
    /// `UNLADE_ONLY_ALIGNED`, or 0.
    pub flags: u32,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_kernel_options {
    const NAME: &'static str = "unlade_kernel_options";
    const FIRST: usize = size_of::<unlade_kernel_options>();
}

/// What is behind a handle.
pub(crate) struct KernelHeld {
    pub(crate) kernel: Kernel,
    pub(crate) rules: Rules,
}

impl Held for KernelHeld {
    type Handle = unlade_kernel;
    const KIND: &'static str = "kernel";
}

/// Compiles a query for batches of a schema, which is a struct of the columns, read and not
/// released. `session` may be null: the kernel then belongs to the runtime's own; `options` may be
/// null.
///
/// `UNLADE_UNSUPPORTED` says that no device that may run it can: the engine's own evaluator has the
/// query then, and its batches, none of which was touched.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_compile(
    runtime: *const unlade_runtime,
    session: *const unlade_session,
    query: *const unlade_query,
    schema: *const ArrowSchema,
    options: *const unlade_kernel_options,
    kernel: *mut *mut unlade_kernel,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(kernel, "place for the kernel")?;
            let runtime = handles::get::<RuntimeHeld>(runtime)?;
            let query = handles::get::<QueryHeld>(query)?;
            let options = sized::read(options)?;
            let semantics = query.rules(semantics(&options)?)?;
            let rules = rules("unlade_kernel_options", options.check, options.flags)?;
            let schema = schema::read(schema)?;
            let compiled = match session.is_null() {
                true => runtime.0.compile(&query.query, &schema, &semantics)?,
                false => {
                    let session = handles::get::<SessionHeld>(session)?;
                    session.0.compile(&query.query, &schema, &semantics)?
                }
            };
            let held = KernelHeld {
                kernel: compiled,
                rules,
            };
            put(kernel, "place for the kernel", handles::give(held))?;
            Ok(UNLADE_OK)
        })
    }
}

/// # Safety
/// Texts are null or as the header says.
unsafe fn semantics(options: &unlade_kernel_options) -> Result<Semantics, Failure> {
    // SAFETY: As the caller vouches.
    let name = unsafe { text::optional(options.semantics, "semantics")? };
    let mut semantics = match name {
        None => Semantics::arrow(),
        Some(name) => name
            .parse()
            .map_err(|error: unlade::UnknownSemantics| Failure::argument(error.to_string()))?,
    };
    let wrong = |what: &str, value: u32| {
        Failure::argument(format!(
            "`{what}` of unlade_kernel_options is {value}, which is none of its values"
        ))
    };
    match options.overflow {
        UNLADE_ON_ERROR_DEFAULT => {}
        UNLADE_ON_ERROR_TRAP => semantics = semantics.with_overflow(OnError::Trap),
        UNLADE_ON_ERROR_WRAP => semantics = semantics.with_overflow(OnError::Wrap),
        other => return Err(wrong("overflow", other)),
    }
    match options.cast {
        UNLADE_ON_ERROR_DEFAULT => {}
        UNLADE_ON_ERROR_TRAP => semantics = semantics.with_cast(OnError::Trap),
        UNLADE_ON_ERROR_NULL => semantics = semantics.with_cast(OnError::Null),
        other => return Err(wrong("cast", other)),
    }
    Ok(semantics)
}

/// How arrays are taken in, as two fields of a struct of options say.
pub(crate) fn rules(options: &str, check: u32, flags: u32) -> Result<Rules, Failure> {
    let depth = match check {
        UNLADE_CHECK_OFFSETS => Depth::Offsets,
        UNLADE_CHECK_SHAPE => Depth::Shape,
        UNLADE_CHECK_VALUES => Depth::Values,
        other => {
            return Err(Failure::argument(format!(
                "`check` of {options} is {other}, which is none of its values"
            )));
        }
    };
    match flags {
        0 | UNLADE_ONLY_ALIGNED => Ok(Rules {
            depth,
            only_aligned: flags != 0,
        }),
        other => Err(Failure::argument(format!(
            "the flags of {options} are {other:#x}, and known is {UNLADE_ONLY_ALIGNED:#x}"
        ))),
    }
}

impl KernelHeld {
    /// A batch that was handed over, of the schema that comes with it or else of the kernel's.
    ///
    /// # Safety
    /// Pointers are null or as the header says.
    pub(crate) unsafe fn import(
        &self,
        array: Owned,
        schema: *const ArrowSchema,
    ) -> Result<Imported, Failure> {
        // SAFETY: As the caller vouches, here and below.
        let imported = unsafe {
            match schema.is_null() {
                true => array.import(self.kernel.input_schema(), self.rules),
                false => array.import(&schema::read(schema)?, self.rules),
            }
        };
        Ok(imported?)
    }
}

/// Runs a kernel on a batch; on the calling thread where that is the CPU's part.
///
/// `array` is handed over whatever comes of it: it is marked as released, and released once, at the
/// latest when the result is, which may have its memory in it. `schema` is read and not released;
/// null says that the batch is of the kernel's own.
///
/// # Safety
/// Pointers are null or as the header says; arrays and schemas are as the C Data Interface says, as
/// far as it cannot be checked from the outside.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_run(
    kernel: *const unlade_kernel,
    array: *mut ArrowArray,
    schema: *const ArrowSchema,
    output: *mut unlade_output,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below. It is taken before anything can go wrong.
    unsafe {
        let array = Owned::take(array);
        let begun = output::begin(output);
        enter(error, || {
            begun?;
            let held = handles::get::<KernelHeld>(kernel)?;
            let imported = held.import(array?, schema)?;
            let result = held.kernel.run(&imported.batch)?;
            drop(imported.batch);
            output::fill(&mut *output, result, imported.realigned)?;
            Ok(UNLADE_OK)
        })
    }
}

/// The schema of a kernel's results.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_schema(
    kernel: *const unlade_kernel,
    schema: *mut ArrowSchema,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            put(schema, "ArrowSchema", ArrowSchema::released())?;
            let held = handles::get::<KernelHeld>(kernel)?;
            put(schema, "ArrowSchema", export::schema(held.kernel.schema())?)?;
            Ok(UNLADE_OK)
        })
    }
}

/// What runs where, and why, in words for people; nothing is run. The text is freed by
/// `unlade_string_free`.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_explain(
    kernel: *const unlade_kernel,
    explained: *mut *mut c_char,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(explained, "place for the text")?;
            let held = handles::get::<KernelHeld>(kernel)?;
            text::give(explained, &held.kernel.explain().to_string())?;
            Ok(UNLADE_OK)
        })
    }
}

/// The same as JSON, with what each device is predicted to take.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_explain_json(
    kernel: *const unlade_kernel,
    json: *mut *mut c_char,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(json, "place for the text")?;
            let held = handles::get::<KernelHeld>(kernel)?;
            text::give(json, &to_json(&held.kernel.explain())?)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Frees a handle. Tickets, streams and results stay. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_kernel_free(kernel: *mut unlade_kernel) -> unlade_code {
    end(|| handles::free::<KernelHeld>(kernel))
}
