//! The C entry points, as `cuda.h` declares them.
//!
//! Each reads its arguments, calls the [driver](crate::driver) and writes its results; nothing else
//! is here. The types are those of the C interface with handles as plain numbers, so that no value
//! that a caller may pass is undefined. A result is written only after success.
//!
//! What all of them ask of a caller is what CUDA asks: pointers to results are null or writable,
//! pointers to arguments are readable, and memory of the host that is given to a stream stays
//! until the stream is past its use.

mod context;
mod device;
mod event;
mod memory;
mod module;
mod stream;

use std::ffi::{CStr, c_char, c_int, c_uint};

use crate::driver::{Answer, Code, State};

/// Defines entry points: the name, the arguments, and what it does with the driver's state.
macro_rules! entry_points {
    ($(
        fn $name:ident($state:ident $(, $argument:ident: $ty:ty)* $(,)?) $body:block
    )*) => {$(
        /// # Safety
        /// See the [module](self).
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name($($argument: $ty),*) -> u32 {
            crate::driver::State::call(stringify!($name), |$state: &mut crate::driver::State| {
                $body
            }).0
        }
    )*};
}

use entry_points;

/// Writes a result.
///
/// # Safety
/// The pointer is null or can be written.
unsafe fn write<T>(to: *mut T, value: T) -> Answer {
    if to.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: It is not null, and so can be written: the caller's promise. Nothing is known of its
    // alignment where a caller casts.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

/// Writes a text, cut to the room that there is, and its end.
///
/// # Safety
/// The pointer is null or can be written for as many bytes as it is said to have.
unsafe fn write_text(to: *mut c_char, room: c_int, text: &str) -> Answer {
    let room = usize::try_from(room).map_err(|_| Code::INVALID_VALUE)?;
    if to.is_null() || room == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let bytes = &text.as_bytes()[..text.len().min(room - 1)];
    // SAFETY: The room is the caller's promise; the text and its end fit into it.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len());
        to.add(bytes.len()).write(0);
    }
    Ok(())
}

/// Reads a text.
///
/// # Safety
/// The pointer is null or points to a text that ends with a zero.
unsafe fn read_text<'t>(from: *const c_char) -> Answer<&'t str> {
    if from.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: It is not null, and so the caller's text.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_str().map_err(|_| Code::INVALID_VALUE)
}

/// By this symbol the simulated driver is told from a real one.
#[unsafe(no_mangle)]
pub(crate) static unlade_sim_gpu: u32 = 1;

entry_points! {
    fn cuInit(state, flags: c_uint) {
        state.initialise(flags)
    }

    fn cuDriverGetVersion(_state, version: *mut c_int) {
        // CUDA 13.0.
        // SAFETY: The caller's promise.
        unsafe { write(version, 13_000) }
    }
}

/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuGetErrorName(code: c_uint, to: *mut *const c_char) -> u32 {
    let answer = match Code(code).describe() {
        // SAFETY: The caller's promise.
        Some((name, _)) => unsafe { write(to, name.as_ptr()) },
        None => Err(Code::INVALID_VALUE),
    };
    answer.err().unwrap_or(Code::SUCCESS).0
}

/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuGetErrorString(code: c_uint, to: *mut *const c_char) -> u32 {
    let answer = match State::explanation(code) {
        // SAFETY: The caller's promise.
        Some(text) => unsafe { write(to, text.as_ptr()) },
        None => Err(Code::INVALID_VALUE),
    };
    answer.err().unwrap_or(Code::SUCCESS).0
}
