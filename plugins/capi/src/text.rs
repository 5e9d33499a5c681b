//! Text and bytes in, and text out.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::border::{end, put};
use crate::code::unlade_code;
use crate::failure::Failure;

/// Longest text that is taken in, and longest bytes, but for what is around them.
const MOST_BYTES: usize = 16 << 20;

/// What the longest bytes may have around them.
const ENVELOPE: usize = 1 << 10;

/// Text that C has and has not freed, by its address.
static GIVEN: LazyLock<Mutex<HashMap<usize, CString>>> = LazyLock::new(Mutex::default);

/// Frees text that a call gave. Null is allowed; what was not given, or was freed, is an error.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_string_free(string: *mut c_char) -> unlade_code {
    end(|| {
        if string.is_null() {
            return Ok(());
        }
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        match given.remove(&string.addr()) {
            Some(_) => Ok(()),
            None => Err(Failure::handle("text of Unlade's", None)),
        }
    })
}

/// Gives text to C, which frees it.
///
/// # Safety
/// `place` is null or may be written.
pub(crate) unsafe fn give(place: *mut *mut c_char, text: &str) -> Result<(), Failure> {
    let text = c_string(text);
    let start = text.as_ptr().cast_mut();
    // SAFETY: As the caller vouches.
    unsafe { put(place, "place for the text", start)? };
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    given.insert(start.addr(), text);
    Ok(())
}

/// Text of C's; `None` where it is null.
///
/// # Safety
/// It is null, or ends in a zero byte and stays as it is for as long as it is borrowed.
pub(crate) unsafe fn optional<'a>(
    text: *const c_char,
    what: &str,
) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: As the caller vouches.
    let text = unsafe { CStr::from_ptr(text) };
    if text.count_bytes() > MOST_BYTES {
        return Err(Failure::new(
            unlade_code::UNLADE_LIMIT,
            format!("the {what} is longer than {MOST_BYTES} bytes"),
        ));
    }
    match text.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(Failure::argument(format!(
            "the {what} is no UTF-8: {error}"
        ))),
    }
}

/// Text of C's that must be there.
///
/// # Safety
/// As [`optional`].
pub(crate) unsafe fn required<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: As the caller vouches.
    unsafe { optional(text, what)? }.ok_or_else(|| Failure::null(what))
}

/// Bytes of C's.
///
/// # Safety
/// There are so many, which stay as they are for as long as they are borrowed.
pub(crate) unsafe fn bytes<'a>(bytes: *const u8, length: usize) -> Result<&'a [u8], Failure> {
    if bytes.is_null() {
        return Err(Failure::null("start of the bytes"));
    }
    if length > MOST_BYTES + ENVELOPE {
        return Err(Failure::new(
            unlade_code::UNLADE_LIMIT,
            format!("{length} bytes: the most is {}", MOST_BYTES + ENVELOPE),
        ));
    }
    // SAFETY: As the caller vouches.
    Ok(unsafe { std::slice::from_raw_parts(bytes, length) })
}

/// Text as C has it: zero bytes, which would end it, are shown as escapes.
pub(crate) fn c_string(text: &str) -> CString {
    match CString::new(text) {
        Ok(text) => text,
        Err(_) => CString::new(text.replace('\0', "\\0")).expect("it has no zero byte any more"),
    }
}
