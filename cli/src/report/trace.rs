//! `--trace`: a file in the Trace Event Format, which Perfetto and Chrome open.
//!
//! Each clock is a process of its own, since times of different clocks have nothing to do with
//! each other, and each track a thread of it. Every event is a complete one (`X`), so every slice
//! closes; events of a track are sorted by their beginning.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use unlade::{ClockKind, TraceEvent};

use crate::error::Failure;
use crate::report::json;

pub(crate) fn write(path: &Path, events: &[TraceEvent]) -> Result<(), Failure> {
    json::write(path, &document(events))
}

fn document(events: &[TraceEvent]) -> Value {
    let mut tracks: BTreeMap<(u32, &str), Vec<&TraceEvent>> = BTreeMap::new();
    for event in events {
        tracks
            .entry((process(event.clock), &event.track))
            .or_default()
            .push(event);
    }
    let mut list = vec![
        metadata("process_name", process(ClockKind::Wall), 0, "wall clock"),
        metadata(
            "process_name",
            process(ClockKind::Virtual),
            0,
            "virtual clock",
        ),
    ];
    for (thread, ((process, track), mut events)) in (1..).zip(tracks) {
        list.push(metadata("thread_name", process, thread, track));
        events.sort_by_key(|event| event.start_ns);
        list.extend(events.into_iter().map(|event| {
            json!({
                "ph": "X",
                "name": event.name,
                "pid": process,
                "tid": thread,
                // The format counts in microseconds and allows fractions.
                "ts": event.start_ns as f64 / 1000.0,
                "dur": event.duration_ns as f64 / 1000.0,
                "args": {
                    "batch": event.batch,
                    "kernel": event.kernel,
                    "start_ns": event.start_ns,
                    "duration_ns": event.duration_ns,
                },
            })
        }));
    }
    json!({ "displayTimeUnit": "ns", "otherData": { "version": 1 }, "traceEvents": list })
}

fn process(clock: ClockKind) -> u32 {
    match clock {
        ClockKind::Wall => 1,
        ClockKind::Virtual => 2,
    }
}

fn metadata(kind: &str, process: u32, thread: u32, name: &str) -> Value {
    json!({ "ph": "M", "name": kind, "pid": process, "tid": thread, "args": { "name": name } })
}
