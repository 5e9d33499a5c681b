//! What was found: kept as JSON, printed as a table.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use unlade_hal::DeviceInfo;

/// What one check found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) summary: String,
    pub(crate) failures: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) seconds: f64,
    device: Value,
}

/// One measured number.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    /// The median.
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// Least and most of the measurements.
    pub(crate) spread: (f64, f64),
    /// What it is compared with, and how large it is in parts of that.
    pub(crate) against: Option<(&'static str, f64)>,
    /// The share that it should reach.
    pub(crate) target: Option<f64>,
}

impl Finding {
    pub(crate) fn new(name: &'static str, summary: String, failures: Vec<String>) -> Self {
        Finding {
            name,
            summary,
            failures,
            figures: Vec::new(),
            seconds: 0.0,
            device: Value::Null,
        }
    }

    pub(crate) fn describe(&mut self, info: &DeviceInfo) {
        self.device = json!({
            "name": info.name,
            "description": info.description,
            "address": info.address,
            "architecture": info.architecture,
            "memory_bytes": info.memory,
        });
    }

    fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                json!({
                    "name": figure.name,
                    "value": figure.value,
                    "unit": figure.unit,
                    "least": figure.spread.0,
                    "most": figure.spread.1,
                    "against": figure.against.map(|(name, _)| name),
                    "share": figure.against.map(|(_, share)| share),
                    "target": figure.target,
                })
            })
            .collect();
        json!({
            "version": 1,
            "check": self.name,
            "passed": self.failures.is_empty(),
            "summary": self.summary,
            "failures": self.failures,
            "figures": figures,
            "seconds": self.seconds,
            "device": self.device,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} in {:.1} s",
            self.name, self.summary, self.seconds
        )
    }
}

/// Writes a finding to a folder.
pub(crate) fn keep(folder: Option<&Path>, finding: &Finding) {
    let Some(folder) = folder else {
        return;
    };
    let path = folder.join(format!("{}.json", finding.name));
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, format!("{:#}\n", finding.json())));
    if let Err(error) = written {
        println!("{}: {error}", path.display());
    }
}

/// Prints the findings that a folder holds; fails where one of them did, or there is none.
pub(crate) fn print(folder: Option<&Path>) -> ExitCode {
    let names = ["conformance", "fuzz", "rates"];
    let read = |name: &str| -> Option<Value> {
        let text = fs::read_to_string(folder?.join(format!("{name}.json"))).ok()?;
        serde_json::from_str(&text).ok()
    };
    let mut passed = true;
    for name in names {
        let Some(finding) = read(name) else {
            println!("{name:<12} absent");
            passed = false;
            continue;
        };
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let fine = finding["passed"] == true;
        passed &= fine;
        let outcome = if fine { "passed" } else { "FAILED" };
        let seconds = finding["seconds"].as_f64().unwrap_or(0.0);
        println!("{name:<12} {outcome} {seconds:6.1} s  {}", text("summary"));
        for figure in finding["figures"].as_array().into_iter().flatten() {
            println!("  {}", line(figure));
        }
    }
    match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn line(figure: &Value) -> String {
    let number = |key: &str| figure[key].as_f64();
    let text = |key: &str| figure[key].as_str().unwrap_or_default();
    let value = number("value").unwrap_or(0.0);
    let spread = format!(
        "({:.4} to {:.4})",
        number("least").unwrap_or(0.0),
        number("most").unwrap_or(0.0)
    );
    let share = match (number("share"), number("target")) {
        (Some(share), Some(target)) => {
            let met = if share >= target { "met" } else { "MISSED" };
            format!(
                "{:5.1}% of {}, target {:.0}%: {met}",
                share * 100.0,
                text("against"),
                target * 100.0
            )
        }
        (Some(share), None) => format!("{:5.1}% of {}", share * 100.0, text("against")),
        _ => String::new(),
    };
    format!(
        "{:<44} {value:>10.4} {:<8} {spread:<24} {share}",
        text("name"),
        text("unit")
    )
}
