//! `--trace`: a file in the Trace Event Format, which Perfetto and Chrome open.
//!
//! Each device by each clock is a process of its own, since times of different clocks have nothing to
//! do with each other, and each queue a thread of it. Every event is a complete one (`X`), so every
//! slice closes; events of a queue are sorted by their beginning.

use std::path::Path;

use serde_json::{Value, json};
use unlade::{ClockKind, TraceEvent};

use crate::error::Failure;
use crate::report::json;
use crate::report::lanes::by_clock;

pub(crate) fn write(path: &Path, events: &[TraceEvent]) -> Result<(), Failure> {
    json::write(path, &document(events))
}

fn document(events: &[TraceEvent]) -> Value {
    let mut list = Vec::new();
    let (mut process, mut thread) = (0, 0);
    for clock in by_clock(events) {
        let of_clock = match clock.clock {
            ClockKind::Wall => "wall clock",
            ClockKind::Virtual => "virtual clock",
        };
        for device in clock.devices {
            process += 1;
            let name = format!("{} ({of_clock})", device.device);
            list.push(metadata("process_name", process, 0, &name));
            for lane in device.lanes {
                thread += 1;
                list.push(metadata("thread_name", process, thread, lane.queue));
                list.extend(
                    lane.events
                        .iter()
                        .map(|event| slice(event, process, thread)),
                );
            }
        }
    }
    json!({ "displayTimeUnit": "ns", "otherData": { "version": 2 }, "traceEvents": list })
}

fn slice(event: &TraceEvent, process: u32, thread: u32) -> Value {
    json!({
        "ph": "X",
        "name": event.activity.name(),
        "cat": if event.activity.is_work() { "work" } else { "wait" },
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
}

fn metadata(kind: &str, process: u32, thread: u32, name: &str) -> Value {
    json!({ "ph": "M", "name": kind, "pid": process, "tid": thread, "args": { "name": name } })
}
