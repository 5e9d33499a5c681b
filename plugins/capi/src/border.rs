//! The border: every call of C's comes in here.
//!
//! No panic leaves, a forked child is told so before anything is touched that it must not touch, and
//! what went wrong is an error object where the caller wants one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use unlade_hal::fork;

use crate::code::unlade_code;
use crate::error::{Error, unlade_error};
use crate::failure::Failure;
use crate::handles;

/// Runs a call. `error` is where the caller wants the error's object, if anywhere; it is set to null
/// where there is none.
///
/// # Safety
/// `error` is null or may be written.
pub(crate) unsafe fn enter(
    error: *mut *mut unlade_error,
    call: impl FnOnce() -> Result<unlade_code, Failure>,
) -> unlade_code {
    let place = error;
    let tell = |handle| {
        if !place.is_null() {
            // SAFETY: It may be written, as the caller vouches.
            unsafe { place.write(handle) };
        }
    };
    tell(std::ptr::null_mut());
    // Before any lock: another thread may have held one when the parent forked.
    if fork::check().is_err() {
        tell(Error::forked());
        return unlade_code::UNLADE_FORKED;
    }
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(code)) => return code,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::panicked(&*panic),
    };
    let code = failure.code;
    if !place.is_null() {
        tell(handles::give(Error::new(failure)));
    }
    code
}

/// Runs a call that frees or ends something: it has no error object.
pub(crate) fn end(call: impl FnOnce() -> Result<(), Failure>) -> unlade_code {
    // SAFETY: Null is allowed.
    unsafe {
        enter(std::ptr::null_mut(), || {
            call()?;
            Ok(unlade_code::UNLADE_OK)
        })
    }
}

/// Runs what only looks something up; `otherwise` in a forked child, or where it panics.
pub(crate) fn shielded<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    if fork::check().is_err() {
        return otherwise;
    }
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(otherwise)
}

/// Writes a handle, or another value, where the caller wants it.
///
/// # Safety
/// `place` is null or may be written.
pub(crate) unsafe fn put<T>(place: *mut T, what: &str, value: T) -> Result<(), Failure> {
    if place.is_null() {
        return Err(Failure::null(what));
    }
    // SAFETY: As the caller vouches.
    unsafe { place.write(value) };
    Ok(())
}

/// Looks that there is a place for what a call makes, before it is made, and has nothing in it where
/// nothing comes of the call.
///
/// # Safety
/// `place` is null or may be written.
pub(crate) unsafe fn place<T>(place: *mut *mut T, what: &str) -> Result<(), Failure> {
    // SAFETY: As the caller vouches.
    unsafe { put(place, what, std::ptr::null_mut()) }
}
