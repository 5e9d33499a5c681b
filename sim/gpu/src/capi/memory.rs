//! Memory and copies.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{c_int, c_uint, c_void};

use super::{entry_points, write};
use crate::driver::{Answer, Code, End, State};
use crate::host::HostRange;

/// Memory that the driver allocates on the host begins at a multiple of this.
const PAGE: usize = 4096;
/// `CU_MEMHOSTREGISTER_DEVICEMAP`: into the address space of the devices.
const HOST_REGISTER_DEVICEMAP: c_uint = 2;
/// `CU_POINTER_ATTRIBUTE_MEMORY_TYPE`.
const POINTER_MEMORY_TYPE: c_uint = 2;
/// `CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL`.
const POINTER_DEVICE_ORDINAL: c_uint = 9;
/// `CU_POINTER_ATTRIBUTE_RANGE_START_ADDR`.
const POINTER_RANGE_START: c_uint = 11;
/// `CU_POINTER_ATTRIBUTE_RANGE_SIZE`.
const POINTER_RANGE_SIZE: c_uint = 12;
/// `CU_MEMORYTYPE_DEVICE`.
const MEMORY_OF_DEVICE: c_uint = 2;

entry_points! {
    fn cuMemGetInfo_v2(state, free: *mut usize, total: *mut usize) {
        let (free_bytes, total_bytes) = state.memory_info()?;
        // SAFETY: The caller's promise.
        unsafe { write(free, free_bytes as usize) }?;
        // SAFETY: The caller's promise.
        unsafe { write(total, total_bytes as usize) }
    }

    fn cuMemAlloc_v2(state, address: *mut u64, bytes: usize) {
        let at = state.allocate(bytes as u64)?;
        // SAFETY: The caller's promise.
        unsafe { write(address, at) }
    }

    fn cuMemFree_v2(state, address: u64) {
        state.free(address)
    }

    fn cuMemAllocAsync(state, address: *mut u64, bytes: usize, stream: u64) {
        state.stream(stream)?;
        let at = state.allocate(bytes as u64)?;
        // SAFETY: The caller's promise.
        unsafe { write(address, at) }
    }

    fn cuMemAllocFromPoolAsync(state, address: *mut u64, bytes: usize, _pool: u64, stream: u64) {
        state.stream(stream)?;
        let at = state.allocate(bytes as u64)?;
        // SAFETY: The caller's promise.
        unsafe { write(address, at) }
    }

    fn cuMemFreeAsync(state, address: u64, stream: u64) {
        let stream = state.stream(stream)?;
        state.free_async(address, stream)
    }

    fn cuMemGetAddressRange_v2(state, start: *mut u64, bytes: *mut usize, address: u64) {
        let (begins, size) = state.address_range(address)?;
        if !start.is_null() {
            // SAFETY: The caller's promise.
            unsafe { write(start, begins) }?;
        }
        if !bytes.is_null() {
            // SAFETY: The caller's promise.
            unsafe { write(bytes, size as usize) }?;
        }
        Ok(())
    }

    fn cuPointerGetAttribute(state, data: *mut c_void, attribute: c_uint, address: u64) {
        let (ordinal, start, bytes) = state.holder(address)?;
        // SAFETY: The caller's promise, here and below.
        unsafe {
            match attribute {
                POINTER_MEMORY_TYPE => write(data.cast(), MEMORY_OF_DEVICE),
                POINTER_DEVICE_ORDINAL => write(data.cast(), ordinal as c_int),
                POINTER_RANGE_START => write(data.cast(), start),
                POINTER_RANGE_SIZE => write(data.cast(), bytes as usize),
                _ => Err(Code::NOT_SUPPORTED),
            }
        }
    }

    fn cuMemHostAlloc(state, start: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        host_allocate(state, start, bytes)
    }

    fn cuMemAllocHost_v2(state, start: *mut *mut c_void, bytes: usize) {
        host_allocate(state, start, bytes)
    }

    fn cuMemFreeHost(state, start: *mut c_void) {
        let range = state.unregister(start as usize, true)?;
        let layout = host_layout(range.len())?;
        // SAFETY: It was allocated below with this layout, and is known no more.
        unsafe { dealloc(start.cast(), layout) };
        Ok(())
    }

    fn cuMemHostRegister_v2(state, start: *mut c_void, bytes: usize, flags: c_uint) {
        // SAFETY: The caller keeps the range mapped until it is unregistered, and leaves it alone
        // while streams use it.
        let range = unsafe { HostRange::new(start, bytes) };
        state.register(range, false, flags & HOST_REGISTER_DEVICEMAP != 0)
    }

    fn cuMemHostUnregister(state, start: *mut c_void) {
        state.unregister(start as usize, false).map(drop)
    }

    fn cuMemHostGetDevicePointer_v2(state, address: *mut u64, start: *mut c_void, _flags: c_uint) {
        // SAFETY: The caller's promise.
        unsafe { write(address, state.host_device_pointer(start as usize)?) }
    }

    fn cuMemcpyHtoD_v2(state, to: u64, from: *const c_void, bytes: usize) {
        // SAFETY: The caller's promise.
        let from = unsafe { HostRange::new(from, bytes) };
        state.copy_now(End::Unified(to), End::Host(from), bytes as u64)
    }

    fn cuMemcpyDtoH_v2(state, to: *mut c_void, from: u64, bytes: usize) {
        // SAFETY: The caller's promise.
        let to = unsafe { HostRange::new(to, bytes) };
        state.copy_now(End::Host(to), End::Unified(from), bytes as u64)
    }

    fn cuMemcpyDtoD_v2(state, to: u64, from: u64, bytes: usize) {
        state.copy_now(End::Unified(to), End::Unified(from), bytes as u64)
    }

    fn cuMemcpyHtoDAsync_v2(state, to: u64, from: *const c_void, bytes: usize, stream: u64) {
        let stream = state.stream(stream)?;
        // SAFETY: The caller's promise.
        let from = unsafe { HostRange::new(from, bytes) };
        state.copy_async(End::Unified(to), End::Host(from), bytes as u64, stream)
    }

    fn cuMemcpyDtoHAsync_v2(state, to: *mut c_void, from: u64, bytes: usize, stream: u64) {
        let stream = state.stream(stream)?;
        // SAFETY: The caller's promise.
        let to = unsafe { HostRange::new(to, bytes) };
        state.copy_async(End::Host(to), End::Unified(from), bytes as u64, stream)
    }

    fn cuMemcpyDtoDAsync_v2(state, to: u64, from: u64, bytes: usize, stream: u64) {
        let stream = state.stream(stream)?;
        state.copy_async(End::Unified(to), End::Unified(from), bytes as u64, stream)
    }

    fn cuMemcpyAsync(state, to: u64, from: u64, bytes: usize, stream: u64) {
        let stream = state.stream(stream)?;
        state.copy_async(End::Unified(to), End::Unified(from), bytes as u64, stream)
    }

    fn cuMemsetD8_v2(state, to: u64, value: u8, count: usize) {
        let stream = state.stream(0)?;
        state.fill_async(to, count as u64, &[value], stream)
    }

    fn cuMemsetD8Async(state, to: u64, value: u8, count: usize, stream: u64) {
        let stream = state.stream(stream)?;
        state.fill_async(to, count as u64, &[value], stream)
    }

    fn cuMemsetD16Async(state, to: u64, value: u16, count: usize, stream: u64) {
        let stream = state.stream(stream)?;
        state.fill_async(to, count as u64 * 2, &value.to_le_bytes(), stream)
    }

    fn cuMemsetD32Async(state, to: u64, value: u32, count: usize, stream: u64) {
        let stream = state.stream(stream)?;
        state.fill_async(to, count as u64 * 4, &value.to_le_bytes(), stream)
    }
}

fn host_layout(bytes: usize) -> Answer<Layout> {
    Layout::from_size_align(bytes, PAGE).map_err(|_| Code::INVALID_VALUE)
}

fn host_allocate(state: &mut State, start: *mut *mut c_void, bytes: usize) -> Answer {
    if bytes == 0 || start.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    let layout = host_layout(bytes)?;
    // SAFETY: The layout is not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        return Err(Code::OUT_OF_MEMORY);
    }
    // SAFETY: It is mapped until `cuMemFreeHost`, which forgets it first.
    let range = unsafe { HostRange::new(memory.cast(), bytes) };
    // With unified addresses, what the driver allocates is always mapped.
    if let Err(code) = state.register(range, true, true) {
        // SAFETY: It was allocated above with this layout, and nobody else knows of it.
        unsafe { dealloc(memory, layout) };
        return Err(code);
    }
    // SAFETY: The caller's promise.
    unsafe { write(start, memory.cast()) }
}
