//! docs/RECEIPTS.md and the receipts: each has what the other says.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use unlade::{CallReceipt, Reason};

use crate::sim_dpu::Served;
use crate::support::Place;

/// The guide, in rows of its tables.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let guide = include_str!("../../../docs/RECEIPTS.md");
    let rows = guide.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

fn names(cell: &str) -> BTreeSet<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// The fields of a document by their paths. Reasons have a form of their own.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if !path.ends_with(".reason") => {
            for (name, value) in object {
                let path = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                fields(value, &path, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                fields(item, &format!("{path}[]"), found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

fn receipts(place: &Place, more: &[&str]) -> Value {
    let words = ["run", "in.parquet", "-o", "-", "--format", "csv"];
    let report = ["--receipts", "r.json"];
    place.run(&[&words[..], &report, more].concat()).success();
    serde_json::from_str(&std::fs::read_to_string(place.path("r.json")).unwrap()).unwrap()
}

#[test]
fn every_field_is_described_and_every_description_is_of_a_field() {
    let place = Place::new();
    place.table("in.parquet", 0, 100);
    let described: BTreeSet<String> = rows()
        .filter(|row| row.len() == 4)
        .flat_map(|row| names(row[1]))
        .collect();
    for device in ["cpu", "sim", "sim-dpu"] {
        let query = ["--where", "n < 50", "--select", "n, n + 1 as m"];
        let document = receipts(&place, &[&query[..], &["--device", device]].concat());
        let mut found = BTreeSet::new();
        fields(&document, "", &mut found);
        // The command registers no functions.
        let call = CallReceipt {
            function: "f".into(),
            rows: 1,
            taken: Duration::ZERO,
        };
        let call = serde_json::to_value(call).unwrap();
        fields(&call, "receipts[].calls[]", &mut found);
        assert_eq!(found, described, "{device}");
        let version = format!("now {}.", document["version"]);
        assert!(include_str!("../../../docs/RECEIPTS.md").contains(&version));
    }
}

#[test]
fn every_reason_is_described_with_its_fields() {
    let device = || "sim".into();
    let all = [
        Reason::OnlyCandidate,
        Reason::Cheapest {
            next: Some(device()),
            next_predicted: Some(Duration::from_nanos(1)),
        },
        Reason::SparesHost,
        Reason::Probe,
        Reason::Forced,
        Reason::Resident,
        Reason::Evicted { device: device() },
        Reason::Unsupported {
            device: device(),
            lacks: "rem.f64".into(),
        },
        Reason::DeviceFault {
            device: device(),
            reason: "gone".into(),
        },
        Reason::OutOfMemory { device: device() },
        Reason::Compiling { device: device() },
        Reason::Quarantined { device: device() },
    ];
    let form = |reason: &Reason| match serde_json::to_value(reason).unwrap() {
        Value::String(name) => (name, BTreeSet::new()),
        Value::Object(object) => {
            let (name, fields) = object.into_iter().next().unwrap();
            (name, fields.as_object().unwrap().keys().cloned().collect())
        }
        other => panic!("{other}"),
    };
    let described: Vec<(String, BTreeSet<String>)> = rows()
        .filter(|row| row.len() == 5)
        .map(|row| (row[1].trim_matches('`').to_owned(), names(row[2])))
        .collect();
    assert_eq!(all.iter().map(form).collect::<Vec<_>>(), described);
}

#[test]
fn times_that_a_card_does_not_report_are_null() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    let _card = Served::start(&place, &["--profile", "small"]);
    let query = ["--where", "n < 50", "--device", "dpu:unix:card.sock", "-v"];
    let document = receipts(&place, &query);
    let part = &document["receipts"][0]["parts"][0];
    for time in ["queued_ns", "copy_in_ns", "compute_ns", "copy_out_ns"] {
        assert_eq!(part[time], Value::Null, "{time}");
    }
    assert_eq!(part["completed"], true);
    let words = ["run", "in.parquet", "-o", "-", "--format", "csv"];
    let said = place.run(&[&words[..], &query].concat()).err;
    assert!(
        said.contains("1 batch, in a time that it does not tell; asked"),
        "{said}"
    );
    assert!(!said.contains("0 ns"), "{said}");
}

#[test]
fn what_is_passed_through_is_said_to_be() {
    let place = Place::new();
    place.table("in.parquet", 0, 100);
    let query = ["--select", "name, n as k, n + 1 as m", "--device", "sim"];
    let document = receipts(&place, &query);
    let made = |index: usize| document["columns"][index]["made"].as_str().unwrap();
    assert_eq!(document["columns"][1]["name"], "k");
    let expected = ["passed_through", "passed_through", "computed"];
    assert_eq!([made(0), made(1), made(2)], expected);
    let line = "passed through, computed by no device: Name, k\n";
    let words = ["run", "in.parquet", "-o", "out.csv", "-v"];
    let ran = place.run(&[&words[..], &query].concat());
    assert!(ran.err.ends_with(line), "{}", ran.err);
    let plan = place.run(&[&["explain", "in.parquet"], &query[..]].concat());
    assert!(plan.success().ends_with(line));
    // No device has anything to do with it.
    let idle = [&words[..], &["--select", "name", "--device", "sim"]].concat();
    let ran = place.run(&idle);
    assert!(
        ran.err.contains("kept 100 of 100 rows in ") && ran.err.contains(", passed through ("),
        "{}",
        ran.err
    );
    assert!(
        ran.err
            .contains("sim: 100 rows in 1 batch, nothing to compute; asked"),
        "{}",
        ran.err
    );
}
