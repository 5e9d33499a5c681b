//! Streams: a kernel over a reader, ordered and pipelined.
//!
//! Whoever asks for a result works: it reads and computes the next batch itself where no thread is
//! ahead of it. Further threads of the runtime read ahead, one at a time, and compute side by
//! side, at most a few batches before the oldest that was not yet taken.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use crate::error::Error;
use crate::kernel::{Kernel, Output};
use crate::workers::panic_message;

/// Batches read or computed ahead of the one that is taken next, per thread.
const AHEAD: usize = 2;

type Reader = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// The results of a kernel over a reader, in the reader's order.
///
/// Dropping it cancels what has not begun. After an error there are no further results.
pub struct KernelStream {
    shared: Arc<Shared>,
}

struct Shared {
    kernel: Kernel,
    /// Locked only by the one who reads, which [`Window::reading`] says.
    reader: Mutex<Reader>,
    window: Mutex<Window>,
    changed: Condvar,
    /// Batches that may be read and not yet taken.
    limit: usize,
    /// Threads that may help.
    helpers: usize,
}

#[derive(Default)]
struct Window {
    /// The batches read and not yet taken, oldest first; `None` while in the making.
    results: VecDeque<Option<Result<Output, Error>>>,
    /// Batches taken.
    taken: u64,
    /// Whether somebody reads.
    reading: bool,
    /// Threads that help.
    helping: usize,
    /// Whether there is nothing more to read.
    ended: bool,
}

impl KernelStream {
    pub(crate) fn new<R: RecordBatchReader + Send + 'static>(kernel: Kernel, reader: R) -> Self {
        let threads = kernel.core.runtime.options.threads;
        let shared = Arc::new(Shared {
            kernel,
            reader: Mutex::new(Box::new(reader)),
            window: Mutex::default(),
            changed: Condvar::new(),
            limit: threads * AHEAD,
            helpers: threads - 1,
        });
        let helper = Shared::helper(&shared, &mut shared.lock());
        Helper::call(helper);
        KernelStream { shared }
    }

    /// The schema of the results.
    pub fn schema(&self) -> &SchemaRef {
        self.shared.kernel.schema()
    }

    /// The results as a reader of record batches, without masks and receipts.
    pub fn into_reader(self) -> impl RecordBatchReader + Send + 'static {
        OutputReader { stream: self }
    }
}

impl Iterator for KernelStream {
    type Item = Result<Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let shared = &self.shared;
        let mut window = shared.lock();
        loop {
            match window.results.front() {
                Some(Some(_)) => {
                    let result = window.results.pop_front().flatten()?;
                    window.taken += 1;
                    if result.is_err() {
                        window.ended = true;
                        window.results.clear();
                    }
                    let helper = Shared::helper(shared, &mut window);
                    drop(window);
                    Helper::call(helper);
                    return Some(result);
                }
                None if window.ended && !window.reading => return None,
                _ if shared.may_read(&window) => {
                    window.reading = true;
                    drop(window);
                    Shared::step(shared);
                    window = shared.lock();
                }
                _ => {
                    window = shared
                        .changed
                        .wait(window)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_read(&self, window: &Window) -> bool {
        !window.reading && !window.ended && window.results.len() < self.limit
    }

    /// One more thread to read the next batch, where there is one left and room for the batch. To
    /// be [called](Helper::call) once the window is unlocked.
    fn helper(shared: &Arc<Shared>, window: &mut Window) -> Option<Helper> {
        if !shared.may_read(window) || window.helping == shared.helpers {
            return None;
        }
        window.helping += 1;
        window.reading = true;
        Some(Helper {
            shared: Arc::clone(shared),
            begun: false,
        })
    }

    /// Reads and computes one batch. The caller has set [`Window::reading`].
    fn step(shared: &Arc<Shared>) {
        let read = catch_unwind(AssertUnwindSafe(|| {
            shared
                .reader
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next()
        }));
        let mut window = shared.lock();
        window.reading = false;
        if window.ended {
            // An error was taken, or the stream dropped, meanwhile.
            return shared.changed.notify_all();
        }
        let batch = match read {
            Ok(Some(Ok(batch))) => batch,
            Ok(None) => {
                window.ended = true;
                return shared.changed.notify_all();
            }
            Ok(Some(Err(error))) => {
                window.ended = true;
                window
                    .results
                    .push_back(Some(Err(Error::Input(Arc::new(error)))));
                return shared.changed.notify_all();
            }
            Err(panic) => {
                window.ended = true;
                window
                    .results
                    .push_back(Some(Err(Error::Panicked(panic_message(panic)))));
                return shared.changed.notify_all();
            }
        };
        let number = window.taken + window.results.len() as u64;
        window.results.push_back(None);
        let helper = Shared::helper(shared, &mut window);
        drop(window);
        Helper::call(helper);

        let result = catch_unwind(AssertUnwindSafe(|| shared.kernel.core.run(&batch)))
            .unwrap_or_else(|panic| Err(Error::Panicked(panic_message(panic))));
        drop(batch);

        let mut window = shared.lock();
        // Cleared where an earlier batch's error was taken or the stream was dropped.
        let position = number
            .checked_sub(window.taken)
            .map(|position| position as usize);
        match position.and_then(|position| window.results.get_mut(position)) {
            Some(slot) if slot.is_none() => *slot = Some(result),
            _ => {
                drop(window);
                drop(result);
            }
        }
        shared.changed.notify_all();
    }
}

/// A thread that is to help, and has been promised to be the next to read.
struct Helper {
    shared: Arc<Shared>,
    begun: bool,
}

impl Helper {
    /// Has it begin on a thread of the runtime.
    fn call(helper: Option<Helper>) {
        if let Some(helper) = helper {
            let runtime = Arc::clone(&helper.shared.kernel.core.runtime);
            runtime.workers.spawn(move || helper.help());
        }
    }

    /// Batches, until there is no room or somebody else reads.
    fn help(mut self) {
        self.begun = true;
        loop {
            Shared::step(&self.shared);
            let mut window = self.shared.lock();
            if !self.shared.may_read(&window) {
                window.helping -= 1;
                return;
            }
            window.reading = true;
        }
    }
}

impl Drop for Helper {
    /// A helper that never began (there is no thread for it, or the runtime ends) leaves the
    /// reading to others.
    fn drop(&mut self) {
        if !self.begun {
            let mut window = self.shared.lock();
            window.helping -= 1;
            window.reading = false;
            drop(window);
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for KernelStream {
    fn drop(&mut self) {
        let mut window = self.shared.lock();
        window.ended = true;
        let results = std::mem::take(&mut window.results);
        drop(window);
        drop(results);
    }
}

impl fmt::Debug for KernelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = self.shared.lock();
        f.debug_struct("KernelStream")
            .field("taken", &window.taken)
            .field("ahead", &window.results.len())
            .field("ended", &window.ended)
            .finish_non_exhaustive()
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
