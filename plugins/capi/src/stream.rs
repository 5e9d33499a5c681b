//! Streams: a kernel over all batches of an Arrow stream.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use unlade::{Canceller, KernelStream};
use unlade_cdata::raw::ArrowArrayStream;
use unlade_cdata::stream::{Input, Reader};
use unlade_hal::fork;

use crate::border::{end, enter, place, put, shielded};
use crate::code::unlade_code::{self, UNLADE_END, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::kernel::{KernelHeld, unlade_kernel};
use crate::output::{self, unlade_output};

/// The results of a kernel over a stream, one for each of its batches, in their order.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_stream {
    _opaque: [u8; 0],
}

/// What is behind a handle.
struct StreamHeld {
    /// `None` once it was exported.
    stream: Mutex<Option<KernelStream>>,
    canceller: Canceller,
    realigned: Arc<AtomicU64>,
}

impl Held for StreamHeld {
    type Handle = unlade_stream;
    const KIND: &'static str = "stream";
}

/// Runs a kernel over all batches of an Arrow stream, on as many threads as the runtime has. The
/// stream is handed over whatever comes of it: it is marked as released, and released once. It is
/// read by one thread at a time, which is not always the same. Its batches are looked at as the
/// kernel's options say.
///
/// # Safety
/// Pointers are null or as the header says; the stream is as the C Stream Interface says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_stream(
    kernel: *const unlade_kernel,
    input: *mut ArrowArrayStream,
    stream: *mut *mut unlade_stream,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        let input = Input::take(input);
        enter(error, || {
            place(stream, "place for the stream")?;
            let held = handles::get::<KernelHeld>(kernel)?;
            let reader = Reader::read(input?, held.rules)?;
            let realigned = reader.realigned();
            let opened = held.kernel.stream(reader);
            let held = StreamHeld {
                realigned,
                canceller: opened.canceller(),
                stream: Mutex::new(Some(opened)),
            };
            put(stream, "place for the stream", handles::give(held))?;
            Ok(UNLADE_OK)
        })
    }
}

/// The next result. `UNLADE_END`, which is no error, says that there is none, and so does every call
/// after an error. Threads that call it at once have their turn one after another.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_stream_next(
    stream: *const unlade_stream,
    output: *mut unlade_output,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        let begun = output::begin(output);
        enter(error, || {
            begun?;
            let held = handles::get::<StreamHeld>(stream)?;
            let mut stream = held.stream.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(result) = stream.as_mut().and_then(Iterator::next) else {
                return Ok(UNLADE_END);
            };
            drop(stream);
            output::fill(&mut *output, result?, 0)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Ends a stream from any thread: its next result is `UNLADE_CANCELLED`, and the last.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_stream_cancel(
    stream: *const unlade_stream,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches.
    unsafe {
        enter(error, || {
            handles::get::<StreamHeld>(stream)?.canceller.cancel();
            Ok(UNLADE_OK)
        })
    }
}

/// Makes an Arrow stream of the results, without their receipts and masks, for whoever reads those.
/// The handle stays, to be cancelled by, and to be freed; its results are the Arrow stream's.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_stream_export(
    stream: *const unlade_stream,
    exported: *mut ArrowArrayStream,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            put(exported, "ArrowArrayStream", ArrowArrayStream::released())?;
            let held = handles::get::<StreamHeld>(stream)?;
            let mut stream = held.stream.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = stream
                .take()
                .ok_or_else(|| Failure::argument("the stream was exported before"))?;
            put(exported, "ArrowArrayStream", export(taken.into_reader()))?;
            Ok(UNLADE_OK)
        })
    }
}

/// Bytes of the stream's batches that were copied so far as they came in, since they lay less aligned
/// than their width; what is copied as a result goes out is in `unlade_output.bytes_copied`. 0 for
/// what is no stream.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_stream_bytes_copied(stream: *const unlade_stream) -> u64 {
    shielded(0, || {
        handles::get::<StreamHeld>(stream).map_or(0, |held| held.realigned.load(Ordering::Relaxed))
    })
}

/// Frees a stream: what has not begun of it never will, unless it was exported. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_stream_free(stream: *mut unlade_stream) -> unlade_code {
    end(|| handles::free::<StreamHeld>(stream))
}

/// A reader as an Arrow stream of C's.
pub(crate) fn export(reader: impl RecordBatchReader + Send + 'static) -> ArrowArrayStream {
    let shielded = Shielded(reader);
    ArrowArrayStream::exported(FFI_ArrowArrayStream::new(Box::new(shielded)))
}

/// A reader that does not panic, nor says anything with a zero byte in it, of which arrow-rs would
/// panic.
struct Shielded<R>(R);

impl<R: RecordBatchReader> Iterator for Shielded<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(forked) = fork::check() {
            return Some(Err(ArrowError::CDataInterface(forked.to_string())));
        }
        let next = catch_unwind(AssertUnwindSafe(|| self.0.next()));
        let next = next.unwrap_or_else(|panic| {
            let message = Failure::panicked(&*panic).message;
            Some(Err(ArrowError::CDataInterface(message)))
        });
        next.map(|result| result.map_err(plain))
    }
}

impl<R: RecordBatchReader> RecordBatchReader for Shielded<R> {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }
}

/// The same error without zero bytes. What is out of memory stays so: it has an errno of its own.
fn plain(error: ArrowError) -> ArrowError {
    let exhausted = matches!(&error, ArrowError::ExternalError(cause)
        if matches!(cause.downcast_ref(), Some(unlade::Error::Exhausted(_))));
    let message = error.to_string().replace('\0', "\\0");
    match exhausted {
        true => ArrowError::MemoryError(message),
        false => ArrowError::CDataInterface(message),
    }
}
