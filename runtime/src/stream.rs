//! Streams: a kernel over a reader, ordered and pipelined.
//!
//! Whoever asks for a result works: it reads and computes the next batch itself where no thread is
//! ahead of it. Further threads of the runtime read ahead, one at a time, and compute side by
//! side, at most a few batches before the oldest that was not yet taken, and only while results
//! leave half of the memory free.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use crate::error::Error;
use crate::kernel::{Kernel, Output};
use crate::pool::{Pool, Room};
use crate::session::Waits;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::workers::panic_message;

/// Batches read or computed ahead of the one that is taken next, per thread.
const AHEAD: usize = 2;

/// Part of the memory that threads may keep from each other between two batches.
const WITHHELD: u64 = 4;

type Reader = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// The results of a kernel over a reader, in the reader's order.
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
            shared.end(Error::Cancelled);
        }
    }
}

struct Shared {
    kernel: Kernel,
    /// Locked only by the one who reads, which [`Window::reading`] says.
    reader: Mutex<Reader>,
    window: Mutex<Window>,
    /// Set once nobody waits for results any more.
    given_up: AtomicBool,
    changed: Condvar,
    /// Batches that may be read and not yet taken.
    limit: usize,
    /// Threads that may help.
    helpers: usize,
    /// Whether these are so many, or the memory so little, that they keep none of it.
    crowded: bool,
}

#[derive(Default)]
struct Window {
    /// The batches read and not yet taken, oldest first.
    results: VecDeque<Slot>,
    /// Batches taken.
    taken: u64,
    /// Whether somebody reads.
    reading: bool,
    /// Threads that help.
    helping: usize,
    /// Whether there is nothing more to read.
    ended: bool,
    /// What is next, and last, where the stream was ended from without.
    verdict: Option<Error>,
}

/// A batch that was read and not yet taken.
enum Slot {
    /// Its result is in the making.
    Making,
    /// There was no memory for its result ahead of time: it is made when it is asked for.
    Held(RecordBatch),
    Done {
        result: Box<Result<Output, Error>>,
        /// Its batch, from which the result can be made again where it stands in the way of an
        /// earlier one.
        again: Option<RecordBatch>,
    },
}

impl Slot {
    fn done(result: Result<Output, Error>) -> Self {
        let result = Box::new(result);
        Slot::Done {
            result,
            again: None,
        }
    }

    /// Gives the result up, to be made again when it is asked for. What it held returns as the
    /// slot that comes back is dropped.
    fn give_up(&mut self) -> Option<Slot> {
        match self {
            Slot::Done { again, .. } => again
                .take()
                .map(|batch| std::mem::replace(self, Slot::Held(batch))),
            Slot::Making | Slot::Held(_) => None,
        }
    }
}

impl KernelStream {
    pub(crate) fn new<R: RecordBatchReader + Send + 'static>(kernel: Kernel, reader: R) -> Self {
        let options = &kernel.core.runtime.options;
        let threads = options.threads;
        let crowded = is_crowded(threads, options.memory_budget);
        let shared = Arc::new(Shared {
            kernel,
            reader: Mutex::new(Box::new(reader)),
            window: Mutex::default(),
            given_up: AtomicBool::new(false),
            changed: Condvar::new(),
            limit: threads * AHEAD,
            helpers: threads - 1,
            crowded,
        });
        shared.kernel.core.session.owes(&shared);
        let helper = Shared::helper(&shared, &mut shared.lock());
        Helper::call(helper);
        KernelStream { shared }
    }

    /// Ends the stream from any thread.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            shared: Arc::downgrade(&self.shared),
        }
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
            if let Some(error) = window.verdict.take() {
                return Some(Err(error));
            }
            match window.results.pop_front() {
                Some(Slot::Done { result, again }) => {
                    window.taken += 1;
                    let rest = result.is_err().then(|| shared.give_up(&mut window));
                    let helper = Shared::helper(shared, &mut window);
                    drop(window);
                    drop((again, rest));
                    Helper::call(helper);
                    return Some(*result);
                }
                Some(Slot::Held(batch)) => {
                    window.results.push_front(Slot::Making);
                    drop(window);
                    let made = shared.run_asked(&batch);
                    drop(batch);
                    window = shared.lock();
                    match window.results.front_mut() {
                        Some(slot @ Slot::Making) => *slot = made,
                        _ => drop(made), // ended meanwhile
                    }
                    continue;
                }
                Some(making) => window.results.push_front(making),
                None if window.ended && !window.reading => return None,
                None => {}
            }
            if shared.may_read(&window) {
                window.reading = true;
                drop(window);
                Shared::step(shared, true);
                window = shared.lock();
            } else {
                window = shared
                    .changed
                    .wait(window)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits for results any more: nothing is read or computed from now on. What was computed
    /// comes back, to be dropped once the window is unlocked.
    #[must_use]
    fn give_up(&self, window: &mut Window) -> VecDeque<Slot> {
        self.given_up.store(true, Ordering::Relaxed);
        window.ended = true;
        std::mem::take(&mut window.results)
    }

    fn may_read(&self, window: &Window) -> bool {
        let held = |slot: &Slot| matches!(slot, Slot::Held(_));
        let has_room = window.results.len() < self.limit && !window.results.iter().any(held);
        !window.reading && !window.ended && has_room
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

    fn run(&self, batch: &RecordBatch) -> Result<Output, Error> {
        catch_unwind(AssertUnwindSafe(|| {
            self.kernel.core.run(batch, Some(&self.given_up))
        }))
        .unwrap_or_else(|panic| Err(Error::Panicked(panic_message(panic))))
    }

    /// Makes the result that is asked for. Short of memory, it waits for those that are being made
    /// ahead of time, and gives those up that its own stream has made: they are made again in their
    /// turn. What other streams keep leaves half of the memory.
    fn run_asked(&self, batch: &RecordBatch) -> Slot {
        let mut result = self.run(batch);
        if matches!(result, Err(Error::Exhausted(_))) {
            let ahead = &self.kernel.core.runtime.ahead;
            let _none_ahead = ahead.write().unwrap_or_else(PoisonError::into_inner);
            let mut window = self.lock();
            let given_up: Vec<_> = window.results.iter_mut().map(Slot::give_up).collect();
            drop(window);
            drop(given_up);
            result = self.run(batch);
        }
        Slot::done(result)
    }

    /// Makes a result before it is asked for. All such results together leave half of the memory to
    /// those that are asked for, or are not kept: so a stream never waits for what was made ahead
    /// of it, be it by another stream. The same goes for a batch that finds no memory: when it is
    /// asked for, the caller has dropped what it will. What many threads would keep for their next
    /// batches could be the other half: they give it back before anybody who waits for them looks.
    fn run_ahead(&self, batch: RecordBatch) -> Slot {
        let runtime = &self.kernel.core.runtime;
        let Ok(_ahead) = runtime.ahead.try_read() else {
            return Slot::Held(batch); // somebody is short of memory
        };
        if runtime.pool.room_ahead() == Room::None {
            return Slot::Held(batch);
        }
        let result = self.run(&batch);
        let slot = match (result, runtime.pool.room_ahead()) {
            (Err(Error::Exhausted(_)), _) => Slot::Held(batch),
            (Ok(output), Room::None) => {
                drop(output); // while others wait for it
                Slot::Held(batch)
            }
            (result, room) => Slot::Done {
                result: Box::new(result),
                again: (room != Room::Plenty).then_some(batch),
            },
        };
        if self.crowded {
            Pool::flush_thread();
        }
        slot
    }

    /// Reads and computes one batch. The caller has set [`Window::reading`], and says whether it is
    /// the one that asks for results.
    fn step(shared: &Arc<Shared>, asks: bool) {
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
                    .push_back(Slot::done(Err(Error::Input(Arc::new(error)))));
                return shared.changed.notify_all();
            }
            Err(panic) => {
                window.ended = true;
                window
                    .results
                    .push_back(Slot::done(Err(Error::Panicked(panic_message(panic)))));
                return shared.changed.notify_all();
            }
        };
        let number = window.taken + window.results.len() as u64;
        let is_asked_for = asks && window.results.is_empty();
        window.results.push_back(Slot::Making);
        let helper = Shared::helper(shared, &mut window);
        drop(window);
        Helper::call(helper);

        let made = if is_asked_for {
            shared.run_asked(&batch)
        } else {
            shared.run_ahead(batch)
        };

        let mut window = shared.lock();
        // Cleared where an earlier batch's error was taken or the stream was dropped.
        let position = number
            .checked_sub(window.taken)
            .map(|position| position as usize);
        match position.and_then(|position| window.results.get_mut(position)) {
            Some(slot @ Slot::Making) => *slot = made,
            _ => {
                drop(window);
                drop(made);
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
            let priority = helper.shared.kernel.core.session.priority;
            runtime.workers.spawn(priority, move || helper.help());
        }
    }

    /// Batches, until there is no room or somebody else reads.
    fn help(mut self) {
        self.begun = true;
        loop {
            Shared::step(&self.shared, false);
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
        let results = self.shared.give_up(&mut window);
        drop(window);
        drop(results);
    }
}

impl Waits for Shared {
    fn end(&self, error: Error) {
        let mut window = self.lock();
        // What is at its end is not cancelled, and what has failed does not fail again.
        let has_more = !window.ended || !window.results.is_empty();
        if has_more && !self.given_up.load(Ordering::Relaxed) {
            window.verdict = Some(error);
        }
        let results = self.give_up(&mut window);
        drop(window);
        drop(results);
        self.changed.notify_all();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = self.lock();
        f.debug_struct("KernelStream")
            .field("taken", &window.taken)
            .field("ahead", &window.results.len())
            .field("ended", &window.ended)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KernelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// Whether what all threads may keep for their next batches is more than they may withhold.
fn is_crowded(threads: usize, memory: u64) -> bool {
    threads as u64 * Pool::most_kept_by_a_thread(memory) > memory / WITHHELD
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow_array::{Int64Array, RecordBatchIterator};
    use arrow_schema::{DataType, Field, Schema};
    use unlade_cpu::CpuDevice;
    use unlade_expr::{Query, Semantics, parse_select_list};

    use super::*;
    use crate::runtime::Runtime;

    /// A result with columns of less than 32 KiB: blocks of a size that threads keep.
    const ROWS: i64 = 1000;

    fn runtime(threads: usize, budget: u64) -> Runtime {
        let builder = Runtime::builder().device(Arc::new(CpuDevice::new()));
        let builder = builder.threads(threads).memory_budget(budget);
        builder.pool_reserve(budget).build().unwrap()
    }

    #[test]
    fn many_threads_withhold_no_memory_from_the_batch_that_is_asked_for() {
        let budget = 4 << 20;
        let runtime = runtime(64, budget);
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let columns: Vec<String> = (0..16).map(|n| format!("a + {n} as c{n}")).collect();
        let columns = parse_select_list(&columns.join(", ")).unwrap();
        let query = Query::all().select(columns);
        let kernel = runtime
            .compile(&query, &schema, &Semantics::arrow())
            .unwrap();
        let batch = |number: i64| {
            let values = Int64Array::from_iter_values(number * ROWS..(number + 1) * ROWS);
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)])
        };
        let batches: Vec<_> = (0..600).map(batch).collect();
        let mut stream = kernel.stream(RecordBatchIterator::new(batches, Arc::clone(&schema)));
        for number in 0..500 {
            let output = stream.next().unwrap().expect("there is room for it");
            assert_eq!(output.batch.num_rows(), ROWS as usize, "batch {number}");
            if number % 100 == 0 {
                // While the caller takes nothing, every helper comes to its end.
                let ended = || stream.shared.lock().helping == 0;
                while !ended() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let status = runtime.memory();
                assert!(status.cached <= budget / WITHHELD, "{status:?}");
            }
        }
    }

    #[test]
    fn a_result_ahead_is_given_up_for_one_that_finds_no_room() {
        let budget = 1 << 20;
        let runtime = runtime(1, budget);
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let columns = parse_select_list("a + 1 as b").unwrap();
        let query = Query::all().select(columns);
        let kernel = runtime
            .compile(&query, &schema, &Semantics::arrow())
            .unwrap();
        let batch = |bytes: u64| {
            let values = Int64Array::from_iter_values(0..bytes as i64 / 8);
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)]).unwrap()
        };
        let none = RecordBatchIterator::new([], Arc::clone(&schema));
        let mut stream = kernel.stream(none);
        let (large, small) = (batch(budget * 5 / 8), batch(budget * 7 / 16));
        let ahead = stream.shared.run_ahead(small.clone());
        assert!(matches!(ahead, Slot::Done { again: Some(_), .. }));
        let results = [Slot::Held(large.clone()), ahead];
        stream.shared.lock().results.extend(results);
        for batch in [large, small] {
            let output = stream.next().unwrap().expect("alone it finds room");
            assert_eq!(output.batch.num_rows(), batch.num_rows());
        }
        assert!(stream.next().is_none());
    }

    #[test]
    fn threads_keep_what_they_may_where_that_is_little_of_the_memory() {
        for (threads, memory) in [(64, 8 << 20), (17, 8 << 20), (100, 100 << 20)] {
            assert!(is_crowded(threads, memory), "{threads}, {memory}");
        }
        for (threads, memory) in [(1, 1 << 20), (16, 8 << 20), (64, 256 << 20)] {
            assert!(!is_crowded(threads, memory), "{threads}, {memory}");
        }
    }
}
