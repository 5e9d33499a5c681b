//! `--timeline`: a picture of what each device and thread did when.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Text, Title};
use unlade::{ClockKind, TraceEvent};

use crate::error::Failure;
use crate::report::json;
use crate::report::table::duration;

const WIDTH: f64 = 1200.0;
const LABELS: f64 = 190.0;
const LANE: f64 = 26.0;
const TOP: f64 = 54.0;
const PANEL_GAP: f64 = 46.0;
/// More slices than a picture can show; the longest are drawn and the rest is counted.
const MAX_SLICES: usize = 20_000;

pub(crate) fn write(path: &Path, events: &[TraceEvent]) -> Result<(), Failure> {
    let picture = draw(events).to_string();
    json::whole(path, |out| out.write_all(picture.as_bytes()))
}

fn draw(events: &[TraceEvent]) -> Document {
    let mut shown: Vec<&TraceEvent> = events.iter().collect();
    shown.sort_by_key(|event| std::cmp::Reverse(event.duration_ns));
    let left_out = shown.len().saturating_sub(MAX_SLICES);
    shown.truncate(MAX_SLICES);

    let mut top = TOP;
    let mut body = Group::new();
    for (clock, name) in [
        (ClockKind::Wall, "wall clock"),
        (ClockKind::Virtual, "virtual clock"),
    ] {
        let of_clock: Vec<&TraceEvent> = shown
            .iter()
            .copied()
            .filter(|event| event.clock == clock)
            .collect();
        if !of_clock.is_empty() {
            let (panel, height) = panel(name, &of_clock, top);
            body = body.add(panel);
            top += height + PANEL_GAP;
        }
    }
    let mut heading = "What each device and thread did when".to_owned();
    if left_out > 0 {
        heading.push_str(&format!(" ({left_out} shortest slices left out)"));
    }
    Document::new()
        .set("viewBox", (0.0, 0.0, WIDTH, top))
        .set("width", WIDTH)
        .set("height", top)
        .set("font-family", "sans-serif")
        .add(
            Rectangle::new()
                .set("width", WIDTH)
                .set("height", top)
                .set("fill", "#ffffff"),
        )
        .add(text(&heading, 16.0, 26.0, 16.0, "start"))
        .add(body)
}

/// One clock's lanes under its own axis.
fn panel(name: &str, events: &[&TraceEvent], top: f64) -> (Group, f64) {
    let start = events.iter().map(|event| event.start_ns).min().unwrap_or(0);
    let end = events
        .iter()
        .map(|event| event.start_ns + event.duration_ns)
        .max()
        .unwrap_or(1);
    let length = (end - start).max(1) as f64;
    let x = |nanos: u64| LABELS + (nanos - start) as f64 / length * (WIDTH - LABELS - 20.0);

    let mut lanes: BTreeMap<&str, Vec<&TraceEvent>> = BTreeMap::new();
    for event in events {
        lanes.entry(&event.track).or_default().push(event);
    }
    let height = lanes.len() as f64 * LANE + 24.0;
    let mut group = Group::new().add(text(name, 16.0, top + 12.0, 12.0, "start"));
    for tenth in 0..=10 {
        let nanos = ((end - start) as f64 * f64::from(tenth) / 10.0) as u64;
        let at = x(start + nanos);
        group = group
            .add(
                Line::new()
                    .set("x1", at)
                    .set("x2", at)
                    .set("y1", top + 18.0)
                    .set("y2", top + height)
                    .set("stroke", "#dddddd"),
            )
            .add(text(
                &duration(Duration::from_nanos(nanos)),
                at,
                top + 12.0,
                10.0,
                "middle",
            ));
    }
    for (index, (track, events)) in lanes.into_iter().enumerate() {
        let y = top + 24.0 + index as f64 * LANE;
        group = group.add(text(track, LABELS - 8.0, y + 14.0, 11.0, "end"));
        for event in events {
            let from = x(event.start_ns);
            let width = (x(event.start_ns + event.duration_ns) - from).max(0.3);
            let length = duration(Duration::from_nanos(event.duration_ns));
            let title = format!("{}, batch {}: {length}", event.name, event.batch);
            let slice = Rectangle::new()
                .set("x", from)
                .set("y", y)
                .set("width", width)
                .set("height", LANE - 8.0)
                .set("fill", colour(event.name))
                .add(Title::new(title));
            group = group.add(slice);
        }
    }
    (group, height)
}

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito).
fn colour(name: &str) -> &'static str {
    match name {
        "compute" => "#0072b2",
        "copy in" => "#e69f00",
        "copy out" => "#009e73",
        "gather" => "#cc79a7",
        "compile" => "#d55e00",
        _ => "#999999",
    }
}

fn text(content: &str, x: f64, y: f64, size: f64, anchor: &str) -> Text {
    Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("font-size", size)
        .set("text-anchor", anchor)
}
