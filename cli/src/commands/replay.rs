//! `unlade replay`: a recorded schedule again, on other devices.

mod trust;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use unlade::{ClockKind, DeviceChoice, Outcome, Recording, Replay, ReplayError, printable};

use crate::args::{ObjectiveChoice, PolicyChoice, ReplayArgs};
use crate::error::{Failure, system};
use crate::report;
use crate::report::paragraph::paragraph;
use crate::report::table::{Align, bytes, duration, grouped, rate, table};

/// What a replay is called on other devices, or with another aim or policy.
const WHAT_IF: &str = "what if";

/// Version of what `--json` prints; raised whenever a field changes its meaning, may be null, or goes.
const DOCUMENT_VERSION: u32 = 2;

/// Most bytes of a recording.
const MOST_BYTES: u64 = 512 << 20;

pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let devices = choices(&args.devices)?;
    report::refuse_other_endings("--timeline", args.timeline.as_deref(), "svg")?;
    let recording = read(&args.recording)?;
    let failed =
        |error: ReplayError| Failure::usage(format!("{}: {error}", args.recording.display()));
    let recorded = Outcome::recorded(&recording);
    let again = match Replay::of(&recording).run() {
        // What is asked for may be of one clock all the same.
        Err(ReplayError::Clocks { .. }) if !devices.is_empty() => None,
        again => Some(again.map_err(failed)?),
    };
    let mut other = Replay::of(&recording).places_anew(args.policy == PolicyChoice::Auto);
    if !devices.is_empty() {
        other = other.on(&devices).map_err(failed)?;
    }
    if let Some(objective) = args.objective {
        other = other.objective(objective.into());
    }
    let as_recorded = args.policy == PolicyChoice::Recorded;
    let is_other = !devices.is_empty() || args.objective.is_some() || as_recorded;
    let bound = other.clone().at_no_cost().run().map_err(failed)?;
    let other = is_other.then(|| other.run()).transpose().map_err(failed)?;
    if let Some(path) = &args.timeline {
        let shown = other.as_ref().or(again.as_ref());
        let shown = shown.expect("without the one it was the other that was asked for");
        report::timeline::write(path, &shown.events)?;
    }
    if args.json {
        let document = json!({
            "version": DOCUMENT_VERSION,
            "left_out": recording.run.left_out,
            "recorded": recorded,
            "again": again,
            "other": other,
            "at_no_cost": bound,
        });
        let text = serde_json::to_string_pretty(&document).expect("an outcome is JSON");
        return report::print(format!("{text}\n").as_bytes());
    }
    let outcomes = Outcomes {
        recorded: &recorded,
        again: again.as_ref(),
        other: other.as_ref(),
        bound: &bound,
    };
    let text = told(&recording, &outcomes);
    // Names of devices and sessions come from the file.
    report::print(printable(&text).as_bytes())
}

fn choices(texts: &[String]) -> Result<Vec<DeviceChoice>, Failure> {
    let texts = texts.iter().flat_map(|text| text.split(','));
    let choices = texts.map(|text| {
        let wrong = |error: ReplayError| Failure::usage(format!("--device: {error}"));
        text.parse().map_err(wrong)
    });
    choices.collect()
}

fn read(path: &Path) -> Result<Recording, Failure> {
    let shown = path.display();
    let open = || {
        // Before it is opened: a pipe would wait for who writes it.
        let metadata = std::fs::metadata(path)?;
        match metadata.is_file() {
            true => Ok((File::open(path)?, metadata.len())),
            false => Err(std::io::Error::other("it is no file")),
        }
    };
    let (file, len) = open()
        .map_err(|error| Failure::file(format!("{shown}: cannot read: {}", system(&error))))?;
    if len > MOST_BYTES {
        return Err(Failure::file(format!(
            "{shown}: has {len} bytes, and a recording has {MOST_BYTES} at most; record a shorter run"
        )));
    }
    let mut input = BufReader::new(file.take(MOST_BYTES));
    Recording::read(&mut input).map_err(|error| Failure::file(format!("{shown}: {error}")))
}

/// What came of it.
struct Outcomes<'a> {
    /// As it was recorded.
    recorded: &'a Outcome,
    /// On the recorded devices; not where these are of two clocks.
    again: Option<&'a Outcome>,
    /// As it was asked for, where that is something else.
    other: Option<&'a Outcome>,
    /// The latter of them that there is with devices that take no time.
    bound: &'a Outcome,
}

impl Outcomes<'_> {
    /// What was asked for.
    fn asked(&self) -> &Outcome {
        let asked = self.other.or(self.again);
        asked.expect("without the one it was the other that was asked for")
    }
}

/// What came of it, in words and tables.
fn told(recording: &Recording, outcomes: &Outcomes<'_>) -> String {
    let recorded = outcomes.recorded;
    let mut columns = vec![("recorded", recorded)];
    columns.extend(outcomes.again.map(|again| ("replayed", again)));
    columns.extend(outcomes.other.map(|other| (WHAT_IF, other)));
    let mut header = vec![("", Align::Left)];
    header.extend(columns.iter().map(|(name, _)| (*name, Align::Right)));
    let row = |name: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells = columns.iter().map(|(_, outcome)| cell(outcome));
        std::iter::once(name.to_owned()).chain(cells).collect()
    };
    let per_second =
        |amount: u64, outcome: &Outcome| amount as f64 / outcome.makespan.as_secs_f64().max(1e-9);
    let mut rows: Vec<Vec<String>> = vec![
        row("clock", &|it| clock(it.clock).to_owned()),
        row("makespan", &|it| duration(it.makespan)),
        row("batches", &|it| grouped(it.batches)),
        row("rows", &|it| rate(per_second(it.rows, it))),
        row("bytes", &|it| {
            format!("{}/s", bytes(per_second(it.bytes, it) as u64))
        }),
    ];
    for session in &recorded.sessions {
        let of = |outcome: &Outcome, time: fn(&unlade::SessionOutcome) -> Duration| {
            let mut sessions = outcome.sessions.iter();
            let found = sessions.find(|each| each.session == session.session);
            found.map_or_else(|| "-".to_owned(), |each| duration(time(each)))
        };
        let name = &session.session;
        rows.push(row(&format!("{name}: p50"), &|it| of(it, |each| each.p50)));
        rows.push(row(&format!("{name}: p99"), &|it| of(it, |each| each.p99)));
    }
    let mut text = table(&header, &rows);
    text.push_str("\n\n");
    let device_header = [
        ("", Align::Left),
        ("device", Align::Left),
        ("batches", Align::Right),
        ("bytes", Align::Right),
        ("busy", Align::Right),
        ("waits", Align::Right),
    ];
    let mut rows = Vec::new();
    for (name, outcome) in &columns {
        let devices = outcome.devices.iter();
        // A device that was there and had nothing to do is only worth a line where it was asked for.
        let shown = devices.filter(|device| device.batches > 0 || *name == WHAT_IF);
        for device in shown {
            rows.push(vec![
                (*name).to_owned(),
                device.device.to_string(),
                grouped(device.batches),
                bytes(device.bytes),
                device.busy.map_or_else(|| "-".to_owned(), share),
                match device.clock == outcome.clock {
                    true => duration(device.wait),
                    false => format!("{} {}", duration(device.wait), clock(device.clock)),
                },
            ]);
        }
    }
    text.push_str(&table(&device_header, &rows));
    text.push_str("\n\n");
    let mut say = |words: &str| text.push_str(&paragraph(words));
    for words in trust::told(recording, outcomes) {
        say(&words);
    }
    if !recording.run.measured.is_current() {
        say(
            "What was measured on the devices is of another release: where a batch goes elsewhere than it \
             was recorded, the devices' profiles count alone. Record it again.",
        );
    }
    if recording.run.left_out > 0 {
        say(&format!(
            "Of the recorded run the first {} batches are here; {} more were not recorded.",
            grouped(recording.batches.len() as u64),
            grouped(recording.run.left_out)
        ));
    }
    text
}

fn clock(clock: ClockKind) -> &'static str {
    match clock {
        ClockKind::Wall => "wall",
        ClockKind::Virtual => "virtual",
    }
}

/// A part of a time; what is some is not called none.
fn share(part: f64) -> String {
    match 100.0 * part {
        percent if percent > 0.0 && percent < 1.0 => "<1%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

impl From<ObjectiveChoice> for unlade::placement::Objective {
    fn from(choice: ObjectiveChoice) -> Self {
        match choice {
            ObjectiveChoice::Latency => unlade::placement::Objective::Latency,
            ObjectiveChoice::HostCpu => unlade::placement::Objective::HostCpu,
        }
    }
}
