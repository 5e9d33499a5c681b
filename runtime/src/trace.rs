//! What each device and thread did when, for pictures and for Perfetto.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::sync::{Mutex, MutexGuard};
use serde::Serialize;
use unlade_hal::{ClockKind, Timestamp};

/// Events kept; the oldest go first.
const CAPACITY: usize = 1 << 20;

/// A span of time in which one track did one thing. Events of one track and clock do not overlap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceEvent {
    /// Who: a thread of the host's (`cpu main`, `cpu ThreadId(2)`) or a device (`sim`).
    pub track: Arc<str>,
    /// What: `compute`, `copy in`, `copy out`.
    pub name: &'static str,
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

/// A bounded record of events.
#[derive(Debug)]
pub(crate) struct Trace {
    events: Option<Mutex<VecDeque<TraceEvent>>>,
}

impl Trace {
    pub(crate) fn new(enabled: bool) -> Self {
        Trace {
            events: enabled.then(Mutex::default),
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.events.is_some()
    }

    /// Notes an event, if events are wanted at all.
    pub(crate) fn record(&self, event: impl FnOnce() -> TraceEvent) {
        if let Some(events) = &self.events {
            let mut events = lock(events);
            if events.len() == CAPACITY {
                events.pop_front();
            }
            events.push_back(event());
        }
    }

    /// Takes all events out, in the order in which they ended.
    pub(crate) fn take(&self) -> Vec<TraceEvent> {
        match &self.events {
            Some(events) => lock(events).drain(..).collect(),
            None => Vec::new(),
        }
    }
}

fn lock(events: &Mutex<VecDeque<TraceEvent>>) -> MutexGuard<'_, VecDeque<TraceEvent>> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A timestamp in whole nanoseconds.
pub(crate) fn nanos(at: Timestamp) -> u64 {
    duration_nanos(at.0)
}

/// A duration in whole nanoseconds.
pub(crate) fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The track of the thread that asks: its name, or its number.
pub(crate) fn cpu_track() -> Arc<str> {
    thread_local! {
        static TRACK: Arc<str> = {
            let thread = std::thread::current();
            match thread.name() {
                Some(name) => format!("cpu {name}").into(),
                None => format!("cpu {:?}", thread.id()).into(),
            }
        };
    }
    TRACK.with(Arc::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_once_and_only_where_wanted() {
        let event = || TraceEvent {
            track: "sim".into(),
            name: "compute",
            batch: 1,
            kernel: 0,
            start_ns: 10,
            duration_ns: 5,
            clock: ClockKind::Virtual,
        };
        let trace = Trace::new(true);
        trace.record(event);
        assert_eq!(trace.take(), [event()]);
        assert!(trace.take().is_empty());
        let off = Trace::new(false);
        off.record(|| unreachable!("nobody wants events"));
        assert!(!off.is_enabled() && off.take().is_empty());
    }
}
