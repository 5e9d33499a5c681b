//! The simulated driver under cudarc, which finds it as it finds a real one.
//!
//! The driver is linked into this executable, whose build gives it the name of CUDA's library; so
//! nothing is loaded from outside.

use std::ffi::{CStr, CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DriverError, result,
};
use unlade_hal::{Clock, Timestamp};
use unlade_sim_fault::FaultPlan;
use unlade_sim_gpu::{Driver, DriverConfig, DriverFault, FindingKind, Mode, Profile};

/// The driver is the process's: one test at a time has it, and begins anew.
fn driver(config: DriverConfig) -> (MutexGuard<'static, ()>, Driver) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let driver = Driver::get();
    driver.restart(config);
    (guard, driver)
}

fn config(mode: Mode, seed: u64) -> DriverConfig {
    DriverConfig::default()
        .with_devices([Profile::h200()])
        .with_mode(mode)
        .with_seed(seed)
}

const DOUBLE: &str = ".version 7.0\n.target sm_75\n.address_size 64\n\
    .visible .entry double(.param .u64 numbers, .param .u32 count) {\n\
    .reg .pred %p; .reg .b32 %r<5>; .reg .b64 %rd<2>;\n\
    mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x; mad.lo.u32 %r0, %r0, %r1, %r2;\n\
    ld.param.u32 %r3, [count]; setp.ge.u32 %p, %r0, %r3; @%p ret;\n\
    ld.param.u64 %rd0, [numbers]; mad.wide.u32 %rd1, %r0, 4, %rd0;\n\
    ld.global.u32 %r4, [%rd1]; add.u32 %r4, %r4, %r4; st.global.u32 [%rd1], %r4;\n\
    ret; }";

struct Kernel {
    module: sys::CUmodule,
    function: sys::CUfunction,
}

impl Kernel {
    fn load(context: &Arc<CudaContext>, text: &str, name: &str) -> Result<Kernel, DriverError> {
        context.bind_to_thread()?;
        let text = CString::new(text).unwrap();
        // SAFETY: A text with its zero.
        let module = unsafe { result::module::load_data(text.as_ptr().cast()) }?;
        // SAFETY: The module was just loaded.
        match unsafe { result::module::get_function(module, CString::new(name).unwrap()) } {
            Ok(function) => Ok(Kernel { module, function }),
            Err(error) => {
                // SAFETY: As above.
                unsafe { result::module::unload(module) }?;
                Err(error)
            }
        }
    }

    fn launch(
        &self,
        stream: &Arc<CudaStream>,
        numbers: &mut CudaSlice<u32>,
        count: u32,
    ) -> Result<(), DriverError> {
        let (at, _record) = numbers.device_ptr_mut(stream);
        self.launch_at(stream, at, count)
    }

    fn launch_at(
        &self,
        stream: &Arc<CudaStream>,
        at: sys::CUdeviceptr,
        count: u32,
    ) -> Result<(), DriverError> {
        let mut arguments: [*mut c_void; 2] = [
            (&raw const at).cast_mut().cast(),
            (&raw const count).cast_mut().cast(),
        ];
        let blocks = (count.div_ceil(64), 1, 1);
        // SAFETY: Two arguments of the kernel's types, as `DOUBLE` declares.
        unsafe {
            result::launch_kernel(
                self.function,
                blocks,
                (64, 1, 1),
                0,
                stream.cu_stream(),
                &mut arguments,
            )
        }
    }

    fn unload(self) -> Result<(), DriverError> {
        // SAFETY: The kernel is used no more.
        unsafe { result::module::unload(self.module) }
    }
}

/// Copies numbers in, doubles them, and copies them out, on two streams.
fn double(numbers: &[u32]) -> Result<Vec<u32>, DriverError> {
    let context = CudaContext::new(0)?;
    let kernel = Kernel::load(&context, DOUBLE, "double")?;
    let run = || {
        let (upload, compute) = (context.new_stream()?, context.new_stream()?);
        let mut device = upload.clone_htod(numbers)?;
        compute.wait(&upload.record_event(None)?)?;
        kernel.launch(&compute, &mut device, numbers.len() as u32)?;
        let out = compute.clone_dtoh(&device)?;
        compute.synchronize()?;
        Ok(out)
    };
    let out = run();
    kernel
        .unload()
        .and(out)
        .and_then(|out| context.check_err().map(|()| out))
}

#[test]
fn a_kernel_runs_in_every_mode_and_leaves_nothing() {
    let numbers: Vec<u32> = (0..1000).collect();
    let doubled: Vec<u32> = numbers.iter().map(|n| 2 * n).collect();
    for mode in [Mode::Eager, Mode::Lazy, Mode::Concurrent] {
        for seed in 0..8 {
            let (_one, driver) = driver(config(mode, seed));
            assert_eq!(double(&numbers).unwrap(), doubled, "{mode:?} {seed}");
            assert_eq!(
                driver.alive(),
                unlade_sim_gpu::Alive::default(),
                "{mode:?} {seed}"
            );
            assert_eq!(driver.findings(), []);
            assert_eq!(driver.counters().global_stored, 4000);
            assert_eq!(driver.calls()["cuLaunchKernel"], 1);
        }
    }
}

#[test]
fn the_device_says_what_it_is() {
    let devices = [Profile::h200(), Profile::l4(), Profile::gb10()];
    let (_one, _) = driver(DriverConfig::default().with_devices(devices.clone()));
    assert_eq!(CudaContext::device_count().unwrap(), 3);
    for (ordinal, profile) in devices.iter().enumerate() {
        let context = CudaContext::new(ordinal).unwrap();
        assert_eq!(context.name().unwrap(), profile.name);
        assert!(profile.name.starts_with("Simulated"));
        let (major, minor) = context.compute_capability().unwrap();
        assert_eq!((major as u32, minor as u32), profile.compute_capability);
        assert_eq!(context.total_mem().unwrap() as u64, profile.memory);
        assert!(context.has_async_alloc());
    }
    assert!(CudaContext::new(3).is_err());
    // SAFETY: The library is open; the symbol is not touched.
    assert!(unsafe { sys::culib().get::<*const u32>(b"unlade_sim_gpu") }.is_ok());
}

#[test]
fn only_who_waits_sees_the_result_where_work_is_lazy() {
    let (_one, _) = driver(config(Mode::Lazy, 0));
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let device = stream.clone_htod(&[7u32; 4]).unwrap();
    // SAFETY: Plain numbers; the memory is written below.
    let mut pinned = unsafe { context.alloc_pinned::<u32>(4) }.unwrap();
    pinned.as_mut_slice().unwrap().fill(0);
    let (at, _record) = device.device_ptr(&stream);
    let to = pinned.as_mut_ptr().unwrap();
    // SAFETY: The target is page-locked, long enough, and read only to see what it holds.
    let seen = unsafe {
        sys::cuMemcpyDtoHAsync_v2(to.cast(), at, 16, stream.cu_stream())
            .result()
            .unwrap();
        let before = to.read_volatile();
        stream.synchronize().unwrap();
        (before, to.read_volatile())
    };
    assert_eq!(seen, (0, 7));
}

#[test]
fn a_finding_spoils_the_context_and_names_its_line() {
    let (_one, driver) = driver(config(Mode::Eager, 0));
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let kernel = Kernel::load(&context, DOUBLE, "double").unwrap();
    let mut device = stream.clone_htod(&[1u32; 10]).unwrap();
    let error = kernel.launch(&stream, &mut device, 11).unwrap_err();
    assert_eq!(error.0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    let words = error.error_string().unwrap().to_string_lossy();
    assert!(
        words.contains("kernel `double`, PTX line 9, block 0, warp 0, lane 10"),
        "{words}"
    );
    assert_eq!(driver.findings()[0].kind, FindingKind::OutOfBounds);
    let later = stream.clone_htod(&[1u32; 10]).unwrap_err();
    assert_eq!(later.0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "it sticks");
}

#[test]
fn texts_are_refused_with_their_line_in_the_log() {
    let (_one, _) = driver(config(Mode::Eager, 0).with_devices([Profile::l4()]));
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    let load = |text: &str, name| {
        Kernel::load(&context, text, name)
            .map(|_| ())
            .unwrap_err()
            .0
    };
    assert_eq!(
        load(&DOUBLE.replace("add.u32", "addd.u32"), "double"),
        CUresult::CUDA_ERROR_INVALID_PTX
    );
    assert_eq!(
        load(&DOUBLE.replace("7.0", "99.0"), "double"),
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
    );
    assert_eq!(
        load(&DOUBLE.replace("sm_75", "sm_90"), "double"),
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
    );
    assert_eq!(load(DOUBLE, "triple"), CUresult::CUDA_ERROR_NOT_FOUND);

    let link = |text: &str| {
        let mut log = vec![0u8; 200];
        let mut options = [
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        let mut values = [
            log.as_mut_ptr().cast(),
            std::ptr::without_provenance_mut(log.len()),
        ];
        let text = CString::new(text).unwrap();
        let (mut state, mut image, mut bytes) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: Two options with two values; the log outlives the link; the text has its zero;
        // the image is copied before the link goes.
        unsafe {
            sys::cuLinkCreate_v2(2, options.as_mut_ptr(), values.as_mut_ptr(), &raw mut state)
                .result()
                .unwrap();
            let added = sys::cuLinkAddData_v2(
                state,
                sys::CUjitInputType::CU_JIT_INPUT_PTX,
                text.as_ptr().cast_mut().cast(),
                text.as_bytes_with_nul().len(),
                c"test".as_ptr(),
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            );
            let image = added.result().and_then(|()| {
                sys::cuLinkComplete(state, &raw mut image, &raw mut bytes).result()?;
                Ok(std::slice::from_raw_parts(image.cast::<u8>(), bytes).to_vec())
            });
            sys::cuLinkDestroy(state).result().unwrap();
            (
                image,
                CStr::from_bytes_until_nul(&log)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            )
        }
    };
    let (image, log) = link(DOUBLE);
    assert_eq!(
        (
            CStr::from_bytes_with_nul(&image.unwrap()).unwrap().to_str(),
            log.as_str()
        ),
        (Ok(DOUBLE), "")
    );
    let (image, log) = link(&DOUBLE.replace("ret; }", "rett; }"));
    assert_eq!(image.unwrap_err().0, CUresult::CUDA_ERROR_INVALID_PTX);
    assert_eq!(log, "PTX line 10: the instruction `rett` is not simulated");
}

#[test]
fn memory_is_limited_and_host_memory_is_registered_once() {
    let mut small = Profile::h200();
    small.memory = 1 << 20;
    let (_one, driver) = driver(config(Mode::Lazy, 0).with_devices([small]));
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let most = stream.alloc_zeros::<u8>(1 << 20).unwrap();
    let error = stream.alloc_zeros::<u8>(1).unwrap_err();
    assert_eq!(error.0, CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    // Given back in the stream, it is there for who asks next.
    drop(most);
    assert!(stream.alloc_zeros::<u8>(1 << 20).is_ok());

    let page = vec![1u8; 4096];
    let at: *mut c_void = page.as_ptr().cast_mut().cast();
    // SAFETY: The vector outlives its registration.
    let codes = unsafe {
        [
            sys::cuMemHostRegister_v2(at, 4096, 0),
            sys::cuMemHostRegister_v2(at.byte_add(100), 10, 0),
            sys::cuMemHostUnregister(at),
            sys::cuMemHostUnregister(at),
        ]
    };
    use CUresult::{
        CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
        CUDA_SUCCESS,
    };
    let expected = [
        CUDA_SUCCESS,
        CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
        CUDA_SUCCESS,
        CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
    ];
    assert_eq!(codes, expected);
    assert_eq!(driver.alive().host_ranges, 0);
}

/// Whoever registers memory says whether devices have it in their address space.
#[test]
fn kernels_reach_host_memory_that_is_mapped_and_no_other() {
    const DEVICEMAP: u32 = 2;
    for (flags, reached) in [(DEVICEMAP, true), (0, false)] {
        let (_one, driver) = driver(config(Mode::Lazy, 0));
        let context = CudaContext::new(0).unwrap();
        let stream = context.new_stream().unwrap();
        let kernel = Kernel::load(&context, DOUBLE, "double").unwrap();
        let mut numbers = vec![3u32; 1000];
        let start: *mut c_void = numbers.as_mut_ptr().cast();
        // SAFETY: The vector outlives its registration, which waits for the kernel.
        let registered = unsafe { sys::cuMemHostRegister_v2(start, 4000, flags) };
        assert_eq!(registered, CUresult::CUDA_SUCCESS);
        kernel.launch_at(&stream, start as u64, 1000).unwrap();
        assert_eq!(stream.synchronize().is_ok(), reached);
        // SAFETY: As above.
        let _lost = unsafe { sys::cuMemHostUnregister(start) };
        if reached {
            assert_eq!(numbers, [6; 1000]);
            let counted = driver.counters();
            assert_eq!((counted.host_loaded, counted.host_stored), (4000, 4000));
            assert_eq!(driver.findings(), []);
        } else {
            assert_eq!(driver.findings()[0].kind, FindingKind::OutOfBounds);
        }
    }
}

#[test]
fn copies_and_kernels_overlap_on_the_virtual_clock() {
    let (_one, driver) = driver(config(Mode::Lazy, 0));
    let context = CudaContext::new(0).unwrap();
    let streams: Vec<_> = (0..2).map(|_| context.new_stream().unwrap()).collect();
    // SAFETY: Plain bytes; nobody reads them.
    let host = unsafe { context.alloc_pinned::<u8>(55_000_000) }.unwrap();
    let mut buffers: Vec<_> = (0..2)
        .map(|_| streams[0].alloc_zeros::<u8>(55_000_000).unwrap())
        .collect();
    context.synchronize().unwrap();
    let start = driver.clock().now();
    // Two uploads share the one engine.
    for (stream, buffer) in streams.iter().zip(&mut buffers) {
        stream.memcpy_htod(&host, buffer).unwrap();
    }
    context.synchronize().unwrap();
    let took = |since: Timestamp| (driver.clock().now().0 - since.0).as_micros();
    let one = Profile::h200().upload_time(55_000_000).as_micros();
    assert!(
        (2 * one..2 * one + 20).contains(&took(start)),
        "{} us",
        took(start)
    );
    // An upload and a download do not.
    let start = driver.clock().now();
    // SAFETY: As above.
    let mut back = unsafe { context.alloc_pinned::<u8>(55_000_000) }.unwrap();
    streams[0].memcpy_htod(&host, &mut buffers[0]).unwrap();
    streams[1].memcpy_dtoh(&buffers[1], &mut back).unwrap();
    context.synchronize().unwrap();
    assert!((one..one + 20).contains(&took(start)), "{} us", took(start));
}

/// Fails the first chance of each kind, the second, and so on, until a run has no more.
#[test]
fn every_call_may_fail() {
    let numbers: Vec<u32> = (0..200).collect();
    for kind in DriverFault::ALL {
        for (struck, nth) in (1..).enumerate() {
            let (_one, driver) = driver(config(Mode::Eager, nth));
            driver.set_faults(FaultPlan::nth(nth, kind));
            let result = std::panic::catch_unwind(|| double(&numbers)).expect("no panic");
            if driver.injected().is_empty() {
                assert_eq!(result.unwrap()[199], 398);
                assert!(struck > 0, "{kind:?} never struck");
                break;
            }
            if let Ok(out) = result {
                assert_eq!(
                    out[199], 398,
                    "{kind:?} {nth}: no error, so the right result"
                );
            }
        }
    }
}
