//! Events.

use std::ffi::c_uint;

use super::{entry_points, write};

entry_points! {
    fn cuEventCreate(state, event: *mut u64, flags: c_uint) {
        let handle = state.create_event(flags)?;
        // SAFETY: The caller's promise.
        unsafe { write(event, handle) }
    }

    fn cuEventDestroy_v2(state, event: u64) {
        state.enter()?;
        state.destroy_event(event)
    }

    fn cuEventRecord(state, event: u64, stream: u64) {
        let stream = state.stream(stream)?;
        state.record(event, stream)
    }

    fn cuEventQuery(state, event: u64) {
        state.enter()?;
        state.query_event(event)
    }

    fn cuEventSynchronize(state, event: u64) {
        state.enter()?;
        state.synchronize_event(event)
    }

    fn cuEventElapsedTime(state, milliseconds: *mut f32, start: u64, end: u64) {
        state.enter()?;
        // SAFETY: The caller's promise.
        unsafe { write(milliseconds, state.elapsed(start, end)?) }
    }

    fn cuEventElapsedTime_v2(state, milliseconds: *mut f32, start: u64, end: u64) {
        state.enter()?;
        // SAFETY: The caller's promise.
        unsafe { write(milliseconds, state.elapsed(start, end)?) }
    }
}
