//! `--timeline`: a picture of what each queue of each device did when.
//!
//! A lane is grey where its queue is idle, and hatched where it is so for long; at its end stands
//! which part of the time it worked. Who waits for a device has a lane of thin outlines under it,
//! which count as no work.

use std::path::Path;
use std::time::Duration;

use svg::Document;
use svg::node::element::{Definitions, Group, Line, Pattern, Rectangle, Text, Title};
use unlade::{Activity, ClockKind, TraceEvent};

use crate::error::Failure;
use crate::report::json;
use crate::report::lanes::{ClockLanes, DeviceLanes, Lane, Stretch, by_clock};
use crate::report::table::duration;

const WIDTH: f64 = 1200.0;
const LABELS: f64 = 190.0;
/// For the part of the time that a lane worked.
const RIGHT: f64 = 60.0;
const LANE: f64 = 26.0;
/// Of those who wait.
const THIN_LANE: f64 = 14.0;
const HEADING: f64 = 22.0;
const AXIS: f64 = 24.0;
const TOP: f64 = 54.0;
const PANEL_GAP: f64 = 46.0;
/// More slices than a picture can show; the longest are drawn and the rest is counted.
const MAX_SLICES: usize = 20_000;
/// Which part of a panel's time a gap lasts at least that is hatched.
const LONG_GAP: f64 = 0.02;
/// Width of a gap whose length is written into it.
const LABELLED_GAP: f64 = 60.0;

pub(crate) fn write(path: &Path, events: &[TraceEvent]) -> Result<(), Failure> {
    let picture = draw(events).to_string();
    json::whole(path, |out| out.write_all(picture.as_bytes()))
}

fn draw(events: &[TraceEvent]) -> Document {
    let mut lengths: Vec<u64> = events.iter().map(|event| event.duration_ns).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let shortest = lengths.get(MAX_SLICES).map_or(0, |longest| longest + 1);
    let left_out = lengths.iter().filter(|length| **length < shortest).count();

    let mut top = TOP;
    let mut body = Group::new();
    for clock in by_clock(events) {
        let panel = Panel::new(&clock, shortest);
        let (drawn, height) = panel.draw(&clock, top);
        body = body.add(drawn);
        top += height + PANEL_GAP;
    }
    let mut heading = "What each queue of each device did when".to_owned();
    if left_out > 0 {
        heading.push_str(&format!(" (of {left_out} slices only the sums)"));
    }
    Document::new()
        .set("viewBox", (0.0, 0.0, WIDTH, top))
        .set("width", WIDTH)
        .set("height", top)
        .set("font-family", "sans-serif")
        .add(hatching())
        .add(rectangle(0.0, 0.0, WIDTH, top).set("fill", "#ffffff"))
        .add(text(&heading, 16.0, 26.0, 16.0, "start"))
        .add(legend())
        .add(body)
}

/// What a long gap is filled with.
fn hatching() -> Definitions {
    let line = Line::new()
        .set("x1", 0)
        .set("x2", 0)
        .set("y1", 0)
        .set("y2", 6)
        .set("stroke", "#b0b0b0")
        .set("stroke-width", 2);
    let pattern = Pattern::new()
        .set("id", "hatching")
        .set("width", 6)
        .set("height", 6)
        .set("patternUnits", "userSpaceOnUse")
        .set("patternTransform", "rotate(45)")
        .add(line);
    Definitions::new().add(pattern)
}

fn legend() -> Group {
    let work = [Activity::CopyIn, Activity::Compute, Activity::CopyOut];
    let waits = [Activity::WaitForTurn, Activity::WaitInQueue];
    let mut x = WIDTH - 560.0;
    let mut group = Group::new();
    for activity in work.into_iter().chain(waits) {
        group = group.add(painted(rectangle(x, 18.0, 12.0, 10.0), activity));
        group = group.add(text(activity.name(), x + 16.0, 27.0, 10.0, "start"));
        x += 30.0 + 6.0 * activity.name().len() as f64;
    }
    let idle = rectangle(x, 18.0, 12.0, 10.0).set("fill", "url(#hatching)");
    group
        .add(idle)
        .add(text("idle", x + 16.0, 27.0, 10.0, "start"))
}

/// One clock's lanes under its own axis.
struct Panel {
    whole: Stretch,
    /// Slices that are shorter are not drawn.
    shortest_ns: u64,
}

impl Panel {
    fn new(clock: &ClockLanes<'_>, shortest_ns: u64) -> Self {
        Panel {
            whole: clock.whole(),
            shortest_ns,
        }
    }

    /// What is drawn, and how high it is.
    fn draw(&self, clock: &ClockLanes<'_>, top: f64) -> (Group, f64) {
        let height_of =
            |device: &DeviceLanes<'_>| HEADING + device.lanes.iter().map(height).sum::<f64>();
        let height = AXIS + clock.devices.iter().map(height_of).sum::<f64>();
        let name = match clock.clock {
            ClockKind::Wall => "wall clock",
            ClockKind::Virtual => "virtual clock",
        };
        let mut group =
            Group::new()
                .set("class", "clock")
                .add(text(name, 16.0, top + 12.0, 12.0, "start"));
        group = self.axis(group, top, height);
        let mut y = top + AXIS;
        for device in &clock.devices {
            let (drawn, taken) = self.device(device, y);
            group = group.add(drawn);
            y += taken;
        }
        (group, height)
    }

    fn axis(&self, mut group: Group, top: f64, height: f64) -> Group {
        for tenth in 0..=10 {
            let nanos = (self.whole.nanos() as f64 * f64::from(tenth) / 10.0) as u64;
            let at = self.x(self.whole.start_ns + nanos);
            let line = Line::new()
                .set("x1", at)
                .set("x2", at)
                .set("y1", top + 18.0)
                .set("y2", top + height)
                .set("stroke", "#dddddd");
            group = group.add(line);
            let label = duration(Duration::from_nanos(nanos));
            group = group.add(text(&label, at, top + 12.0, 10.0, "middle"));
        }
        group
    }

    fn device(&self, device: &DeviceLanes<'_>, top: f64) -> (Group, f64) {
        let label = text(device.device, 16.0, top + 16.0, 13.0, "start").set("font-weight", "bold");
        let mut group = Group::new().set("class", "device").add(label);
        // Of a device with a clock of its own, batches wait by another, by which it does no work.
        if device.lanes.iter().any(Lane::works) {
            let busy = percent(device.utilisation(self.whole));
            let busy = text(&busy, WIDTH - 8.0, top + 16.0, 11.0, "end");
            group = group.add(busy.set("font-weight", "bold"));
        }
        let mut y = top + HEADING;
        for lane in &device.lanes {
            group = group.add(self.lane(lane, y));
            y += height(lane);
        }
        (group, y - top)
    }

    fn lane(&self, lane: &Lane<'_>, y: f64) -> Group {
        let class = if lane.works() { "lane" } else { "waits" };
        let tall = height(lane) - if lane.works() { 8.0 } else { 4.0 };
        let baseline = y + tall / 2.0 + 4.0;
        let label = text(lane.queue, LABELS - 8.0, baseline, 11.0, "end");
        let mut group = Group::new().set("class", class).add(label);
        if lane.works() {
            let width = WIDTH - LABELS - RIGHT;
            let idle = rectangle(LABELS, y, width, tall)
                .set("class", "idle")
                .set("fill", "#ececec");
            group = group.add(idle);
            let least = self.whole.nanos() as f64 * LONG_GAP;
            for gap in lane.gaps(self.whole) {
                if gap.nanos() as f64 >= least {
                    group = self.gap(group, gap, y, tall);
                }
            }
            let busy = percent(lane.utilisation(self.whole));
            group = group.add(text(&busy, WIDTH - 8.0, baseline, 11.0, "end"));
        }
        let drawn = lane.events.iter();
        for event in drawn.filter(|event| event.duration_ns >= self.shortest_ns) {
            group = group.add(self.slice(event, y, tall));
        }
        group
    }

    fn gap(&self, group: Group, gap: Stretch, y: f64, tall: f64) -> Group {
        let (from, to) = (self.x(gap.start_ns), self.x(gap.end_ns));
        let length = duration(Duration::from_nanos(gap.nanos()));
        let hatched = rectangle(from, y, to - from, tall)
            .set("class", "gap")
            .set("fill", "url(#hatching)")
            .add(Title::new(format!("idle: {length}")));
        let group = group.add(hatched);
        if to - from < LABELLED_GAP {
            return group;
        }
        let label = text(
            &length,
            (from + to) / 2.0,
            y + tall / 2.0 + 4.0,
            10.0,
            "middle",
        );
        // Legible on the hatching.
        let label = label
            .set("stroke", "#ffffff")
            .set("stroke-width", 3)
            .set("paint-order", "stroke");
        group.add(label)
    }

    fn slice(&self, event: &TraceEvent, y: f64, tall: f64) -> Rectangle {
        let from = self.x(event.start_ns);
        let width = (self.x(event.end_ns()) - from).max(0.3);
        let length = duration(Duration::from_nanos(event.duration_ns));
        let title = format!("{}, batch {}: {length}", event.activity.name(), event.batch);
        painted(rectangle(from, y, width, tall), event.activity).add(Title::new(title))
    }

    fn x(&self, nanos: u64) -> f64 {
        let share = (nanos - self.whole.start_ns) as f64 / self.whole.nanos().max(1) as f64;
        LABELS + share * (WIDTH - LABELS - RIGHT)
    }
}

fn height(lane: &Lane<'_>) -> f64 {
    if lane.works() { LANE } else { THIN_LANE }
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// Work in colours that people with any kind of colour vision can tell apart (Okabe and Ito), waiting
/// as an outline.
fn painted(slice: Rectangle, activity: Activity) -> Rectangle {
    let work = |colour| slice.clone().set("class", "work").set("fill", colour);
    match activity {
        Activity::Compute => work("#0072b2"),
        Activity::CopyIn => work("#e69f00"),
        Activity::CopyOut => work("#009e73"),
        waiting => {
            let colour = match waiting {
                Activity::WaitForTurn => "#d55e00",
                _ => "#cc79a7",
            };
            slice
                .set("class", "wait")
                .set("fill", "#ffffff")
                .set("stroke", colour)
                .set("stroke-width", 1)
        }
    }
}

fn rectangle(x: f64, y: f64, width: f64, height: f64) -> Rectangle {
    Rectangle::new()
        .set("x", x)
        .set("y", y)
        .set("width", width)
        .set("height", height)
}

fn text(content: &str, x: f64, y: f64, size: f64, anchor: &str) -> Text {
    Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("font-size", size)
        .set("text-anchor", anchor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::lanes::tests::event;

    /// Elements of a class.
    fn count(picture: &str, class: &str) -> usize {
        picture.matches(&format!("class=\"{class}\"")).count()
    }

    #[test]
    fn a_picture_has_a_lane_for_each_queue_its_gaps_and_how_busy_it_was() {
        let events = [
            event("cuda:0", "copy in", Activity::CopyIn, 0, 300),
            event("cuda:0", "compute", Activity::Compute, 300, 500),
            // Too short a gap to be pointed out.
            event("cuda:0", "compute", Activity::Compute, 505, 705),
            event("cuda:0", "waits: main", Activity::WaitForTurn, 0, 1000),
            event("cpu", "main", Activity::Compute, 0, 1000),
        ];
        let picture = draw(&events).to_string();
        let legend = (3, 2);
        assert_eq!(count(&picture, "clock"), 1);
        assert_eq!(count(&picture, "device"), 2);
        assert_eq!(count(&picture, "lane"), 3);
        assert_eq!(count(&picture, "waits"), 1);
        assert_eq!(count(&picture, "work"), 4 + legend.0);
        assert_eq!(count(&picture, "wait"), 1 + legend.1);
        // Behind the copy, and before and behind what is computed.
        assert_eq!(count(&picture, "gap"), 3, "{picture}");
        for words in ["idle: 700 ns", "idle: 300 ns", "idle: 295 ns"] {
            assert!(picture.contains(words), "`{words}` is missing in {picture}");
        }
        // The device works from 0 to 500 and from 505 to 705.
        for busy in ["30%", "40%", "70%", "100%"] {
            assert!(
                picture.contains(&format!("\n{busy}\n")),
                "{busy}: {picture}"
            );
        }
    }

    #[test]
    fn slices_that_are_not_drawn_count_as_work() {
        let short = |at: u64| event("sim", "compute", Activity::Compute, 2 * at, 2 * at + 1);
        let mut events: Vec<TraceEvent> = (0..MAX_SLICES as u64).map(short).collect();
        let end = 2 * MAX_SLICES as u64;
        events.push(event("sim", "compute", Activity::Compute, end, 2 * end));
        let picture = draw(&events).to_string();
        assert!(count(&picture, "work") - 3 <= MAX_SLICES);
        // Half of the time until `end`, and all of it behind.
        assert!(picture.contains("\n75%\n"));
        assert!(picture.contains("only the sums"));
    }

    #[test]
    fn nothing_is_a_picture_of_nothing() {
        let picture = draw(&[]).to_string();
        assert!(picture.contains("</svg>") && count(&picture, "lane") == 0);
    }
}
