//! The command `unlade`, beside this program in the machine, on a card that the kernel hands over.

use std::fs::File;
use std::process::{Command, Output};
use std::sync::Arc;

use arrow_array::{Int32Array, Int64Array, RecordBatch};
use arrow_ipc::writer::FileWriter;
use serde_json::Value;

use super::open;
use crate::verdicts::Verdicts;

/// Where the machine has the command's libraries.
const LIBRARIES: [(&str, &str); 1] = [("LD_LIBRARY_PATH", "/lib64")];

/// Rows of the table that is filtered.
const ROWS: i32 = 20_000;

pub(super) fn check(address: &str, verdicts: &mut Verdicts) {
    let name = format!("dpu:{address}");
    verdicts.check("unlade devices", || devices(&name, address));
    verdicts.check("unlade doctor", || doctor(address));
    verdicts.check("unlade run", || run(&name));
    verdicts.check("unlade and another opener", || another(&name, address));
}

/// The card is among all devices, by its address, with its health and its sensors.
fn devices(name: &str, address: &str) -> Result<String, String> {
    let document = json(&["devices", "--json"])?;
    let cards = document["devices"].as_array().into_iter().flatten();
    let mut cards = cards.filter(|device| device["name"] == name);
    let card = cards.next().ok_or_else(|| format!("{document:#}"))?;
    let power = card["readings"].as_array().into_iter().flatten();
    let power = power.filter(|reading| reading["name"] == "power");
    let power: Vec<&Value> = power.map(|reading| &reading["value"]).collect();
    let is_there = card["kind"] == "simulator"
        && card["health"] == "ready"
        && card["address"] == address
        && card["errors"].is_array()
        && power == [20_000];
    match is_there {
        true => Ok(format!(
            "{name}, {}, {}",
            card["description"], card["health"]
        )),
        false => Err(format!("{card:#}")),
    }
}

/// Nothing is in the card's way, and what is there is seen.
fn doctor(address: &str) -> Result<String, String> {
    let document = json(&["doctor", "--json"])?;
    let checks = document["checks"].as_array().into_iter().flatten();
    let mut seen = Vec::new();
    for (name, found) in [
        ("IOMMU", " groups"),
        ("vfio-pci", address),
        ("DPU cards", "can be opened"),
        ("huge pages", "free pages of 2"),
    ] {
        let check = checks.clone().find(|check| check["name"] == name);
        let said = check
            .and_then(|check| check["found"].as_str())
            .unwrap_or("");
        if !said.contains(found) || check.is_none_or(|check| check["state"] != "ok") {
            return Err(format!("{name}: {document:#}"));
        }
        seen.push(format!("{name}: {said}"));
    }
    Ok(seen.join("; "))
}

/// A query on the card, and nowhere else, gives what it gives on the processor.
fn run(name: &str) -> Result<String, String> {
    const TABLE: &str = "/tmp/in.arrow";

    table(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
    let on = |device: &str| {
        let query = [
            "run",
            TABLE,
            "--where",
            "n > 40",
            "--select",
            "n * 2 as m, b",
        ];
        let to = [
            "--no-fallback",
            "-o",
            "-",
            "--format",
            "csv",
            "--device",
            device,
        ];
        let ran = unlade(&[&query[..], &to].concat())?;
        let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
        match ran.status.success() && said.contains(device) {
            true => Ok((ran.stdout, said)),
            false => Err(format!("on {device}: {}: {said}", ran.status)),
        }
    };
    let ((card, said), (cpu, _)) = (on(name)?, on("cpu")?);
    if card != cpu {
        return Err("the results of card and processor differ".to_owned());
    }
    let kept = numbers().flatten().filter(|number| *number > 40).count();
    // Behind a header.
    let lines = String::from_utf8_lossy(&card).lines().count();
    match lines == 1 + kept {
        true => Ok(said),
        false => Err(format!("the result has {lines} lines, of {kept} rows")),
    }
}

/// A number in -100..100, or nothing, for each row.
fn numbers() -> impl Iterator<Item = Option<i32>> {
    (0..ROWS).map(|row| (row % 7 != 3).then_some(row * 31 % 200 - 100))
}

/// The numbers, and the rows' own.
fn table(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let batch = RecordBatch::try_from_iter([
        ("n", Arc::new(numbers().collect::<Int32Array>()) as _),
        (
            "b",
            Arc::new(Int64Array::from_iter_values((0..ROWS).map(i64::from))) as _,
        ),
    ])?;
    let mut file = FileWriter::try_new(File::create(path)?, &batch.schema())?;
    file.write(&batch)?;
    Ok(file.finish()?)
}

/// Where this process has the card, the command says so and fails.
fn another(name: &str, address: &str) -> Result<String, String> {
    let _first = open(address)?;
    let refused = unlade(&["devices", "--device", name])?;
    let said = String::from_utf8_lossy(&refused.stderr).trim().to_owned();
    let holder = format!("is in use by pid {} ", std::process::id());
    match refused.status.code() {
        Some(4) if said.contains(&holder) => Ok(said),
        _ => Err(format!("{}: {said}", refused.status)),
    }
}

fn json(arguments: &[&str]) -> Result<Value, String> {
    let ran = unlade(arguments)?;
    let said = String::from_utf8_lossy(&ran.stderr);
    match ran.status.success() {
        true => serde_json::from_slice(&ran.stdout).map_err(|error| error.to_string()),
        false => Err(format!("{arguments:?}: {}: {said}", ran.status)),
    }
}

fn unlade(arguments: &[&str]) -> Result<Output, String> {
    let mut command = Command::new("unlade");
    command.args(arguments).envs(LIBRARIES);
    let ran = command.output();
    ran.map_err(|error| format!("{command:?}: {error}"))
}
