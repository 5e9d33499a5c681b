//! The ways into the interpreter from threads that are not its own, which end before it does.
//!
//! A runtime's threads call functions and readers that are written in Python, let go of memory that
//! Python has, log, and wake event loops. Python 3.10 to 3.13 ends a thread that takes the interpreter
//! while that comes to its end, in the midst of whatever frames it has, and the process with it. So there
//! is one gate for all of that. As the interpreter ends ([`close`], by `atexit`) it is shut: who wants in
//! is refused from then on, and who is inside is waited for.

use std::ffi::{CString, c_char, c_int};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use unlade_cdata::raw::{ArrowArray, ArrowArrayStream, ArrowSchema};

use crate::failure::{Failure, caught};
use crate::own;

/// What is said to who is refused.
pub(crate) const ENDING: &str = "Python is ending, and is not called any more";

/// How long the interpreter's end waits for those who are inside.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it looks.
const LOOKS: Duration = Duration::from_millis(1);

/// How many are inside, and [`SHUT`]. One word, without a lock: it is read in forked children, too.
static GATE: AtomicUsize = AtomicUsize::new(0);

/// Of [`GATE`]: nobody enters any more.
const SHUT: usize = 1 << (usize::BITS - 1);

/// The thread that ends the interpreter, which may use it until then.
static LAST: OnceLock<ThreadId> = OnceLock::new();

/// Somebody who is inside, or about to be.
#[derive(Debug)]
pub(crate) struct Inside(());

/// Goes in, unless the interpreter is about to end. It takes nothing: who is inside may have the
/// interpreter, take it, or do without.
pub(crate) fn enter() -> Option<Inside> {
    let entered = GATE.fetch_update(Ordering::AcqRel, Ordering::Acquire, |gate| {
        (gate & SHUT == 0 || is_last()).then_some(gate + 1)
    });
    entered.ok().map(|_| Inside(()))
}

impl Drop for Inside {
    fn drop(&mut self) {
        GATE.fetch_sub(1, Ordering::Release);
    }
}

/// As [`enter`], for a thread of Python's that left the interpreter. Refused, it stays outside for the
/// moments that the process still has, as Python 3.14 has it.
fn enter_or_stay() -> Inside {
    loop {
        match enter() {
            Some(inside) => return inside,
            None => thread::park(),
        }
    }
}

/// Whether this thread ends the interpreter, and has not ended it yet.
fn is_last() -> bool {
    // SAFETY: It only reads whether there is an interpreter, and may be called without one.
    LAST.get() == Some(&thread::current().id()) && unsafe { ffi::Py_IsInitialized() } != 0
}

/// Works without the interpreter, and not in a forked child. A panic is an error.
pub(crate) fn outside<T, F>(py: Python<'_>, work: F) -> Result<T, Failure>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    own::check()?;
    let (done, _inside) = py.detach(|| (caught(work), enter_or_stay()));
    done
}

/// Takes the interpreter again in the midst of [`outside`].
pub(crate) fn inside<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    let _inside = enter_or_stay();
    Python::attach(work)
}

/// That this is the process's main interpreter, whose end is the gate's and everybody's.
pub(crate) fn check_main() -> PyResult<()> {
    // SAFETY: It is called by an interpreter, whose state there is.
    let number = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    match number {
        0 => Ok(()),
        _ => Err(PyImportError::new_err(
            "unlade works in a process's main interpreter alone; import it there, or have a process of its \
             own instead of a sub-interpreter",
        )),
    }
}

/// Shuts the gate, and waits for those inside. Work of a runtime that needs the interpreter fails from
/// then on.
#[pyfunction]
fn close(py: Python<'_>) {
    if own::check().is_err() {
        // Those who were inside are the parent's.
        return;
    }
    let _first = LAST.set(thread::current().id());
    GATE.fetch_or(SHUT, Ordering::AcqRel);
    py.detach(|| {
        let since = Instant::now();
        while GATE.load(Ordering::Acquire) != SHUT && since.elapsed() < PATIENCE {
            thread::sleep(LOOKS);
        }
    });
}

/// Has the gate shut as the interpreter ends.
pub(crate) fn close_at_exit(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let close = wrap_pyfunction!(close, module)?;
    let atexit = module.py().import("atexit")?;
    atexit.call_method1("register", (close,)).map(drop)
}

/// Sends what is logged to Python's `logging`.
pub(crate) fn log(py: Python<'_>) -> PyResult<()> {
    let logger = pyo3_log::Logger::new(py, pyo3_log::Caching::LoggersAndLevels)?;
    // Another extension's logger is another library's: each has its own.
    if log::set_boxed_logger(Box::new(GuardedLog(logger))).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
    Ok(())
}

struct GuardedLog(pyo3_log::Logger);

impl log::Log for GuardedLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(_inside) = enter() {
            self.0.log(record);
        }
    }

    fn flush(&self) {}
}

/// The same future, which wakes whoever waits for it only while there is an event loop to be woken.
pub(crate) async fn awaited<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let guarded = Waker::from(Arc::new(GuardedWaker(context.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&guarded))
    })
    .await
}

struct GuardedWaker(Waker);

impl Wake for GuardedWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(_inside) = enter() {
            self.0.wake_by_ref();
        }
    }
}

/// The same array, which is released only while there is an interpreter: its memory may be Python's.
/// Later the end of the process does it.
pub(crate) fn guarded_array(array: ArrowArray) -> ArrowArray {
    if array.release.is_none() {
        return array;
    }
    let guarded = ArrowArray {
        release: Some(release_array),
        ..array
    };
    ArrowArray {
        private_data: Box::into_raw(Box::new(array)).cast(),
        ..guarded
    }
}

/// # Safety
/// The array is one of [`guarded_array`]'s, and was not released.
unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: As the caller vouches; what is private to it is what was put there.
    let inner = unsafe {
        (*array).release = None;
        Box::from_raw((*array).private_data.cast::<ArrowArray>())
    };
    let inner = Box::leak(inner);
    let Some(_inside) = enter() else { return };
    if let Some(release) = inner.release {
        // SAFETY: It is an array of another's that was not released.
        unsafe { release(inner) };
    }
    // SAFETY: It came out of a box, and nobody has it any more.
    drop(unsafe { Box::from_raw(inner) });
}

/// The same stream, which is called only while there is an interpreter: it may be written in Python. So
/// are its arrays.
pub(crate) fn guarded_stream(stream: ArrowArrayStream) -> ArrowArrayStream {
    if stream.release.is_none() {
        return stream;
    }
    let guarded = Box::new(GuardedStream {
        stream,
        refused: None,
    });
    ArrowArrayStream {
        get_schema: Some(get_schema),
        get_next: Some(get_next),
        get_last_error: Some(get_last_error),
        release: Some(release_stream),
        private_data: Box::into_raw(guarded).cast(),
    }
}

/// What a guarded stream's `private_data` is.
struct GuardedStream {
    stream: ArrowArrayStream,
    /// Said where the last call was refused.
    refused: Option<CString>,
}

/// Of a call that is refused, or that the stream has no function for.
const REFUSED: c_int = 125; // ECANCELED

impl GuardedStream {
    /// # Safety
    /// The stream is one of [`guarded_stream`]'s, and was not released.
    unsafe fn of<'a>(stream: *mut ArrowArrayStream) -> &'a mut Self {
        // SAFETY: As the caller vouches. One thread at a time calls a stream.
        unsafe { &mut *(*stream).private_data.cast::<GuardedStream>() }
    }

    /// Has the stream called, unless it is too late.
    fn call(&mut self, call: impl FnOnce(&mut ArrowArrayStream) -> c_int) -> c_int {
        self.refused = None;
        let Some(_inside) = enter() else {
            self.refused = CString::new(ENDING).ok();
            return REFUSED;
        };
        call(&mut self.stream)
    }
}

/// # Safety
/// As the C Stream Interface has it, of a [`guarded_stream`].
unsafe extern "C" fn get_schema(stream: *mut ArrowArrayStream, out: *mut ArrowSchema) -> c_int {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        GuardedStream::of(stream).call(|stream| match stream.get_schema {
            Some(get_schema) => get_schema(stream, out),
            None => REFUSED,
        })
    }
}

/// # Safety
/// As the C Stream Interface has it, of a [`guarded_stream`].
unsafe extern "C" fn get_next(stream: *mut ArrowArrayStream, out: *mut ArrowArray) -> c_int {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        GuardedStream::of(stream).call(|stream| match stream.get_next {
            Some(get_next) => {
                let code = get_next(stream, out);
                if code == 0 {
                    out.write(guarded_array(out.read()));
                }
                code
            }
            None => REFUSED,
        })
    }
}

/// # Safety
/// As the C Stream Interface has it, of a [`guarded_stream`].
unsafe extern "C" fn get_last_error(stream: *mut ArrowArrayStream) -> *const c_char {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        let guarded = GuardedStream::of(stream);
        let inside = enter();
        if inside.is_none() {
            guarded.refused = CString::new(ENDING).ok();
        }
        match (&guarded.refused, guarded.stream.get_last_error) {
            (Some(refused), _) => refused.as_ptr(),
            (None, Some(get_last_error)) if inside.is_some() => get_last_error(&mut guarded.stream),
            (None, _) => std::ptr::null(),
        }
    }
}

/// # Safety
/// The stream is one of [`guarded_stream`]'s, and was not released.
unsafe extern "C" fn release_stream(stream: *mut ArrowArrayStream) {
    // SAFETY: As the caller vouches; what is private to it is what was put there.
    let guarded = unsafe {
        (*stream).release = None;
        Box::leak(Box::from_raw(
            (*stream).private_data.cast::<GuardedStream>(),
        ))
    };
    let Some(_inside) = enter() else { return };
    if let Some(release) = guarded.stream.release {
        // SAFETY: It is a stream of another's that was not released.
        unsafe { release(&mut guarded.stream) };
    }
    // SAFETY: It came out of a box, and nobody has it any more.
    drop(unsafe { Box::from_raw(guarded) });
}
