//! A GPU's primary context, entered for as long as one of its functions is called.
//!
//! Threads that call a device are not ours: a context is pushed onto the thread's stack before a
//! call and popped after it, so that the caller finds whatever it had made current.
//!
//! The primary context is shared with everything else in the process that uses the GPU. It is
//! retained once and never reset, which would take it from the others. A context that an error has
//! spoilt is [left](Context::leave): the driver destroys it once everybody has, and the next one
//! to retain it gets a new one.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdevice_attribute, CUevent, CUfunction, CUfunction_attribute,
    CUjit_option, CUjitInputType, CUlinkState, CUmemPool_attribute, CUmodule, CUpointer_attribute,
    CUstream,
};

use crate::driver::{Code, Driver, Fault};

/// `CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP`: pinned for every GPU of the
/// process, and mapped into their address space.
const REGISTER_FOR_ALL: c_uint = 1 | 2;

/// `CU_STREAM_NON_BLOCKING`: without order towards the stream that others call the default one.
const NON_BLOCKING: c_uint = 1;

/// `CU_EVENT_DEFAULT`: events take the time.
const TIMED: c_uint = 0;

/// Room for what the driver's assembler says.
const LOG_BYTES: usize = 8192;

/// One GPU, as the driver numbers them after `CUDA_VISIBLE_DEVICES`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gpu {
    driver: &'static Driver,
    ordinal: c_int,
    handle: CUdevice,
}

impl Gpu {
    pub(crate) fn count(driver: &'static Driver) -> Result<u32, Fault> {
        let mut count = 0;
        // SAFETY: It writes one `int`, where it is pointed.
        let code = unsafe { (driver.functions().cuDeviceGetCount)(&raw mut count) };
        driver.check("cuDeviceGetCount", code)?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    pub(crate) fn get(driver: &'static Driver, ordinal: u32) -> Result<Self, Fault> {
        let ordinal = ordinal as c_int;
        let mut handle = 0;
        // SAFETY: It writes one handle, where it is pointed.
        let code = unsafe { (driver.functions().cuDeviceGet)(&raw mut handle, ordinal) };
        driver.check("cuDeviceGet", code)?;
        Ok(Gpu {
            driver,
            ordinal,
            handle,
        })
    }

    pub(crate) fn driver(&self) -> &'static Driver {
        self.driver
    }

    pub(crate) fn ordinal(&self) -> c_int {
        self.ordinal
    }

    pub(crate) fn name(&self) -> Result<String, Fault> {
        self.text("cuDeviceGetName", self.driver.functions().cuDeviceGetName)
    }

    /// Domain, bus, device and function: `0000:3b:00.0`.
    pub(crate) fn pci_address(&self) -> Result<String, Fault> {
        let text = self.text(
            "cuDeviceGetPCIBusId",
            self.driver.functions().cuDeviceGetPCIBusId,
        )?;
        Ok(text.to_ascii_lowercase())
    }

    fn text(
        &self,
        call: &'static str,
        function: unsafe extern "C" fn(*mut c_char, c_int, CUdevice) -> Code,
    ) -> Result<String, Fault> {
        let mut text = [0u8; 256];
        // SAFETY: It writes at most as many bytes as it is told that there are.
        let code = unsafe { function(text.as_mut_ptr().cast(), text.len() as c_int, self.handle) };
        self.driver.check(call, code)?;
        let end = text
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(text.len());
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> Result<u64, Fault> {
        let mut bytes = 0;
        // SAFETY: It writes one size, where it is pointed.
        let code =
            unsafe { (self.driver.functions().cuDeviceTotalMem_v2)(&raw mut bytes, self.handle) };
        self.driver.check("cuDeviceTotalMem", code)?;
        Ok(bytes as u64)
    }

    pub(crate) fn attribute(&self, attribute: CUdevice_attribute) -> Result<c_int, Fault> {
        let mut value = 0;
        // SAFETY: It writes one `int`, where it is pointed.
        let code = unsafe {
            (self.driver.functions().cuDeviceGetAttribute)(&raw mut value, attribute, self.handle)
        };
        self.driver.check("cuDeviceGetAttribute", code)?;
        Ok(value)
    }

    /// Lets the driver's memory pool keep this many bytes that are free.
    pub(crate) fn keep_free(&self, bytes: u64) -> Result<(), Fault> {
        let functions = self.driver.functions();
        let mut pool = ptr::null_mut();
        // SAFETY: It writes one handle, where it is pointed.
        let code = unsafe { (functions.cuDeviceGetDefaultMemPool)(&raw mut pool, self.handle) };
        self.driver.check("cuDeviceGetDefaultMemPool", code)?;
        let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        let mut bytes = bytes;
        // SAFETY: This attribute is read as one 64-bit number.
        let code =
            unsafe { (functions.cuMemPoolSetAttribute)(pool, attribute, (&raw mut bytes).cast()) };
        self.driver.check("cuMemPoolSetAttribute", code)
    }

    pub(crate) fn context(self) -> Result<Context, Fault> {
        let mut handle = ptr::null_mut();
        // SAFETY: It writes one handle, where it is pointed.
        let code = unsafe {
            (self.driver.functions().cuDevicePrimaryCtxRetain)(&raw mut handle, self.handle)
        };
        self.driver.check("cuDevicePrimaryCtxRetain", code)?;
        Ok(Context {
            gpu: self,
            handle: RwLock::new(Some(Handle(handle))),
        })
    }

    /// Whether anybody in the process holds the primary context.
    fn has_context(&self) -> bool {
        let (mut flags, mut active) = (0, 0);
        // SAFETY: It writes two `int`s, where it is pointed.
        let code = unsafe {
            (self.driver.functions().cuDevicePrimaryCtxGetState)(
                self.handle,
                &raw mut flags,
                &raw mut active,
            )
        };
        code != Code::SUCCESS || active != 0
    }
}

/// A range that was allocated as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allocation {
    /// The GPU that has it.
    pub(crate) ordinal: c_int,
    pub(crate) start: u64,
    pub(crate) len: usize,
}

/// A GPU's primary context, retained.
#[derive(Debug)]
pub(crate) struct Context {
    gpu: Gpu,
    /// `None` once it was left. Whoever is inside holds it for reading.
    handle: RwLock<Option<Handle>>,
}

/// Names of what the driver owns. They are used with the context in which they were made.
macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident($raw:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $name($raw);
        // SAFETY: A name for what the driver owns, which may be used on any thread.
        unsafe impl Send for $name {}
        // SAFETY: As above.
        unsafe impl Sync for $name {}
    )*};
}

handles! {
    /// A context.
    Handle(CUcontext);
    /// Work in order.
    Stream(CUstream);
    /// A point on a stream that takes the time.
    Event(CUevent);
    /// Code, loaded.
    Module(CUmodule);
    /// A kernel of a module.
    Function(CUfunction);
}

impl Context {
    /// Makes it the thread's current context until the value is dropped. A thread that is inside
    /// does not enter again.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, Fault> {
        let driver = self.gpu.driver;
        let held = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        let Some(handle) = *held else {
            driver.check("cuCtxPushCurrent", Code::CONTEXT_IS_DESTROYED)?;
            unreachable!("that is no success");
        };
        // SAFETY: The handle is valid: the context is not released while it is held for reading.
        let code = unsafe { (driver.functions().cuCtxPushCurrent_v2)(handle.0) };
        driver.check("cuCtxPushCurrent", code)?;
        Ok(Entered {
            driver,
            handle,
            _held: held,
        })
    }

    /// Gives the context up for good, once all threads are outside. Whether it is gone, with all
    /// that was made in it: the driver keeps it for as long as somebody else in the process holds
    /// it.
    pub(crate) fn leave(&self) -> bool {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        if handle.take().is_some() {
            let driver = self.gpu.driver;
            // SAFETY: It was retained once and is released once. Nobody is inside, and nobody
            // enters any more: what was made in it is not used again.
            let code =
                unsafe { (driver.functions().cuDevicePrimaryCtxRelease_v2)(self.gpu.handle) };
            // An error is that of earlier work: it is why the context is left.
            let _known = driver.check("cuDevicePrimaryCtxRelease", code);
        }
        !self.gpu.has_context()
    }
}

/// A context that is current. Handles that are passed to its functions are of this context.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    driver: &'static Driver,
    handle: Handle,
    /// Keeps the context. What was pushed on one thread cannot be popped on another: this cannot
    /// be sent to one.
    _held: RwLockReadGuard<'a, Option<Handle>>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut popped = ptr::null_mut();
        // SAFETY: It writes one handle, where it is pointed; ours is on top of the thread's stack.
        let code = unsafe { (self.driver.functions().cuCtxPopCurrent_v2)(&raw mut popped) };
        debug_assert!(code != Code::SUCCESS || popped == self.handle.0);
    }
}

/// Calls a function of the driver; its error names it.
macro_rules! call {
    ($self:ident.$name:ident($($argument:expr),* $(,)?)) => {{
        let driver = $self.driver;
        let code = (driver.functions().$name)($($argument),*);
        driver.check(stringify!($name), code)
    }};
}

impl Entered<'_> {
    /// Free bytes of the GPU's memory.
    pub(crate) fn free_memory(&self) -> Result<u64, Fault> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: It writes two sizes, where it is pointed.
        unsafe { call!(self.cuMemGetInfo_v2(&raw mut free, &raw mut total)) }?;
        Ok(free as u64)
    }

    /// Memory of the GPU, at once and apart from any stream.
    pub(crate) fn allocate(&self, len: u64) -> Result<u64, Fault> {
        let mut address = 0;
        // SAFETY: It writes one address, where it is pointed.
        unsafe { call!(self.cuMemAlloc_v2(&raw mut address, len as usize)) }?;
        Ok(address)
    }

    /// Memory from the driver's pool, there once the stream has come to this point.
    pub(crate) fn allocate_on(&self, len: u64, stream: Stream) -> Result<u64, Fault> {
        let mut address = 0;
        // SAFETY: It writes one address, where it is pointed.
        unsafe { call!(self.cuMemAllocAsync(&raw mut address, len as usize, stream.0)) }?;
        Ok(address)
    }

    /// Gives back what [`allocate`](Self::allocate) gave.
    ///
    /// # Safety
    /// Nothing uses it any more.
    pub(crate) unsafe fn free(&self, address: u64) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuMemFree_v2(address)) }
    }

    /// Gives back what [`allocate_on`](Self::allocate_on) gave, once the stream comes to this
    /// point.
    ///
    /// # Safety
    /// Nothing uses it any more that is not before this point of the stream.
    pub(crate) unsafe fn free_on(&self, address: u64, stream: Stream) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuMemFreeAsync(address, stream.0)) }
    }

    /// The allocation that an address is inside of; `None` for an address that is none of CUDA's.
    pub(crate) fn allocation(&self, address: u64) -> Result<Option<Allocation>, Fault> {
        let mut found = Allocation::default();
        let asked: [(_, *mut c_void); 3] = [
            (
                CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                (&raw mut found.ordinal).cast(),
            ),
            (
                CUpointer_attribute::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
                (&raw mut found.start).cast(),
            ),
            (
                CUpointer_attribute::CU_POINTER_ATTRIBUTE_RANGE_SIZE,
                (&raw mut found.len).cast(),
            ),
        ];
        for (attribute, place) in asked {
            // SAFETY: It writes one value of the attribute's type, where it is pointed: an `int`, an
            // address, a size. Any address may be asked about.
            match unsafe { call!(self.cuPointerGetAttribute(place, attribute, address)) } {
                Ok(()) => {}
                Err(fault) if fault.code == Code::INVALID_VALUE => return Ok(None),
                Err(fault) => return Err(fault),
            }
        }
        Ok(Some(found))
    }

    /// Whether everything before the latest record of somebody else's event is done.
    ///
    /// # Safety
    /// It is an event of this driver's, and is not destroyed meanwhile.
    pub(crate) unsafe fn is_foreign_reached(&self, event: usize) -> Result<bool, Fault> {
        self.is_reached(Event(ptr::with_exposed_provenance_mut(event)))
    }

    /// Pins pages of the host for every GPU of the process.
    ///
    /// # Safety
    /// The pages stay mapped until [`unregister`](Self::unregister).
    pub(crate) unsafe fn register(&self, start: *mut u8, len: u64) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuMemHostRegister_v2(start.cast(), len as usize, REGISTER_FOR_ALL)) }
    }

    /// Where GPUs see pages that are registered.
    pub(crate) fn address_of(&self, start: *mut u8) -> Result<u64, Fault> {
        let mut address = 0;
        // SAFETY: It writes one address, where it is pointed; what is not registered is an error.
        unsafe { call!(self.cuMemHostGetDevicePointer_v2(&raw mut address, start.cast(), 0)) }?;
        Ok(address)
    }

    /// Takes a registration back.
    pub(crate) fn unregister(&self, start: *mut u8) -> Result<(), Fault> {
        // SAFETY: An address that is not registered is an error and nothing else.
        unsafe { call!(self.cuMemHostUnregister(start.cast())) }
    }

    /// Copies from registered pages to the GPU.
    ///
    /// # Safety
    /// Both ranges are there, and nothing else writes them, until the stream is past this point.
    pub(crate) unsafe fn copy_in(
        &self,
        to: u64,
        from: *const u8,
        len: u64,
        stream: Stream,
    ) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuMemcpyHtoDAsync_v2(to, from.cast(), len as usize, stream.0)) }
    }

    /// Copies from where a GPU sees something to registered pages.
    ///
    /// # Safety
    /// As for [`copy_in`](Self::copy_in).
    pub(crate) unsafe fn copy_out(
        &self,
        to: *mut u8,
        from: u64,
        len: u64,
        stream: Stream,
    ) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuMemcpyDtoHAsync_v2(to.cast(), from, len as usize, stream.0)) }
    }

    /// Copies within the GPU.
    ///
    /// # Safety
    /// As for [`copy_in`](Self::copy_in).
    pub(crate) unsafe fn copy_within(
        &self,
        to: u64,
        from: u64,
        len: u64,
        stream: Stream,
    ) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuMemcpyDtoDAsync_v2(to, from, len as usize, stream.0)) }
    }

    /// Sets bytes.
    ///
    /// # Safety
    /// As for [`copy_in`](Self::copy_in).
    pub(crate) unsafe fn fill(
        &self,
        to: u64,
        byte: u8,
        len: u64,
        stream: Stream,
    ) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuMemsetD8Async(to, byte, len as usize, stream.0)) }
    }

    pub(crate) fn stream(&self) -> Result<Stream, Fault> {
        let mut stream = ptr::null_mut();
        // SAFETY: It writes one handle, where it is pointed.
        unsafe { call!(self.cuStreamCreate(&raw mut stream, NON_BLOCKING)) }?;
        Ok(Stream(stream))
    }

    /// Waits until everything on the stream is done.
    pub(crate) fn synchronize(&self, stream: Stream) -> Result<(), Fault> {
        // SAFETY: Streams are destroyed by their owner alone, at its end.
        unsafe { call!(self.cuStreamSynchronize(stream.0)) }
    }

    /// Lets later work of a stream begin only after the event.
    pub(crate) fn wait_for(&self, event: Event, stream: Stream) -> Result<(), Fault> {
        // SAFETY: Streams and events are destroyed by their owner alone, at its end.
        unsafe { call!(self.cuStreamWaitEvent(stream.0, event.0, 0)) }
    }

    /// Has the driver call a function, on a thread of its own, once the stream comes to this point;
    /// never, where an error spoils the context before.
    ///
    /// # Safety
    /// The function may be called with this argument, once or never. It calls nothing of the driver's.
    pub(crate) unsafe fn call_on(
        &self,
        stream: Stream,
        function: unsafe extern "C" fn(*mut c_void),
        data: *mut c_void,
    ) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuLaunchHostFunc(stream.0, Some(function), data)) }
    }

    /// Does not wait for what is still on it.
    ///
    /// # Safety
    /// The stream is not used any more.
    pub(crate) unsafe fn destroy_stream(&self, stream: Stream) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuStreamDestroy_v2(stream.0)) }
    }

    pub(crate) fn event(&self) -> Result<Event, Fault> {
        let mut event = ptr::null_mut();
        // SAFETY: It writes one handle, where it is pointed.
        unsafe { call!(self.cuEventCreate(&raw mut event, TIMED)) }?;
        Ok(Event(event))
    }

    pub(crate) fn record(&self, event: Event, stream: Stream) -> Result<(), Fault> {
        // SAFETY: Streams and events are destroyed by their owner alone, at its end.
        unsafe { call!(self.cuEventRecord(event.0, stream.0)) }
    }

    /// Whether everything before the event's latest record is done.
    pub(crate) fn is_reached(&self, event: Event) -> Result<bool, Fault> {
        // SAFETY: Events are destroyed by their owner alone, at its end.
        match unsafe { call!(self.cuEventQuery(event.0)) } {
            Ok(()) => Ok(true),
            Err(fault) if fault.code == Code::NOT_READY => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Time between two events that are reached; the driver's resolution is about half a
    /// microsecond.
    pub(crate) fn elapsed(&self, start: Event, end: Event) -> Result<Duration, Fault> {
        let mut milliseconds = 0.0;
        // SAFETY: It writes one `float`, where it is pointed.
        unsafe { call!(self.cuEventElapsedTime(&raw mut milliseconds, start.0, end.0)) }?;
        let seconds = f64::from(milliseconds) / 1e3;
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }

    /// # Safety
    /// The event is not used any more.
    pub(crate) unsafe fn destroy_event(&self, event: Event) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuEventDestroy_v2(event.0)) }
    }

    /// Machine code for this GPU of PTX text, by the driver's own assembler. An error has what
    /// that says.
    pub(crate) fn assemble(&self, text: &str) -> Result<Vec<u8>, Fault> {
        let mut log = vec![0u8; LOG_BYTES];
        let mut options = [
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        let mut values: [*mut c_void; 2] = [
            log.as_mut_ptr().cast(),
            ptr::without_provenance_mut(LOG_BYTES),
        ];
        let mut state: CUlinkState = ptr::null_mut();
        // SAFETY: Two options with two values; the log outlives the state, which is destroyed
        // below.
        unsafe {
            call!(self.cuLinkCreate_v2(
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
                &raw mut state
            ))
        }?;
        let done = self.link(state, text);
        // SAFETY: It was made above and is used no more.
        let destroyed = unsafe { call!(self.cuLinkDestroy(state)) };
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(0);
        let done = done.map_err(|fault| fault.with(&String::from_utf8_lossy(&log[..end])));
        let image = done?;
        destroyed?;
        Ok(image)
    }

    fn link(&self, state: CUlinkState, text: &str) -> Result<Vec<u8>, Fault> {
        let text = CString::new(text).expect("PTX text has no zero byte");
        let len = text.as_bytes_with_nul().len();
        let kind = CUjitInputType::CU_JIT_INPUT_PTX;
        // SAFETY: The text is read during the call, all of it with its zero.
        unsafe {
            call!(self.cuLinkAddData_v2(
                state,
                kind,
                text.as_ptr().cast_mut().cast(),
                len,
                c"unlade".as_ptr(),
                0,
                ptr::null_mut(),
                ptr::null_mut(),
            ))
        }?;
        let (mut image, mut len) = (ptr::null_mut(), 0);
        // SAFETY: It writes an address and a size, where it is pointed.
        unsafe { call!(self.cuLinkComplete(state, &raw mut image, &raw mut len)) }?;
        assert!(!image.is_null(), "the driver links nothing to nowhere");
        // SAFETY: The image is the state's, which is still there, and has this many bytes.
        Ok(unsafe { std::slice::from_raw_parts(image.cast::<u8>(), len) }.to_vec())
    }

    /// Loads machine code.
    ///
    /// # Safety
    /// The bytes are what [`assemble`](Self::assemble) made: the driver trusts an image's own
    /// lengths.
    pub(crate) unsafe fn load(&self, image: &[u8]) -> Result<Module, Fault> {
        let mut module = ptr::null_mut();
        // SAFETY: The caller's; the image is copied during the call.
        unsafe { call!(self.cuModuleLoadData(&raw mut module, image.as_ptr().cast())) }?;
        Ok(Module(module))
    }

    pub(crate) fn function(&self, module: Module, name: &str) -> Result<Function, Fault> {
        let name = CString::new(name).expect("a kernel's name has no zero byte");
        let mut function = ptr::null_mut();
        // SAFETY: It writes one handle, where it is pointed; the module is loaded.
        unsafe { call!(self.cuModuleGetFunction(&raw mut function, module.0, name.as_ptr())) }?;
        Ok(Function(function))
    }

    /// How many threads a block of a function may have, given the registers that it uses.
    pub(crate) fn most_threads(&self, function: Function) -> Result<u32, Fault> {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        let mut value = 0;
        // SAFETY: It writes one `int`, where it is pointed.
        unsafe { call!(self.cuFuncGetAttribute(&raw mut value, attribute, function.0)) }?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    /// # Safety
    /// No function of the module is used any more.
    pub(crate) unsafe fn unload(&self, module: Module) -> Result<(), Fault> {
        // SAFETY: The caller's.
        unsafe { call!(self.cuModuleUnload(module.0)) }
    }

    /// Launches a kernel.
    ///
    /// # Safety
    /// There is one pointer for each of the kernel's parameters, to a value of its type. What
    /// these refer to is there, and the kernel's alone where it writes, until the stream is past
    /// this point.
    pub(crate) unsafe fn launch(
        &self,
        function: Function,
        grid: u32,
        block: u32,
        params: &mut [*mut c_void],
        stream: Stream,
    ) -> Result<(), Fault> {
        // SAFETY: The caller's; parameters are copied during the call.
        unsafe {
            call!(self.cuLaunchKernel(
                function.0,
                grid,
                1,
                1,
                block,
                1,
                1,
                0,
                stream.0,
                params.as_mut_ptr(),
                ptr::null_mut(),
            ))
        }
    }
}
