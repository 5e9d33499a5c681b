//! Queries: which rows to keep, and what to put out of them.

use std::ffi::c_char;
use std::sync::Arc;

#[cfg(feature = "substrait")]
use unlade::substrait::SubstraitError;
use unlade::wire::{self, WireError};
use unlade::{
    ExprError, Query, Select, Semantics, Signatures, parse_expr_with, parse_select_list_with,
};

use crate::border::{end, enter, place, put};
use crate::code::unlade_code::{self, UNLADE_EXPRESSION, UNLADE_LIMIT, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::runtime::{RuntimeHeld, unlade_runtime};
use crate::text;

/// A predicate and what to put out of the rows that it keeps. It belongs to no runtime.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_query {
    _opaque: [u8; 0],
}

/// Of `unlade_query_text`: results have the mask of rows that are kept beside their columns, in
/// `unlade_output.mask`.
pub const UNLADE_QUERY_MASK: u32 = 1;

/// Of `unlade_query_text`: results are the mask alone; `select` is null.
pub const UNLADE_QUERY_MASK_ONLY: u32 = 2;

/// Of `unlade_query_substrait`: the message's one expression says which rows to keep.
pub const UNLADE_SUBSTRAIT_FILTER: u32 = 0;

/// Of `unlade_query_substrait`: the message's expressions are the columns to put out, of every row.
pub const UNLADE_SUBSTRAIT_PROJECTION: u32 = 1;

/// What is behind a handle.
pub(crate) struct QueryHeld {
    pub(crate) query: Query,
    /// What a message asks of the rules, where it came of one.
    #[cfg(feature = "substrait")]
    imported: Option<unlade::substrait::Imported>,
}

impl QueryHeld {
    fn new(query: Query) -> Self {
        QueryHeld {
            query,
            #[cfg(feature = "substrait")]
            imported: None,
        }
    }

    /// The rules by which the query means what it says: those given, with what it asks for itself.
    pub(crate) fn rules(&self, base: Semantics) -> Result<Semantics, Failure> {
        #[cfg(feature = "substrait")]
        if let Some(imported) = &self.imported {
            return imported.rules(&base).map_err(of_substrait);
        }
        Ok(base)
    }
}

impl Held for QueryHeld {
    type Handle = unlade_query;
    const KIND: &'static str = "query";
}

/// A query from text: which rows to keep, `a > 1 and b is not null`, and what to put out, `a, a * 2
/// as twice`. Null is all rows, or all columns. `unlade functions` lists the language.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_query_text(
    filter: *const c_char,
    select: *const c_char,
    flags: u32,
    query: *mut *mut unlade_query,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches.
    unsafe {
        make(query, error, || {
            of_text(filter, select, flags, Signatures::none())
        })
    }
}

/// As `unlade_query_text`, where the functions may be called that were registered at a runtime.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_query_text_with(
    runtime: *const unlade_runtime,
    filter: *const c_char,
    select: *const c_char,
    flags: u32,
    query: *mut *mut unlade_query,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches.
    unsafe {
        make(query, error, || {
            let functions = functions_of(runtime)?;
            of_text(filter, select, flags, &functions)
        })
    }
}

/// A query from its bytes in Unlade's own encoding, docs/WIRE.md: what `unlade_query_encode`, or
/// another process, has made. Bytes that break the format's rules, or are of a version that is not known, are
/// `UNLADE_MALFORMED`, and more of something than is read `UNLADE_LIMIT`.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_query_wire(
    bytes: *const u8,
    length: usize,
    query: *mut *mut unlade_query,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches.
    unsafe { make(query, error, || of_wire(bytes, length, Signatures::none())) }
}

/// As `unlade_query_wire`, where the functions may be called that were registered at a runtime; bytes that
/// call another are `UNLADE_EXPRESSION`.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_query_wire_with(
    runtime: *const unlade_runtime,
    bytes: *const u8,
    length: usize,
    query: *mut *mut unlade_query,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches.
    unsafe {
        make(query, error, || {
            let functions = functions_of(runtime)?;
            of_wire(bytes, length, &functions)
        })
    }
}

/// A query from the bytes of a Substrait `ExtendedExpression`, such as pyarrow serialises; `form` is
/// `UNLADE_SUBSTRAIT_FILTER` or `_PROJECTION`. docs/SUBSTRAIT.md lists what is read. What the message asks
/// of the rules, as the failure behaviour of a cast, holds when the query is compiled, before what
/// `unlade_kernel_options` says; rules that cannot meet it are an error then. `unlade_query_encode` does
/// not carry that. Bytes that are no such message are `UNLADE_MALFORMED`, more of something than is read
/// `UNLADE_LIMIT`, and what a message says that is not known, or leaves open, `UNLADE_EXPRESSION`.
/// `UNLADE_UNSUPPORTED` in a library that was built without feature `substrait`.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_query_substrait(
    bytes: *const u8,
    length: usize,
    form: u32,
    query: *mut *mut unlade_query,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        make(query, error, || {
            of_message(text::bytes(bytes, length)?, form, Signatures::none())
        })
    }
}

/// As `unlade_query_substrait`, where a function that is none of Substrait's may be one that was registered
/// at a runtime under its name.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_query_substrait_with(
    runtime: *const unlade_runtime,
    bytes: *const u8,
    length: usize,
    form: u32,
    query: *mut *mut unlade_query,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        make(query, error, || {
            let functions = functions_of(runtime)?;
            of_message(text::bytes(bytes, length)?, form, &functions)
        })
    }
}

/// Makes a query and gives its handle.
///
/// # Safety
/// `query` and `error` are null or may be written.
unsafe fn make(
    query: *mut *mut unlade_query,
    error: *mut *mut unlade_error,
    made: impl FnOnce() -> Result<QueryHeld, Failure>,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(query, "place for the query")?;
            put(query, "place for the query", handles::give(made()?))?;
            Ok(UNLADE_OK)
        })
    }
}

/// The functions that were registered at a runtime.
fn functions_of(runtime: *const unlade_runtime) -> Result<Arc<Signatures>, Failure> {
    Ok(handles::get::<RuntimeHeld>(runtime)?.0.functions())
}

/// # Safety
/// Texts are null or as the header says.
unsafe fn of_text(
    filter: *const c_char,
    select: *const c_char,
    flags: u32,
    functions: &Signatures,
) -> Result<QueryHeld, Failure> {
    // SAFETY: As the caller vouches, here and below.
    let (filter, select) = unsafe {
        (
            text::optional(filter, "filter")?,
            text::optional(select, "select list")?,
        )
    };
    parse(filter, select, flags, functions).map(QueryHeld::new)
}

/// # Safety
/// The bytes are null or as many as that.
unsafe fn of_wire(
    bytes: *const u8,
    length: usize,
    functions: &Signatures,
) -> Result<QueryHeld, Failure> {
    // SAFETY: As the caller vouches.
    let bytes = unsafe { text::bytes(bytes, length)? };
    let decoded = wire::decode_query_with(bytes, functions);
    decoded.map(QueryHeld::new).map_err(unread)
}

#[cfg(feature = "substrait")]
fn of_message(bytes: &[u8], form: u32, functions: &Signatures) -> Result<QueryHeld, Failure> {
    check_form(form)?;
    let imported = unlade::substrait::import_with(bytes, functions).map_err(of_substrait)?;
    let query = match form {
        UNLADE_SUBSTRAIT_FILTER => imported.filter().map_err(of_substrait)?,
        _ => imported.projection(),
    };
    Ok(QueryHeld {
        query,
        imported: Some(imported),
    })
}

#[cfg(not(feature = "substrait"))]
fn of_message(_: &[u8], form: u32, _: &Signatures) -> Result<QueryHeld, Failure> {
    check_form(form)?;
    Err(Failure::new(
        unlade_code::UNLADE_UNSUPPORTED,
        "this library was built without feature `substrait`",
    ))
}

fn check_form(form: u32) -> Result<(), Failure> {
    match form {
        UNLADE_SUBSTRAIT_FILTER | UNLADE_SUBSTRAIT_PROJECTION => Ok(()),
        other => Err(Failure::argument(format!(
            "there is no form {other} of a query; there are 0 and 1"
        ))),
    }
}

#[cfg(feature = "substrait")]
fn of_substrait(error: SubstraitError) -> Failure {
    let code = match &error {
        SubstraitError::Malformed(_) => unlade_code::UNLADE_MALFORMED,
        SubstraitError::Limit { .. } => UNLADE_LIMIT,
        _ => UNLADE_EXPRESSION,
    };
    Failure::new(code, error.to_string())
}

/// Writes the bytes of a query to `bytes`, where there is room for `capacity` of them, and how many they
/// are to `length`; `UNLADE_LIMIT` where there are more. `bytes` may be null where `capacity` is 0, to
/// learn how many there are. A query of more than is written is `UNLADE_LIMIT` as well, with a `length` of 0.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_query_encode(
    query: *const unlade_query,
    bytes: *mut u8,
    capacity: usize,
    length: *mut usize,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            put(length, "place for the length", 0)?;
            if bytes.is_null() && capacity > 0 {
                return Err(Failure::null("room for the bytes"));
            }
            let held = handles::get::<QueryHeld>(query)?;
            let encoded = wire::encode_query(&held.query).map_err(|error| match error {
                WireError::Limit { .. } => Failure::new(UNLADE_LIMIT, error.to_string()),
                other => Failure::new(UNLADE_EXPRESSION, other.to_string()),
            })?;
            length.write(encoded.len());
            if encoded.len() > capacity {
                return Err(Failure::new(
                    UNLADE_LIMIT,
                    format!(
                        "the query takes {} bytes, and there is room for {capacity}",
                        encoded.len()
                    ),
                ));
            }
            std::ptr::copy_nonoverlapping(encoded.as_ptr(), bytes, encoded.len());
            Ok(UNLADE_OK)
        })
    }
}

fn unread(error: WireError) -> Failure {
    match error {
        WireError::Function(error) => Failure::new(UNLADE_EXPRESSION, error.to_string()),
        WireError::Limit { .. } => Failure::new(UNLADE_LIMIT, error.to_string()),
        error => Failure::malformed(error.to_string()),
    }
}

/// Frees a query. Kernels that were compiled of it stay. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_query_free(query: *mut unlade_query) -> unlade_code {
    end(|| handles::free::<QueryHeld>(query))
}

fn parse(
    filter: Option<&str>,
    select: Option<&str>,
    flags: u32,
    functions: &Signatures,
) -> Result<Query, Failure> {
    let refused =
        |text: &str, error: ExprError| Failure::new(UNLADE_EXPRESSION, error.render(text));
    let mut query = Query::all();
    if let Some(text) = filter {
        query.filter =
            Some(parse_expr_with(text, functions).map_err(|error| refused(text, error))?);
    }
    match (select, flags) {
        (_, 0 | UNLADE_QUERY_MASK) => {
            query.mask = flags != 0;
            if let Some(text) = select.filter(|text| text.trim() != "*") {
                let columns = parse_select_list_with(text, functions);
                let columns = columns.map_err(|error| refused(text, error))?;
                query.select = Select::Columns(columns);
            }
        }
        (None, UNLADE_QUERY_MASK_ONLY) => {
            query.mask = true;
            query.select = Select::Mask;
        }
        (Some(_), UNLADE_QUERY_MASK_ONLY) => {
            return Err(Failure::argument(
                "UNLADE_QUERY_MASK_ONLY puts out no columns, and there is a select list",
            ));
        }
        (_, other) => {
            return Err(Failure::argument(format!(
                "there are no flags {other:#x} of queries"
            )));
        }
    }
    Ok(query)
}
