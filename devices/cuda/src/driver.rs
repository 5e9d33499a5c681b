//! The driver's functions, found at run time.
//!
//! All of them are looked up when the driver is opened, so that a driver which lacks one is told
//! of then and never by a panic later. Results are plain numbers: a driver newer than this crate
//! may return codes that it does not know.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent, CUfunction,
    CUfunction_attribute, CUhostFn, CUjit_option, CUjitInputType, CUlinkState, CUmemPool_attribute,
    CUmemoryPool, CUmodule, CUpointer_attribute, CUstream,
};

use crate::why_not::WhyNot;

/// What a function of the driver returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Code(pub(crate) c_int);

impl Code {
    pub(crate) const SUCCESS: Code = Code(0);
    pub(crate) const INVALID_VALUE: Code = Code(1);
    pub(crate) const OUT_OF_MEMORY: Code = Code(2);
    pub(crate) const STUB_LIBRARY: Code = Code(34);
    pub(crate) const NO_DEVICE: Code = Code(100);
    pub(crate) const NOT_READY: Code = Code(600);
    pub(crate) const CONTEXT_IS_DESTROYED: Code = Code(709);

    /// Whether the context is of no use after it: every later call returns the same.
    pub(crate) fn is_sticky(self) -> bool {
        matches!(
            self.0,
            4 | 46 // deinitialised, unavailable
            | 201 | 214 | 220 // the context is void; ECC or NVLink cannot correct
            | 700 | 702 | 709 | 710 | 714
                ..=719 | 721 // a kernel failed, or hardware did
            | 802 | 806 | 810 | 911 | 999
        )
    }
}

macro_rules! functions {
    ($($name:ident($($argument:ident: $ty:ty),*);)*) => {
        /// Pointers to the driver's functions, by their own names.
        #[allow(non_snake_case)]
        pub(crate) struct Functions {
            $(pub(crate) $name: unsafe extern "C" fn($($argument: $ty),*) -> Code,)*
        }

        impl Functions {
            /// Looks all of them up; the name of the first that is missing.
            fn load() -> Result<Self, &'static str> {
                // SAFETY: The library stays open for as long as the process lives.
                let library = unsafe { sys::culib() };
                $(
                    // SAFETY: The driver's function of this name takes these arguments and
                    // returns an `int`; so says NVIDIA's cuda.h, from version 11.4 on.
                    let found = unsafe {
                        library.get::<unsafe extern "C" fn($($ty),*) -> Code>(
                            stringify!($name).as_bytes(),
                        )
                    };
                    #[allow(non_snake_case)]
                    let $name = *found.map_err(|_missing| stringify!($name))?;
                )*
                Ok(Functions { $($name,)* })
            }
        }
    };
}

functions! {
    cuInit(flags: c_uint);
    cuDriverGetVersion(version: *mut c_int);
    cuGetErrorName(code: c_int, name: *mut *const c_char);
    cuGetErrorString(code: c_int, text: *mut *const c_char);
    cuDeviceGetCount(count: *mut c_int);
    cuDeviceGet(device: *mut CUdevice, ordinal: c_int);
    cuDeviceGetName(name: *mut c_char, len: c_int, device: CUdevice);
    cuDeviceTotalMem_v2(bytes: *mut usize, device: CUdevice);
    cuDeviceGetAttribute(value: *mut c_int, attribute: CUdevice_attribute, device: CUdevice);
    cuDeviceGetPCIBusId(text: *mut c_char, len: c_int, device: CUdevice);
    cuDeviceGetDefaultMemPool(pool: *mut CUmemoryPool, device: CUdevice);
    cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice);
    cuDevicePrimaryCtxRelease_v2(device: CUdevice);
    cuDevicePrimaryCtxGetState(device: CUdevice, flags: *mut c_uint, active: *mut c_int);
    cuCtxPushCurrent_v2(context: CUcontext);
    cuCtxPopCurrent_v2(context: *mut CUcontext);
    cuMemPoolSetAttribute(pool: CUmemoryPool, attribute: CUmemPool_attribute, value: *mut c_void);
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
    cuMemAlloc_v2(address: *mut CUdeviceptr, len: usize);
    cuMemFree_v2(address: CUdeviceptr);
    cuMemAllocAsync(address: *mut CUdeviceptr, len: usize, stream: CUstream);
    cuMemFreeAsync(address: CUdeviceptr, stream: CUstream);
    cuPointerGetAttribute(data: *mut c_void, attribute: CUpointer_attribute, address: CUdeviceptr);
    cuMemHostRegister_v2(start: *mut c_void, len: usize, flags: c_uint);
    cuMemHostUnregister(start: *mut c_void);
    cuMemHostGetDevicePointer_v2(address: *mut CUdeviceptr, start: *mut c_void, flags: c_uint);
    cuMemcpyHtoDAsync_v2(to: CUdeviceptr, from: *const c_void, len: usize, stream: CUstream);
    cuMemcpyDtoHAsync_v2(to: *mut c_void, from: CUdeviceptr, len: usize, stream: CUstream);
    cuMemcpyDtoDAsync_v2(to: CUdeviceptr, from: CUdeviceptr, len: usize, stream: CUstream);
    cuMemsetD8Async(to: CUdeviceptr, byte: u8, len: usize, stream: CUstream);
    cuStreamCreate(stream: *mut CUstream, flags: c_uint);
    cuStreamDestroy_v2(stream: CUstream);
    cuStreamSynchronize(stream: CUstream);
    cuStreamWaitEvent(stream: CUstream, event: CUevent, flags: c_uint);
    cuLaunchHostFunc(stream: CUstream, function: CUhostFn, data: *mut c_void);
    cuEventCreate(event: *mut CUevent, flags: c_uint);
    cuEventDestroy_v2(event: CUevent);
    cuEventRecord(event: CUevent, stream: CUstream);
    cuEventQuery(event: CUevent);
    cuEventElapsedTime(milliseconds: *mut f32, start: CUevent, end: CUevent);
    cuLinkCreate_v2(count: c_uint, options: *mut CUjit_option, values: *mut *mut c_void, state: *mut CUlinkState);
    cuLinkAddData_v2(state: CUlinkState, kind: CUjitInputType, data: *mut c_void, len: usize, name: *const c_char, count: c_uint, options: *mut CUjit_option, values: *mut *mut c_void);
    cuLinkComplete(state: CUlinkState, image: *mut *mut c_void, len: *mut usize);
    cuLinkDestroy(state: CUlinkState);
    cuModuleLoadData(module: *mut CUmodule, image: *const c_void);
    cuModuleUnload(module: CUmodule);
    cuModuleGetFunction(function: *mut CUfunction, module: CUmodule, name: *const c_char);
    cuFuncGetAttribute(value: *mut c_int, attribute: CUfunction_attribute, function: CUfunction);
    cuLaunchKernel(function: CUfunction, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint, shared: c_uint, stream: CUstream, params: *mut *mut c_void, extra: *mut *mut c_void);
}

/// The driver, opened.
pub(crate) struct Driver {
    functions: Functions,
    /// As CUDA counts: 13000 for 13.0.
    version: c_int,
    /// Whether it is `sim/gpu`, a driver in software.
    simulated: bool,
}

/// A symbol that no driver of NVIDIA has.
pub(crate) const SIMULATOR: &[u8] = b"unlade_sim_gpu\0";

impl Driver {
    /// The driver of this process; looked for until it is found.
    pub(crate) fn open() -> Result<&'static Driver, WhyNot> {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        static LOOKING: Mutex<()> = Mutex::new(());
        if let Some(driver) = DRIVER.get() {
            return Ok(driver);
        }
        let _one_thread = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
        match DRIVER.get() {
            Some(driver) => Ok(driver),
            None => Driver::load().map(|driver| DRIVER.get_or_init(|| driver)),
        }
    }

    fn load() -> Result<Self, WhyNot> {
        // SAFETY: Loading NVIDIA's library runs its initialisers, which is what it is for.
        if !unsafe { sys::is_culib_present() } {
            return Err(WhyNot::NoLibrary);
        }
        let functions = Functions::load().map_err(|lacks| WhyNot::OldDriver { lacks })?;
        // SAFETY: As in `Functions::load`; the symbol is not touched.
        let simulated = unsafe { sys::culib().get::<*const c_void>(SIMULATOR).is_ok() };
        let mut driver = Driver {
            functions,
            version: 0,
            simulated,
        };
        // SAFETY: It takes no pointer.
        let code = unsafe { (driver.functions.cuInit)(0) };
        match code {
            Code::SUCCESS => {}
            Code::NO_DEVICE => return Err(WhyNot::no_device()),
            Code::STUB_LIBRARY => return Err(WhyNot::Stub),
            code => return Err(WhyNot::Refuses(driver.fault("cuInit", code).to_string())),
        }
        let mut version = 0;
        // SAFETY: It writes one `int`, where it is pointed.
        let code = unsafe { (driver.functions.cuDriverGetVersion)(&raw mut version) };
        driver
            .check("cuDriverGetVersion", code)
            .map_err(|fault| WhyNot::Refuses(fault.to_string()))?;
        driver.version = version;
        Ok(driver)
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    pub(crate) fn version(&self) -> c_int {
        self.version
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// An error of a code that says one.
    pub(crate) fn check(&self, call: &'static str, code: Code) -> Result<(), Fault> {
        match code {
            Code::SUCCESS => Ok(()),
            code => Err(self.fault(call, code)),
        }
    }

    fn fault(&self, call: &'static str, code: Code) -> Fault {
        let text = |find: unsafe extern "C" fn(c_int, *mut *const c_char) -> Code| {
            let mut text = std::ptr::null();
            // SAFETY: It writes one pointer, to a text that lives as long as the library, or null.
            let found = unsafe { find(code.0, &raw mut text) };
            if found != Code::SUCCESS || text.is_null() {
                return None;
            }
            // SAFETY: As above: a C string that is never freed.
            let text = unsafe { CStr::from_ptr(text) };
            Some(text.to_string_lossy().into_owned())
        };
        let name = text(self.functions.cuGetErrorName);
        let meaning = text(self.functions.cuGetErrorString);
        let name = name.unwrap_or_else(|| format!("error {}", code.0));
        let words = match meaning {
            Some(meaning) => format!("{name}, {meaning}"),
            None => name,
        };
        Fault { call, code, words }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("version", &self.version)
            .field("simulated", &self.simulated)
            .finish_non_exhaustive()
    }
}

/// A call of the driver that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {words}")]
pub(crate) struct Fault {
    pub(crate) call: &'static str,
    pub(crate) code: Code,
    words: String,
}

impl Fault {
    /// The same, with what else is known of it.
    pub(crate) fn with(self, detail: &str) -> Self {
        let words = match detail.trim() {
            "" => self.words,
            detail => format!("{}: {detail}", self.words),
        };
        Fault { words, ..self }
    }
}
