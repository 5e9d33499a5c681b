//! `run --record`, `replay`, and docs/REPLAY.md: each has what the other says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::Place;
use crate::top::Terminal;

/// Records a run on a device of ten batches of a hundred rows.
fn record(place: &Place, device: &str) {
    place.table("in.parquet", 0, 1000);
    let query = [
        "run",
        "in.parquet",
        "--where",
        "n % 3 = 0",
        "--batch-rows",
        "100",
    ];
    let record = ["--device", device, "--record", "r.jsonl", "-o", "out.arrow"];
    place.run(&[&query[..], &record].concat()).success();
}

fn lines(place: &Place) -> Vec<Value> {
    let text = std::fs::read_to_string(place.path("r.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn replayed(place: &Place, more: &[&str]) -> Value {
    let text = place.run(&[&["replay", "r.jsonl", "--json"], more].concat());
    serde_json::from_str(&text.success()).unwrap()
}

#[test]
fn what_was_recorded_runs_again_on_as_many_devices_as_are_asked_for() {
    for device in ["cpu", "sim"] {
        let place = Place::new();
        record(&place, device);
        let two = format!("{device}*2");
        let document = replayed(&place, &["--device", &two, "--timeline", "t.svg"]);
        for outcome in ["recorded", "again", "other"] {
            let outcome = &document[outcome];
            assert_eq!(
                (&outcome["batches"], &outcome["rows"]),
                (&10.into(), &1000.into())
            );
            assert!(outcome["makespan_ns"].as_u64().unwrap() > 0);
            assert_eq!(outcome["sessions"][0]["session"], "runtime");
        }
        let names: Vec<&str> = document["other"]["devices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|device| device["device"].as_str().unwrap())
            .collect();
        assert_eq!(names, [device.to_owned(), format!("{device}#2")]);
        let makespan = |name: &str| document[name]["makespan_ns"].as_u64().unwrap();
        assert!(makespan("other") <= makespan("again"), "{document}");
        // The same again, to the letter.
        assert_eq!(document, replayed(&place, &["--device", &two]));
        let picture = std::fs::read_to_string(place.path("t.svg")).unwrap();
        assert!(picture.contains("virtual clock") && picture.contains("compute"));
    }
}

#[test]
fn what_a_replay_came_to_stands_beside_what_was_recorded() {
    let place = Place::new();
    record(&place, "sim");
    let plain = place.run(&["replay", "r.jsonl"]).success();
    for words in [
        "makespan",
        "runtime: p99",
        "The replay on the recorded devices takes",
        "recorded were",
        "from the first batch to the last result",
        "a clock of the device's own",
        "wait there for one another",
    ] {
        assert!(plain.contains(words), "`{words}` is missing in: {plain}");
    }
    assert!(!plain.contains("what if"), "{plain}");
    let other = place.run(&["replay", "r.jsonl", "--device", "profile:gpu*2"]);
    let other = other.success();
    assert!(
        other.contains("gpu#2") && other.contains("times as long"),
        "{other}"
    );
}

/// The replay of a recorded run of which every batch was changed.
fn of_changed(place: &Place, change: impl Fn(&mut Value), more: &[&str]) -> String {
    let mut lines = lines(place);
    let batches = lines.iter_mut().filter(|line| line["record"] == "batch");
    batches.for_each(change);
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(place.path("changed.jsonl"), lines.join("\n")).unwrap();
    let replay = [&["replay", "changed.jsonl"], more].concat();
    place.run(&replay).success()
}

#[test]
fn what_was_recorded_by_two_clocks_is_replayed_by_the_walls() {
    let place = Place::new();
    record(&place, "sim");
    // One batch more, of which the CPU had been in the device's place.
    let mut lines = lines(&place);
    let at = lines.iter().position(|line| line["record"] == "batch");
    let mut elsewhere = lines[at.unwrap()].clone();
    elsewhere["device"] = "cpu".into();
    elsewhere["submitted_ns"] = Value::Null;
    elsewhere["left_ns"] = Value::Null;
    lines.insert(at.unwrap(), elsewhere);
    let end = lines.last_mut().unwrap();
    end["batches"] = (end["batches"].as_u64().unwrap() + 1).into();
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(place.path("changed.jsonl"), lines.join("\n")).unwrap();
    let changed = ["replay", "changed.jsonl"];
    let told = place
        .run(&[&changed[..], &["--device", "profile:cpu"]].concat())
        .success();
    // As on one line: a terminal's width breaks it.
    let words: Vec<&str> = told.split_whitespace().collect();
    let words = words.join(" ");
    for said in [
        "recorded what if",
        "clock wall wall",
        "It was recorded on devices of two clocks",
        "What was asked for takes",
        ", by the wall clock.",
    ] {
        assert!(words.contains(said), "`{said}` is missing in: {told}");
    }
    assert!(!words.contains("times as long"), "{told}");
    // What the simulated device says of itself is by its own clock, and no part of the makespan.
    let sim = told.lines().find(|line| line.contains(" sim ")).unwrap();
    assert!(
        sim.trim_end().ends_with(" virtual") && sim.contains(" -  "),
        "{sim}"
    );
    let json = [&changed[..], &["--device", "cpu", "--json"]].concat();
    let json: Value = serde_json::from_str(&place.run(&json).success()).unwrap();
    assert_eq!(
        (&json["again"], &json["other"]["clock"]),
        (&Value::Null, &"wall".into())
    );
    place.run(&changed).failure(
        2,
        &[
            "timed by different clocks",
            "profile:cpu and profile:gpu",
            "--device",
        ],
    );
}

#[test]
fn what_a_replays_time_is_owed_to_is_said() {
    let place = Place::new();
    record(&place, "cpu");
    const SECOND: u64 = 1_000_000_000;
    // Of ten batches of a hundred rows, each is read for a second.
    let slow_to_come = |batch: &mut Value| batch["read_ns"] = SECOND.into();
    let limited = "It is limited by how fast batches come and results are taken, not by devices";
    for device in ["cpu", "profile:gpu", "cpu,profile:gpu*2"] {
        let text = of_changed(&place, slow_to_come, &["--device", device]);
        for words in [
            limited,
            "with devices that take no time it would take 10.0 s",
            "Rows come at 100 /s",
            "busy for <1% at most, could do",
        ] {
            assert!(text.contains(words), "`{words}` is missing in: {text}");
        }
    }
    let document = of_changed(&place, slow_to_come, &["--json"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert!(document["at_no_cost"]["makespan_ns"].as_u64().unwrap() >= 10 * SECOND);
    // Each is computed for a second; another device takes next to nothing, and has threads of its own.
    let slow_to_compute = |batch: &mut Value| {
        let began = batch["began_ns"].as_u64().unwrap();
        batch["compute_ns"] = SECOND.into();
        batch["done_ns"] = (began + SECOND).into();
    };
    let threads = "Every device behind a queue comes with 4 threads";
    let text = of_changed(&place, slow_to_compute, &[]);
    assert!(
        text.contains("With devices that take no time, reading"),
        "{text}"
    );
    assert!(!text.contains(limited) && !text.contains(threads), "{text}");
    let text = of_changed(&place, slow_to_compute, &["--device", "profile:gpu"]);
    assert!(text.contains(threads), "{text}");
    // Each waited for long, as in the replay none does.
    let late = |batch: &mut Value| {
        batch["arrived_ns"] = 0.into();
        for time in ["began_ns", "done_ns"] {
            batch[time] = (batch[time].as_u64().unwrap() + 100 * SECOND).into();
        }
    };
    let text = of_changed(&place, late, &[]);
    for words in ["half of the batches of `runtime` take", "recorded were 100"] {
        assert!(text.contains(words), "`{words}` is missing in: {text}");
    }
}

#[test]
fn on_a_terminal_nothing_is_wider_than_that() {
    let place = Place::new();
    record(&place, "sim");
    let words = ["replay", "r.jsonl", "--device", "profile:gpu*2"];
    let terminal = Terminal::of_width(50, place.command(&words));
    terminal.shows("another"); // far behind the tables
    let text = terminal.text();
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest.unwrap() <= 50, "{text}");
    // A line for each device and a rule: no cell goes on in the next line.
    let table = text.split("device").nth(1).unwrap();
    let table = table.split("The replay").next().unwrap();
    assert_eq!(table.trim().lines().count(), 2 + 4, "{text}");
}

#[test]
fn every_field_is_described_and_every_description_is_of_a_field() {
    let guide = include_str!("../../../docs/REPLAY.md");
    let rows = guide.lines().filter(|line| line.starts_with("| `"));
    let described: BTreeSet<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    let place = Place::new();
    record(&place, "sim");
    let lines = lines(&place);
    let fields: BTreeSet<String> = lines
        .iter()
        .flat_map(|line| {
            let record = line["record"].as_str().unwrap();
            let fields = line.as_object().unwrap().keys();
            fields
                .filter(|field| *field != "record")
                .map(move |field| format!("{record}.{field}"))
        })
        .collect();
    assert_eq!(
        fields.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        described
    );
    let version = format!("now {},", lines[0]["version"]);
    assert!(guide.contains(&version), "{version}");
}

#[test]
fn a_recording_has_what_the_receipts_have() {
    for device in ["cpu", "sim"] {
        let place = Place::new();
        place.table("in.parquet", 0, 1000);
        let query = [
            "run",
            "in.parquet",
            "--where",
            "n < 500",
            "--batch-rows",
            "100",
        ];
        let reports = [
            "--device",
            device,
            "--record",
            "r.jsonl",
            "--receipts",
            "r.json",
        ];
        place
            .run(&[&query[..], &reports, &["-o", "out.arrow"]].concat())
            .success();
        let text = std::fs::read_to_string(place.path("r.json")).unwrap();
        let receipts: Value = serde_json::from_str(&text).unwrap();
        let receipts = receipts["receipts"].as_array().unwrap();
        let lines = lines(&place);
        let batches: Vec<&Value> = lines
            .iter()
            .filter(|line| line["record"] == "batch")
            .collect();
        let number = |value: &Value| value.as_u64().unwrap();
        let recorded = |field: &str| batches.iter().map(|it| number(&it[field])).sum::<u64>();
        let received = |field: &str| {
            let parts = receipts
                .iter()
                .flat_map(|it| it["parts"].as_array().unwrap());
            parts.map(|part| number(&part[field])).sum::<u64>()
        };
        for field in ["copy_in_ns", "compute_ns", "copy_out_ns", "queued_ns"] {
            assert_eq!(recorded(field), received(field), "{field} on {device}");
        }
        assert_eq!(recorded("together"), receipts.len() as u64);
        for batch in batches {
            assert_eq!(batch["device"], device);
            let [arrived, began, done] = ["arrived_ns", "began_ns", "done_ns"];
            let time = |field: &str| number(&batch[field]);
            assert!(
                time(arrived) <= time(began) && time(began) <= time(done),
                "{batch}"
            );
            assert_eq!(batch["submitted_ns"].is_u64(), device == "sim");
        }
    }
}

#[test]
fn what_was_measured_by_another_release_is_passed_over_and_said_to_be() {
    let place = Place::new();
    record(&place, "cpu");
    let said = "is of another release";
    let now = place.run(&["replay", "r.jsonl"]).success();
    assert!(!now.contains(said), "{now}");
    let mut lines = lines(&place);
    for known in ["known", "measured"] {
        lines[0][known] = serde_json::json!({ "version": 1, "devices": [{ "speed": 9 }] });
    }
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(place.path("r.jsonl"), lines.join("\n")).unwrap();
    let then = place.run(&["replay", "r.jsonl"]).success();
    assert!(then.contains(said) && then.contains("10"), "{then}");
}

#[test]
fn what_is_no_whole_recording_is_said_to_be_none() {
    let place = Place::new();
    record(&place, "cpu");
    let whole = std::fs::read_to_string(place.path("r.jsonl")).unwrap();
    let all: Vec<&str> = whole.lines().collect();
    let joined = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let without_batches: Vec<&str> = all
        .iter()
        .copied()
        .filter(|line| !line.contains("\"record\":\"batch\""))
        .map(|line| {
            if line.contains("\"end\"") {
                r#"{"record":"end","batches":0}"#
            } else {
                line
            }
        })
        .collect();
    let cases: BTreeMap<&str, (String, &str)> = BTreeMap::from([
        (
            "version",
            (
                whole.replacen("\"version\":1", "\"version\":7", 1),
                "of version 7, and this is made for 1",
            ),
        ),
        (
            "cut off",
            (joined(&all[..all.len() - 1]), "is cut off after 10 batches"),
        ),
        (
            "half a line",
            (
                whole[..whole.len() - 9].to_owned(),
                "is cut off after 10 batches",
            ),
        ),
        (
            "half a batch",
            (
                whole[..whole.find("\"batch\":5").unwrap()].to_owned(),
                "is cut off after 5 batches",
            ),
        ),
        (
            "half of the first line",
            (whole[..60].to_owned(), "is cut off after 0 batches"),
        ),
        (
            "half a line and another",
            (whole.replacen("}\n", "\n", 1), "is no recording"),
        ),
        (
            "no recording",
            ("{\"receipts\": []}".to_owned(), "is no recording"),
        ),
        ("nothing", (String::new(), "is no recording")),
        (
            "no batches",
            (joined(&without_batches), "there are no batches in it"),
        ),
        (
            "a strange line",
            (
                whole.replacen("\"record\":\"session\"", "\"record\":\"guest\"", 1),
                "guest",
            ),
        ),
        (
            "another device",
            (
                whole.replace(
                    "\"device\":\"cpu\",\"retries\"",
                    "\"device\":\"tpu\",\"retries\"",
                ),
                "there is no device `tpu`",
            ),
        ),
    ]);
    for (name, (text, words)) in cases {
        std::fs::write(place.path("bad.jsonl"), text).unwrap();
        let ran = place.run(&["replay", "bad.jsonl"]);
        let said = ran.failure(3, &["bad.jsonl", words]);
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
    place
        .run(&["replay", "absent.jsonl"])
        .failure(3, &["absent.jsonl: cannot read"]);
    place.run(&["replay", "."]).failure(3, &["it is no file"]);
    let said = ["in.parquet: is no recording", "unlade run --record FILE"];
    place.run(&["replay", "in.parquet"]).failure(3, &said);
    place
        .run(&["replay", "r.jsonl", "--device", "cuda:0*2"])
        .failure(
            2,
            &["no device `cuda:0`", "there are: cpu, sim", "profile:gpu"],
        );
    place
        .run(&["replay", "r.jsonl", "--device", "cpu*0"])
        .failure(2, &["--device: `cpu*0`", "a count is 1 to 64"]);
    place
        .run(&["replay", "r.jsonl", "--device", "sim"])
        .failure(2, &["timed by different clocks"]);
}
