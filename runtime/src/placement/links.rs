//! Links that several devices share, each as one resource.

use std::time::Duration;

use unlade_hal::Timestamp;

use super::DeviceIndex;
use super::backlog::Backlog;
use super::candidates::{Candidate, Terms};
use super::model::LinkId;
use super::work::{LinkLoad, Load};

/// What devices have on their way over links that they share. A link that is one device's own needs
/// no account: its batches wait for the device anyway.
#[derive(Debug)]
pub(super) struct Links {
    devices: Vec<Traffic>,
}

/// What one device has on a link that it shares.
#[derive(Debug)]
struct Traffic {
    /// `None` where it shares none.
    link: Option<LinkId>,
    inwards: Backlog,
    outwards: Backlog,
}

/// What one batch has on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    inwards: Duration,
    outwards: Duration,
}

impl Links {
    /// Of devices with these links.
    pub(super) fn new(links: impl Iterator<Item = Option<LinkId>>) -> Self {
        let links: Vec<Option<LinkId>> = links.collect();
        let is_shared =
            |link: &LinkId| links.iter().filter(|other| **other == Some(*link)).count() > 1;
        let devices = links.iter().map(|link| Traffic {
            link: link.filter(is_shared),
            inwards: Backlog::new(1),
            outwards: Backlog::new(1),
        });
        Links {
            devices: devices.collect(),
        }
    }

    /// How a device's link is, the devices themselves being busy for so long.
    pub(super) fn load(&self, device: DeviceIndex, busy: &[Backlog], now: Timestamp) -> Load {
        let of = |way: fn(&Traffic) -> &Backlog| {
            let mut load = LinkLoad {
                own: way(&self.devices[device.0]).wait(now),
                ..LinkLoad::default()
            };
            for (other, traffic) in self.others(device) {
                let takes = way(traffic).wait(now);
                load.others += takes;
                // A device with much to do has its copies spread over that time.
                let over = busy[other].wait(now).max(takes);
                if !takes.is_zero() {
                    load.taken += takes.div_duration_f64(over);
                }
            }
            load.taken = load.taken.min(1.0);
            load
        };
        Load {
            link_in: of(|traffic| &traffic.inwards),
            link_out: of(|traffic| &traffic.outwards),
            ..Load::default()
        }
    }

    /// Adds what devices that share a link take longer for each other's sake. A link is as fast as
    /// the fastest of those on it are known to be: a slower one leaves room for others beside it.
    pub(super) fn share(&self, candidates: &mut [Candidate], loads: &[Load]) {
        for (device, traffic) in self.devices.iter().enumerate() {
            let Some(link) = traffic.link else { continue };
            let least = |taken: fn(&Terms) -> Duration| {
                let on_it = self.devices.iter().zip(&*candidates);
                let on_it = on_it.filter(|(other, _)| other.link == Some(link));
                let taken = on_it.map(|(_, candidate)| taken(&candidate.terms));
                let least = taken.filter(|taken| !taken.is_zero()).min();
                least.unwrap_or_default()
            };
            let (inwards, outwards) = (least(|terms| terms.link_in), least(|terms| terms.link_out));
            let terms = &mut candidates[device].terms;
            terms.link_in = terms.link_in.min(inwards);
            terms.link_out = terms.link_out.min(outwards);
            let Load {
                link_in, link_out, ..
            } = &loads[device];
            let waits = [(link_in, terms.link_in), (link_out, terms.link_out)];
            let waits = waits.into_iter().filter(|(_, takes)| !takes.is_zero());
            let longest = waits.map(|(load, takes)| load.wait(takes)).max();
            terms.link_wait = longest.unwrap_or_default();
        }
    }

    /// A batch goes to a device; `None` where that shares its link with no other.
    pub(super) fn begin(
        &mut self,
        device: DeviceIndex,
        terms: &Terms,
        now: Timestamp,
    ) -> Option<Passage> {
        let traffic = &mut self.devices[device.0];
        traffic.link?;
        let passage = Passage {
            inwards: terms.link_in,
            outwards: terms.link_out,
        };
        traffic.inwards.begin(passage.inwards, now);
        traffic.outwards.begin(passage.outwards, now);
        Some(passage)
    }

    /// The batch has left, in whatever way.
    pub(super) fn end(&mut self, device: DeviceIndex, passage: &Passage, now: Timestamp) {
        let traffic = &mut self.devices[device.0];
        traffic.inwards.end(passage.inwards, now);
        traffic.outwards.end(passage.outwards, now);
    }

    fn others(&self, device: DeviceIndex) -> impl Iterator<Item = (usize, &Traffic)> {
        let link = self.devices[device.0].link;
        let others = self.devices.iter().enumerate();
        others.filter(move |(other, traffic)| {
            link.is_some() && traffic.link == link && *other != device.0
        })
    }
}
