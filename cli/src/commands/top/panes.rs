//! What each pane says, in rows of text: for the screen, and for standard output.

use std::time::Duration;

use unlade::{DeviceSnapshot, DeviceState, Snapshot, printable};

use crate::report::table::{Align, bytes, counted, duration, grouped, rate};

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Devices,
    Queues,
    Pool,
    Sessions,
    Receipts,
    Fallbacks,
}

/// Rows under a head.
pub(super) struct Rows {
    pub(super) head: Vec<(&'static str, Align)>,
    /// In an order that stays, where it is no order of what matters most.
    pub(super) rows: Vec<Row>,
    /// What to say where there is no row.
    pub(super) empty: &'static str,
}

/// A row.
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// Whether it needs somebody's attention.
    pub(super) is_marked: bool,
    /// How much what it tells of has to do: who has most is to be seen where there is no room for all.
    pub(super) busy: Busy,
}

/// Greater for what has more to do: what was done of late, what waits, whether something is wrong, and
/// what was done ever.
pub(super) type Busy = (u64, u64, bool, u64);

impl Row {
    fn plain(cells: Vec<String>) -> Self {
        Row {
            cells,
            is_marked: false,
            busy: Busy::default(),
        }
    }

    fn marked(self, is_marked: bool) -> Self {
        Row { is_marked, ..self }
    }
}

/// Cells of a gauge.
const GAUGE: u32 = 12;

impl Pane {
    pub(super) const ALL: [Pane; 6] = [
        Pane::Devices,
        Pane::Queues,
        Pane::Pool,
        Pane::Sessions,
        Pane::Receipts,
        Pane::Fallbacks,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Pane::Devices => "Devices",
            Pane::Queues => "Queues",
            Pane::Pool => "Pool",
            Pane::Sessions => "Sessions",
            Pane::Receipts => "Recent receipts",
            Pane::Fallbacks => "Fallbacks",
        }
    }

    /// What it says of a snapshot; rates are those since the one before.
    pub(super) fn rows(self, now: &Snapshot, before: Option<&Snapshot>) -> Rows {
        let mut rows = match self {
            Pane::Devices => devices(now, before),
            Pane::Queues => queues(now, before),
            Pane::Pool => pool(now),
            Pane::Sessions => sessions(now, before),
            Pane::Receipts => receipts(now),
            Pane::Fallbacks => fallbacks(now),
        };
        // Names and reasons come from elsewhere.
        let cells = rows.rows.iter_mut().flat_map(|row| &mut row.cells);
        for cell in cells {
            *cell = printable(cell).replace(['\n', '\t'], " ");
        }
        rows
    }
}

/// The time between two snapshots, by the runtime's clock; nothing where that did not move.
fn between(now: &Snapshot, before: Option<&Snapshot>) -> Option<Duration> {
    let before = before.filter(|before| before.process == now.process)?;
    let nanos = now
        .at_ns
        .checked_sub(before.at_ns)
        .filter(|nanos| *nanos > 0)?;
    Some(Duration::from_nanos(nanos))
}

fn unknown() -> String {
    "-".to_owned()
}

/// A device at the snapshot before, of the same runtime.
fn earlier<'a>(
    now: &Snapshot,
    before: Option<&'a Snapshot>,
    device: &DeviceSnapshot,
) -> Option<&'a DeviceSnapshot> {
    let before = before.filter(|before| before.process == now.process)?;
    before.devices.iter().find(|it| it.name == device.name)
}

fn busy(now: &Snapshot, before: Option<&Snapshot>, device: &DeviceSnapshot) -> Busy {
    let earlier = earlier(now, before, device).map_or(0, |it| it.rows);
    let waits = device.waiting as u64 + u64::from(device.turns.max(device.in_flight));
    let is_wrong = device.state != DeviceState::Ready;
    let of_late = device.rows.saturating_sub(earlier);
    (of_late, waits, is_wrong, device.rows)
}

fn devices(now: &Snapshot, before: Option<&Snapshot>) -> Rows {
    let time = between(now, before);
    let row = |device: &DeviceSnapshot| {
        let earlier = earlier(now, before, device);
        let since = time.zip(earlier).filter(|_| now.observed);
        let share = since
            // Times of different clocks have nothing to do with each other.
            .filter(|_| device.clock == now.clock)
            .map(|(time, earlier)| {
                let worked = device.busy_ns.saturating_sub(earlier.busy_ns) as f64;
                format!("{:.0}%", worked * 100.0 / time.as_nanos() as f64)
            });
        let rows = since.map(|(time, earlier)| {
            let rows = device.rows.saturating_sub(earlier.rows) as f64;
            rate(rows / time.as_secs_f64())
        });
        let resident = match device.memory {
            0 => unknown(),
            memory => format!("{} of {}", bytes(device.resident_bytes), bytes(memory)),
        };
        let cells = vec![
            device.name.clone(),
            device.kind.clone(),
            state(device),
            share.unwrap_or_else(unknown),
            rows.unwrap_or_else(unknown),
            match now.observed {
                true => grouped(device.parts),
                false => unknown(),
            },
            resident,
            grouped(device.times_lost),
            device.lost.clone().unwrap_or_default(),
        ];
        Row {
            cells,
            is_marked: device.state != DeviceState::Ready,
            busy: busy(now, before, device),
        }
    };
    Rows {
        head: vec![
            ("device", Align::Left),
            ("kind", Align::Left),
            ("state", Align::Left),
            ("busy", Align::Right),
            ("rows", Align::Right),
            ("batches", Align::Right),
            ("resident", Align::Right),
            ("losses", Align::Right),
            ("why", Align::Left),
        ],
        rows: now.devices.iter().map(row).collect(),
        empty: "none",
    }
}

fn state(device: &DeviceSnapshot) -> String {
    let name = device.state.name().replace('_', " ");
    match (device.rests_for_ns, device.failures) {
        (Some(nanos), _) => format!("{name} {}", duration(Duration::from_nanos(nanos))),
        (None, 0) => name,
        (None, failures) => format!("{name}, failed {failures}x"),
    }
}

fn queues(now: &Snapshot, before: Option<&Snapshot>) -> Rows {
    let row = |device: &DeviceSnapshot| {
        let filled = (device.turns.min(device.depth) * GAUGE).div_ceil(device.depth.max(1));
        let gauge = "█".repeat(filled as usize) + &"·".repeat((GAUGE - filled) as usize);
        let cells = vec![
            device.name.clone(),
            gauge,
            format!("{} of {}", device.turns, device.depth),
            grouped(device.waiting as u64),
            grouped(device.in_flight.into()),
        ];
        Row {
            busy: busy(now, before, device),
            ..Row::plain(cells)
        }
    };
    // The CPU has none: it works where it is called.
    let queued = now.devices.iter().filter(has_queue);
    Rows {
        head: vec![
            ("device", Align::Left),
            ("turns", Align::Left),
            ("taken", Align::Right),
            ("waiting", Align::Right),
            ("lists", Align::Right),
        ],
        rows: queued.map(row).collect(),
        empty: "no device has a queue",
    }
}

/// Whether a device works through a queue.
pub(super) fn has_queue(device: &&DeviceSnapshot) -> bool {
    device.kind != "cpu"
}

fn pool(now: &Snapshot) -> Rows {
    let pool = &now.pool;
    let row = |name: &str, bytes_held: u64| Row::plain(vec![name.to_owned(), bytes(bytes_held)]);
    let waiting = vec!["requests waiting".to_owned(), grouped(pool.waiting as u64)];
    let mut rows = vec![
        row("budget", pool.budget),
        row("reserve", pool.reserve),
        row("in use", pool.in_use),
        row("  beyond the reserve", pool.beyond),
        row("  exported", pool.exported),
        row("kept by threads", pool.cached),
        row("peak", pool.peak),
        Row::plain(waiting).marked(pool.waiting > 0),
    ];
    rows.extend(
        pool.holders
            .iter()
            .map(|(holder, bytes)| row(holder, *bytes)),
    );
    Rows {
        head: vec![("memory", Align::Left), ("", Align::Right)],
        rows,
        empty: "none",
    }
}

fn sessions(now: &Snapshot, before: Option<&Snapshot>) -> Rows {
    let time = between(now, before);
    let mut rows: Vec<Row> = Vec::new();
    for session in &now.sessions {
        // Two of one name cannot be told apart.
        let named = |snapshot: &Snapshot| {
            let mut found = snapshot
                .sessions
                .iter()
                .filter(|it| it.label == session.label);
            found
                .next()
                .filter(|_| found.next().is_none())
                .map(|it| it.batches)
        };
        let earlier = named(now).and(before.and_then(named));
        let each = time.zip(earlier).map(|(time, earlier)| {
            rate(session.batches.saturating_sub(earlier) as f64 / time.as_secs_f64())
        });
        let devices = session.devices.iter();
        let devices: Vec<String> = devices
            .map(|(name, part)| format!("{name}={part}"))
            .collect();
        let clock = session.device_clock.as_deref().unwrap_or_default();
        let cells = vec![
            session.label.clone(),
            session.weight.to_string(),
            match session.cancelled {
                true => "cancelled".to_owned(),
                false => session.priority.clone(),
            },
            grouped(session.batches),
            each.unwrap_or_else(unknown),
            session
                .host_time_ns
                .map_or_else(unknown, |nanos| time_by(nanos, &now.clock)),
            time_by(session.device_time_ns, clock),
            bytes(session.memory),
            bytes(session.memory_budget),
            devices.join(", "),
        ];
        rows.push(Row::plain(cells).marked(session.cancelled));
    }
    if now.sessions_open > now.sessions.len() {
        let more = now.sessions_open - now.sessions.len();
        rows.push(Row::plain(vec![format!("and {more} more")]));
    }
    Rows {
        head: vec![
            ("session", Align::Left),
            ("weight", Align::Right),
            ("priority", Align::Left),
            ("batches", Align::Right),
            ("rate", Align::Right),
            ("on CPU", Align::Right),
            ("on others", Align::Right),
            ("memory", Align::Right),
            ("budget", Align::Right),
            ("granted", Align::Left),
        ],
        rows,
        empty: "none",
    }
}

/// A time, with its clock where that is not the wall's.
fn time_by(nanos: u64, clock: &str) -> String {
    let time = duration(Duration::from_nanos(nanos));
    match clock {
        "virtual" => format!("{time} virtual"),
        _ => time,
    }
}

fn receipts(now: &Snapshot) -> Rows {
    // The newest is what somebody looks for.
    let rows = now.receipts.iter().rev().map(|receipt| {
        let predicted = receipt.predicted_ns.zip(receipt.predicted_clock.as_deref());
        let cells = vec![
            format!("{}.{}", receipt.kernel, receipt.batch),
            grouped(receipt.together),
            receipt.devices.join(" + "),
            grouped(receipt.rows_in),
            grouped(receipt.rows_out),
            time_by(receipt.taken_ns, &receipt.taken_clock),
            predicted.map_or_else(unknown, |(nanos, clock)| time_by(nanos, clock)),
            receipt.reasons.join("; "),
        ];
        Row::plain(cells).marked(receipt.retries > 0)
    });
    Rows {
        head: vec![
            ("batch", Align::Left),
            ("at once", Align::Right),
            ("device", Align::Left),
            ("rows in", Align::Right),
            ("out", Align::Right),
            ("took", Align::Right),
            ("predicted", Align::Right),
            ("reason", Align::Left),
        ],
        rows: rows.collect(),
        empty: match now.observed {
            true => "none so far",
            false => "nobody has receipts kept: Runtime::observe",
        },
    }
}

fn fallbacks(now: &Snapshot) -> Rows {
    let mut fallbacks: Vec<_> = now.fallbacks.iter().collect();
    fallbacks.sort_by_key(|fallback| std::cmp::Reverse(fallback.parts));
    let rows = fallbacks
        .into_iter()
        .map(|fallback| Row::plain(vec![grouped(fallback.parts), fallback.reason.clone()]));
    Rows {
        head: vec![
            ("parts", Align::Right),
            ("went elsewhere, since", Align::Left),
        ],
        rows: rows.collect(),
        empty: "nothing went elsewhere than it was meant to",
    }
}

/// The line above all panes, in parts, of which the first says of whom all this is.
pub(super) fn heading(now: &Snapshot) -> [String; 4] {
    [
        format!("process {}", now.process),
        counted(now.sessions_open as u64, "session"),
        counted(now.tickets, "ticket"),
        counted(now.executables as u64, "program"),
    ]
}
