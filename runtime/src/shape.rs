//! How much of a stream is done at once.

use arrow_array::RecordBatch;
use unlade_hal::DeviceKind;

use crate::auto::AutoRoute;
use crate::kernel::KernelCore;
use crate::placement::{DeviceIndex, Work};
use crate::sync::lock;

/// Most bytes that are read of several batches together: beyond that nothing is gained, and more
/// wait for each other.
const MOST_TOGETHER: u64 = 16 << 20;

/// Batches of fewer bytes are not taken apart.
const LARGE: u64 = 32 << 20;

/// What a piece has of them at least.
const PIECE: u64 = 8 << 20;

/// Part of the bytes read that results may be of a batch in pieces: they are copied to be joined.
const JOINED: u64 = 4;

/// Portions after which the good size is asked for again: what is known of devices changes.
const SAME_FOR: u32 = 16;

/// How a batch is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// By itself.
    Alone,
    /// With those that follow, up to so many rows.
    Together { rows: u64 },
    /// In so many pieces.
    Apart { pieces: usize },
}

/// Decides how the batches of a stream are done.
#[derive(Debug)]
pub(crate) struct Shaper {
    /// Threads that have portions done.
    workers: usize,
    /// Most bytes that are read of several batches together.
    most_together: u64,
    /// Whether batches may wait for each other: there is a queue for which that pays, and time.
    gathers: bool,
    known: Option<Known>,
}

/// The good size, for batches of about so many rows.
#[derive(Clone, Copy, Debug)]
struct Known {
    rows: u64,
    good_rows: u64,
    portions: u32,
}

impl Shaper {
    /// For a stream that has so many portions at once, done by so many threads.
    pub(crate) fn new(kernel: &KernelCore, workers: usize, portions: usize) -> Self {
        // What is read ahead takes no more than half of what results may.
        let share = kernel.runtime.options.memory_budget / 2 / portions as u64;
        Shaper {
            workers,
            most_together: MOST_TOGETHER.min(share),
            gathers: kernel.may_join() && !kernel.runtime.options.gather_within.is_zero(),
            known: None,
        }
    }

    /// How a batch is done.
    pub(crate) fn shape(&mut self, kernel: &KernelCore, batch: &RecordBatch) -> Shape {
        if self.workers == 1 && !self.gathers {
            return Shape::Alone;
        }
        let rows = batch.num_rows() as u64;
        let bytes = kernel.binding().bytes_in(batch);
        if bytes >= LARGE && self.workers > 1 {
            let work = kernel.work(batch);
            let results = work.bytes_out + work.bytes_gathered;
            return match results * JOINED <= bytes {
                true => Shape::Apart {
                    pieces: (bytes / PIECE).min(2 * self.workers as u64) as usize,
                },
                false => Shape::Alone,
            };
        }
        if !self.gathers || rows == 0 {
            return Shape::Alone;
        }
        let most = (rows as f64 * self.most_together as f64 / bytes.max(1) as f64) as u64;
        let good = self.good_rows(kernel, batch).min(most);
        match good >= 2 * rows {
            true => Shape::Together { rows: good },
            false => Shape::Alone,
        }
    }

    /// Rows that the best device for work like this batch is best given at once.
    fn good_rows(&mut self, kernel: &KernelCore, batch: &RecordBatch) -> u64 {
        let rows = batch.num_rows() as u64;
        if let Some(known) = &mut self.known
            && known.portions < SAME_FOR
            && (known.rows / 2..=known.rows * 2).contains(&rows)
        {
            known.portions += 1;
            return known.good_rows;
        }
        let work = kernel.work(batch);
        let best = match (&kernel.route.device, &kernel.route.auto) {
            (Some(plan), _) => DeviceIndex(plan.slot),
            (None, Some(auto)) => fastest(kernel, auto, &work),
            (None, None) => return rows,
        };
        let good_rows = match kernel.runtime.devices[best.0].kind {
            DeviceKind::Cpu => rows,
            _ => lock(&kernel.runtime.placer).good_rows(best, &work),
        };
        self.known = Some(Known {
            rows,
            good_rows,
            portions: 0,
        });
        good_rows
    }
}

/// The device that has most rows done in the same time, each in portions of its good size.
fn fastest(kernel: &KernelCore, auto: &AutoRoute, work: &Work) -> DeviceIndex {
    let runtime = &kernel.runtime;
    let candidates = auto.predict(runtime, work);
    let placer = lock(&runtime.placer);
    let seconds_per_row = |device: DeviceIndex| {
        let rows = placer.good_rows(device, work);
        let seconds = placer.seconds(device, &work.slice(rows)) / rows as f64;
        match runtime.devices[device.0].kind {
            DeviceKind::Cpu => seconds / runtime.options.threads as f64,
            _ => seconds,
        }
    };
    let eligible = candidates.iter().enumerate();
    let eligible = eligible.filter(|(_, candidate)| candidate.ineligible.is_none());
    eligible
        .map(|(device, _)| DeviceIndex(device))
        .min_by(|a, b| seconds_per_row(*a).total_cmp(&seconds_per_row(*b)))
        .unwrap_or(DeviceIndex(0))
}
