//! Streams.

use std::ffi::{c_int, c_uint, c_void};

use super::{entry_points, write};
use crate::driver::Code;
use crate::host::HostFunction;

entry_points! {
    fn cuStreamCreate(state, stream: *mut u64, flags: c_uint) {
        let handle = state.create_stream(flags)?;
        // SAFETY: The caller's promise.
        unsafe { write(stream, handle) }
    }

    fn cuStreamCreateWithPriority(state, stream: *mut u64, flags: c_uint, _priority: c_int) {
        let handle = state.create_stream(flags)?;
        // SAFETY: The caller's promise.
        unsafe { write(stream, handle) }
    }

    fn cuStreamDestroy_v2(state, stream: u64) {
        let stream = state.stream(stream)?;
        state.destroy_stream(stream)
    }

    fn cuStreamSynchronize(state, stream: u64) {
        let stream = state.stream(stream)?;
        state.drain(stream)
    }

    fn cuStreamQuery(state, stream: u64) {
        let stream = state.stream(stream)?;
        state.query_stream(stream)
    }

    fn cuStreamWaitEvent(state, stream: u64, event: u64, _flags: c_uint) {
        let stream = state.stream(stream)?;
        state.stream_wait_event(stream, event)
    }

    fn cuLaunchHostFunc(
        state,
        stream: u64,
        function: Option<unsafe extern "C" fn(*mut c_void)>,
        data: *mut c_void,
    ) {
        let stream = state.stream(stream)?;
        let function = function.ok_or(Code::INVALID_VALUE)?;
        // SAFETY: The caller's promise.
        let function = unsafe { HostFunction::new(function, data) };
        state.launch_host(stream, function)
    }

    fn cuStreamIsCapturing(state, stream: u64, status: *mut c_uint) {
        state.stream(stream)?;
        // SAFETY: The caller's promise.
        unsafe { write(status, 0) }
    }
}
