//! The numbers behind a choice.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::ClockKind;

use super::Objective;
use super::work::Ineligible;

/// What one batch is predicted to take on one device, term by term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Waiting for the device's queue.
    pub queue_wait: Duration,
    /// Waiting for the link, beyond that.
    pub link_wait: Duration,
    /// This batch's share of compiling.
    pub compile: Duration,
    /// Launching dispatches.
    pub launch: Duration,
    /// Copying columns to pinned memory, on the host.
    pub stage: Duration,
    /// Copying to the device.
    pub copy_in: Duration,
    /// Computing, the slower of reading and working.
    pub compute: Duration,
    /// Copying from the device.
    pub copy_out: Duration,
    /// Compacting payload, on the host.
    pub host_gather: Duration,
    /// CPU time of the host among all these.
    pub host_cpu: Duration,
    /// How long the link to the device is taken: for copies to it, or where it works on the host's
    /// memory, while it reads that. Shorter than those are, where the device is slower than its link.
    pub link_in: Duration,
    /// The same of the other direction.
    pub link_out: Duration,
}

impl Terms {
    /// From hand-over to result.
    pub fn latency(&self) -> Duration {
        self.queue_wait + self.link_wait + self.compile + self.stages().iter().sum::<Duration>()
    }

    /// What of that the device's own clock sees: all but the host's part and waiting.
    pub fn on_device(&self) -> Duration {
        self.launch + self.copy_in + self.compute + self.copy_out
    }

    /// Time per batch of a long stream: its slowest stage, the others overlapping with it.
    pub fn per_batch(&self) -> Duration {
        self.compile + self.stages().into_iter().max().unwrap_or_default()
    }

    /// What can overlap between batches: host, link in, device, link out.
    fn stages(&self) -> [Duration; 4] {
        let host = self.stage + self.host_gather;
        [
            host,
            self.copy_in,
            self.launch + self.compute,
            self.copy_out,
        ]
    }
}

/// One device's prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: Arc<str>,
    /// The clock of the device's part of its times; the host's part is by the runtime's.
    pub clock: ClockKind,
    /// The terms.
    pub terms: Terms,
    /// Why it cannot be chosen, if it cannot.
    pub ineligible: Option<Ineligible>,
}

impl Candidate {
    /// From hand-over to result by its clock: where that is not the runtime's, `host`, without the host's
    /// part and waiting, which are by the runtime's.
    pub fn predicted(&self, host: ClockKind) -> Duration {
        match self.clock == host {
            true => self.terms.latency(),
            false => self.terms.on_device(),
        }
    }

    /// What the objective has least of, in seconds; `None` where it cannot be chosen.
    pub(super) fn score(&self, objective: Objective) -> Option<f64> {
        let time = match objective {
            Objective::Latency => self.terms.latency(),
            Objective::HostCpu => self.terms.host_cpu,
        };
        self.ineligible.is_none().then_some(time.as_secs_f64())
    }
}

/// All devices' predictions, in the order of the placer's devices. Prints as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    all: Vec<Candidate>,
}

impl Candidates {
    pub(super) fn new(all: Vec<Candidate>) -> Self {
        Candidates { all }
    }

    /// The candidates.
    pub fn iter(&self) -> std::slice::Iter<'_, Candidate> {
        self.all.iter()
    }
}

impl<'a> IntoIterator for &'a Candidates {
    type Item = &'a Candidate;
    type IntoIter = std::slice::Iter<'a, Candidate>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "queue", "link", "compile", "launch", "stage", "in", "compute", "out", "gather",
        ];
        write!(f, "{:<10}{:>8}", "device", "clock")?;
        for head in heads {
            write!(f, "{head:>10}")?;
        }
        writeln!(f, "{:>10}", "total")?;
        for each in &self.all {
            let clock = match each.clock {
                ClockKind::Wall => "wall",
                ClockKind::Virtual => "virtual",
            };
            write!(f, "{:<10}{clock:>8}", each.device)?;
            let terms = &each.terms;
            let columns = [
                terms.queue_wait,
                terms.link_wait,
                terms.compile,
                terms.launch,
                terms.stage,
                terms.copy_in,
                terms.compute,
                terms.copy_out,
                terms.host_gather,
                terms.latency(),
            ];
            for time in columns {
                write!(f, "{:>10}", format!("{:.1?}", time))?;
            }
            match &each.ineligible {
                Some(why) => writeln!(f, "  not eligible: {why}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
