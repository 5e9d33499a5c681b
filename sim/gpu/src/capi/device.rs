//! Devices and what they say of themselves.

use std::ffi::{c_char, c_int, c_uint};

use super::{entry_points, read_text, write, write_text};
use crate::driver::Code;

/// The one memory pool of a device: its handle is this and the ordinal.
const POOL: u64 = 0xB001_0000;

/// Attributes of pools, by their numbers in `cuda.h`.
const RELEASE_THRESHOLD: c_uint = 4;
const RESERVED_CURRENT: c_uint = 5;
const USED_CURRENT: c_uint = 7;

entry_points! {
    fn cuDeviceGetCount(state, count: *mut c_int) {
        // SAFETY: The caller's promise.
        unsafe { write(count, state.device_count() as c_int) }
    }

    fn cuDeviceGet(state, device: *mut c_int, ordinal: c_int) {
        state.device(ordinal)?;
        // SAFETY: The caller's promise.
        unsafe { write(device, ordinal) }
    }

    fn cuDeviceGetName(state, name: *mut c_char, len: c_int, device: c_int) {
        let text = &state.profile(device)?.name;
        // SAFETY: The caller's promise.
        unsafe { write_text(name, len, text) }
    }

    fn cuDeviceGetUuid(state, uuid: *mut [u8; 16], device: c_int) {
        // SAFETY: The caller's promise.
        unsafe { write(uuid, state.uuid(device)?) }
    }

    fn cuDeviceGetUuid_v2(state, uuid: *mut [u8; 16], device: c_int) {
        // SAFETY: The caller's promise.
        unsafe { write(uuid, state.uuid(device)?) }
    }

    fn cuDeviceTotalMem_v2(state, bytes: *mut usize, device: c_int) {
        // SAFETY: The caller's promise.
        unsafe { write(bytes, state.profile(device)?.memory as usize) }
    }

    fn cuDeviceGetAttribute(state, value: *mut c_int, attribute: c_int, device: c_int) {
        // SAFETY: The caller's promise.
        unsafe { write(value, state.device_attribute(attribute, device)?) }
    }

    fn cuDeviceGetPCIBusId(state, text: *mut c_char, len: c_int, device: c_int) {
        // SAFETY: The caller's promise.
        unsafe { write_text(text, len, &state.pci_address(device)?) }
    }

    fn cuDeviceGetByPCIBusId(state, device: *mut c_int, text: *const c_char) {
        // SAFETY: The caller's promise.
        let ordinal = state.at_pci_address(unsafe { read_text(text) }?)?;
        // SAFETY: The caller's promise.
        unsafe { write(device, ordinal) }
    }

    fn cuDeviceCanAccessPeer(state, can: *mut c_int, device: c_int, peer: c_int) {
        state.device(device)?;
        state.device(peer)?;
        // SAFETY: The caller's promise.
        unsafe { write(can, 0) }
    }

    fn cuDeviceGetDefaultMemPool(state, pool: *mut u64, device: c_int) {
        let index = state.device(device)?;
        // SAFETY: The caller's promise.
        unsafe { write(pool, POOL + index as u64) }
    }

    fn cuDeviceGetMemPool(state, pool: *mut u64, device: c_int) {
        let index = state.device(device)?;
        // SAFETY: The caller's promise.
        unsafe { write(pool, POOL + index as u64) }
    }

    fn cuMemPoolSetAttribute(state, pool: u64, attribute: c_uint, value: *mut u64) {
        let index = pool_device(state, pool)?;
        if attribute != RELEASE_THRESHOLD || value.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: It is not null, and this attribute is a 64-bit number: the caller's promise.
        state.set_release_threshold(index, unsafe { value.read_unaligned() });
        Ok(())
    }

    fn cuMemPoolGetAttribute(state, pool: u64, attribute: c_uint, value: *mut u64) {
        let index = pool_device(state, pool)?;
        let number = match attribute {
            RELEASE_THRESHOLD => state.release_threshold(index),
            RESERVED_CURRENT | USED_CURRENT => state.used_bytes(index),
            _ => return Err(Code::INVALID_VALUE),
        };
        // SAFETY: The caller's promise.
        unsafe { write(value, number) }
    }

    fn cuMemPoolTrimTo(state, pool: u64, _keep: usize) {
        // Nothing that is free is kept.
        pool_device(state, pool).map(drop)
    }
}

fn pool_device(state: &crate::driver::State, pool: u64) -> crate::driver::Answer<usize> {
    let ordinal = pool
        .checked_sub(POOL)
        .and_then(|ordinal| i32::try_from(ordinal).ok());
    state.device(ordinal.ok_or(Code::INVALID_VALUE)?)
}
