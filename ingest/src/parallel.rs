//! Decoding by several threads, delivered in order.
//!
//! Each unit (a row group, say) is decoded by one thread into a short queue of its own; the
//! consumer empties the queues in the order of the units. A thread that runs ahead blocks on its
//! full queue, which bounds the memory: at most `threads` units are open, each with
//! [`QUEUED_BATCHES`] batches waiting. Record batches of Arrow files are units that cannot be cut
//! before they are read; where these are large, fewer are read side by side.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use crossbeam::channel::{Receiver, Sender, bounded};

use crate::error::{IngestError, Place};
use crate::fit::BatchLimits;
use crate::scan::{ScanOptions, ScanStats};
use crate::source::{Unit, UnitBatches};

/// Batches that wait for the consumer, per open unit.
const QUEUED_BATCHES: usize = 2;

type Item = Result<RecordBatch, IngestError>;

/// The batches of a scan, in the order of the inputs. Ends after the first error.
pub struct BatchReader {
    schema: SchemaRef,
    stats: ScanStats,
    limits: BatchLimits,
    /// What is left of a batch that was larger than asked for, and the rows to cut from it.
    rest: Option<(RecordBatch, usize)>,
    /// Where the next batch begins.
    next: Option<Location>,
    units: Units,
    failed: bool,
}

/// Where a batch's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The input.
    pub place: Place,
    /// The input's row that is the batch's first, counted from 0.
    pub first_row: u64,
}

enum Units {
    /// Decoded here, when asked.
    Inline {
        waiting: VecDeque<Unit>,
        open: Option<(Unit, UnitBatches)>,
        columns: Vec<usize>,
        limits: BatchLimits,
    },
    /// Decoded by threads.
    Threads {
        queues: Receiver<(Unit, Receiver<Item>)>,
        open: Option<Receiver<Item>>,
        workers: Workers,
    },
}

/// Joined when dropped, after the queues they write to are gone.
struct Workers(Vec<JoinHandle<()>>);

impl BatchReader {
    pub(crate) fn start(
        schema: SchemaRef,
        units: Vec<Unit>,
        columns: &[usize],
        options: &ScanOptions,
        stats: ScanStats,
    ) -> Self {
        let threads = options.threads.min(units.len());
        let limits = options.limits();
        let budget = options
            .batch_bytes
            .saturating_mul(batches_held(threads) as u64);
        let threads = affordable(&units, threads, budget);
        let units = if threads <= 1 {
            Units::Inline {
                waiting: units.into(),
                open: None,
                columns: columns.to_vec(),
                limits,
            }
        } else {
            spawn(units, columns, limits, threads)
        };
        BatchReader {
            schema,
            stats,
            limits,
            rest: None,
            next: None,
            units,
            failed: false,
        }
    }

    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// What the files' directories said.
    pub fn stats(&self) -> ScanStats {
        self.stats
    }

    /// The next batch with the place its rows have in the inputs, by which an error of a row can
    /// be told to a person.
    pub fn next_located(&mut self) -> Option<Result<(Location, RecordBatch), IngestError>> {
        match self.next_sliced()? {
            Ok(batch) => {
                let next = self
                    .next
                    .as_mut()
                    .expect("a batch comes from an opened unit");
                let location = next.clone();
                next.first_row += batch.num_rows() as u64;
                Some(Ok((location, batch)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn next_whole(&mut self) -> Option<Item> {
        let next = &mut self.next;
        match &mut self.units {
            Units::Inline {
                waiting,
                open,
                columns,
                limits,
            } => loop {
                if let Some((unit, batches)) = open {
                    if let Some(item) = unit.guarded(|| batches.next().transpose()).transpose() {
                        return Some(item);
                    }
                    *open = None;
                }
                let unit = waiting.pop_front()?;
                *next = Some(unit.location(next.as_ref()));
                match unit.guarded(|| unit.open(columns, *limits)) {
                    Ok(batches) => *open = Some((unit, batches)),
                    Err(error) => return Some(Err(error)),
                }
            },
            Units::Threads { queues, open, .. } => loop {
                if let Some(queue) = open {
                    if let Ok(item) = queue.recv() {
                        return Some(item);
                    }
                    *open = None;
                }
                let (unit, queue) = queues.recv().ok()?;
                *next = Some(unit.location(next.as_ref()));
                *open = Some(queue);
            },
        }
    }
}

/// Most batches that a reader with so many threads holds at once: in each thread's hands, in each
/// queue that a consumer was told of or holds, and in the consumer's hands.
pub(crate) fn batches_held(threads: usize) -> usize {
    match threads {
        0 | 1 => 1,
        _ => threads + (threads + 1) * QUEUED_BATCHES + 1,
    }
}

/// How many threads can read the largest of these units side by side, each with its successor
/// waiting: one in any case.
fn affordable(units: &[Unit], threads: usize, budget: u64) -> usize {
    let largest = units.iter().map(Unit::indivisible_bytes).max().unwrap_or(0);
    let at_once = budget / largest.max(1) / 2;
    usize::try_from(at_once)
        .unwrap_or(usize::MAX)
        .clamp(1, threads.max(1))
}

fn spawn(units: Vec<Unit>, columns: &[usize], limits: BatchLimits, threads: usize) -> Units {
    // The dispatcher hands each unit's queue to the consumer and the unit to a worker, in one
    // order; both channels are as long as the number of workers, so no unit is opened early.
    let (to_consumer, queues) = bounded::<(Unit, Receiver<Item>)>(threads);
    let (to_workers, jobs) = bounded::<(Unit, Sender<Item>)>(0);
    let mut workers = Vec::with_capacity(threads + 1);
    workers.push(std::thread::spawn(move || {
        for unit in units {
            let (sender, receiver) = bounded(QUEUED_BATCHES);
            let told = to_consumer.send((unit.clone(), receiver));
            if told.is_err() || to_workers.send((unit, sender)).is_err() {
                return;
            }
        }
    }));
    let columns: Arc<[usize]> = columns.into();
    for _ in 0..threads {
        let (jobs, columns) = (jobs.clone(), Arc::clone(&columns));
        workers.push(std::thread::spawn(move || {
            for (unit, queue) in jobs {
                decode(&unit, &columns, limits, &queue);
            }
        }));
    }
    Units::Threads {
        queues,
        open: None,
        workers: Workers(workers),
    }
}

/// Sends until the unit ends, fails, or nobody listens any more.
fn decode(unit: &Unit, columns: &[usize], limits: BatchLimits, queue: &Sender<Item>) {
    // Nobody listening is no error: the consumer has stopped.
    let mut batches = match unit.guarded(|| unit.open(columns, limits)) {
        Ok(batches) => batches,
        Err(error) => return drop(queue.send(Err(error))),
    };
    while let Some(item) = unit.guarded(|| batches.next().transpose()).transpose() {
        let failed = item.is_err();
        if queue.send(item).is_err() || failed {
            return;
        }
    }
}

impl Iterator for BatchReader {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        Some(self.next_located()?.map(|(_, batch)| batch))
    }
}

impl BatchReader {
    fn next_sliced(&mut self) -> Option<Item> {
        loop {
            if let Some((rest, rows)) = self.rest.take() {
                if rest.num_rows() > rows {
                    let left = rest.num_rows() - rows;
                    self.rest = Some((rest.slice(rows, left), rows));
                    return Some(Ok(rest.slice(0, rows)));
                }
                return Some(Ok(rest));
            }
            if self.failed {
                return None;
            }
            match self.next_whole()? {
                Ok(batch) if batch.num_rows() == 0 => {}
                Ok(batch) => {
                    let rows = self.limits.rows_sliced(&batch);
                    self.rest = Some((batch, rows));
                }
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for BatchReader {
    fn drop(&mut self) {
        if let Units::Threads {
            queues,
            open,
            workers,
        } = &mut self.units
        {
            // Dropping the receiving ends unblocks every sender.
            *open = None;
            let (_, closed) = bounded(0);
            drop(std::mem::replace(queues, closed));
            for worker in workers.0.drain(..) {
                // A worker that panicked has closed its queue; there is nothing left to say here.
                let _ = worker.join();
            }
        }
    }
}

impl std::fmt::Debug for BatchReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchReader")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
