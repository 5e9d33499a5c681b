//! Versions.

use std::ffi::{CStr, c_char};

use crate::border::shielded;
use crate::handles;

/// Of the ABI: another number is another ABI, and another name of the shared library.
pub const UNLADE_ABI_MAJOR: u32 = 0;

/// Of the ABI: it grows where functions, or fields of structs, came to it.
pub const UNLADE_ABI_MINOR: u32 = 2;

/// The version of the ABI that the library has: `UNLADE_ABI_MAJOR << 16 | UNLADE_ABI_MINOR`, as they
/// were when it was built. A program works with it where the major number is the one of its header
/// and the minor number is not less.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_abi_version() -> u32 {
    UNLADE_ABI_MAJOR << 16 | UNLADE_ABI_MINOR
}

/// The version of the library, such as `0.1.0`.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => unreachable!(),
        };
    VERSION.as_ptr()
}

/// How many handles this process has and has not freed: of runtimes, sessions, queries, kernels,
/// tickets, streams, pinned data, receipts, lists of devices and errors. For tests that look for leaks.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_handle_count() -> u64 {
    shielded(0, handles::count)
}
