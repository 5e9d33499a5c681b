//! Events by clock, device and queue, and how busy each was.

use std::collections::BTreeMap;

use unlade::{Activity, ClockKind, TraceEvent};

/// The devices of one clock, whose times have nothing to do with those of the other.
pub(crate) struct ClockLanes<'a> {
    pub(crate) clock: ClockKind,
    /// When the first event began.
    pub(crate) start_ns: u64,
    /// When the last one ended.
    pub(crate) end_ns: u64,
    /// By name.
    pub(crate) devices: Vec<DeviceLanes<'a>>,
}

/// The queues of one device.
pub(crate) struct DeviceLanes<'a> {
    pub(crate) device: &'a str,
    /// In the order of a batch's way, those who wait at the end.
    pub(crate) lanes: Vec<Lane<'a>>,
}

/// What one queue did, one thing at a time; or what a thread waited for.
pub(crate) struct Lane<'a> {
    pub(crate) queue: &'a str,
    /// By their beginning. One at least.
    pub(crate) events: Vec<&'a TraceEvent>,
}

/// A stretch of time, in nanoseconds of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
}

impl Stretch {
    pub(crate) fn nanos(self) -> u64 {
        self.end_ns - self.start_ns
    }
}

/// All events, by clock: the wall's first.
pub(crate) fn by_clock(events: &[TraceEvent]) -> Vec<ClockLanes<'_>> {
    let clocks = [ClockKind::Wall, ClockKind::Virtual].into_iter();
    let clocks = clocks.map(|clock| ClockLanes::of(clock, events));
    clocks.filter(|clock| !clock.devices.is_empty()).collect()
}

impl<'a> ClockLanes<'a> {
    fn of(clock: ClockKind, events: &'a [TraceEvent]) -> Self {
        let events = || events.iter().filter(|event| event.clock == clock);
        let mut devices: BTreeMap<&str, BTreeMap<&str, Vec<&TraceEvent>>> = BTreeMap::new();
        for event in events() {
            let lanes = devices.entry(&event.device).or_default();
            lanes.entry(&event.queue).or_default().push(event);
        }
        let devices = devices.into_iter().map(|(device, lanes)| {
            let mut lanes: Vec<Lane<'_>> = lanes
                .into_iter()
                .map(|(queue, mut events)| {
                    events.sort_by_key(|event| event.start_ns);
                    Lane { queue, events }
                })
                .collect();
            lanes.sort_by_key(Lane::step);
            DeviceLanes { device, lanes }
        });
        ClockLanes {
            clock,
            start_ns: events().map(|event| event.start_ns).min().unwrap_or(0),
            end_ns: events().map(TraceEvent::end_ns).max().unwrap_or(0),
            devices: devices.collect(),
        }
    }

    /// From the first event to the last.
    pub(crate) fn whole(&self) -> Stretch {
        Stretch {
            start_ns: self.start_ns,
            end_ns: self.end_ns,
        }
    }
}

impl DeviceLanes<'_> {
    /// Which part of a stretch some queue of the device worked in.
    pub(crate) fn utilisation(&self, within: Stretch) -> f64 {
        let mut work: Vec<Stretch> = self.lanes.iter().flat_map(Lane::work).collect();
        work.sort_by_key(|each| each.start_ns);
        let mut reached = within.start_ns;
        let mut busy = 0;
        for each in work {
            busy += each.end_ns.saturating_sub(each.start_ns.max(reached));
            reached = reached.max(each.end_ns);
        }
        share(busy, within)
    }
}

impl<'a> Lane<'a> {
    /// Whether it is one on which work is done, not one of those who wait.
    pub(crate) fn works(&self) -> bool {
        self.step().is_work()
    }

    /// What comes first of what it does.
    fn step(&self) -> Activity {
        let steps = self.events.iter().map(|event| event.activity);
        steps.min().expect("a lane has an event")
    }

    /// When it worked.
    fn work(&self) -> impl Iterator<Item = Stretch> + use<'a, '_> {
        let work = self.events.iter().filter(|event| event.activity.is_work());
        work.map(|event| Stretch {
            start_ns: event.start_ns,
            end_ns: event.end_ns(),
        })
    }

    /// Which part of a stretch it worked in.
    pub(crate) fn utilisation(&self, within: Stretch) -> f64 {
        share(self.work().map(Stretch::nanos).sum(), within)
    }

    /// When it did not work, within a stretch.
    pub(crate) fn gaps(&self, within: Stretch) -> Vec<Stretch> {
        let mut reached = within.start_ns;
        let mut gaps = Vec::new();
        let end = Stretch {
            start_ns: within.end_ns,
            end_ns: within.end_ns,
        };
        for work in self.work().chain([end]) {
            if work.start_ns > reached {
                gaps.push(Stretch {
                    start_ns: reached,
                    end_ns: work.start_ns,
                });
            }
            reached = reached.max(work.end_ns);
        }
        gaps
    }
}

fn share(busy: u64, of: Stretch) -> f64 {
    busy as f64 / of.nanos().max(1) as f64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An event of batch 1.
    pub(crate) fn event(
        device: &str,
        queue: &str,
        activity: Activity,
        start_ns: u64,
        end_ns: u64,
    ) -> TraceEvent {
        TraceEvent {
            device: device.into(),
            queue: queue.into(),
            activity,
            batch: 1,
            kernel: 0,
            start_ns,
            duration_ns: end_ns - start_ns,
            clock: ClockKind::Wall,
        }
    }

    #[test]
    fn queues_of_a_device_stand_together_in_the_order_of_a_batch() {
        let events = [
            event("gpu", "waits: main", Activity::WaitForTurn, 0, 10),
            event("gpu", "copy out", Activity::CopyOut, 90, 100),
            event("gpu", "compute", Activity::Compute, 40, 60),
            event("cpu", "main", Activity::Compute, 0, 100),
            event("gpu", "compute", Activity::Compute, 20, 30),
            event("gpu", "copy in", Activity::CopyIn, 10, 40),
        ];
        let clocks = by_clock(&events);
        assert_eq!(clocks.len(), 1, "of one clock");
        let names: Vec<(&str, Vec<&str>)> = clocks[0]
            .devices
            .iter()
            .map(|each| {
                (
                    each.device,
                    each.lanes.iter().map(|lane| lane.queue).collect(),
                )
            })
            .collect();
        let gpu = vec!["copy in", "compute", "copy out", "waits: main"];
        assert_eq!(names, [("cpu", vec!["main"]), ("gpu", gpu)]);
    }

    #[test]
    fn waiting_is_no_work_and_what_is_not_work_is_a_gap() {
        let events = [
            event("gpu", "copy in", Activity::CopyIn, 10, 40),
            event("gpu", "compute", Activity::Compute, 30, 50),
            event("gpu", "compute", Activity::Compute, 50, 60),
            event("gpu", "waits: main", Activity::WaitInQueue, 0, 100),
        ];
        let clocks = by_clock(&events);
        let whole = clocks[0].whole();
        let [copy_in, compute, waits] = &clocks[0].devices[0].lanes[..] else {
            panic!("three lanes");
        };
        assert_eq!(copy_in.utilisation(whole), 0.3);
        assert_eq!(compute.utilisation(whole), 0.3);
        assert_eq!(waits.utilisation(whole), 0.0);
        assert!(!waits.works() && compute.works());
        // From 10 to 60 something of the device works.
        assert_eq!(clocks[0].devices[0].utilisation(whole), 0.5);
        let gaps: Vec<(u64, u64)> = compute
            .gaps(whole)
            .iter()
            .map(|gap| (gap.start_ns, gap.end_ns))
            .collect();
        assert_eq!(gaps, [(0, 30), (60, 100)]);
    }
}
