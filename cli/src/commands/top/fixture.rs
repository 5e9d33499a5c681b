//! What tests of panes and recordings show.

use unlade::{
    DeviceSnapshot, DeviceState, FallbackSnapshot, PoolSnapshot, ReceiptSnapshot, SNAPSHOT_VERSION,
    SessionSnapshot, Snapshot,
};

fn device(name: &str, kind: &str) -> DeviceSnapshot {
    DeviceSnapshot {
        name: name.to_owned(),
        kind: kind.to_owned(),
        state: DeviceState::Ready,
        rests_for_ns: None,
        lost: None,
        failures: 0,
        times_lost: 0,
        in_flight: 0,
        turns: 0,
        waiting: 0,
        depth: 8,
        parts: 0,
        rows: 0,
        busy_ns: 0,
        clock: "wall".to_owned(),
        memory: 0,
        resident_bytes: 0,
        leaked_bytes: 0,
    }
}

fn session(label: &str, weight: u32, batches: u64) -> SessionSnapshot {
    SessionSnapshot {
        label: label.to_owned(),
        weight,
        priority: "normal".to_owned(),
        memory: 3_000_000,
        memory_budget: 64_000_000,
        batches,
        device_time_ns: batches * 1_000_000,
        device_clock: Some("wall".to_owned()),
        host_time_ns: Some(batches * 250_000),
        devices: Vec::new(),
        cancelled: false,
    }
}

/// Two snapshots, a second apart, of a runtime with some of everything.
pub(super) fn snapshots() -> (Snapshot, Snapshot) {
    let before = Snapshot {
        version: SNAPSHOT_VERSION,
        process: 4711,
        at_ns: 1_000_000_000,
        clock: "wall".to_owned(),
        observed: true,
        devices: vec![
            device("cpu", "cpu"),
            device("cuda:0", "gpu"),
            device("sim-dpu", "dpu"),
        ],
        pool: PoolSnapshot {
            reserve: 256_000_000,
            budget: 1_000_000_000,
            free: 200_000_000,
            cached: 6_000_000,
            in_use: 50_000_000,
            exported: 20_000_000,
            beyond: 0,
            peak: 90_000_000,
            waiting: 1,
            holders: vec![("query 17: in flight".to_owned(), 30_000_000)],
        },
        sessions: vec![session("query 17", 2, 100), session("runtime", 1, 0)],
        sessions_open: 2,
        tickets: 3,
        executables: 5,
        receipts: Vec::new(),
        fallbacks: Vec::new(),
    };
    let mut now = before.clone();
    now.at_ns += 1_000_000_000;
    let cpu = &mut now.devices[0];
    (cpu.parts, cpu.rows, cpu.busy_ns) = (40, 2_000_000, 1_500_000_000);
    let gpu = &mut now.devices[1];
    (gpu.parts, gpu.rows, gpu.busy_ns) = (60, 60_000_000, 250_000_000);
    (gpu.turns, gpu.waiting, gpu.in_flight) = (6, 12, 5);
    (gpu.memory, gpu.resident_bytes) = (80_000_000_000, 4_000_000_000);
    let card = &mut now.devices[2];
    card.state = DeviceState::Resting;
    card.rests_for_ns = Some(350_000_000);
    (card.failures, card.times_lost) = (2, 3);
    card.lost = Some("the card is gone:\u{1b}[2J all ones".to_owned());
    now.sessions[0].batches = 160;
    now.sessions[1].cancelled = true;
    now.sessions_open = 300;
    let receipt = |batch: u64, device: &str, reason: &str, retries: u32| ReceiptSnapshot {
        kernel: 7,
        batch,
        together: 1,
        devices: vec![device.to_owned()],
        reasons: vec![reason.to_owned()],
        rows_in: 65_536,
        rows_out: 1_234,
        predicted_ns: Some(90_000),
        predicted_clock: Some("wall".to_owned()),
        taken_ns: 120_000,
        taken_clock: "wall".to_owned(),
        retries,
    };
    now.receipts = vec![
        receipt(1, "cuda:0", "the fastest", 0),
        receipt(2, "cpu", "sim-dpu failed: the card is gone", 1),
    ];
    now.fallbacks = vec![
        FallbackSnapshot {
            reason: "cuda:0 lacks rem.f64".to_owned(),
            parts: 2,
        },
        FallbackSnapshot {
            reason: "sim-dpu is in quarantine".to_owned(),
            parts: 1_200,
        },
    ];
    (before, now)
}

/// The same of a runtime with a dozen devices, of which the last works most, and a score of sessions.
pub(super) fn crowd() -> (Snapshot, Snapshot) {
    let (mut before, mut now) = snapshots();
    for number in 1..10 {
        let idle = device(&format!("cuda:{number}"), "gpu");
        let mut worked = idle.clone();
        worked.rows = number * 1_000_000;
        (worked.turns, worked.waiting) = (number as u32 % 3, 0);
        before.devices.push(idle);
        now.devices.push(worked);
    }
    let busiest = now.devices.last_mut().expect("some were pushed");
    (busiest.rows, busiest.busy_ns, busiest.parts) = (90_000_000, 950_000_000, 90);
    (busiest.turns, busiest.waiting, busiest.in_flight) = (8, 3, 8);
    let sessions = (20..38).map(|number| session(&format!("query {number}"), 1, 10));
    now.sessions.extend(sessions);
    now.sessions_open = now.sessions.len();
    (before, now)
}
