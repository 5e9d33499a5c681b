//! Which device runs a batch, and why.
//!
//! A pure model of costs, calibrated while running. One batch is predicted to take
//!
//! ```text
//! queue_wait + link_wait + compile/batches
//!     + launches*L + stage + in/BW_h2d + max(in/BW_device, work/R) + out/BW_d2h + host_gather
//! ```
//!
//! and keeps the device from others for the largest of those stages, since batches overlap: so a
//! stream spreads over all devices, each batch going where it is [done first](Backlog). A link that
//! devices [share](LinkId) is a resource of its own: batches of one take longer there by [what the
//! others have on it](LinkLoad). What compiling takes is spread over as many batches as are expected to follow.
//! Each other term begins as what a device's [`Profile`] says and is corrected by what was measured,
//! separately for every kind of work and with more weight on batches of a similar size.
//!
//! Devices that are not chosen are probed with slices of batches, at most 1% of all bytes and 3% of
//! all time, so that a device that became faster is found out. A probe runs on the thread of the batch that it is
//! beside, which hands its result on once that is over. A choice is kept unless another is clearly better.
//! Simulators are chosen only where the [`Policy`] says so, and times of different clocks are never
//! compared: only devices on the clock of the first eligible one are candidates.
//!
//! ```
//! use unlade_hal::ClockKind;
//! use unlade_runtime::placement::{Load, Modelled, Placer, Policy, Profile, Work};
//!
//! let device = |name: &str, profile| Modelled::new(name, ClockKind::Wall, profile);
//! let devices = vec![device("cpu", Profile::cpu()), device("cuda:0", Profile::gpu())];
//! let mut placer = Placer::new(devices, Policy::default());
//! let batch = Work { rows: 1_000_000, bytes_in: 4_000_000, ..Work::default() };
//! let loads = [Load::default(), Load::default()];
//! let choice = placer.place(&batch, &loads).unwrap();
//! // A filter over data in host memory usually belongs on the CPU.
//! assert_eq!(placer.name(choice.device), "cpu");
//! println!("{}", choice.candidates);
//! ```

mod backlog;
mod calibration;
mod candidates;
mod estimate;
mod links;
mod model;
mod probe;
mod selectivity;
#[cfg(test)]
mod tests;
mod work;

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unlade_hal::{ClockKind, Timestamp};

pub use self::backlog::Backlog;
pub use self::calibration::{CALIBRATION_VERSION, Calibration};
pub use self::candidates::{Candidate, Candidates, Terms};
use self::links::{Links, Passage};
pub use self::model::{LinkId, Modelled, Profile};
use self::probe::ProbeBudget;
pub use self::selectivity::Selectivity;
pub use self::work::{
    HostBuffer, Ineligible, LinkLoad, Load, Measured, Operation, ProgramId, TypeClass, Work,
    WorkKey,
};

/// How much better than the present choice another must be predicted to be.
const HYSTERESIS: f64 = 0.97;

/// Position of a device among those a [`Placer`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceIndex(pub usize);

/// What placement aims at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What a good choice has least of.
    pub objective: Objective,
    /// Whether `auto` may pick simulators; for tests.
    pub simulators: bool,
}

/// What a good choice has least of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Time from hand-over to result.
    #[default]
    Latency,
    /// CPU time of the host.
    HostCpu,
}

/// Which device, why, and by how much.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The device.
    pub device: DeviceIndex,
    /// Why it.
    pub because: Because,
    /// Every device with every predicted term.
    pub candidates: Candidates,
    /// A slice of the batch to run on another device as well, to learn how fast that one is. Its
    /// result can be compared with the batch's, or be thrown away.
    pub probe: Option<Probe>,
}

impl Choice {
    /// What is predicted of the device.
    ///
    /// # Panics
    /// Where the choice was not made by a [`Placer`].
    pub fn chosen(&self) -> &Candidate {
        let chosen = self.candidates.iter().nth(self.device.0);
        chosen.expect("the chosen one is a candidate")
    }
}

/// Why a device was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// No other device was eligible.
    Only,
    /// It was predicted to be the best by the objective.
    Cheapest,
    /// Another was predicted to be better, but not by enough to change.
    Kept,
}

/// A slice of a batch to run on a device that was not chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The device to learn about.
    pub device: DeviceIndex,
    /// How many rows, from the start of the batch.
    pub rows: u64,
    /// What it is predicted to take, with what it waits for.
    pub takes: Duration,
}

/// A batch that a device was given and has not done yet.
#[derive(Debug)]
#[must_use = "its device counts as busy until it is handed to `end`"]
pub struct Begun {
    device: DeviceIndex,
    /// How long it keeps the device busy.
    takes: Duration,
    /// What it has on a link that the device shares.
    passage: Option<Passage>,
}

/// Chooses devices and learns from what came of it.
#[derive(Debug)]
pub struct Placer {
    devices: Vec<Modelled>,
    policy: Policy,
    /// What each device has to do.
    backlogs: Vec<Backlog>,
    links: Links,
    /// The choice for each kind and size of work.
    kept: HashMap<(WorkKey, u32), DeviceIndex>,
    probes: ProbeBudget,
    /// Batches placed so far.
    placed: u64,
}

impl Placer {
    /// A placer over these devices. Where two are predicted to be equal, the first one is chosen.
    pub fn new(devices: Vec<Modelled>, policy: Policy) -> Self {
        let probes = ProbeBudget::new(devices.len());
        Placer {
            backlogs: vec![Backlog::new(1); devices.len()],
            links: Links::new(devices.iter().map(Modelled::link)),
            devices,
            policy,
            kept: HashMap::new(),
            probes,
            placed: 0,
        }
    }

    /// The name of a device.
    pub fn name(&self, device: DeviceIndex) -> &str {
        &self.devices[device.0].name
    }

    /// Chooses a device for a batch, `loads` saying how each device is at the moment.
    ///
    /// # Errors
    /// Where no device is eligible: the candidates say why not, each.
    ///
    /// # Panics
    /// Where there is not one load for every device.
    pub fn place(&mut self, work: &Work, loads: &[Load]) -> Result<Choice, Candidates> {
        let candidates = self.predict(work, loads);
        let objective = self.policy.objective;
        let scores: Vec<(DeviceIndex, f64)> = candidates
            .iter()
            .enumerate()
            .filter_map(|(index, each)| Some((DeviceIndex(index), each.score(objective)?)))
            .collect();
        let best = scores
            .iter()
            .copied()
            .reduce(|a, b| if b.1 < a.1 { b } else { a });
        let Some(best) = best else {
            return Err(candidates);
        };
        let slot = (work.key, work.size_class());
        let kept = self.kept.get(&slot).and_then(|kept| {
            scores
                .iter()
                .find(|(device, score)| device == kept && best.1 > score * HYSTERESIS)
        });
        let device = kept.map_or(best.0, |(device, _)| *device);
        let because = match (scores.len(), device == best.0) {
            (1, _) => Because::Only,
            (_, true) => Because::Cheapest,
            (_, false) => Because::Kept,
        };
        self.placed += 1;
        if self.kept.len() >= MAX_KEPT {
            self.kept.clear();
        }
        self.kept.insert(slot, device);
        let others = scores
            .iter()
            .map(|(each, _)| *each)
            .filter(|each| *each != device);
        let chosen = candidates
            .iter()
            .nth(device.0)
            .expect("one for every device");
        let takes = chosen.terms.per_batch().as_secs_f64();
        let devices = &self.devices;
        let predict = |device: DeviceIndex, work: &Work| {
            // It waits as a batch does for what the device has to do.
            let terms = devices[device.0].predict(device, work, &loads[device.0]);
            terms.latency().as_secs_f64()
        };
        let probe = self.probes.next(work, takes, others, predict);
        Ok(Choice {
            device,
            because,
            candidates,
            probe,
        })
    }

    /// What every device is predicted to take.
    ///
    /// # Panics
    /// Where there is not one load for every device.
    pub fn predict(&self, work: &Work, loads: &[Load]) -> Candidates {
        assert_eq!(loads.len(), self.devices.len(), "one load for every device");
        let eligible = |device: &Modelled, load: &Load| match &load.ineligible {
            Some(reason) => Some(reason.clone()),
            None if device.simulated && !self.policy.simulators => Some(Ineligible::Simulator),
            None => None,
        };
        let mut clock: Option<ClockKind> = None;
        let devices = self.devices.iter().zip(loads).enumerate();
        let candidates = devices.map(|(index, (device, load))| {
            let mut ineligible = eligible(device, load);
            if ineligible.is_none() && *clock.get_or_insert(device.clock) != device.clock {
                ineligible = Some(Ineligible::OtherClock);
            }
            let terms = device.predict(DeviceIndex(index), work, load);
            Candidate {
                device: device.name.clone(),
                clock: device.clock,
                terms,
                ineligible,
            }
        });
        let mut candidates: Vec<Candidate> = candidates.collect();
        self.links.share(&mut candidates, loads);
        Candidates::new(candidates)
    }

    /// How a device and its link are with the batches that they were given.
    pub fn load(&self, device: DeviceIndex, now: Timestamp) -> Load {
        Load {
            queue_wait: self.backlogs[device.0].wait(now),
            ..self.links.load(device, &self.backlogs, now)
        }
    }

    /// A device was given a batch of which this is predicted. It keeps the device busy for its
    /// [longest stage](Terms::per_batch), beside others, and the device's link for its copies.
    pub fn begin(&mut self, device: DeviceIndex, terms: &Terms, now: Timestamp) -> Begun {
        let takes = terms.per_batch();
        self.backlogs[device.0].begin(takes, now);
        Begun {
            device,
            takes,
            passage: self.links.begin(device, terms, now),
        }
    }

    /// A batch has left the device, in whatever way.
    pub fn end(&mut self, begun: Begun, now: Timestamp) {
        let Begun {
            device,
            takes,
            passage,
        } = begun;
        self.backlogs[device.0].end(takes, now);
        if let Some(passage) = passage {
            self.links.end(device, &passage, now);
        }
    }

    /// What compiling a program of so many instructions for a device is predicted to take.
    pub fn compiling(&self, device: DeviceIndex, instructions: usize) -> Duration {
        self.devices[device.0].compiling(instructions)
    }

    /// Learns what compiling so many instructions for a device took.
    pub fn compiled(&mut self, device: DeviceIndex, instructions: usize, took: Duration) {
        self.devices[device.0].compiled(instructions, took, self.placed);
    }

    /// How many rows a device should be given at once, if work like this comes in small batches: so
    /// many that a row takes hardly longer than in the largest of batches, since what it takes for
    /// any batch, however small, is spread over them. `work.rows` times a power of two.
    pub fn good_rows(&self, device: DeviceIndex, work: &Work) -> u64 {
        const HARDLY_LONGER: f64 = 1.125;
        const DOUBLED: u32 = 20;
        let rows = work.rows.max(1);
        let per_row = |rows: u64| self.seconds(device, &work.slice(rows)) / rows as f64;
        let least = per_row(rows << DOUBLED);
        let doubled = (0..DOUBLED).map(|doubled| rows << doubled);
        let mut good = doubled.filter(|rows| per_row(*rows) <= least * HARDLY_LONGER);
        good.next().unwrap_or(rows << DOUBLED)
    }

    /// How long work keeps a device that is idle, in seconds.
    pub(crate) fn seconds(&self, device: DeviceIndex, work: &Work) -> f64 {
        let terms = self.devices[device.0].predict(device, work, &Load::default());
        terms.per_batch().as_secs_f64()
    }

    /// What was measured so far.
    pub fn calibration(&self) -> Calibration {
        Calibration::of(&self.devices)
    }

    /// Begins with what was measured on the same hardware in another run; returns on how many of the
    /// devices. What is measured from now on counts for more.
    pub fn recall(&mut self, calibration: &Calibration) -> usize {
        calibration.recall(&mut self.devices)
    }

    /// Whether there was ever something to place.
    pub fn has_placed(&self) -> bool {
        self.placed > 0
    }

    /// A probe has taken so long, with what it has waited for: what there is for others pays that, not
    /// what was predicted.
    pub fn probed(&mut self, probe: &Probe, taken: Duration) {
        self.probes.probed(probe, taken);
    }

    /// Learns from a batch, a part of one, or a probe.
    pub fn observe(&mut self, device: DeviceIndex, work: &Work, measured: &Measured) {
        let surprising = self.devices[device.0].observe(device, work, measured, self.placed);
        self.probes.observed(device, work.key, surprising);
    }
}

/// Bound on remembered choices; beyond it they are all forgotten, which costs only hysteresis.
const MAX_KEPT: usize = 4096;
