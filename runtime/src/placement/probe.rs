//! Which slices of batches go to devices that are not chosen, so that they stay known.

use std::collections::HashMap;
use std::time::Duration;

use smallvec::SmallVec;

use super::work::{Work, WorkKey};
use super::{DeviceIndex, Probe};

/// Share of all bytes that may be spent on probes.
const SHARE: f64 = 0.01;

/// Share of all time that may be: more, as it is the slow devices that take longer for their bytes.
const TIME_SHARE: f64 = 0.03;

/// A probe takes so many times as long as the batch that it is beside, at most.
const MOST_TIMES: f64 = 4.0;

/// Batches of one kind between two probes of a device, while nothing surprises.
const INTERVAL: u64 = 5;

/// Every other probe is this part of a batch, which tells how fast a device is ...
const LARGE_SLICE: u64 = 16;

/// ... and every other one is this part, which tells what a launch costs.
const SMALL_SLICE: u64 = 128;

/// Fewer rows than this tell nothing at all.
const FEWEST_ROWS: u64 = 256;

#[derive(Debug)]
pub(super) struct ProbeBudget {
    devices: usize,
    /// Bytes that may still be spent.
    bytes: f64,
    /// The same in seconds: a device can be so slow that few bytes take long.
    seconds: f64,
    kinds: HashMap<WorkKey, Vec<Due>>,
}

/// When a device is to be probed with a kind of work.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    /// Batches placed since it was measured last.
    age: u64,
    /// Whether it was measured at all.
    known: bool,
    /// Whether the last measurement was a surprise, which a second one should confirm.
    surprising: bool,
    /// Whether the last probe was a large one.
    was_large: bool,
}

impl ProbeBudget {
    pub(super) fn new(devices: usize) -> Self {
        ProbeBudget {
            devices,
            bytes: 0.0,
            seconds: 0.0,
            kinds: HashMap::new(),
        }
    }

    /// The probe to make beside this batch, which is predicted to take so many seconds, if one is due
    /// and what there was so far allows it. `predict` tells what work takes on a device.
    pub(super) fn next(
        &mut self,
        work: &Work,
        seconds: f64,
        others: impl Iterator<Item = DeviceIndex>,
        predict: impl Fn(DeviceIndex, &Work) -> f64,
    ) -> Option<Probe> {
        let bytes = work.bytes_in.max(1) as f64;
        self.bytes += bytes * SHARE;
        self.seconds += seconds * TIME_SHARE;
        let devices = self.devices;
        let dues = self
            .kinds
            .entry(work.key)
            .or_insert_with(|| vec![Due::default(); devices]);
        dues.iter_mut().for_each(|due| due.age += 1);
        let urgency = |due: &Due| (!due.known, due.surprising, due.age);
        let is_due = |due: &Due| !due.known || due.surprising || due.age >= INTERVAL;
        let mut most_urgent: SmallVec<[DeviceIndex; 8]> =
            others.filter(|device| is_due(&dues[device.0])).collect();
        most_urgent.sort_by_key(|device| std::cmp::Reverse(urgency(&dues[device.0])));
        let (bytes_left, seconds_left) = (self.bytes, self.seconds.min(seconds * MOST_TIMES));
        let probe = |device: DeviceIndex, part: u64| {
            let rows = (work.rows / part).max(FEWEST_ROWS);
            let cost = bytes * rows as f64 / work.rows.max(1) as f64;
            if rows > work.rows || cost > bytes_left {
                return None; // until the credit has grown
            }
            let takes = predict(device, &work.slice(rows));
            (takes <= seconds_left).then_some((device, rows, part, cost, takes))
        };
        let affordable = most_urgent.into_iter().find_map(|device| {
            let due = &dues[device.0];
            let large = match due.was_large || !due.known {
                true => None,
                false => probe(device, LARGE_SLICE),
            };
            large.or_else(|| probe(device, SMALL_SLICE))
        });
        let (device, rows, part, cost, takes) = affordable?;
        self.bytes -= cost;
        self.seconds -= takes;
        let due = &mut dues[device.0];
        // A probe that gets lost is made again only after the interval.
        *due = Due {
            age: 0,
            known: true,
            surprising: false,
            was_large: part == LARGE_SLICE,
        };
        Some(Probe {
            device,
            rows,
            takes: Duration::try_from_secs_f64(takes).unwrap_or(Duration::MAX),
        })
    }

    /// Pays for a probe what it has taken instead of what was predicted. Where that is long, there is
    /// none until it is a small share of all time.
    pub(super) fn probed(&mut self, probe: &Probe, taken: Duration) {
        self.seconds += probe.takes.as_secs_f64() - taken.as_secs_f64();
    }

    /// Notes that a device was measured.
    pub(super) fn observed(&mut self, device: DeviceIndex, key: WorkKey, surprising: bool) {
        let devices = self.devices;
        let dues = self
            .kinds
            .entry(key)
            .or_insert_with(|| vec![Due::default(); devices]);
        let due = &mut dues[device.0];
        *due = Due {
            age: 0,
            known: true,
            surprising,
            ..*due
        };
    }
}
