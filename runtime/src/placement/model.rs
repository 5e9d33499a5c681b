//! What is known of a device's speed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::ClockKind;

use super::DeviceIndex;
use super::candidates::Terms;
use super::estimate::{Estimate, Guess};
use super::work::{HostBuffer, Load, Measured, ProgramId, Work, WorkKey};

/// A link that several devices may share: a PCIe switch, a host bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A device's speed, as far as it is known before anything is measured. Rates are per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// One dispatch, from submit to the start of work.
    pub launch: Duration,
    /// Bytes copied from ordinary to pinned memory; infinite where none are needed.
    pub stage: f64,
    /// Bytes over the link to the device.
    pub copy_in: f64,
    /// Whether it works on the host's memory, so that nothing is copied to it: what it reads comes
    /// over the link as it computes.
    pub in_place: bool,
    /// Bytes over the link from the device.
    pub copy_out: f64,
    /// Bytes that the device reads from its own memory.
    pub read: f64,
    /// Units of work (see [`Work::cost_per_row`](super::Work::cost_per_row)).
    pub work: f64,
    /// Bytes of payload that the host compacts.
    pub gather: f64,
    /// Compiling a program, for each of its instructions.
    pub compile: Duration,
    /// Whether the host's own processor computes.
    pub host: bool,
    /// The link that it shares with others, if it does.
    pub link: Option<LinkId>,
}

impl Profile {
    /// One core of a server: works in host memory, nothing to copy.
    pub fn cpu() -> Self {
        Profile {
            launch: Duration::ZERO,
            stage: f64::INFINITY,
            copy_in: f64::INFINITY,
            in_place: true,
            copy_out: f64::INFINITY,
            read: 12e9,
            work: 8e9,
            gather: 6e9,
            compile: Duration::ZERO,
            host: true,
            link: None,
        }
    }

    /// A current GPU on PCIe.
    pub fn gpu() -> Self {
        Profile {
            launch: Duration::from_micros(10),
            stage: 6e9,
            copy_in: 25e9,
            in_place: false,
            copy_out: 25e9,
            read: 1e12,
            work: 1e12,
            gather: 6e9,
            compile: Duration::from_millis(1),
            host: false,
            link: None,
        }
    }

    /// A card on PCIe that works on the host's memory.
    pub fn card() -> Self {
        Profile {
            in_place: true,
            compile: Duration::from_micros(20),
            ..Profile::gpu()
        }
    }
}

/// A device with its profile and what was measured on it.
#[derive(Debug)]
pub struct Modelled {
    pub(super) name: Arc<str>,
    pub(super) clock: ClockKind,
    pub(super) simulated: bool,
    /// What it is, for who recognises it in another run.
    pub(super) hardware: Arc<str>,
    profile: Profile,
    /// Measured terms; compute separately by kind of work.
    pub(super) stage: Estimate,
    pub(super) copy_in: Estimate,
    pub(super) copy_out: Estimate,
    pub(super) gather: Estimate,
    pub(super) compile: Estimate,
    pub(super) compute: HashMap<WorkKey, Estimate>,
    /// Compute of single programs, most of which are as wrong as their kind, and each in a way of
    /// its own.
    programs: Programs,
}

impl Modelled {
    /// A device of which nothing is measured yet.
    pub fn new(name: &str, clock: ClockKind, profile: Profile) -> Self {
        Modelled {
            name: name.into(),
            clock,
            simulated: false,
            hardware: name.into(),
            profile,
            stage: Estimate::default(),
            copy_in: Estimate::default(),
            copy_out: Estimate::default(),
            gather: Estimate::default(),
            compile: Estimate::default(),
            compute: HashMap::new(),
            programs: Programs::default(),
        }
    }

    /// The same device, known to be a simulator.
    #[must_use]
    pub fn simulated(mut self) -> Self {
        self.simulated = true;
        self
    }

    /// The same device, of this hardware: what is measured on it holds for the same one alone. Its
    /// name unless told otherwise.
    #[must_use]
    pub fn hardware(mut self, hardware: impl Into<Arc<str>>) -> Self {
        self.hardware = hardware.into();
        self
    }

    /// The link that it shares with others, if it does.
    pub fn link(&self) -> Option<LinkId> {
        self.profile.link
    }

    /// The same device, sharing this link with others.
    #[must_use]
    pub fn on_link(mut self, link: LinkId) -> Self {
        self.profile.link = Some(link);
        self
    }

    /// What the device of this index will take, `load` saying how it is at the moment.
    pub(super) fn predict(&self, index: DeviceIndex, work: &Work, load: &Load) -> Terms {
        let by_profile = ByProfile::new(&self.profile, index, work);
        let kind = self.compute.get(&work.key);
        let compute = match self.programs.known(work.program, kind).or(kind) {
            Some(estimate) => estimate.predict(by_profile.compute),
            None => by_profile.compute.total(),
        };
        let launch = by_profile.compute.fixed.min(compute);
        let copy_in = self.copy_in.predict(Guess::growing(by_profile.copy_in));
        let copy_out = self.copy_out.predict(Guess::growing(by_profile.copy_out));
        let link_in = match self.profile.in_place {
            true => by_profile.link_in.min(compute - launch),
            false => copy_in,
        };
        let stage = self.stage.predict(Guess::growing(by_profile.stage));
        let gather = self.gather.predict(Guess::growing(by_profile.gather));
        let host_cpu = stage + gather + if self.profile.host { compute } else { launch };
        Terms {
            queue_wait: load.queue_wait,
            link_wait: Duration::ZERO, // until it is known what its neighbours on the link do
            compile: load.compile / u32::try_from(load.compile_batches.max(1)).unwrap_or(u32::MAX),
            launch: seconds(launch),
            stage: seconds(stage),
            copy_in: seconds(copy_in),
            compute: seconds(compute - launch),
            copy_out: seconds(copy_out),
            host_gather: seconds(gather),
            host_cpu: seconds(host_cpu),
            link_in: seconds(link_in),
            link_out: seconds(copy_out),
        }
    }

    /// What compiling so many instructions will take.
    pub(super) fn compiling(&self, instructions: usize) -> Duration {
        let by_profile = self.compiling_by_profile(instructions);
        seconds(self.compile.predict(by_profile))
    }

    /// Learns what compiling so many took.
    pub(super) fn compiled(&mut self, instructions: usize, took: Duration, batch: u64) {
        let by_profile = self.compiling_by_profile(instructions);
        self.compile.observe(by_profile, took.as_secs_f64(), batch);
    }

    fn compiling_by_profile(&self, instructions: usize) -> Guess {
        Guess::growing(self.profile.compile.as_secs_f64() * instructions as f64)
    }

    /// Learns what a batch took on the device of this index, after so many batches were placed. True
    /// where some term was a surprise.
    pub(super) fn observe(
        &mut self,
        index: DeviceIndex,
        work: &Work,
        measured: &Measured,
        batch: u64,
    ) -> bool {
        let by_profile = ByProfile::new(&self.profile, index, work);
        let compute = self.compute.entry(work.key).or_default();
        let mut surprising = false;
        let mut learn = |estimate: &mut Estimate, guess, measured: Option<Duration>| {
            if let Some(measured) = measured {
                surprising |= estimate.observe(guess, measured.as_secs_f64(), batch);
            }
        };
        learn(compute, by_profile.compute, measured.compute);
        if let (Some(program), Some(_)) = (work.program, measured.compute) {
            let compute = self.programs.entry(program);
            learn(compute, by_profile.compute, measured.compute);
        }
        let others = [
            (&mut self.stage, by_profile.stage, measured.stage),
            (&mut self.copy_in, by_profile.copy_in, measured.copy_in),
            (&mut self.copy_out, by_profile.copy_out, measured.copy_out),
            (&mut self.gather, by_profile.gather, measured.gather),
        ];
        for (estimate, by_profile, measured) in others {
            learn(estimate, Guess::growing(by_profile), measured);
        }
        surprising
    }
}

/// What was measured of single programs.
#[derive(Debug, Default)]
struct Programs(HashMap<ProgramId, Estimate>);

/// Programs that are remembered of a device.
const MOST_PROGRAMS: usize = 1024;

/// Measurements of a program from which on they say more of it than those of its kind.
const ENOUGH: usize = 4;

/// Batches after which a program's measurements are old, if its kind was measured since.
const OLD: u64 = 64;

impl Programs {
    /// The estimate of a program, if it is better than that of its kind.
    fn known(&self, program: Option<ProgramId>, kind: Option<&Estimate>) -> Option<&Estimate> {
        let estimate = self.0.get(&program?)?;
        let newest = kind.and_then(Estimate::newest).unwrap_or(0);
        let is_old = estimate.newest()?.saturating_add(OLD) < newest;
        (estimate.len() >= ENOUGH && !is_old).then_some(estimate)
    }

    /// The estimate of a program; the one that was not measured for longest makes room for it.
    fn entry(&mut self, program: ProgramId) -> &mut Estimate {
        if self.0.len() >= MOST_PROGRAMS && !self.0.contains_key(&program) {
            let oldest = self
                .0
                .iter()
                .min_by_key(|(id, known)| (known.newest(), **id));
            let oldest = oldest.map(|(id, _)| *id);
            oldest.and_then(|id| self.0.remove(&id));
        }
        self.0.entry(program).or_default()
    }
}

/// The terms in seconds, as the profile alone has them.
struct ByProfile {
    stage: f64,
    copy_in: f64,
    /// Over the link to the device, by a copy or while it computes.
    link_in: f64,
    /// Launches included, which are what is fixed: that is how devices measure it.
    compute: Guess,
    copy_out: f64,
    gather: f64,
}

impl ByProfile {
    fn new(profile: &Profile, device: DeviceIndex, work: &Work) -> Self {
        let at = |amount: f64, rate: f64| if rate > 0.0 { amount / rate } else { f64::MAX };
        let (there, compacts) = match work.buffer {
            HostBuffer::Resident { on, compacts } if on == device => (true, compacts),
            _ => (false, false),
        };
        let (bytes_out, gathered) = match compacts {
            true => (work.bytes_out + work.bytes_gathered, 0),
            false => (work.bytes_out, work.bytes_gathered),
        };
        let (bytes_in, bytes_out) = (work.bytes_in as f64, bytes_out as f64);
        let launch = profile.launch.as_secs_f64() * f64::from(work.launches);
        let units = work.rows as f64 * work.cost_per_row;
        let link_in = match there {
            true => 0.0,
            false => at(bytes_in, profile.copy_in),
        };
        let read_over_link = if profile.in_place { link_in } else { 0.0 };
        let read = at(bytes_in, profile.read).max(read_over_link);
        let gather = at(gathered as f64, profile.gather);
        // The host compacts while it computes: its time is measured as one.
        let (fused, gather) = match profile.host {
            true => (gather, 0.0),
            false => (0.0, gather),
        };
        ByProfile {
            stage: if there || work.buffer == HostBuffer::Pinned {
                0.0
            } else {
                at(bytes_in, profile.stage)
            },
            copy_in: link_in - read_over_link,
            link_in,
            compute: Guess {
                fixed: launch,
                growing: read.max(at(units, profile.work)) + fused,
            },
            copy_out: at(bytes_out, profile.copy_out),
            gather,
        }
    }
}

/// Whatever a device's figures lead to, as a time.
fn seconds(seconds: f64) -> Duration {
    const CENTURY: f64 = 3.2e9;
    Duration::from_secs_f64(if seconds.is_finite() {
        seconds.clamp(0.0, CENTURY)
    } else {
        CENTURY
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceIndex = DeviceIndex(0);

    fn batch(program: Option<u64>, rows: u64) -> Work {
        Work {
            program: program.map(ProgramId),
            rows,
            bytes_in: 8 * rows,
            ..Work::default()
        }
    }

    fn compute(device: &Modelled, work: &Work) -> f64 {
        let terms = device.predict(DEVICE, work, &Load::default());
        (terms.launch + terms.compute).as_secs_f64()
    }

    fn observe(device: &mut Modelled, work: &Work, factor: f64, batch: u64) {
        let plain = Modelled::new("plain", ClockKind::Virtual, Profile::cpu());
        let took = Duration::from_secs_f64(factor * compute(&plain, work));
        let measured = Measured {
            compute: Some(took),
            ..Measured::default()
        };
        device.observe(DEVICE, work, &measured, batch);
    }

    #[test]
    fn programs_of_one_kind_are_told_apart_and_old_measurements_from_new_ones() {
        let profile = Profile::cpu();
        let plain = Modelled::new("plain", ClockKind::Virtual, profile);
        let mut device = Modelled::new("device", ClockKind::Virtual, profile);
        for round in 0..30 {
            for (program, factor) in [(1, 3.0), (2, 0.5)] {
                let work = batch(Some(program), 100_000 * (1 + round % 7));
                observe(&mut device, &work, factor, round);
            }
        }
        let ratio = |device: &Modelled, program| {
            let work = batch(program, 250_000);
            compute(device, &work) / compute(&plain, &work)
        };
        assert!((ratio(&device, Some(1)) - 3.0).abs() < 0.03);
        assert!((ratio(&device, Some(2)) - 0.5).abs() < 0.005);
        // Of others the kind is what is known.
        assert_eq!(ratio(&device, Some(3)), ratio(&device, None));
        assert!((0.5..3.0).contains(&ratio(&device, None)));
        // The device became slower since the second was seen.
        for round in 0..30 {
            observe(&mut device, &batch(Some(1), 100_000), 6.0, 30 + OLD + round);
        }
        assert!((ratio(&device, Some(1)) - 6.0).abs() < 0.06);
        assert_eq!(ratio(&device, Some(2)), ratio(&device, None));
    }

    #[test]
    fn so_many_programs_are_remembered_and_the_one_not_seen_for_longest_is_not() {
        let mut device = Modelled::new("device", ClockKind::Virtual, Profile::cpu());
        let all = MOST_PROGRAMS as u64 + 1;
        for program in 0..all {
            observe(&mut device, &batch(Some(program), 1000), 1.0, program);
        }
        assert_eq!(device.programs.0.len(), MOST_PROGRAMS);
        assert!(!device.programs.0.contains_key(&ProgramId(0)));
        assert!(device.programs.0.contains_key(&ProgramId(all - 1)));
    }
}
