//! Streams: a kernel over a reader, ordered and pipelined.
//!
//! Batches are read as [portions](crate::portion), and for each it is decided at once where it is to
//! run: on a thread of the stream, or on a device behind a queue. Whoever asks for a result works: it
//! computes what waits for the CPU, and reads on where nothing does. Further threads of the runtime
//! compute, too, and others have a portion on a device each; whoever has nothing to do reads on, one
//! at a time, at most a few portions before the oldest that was not yet taken, and only while results
//! leave half of the memory free. So all devices work at once, each on what it has done first.

mod shared;
mod source;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;
use std::sync::{Arc, Weak};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use self::shared::Shared;
pub(crate) use self::shared::{AHEAD, READ_ON};
use crate::error::Error;
use crate::kernel::{Kernel, Output};

/// The results of a kernel over a reader, in the reader's order: one for each of its batches.
///
/// For a device behind a queue, small batches are done together, and large ones in pieces, where
/// that is faster; [`Receipt::together`](crate::Receipt::together) says so. Results of batches that
/// were done together share memory, which comes back with the last of them. The first of them waits
/// for the others no longer than [`gather_within`](crate::RuntimeBuilder::gather_within).
///
/// Dropping it cancels what has not begun. After an error there are no further results. It ends with
/// [`Error::Cancelled`] when its session is cancelled or its [canceller](KernelStream::canceller)
/// says so: at once for a thread that waits for the next result, and with the piece at hand for one
/// that computes it.
pub struct KernelStream {
    shared: Arc<Shared>,
}

/// Ends a [`KernelStream`] from another thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Canceller {
    shared: Weak<Shared>,
}

impl Canceller {
    /// The stream's next result is [`Error::Cancelled`], and the last.
    pub fn cancel(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.cancel();
        }
    }
}

impl KernelStream {
    pub(crate) fn new<R: RecordBatchReader + Send + 'static>(kernel: Kernel, reader: R) -> Self {
        KernelStream {
            shared: Shared::new(kernel, Box::new(reader)),
        }
    }

    /// Ends the stream from any thread.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// The schema of the results.
    pub fn schema(&self) -> &SchemaRef {
        self.shared.kernel().schema()
    }

    /// The results as a reader of record batches, without masks and receipts.
    pub fn into_reader(self) -> impl RecordBatchReader + Send + 'static {
        OutputReader { stream: self }
    }
}

impl Iterator for KernelStream {
    type Item = Result<Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Shared::next(&self.shared)
    }
}

impl Drop for KernelStream {
    fn drop(&mut self) {
        self.shared.give_up();
    }
}

impl fmt::Debug for KernelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

struct OutputReader {
    stream: KernelStream,
}

impl Iterator for OutputReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.stream.next()?;
        Some(result.map(|output| output.batch).map_err(ArrowError::from))
    }
}

impl RecordBatchReader for OutputReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.stream.schema())
    }
}
