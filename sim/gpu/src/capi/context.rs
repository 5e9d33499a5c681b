//! Contexts: the primary one of each device, and which is current.

use std::ffi::{c_int, c_uint};

use super::{entry_points, write};
use crate::driver::{Code, current, pop_current, push_current, set_current};

entry_points! {
    fn cuDevicePrimaryCtxRetain(state, context: *mut u64, device: c_int) {
        if context.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let handle = state.retain(device)?;
        // SAFETY: The caller's promise.
        unsafe { write(context, handle) }
    }

    fn cuDevicePrimaryCtxRelease_v2(state, device: c_int) {
        state.release(device)
    }

    fn cuDevicePrimaryCtxGetState(state, device: c_int, flags: *mut c_uint, active: *mut c_int) {
        let is_active = state.primary_context(device)?;
        // SAFETY: The caller's promise.
        unsafe { write(flags, 0) }?;
        // SAFETY: The caller's promise.
        unsafe { write(active, c_int::from(is_active)) }
    }

    fn cuDevicePrimaryCtxSetFlags_v2(state, device: c_int, _flags: c_uint) {
        state.device(device).map(drop)
    }

    fn cuCtxGetCurrent(_state, context: *mut u64) {
        // SAFETY: The caller's promise.
        unsafe { write(context, current()) }
    }

    fn cuCtxSetCurrent(state, context: u64) {
        if context != 0 {
            state.context_device(context)?;
        }
        set_current(context);
        Ok(())
    }

    fn cuCtxPushCurrent_v2(state, context: u64) {
        state.context_device(context)?;
        push_current(context);
        Ok(())
    }

    fn cuCtxPopCurrent_v2(_state, context: *mut u64) {
        let popped = pop_current().ok_or(Code::INVALID_CONTEXT)?;
        if context.is_null() {
            return Ok(());
        }
        // SAFETY: The caller's promise.
        unsafe { write(context, popped) }
    }

    fn cuCtxGetDevice(state, device: *mut c_int) {
        let index = state.context_device(current())?;
        // SAFETY: The caller's promise.
        unsafe { write(device, index as c_int) }
    }

    fn cuCtxGetFlags(state, flags: *mut c_uint) {
        state.context_device(current())?;
        // SAFETY: The caller's promise.
        unsafe { write(flags, 0) }
    }

    fn cuCtxSetFlags(state, _flags: c_uint) {
        // How a thread waits: it makes no difference here.
        state.context_device(current()).map(drop)
    }

    fn cuCtxGetApiVersion(_state, _context: u64, version: *mut c_uint) {
        // SAFETY: The caller's promise.
        unsafe { write(version, 3020) }
    }

    fn cuCtxGetStreamPriorityRange(_state, least: *mut c_int, greatest: *mut c_int) {
        // Priorities are taken, and all the same.
        for priority in [least, greatest] {
            if !priority.is_null() {
                // SAFETY: The caller's promise.
                unsafe { write(priority, 0) }?;
            }
        }
        Ok(())
    }

    fn cuCtxSynchronize(state) {
        let device = state.enter()?;
        state.drain_device(device)
    }
}
