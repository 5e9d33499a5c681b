//! What calls return.

/// What became of a call. Zero is done, positive is an error, negative is neither.
#[repr(C)]
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum unlade_code {
    /// Of a ticket: its result is not there yet.
    UNLADE_PENDING = -2,
    /// Of a stream: it is at its end.
    UNLADE_END = -1,
    /// Done.
    UNLADE_OK = 0,
    /// An argument is null that must not be, has a value that is none of its values, or is text
    /// that is not UTF-8.
    UNLADE_INVALID_ARGUMENT = 1,
    /// A handle was freed, was never given out, or is of another kind.
    UNLADE_INVALID_HANDLE = 2,
    /// A query is refused: syntax, names, types, limits.
    UNLADE_EXPRESSION = 3,
    /// A row has no result: overflow, division by zero, a cast. `unlade_error_row` tells which.
    UNLADE_DATA = 4,
    /// A batch is not of the schema that its kernel was compiled for.
    UNLADE_SCHEMA = 5,
    /// An Arrow struct, or bytes, break the rules of their format.
    UNLADE_MALFORMED = 6,
    /// The memory budget is used up.
    UNLADE_EXHAUSTED = 7,
    /// No device that may run it can, or this build lacks what is asked for.
    UNLADE_UNSUPPORTED = 8,
    /// A device failed, and nothing else was allowed to take its work.
    UNLADE_DEVICE_FAULT = 9,
    /// Cancelled, by itself or with its session.
    UNLADE_CANCELLED = 10,
    /// The deadline of the session has passed.
    UNLADE_DEADLINE = 11,
    /// The session cannot have the devices that it asks for.
    UNLADE_REFUSED = 12,
    /// The runtime was shut down.
    UNLADE_SHUTDOWN = 13,
    /// This process is a forked child of one that had used Unlade before.
    UNLADE_FORKED = 14,
    /// Something is larger or more than a limit allows.
    UNLADE_LIMIT = 15,
    /// What feeds a stream failed, or a file cannot be read.
    UNLADE_INPUT = 16,
    /// A runtime or a session cannot be as it was asked for.
    UNLADE_CONFIG = 17,
    /// A bug in Unlade: please report it with its message.
    UNLADE_INTERNAL = 18,
}

/// The name of a code, `UNLADE_OK` and so on; null for what is none. It lives as long as the library
/// is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_code_name(code: i32) -> *const std::ffi::c_char {
    // In a forked child, too: it touches nothing that another thread may have had.
    let known = ALL.iter().find(|(each, _)| *each as i32 == code);
    known.map_or(std::ptr::null(), |(_, name)| name.as_ptr())
}

macro_rules! named {
    ($($code:ident),* $(,)?) => {
        /// All of them, by name.
        pub(crate) const ALL: &[(unlade_code, &std::ffi::CStr)] = &[$((
            unlade_code::$code,
            match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($code), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => unreachable!(),
            },
        )),*];
    };
}

named!(
    UNLADE_PENDING,
    UNLADE_END,
    UNLADE_OK,
    UNLADE_INVALID_ARGUMENT,
    UNLADE_INVALID_HANDLE,
    UNLADE_EXPRESSION,
    UNLADE_DATA,
    UNLADE_SCHEMA,
    UNLADE_MALFORMED,
    UNLADE_EXHAUSTED,
    UNLADE_UNSUPPORTED,
    UNLADE_DEVICE_FAULT,
    UNLADE_CANCELLED,
    UNLADE_DEADLINE,
    UNLADE_REFUSED,
    UNLADE_SHUTDOWN,
    UNLADE_FORKED,
    UNLADE_LIMIT,
    UNLADE_INPUT,
    UNLADE_CONFIG,
    UNLADE_INTERNAL,
);
