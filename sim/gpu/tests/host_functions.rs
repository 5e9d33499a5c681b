//! Functions of the host's that streams call, as the driver's manual describes them.

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{self, CUresult};
use unlade_sim_fault::FaultPlan;
use unlade_sim_gpu::{Driver, DriverConfig, DriverFault, Mode, Profile};

const MODES: [Mode; 3] = [Mode::Eager, Mode::Lazy, Mode::Concurrent];

/// The driver is the process's: one test at a time has it, and begins anew, in a context with two
/// streams.
fn streams(mode: Mode, seed: u64) -> (MutexGuard<'static, ()>, [sys::CUstream; 2]) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = DriverConfig::default().with_devices([Profile::h200()]);
    Driver::get().restart(config.with_mode(mode).with_seed(seed));
    let mut context = ptr::null_mut();
    let mut streams = [ptr::null_mut(); 2];
    // SAFETY: Each writes one handle, where it is pointed.
    unsafe {
        ok(sys::cuInit(0));
        ok(sys::cuDevicePrimaryCtxRetain(&raw mut context, 0));
        ok(sys::cuCtxSetCurrent(context));
        for stream in &mut streams {
            ok(sys::cuStreamCreate(stream, 1));
        }
    }
    (guard, streams)
}

fn ok(code: CUresult) {
    assert_eq!(code, CUresult::CUDA_SUCCESS);
}

/// Calls that have been made, as decimal digits: the first is the highest.
static CALLED: AtomicU64 = AtomicU64::new(0);

/// Notes the digit that it is handed.
unsafe extern "C" fn note(digit: *mut c_void) {
    let digit = digit as u64;
    CALLED
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |called| {
            Some(10 * called + digit)
        })
        .expect("it always changes");
}

fn launch(stream: sys::CUstream, digit: usize) -> CUresult {
    // SAFETY: `note` may be called with any number, on any thread.
    unsafe { sys::cuLaunchHostFunc(stream, Some(note), ptr::without_provenance_mut(digit)) }
}

#[test]
fn they_are_called_in_the_order_of_their_stream() {
    for mode in MODES {
        for seed in 0..20 {
            let (_one, [stream, other]) = streams(mode, seed);
            CALLED.store(0, Ordering::SeqCst);
            let mut event = ptr::null_mut();
            // SAFETY: It writes one handle, where it is pointed.
            ok(unsafe { sys::cuEventCreate(&raw mut event, 0) });
            ok(launch(stream, 1));
            ok(launch(stream, 2));
            // SAFETY: Both are there.
            unsafe {
                ok(sys::cuEventRecord(event, stream));
                ok(sys::cuStreamWaitEvent(other, event, 0));
            }
            ok(launch(other, 3));
            match mode {
                Mode::Eager => assert_eq!(CALLED.load(Ordering::SeqCst), 123),
                Mode::Lazy => assert_eq!(CALLED.load(Ordering::SeqCst), 0),
                _ => {}
            }
            // What comes later on a stream waits for the function.
            // SAFETY: The stream is there.
            ok(unsafe { sys::cuStreamSynchronize(other) });
            assert_eq!(CALLED.load(Ordering::SeqCst), 123, "{mode:?} {seed}");
        }
    }
}

/// What the calls from inside have answered.
static ANSWERS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// Asks the driver for something, and what the answer means.
unsafe extern "C" fn ask(_: *mut c_void) {
    let mut count = 0;
    // SAFETY: It writes one number, where it is pointed.
    let answer = unsafe { sys::cuDeviceGetCount(&raw mut count) };
    ANSWERS[0].store(answer as u32, Ordering::SeqCst);
    let mut text = ptr::null();
    // SAFETY: It writes a pointer to a text that stays.
    let answer = unsafe { sys::cuGetErrorString(answer, &raw mut text) };
    ANSWERS[1].store(answer as u32, Ordering::SeqCst);
    // SAFETY: As above.
    assert_eq!(unsafe { CStr::from_ptr(text) }, c"operation not permitted");
}

#[test]
fn they_may_not_call_the_driver() {
    for mode in MODES {
        let (_one, [stream, _]) = streams(mode, 3);
        ANSWERS[0].store(0, Ordering::SeqCst);
        ANSWERS[1].store(1, Ordering::SeqCst);
        // SAFETY: `ask` may be called with anything.
        unsafe {
            ok(sys::cuLaunchHostFunc(stream, Some(ask), ptr::null_mut()));
            ok(sys::cuStreamSynchronize(stream));
        }
        let answers = ANSWERS
            .each_ref()
            .map(|answer| answer.load(Ordering::SeqCst));
        assert_eq!(answers, [CUresult::CUDA_ERROR_NOT_PERMITTED as u32, 0]);
        // Afterwards it may be called again.
        let mut count = 0;
        // SAFETY: It writes one number, where it is pointed.
        ok(unsafe { sys::cuDeviceGetCount(&raw mut count) });
    }
}

#[test]
fn they_are_not_called_after_an_error_that_spoils_the_context() {
    for mode in MODES {
        let (_one, [stream, _]) = streams(mode, 4);
        CALLED.store(0, Ordering::SeqCst);
        ok(launch(stream, 1));
        // SAFETY: The stream is there.
        ok(unsafe { sys::cuStreamSynchronize(stream) });
        if mode == Mode::Lazy {
            // It is under way when the context is spoilt.
            ok(launch(stream, 2));
        }
        Driver::get().set_faults(FaultPlan::nth(1, DriverFault::ContextLost));
        let spoilt = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
        assert_eq!(launch(stream, 3), spoilt);
        assert_eq!(launch(stream, 4), spoilt);
        // SAFETY: The stream is there.
        let synchronized = unsafe { sys::cuStreamSynchronize(stream) };
        assert_eq!(synchronized, spoilt);
        // SAFETY: The context is left, once.
        ok(unsafe { sys::cuDevicePrimaryCtxRelease_v2(0) });
        assert_eq!(CALLED.load(Ordering::SeqCst), 1, "{mode:?}");
    }
}

#[test]
fn a_function_is_needed() {
    let (_one, [stream, _]) = streams(Mode::Eager, 5);
    // SAFETY: Nothing is called.
    let none = unsafe { sys::cuLaunchHostFunc(stream, None, ptr::null_mut()) };
    assert_eq!(none, CUresult::CUDA_ERROR_INVALID_VALUE);
    let nowhere = launch(ptr::without_provenance_mut(12345), 1);
    assert_eq!(nowhere, CUresult::CUDA_ERROR_INVALID_HANDLE);
}
