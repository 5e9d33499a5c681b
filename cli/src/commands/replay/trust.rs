//! How far a replay can be trusted, and what its time is owed to.

use unlade::{ClockKind, Outcome, Recording, SessionOutcome};

use super::{Outcomes, clock, share};
use crate::report::table::{duration, rate};

/// From which part of the makespan on what devices have no part in is what limits it.
const LIMITS: f64 = 0.9;

/// From which difference on latencies are worth a word.
const DIFFERENCE: f64 = 0.1;

/// Says it, in paragraphs.
pub(super) fn told(recording: &Recording, outcomes: &Outcomes<'_>) -> Vec<String> {
    let mut said = match outcomes.again {
        Some(again) => beside_what_was_recorded(outcomes.recorded, again),
        None => vec![
            "It was recorded on devices of two clocks, which are never compared: it is not replayed on \
             those, so that nothing says how close a replay comes. What was recorded is by the runtime's \
             clock, and has in it what simulating took."
                .to_owned(),
        ],
    };
    let asked = outcomes.asked();
    said.extend(
        outcomes
            .other
            .map(|other| of_what_was_asked(other, outcomes.again)),
    );
    if asked.clock == ClockKind::Virtual {
        let own_clock = "These are times of a clock of the device's own, which stands still while the host \
                         works; in the replay the host always keeps up, so that batches come as fast as the \
                         device takes them and wait there for one another, as they may not have when they \
                         were recorded.";
        said.push(own_clock.to_owned());
        return said;
    }
    said.push(limit(asked, outcomes.bound));
    if let (Some(other), Some(again)) = (outcomes.other, outcomes.again)
        && other.clock == again.clock
        && seconds(other) < seconds(again)
        && queues(other) > queues(again)
    {
        said.push(format!(
            "Every device behind a queue comes with {} threads, which read on and copy for it beside the {} \
             that compute: that alone can save time, however little the device itself is busy.",
            recording.run.lists_ahead, recording.run.threads,
        ));
    }
    said
}

/// How close the replay on the recorded devices comes.
fn beside_what_was_recorded(recorded: &Outcome, again: &Outcome) -> Vec<String> {
    let mut said = vec![format!(
        "The replay on the recorded devices takes {}, recorded were {}: {}, from the first batch to the \
         last result.",
        duration(again.makespan),
        duration(recorded.makespan),
        compared(seconds(again), seconds(recorded)),
    )];
    said.extend(latency(recorded, again));
    said
}

/// What came of what was asked for, beside the recorded devices where these are of the same clock.
fn of_what_was_asked(other: &Outcome, again: Option<&Outcome>) -> String {
    let takes = format!("What was asked for takes {}", duration(other.makespan));
    match again {
        Some(again) if again.clock == other.clock => format!(
            "{takes}: {:.2} times as long as the replay on the recorded devices.",
            seconds(other) / seconds(again),
        ),
        _ => format!("{takes}, by the {} clock.", clock(other.clock)),
    }
}

/// What is left however fast devices are, and whether that is the limit.
fn limit(outcome: &Outcome, bound: &Outcome) -> String {
    let left = duration(bound.makespan);
    if seconds(bound) < LIMITS * seconds(outcome) {
        return format!(
            "With devices that take no time, reading its input and taking its results would take {left}."
        );
    }
    let devices = outcome.devices.iter();
    let busy =
        devices.filter_map(|device| Some((device.rows, device.busy.filter(|it| *it > 0.0)?)));
    let busiest = busy.clone().map(|(_, busy)| busy).fold(0.0, f64::max);
    let capacity = busy.map(|(rows, busy)| rows as f64 / (busy * seconds(outcome)));
    format!(
        "It is limited by how fast batches come and results are taken, not by devices: with devices that \
         take no time it would take {left}. Rows come at {}; the devices, busy for {} at most, could do {}.",
        rate(outcome.rows as f64 / seconds(bound)),
        share(busiest),
        rate(capacity.sum()),
    )
}

/// Of the session whose median latency is off most, how far that is; nothing where none is off.
fn latency(recorded: &Outcome, again: &Outcome) -> Option<String> {
    let of = |session: &SessionOutcome| {
        let mut sessions = again.sessions.iter();
        let found = sessions.find(|each| each.session == session.session)?;
        Some((session.session.clone(), session.p50, found.p50))
    };
    let off = |(_, was, is): &(_, std::time::Duration, std::time::Duration)| {
        let ratio = is.as_secs_f64().max(1e-9) / was.as_secs_f64().max(1e-9);
        ratio.ln().abs()
    };
    let sessions = recorded.sessions.iter().filter_map(of);
    let worst = sessions.max_by(|one, other| off(one).total_cmp(&off(other)))?;
    let (session, was, is) = &worst;
    (off(&worst) > DIFFERENCE.ln_1p()).then(|| {
        format!(
            "Latencies are not as close: half of the batches of `{session}` take {} at most, recorded were \
             {}: {}.",
            duration(*is),
            duration(*was),
            compared(is.as_secs_f64(), was.as_secs_f64()),
        )
    })
}

/// Devices behind a queue.
fn queues(outcome: &Outcome) -> usize {
    let devices = outcome.devices.iter();
    devices.filter(|device| !device.inline).count()
}

fn compared(is: f64, was: f64) -> String {
    let off = 100.0 * (is / was.max(1e-9) - 1.0);
    let direction = if off < 0.0 { "less" } else { "more" };
    format!("{:.0}% {direction}", off.abs())
}

fn seconds(outcome: &Outcome) -> f64 {
    outcome.makespan.as_secs_f64().max(1e-9)
}
