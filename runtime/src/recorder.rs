//! What a runtime does for its batches, collected for a [`Recording`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::{Clock, DeviceKind, Timestamp, Timing};

use crate::auto;
use crate::kernel::KernelCore;
use crate::options::Placement;
use crate::placement::{Calibration, Work};
use crate::receipt::{PartReceipt, Receipt};
use crate::recording::{
    MOST_BATCHES, RECORDING_VERSION, RecordedBatch, RecordedDevice, RecordedKernel, RecordedRun,
    RecordedSession, Recording,
};
use crate::runtime::Core;
use crate::sync::{Mutex, lock};

/// Collects what is recorded, if anything is.
#[derive(Debug)]
pub(crate) struct Recorder {
    kept: Option<Mutex<Kept>>,
    /// What was known of the devices at the start.
    known: Calibration,
}

#[derive(Debug, Default)]
struct Kept {
    batches: Vec<(Option<Place>, RecordedBatch)>,
    left_out: u64,
    sessions: BTreeMap<u64, RecordedSession>,
    kernels: BTreeMap<u64, RecordedKernel>,
    /// How long the taker of a result was away.
    consumed: HashMap<Place, Duration>,
    streams: u64,
}

/// A stream, and a portion of it.
pub(crate) type Place = (u64, u64);

/// Something that is being run, to be recorded.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) account: Account,
    work: Work,
    at: Timestamp,
}

/// Where something that was run came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The number of the batch, the first one's of several.
    pub(crate) batch: u64,
    pub(crate) together: u64,
    pub(crate) place: Option<Place>,
    /// When it was there, and how long reading it took; `None` where it was handed over as it began.
    pub(crate) read: Option<(Timestamp, Duration)>,
}

/// What a batch on its way has cost that no receipt tells.
#[derive(Debug, Default)]
pub(crate) struct Account {
    noted: Mutex<Noted>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    /// Waiting for turns.
    turn: Duration,
    /// Probes of other devices.
    probe: Duration,
    /// From when to when it was in a device's queue, by the device's clock.
    on_device: Option<(Timestamp, Timestamp)>,
}

impl Account {
    pub(crate) fn turn(&self, waited: Duration) {
        lock(&self.noted).turn += waited;
    }

    pub(crate) fn probe(&self, taken: Duration) {
        lock(&self.noted).probe += taken;
    }

    /// A list was on the device.
    pub(crate) fn list(&self, submitted: Timestamp, timing: &Timing) {
        let began = timing.began();
        let steps = [
            (began.copy_in, timing.copy_in),
            (began.compute, timing.compute),
            (began.copy_out, timing.copy_out),
        ];
        let steps = steps.into_iter().filter(|(_, taken)| !taken.is_zero());
        let ends = steps.map(|(began, taken)| began.saturating_add(taken));
        let left = Timestamp(
            submitted
                .0
                .saturating_add(ends.max().unwrap_or(timing.queued)),
        );
        let on_device = &mut lock(&self.noted).on_device;
        let (_, end) = on_device.get_or_insert((submitted, left));
        *end = left.max(*end);
    }
}

impl Recorder {
    pub(crate) fn new(enabled: bool, known: Calibration) -> Self {
        Recorder {
            kept: enabled.then(Mutex::default),
            known,
        }
    }

    /// A number for a stream; `None` where nothing is recorded.
    pub(crate) fn next_stream(&self) -> Option<u64> {
        let mut kept = lock(self.kept.as_ref()?);
        kept.streams += 1;
        Some(kept.streams - 1)
    }

    /// Something begins to be run; `None` where it is not to be recorded.
    pub(crate) fn begin(
        &self,
        clock: &dyn Clock,
        work: impl FnOnce() -> Option<Work>,
    ) -> Option<Begun> {
        let _kept = self.kept.as_ref()?;
        Some(Begun {
            account: Account::default(),
            work: work()?,
            at: clock.now(),
        })
    }

    /// It was run, with these receipts.
    pub(crate) fn end<'r>(
        &self,
        kernel: &KernelCore,
        begun: Begun,
        origin: Origin,
        receipts: impl Iterator<Item = &'r Receipt> + Clone,
    ) {
        let Some(kept) = &self.kept else { return };
        let done = kernel.runtime.clock.now();
        let parts = receipts.clone().flat_map(|receipt| &receipt.parts);
        let queued =
            |part: &&PartReceipt| part.completed && part.path == crate::receipt::Path::Queued;
        let completed = parts.clone().filter(|part| part.completed);
        // Where a query is split, what a CPU does of it is the host's part.
        let device = parts.clone().find(queued).or_else(|| completed.last());
        let Some(device) = device.map(|part| Arc::clone(&part.device)) else {
            return;
        };
        let sum = |time: fn(&PartReceipt) -> Duration| {
            let of_device = parts
                .clone()
                .filter(|part| part.completed && part.device == device);
            nanos(of_device.map(time).sum())
        };
        let noted = *lock(&begun.account.noted);
        let (arrived, read) = origin.read.unwrap_or((begun.at, Duration::ZERO));
        let (submitted, left) = noted.on_device.unzip();
        let session = &kernel.session;
        let batch = RecordedBatch {
            batch: origin.batch,
            together: origin.together,
            kernel: kernel.number,
            session: session.key.0,
            stream: origin.place.map(|(stream, _)| stream),
            work: begun.work,
            retries: receipts.clone().map(|receipt| receipt.retries).sum(),
            arrived_ns: nanos(arrived.0),
            read_ns: nanos(read),
            began_ns: nanos(begun.at.0),
            done_ns: nanos(done.0),
            consumed_ns: 0,
            staged_ns: nanos(receipts.clone().map(|receipt| receipt.staged).sum()),
            gathered_ns: nanos(receipts.clone().map(|receipt| receipt.gathered).sum()),
            turn_ns: nanos(noted.turn),
            probe_ns: nanos(noted.probe),
            submitted_ns: submitted.map(|at| nanos(at.0)),
            left_ns: left.map(|at| nanos(at.0)),
            queued_ns: sum(|part| part.queued),
            copy_in_ns: sum(|part| part.copy_in),
            compute_ns: sum(|part| part.compute),
            copy_out_ns: sum(|part| part.copy_out),
            device,
        };
        let mut kept = lock(kept);
        if kept.batches.len() == MOST_BATCHES {
            kept.left_out = kept.left_out.saturating_add(origin.together);
            return;
        }
        kept.sessions
            .entry(session.key.0)
            .or_insert_with(|| RecordedSession {
                session: session.key.0,
                label: Arc::clone(&session.label),
                weight: session.weight,
                priority: session.priority,
            });
        kept.kernels
            .entry(kernel.number)
            .or_insert_with(|| RecordedKernel {
                kernel: kernel.number,
                cannot: kernel.route.cannot(&kernel.runtime),
            });
        kept.batches.push((origin.place, batch));
    }

    /// Whoever took a result of a portion was away for so long.
    pub(crate) fn consumed(&self, place: Place, away: Duration) {
        if let Some(kept) = &self.kept {
            let mut kept = lock(kept);
            // Where what was taken is not recorded any more, this is not either.
            if kept.left_out == 0 {
                *kept.consumed.entry(place).or_default() += away;
            }
        }
    }

    /// Takes out what was recorded so far.
    pub(crate) fn take(&self, runtime: &Core) -> Recording {
        let Kept {
            mut batches,
            left_out,
            sessions,
            kernels,
            consumed,
            ..
        } = match &self.kept {
            Some(kept) => {
                let mut kept = lock(kept);
                let streams = kept.streams;
                let empty = Kept {
                    streams,
                    ..Kept::default()
                };
                std::mem::replace(&mut *kept, empty)
            }
            None => Kept::default(),
        };
        // What was made ahead of time, given up and made again counts as it was made last.
        let mut last: HashMap<Place, u64> = HashMap::new();
        for (place, batch) in &batches {
            if let Some(place) = place {
                let done = last.entry(*place).or_default();
                *done = batch.done_ns.max(*done);
            }
        }
        batches.retain(|(place, batch)| place.is_none_or(|it| last[&it] == batch.done_ns));
        for (place, batch) in &mut batches {
            let away = place.and_then(|place| consumed.get(&place));
            batch.consumed_ns = away.map_or(0, |away| nanos(*away));
        }
        batches.sort_by_key(|(place, batch)| {
            let portion = place.map_or(batch.batch, |(_, portion)| portion);
            (batch.arrived_ns, batch.stream, portion)
        });
        Recording {
            run: self.run(runtime, left_out),
            devices: devices(runtime),
            sessions: sessions.into_values().collect(),
            kernels: kernels.into_values().collect(),
            batches: batches.into_iter().map(|(_, batch)| batch).collect(),
        }
    }

    fn run(&self, runtime: &Core, left_out: u64) -> RecordedRun {
        let options = &runtime.options;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        RecordedRun {
            version: RECORDING_VERSION,
            threads: count(options.threads),
            lists_ahead: options.queue_depth,
            device: match &options.placement {
                Placement::Auto => None,
                Placement::Device(name) => Some(Arc::clone(name)),
            },
            objective: options.objective,
            left_out,
            known: self.known.clone(),
            measured: lock(&runtime.placer).calibration(),
        }
    }
}

fn devices(runtime: &Core) -> Vec<RecordedDevice> {
    let profiles = auto::profiles(&runtime.devices);
    let devices = runtime.devices.iter().zip(profiles).map(|(slot, profile)| {
        let info = slot.device.info();
        RecordedDevice {
            name: Arc::clone(&slot.name),
            kind: slot.kind.name().into(),
            clock: slot.clock,
            hardware: auto::hardware(info).into(),
            profile,
            depth: runtime.options.queue_depth,
            bytes: (slot.kind != DeviceKind::Cpu && info.memory > 0).then_some(info.memory),
        }
    });
    devices.collect()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
