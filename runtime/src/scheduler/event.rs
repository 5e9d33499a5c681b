//! What a scheduler is told, and what it says.

use std::time::Duration;

use super::{Job, JobId, SessionKey};
use crate::placement::DeviceIndex;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants a job done.
    Submit {
        /// Its name.
        id: JobId,
        /// What it is.
        job: Job,
    },
    /// A device has done a job.
    Completed {
        /// The job.
        id: JobId,
        /// The device.
        device: DeviceIndex,
        /// How long the device worked for it, copies included; its session pays that.
        used: Duration,
    },
    /// A device found an error in the data, which is the same on every device.
    Trapped {
        /// The job.
        id: JobId,
        /// The device.
        device: DeviceIndex,
        /// How long the device worked for it, copies included; its session pays that.
        used: Duration,
    },
    /// A device's queue had no room after all.
    Full {
        /// The job.
        id: JobId,
        /// The device.
        device: DeviceIndex,
    },
    /// A device failed on one job but goes on: a checksum was wrong, memory ran out.
    Failed {
        /// The job.
        id: JobId,
        /// The device.
        device: DeviceIndex,
    },
    /// A device is lost, with everything that it was working on.
    Lost {
        /// The device.
        device: DeviceIndex,
        /// Jobs whose memory cannot be proven quiet and is abandoned.
        leaked: Vec<JobId>,
    },
    /// A device turns out to have been lost. As [`Lost`](Self::Lost), but where nobody else has a job
    /// on it, it is brought back without a rest: it has failed nobody.
    FoundLost {
        /// The device.
        device: DeviceIndex,
        /// The job of whoever found it so, if that is on it.
        by: Option<JobId>,
    },
    /// An attempt to bring a device back has ended, whether it succeeded or not.
    Revived {
        /// The device.
        device: DeviceIndex,
        /// Whether it takes jobs again.
        ready: bool,
    },
    /// Somebody does not want a job done any more.
    Cancel {
        /// The job.
        id: JobId,
    },
    /// Somebody does not want any of a session's jobs done any more.
    CancelSession {
        /// The session.
        session: SessionKey,
    },
    /// A session is gone: its jobs are cancelled, and nothing of it is kept.
    ForgetSession {
        /// The session.
        session: SessionKey,
    },
    /// Time has passed. Due at the latest when [`Scheduler::next_tick`](super::Scheduler::next_tick) says.
    Tick,
    /// Nothing is taken any more, and whatever waits ends.
    Shutdown,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand a job to a device.
    Dispatch {
        /// The job.
        id: JobId,
        /// The device.
        device: DeviceIndex,
    },
    /// A job has ended: tell whoever waits for it.
    End {
        /// The job.
        id: JobId,
        /// How.
        end: End,
    },
    /// Try to bring a device back, and report [`Event::Revived`].
    Revive {
        /// The device.
        device: DeviceIndex,
    },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// A device has done it.
    Done(DeviceIndex),
    /// There is an error in the data.
    Trapped(DeviceIndex),
    /// All its devices failed or are in quarantine.
    NoDevice,
    /// It was cancelled.
    Cancelled,
    /// Its deadline passed.
    TimedOut,
    /// Too many jobs wait; it was never taken.
    Refused,
    /// The scheduler was shut down.
    Shutdown,
}
