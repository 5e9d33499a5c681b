//! The demonstration on the simulated GPU, in a process of its own: that is chosen before anything
//! asks for CUDA, and the demonstration asks for real GPUs.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{CASES, Line, on_devices, read};
use crate::error::Failure;
use crate::report;

/// The device's name in the table, where there is none.
const NAME: &str = "sim-gpu";

/// What that process answers.
#[derive(Debug, Deserialize, Serialize)]
enum Answer {
    /// Lines of the table.
    Lines(Vec<Line>),
    /// Why there are none, in words that say what to do.
    Absent(String),
}

/// Lines of the table, from this program run again.
pub(super) fn ask(file: &Path) -> Result<Vec<Line>, Failure> {
    let failed = |what: String| Failure::resource(format!("{NAME}: {what}"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let ran = Command::new(program)
        .args(["demo", "--on-simulated-gpu"])
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    crate::interrupt::check()?;
    if !ran.status.success() {
        return Err(failed(format!("its process ended with {}", ran.status)));
    }
    match serde_json::from_slice(&ran.stdout).map_err(|error| failed(error.to_string()))? {
        Answer::Lines(lines) => Ok(lines),
        Answer::Absent(why) => Ok(vec![absent(why)]),
    }
}

/// Runs the queries here.
pub(super) fn answer(file: &Path) -> Result<(), Failure> {
    let answer = match unlade::simulate_gpu() {
        Ok(()) => Answer::Lines(lines(file)?),
        Err(why) => Answer::Absent(why),
    };
    let text = serde_json::to_vec(&answer).expect("lines are text");
    report::print(&text)
}

fn lines(file: &Path) -> Result<Vec<Line>, Failure> {
    let batches = read(file)?;
    let mut devices = unlade::discover();
    devices.retain(|device| device.info().name.starts_with(NAME));
    let mut lines = Vec::new();
    for case in &CASES {
        lines.extend(on_devices(case, &devices, &batches)?);
    }
    Ok(lines)
}

/// A line that says only why.
fn absent(why: String) -> Line {
    let mut line = Line {
        why,
        ..Line::default()
    };
    line.cells[1] = NAME.to_owned();
    line
}
