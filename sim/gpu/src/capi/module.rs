//! Modules, links, functions and launches.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::{entry_points, read_text, write};
use crate::driver::{Answer, Code};
use crate::gpu::Grid;
use crate::host::HostRange;
use crate::ptx::Kernel;

/// `CU_JIT_INPUT_PTX`.
const PTX: c_uint = 1;

/// Options of links and loads, by their numbers in `cuda.h`. The others change nothing here.
const ERROR_LOG: c_uint = 5;
const ERROR_LOG_BYTES: c_uint = 6;

entry_points! {
    fn cuModuleLoadData(state, module: *mut u64, image: *const c_void) {
        // SAFETY: The caller's promise.
        let image = unsafe { read_image(image) }?;
        let handle = state.load_module(image, None)?;
        // SAFETY: The caller's promise.
        unsafe { write(module, handle) }
    }

    fn cuModuleLoadDataEx(
        state,
        module: *mut u64,
        image: *const c_void,
        count: c_uint,
        options: *const c_uint,
        values: *const *mut c_void,
    ) {
        // SAFETY: The caller's promise.
        let image = unsafe { read_image(image) }?;
        // SAFETY: The caller's promise.
        let log = unsafe { read_log(count, options, values) };
        let handle = state.load_module(image, log)?;
        // SAFETY: The caller's promise.
        unsafe { write(module, handle) }
    }

    fn cuModuleUnload(state, module: u64) {
        state.unload_module(module)
    }

    fn cuModuleGetFunction(state, function: *mut u64, module: u64, name: *const c_char) {
        // SAFETY: The caller's promise.
        let name = unsafe { read_text(name) }?;
        let handle = state.function(module, name)?;
        // SAFETY: The caller's promise.
        unsafe { write(function, handle) }
    }

    fn cuModuleGetLoadingMode(_state, mode: *mut c_uint) {
        // `CU_MODULE_EAGER_LOADING`.
        // SAFETY: The caller's promise.
        unsafe { write(mode, 1) }
    }

    fn cuLinkCreate_v2(
        state,
        count: c_uint,
        options: *const c_uint,
        values: *const *mut c_void,
        link: *mut u64,
    ) {
        // SAFETY: The caller's promise; the log stays until the link is destroyed.
        let log = unsafe { read_log(count, options, values) };
        let handle = state.create_link(log)?;
        // SAFETY: The caller's promise.
        unsafe { write(link, handle) }
    }

    fn cuLinkAddData_v2(
        state,
        link: u64,
        kind: c_uint,
        data: *const c_void,
        bytes: usize,
        _name: *const c_char,
        _count: c_uint,
        _options: *const c_uint,
        _values: *const *mut c_void,
    ) {
        if data.is_null() || kind != PTX {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: The caller's promise.
        let image = unsafe { HostRange::new(data, bytes) }.read();
        state.add_to_link(link, &image)
    }

    fn cuLinkComplete(state, link: u64, image: *mut *const c_void, bytes: *mut usize) {
        let (start, len) = state.complete_link(link)?;
        // SAFETY: The caller's promise.
        unsafe { write(image, start.cast()) }?;
        // SAFETY: The caller's promise.
        unsafe { write(bytes, len) }
    }

    fn cuLinkDestroy(state, link: u64) {
        state.destroy_link(link)
    }

    fn cuFuncGetAttribute(state, value: *mut c_int, attribute: c_int, function: u64) {
        // SAFETY: The caller's promise.
        unsafe { write(value, state.function_attribute(attribute, function)?) }
    }

    fn cuFuncSetAttribute(state, function: u64, _attribute: c_int, _value: c_int) {
        state.kernel(function)?;
        Err(Code::NOT_SUPPORTED)
    }

    fn cuFuncSetCacheConfig(state, function: u64, _config: c_uint) {
        // A preference; there are no caches.
        state.kernel(function).map(drop)
    }

    fn cuLaunchKernel(
        state,
        function: u64,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared: c_uint,
        stream: u64,
        params: *const *const c_void,
        extra: *const *const c_void,
    ) {
        let stream = state.stream(stream)?;
        let kernel = state.kernel(function)?;
        if !extra.is_null() {
            return Err(Code::NOT_SUPPORTED);
        }
        // SAFETY: The caller's promise: a pointer for each parameter, to a value of its size.
        let parameters = unsafe { read_parameters(&kernel, params) }?;
        let grid = Grid {
            blocks: [grid_x, grid_y, grid_z],
            threads: [block_x, block_y, block_z],
            dynamic_shared: shared.into(),
        };
        state.launch(kernel, grid, parameters, stream)
    }
}

/// Takes the values: the launch has its own.
///
/// # Safety
/// The pointer is null, or to as many pointers as the kernel has parameters, each to a value of
/// the parameter's size.
unsafe fn read_parameters(kernel: &Kernel, params: *const *const c_void) -> Answer<Vec<u8>> {
    let mut packed = vec![0; kernel.parameter_bytes() as usize];
    if params.is_null() && !packed.is_empty() {
        return Err(Code::INVALID_VALUE);
    }
    for (index, parameter) in kernel.parameters().iter().enumerate() {
        // SAFETY: There is a pointer for each parameter.
        let value = unsafe { params.add(index).read() };
        if value.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: It points to a value of this size.
        let bytes = unsafe { HostRange::new(value, parameter.bytes as usize) }.read();
        packed[parameter.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    Ok(packed)
}

/// Text up to its zero. Machine code of a real GPU begins with a byte that no text has, and is
/// known by its first four.
///
/// # Safety
/// The pointer is null, or to a text that ends with a zero, or to a module.
unsafe fn read_image<'i>(image: *const c_void) -> Answer<&'i [u8]> {
    if image.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: A text has its zero; machine code begins with `\x7fELF` and has one soon after.
    Ok(unsafe { CStr::from_ptr(image.cast()) }.to_bytes())
}

/// The buffer for messages among the options of a link or a load.
///
/// # Safety
/// There are as many options and values as is said, and the buffer stays until the link is
/// destroyed, or for the call.
unsafe fn read_log(
    count: c_uint,
    options: *const c_uint,
    values: *const *mut c_void,
) -> Option<HostRange> {
    if options.is_null() || values.is_null() {
        return None;
    }
    let find = |wanted: c_uint| {
        (0..count as usize).find_map(|index| {
            // SAFETY: The caller's promise.
            let (option, value) = unsafe { (options.add(index).read(), values.add(index).read()) };
            (option == wanted).then_some(value)
        })
    };
    // A size is passed in the place of a pointer.
    let (log, bytes) = (find(ERROR_LOG)?, find(ERROR_LOG_BYTES)? as usize);
    // SAFETY: The caller's promise.
    (!log.is_null() && bytes > 0).then(|| unsafe { HostRange::new(log, bytes) })
}
