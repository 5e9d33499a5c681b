//! Schedules made up, whose replays are known.

use std::time::Duration;

use unlade_hal::ClockKind;

use super::*;
use crate::placement::{Calibration, HostBuffer, Placer, Policy, Profile, Work};
use crate::recording::{
    RECORDING_VERSION, RecordedBatch, RecordedKernel, RecordedRun, RecordedSession,
};
use crate::scheduler::Priority;

/// Nothing measured yet.
fn nothing() -> Calibration {
    Placer::new(Vec::new(), Policy::default()).calibration()
}

/// Microseconds of each part of a batch on a device behind a queue.
#[derive(Clone, Copy)]
struct Parts {
    host: u64,
    copy_in: u64,
    compute: u64,
    copy_out: u64,
}

const DEVICE_BOUND: Parts = Parts {
    host: 20,
    copy_in: 100,
    compute: 1000,
    copy_out: 50,
};

const LINK_BOUND: Parts = Parts {
    host: 20,
    copy_in: 1000,
    compute: 100,
    copy_out: 50,
};

fn device(name: &str, kind: &str, profile: Profile) -> RecordedDevice {
    RecordedDevice {
        name: name.into(),
        kind: kind.into(),
        clock: ClockKind::Wall,
        hardware: format!("{name}, made up").into(),
        profile,
        depth: 4,
        bytes: None,
    }
}

/// A runtime with a CPU and a GPU, of which `device` was asked for if it is named.
fn recording(asked: Option<&str>, batches: Vec<RecordedBatch>) -> Recording {
    let session = |session, label: &str, weight| RecordedSession {
        session,
        label: label.into(),
        weight,
        priority: Priority::Normal,
    };
    Recording {
        run: RecordedRun {
            version: RECORDING_VERSION,
            threads: 2,
            lists_ahead: 2,
            device: asked.map(Into::into),
            objective: Objective::Latency,
            left_out: 0,
            known: nothing(),
            measured: nothing(),
        },
        devices: vec![
            device("cpu", "cpu", Profile::cpu()),
            device("gpu", "gpu", Profile::gpu()),
        ],
        sessions: vec![session(0, "one", 1), session(1, "other", 3)],
        kernels: vec![RecordedKernel {
            kernel: 0,
            cannot: Vec::new(),
        }],
        batches,
    }
}

/// A batch on the GPU that came at this microsecond, and began at once.
fn on_gpu(number: u64, came: u64, parts: Parts) -> RecordedBatch {
    let micros = |micros: u64| micros * 1000;
    let on_device = parts.copy_in + parts.compute + parts.copy_out;
    let submitted = came + parts.host;
    RecordedBatch {
        batch: number,
        together: 1,
        kernel: 0,
        session: 0,
        stream: Some(0),
        work: Work {
            rows: 1 << 20,
            bytes_in: 8 << 20,
            ..Work::default()
        },
        device: "gpu".into(),
        retries: 0,
        arrived_ns: micros(came),
        read_ns: 0,
        began_ns: micros(came),
        done_ns: micros(submitted + on_device),
        consumed_ns: 0,
        staged_ns: 0,
        gathered_ns: 0,
        turn_ns: 0,
        probe_ns: 0,
        submitted_ns: Some(micros(submitted)),
        left_ns: Some(micros(submitted + on_device)),
        queued_ns: 0,
        copy_in_ns: micros(parts.copy_in),
        compute_ns: micros(parts.compute),
        copy_out_ns: micros(parts.copy_out),
    }
}

/// A stream of so many batches on a GPU, one behind the other's slowest part.
fn stream(count: u64, parts: Parts) -> Recording {
    let pace = parts.copy_in.max(parts.compute);
    let batches = (0..count).map(|number| on_gpu(number, number * pace, parts));
    recording(Some("gpu"), batches.collect())
}

fn again(recording: &Recording, on: &str) -> Outcome {
    let choices: Vec<DeviceChoice> = on.split(',').map(|text| text.parse().unwrap()).collect();
    Replay::of(recording).on(&choices).unwrap().run().unwrap()
}

fn micros(outcome: &Outcome) -> u128 {
    outcome.makespan.as_micros()
}

#[test]
fn the_parts_of_batches_overlap_as_on_the_device() {
    let recording = stream(64, DEVICE_BOUND);
    let replayed = Replay::of(&recording).run().unwrap();
    // The first one's way there, what all compute, the last one's way back: nothing else waits.
    assert_eq!(micros(&replayed), 20 + 100 + 64 * 1000 + 50);
    let recorded = Outcome::recorded(&recording);
    assert_eq!(micros(&recorded), 63 * 1000 + 1170);
    assert_eq!((replayed.batches, replayed.rows), (64, 64 << 20));
    let gpu = |outcome: &Outcome| {
        let mut devices = outcome.devices.iter();
        devices.find(|each| &*each.device == "gpu").unwrap().clone()
    };
    for outcome in [&recorded, &replayed] {
        assert!((gpu(outcome).busy.unwrap() - 64.0 / 64.17).abs() < 1e-3);
    }
}

#[test]
fn two_devices_nearly_halve_what_the_device_bounds() {
    let recording = stream(64, DEVICE_BOUND);
    let (one, two) = (again(&recording, "gpu"), again(&recording, "gpu*2"));
    let ratio = two.makespan.as_secs_f64() / one.makespan.as_secs_f64();
    // Beside its half each is measured with slices of what the other has.
    assert!((0.5..0.55).contains(&ratio), "{ratio}");
    let shares: Vec<u64> = two.devices.iter().map(|device| device.batches).collect();
    assert!(
        shares.iter().all(|share| (30..=34).contains(share)),
        "{shares:?}"
    );
    assert_eq!(&*two.devices[1].device, "gpu#2");
}

#[test]
fn two_devices_on_one_link_do_not_help_what_the_link_bounds() {
    let recording = stream(64, LINK_BOUND);
    let one = again(&recording, "gpu").makespan.as_secs_f64();
    let ratio = |on: &str| again(&recording, on).makespan.as_secs_f64() / one;
    assert!(
        (0.98..=1.02).contains(&ratio("gpu@7*2")),
        "{}",
        ratio("gpu@7*2")
    );
    assert!((0.5..0.55).contains(&ratio("gpu*2")), "{}", ratio("gpu*2"));
    assert_eq!(ratio("gpu@1,gpu@2"), ratio("gpu*2"), "links of their own");
}

#[test]
fn a_replay_is_the_same_each_time() {
    let mut recording = stream(200, DEVICE_BOUND);
    for (position, batch) in recording.batches.iter_mut().enumerate() {
        batch.session = position as u64 % 2;
        batch.stream = Some(position as u64 % 3);
        batch.work.rows >>= position % 5;
    }
    let run = || again(&recording, "gpu*3,cpu,profile:gpu");
    assert_eq!(run(), run());
    assert!(run().devices.iter().filter(|it| it.batches > 0).count() > 1);
}

#[test]
fn who_takes_results_and_who_reads_bound_a_stream_too() {
    let mut recording = stream(64, DEVICE_BOUND);
    for batch in &mut recording.batches {
        batch.consumed_ns = 3_000_000;
    }
    let slow = again(&recording, "gpu*4");
    // The last one is read once there is room, and takes what it takes.
    let room = 3 * (64 - 1 - window(4));
    let millis = micros(&slow) / 1000;
    assert!(
        (room + 2..room + 5).contains(&millis),
        "{millis} ms, and {room} ms"
    );
    for batch in &mut recording.batches {
        (batch.consumed_ns, batch.read_ns) = (0, 2_000_000);
    }
    let read = micros(&again(&recording, "gpu*4"));
    assert!((64 * 2000 + 1170..65 * 2000).contains(&read), "{read} us");
}

/// Batches that a stream on two threads and so many GPUs is ahead.
fn window(gpus: u128) -> u128 {
    (2 + gpus * 2) * crate::stream::AHEAD as u128
}

#[test]
fn every_batch_ends_whoever_reads_and_however_few_there_are() {
    for threads in 1..4 {
        for streams in 1..4 {
            let mut recording = stream(60, DEVICE_BOUND);
            recording.run.threads = threads;
            for batch in &mut recording.batches {
                batch.stream = Some(batch.batch % streams);
                // Whoever takes results is away while others read.
                (batch.read_ns, batch.consumed_ns) = (700_000, 900_000);
            }
            for on in ["gpu", "gpu*2", "cpu", "cpu,gpu", "profile:gpu"] {
                assert_eq!(
                    again(&recording, on).batches,
                    60,
                    "{threads}, {streams}, {on}"
                );
            }
        }
    }
}

#[test]
fn batches_by_themselves_come_when_they_came_and_wait_for_each_other() {
    let mut batches: Vec<RecordedBatch> = (0..40)
        .map(|number| on_gpu(number, 0, DEVICE_BOUND))
        .collect();
    for batch in &mut batches {
        batch.stream = None;
        batch.session = batch.batch % 2;
    }
    let recording = recording(Some("gpu"), batches);
    let replayed = Replay::of(&recording).run().unwrap();
    assert_eq!(micros(&replayed), 120 + 40 * 1000 + 50);
    let sessions: Vec<(&str, u64)> = replayed
        .sessions
        .iter()
        .map(|it| (&*it.session, it.batches))
        .collect();
    assert_eq!(sessions, [("one", 20), ("other", 20)]);
    // The heavier one has three turns for each of the other's.
    let [light, heavy] = [0, 1].map(|it| replayed.sessions[it].p50);
    assert!(light > heavy.mul_f64(1.7), "{light:?}, {heavy:?}");
    assert_eq!(replayed.devices[0].device.as_ref(), "gpu");
    assert!(replayed.devices[0].wait > Duration::from_millis(3));
    // Work of a queue does not overlap, and waiting is told.
    let of = |queue: &str| {
        let events = replayed.events.iter().filter(move |it| &*it.queue == queue);
        events.cloned().collect::<Vec<_>>()
    };
    let computed = of("compute");
    assert_eq!(computed.len(), 40);
    assert!(
        computed
            .windows(2)
            .all(|two| two[0].end_ns() <= two[1].start_ns)
    );
    assert!(replayed.events.iter().any(|it| !it.activity.is_work()));
}

#[test]
fn a_cpu_has_a_lane_for_each_thread() {
    let mut batches: Vec<RecordedBatch> = (0..32)
        .map(|number| on_gpu(number, 0, DEVICE_BOUND))
        .collect();
    for batch in &mut batches {
        batch.device = "cpu".into();
        (batch.submitted_ns, batch.left_ns) = (None, None);
        (batch.copy_in_ns, batch.copy_out_ns) = (0, 0);
        batch.done_ns = batch.began_ns + 1_000_000;
    }
    let recording = recording(Some("cpu"), batches);
    let replayed = Replay::of(&recording).run().unwrap();
    // Two threads: who takes the results, and a helper.
    assert_eq!(micros(&replayed), 16 * 1000);
    assert!((replayed.devices[0].busy.unwrap() - 1.0).abs() < 1e-9);
}

#[test]
fn what_is_placed_as_recorded_stays() {
    let recording = stream(32, DEVICE_BOUND);
    let on = |anew| {
        let choices = ["cpu".parse().unwrap(), "gpu*2".parse().unwrap()];
        let replay = Replay::of(&recording).on(&choices).unwrap();
        replay.places_anew(anew).run().unwrap()
    };
    assert_eq!(on(false).devices[0].batches, 0, "on the CPU");
    assert_eq!(on(false).batches, 32);
    // By what is known, the CPU computes what is but read faster than a link moves it.
    assert!(on(true).devices[0].batches > 0);
}

#[test]
fn what_cannot_be_replayed_is_said() {
    let recording = stream(2, DEVICE_BOUND);
    let on = |text: &str| -> Result<Outcome, ReplayError> {
        let choices: Result<Vec<DeviceChoice>, _> = text.split(',').map(str::parse).collect();
        Replay::of(&recording).on(&choices?)?.run()
    };
    for (text, words) in [
        ("tpu", "there are: cpu, gpu, and by their profiles alone"),
        ("profile:tpu", "no device `profile:tpu`"),
        ("gpu*0", "a count is 1 to 64"),
        ("gpu*many", "a count is 1 to 64"),
        ("gpu@x", "a link is a number"),
        ("*2", "it names no device"),
        ("", "it names no device"),
        ("gpu*40,cpu*40", "80 devices are more than the 64"),
    ] {
        let error = on(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let mut lacking = recording.clone();
    lacking.kernels[0].cannot = vec!["cpu".into()];
    let cpu = ["cpu".parse().unwrap()];
    let error = Replay::of(&lacking).on(&cpu).unwrap().run().unwrap_err();
    assert!(
        error.to_string().contains("add one that it ran on, `gpu`"),
        "{error}"
    );
    let mut clocks = recording.clone();
    clocks.devices[0].clock = ClockKind::Virtual;
    let error = Replay::of(&clocks).on(&cpu).unwrap().run().unwrap_err();
    assert!(error.to_string().contains("different clocks"), "{error}");
}

#[test]
fn a_recording_is_read_as_it_was_written() {
    let mut recording = stream(3, DEVICE_BOUND);
    recording.batches[1].stream = None;
    recording.devices[1].profile.link = Some(crate::placement::LinkId(3));
    let mut file = Vec::new();
    recording.write(&mut file).unwrap();
    assert_eq!(Recording::read(&mut &file[..]).unwrap(), recording);
    // Of any line but the last, half is no line.
    let text = String::from_utf8(file).unwrap();
    for end in 0..text.len() - 1 {
        assert!(
            Recording::read(&mut &text.as_bytes()[..end]).is_err(),
            "{end} bytes"
        );
    }
}

#[test]
fn what_cannot_have_been_is_no_recording() {
    type Spoil = fn(&mut Recording);
    let spoilt = |spoil: Spoil| {
        let mut recording = stream(3, DEVICE_BOUND);
        spoil(&mut recording);
        let mut file = Vec::new();
        recording.write(&mut file).unwrap();
        Recording::read(&mut &file[..]).unwrap_err().to_string()
    };
    let cases: [(Spoil, &str); 9] = [
        (|it| it.batches[1].kernel = 9, "there is no kernel 9"),
        (|it| it.batches[1].session = 9, "there is no session 9"),
        (
            |it| it.batches[1].device = "tpu".into(),
            "there is no device `tpu`",
        ),
        (
            |it| it.batches[1].compute_ns = u64::MAX,
            "no time is longer",
        ),
        (
            |it| it.batches[1].work.cost_per_row = -1.0,
            "which is no cost",
        ),
        (|it| it.devices[1].profile.read = -1.0, "`gpu` does nothing"),
        (
            |it| it.devices[0].name = "gpu".into(),
            "a second device `gpu`",
        ),
        (
            |it| {
                it.batches[1].work.buffer = HostBuffer::Resident {
                    on: crate::placement::DeviceIndex(2),
                    compacts: false,
                }
            },
            "there is no device 2",
        ),
        (|it| it.run.version = 2, "of version 2"),
    ];
    for (spoil, words) in cases {
        let error = spoilt(spoil);
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn of_a_damaged_line_one_number_is_told() {
    let mut file = Vec::new();
    stream(3, DEVICE_BOUND).write(&mut file).unwrap();
    let text = String::from_utf8(file).unwrap();
    let damaged = |line: usize| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines[line - 1] = "{\"record\":oh}";
        let file = lines.join("\n");
        Recording::read(&mut file.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(damaged(5), "line 5: expected value in column 11");
    let first = damaged(1);
    assert!(first.contains("(expected value in column 11)"), "{first}");
}

#[test]
fn what_devices_have_no_part_in_is_what_is_left_without_their_time() {
    let bound = |recording: &Recording| {
        let free = Replay::of(recording).at_no_cost().run().unwrap();
        assert_eq!(free.batches, 64);
        assert!(free.devices.iter().all(|device| device.busy == Some(0.0)));
        micros(&free)
    };
    let mut recording = stream(64, DEVICE_BOUND);
    assert_eq!(bound(&recording), 0, "all of it is the device's");
    // One reads at a time, and one takes.
    recording.batches[0].arrived_ns = 3_000_000;
    for batch in &mut recording.batches {
        batch.read_ns = 3_000_000;
    }
    assert_eq!(bound(&recording), 64 * 3000);
    for batch in &mut recording.batches {
        batch.consumed_ns = 5_000_000;
    }
    // Reading is as many batches ahead as a stream may hold, and no more.
    let ahead = 4 * crate::stream::AHEAD as u128;
    let left = 64 - ahead..64;
    assert!(left.contains(&(bound(&recording) / 5000)));
    // What is handed over comes when it came.
    let mut alone = stream(64, DEVICE_BOUND);
    for batch in &mut alone.batches {
        batch.stream = None;
    }
    assert_eq!(bound(&alone), 63 * 1000);
}

/// A stream on a device of each clock; the one after the other has every second batch.
fn of_two_clocks() -> Recording {
    let mut recording = stream(64, DEVICE_BOUND);
    recording.devices[1].clock = ClockKind::Virtual;
    for (number, batch) in recording.batches.iter_mut().enumerate() {
        if number % 2 == 0 {
            batch.device = "cpu".into();
            (batch.submitted_ns, batch.left_ns) = (None, None);
        }
    }
    recording
}

#[test]
fn what_was_recorded_by_two_clocks_is_replayed_by_the_walls() {
    let recording = of_two_clocks();
    let error = Replay::of(&recording).run().unwrap_err().to_string();
    assert!(
        error.contains("profile:cpu") && error.contains("--device"),
        "{error}"
    );
    let on = |devices: &str| {
        let devices = devices.split(',').map(|name| name.parse().unwrap());
        let devices: Vec<DeviceChoice> = devices.collect();
        Replay::of(&recording).on(&devices).unwrap().run()
    };
    for devices in ["cpu", "profile:gpu", "profile:cpu,cpu"] {
        let outcome = on(devices).unwrap();
        assert_eq!((outcome.clock, outcome.batches), (ClockKind::Wall, 64));
    }
    for devices in ["gpu", "cpu,gpu", "gpu,profile:gpu"] {
        let refused = on(devices).unwrap_err();
        assert!(matches!(refused, ReplayError::Clocks { .. }), "{devices}");
    }
    // As it was recorded: from the first to the last, by the runtime's clock.
    let recorded = Outcome::recorded(&recording);
    assert_eq!(recorded.clock, ClockKind::Wall);
    let last = recording.batches.iter().map(|batch| batch.done_ns).max();
    let first = &recording.batches[0];
    let began = first.arrived_ns - first.read_ns;
    let wanted = Duration::from_nanos(last.unwrap() - began);
    assert_eq!(recorded.makespan, wanted);
    // What a device with another clock says of itself is by that, and no part of the makespan.
    let devices = recorded.devices.iter();
    let told: Vec<_> = devices.map(|it| (it.clock, it.busy.is_some())).collect();
    assert_eq!(told, [(ClockKind::Wall, true), (ClockKind::Virtual, false)]);
}

#[test]
fn waits_by_another_clock_than_the_devices_are_not_counted() {
    let mut recording = stream(4, DEVICE_BOUND);
    for batch in &mut recording.batches {
        (batch.turn_ns, batch.queued_ns) = (9_000_000, 1_000);
    }
    let wait = |recording: &Recording| Outcome::recorded(recording).devices[1].wait;
    assert_eq!(wait(&recording), Duration::from_nanos(9_001_000));
    recording.devices[1].clock = ClockKind::Virtual;
    assert_eq!(wait(&recording), Duration::from_nanos(1_000));
}
