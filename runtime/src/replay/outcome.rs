//! What a schedule came to, as it was recorded or in a replay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use unlade_hal::ClockKind;

use super::engines::Stage;
use crate::recording::{RecordedBatch, Recording};
use crate::trace::TraceEvent;

/// What a schedule came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The clock of its times, but for what devices of another one tell of themselves. Of what was recorded on
    /// devices of two clocks it is the runtime's.
    #[serde(serialize_with = "crate::receipt::clock_name")]
    pub clock: ClockKind,
    /// From when the first batch was read, or handed over, to the last result. By a clock of the
    /// device's own, from when the first one was submitted to it until it had done the last one.
    #[serde(rename = "makespan_ns", serialize_with = "nanos")]
    pub makespan: Duration,
    /// Batches.
    pub batches: u64,
    /// Rows handed over.
    pub rows: u64,
    /// Bytes of the columns that were read.
    pub bytes: u64,
    /// What each device did of it.
    pub devices: Vec<DeviceOutcome>,
    /// How long each session waited for its results.
    pub sessions: Vec<SessionOutcome>,
    /// What each queue did when; of a replay only.
    #[serde(skip)]
    pub events: Vec<TraceEvent>,
}

/// What a device did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceOutcome {
    /// Its name.
    pub device: Arc<str>,
    /// Whether it computes on the caller's threads, as a CPU does; others work behind a queue, with
    /// threads of their own.
    pub inline: bool,
    /// Batches that it completed.
    pub batches: u64,
    /// Rows of them.
    pub rows: u64,
    /// Bytes of their columns.
    pub bytes: u64,
    /// The clock by which it works: that of the replay, or that of its own.
    #[serde(serialize_with = "crate::receipt::clock_name")]
    pub clock: ClockKind,
    /// Which part of the makespan the busiest of its queues worked in; of a CPU its threads. `None` where
    /// that is by another clock.
    pub busy: Option<f64>,
    /// How long a batch waited for it in the mean, for its turn and in its queue; of what was recorded
    /// by a clock of the device's own, which counts no turns, in its queue alone.
    #[serde(rename = "wait_ns", serialize_with = "nanos")]
    pub wait: Duration,
}

/// What a session had of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionOutcome {
    /// What people call it.
    pub session: Arc<str>,
    /// Batches that it had done.
    pub batches: u64,
    /// Half of them were done within this time, from when they were read or handed over; by a clock of
    /// the device's own, from when they were submitted.
    #[serde(rename = "p50_ns", serialize_with = "nanos")]
    pub p50: Duration,
    /// 99 of a hundred were.
    #[serde(rename = "p99_ns", serialize_with = "nanos")]
    pub p99: Duration,
}

/// What became of one batch. Nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ran {
    /// Position of the device.
    pub(super) device: usize,
    pub(super) waited: u64,
    pub(super) latency: u64,
}

impl Outcome {
    /// What the recorded schedule came to.
    pub fn recorded(recording: &Recording) -> Outcome {
        let names: Vec<Arc<str>> = recording
            .devices
            .iter()
            .map(|device| Arc::clone(&device.name))
            .collect();
        let own = has_own_clock(recording);
        let clock = match own {
            true => ClockKind::Virtual,
            false => ClockKind::Wall,
        };
        let mut sums = Sums::new(recording, &names, clock);
        for (device, recorded) in recording.devices.iter().enumerate() {
            if &*recorded.kind == "cpu" {
                sums.devices[device].threads = Some(recording.run.threads.max(1));
            }
        }
        for batch in &recording.batches {
            let device = recording.devices.iter();
            let device = device
                .clone()
                .position(|device| device.name == batch.device);
            let device = device.expect("checked when it was read");
            let (from, to) = span(batch, own);
            let ran = Ran {
                device,
                // Turns are waited for by the runtime's clock.
                waited: match recording.devices[device].clock {
                    ClockKind::Virtual => batch.queued_ns,
                    ClockKind::Wall => batch.turn_ns.saturating_add(batch.queued_ns),
                },
                latency: to.saturating_sub(from),
            };
            sums.add(batch, &ran);
            let stages = [batch.copy_in_ns, batch.compute_ns, batch.copy_out_ns];
            sums.works(device, stages);
            sums.devices[device].clock = recording.devices[device].clock;
        }
        let start = start(recording, own);
        let ends = recording.batches.iter().map(|batch| span(batch, own).1);
        let end = ends.max().unwrap_or(start);
        sums.finish(end.saturating_sub(start), Vec::new())
    }
}

/// When a batch came and when it was done: by the runtime's clock, or by the device's own.
pub(super) fn span(batch: &RecordedBatch, own: bool) -> (u64, u64) {
    let by_device = batch.submitted_ns.zip(batch.left_ns).filter(|_| own);
    by_device.unwrap_or((batch.arrived_ns, batch.done_ns))
}

/// Whether all of it ran on devices with a clock of their own.
fn has_own_clock(recording: &Recording) -> bool {
    let own = |batch: &RecordedBatch| {
        let device = recording.device(&batch.device);
        device.is_some_and(|device| device.clock == ClockKind::Virtual)
    };
    !recording.batches.is_empty() && recording.batches.iter().all(own)
}

/// When a recorded schedule began: by the runtime's clock, or by the devices' own.
pub(super) fn start(recording: &Recording, own: bool) -> u64 {
    let begins = recording.batches.iter().map(|batch| match own {
        true => span(batch, true).0,
        false => batch.arrived_ns.saturating_sub(batch.read_ns),
    });
    begins.min().unwrap_or(0)
}

/// Sums over batches.
pub(super) struct Sums<'a> {
    recording: &'a Recording,
    clock: ClockKind,
    pub(super) devices: Vec<DeviceSums>,
    /// For each session what its batches took.
    latencies: BTreeMap<u64, Vec<u64>>,
    rows: u64,
    bytes: u64,
}

pub(super) struct DeviceSums {
    name: Arc<str>,
    /// The clock by which it works.
    clock: ClockKind,
    batches: u64,
    rows: u64,
    bytes: u64,
    runs: u64,
    waited: u64,
    stages: [u64; 3],
    /// Threads of a CPU, which work at once; of another device one batch at a time is at a stage.
    pub(super) threads: Option<u32>,
}

impl<'a> Sums<'a> {
    pub(super) fn new(recording: &'a Recording, names: &[Arc<str>], clock: ClockKind) -> Self {
        let devices = names.iter().map(|name| DeviceSums {
            name: Arc::clone(name),
            clock,
            batches: 0,
            rows: 0,
            bytes: 0,
            runs: 0,
            waited: 0,
            stages: [0; 3],
            threads: None,
        });
        Sums {
            recording,
            clock,
            devices: devices.collect(),
            latencies: BTreeMap::new(),
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn add(&mut self, batch: &RecordedBatch, ran: &Ran) {
        let device = &mut self.devices[ran.device];
        device.runs += 1;
        for (sum, amount) in [
            (&mut device.batches, batch.together),
            (&mut device.rows, batch.work.rows),
            (&mut device.bytes, batch.work.bytes_in),
            (&mut device.waited, ran.waited),
            (&mut self.rows, batch.work.rows),
            (&mut self.bytes, batch.work.bytes_in),
        ] {
            *sum = sum.saturating_add(amount);
        }
        let latencies = self.latencies.entry(batch.session).or_default();
        latencies.push(ran.latency);
    }

    /// A device has worked for something.
    pub(super) fn works(&mut self, device: usize, stages: [u64; 3]) {
        let sums = self.devices[device].stages.iter_mut();
        sums.zip(stages)
            .for_each(|(sum, time)| *sum = sum.saturating_add(time));
    }

    pub(super) fn finish(self, makespan: u64, events: Vec<TraceEvent>) -> Outcome {
        let devices = self.devices.into_iter().map(|device| {
            let busiest = Stage::ALL.map(|stage| device.stages[stage as usize]);
            let busiest = busiest.into_iter().max().unwrap_or(0);
            let lanes = u64::from(device.threads.unwrap_or(1));
            let time = makespan.saturating_mul(lanes).max(1);
            DeviceOutcome {
                device: device.name,
                clock: device.clock,
                inline: device.threads.is_some(),
                batches: device.batches,
                rows: device.rows,
                bytes: device.bytes,
                busy: (device.clock == self.clock).then(|| busiest as f64 / time as f64),
                wait: Duration::from_nanos(device.waited / device.runs.max(1)),
            }
        });
        let devices: Vec<DeviceOutcome> = devices.collect();
        let labels = self.recording.sessions.iter();
        let labels: BTreeMap<u64, &Arc<str>> = labels
            .map(|session| (session.session, &session.label))
            .collect();
        let sessions = self.latencies.into_iter().map(|(key, mut latencies)| {
            latencies.sort_unstable();
            SessionOutcome {
                session: Arc::clone(labels[&key]),
                batches: latencies.len() as u64,
                p50: Duration::from_nanos(quantile(&latencies, 50)),
                p99: Duration::from_nanos(quantile(&latencies, 99)),
            }
        });
        Outcome {
            clock: self.clock,
            makespan: Duration::from_nanos(makespan),
            batches: devices.iter().map(|device| device.batches).sum(),
            rows: self.rows,
            bytes: self.bytes,
            sessions: sessions.collect(),
            devices,
            events,
        }
    }
}

/// The least of sorted times that so many of a hundred do not exceed.
fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn nanos<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
