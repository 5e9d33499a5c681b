//! What a stream reads, in portions.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use smallvec::smallvec;

use crate::bind::check_schema;
use crate::error::{Error, Within};
use crate::kernel::KernelCore;
use crate::portion::{Portion, Read};
use crate::shape::{Shape, Shaper};
use crate::sync::Instant;
use crate::within::Inside;
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
    next: Option<Read>,
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
    pub(super) fn next(
        &mut self,
        kernel: &KernelCore,
        given_up: &AtomicBool,
    ) -> Option<Result<Portion, Error>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some(Ok(piece));
        }
        let read = self.next.take();
        let Some(read) = read.or_else(|| self.read(kernel, given_up, 0)) else {
            return self.end.as_mut()?.take().map(Err);
        };
        Some(Ok(match self.shaper.shape(kernel, &read.batch) {
            Shape::Alone => Portion::whole(read, kernel.next_batches(1)),
            Shape::Together { rows } => self.gather(kernel, given_up, read, rows),
            Shape::Apart { pieces } => {
                let mut pieces = Portion::pieces(&read, kernel.next_batches(1), pieces);
                let first = pieces.next().expect("one piece at least");
                self.pieces.extend(pieces);
                first
            }
        }))
    }

    /// A batch with those that follow, until there are so many rows, or the first has waited for as
    /// long as it may.
    fn gather(
        &mut self,
        kernel: &KernelCore,
        given_up: &AtomicBool,
        first: Read,
        rows: u64,
    ) -> Portion {
        let deadline = Instant::now() + kernel.runtime.options.gather_within;
        let mut gathered = first.batch.num_rows() as u64;
        let mut batches = smallvec![first.batch];
        let mut calling: Vec<_> = first.calling.into_iter().collect();
        while gathered < rows
            && batches.len() < MOST_BATCHES
            && Instant::now() < deadline
            && let Some(read) = self.read(kernel, given_up, batches.len() as u64)
        {
            // What is large enough by itself neither waits nor is waited for.
            if read.batch.num_rows() as u64 >= rows {
                self.next = Some(read);
                break;
            }
            gathered += read.batch.num_rows() as u64;
            batches.push(read.batch);
            calling.extend(read.calling);
        }
        Portion {
            number: kernel.next_batches(batches.len() as u64),
            batches,
            calling,
            piece: None,
        }
    }

    /// The next batch, of the kernel's schema, with what users' functions give for it; so many that have
    /// no number yet were read before it.
    fn read(&mut self, kernel: &KernelCore, given_up: &AtomicBool, before: u64) -> Option<Read> {
        if self.end.is_some() {
            return None;
        }
        let inside = Inside::of(kernel.runtime.id(), Within::Reader);
        let next = catch_unwind(AssertUnwindSafe(|| self.reader.next()));
        drop(inside);
        let error = match next {
            Ok(Some(Ok(batch))) => {
                let called = check_schema(&kernel.input, &batch).and_then(|()| {
                    let number = kernel.next_batch() + before;
                    kernel.with_calls(given_up, number, batch)
                });
                match called {
                    Ok(read) => return Some(read),
                    Err(error) => Some(error),
                }
            }
            Ok(Some(Err(error))) => Some(Error::Input(Arc::new(error))),
            Ok(None) => None,
            Err(panic) => Some(Error::Panicked(panic_message(panic))),
        };
        self.end = Some(error);
        None
    }
}
