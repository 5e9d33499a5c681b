//! A recorded schedule again, on virtual time: on the devices that it was recorded on, or on others.
//!
//! What decides is what decides in the runtime: the [`Placer`](crate::placement::Placer) chooses
//! devices, the [`Scheduler`](crate::scheduler::Scheduler) gives turns. What is simulated is the rest:
//! streams read ahead as far as they do, results are taken as fast as they were, and a device's link,
//! processor and link back work on one batch at a time each. A batch takes what it took where it goes
//! to the device that it was recorded on, or to another of the same; elsewhere what was measured on
//! that device lets expect, or else its profile.
//!
//! What is not simulated: faults and what was repeated because of them, want of memory, compiling,
//! and that batches would be put together or taken apart in another way for other devices. The same
//! recording gives the same replay.
//!
//! ```no_run
//! use std::{fs::File, io::BufReader};
//! use unlade_runtime::{Recording, Replay};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recording = Recording::read(&mut BufReader::new(File::open("run.jsonl")?))?;
//! let one = Replay::of(&recording).run()?;
//! let two = Replay::of(&recording).on(&["cuda:0*2".parse()?])?.run()?;
//! println!("{:?} with one, {:?} with two", one.makespan, two.makespan);
//! # Ok(())
//! # }
//! ```

mod choice;
mod engines;
mod outcome;
mod stream;
#[cfg(test)]
mod tests;
mod threads;
mod world;

use std::sync::Arc;

use thiserror::Error;
use unlade_hal::ClockKind;

pub use self::choice::DeviceChoice;
pub use self::outcome::{DeviceOutcome, Outcome, SessionOutcome};
use self::world::World;
use crate::placement::{Objective, Profile};
use crate::recording::{MOST_DEVICES, RecordedDevice, Recording};

/// A recorded schedule, and on what it is to run again.
#[derive(Clone, Debug)]
pub struct Replay<'a> {
    recording: &'a Recording,
    devices: Vec<ReplayDevice>,
    objective: Objective,
    places_anew: bool,
    /// Whether devices, and the host's part for them, take no time at all.
    is_free: bool,
}

/// A device of a replay.
#[derive(Clone, Debug)]
struct ReplayDevice {
    name: Arc<str>,
    /// The recorded device that it is the same as, if any.
    like: Option<Arc<str>>,
    hardware: Arc<str>,
    profile: Profile,
    depth: u32,
    bytes: u64,
}

/// Why a schedule cannot run again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// What was asked for is none of the devices.
    #[error(
        "there is no device `{name}` in the recording; there are: {known}, and by their profiles alone \
         profile:cpu and profile:gpu"
    )]
    NoSuchDevice {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It is not how devices are chosen.
    #[error("`{text}` is no choice of devices: {why}; write NAME, NAME*COUNT, or NAME@LINK*COUNT")]
    Choice {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// They are too many.
    #[error("{asked} devices are more than the {MOST_DEVICES} that a replay may have")]
    TooMany {
        /// So many.
        asked: u64,
    },
    /// Times of two clocks would be compared.
    #[error(
        "`{one}` and `{other}` are timed by different clocks, which are never compared; replay it on \
         devices of the wall clock alone, as profile:cpu and profile:gpu are (--device), or record it on \
         devices of one clock"
    )]
    Clocks {
        /// A device.
        one: Arc<str>,
        /// A device by another clock.
        other: Arc<str>,
    },
    /// A batch can run on none of the devices.
    #[error(
        "kernel {kernel} can run on none of the devices: {why}; add one that it ran on, `{ran_on}`"
    )]
    Nowhere {
        /// Its kernel.
        kernel: u64,
        /// Each device, and why not.
        why: String,
        /// Where it was recorded.
        ran_on: Arc<str>,
    },
}

impl<'a> Replay<'a> {
    /// On the devices that were recorded: all that it could use.
    pub fn of(recording: &'a Recording) -> Self {
        let asked = recording.run.device.as_deref();
        let used = |device: &&RecordedDevice| match asked {
            Some(name) => {
                recording
                    .batches
                    .iter()
                    .any(|batch| batch.device == device.name)
                    || name == &*device.name
            }
            None => &*device.kind != "simulator",
        };
        let devices = recording.devices.iter().filter(used);
        Replay {
            recording,
            devices: devices
                .map(|device| ReplayDevice::again(device, &device.name))
                .collect(),
            objective: recording.run.objective,
            places_anew: true,
            is_free: false,
        }
    }

    /// On these devices instead.
    ///
    /// # Errors
    /// [`ReplayError::NoSuchDevice`], [`ReplayError::TooMany`].
    pub fn on(mut self, choices: &[DeviceChoice]) -> Result<Self, ReplayError> {
        let asked = choices.iter().map(|choice| u64::from(choice.count)).sum();
        if asked > MOST_DEVICES as u64 {
            return Err(ReplayError::TooMany { asked });
        }
        self.devices.clear();
        for choice in choices {
            for _ in 0..choice.count {
                let device = self.chosen(choice)?;
                self.devices.push(device);
            }
        }
        Ok(self)
    }

    /// What placement aims at; what it did unless told otherwise.
    #[must_use]
    pub fn objective(mut self, objective: Objective) -> Self {
        self.objective = objective;
        self
    }

    /// Whether every batch is placed anew, which it is unless told otherwise; else it goes where it was
    /// recorded, or to another device of the same.
    #[must_use]
    pub fn places_anew(mut self, anew: bool) -> Self {
        self.places_anew = anew;
        self
    }

    /// With devices that take no time, copies and the host's part for them included: what is left is
    /// what reading, whoever takes results, and waiting for batches take however fast devices are.
    #[must_use]
    pub fn at_no_cost(mut self) -> Self {
        self.is_free = true;
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`ReplayError::Clocks`], [`ReplayError::Nowhere`].
    pub fn run(&self) -> Result<Outcome, ReplayError> {
        let clock = self.clock()?;
        World::new(self, clock).run()
    }

    /// One more of the devices of a choice.
    fn chosen(&self, choice: &DeviceChoice) -> Result<ReplayDevice, ReplayError> {
        let base = &*choice.name;
        let profile = base.strip_prefix("profile:");
        let there_are = self.devices.iter().filter(|device| match &device.like {
            Some(like) => **like == *base,
            None => device.hardware.strip_prefix("profile:") == profile,
        });
        let name = match there_are.count() {
            0 => profile.unwrap_or(base).to_owned(),
            more => format!("{}#{}", profile.unwrap_or(base), more + 1),
        };
        let mut device = match (self.recording.device(base), profile) {
            (Some(device), _) => ReplayDevice::again(device, &name.into()),
            (None, Some("cpu")) => ReplayDevice::by_profile(&name, base, Profile::cpu()),
            (None, Some("gpu")) => ReplayDevice::by_profile(&name, base, Profile::gpu()),
            (None, _) => {
                let known = self.recording.devices.iter();
                let known: Vec<&str> = known.map(|device| &*device.name).collect();
                return Err(ReplayError::NoSuchDevice {
                    name: base.to_owned(),
                    known: known.join(", "),
                });
            }
        };
        if choice.link.is_some() {
            device.profile.link = choice.link;
        }
        Ok(device)
    }

    /// The clock of its times, which is that of its devices. By the wall clock batches come when they came
    /// to the runtime, whatever they were recorded on; by a clock of a device's own they come as that had
    /// them. Profiles go by the clock of the recording, or the wall's where that has two.
    fn clock(&self) -> Result<ClockKind, ReplayError> {
        let chosen = self.devices.iter();
        let chosen = chosen.filter_map(|device| device.like.as_ref());
        let clocked = |name: &Arc<str>| {
            let device = self.recording.device(name);
            let device = device.expect("checked when it was read");
            (device.clock, Arc::clone(name))
        };
        let chosen = one_clock(chosen.map(clocked))?;
        let recorded = self.recording.batches.iter().map(|batch| &batch.device);
        match (chosen, one_clock(recorded.map(clocked))) {
            (Some((ClockKind::Wall, _)), _) | (None, Err(_)) => Ok(ClockKind::Wall),
            (None, Ok(recorded)) => Ok(recorded.map_or(ClockKind::Wall, |(clock, _)| clock)),
            (Some(chosen), Ok(recorded)) => {
                one_clock([chosen].into_iter().chain(recorded))?;
                Ok(ClockKind::Virtual)
            }
            (Some((ClockKind::Virtual, _)), Err(two)) => Err(two),
        }
    }
}

/// The first of these devices, with the clock of all.
fn one_clock(
    mut devices: impl Iterator<Item = (ClockKind, Arc<str>)>,
) -> Result<Option<(ClockKind, Arc<str>)>, ReplayError> {
    let Some((clock, one)) = devices.next() else {
        return Ok(None);
    };
    match devices.find(|(other, _)| *other != clock) {
        None => Ok(Some((clock, one))),
        Some((_, other)) => Err(ReplayError::Clocks { one, other }),
    }
}

impl ReplayDevice {
    /// Another one of a recorded device.
    fn again(device: &RecordedDevice, name: &Arc<str>) -> Self {
        ReplayDevice {
            name: Arc::clone(name),
            like: Some(Arc::clone(&device.name)),
            hardware: Arc::clone(&device.hardware),
            profile: device.profile,
            depth: device.depth,
            bytes: device.bytes.unwrap_or(u64::MAX),
        }
    }

    /// One of which nothing is known but a profile.
    fn by_profile(name: &str, hardware: &str, profile: Profile) -> Self {
        let limits = crate::scheduler::Limits::default();
        ReplayDevice {
            name: name.into(),
            like: None,
            hardware: hardware.into(),
            profile,
            depth: limits.depth,
            bytes: u64::MAX,
        }
    }

    /// Whether it computes on the caller's threads.
    fn is_inline(&self) -> bool {
        self.profile.host
    }
}
