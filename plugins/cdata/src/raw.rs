//! The structs of Arrow's C interfaces, as arrow/c/abi.h has them.
//!
//! arrow-rs has the same structs with private fields, and trusts what is in them: what came from
//! outside is looked at here first.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;

/// A type, with names. See <https://arrow.apache.org/docs/format/CDataInterface.html>.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ArrowSchema {
    pub format: *const c_char,
    pub name: *const c_char,
    pub metadata: *const c_char,
    pub flags: i64,
    pub n_children: i64,
    pub children: *mut *mut ArrowSchema,
    pub dictionary: *mut ArrowSchema,
    pub release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    pub private_data: *mut c_void,
}

/// Columns of values. See <https://arrow.apache.org/docs/format/CDataInterface.html>.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ArrowArray {
    pub length: i64,
    pub null_count: i64,
    pub offset: i64,
    pub n_buffers: i64,
    pub n_children: i64,
    pub buffers: *mut *const c_void,
    pub children: *mut *mut ArrowArray,
    pub dictionary: *mut ArrowArray,
    pub release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    pub private_data: *mut c_void,
}

/// Batches, one after another. See
/// <https://arrow.apache.org/docs/format/CStreamInterface.html>.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ArrowArrayStream {
    pub get_schema:
        Option<unsafe extern "C" fn(*mut ArrowArrayStream, out: *mut ArrowSchema) -> c_int>,
    pub get_next:
        Option<unsafe extern "C" fn(*mut ArrowArrayStream, out: *mut ArrowArray) -> c_int>,
    pub get_last_error: Option<unsafe extern "C" fn(*mut ArrowArrayStream) -> *const c_char>,
    pub release: Option<unsafe extern "C" fn(*mut ArrowArrayStream)>,
    pub private_data: *mut c_void,
}

/// A column of values that may lie in a device's memory. See
/// <https://arrow.apache.org/docs/format/CDeviceDataInterface.html>.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ArrowDeviceArray {
    pub array: ArrowArray,
    pub device_id: i64,
    pub device_type: i32,
    pub sync_event: *mut c_void,
    pub reserved: [i64; 3],
}

// arrow-rs's structs are these: one is made into the other by a move of its bytes.
const _: () = {
    assert!(size_of::<ArrowSchema>() == size_of::<FFI_ArrowSchema>());
    assert!(size_of::<ArrowArray>() == size_of::<FFI_ArrowArray>());
    assert!(size_of::<ArrowArrayStream>() == size_of::<FFI_ArrowArrayStream>());
};

impl ArrowSchema {
    /// None, marked as released.
    pub const fn released() -> Self {
        ArrowSchema {
            format: ptr::null(),
            name: ptr::null(),
            metadata: ptr::null(),
            flags: 0,
            n_children: 0,
            children: ptr::null_mut(),
            dictionary: ptr::null_mut(),
            release: None,
            private_data: ptr::null_mut(),
        }
    }

    /// What arrow-rs exports.
    pub fn exported(schema: FFI_ArrowSchema) -> Self {
        // SAFETY: Both are the C struct of the specification, of one size; the value moves.
        unsafe { std::mem::transmute(schema) }
    }
}

impl ArrowArray {
    /// None, marked as released.
    pub const fn released() -> Self {
        ArrowArray {
            length: 0,
            null_count: 0,
            offset: 0,
            n_buffers: 0,
            n_children: 0,
            buffers: ptr::null_mut(),
            children: ptr::null_mut(),
            dictionary: ptr::null_mut(),
            release: None,
            private_data: ptr::null_mut(),
        }
    }

    /// What arrow-rs exports.
    pub fn exported(array: FFI_ArrowArray) -> Self {
        // SAFETY: Both are the C struct of the specification, of one size; the value moves.
        unsafe { std::mem::transmute(array) }
    }
}

impl ArrowArrayStream {
    /// None, marked as released.
    pub const fn released() -> Self {
        ArrowArrayStream {
            get_schema: None,
            get_next: None,
            get_last_error: None,
            release: None,
            private_data: ptr::null_mut(),
        }
    }

    /// What arrow-rs exports.
    pub fn exported(stream: FFI_ArrowArrayStream) -> Self {
        // SAFETY: Both are the C struct of the specification, of one size; the value moves.
        unsafe { std::mem::transmute(stream) }
    }
}
