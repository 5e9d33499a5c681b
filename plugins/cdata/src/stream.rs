//! Streams that came from outside, as readers of record batches.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use crate::CDataError;
use crate::check::Depth;
use crate::import::{Owned, Rules};
use crate::raw::{ArrowArray, ArrowArrayStream, ArrowSchema};
use crate::schema;

/// A stream that is ours to release, which happens once. It is read by one thread at a time, not
/// always the same.
#[derive(Debug)]
pub struct Reader {
    stream: Input,
    schema: SchemaRef,
    rules: Rules,
    ended: bool,
    /// Bytes that were copied as they came in, for who hears of no batch.
    realigned: Arc<AtomicU64>,
}

/// The stream itself.
#[derive(Debug)]
pub struct Input(ArrowArrayStream);

impl Reader {
    /// Reads the stream's schema, and then its batches.
    pub fn read(mut stream: Input, rules: Rules) -> Result<Self, CDataError> {
        if stream.0.release.is_none() {
            return Err(CDataError::malformed(
                "the ArrowArrayStream was released: it can be handed over once",
            ));
        }
        let schema = stream.schema()?;
        Ok(Reader {
            stream,
            schema,
            rules,
            ended: false,
            realigned: Arc::default(),
        })
    }

    /// The same stream, of whose batches so much is looked at.
    pub fn with_depth(mut self, depth: Depth) -> Self {
        self.rules.depth = depth;
        self
    }

    /// Bytes that were copied so far, since they lay less aligned than arrow-rs computes on.
    pub fn realigned(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.realigned)
    }

    fn read_next(&mut self) -> Result<Option<RecordBatch>, CDataError> {
        let Some(array) = self.stream.next()? else {
            return Ok(None);
        };
        // SAFETY: What a stream gives is as the C Data Interface says, for which its maker vouches.
        let imported = unsafe { array.import(&self.schema, self.rules)? };
        self.realigned
            .fetch_add(imported.realigned, Ordering::Relaxed);
        Ok(Some(imported.batch))
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read_next();
        self.ended = !matches!(read, Ok(Some(_)));
        read.map_err(|failure| ArrowError::CDataInterface(failure.to_string()))
            .transpose()
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Input {
    /// Takes a stream from where it is, which is marked as released.
    ///
    /// # Safety
    /// `stream` is null or points to a stream as the C Stream Interface has it, which may be
    /// written, and may be read from any thread.
    pub unsafe fn take(stream: *mut ArrowArrayStream) -> Result<Self, CDataError> {
        if stream.is_null() {
            return Err(CDataError::Null("ArrowArrayStream"));
        }
        // SAFETY: As the caller vouches.
        let taken = Input(unsafe { stream.read() });
        // SAFETY: The same. A move leaves all but `release` as it was.
        unsafe { (*stream).release = None };
        Ok(taken)
    }

    fn schema(&mut self) -> Result<SchemaRef, CDataError> {
        let Some(get_schema) = self.0.get_schema else {
            return Err(CDataError::malformed(
                "the ArrowArrayStream has no `get_schema`",
            ));
        };
        let mut read = ArrowSchema::released();
        // SAFETY: The stream was not released.
        let result = unsafe { get_schema(&mut self.0, &mut read) };
        if result != 0 {
            return Err(self.failure("telling its schema", result));
        }
        // SAFETY: The stream says that it is a schema.
        let schema = unsafe { schema::read(&read) };
        if let Some(release) = read.release {
            // SAFETY: It is ours, and was not released.
            unsafe { release(&mut read) };
        }
        schema
    }

    /// The next array; `None` at the end.
    fn next(&mut self) -> Result<Option<Owned>, CDataError> {
        let Some(get_next) = self.0.get_next else {
            return Err(CDataError::malformed(
                "the ArrowArrayStream has no `get_next`",
            ));
        };
        let mut array = ArrowArray::released();
        // SAFETY: The stream was not released.
        let result = unsafe { get_next(&mut self.0, &mut array) };
        if result != 0 {
            return Err(self.failure("reading on", result));
        }
        if array.release.is_none() {
            return Ok(None);
        }
        // SAFETY: It is there, and ours.
        unsafe { Owned::take(&mut array).map(Some) }
    }

    fn failure(&mut self, what: &str, result: i32) -> CDataError {
        let said = self.0.get_last_error.map(|get_last_error| {
            // SAFETY: The stream was not released, and has just failed.
            unsafe { get_last_error(&mut self.0) }
        });
        let said = said.filter(|said| !said.is_null()).map(|said| {
            // SAFETY: What it says lives until the stream is called again.
            unsafe { CStr::from_ptr(said) }.to_string_lossy()
        });
        let said = said.unwrap_or_else(|| "it does not say why".into());
        CDataError::Stream(format!(
            "the ArrowArrayStream failed in {what} (errno {result}): {said}"
        ))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            // SAFETY: It is ours, and was not released.
            unsafe { release(&mut self.0) };
        }
    }
}

// SAFETY: The C Stream Interface asks that one thread at a time calls a stream, which `&mut` holds,
// and docs/C.md says that it is not always the same thread.
unsafe impl Send for Input {}
