//! Errors as C has them.

use std::ffi::{CString, c_char};
use std::ptr;

use crate::border::{end, shielded};
use crate::code::unlade_code;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::text::c_string;

/// Why a call failed: a code and a message in words.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_error {
    _opaque: [u8; 0],
}

/// What is behind one.
#[derive(Debug)]
pub(crate) struct Error {
    failure: Failure,
    message: CString,
}

impl Held for Error {
    type Handle = unlade_error;
    const KIND: &'static str = "error";
}

impl Error {
    pub(crate) fn new(failure: Failure) -> Self {
        let message = c_string(&failure.message);
        Error { failure, message }
    }

    /// The error of a forked child. It is no handle: looking one up takes a lock, which another thread
    /// may have held when the parent forked.
    pub(crate) fn forked() -> *mut unlade_error {
        ptr::from_ref(FORKED).cast_mut().cast()
    }
}

const FORKED: &std::ffi::CStr =
    c"this process was forked after Unlade had been used in its parent, and \
    device memory does not survive a fork; start workers with exec, or fork before the first use";

/// The code of an error, which is the one that the call returned; 0 for what is none.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_error_code(error: *const unlade_error) -> i32 {
    if ptr::eq(error, Error::forked()) {
        return unlade_code::UNLADE_FORKED as i32;
    }
    shielded(0, || {
        handles::get::<Error>(error).map_or(0, |error| error.failure.code as i32)
    })
}

/// What went wrong and what to do about it, in words; null for what is no error. It lives until the
/// error is freed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_error_message(error: *const unlade_error) -> *const c_char {
    if ptr::eq(error, Error::forked()) {
        return FORKED.as_ptr();
    }
    // The handle keeps it where it is.
    shielded(ptr::null(), || {
        handles::get::<Error>(error).map_or(ptr::null(), |error| error.message.as_ptr())
    })
}

/// Whether an error is about a row, which is counted from 0 in the batch handed over, and written to
/// `row` unless that is null.
///
/// # Safety
/// `row` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_error_row(error: *const unlade_error, row: *mut u64) -> bool {
    let known = shielded(None, || {
        handles::get::<Error>(error)
            .ok()
            .and_then(|error| error.failure.row)
    });
    if let (Some(known), false) = (known, row.is_null()) {
        // SAFETY: As the caller vouches.
        unsafe { row.write(known) };
    }
    known.is_some()
}

/// Frees an error. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_error_free(error: *mut unlade_error) -> unlade_code {
    if ptr::eq(error, Error::forked()) {
        return unlade_code::UNLADE_OK;
    }
    end(|| handles::free::<Error>(error))
}
