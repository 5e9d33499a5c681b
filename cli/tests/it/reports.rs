//! Plans, receipts, traces, pictures, and the commands that only tell.

use std::collections::HashMap;

use crate::support::Place;
use serde_json::Value;

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(place.path(name)).unwrap()).unwrap()
}

#[test]
fn receipts_add_up() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    for device in ["cpu", "sim"] {
        place
            .run(&[
                "run",
                "in.parquet",
                "--where",
                "n % 3 = 0",
                "--batch-rows",
                "100",
                "--device",
                device,
                "--receipts",
                "r.json",
                "-o",
                "out.arrow",
            ])
            .success();
        let document = json(&place, "r.json");
        assert_eq!(document["version"], 4);
        let receipts = document["receipts"].as_array().unwrap();
        assert_eq!(receipts.len(), 10);
        for (field, total) in [("rows_in", 1000), ("rows_out", 334)] {
            let sum: u64 = receipts
                .iter()
                .map(|receipt| receipt[field].as_u64().unwrap())
                .sum();
            assert_eq!(sum, total, "{field} on {device}");
            assert_eq!(document["totals"][field], total);
        }
        for receipt in receipts {
            assert_eq!(receipt["parts"][0]["device"], device);
            assert!(receipt["together"].as_u64().unwrap() >= 1);
            assert!(receipt["host_cpu_ns"].as_u64().unwrap() > 0);
            assert!(receipt["predicted_ns"].as_u64().unwrap() > 0);
            // A simulator has a clock of its own; what a person waits for is on the wall.
            let own = if device == "sim" { "virtual" } else { "wall" };
            assert_eq!(receipt["taken_clock"], "wall");
            assert_eq!(receipt["predicted_clock"], own);
            assert_eq!(receipt["parts"][0]["clock"], own);
            assert!(receipt.get("clock").is_none(), "which of them?");
        }
    }
}

#[test]
fn more_is_said_when_asked() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    let query = ["run", "in.parquet", "--where", "n < 10", "--device", "sim"];
    let little = place.run(&[&query[..], &["-o", "a.arrow"]].concat());
    assert!(!little.err.contains("asked for by name"), "{}", little.err);
    let more = place.run(&[&query[..], &["-o", "b.arrow", "-v"]].concat());
    let line = "sim: 1,000 rows in 1 batch, computing";
    assert!(more.err.contains(line), "{}", more.err);
    assert!(
        more.err.contains("by its own clock; asked for by name"),
        "{}",
        more.err
    );
}

#[test]
fn a_report_that_fails_does_not_hide_that_the_result_is_there() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let ran = place.run(&[
        "run",
        "in.parquet",
        "-o",
        "out.arrow",
        "--receipts",
        "/dev/full",
    ]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(
        ran.err
            .contains("the result is written, but not every report"),
        "{}",
        ran.err
    );
    assert_eq!(place.read("out.arrow")[0].num_rows(), 10);
}

#[test]
fn a_trace_is_whole_and_agrees_with_the_receipts() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    for device in ["cpu", "sim"] {
        place
            .run(&[
                "run",
                "in.parquet",
                "--where",
                "square > 100",
                "--batch-rows",
                "100",
                "--device",
                device,
                "--trace",
                "t.json",
                "--receipts",
                "r.json",
                "--timeline",
                "t.svg",
                "-o",
                "out.arrow",
            ])
            .success();
        let trace = json(&place, "t.json");
        let slices: Vec<&Value> = trace["traceEvents"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["ph"] == "X")
            .collect();
        // A device behind a queue does small batches together: in, compute, out.
        let least = if device == "cpu" { 10 } else { 3 };
        assert!(slices.len() >= least, "{device}: {} slices", slices.len());
        let mut ends: HashMap<(u64, u64), u64> = HashMap::new();
        let mut computed = 0;
        for slice in slices {
            let number = |value: &Value| value.as_u64().unwrap();
            let track = (number(&slice["pid"]), number(&slice["tid"]));
            let start = number(&slice["args"]["start_ns"]);
            let length = number(&slice["args"]["duration_ns"]);
            let end = ends.entry(track).or_default();
            assert!(start >= *end, "slices of a track follow each other");
            *end = start + length;
            if slice["name"] == "compute" {
                computed += length;
            }
        }
        let receipts = json(&place, "r.json");
        let in_receipts: u64 = receipts["receipts"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|receipt| receipt["parts"].as_array().unwrap())
            .map(|part| part["compute_ns"].as_u64().unwrap())
            .sum();
        assert_eq!(computed, in_receipts, "{device}");
        let picture = std::fs::read_to_string(place.path("t.svg")).unwrap();
        assert!(picture.contains("<svg") && picture.contains("</svg>"));
    }
}

#[test]
fn a_picture_and_a_trace_have_a_lane_for_each_queue_of_a_device() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    let query = ["run", "in.parquet", "--where", "square > 100", "--device"];
    let reports = [
        "--trace",
        "t.json",
        "--timeline",
        "t.svg",
        "-o",
        "out.arrow",
    ];
    place
        .run(&[&query[..], &["sim"], &reports].concat())
        .success();
    let trace = json(&place, "t.json");
    let events = trace["traceEvents"].as_array().unwrap();
    let named = |kind: &str| -> Vec<(u64, u64, &str)> {
        let named = events.iter().filter(|event| event["name"] == kind);
        let number = |value: &Value| value.as_u64().unwrap();
        named
            .map(|event| {
                let name = event["args"]["name"].as_str().unwrap();
                (number(&event["pid"]), number(&event["tid"]), name)
            })
            .collect()
    };
    let devices = named("process_name");
    let (device, ..) = *devices
        .iter()
        .find(|(.., name)| *name == "sim (virtual clock)")
        .unwrap();
    let queues: Vec<(u64, &str)> = named("thread_name")
        .into_iter()
        .filter(|(process, _, name)| *process == device && !name.starts_with("waits"))
        .map(|(_, thread, name)| (thread, name))
        .collect();
    let names: Vec<&str> = queues.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["copy in", "compute", "copy out"]);
    // How busy a queue was, by its slices, stands in the picture.
    let slices = || events.iter().filter(|event| event["cat"] == "work");
    let span = |event: &Value| {
        let start = event["args"]["start_ns"].as_u64().unwrap();
        (
            start,
            start + event["args"]["duration_ns"].as_u64().unwrap(),
        )
    };
    let start = slices().map(|event| span(event).0).min().unwrap();
    let end = slices().map(|event| span(event).1).max().unwrap();
    let picture = std::fs::read_to_string(place.path("t.svg")).unwrap();
    for (thread, name) in queues {
        let slices = slices().filter(|event| event["tid"] == thread);
        let busy: u64 = slices.map(|event| span(event).1 - span(event).0).sum();
        let percent = 100.0 * busy as f64 / (end - start) as f64;
        assert!(picture.contains(name), "{name}");
        assert!(
            picture.contains(&format!("{percent:.0}%")),
            "{name}: {percent}"
        );
    }
}

#[test]
fn why_a_device_is_a_table_of_what_each_would_take() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let query = ["explain", "in.parquet", "--where", "n > 1"];
    let plain = place.run(&query).success();
    assert!(!plain.contains("gather"), "{plain}");
    let table = place.run(&[&query[..], &["--why"]].concat()).success();
    let table = table
        .strip_prefix(plain.trim_end())
        .expect("the plan comes first");
    let lines: Vec<&str> = table.trim_start().lines().collect();
    let cells = |start: &str| -> Vec<&str> {
        let line = lines.iter().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no `{start}` in {table}"))
            .split_whitespace()
            .collect()
    };
    assert_eq!(cells("device"), ["device", "cpu", "sim"]);
    assert_eq!(cells("clock"), ["clock", "wall", "virtual"]);
    for term in ["queue", "link", "compile", "compute", "gather", "total"] {
        // Of each a number and its unit.
        assert_eq!(cells(term).len(), 1 + 2 * 2, "{table}");
    }
    let against = "sim is not considered: simulators are never picked by auto";
    assert_eq!(lines.last(), Some(&against), "{table}");
    assert_eq!(
        lines[0],
        "predicted for a batch of 1048576 rows in ordinary memory:"
    );
    // What the host does for a simulator is by another clock, and not added.
    assert!(cells("stage").iter().any(|cell| cell.starts_with('*')));
    let starred = "* by the host's wall clock, and not in the total";
    assert!(table.contains(starred), "{table}");
    let of_sim = |term: &str| -> f64 { cells(term)[3].parse().unwrap() };
    let terms = ["launch", "in", "compute", "out"].map(of_sim);
    let sum: f64 = terms.iter().sum();
    assert!((sum - of_sim("total")).abs() < 0.5, "{table}");
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{table}"
    );
}

#[test]
fn a_plan_tells_what_where_and_why_without_running() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let plan = place
        .run(&["explain", "in.parquet", "--where", "cast(n as bigint) > 1"])
        .success();
    for word in ["cpu", "reads", "cmp"] {
        assert!(plan.contains(word), "`{word}` is missing in: {plan}");
    }
    let narrow = place
        .run(&["explain", "in.parquet", "--where", "n > 1"])
        .success();
    assert_eq!(plan, narrow, "the widening cast costs nothing");
    let ran = place.run(&["run", "in.parquet", "--explain", "-o", "out.arrow"]);
    assert!(ran.err.contains("cpu"), "{}", ran.err);
}

#[test]
fn what_is_said_of_a_part_and_of_its_device_agrees() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    // More than the simulated device takes at once.
    let long: Vec<String> = (0..1400)
        .map(|i| format!("n * {} = {}", i + 2, i * 7 + 3))
        .collect();
    let long = long.join(" or ");
    let query = ["explain", "in.parquet", "--device", "sim", "--where", &long];
    let plan = place.run(&query).success();
    assert!(plan.contains("\non cpu: sim lacks "), "{plan}");
    assert!(
        plan.contains("\ncpu: runs a part of it\nsim: runs a part of it\n"),
        "{plan}"
    );
    place
        .run(&[&query[..], &["--no-fallback"]].concat())
        .failure(
            4,
            &["sim: it lacks", "without --no-fallback the CPU takes that"],
        );
    // Who asked for the device is told without asking for more, unless the answer is to be quiet.
    let run = ["run", "in.parquet", "--where", &long, "-o", "out.arrow"];
    let said = |more: &[&str]| place.run(&[&run[..], more].concat()).err;
    let stand_in = "\ncpu: 10 rows in 1 batch, ";
    let on_sim = said(&["--device", "sim"]);
    assert!(
        on_sim.contains(stand_in) && on_sim.contains("lacks"),
        "{on_sim}"
    );
    assert!(!said(&["--device", "cpu"]).contains(stand_in));
    assert_eq!(said(&["--device", "sim", "--quiet"]), "");
    let mut refused = place.command(&query);
    let refused = refused.env("UNLADE_NO_FALLBACK", "true").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("without UNLADE_NO_FALLBACK the CPU"),
        "{said}"
    );
}

#[test]
fn devices_are_listed() {
    let place = Place::new();
    let text = place.run(&["devices"]).success();
    assert!(text.contains("cpu") && text.contains("sim"), "{text}");
    let document: Value =
        serde_json::from_str(&place.run(&["devices", "--json"]).success()).unwrap();
    assert_eq!(document["devices"][0]["name"], "cpu");
    assert_eq!(document["devices"][0]["health"], "ready");
}

#[test]
fn the_language_is_listed_from_its_table() {
    let place = Place::new();
    let all = place.run(&["functions"]).success();
    for word in ["BETWEEN", "COALESCE", "TRY"] {
        assert!(all.to_uppercase().contains(word), "{word}");
    }
    let one = place.run(&["functions", "coalesce"]).success();
    assert!(one.len() < all.len() && one.to_lowercase().contains("coalesce"));
    place
        .run(&["functions", "frobnicate"])
        .failure(2, &["frobnicate"]);
    let document: Value =
        serde_json::from_str(&place.run(&["functions", "--json", "--casts"]).success()).unwrap();
    assert!(document["functions"].as_array().unwrap().len() > 20);
    let every_cast = document["casts"].as_array().unwrap().len();
    assert!(every_cast > 5);
    // A word leaves the casts from and to the type that it names.
    let of_type = |word: &str| {
        let text = place
            .run(&["functions", "--casts", "--json", word])
            .success();
        let document: Value = serde_json::from_str(&text).unwrap();
        document["casts"].as_array().unwrap().len()
    };
    assert!(
        (1..every_cast).contains(&of_type("date")),
        "{}",
        of_type("date")
    );
    assert!((1..every_cast).contains(&of_type("bigint")));
    assert!((1..every_cast).contains(&of_type("spark")));
    place
        .run(&["functions", "--casts", "frobnicate"])
        .failure(2, &["no function and no cast mentions `frobnicate`"]);
}

#[test]
fn casts_are_found_by_their_types_in_lines_of_a_hundred_columns() {
    let place = Place::new();
    let listed = |words: &[&str]| place.run(&[&["functions"], words].concat()).success();
    for words in [&[][..], &["--casts"], &["--casts", "int"], &["types"]] {
        let text = listed(words);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= 100, "{words:?}: {text}");
    }
    let heads = |word: &str| -> Vec<String> {
        let text = listed(&["--casts", word]);
        let heads = text.lines().filter(|line| line.contains(" -> "));
        let heads = heads.filter(|line| !line.contains("in full"));
        heads.map(|line| line.trim().to_owned()).collect()
    };
    let boolean = heads("boolean");
    assert!(
        boolean
            .iter()
            .all(|head| head.starts_with("boolean -> ") || head.ends_with(" -> boolean")),
        "{boolean:?}"
    );
    assert!(
        boolean.contains(&"boolean -> decimal(p, s)".to_owned()),
        "{boolean:?}"
    );
    // By any of its names, and by no part of another.
    assert_eq!(heads("int"), heads("integer"));
    let is_of = |name: &str, head: &String| {
        let (from, to) = head.split_once(" -> ").unwrap();
        from == name || to == name
    };
    for head in heads("int") {
        assert!(is_of("int", &head), "{head}");
    }
    let date = heads("date");
    let date_and_int = "int, bigint -> date".to_owned();
    assert!(date.contains(&date_and_int), "{date:?}");
    assert!(date.len() < heads("spark").len(), "{date:?}");
    let types = listed(&["types"]);
    for word in [
        "\n  bigint\n",
        "int64, long",
        "timestamptz",
        "'Europe/Berlin'",
    ] {
        assert!(types.contains(word), "`{word}` is missing in: {types}");
    }
    let document: Value = serde_json::from_str(&listed(&["types", "--json"])).unwrap();
    assert!(document["types"].as_array().unwrap().len() > 15);
    assert!(listed(&[]).contains("`unlade functions types`"));
}

#[test]
fn doctor_looks_at_a_sysroot() {
    let place = Place::new();
    let folder = place.path("root/proc");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("cpuinfo"), "flags : avx2 bmi2\n").unwrap();
    let text = place.run(&["doctor", "--sysroot", "root"]).success();
    assert!(text.contains("AVX2") && text.contains("IOMMU"), "{text}");
    let document: Value =
        serde_json::from_str(&place.run(&["doctor", "--json"]).success()).unwrap();
    assert!(document["checks"].as_array().unwrap().len() >= 5);
    place
        .run(&["doctor", "--sysroot", "nowhere"])
        .failure(2, &["nowhere"]);
}

#[test]
fn completions_and_help() {
    let place = Place::new();
    assert!(
        place
            .run(&["completions", "bash"])
            .success()
            .contains("unlade")
    );
    assert!(place.run(&["--help"]).success().contains("Exit codes"));
    assert!(place.run(&["--version"]).success().starts_with("unlade "));
    place.run(&["run"]).failure(2, &["INPUT"]);
}

#[test]
fn a_small_demonstration() {
    let place = Place::new();
    let ran = place.run(&["demo", "--scale", "0.001", "--keep", "kept"]);
    // Each query is said whole.
    for query in [
        "filter: select * where cast(",
        "projection: select l_orderkey, cast(",
    ] {
        assert!(ran.err.contains(query), "{}", ran.err);
    }
    let table = ran.success();
    for why in [
        "cpu: auto picks it: nothing else but simulators",
        "sim, sim-dpu, sim-gpu:0: only by name: simulators are never picked by auto",
    ] {
        assert_eq!(table.matches(why).count(), 1, "{table}");
    }
    // No terminal is as narrow as to break it.
    let widest = table.lines().map(|line| line.chars().count()).max();
    assert!(widest.unwrap() <= 80, "{table}");
    assert!(!table.contains("asked for by name"), "{table}");
    for word in [
        "cpu",
        " sim ",
        "sim-dpu",
        "sim-gpu:0",
        "filter",
        "tpc-h q6",
        "projection",
    ] {
        assert!(table.contains(word), "`{word}` is missing in: {table}");
    }
    assert!(!table.contains(" - "), "a number is missing in: {table}");
    assert!(place.path("kept/lineitem.parquet").is_file());
}

#[test]
fn a_report_is_not_written_to_a_file_that_is_named_as_something_else() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let run = ["run", "in.parquet", "--select", "n", "-o", "out.csv"];
    for (flag, other, ending) in [
        ("--timeline", "t.png", "svg"),
        ("--timeline", "t.svg.gz", "svg"),
        ("--receipts", "t.csv", "json"),
        ("--trace", "t.jsonl", "json"),
        ("--record", "t.json", "jsonl"),
    ] {
        let said = format!("{flag} {other}: this flag writes .{ending} alone; name it t");
        place
            .run(&[&run[..], &[flag, other]].concat())
            .failure(2, &[&said, ending]);
        // Nothing was done for it.
        assert_eq!(place.files(), ["in.parquet"]);
        // What has no ending says nothing of what is in it.
        for right in [&format!("t.{}", ending.to_uppercase()), "t"] {
            place.run(&[&run[..], &[flag, right]].concat()).success();
            std::fs::remove_file(place.path(right)).unwrap();
        }
        std::fs::remove_file(place.path("out.csv")).unwrap();
    }
    place
        .run(&["replay", "absent.jsonl", "--timeline", "t.png"])
        .failure(2, &["--timeline t.png", "name it t.svg"]);
}
