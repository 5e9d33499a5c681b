//! Streams.

use std::ffi::{c_int, c_uint};

use super::{entry_points, write};

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

    fn cuStreamIsCapturing(state, stream: u64, status: *mut c_uint) {
        state.stream(stream)?;
        // SAFETY: The caller's promise.
        unsafe { write(status, 0) }
    }
}
