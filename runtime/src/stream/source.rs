//! What a stream reads, in portions.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use smallvec::smallvec;

use crate::bind::check_schema;
use crate::error::Error;
use crate::kernel::KernelCore;
use crate::portion::Portion;
use crate::shape::{Shape, Shaper};
use crate::sync::Instant;
use crate::workers::panic_message;

/// Batches that are done together at most.
const MOST_BATCHES: usize = 1024;

pub(super) type Reader = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// A reader, and how its batches are handed over.
pub(super) struct Source {
    reader: Reader,
    shaper: Shaper,
    /// The rest of a batch in pieces.
    pieces: VecDeque<Portion>,
    /// A batch that was read and does not go with those before it.
    next: Option<RecordBatch>,
    /// What comes when no more is read: nothing, or an error first.
    end: Option<Option<Error>>,
}

impl Source {
    pub(super) fn new(reader: Reader, shaper: Shaper) -> Self {
        Source {
            reader,
            shaper,
            pieces: VecDeque::new(),
            next: None,
            end: None,
        }
    }

    /// The next portion; an error is the last.
    pub(super) fn next(&mut self, kernel: &KernelCore) -> Option<Result<Portion, Error>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some(Ok(piece));
        }
        let Some(batch) = self.next.take().or_else(|| self.read(kernel)) else {
            return self.end.as_mut()?.take().map(Err);
        };
        Some(Ok(match self.shaper.shape(kernel, &batch) {
            Shape::Alone => Portion::whole(batch, kernel.next_batches(1)),
            Shape::Together { rows } => self.gather(kernel, batch, rows),
            Shape::Apart { pieces } => {
                let mut pieces = Portion::pieces(&batch, kernel.next_batches(1), pieces);
                let first = pieces.next().expect("one piece at least");
                self.pieces.extend(pieces);
                first
            }
        }))
    }

    /// A batch with those that follow, until there are so many rows, or the first has waited for as
    /// long as it may.
    fn gather(&mut self, kernel: &KernelCore, first: RecordBatch, rows: u64) -> Portion {
        let deadline = Instant::now() + kernel.runtime.options.gather_within;
        let mut gathered = first.num_rows() as u64;
        let mut batches = smallvec![first];
        while gathered < rows
            && batches.len() < MOST_BATCHES
            && Instant::now() < deadline
            && let Some(batch) = self.read(kernel)
        {
            // What is large enough by itself neither waits nor is waited for.
            if batch.num_rows() as u64 >= rows {
                self.next = Some(batch);
                break;
            }
            gathered += batch.num_rows() as u64;
            batches.push(batch);
        }
        Portion {
            number: kernel.next_batches(batches.len() as u64),
            batches,
            piece: None,
        }
    }

    /// The next batch, of the kernel's schema.
    fn read(&mut self, kernel: &KernelCore) -> Option<RecordBatch> {
        if self.end.is_some() {
            return None;
        }
        let error = match catch_unwind(AssertUnwindSafe(|| self.reader.next())) {
            Ok(Some(Ok(batch))) => match check_schema(&kernel.checked.input, &batch) {
                Ok(()) => return Some(batch),
                Err(error) => Some(error),
            },
            Ok(Some(Err(error))) => Some(Error::Input(Arc::new(error))),
            Ok(None) => None,
            Err(panic) => Some(Error::Panicked(panic_message(panic))),
        };
        self.end = Some(error);
        None
    }
}
