//! Jobs that wait for a device.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::{Job, JobId, Priority, SessionKey};
use crate::placement::DeviceIndex;

/// A weight of one pays this for each byte; larger weights pay less.
const PRICE: u64 = 1 << 16;

/// For each device the jobs that wait for it.
#[derive(Debug)]
pub(super) struct Waiting {
    devices: Vec<Line>,
}

/// Jobs waiting for one device. Weighted fair queueing: each session pays for the bytes it gets,
/// and whoever has paid least is next. A session that comes late starts where the others are, not
/// at zero: idle time is no credit.
#[derive(Debug, Default)]
struct Line {
    /// Sessions in which jobs wait, the highest priority first.
    queues: BTreeMap<(Reverse<Priority>, SessionKey), VecDeque<Place>>,
    paid: BTreeMap<SessionKey, u128>,
    /// What the session served last had paid.
    level: u128,
    jobs: usize,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    id: JobId,
    bytes: u64,
    weight: u32,
}

impl Waiting {
    pub(super) fn new(devices: usize) -> Self {
        Waiting {
            devices: (0..devices).map(|_| Line::default()).collect(),
        }
    }

    pub(super) fn push(&mut self, id: JobId, device: DeviceIndex, job: &Job) {
        self.devices[device.0]
            .queue(job)
            .push_back(Place::new(id, job));
    }

    /// Puts a job back that was taken too early. It is charged again when taken again, so what it
    /// paid is given back.
    pub(super) fn push_front(&mut self, id: JobId, device: DeviceIndex, job: &Job) {
        let line = &mut self.devices[device.0];
        let place = Place::new(id, job);
        line.queue(job).push_front(place);
        if let Some(paid) = line.paid.get_mut(&job.session) {
            *paid = paid.saturating_sub(place.price());
        }
    }

    pub(super) fn remove(&mut self, id: JobId, device: DeviceIndex, job: &Job) {
        let line = &mut self.devices[device.0];
        let key = (Reverse(job.priority), job.session);
        let queue = line.queues.get_mut(&key).expect("it waits there");
        let at = queue
            .iter()
            .position(|place| place.id == id)
            .expect("it waits there");
        let place = queue.remove(at).expect("just found");
        line.left(key, place);
    }

    /// Takes the next job for a device, if it fits. The next one is waited for even where a later,
    /// smaller one would fit: otherwise large ones might never go.
    pub(super) fn pop(&mut self, device: DeviceIndex, fits: impl Fn(u64) -> bool) -> Option<JobId> {
        let line = &mut self.devices[device.0];
        let highest = line.queues.keys().next()?.0;
        let paid = |session: &SessionKey| line.paid.get(session).copied().unwrap_or(0);
        let key = line
            .queues
            .keys()
            .take_while(|(priority, _)| *priority == highest)
            .min_by_key(|(_, session)| (paid(session), *session))
            .copied()?;
        let queue = line.queues.get_mut(&key).expect("just found");
        let place = *queue.front().expect("empty queues are removed");
        if !fits(place.bytes) {
            return None;
        }
        queue.pop_front();
        let paid = line.paid.entry(key.1).or_insert(line.level);
        line.level = line.level.max(*paid);
        *paid += place.price();
        line.left(key, place);
        Some(place.id)
    }

    /// Takes out all jobs that wait for a device, in the order in which they were submitted.
    pub(super) fn drain(&mut self, device: DeviceIndex) -> Vec<JobId> {
        let line = std::mem::take(&mut self.devices[device.0]);
        let mut ids: Vec<JobId> = line
            .queues
            .into_values()
            .flatten()
            .map(|each| each.id)
            .collect();
        ids.sort();
        ids
    }

    /// A session none of whose jobs waits will not come back.
    pub(super) fn forget(&mut self, session: SessionKey) {
        for line in &mut self.devices {
            line.paid.remove(&session);
        }
    }

    /// Jobs and bytes that wait for a device.
    pub(super) fn load(&self, device: DeviceIndex) -> (usize, u64) {
        (self.devices[device.0].jobs, self.devices[device.0].bytes)
    }
}

impl Line {
    /// The queue that a job joins, with the job counted.
    fn queue(&mut self, job: &Job) -> &mut VecDeque<Place> {
        self.jobs += 1;
        self.bytes += job.bytes;
        let idle = !self
            .queues
            .keys()
            .any(|(_, session)| *session == job.session);
        if idle {
            let paid = self.paid.entry(job.session).or_insert(self.level);
            *paid = (*paid).max(self.level);
        }
        self.queues
            .entry((Reverse(job.priority), job.session))
            .or_default()
    }

    fn left(&mut self, key: (Reverse<Priority>, SessionKey), place: Place) {
        self.jobs -= 1;
        self.bytes -= place.bytes;
        if self.queues.get(&key).is_some_and(VecDeque::is_empty) {
            self.queues.remove(&key);
        }
        if self.queues.is_empty() {
            // Nobody competes: debts are forgotten, and the map does not grow for ever.
            self.paid.clear();
            self.level = 0;
        }
    }
}

impl Place {
    fn new(id: JobId, job: &Job) -> Self {
        Place {
            id,
            bytes: job.bytes,
            weight: job.weight.max(1),
        }
    }

    fn price(&self) -> u128 {
        u128::from(self.bytes.max(1)) * u128::from(PRICE) / u128::from(self.weight)
    }
}
