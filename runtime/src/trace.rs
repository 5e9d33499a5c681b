//! What each device and thread did when, for pictures and for Perfetto.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Serialize;
use unlade_hal::{ClockKind, Timestamp};

use crate::call::Call;
use crate::device_slot::DeviceSlot;
use crate::driver::Back;
use crate::sync::{Mutex, MutexGuard};

/// Events kept; the oldest go first.
const CAPACITY: usize = 1 << 20;

/// Who has a turn sooner has not waited for it: the asking takes as long.
const AT_ONCE: Duration = Duration::from_micros(50);

/// A span of time in which one queue of one device did one thing, or a batch waited for it. Events of
/// one queue and clock do not overlap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceEvent {
    /// The device's name.
    pub device: Arc<str>,
    /// Which of its queues: what copies to it, computes or copies from it, side by side with the
    /// others; of the CPU a thread. Those who wait for a device have a queue each, by their threads.
    pub queue: Arc<str>,
    /// What was done, or waited for.
    pub activity: Activity,
    /// Which batch of which kernel.
    pub batch: u64,
    /// The kernel's number among those of its runtime.
    pub kernel: u64,
    /// When it began, in nanoseconds of its clock.
    pub start_ns: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Which clock: times of different clocks have nothing to do with each other.
    #[serde(serialize_with = "crate::receipt::clock_name")]
    pub clock: ClockKind,
}

/// What a [`TraceEvent`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activity {
    /// Columns are copied to the device.
    CopyIn,
    /// The program runs; of a card also what it copies, which it counts as one.
    Compute,
    /// Results are copied from the device.
    CopyOut,
    /// A batch waits for its turn on the device: others have theirs.
    WaitForTurn,
    /// A batch is on the device and waits for what is before it.
    WaitInQueue,
}

impl Activity {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Activity::CopyIn => "copy in",
            Activity::Compute => "compute",
            Activity::CopyOut => "copy out",
            Activity::WaitForTurn => "wait for a turn",
            Activity::WaitInQueue => "wait in the queue",
        }
    }

    /// Whether the device works meanwhile, for this batch.
    pub fn is_work(self) -> bool {
        match self {
            Activity::CopyIn | Activity::Compute | Activity::CopyOut => true,
            Activity::WaitForTurn | Activity::WaitInQueue => false,
        }
    }
}

impl TraceEvent {
    /// When it ended, in nanoseconds of its clock.
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.duration_ns)
    }
}

/// A bounded record of events.
#[derive(Debug)]
pub(crate) struct Trace {
    recorded: Option<Mutex<Recorded>>,
}

#[derive(Debug, Default)]
struct Recorded {
    events: VecDeque<TraceEvent>,
    /// How far each queue's events reach that were taken out.
    reached: HashMap<Lane, u64>,
}

/// What took how long when.
struct Span {
    activity: Activity,
    start: Duration,
    taken: Duration,
    clock: ClockKind,
}

/// A queue of a device, by one clock.
type Lane = (Arc<str>, Arc<str>, ClockKind);

impl Trace {
    pub(crate) fn new(enabled: bool) -> Self {
        Trace {
            recorded: enabled.then(Mutex::default),
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.recorded.is_some()
    }

    /// Notes what a list did on its device and how long it waited there. By a clock that neither the
    /// device tells nor the runtime reads, all lists are submitted at the beginning, and follow each
    /// other.
    pub(crate) fn list(&self, slot: &DeviceSlot, call: &Call<'_>, back: &Back) {
        if !self.is_enabled() && call.account.is_none() {
            return;
        }
        let timing = &back.completion.timing;
        let clock = timing.clock.unwrap_or(slot.clock);
        let runtime = &call.runtime.clock;
        let submitted = timing.submitted.or_else(|| {
            let ago = back.submitted.elapsed();
            (clock == runtime.kind()).then(|| Timestamp(runtime.now().0.saturating_sub(ago)))
        });
        if let (Some(submitted), Some(account)) = (submitted, call.account) {
            account.list(submitted, timing);
        }
        let submitted = submitted.unwrap_or_default().0;
        let began = timing.began();
        let steps = [
            (Activity::WaitInQueue, Duration::ZERO, timing.queued),
            (Activity::CopyIn, began.copy_in, timing.copy_in),
            (Activity::Compute, began.compute, timing.compute),
            (Activity::CopyOut, began.copy_out, timing.copy_out),
        ];
        for (activity, since, taken) in steps {
            let queue = || match activity.is_work() {
                true => activity.name().into(),
                false => waiting(),
            };
            let span = Span {
                activity,
                start: submitted.saturating_add(since),
                taken,
                clock,
            };
            self.span(&slot.name, queue, call, span);
        }
    }

    /// Notes how long a batch waited for its turn on a device, from when it `came`.
    pub(crate) fn turn(
        &self,
        slot: &DeviceSlot,
        call: &Call<'_>,
        came: Timestamp,
        waited: Duration,
    ) {
        let clock = &call.runtime.clock;
        if waited > AT_ONCE {
            let span = Span {
                activity: Activity::WaitForTurn,
                start: came.0,
                taken: waited,
                clock: clock.kind(),
            };
            self.span(&slot.name, waiting, call, span);
        }
    }

    /// Notes what the thread that asks has computed.
    pub(crate) fn inline(
        &self,
        device: &Arc<str>,
        call: &Call<'_>,
        start: Timestamp,
        taken: Duration,
    ) {
        let span = Span {
            activity: Activity::Compute,
            start: start.0,
            taken,
            clock: call.runtime.clock.kind(),
        };
        self.span(device, thread, call, span);
    }

    fn span(
        &self,
        device: &Arc<str>,
        queue: impl FnOnce() -> Arc<str>,
        call: &Call<'_>,
        span: Span,
    ) {
        if span.taken.is_zero() {
            return;
        }
        self.record(|| TraceEvent {
            device: Arc::clone(device),
            queue: queue(),
            activity: span.activity,
            batch: call.number,
            kernel: call.kernel,
            start_ns: nanos(span.start),
            duration_ns: nanos(span.taken),
            clock: span.clock,
        });
    }

    /// Notes an event, if events are wanted at all.
    fn record(&self, event: impl FnOnce() -> TraceEvent) {
        if let Some(recorded) = &self.recorded {
            let events = &mut lock(recorded).events;
            if events.len() == CAPACITY {
                events.pop_front();
            }
            events.push_back(event());
        }
    }

    /// Takes all events out, in the order in which they ended. Clocks tick, and some devices say only
    /// how long things took: where two events of a queue would overlap, the later one comes behind
    /// the other.
    pub(crate) fn take(&self) -> Vec<TraceEvent> {
        let Some(recorded) = &self.recorded else {
            return Vec::new();
        };
        let mut recorded = lock(recorded);
        let mut events: Vec<TraceEvent> = recorded.events.drain(..).collect();
        events.sort_by_key(|event| event.start_ns);
        for event in &mut events {
            let lane = (event.device.clone(), event.queue.clone(), event.clock);
            let reached = recorded.reached.entry(lane).or_default();
            event.start_ns = event.start_ns.max(*reached);
            *reached = event.end_ns();
        }
        events.sort_by_key(|event| (event.end_ns(), Reverse(event.duration_ns)));
        events
    }
}

fn lock(recorded: &Mutex<Recorded>) -> MutexGuard<'_, Recorded> {
    recorded.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The thread that asks: its name, or its number.
fn thread() -> Arc<str> {
    let thread = std::thread::current();
    match thread.name() {
        Some(name) => name.into(),
        None => format!("{:?}", thread.id()).into(),
    }
}

/// Where the thread that asks waits.
fn waiting() -> Arc<str> {
    format!("waits: {}", thread()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(queue: &str, start_ns: u64, duration_ns: u64) -> TraceEvent {
        TraceEvent {
            device: "sim".into(),
            queue: queue.into(),
            activity: Activity::Compute,
            batch: 1,
            kernel: 0,
            start_ns,
            duration_ns,
            clock: ClockKind::Virtual,
        }
    }

    #[test]
    fn events_are_taken_once_and_only_where_wanted() {
        let trace = Trace::new(true);
        trace.record(|| event("compute", 10, 5));
        assert_eq!(trace.take(), [event("compute", 10, 5)]);
        assert!(trace.take().is_empty());
        let off = Trace::new(false);
        off.record(|| unreachable!("nobody wants events"));
        assert!(!off.is_enabled() && off.take().is_empty());
    }

    #[test]
    fn events_of_a_queue_do_not_overlap_whoever_recorded_first() {
        let trace = Trace::new(true);
        for (start, duration) in [(20, 10), (0, 10), (9, 5), (100, 5)] {
            trace.record(|| event("compute", start, duration));
        }
        trace.record(|| event("copy in", 5, 10));
        let spans = |queue: &str, events: &[TraceEvent]| -> Vec<(u64, u64)> {
            let events = events.iter().filter(|event| &*event.queue == queue);
            events
                .map(|event| (event.start_ns, event.end_ns()))
                .collect()
        };
        let events = trace.take();
        let computed = [(0, 10), (10, 15), (20, 30), (100, 105)];
        assert_eq!(spans("compute", &events), computed);
        assert_eq!(spans("copy in", &events), [(5, 15)], "another queue");
        // Nor with what was taken before.
        trace.record(|| event("compute", 0, 1));
        assert_eq!(spans("compute", &trace.take()), [(105, 106)]);
    }
}
