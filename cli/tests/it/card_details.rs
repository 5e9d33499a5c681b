//! What is said of a card beside its line, and of a name that is nearly one.

use std::fs;

use serde_json::Value;

use crate::support::Place;

#[test]
fn firmware_and_pages_are_listed_and_no_path_that_is_gone() {
    let place = Place::new();
    let list = ["devices", "--device", "sim-dpu"];
    let text = place.run(&list).success();
    let details = text.lines().find(|line| line.starts_with("sim-dpu: "));
    let details = details.unwrap_or_else(|| panic!("{text}"));
    for words in ["firmware sim 1.0; temperature", "; buffers in "] {
        assert!(details.contains(words), "{details}");
    }
    assert!(
        text.contains("process ") && !text.contains("card.sock"),
        "{text}"
    );
    let json = place.run(&[&list[..], &["--json"]].concat()).success();
    let json: Value = serde_json::from_str(&json).unwrap();
    // Which, depends on the machine: `cargo xtask qemu` has one with huge pages.
    let pages = json["devices"][0]["pages"].as_str().unwrap();
    assert!(
        details.contains(&format!("buffers in {pages} pages")),
        "{details}"
    );
    let free = fs::read_to_string("/proc/meminfo").unwrap();
    let free = free.lines().any(|line| {
        let count = line.strip_prefix("HugePages_Free:");
        count.is_some_and(|count| count.trim() != "0")
    });
    assert_eq!(pages, if free { "huge" } else { "ordinary" });
}

#[test]
fn a_name_that_is_nearly_one_is_told() {
    let place = Place::new();
    for (name, meant) in [
        ("SIM-DPU", "sim-dpu"),
        ("sim_dpu", "sim-dpu"),
        ("Cpu", "cpu"),
        ("DPU:unix:X", "dpu:unix:X"),
    ] {
        let is_it = format!("no device `{name}`; is it `{meant}`?");
        place
            .run(&["devices", "--device", name])
            .failure(2, &[&is_it]);
    }
    let said = place
        .run(&["devices", "--device", "zzz"])
        .failure(2, &["no device `zzz`"]);
    assert!(!said.contains("is it"), "{said}");
}
