//! Jobs, and the limits under which they are scheduled.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use unlade_hal::Timestamp;

use crate::placement::DeviceIndex;

/// One batch on its way, as the driver names it. Never used twice; of two that wait in one session,
/// the lesser goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A stream of jobs that end in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Those among whom devices are shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// Which jobs go first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When nothing else waits.
    Background,
    /// As they come.
    #[default]
    Normal,
    /// Before all others.
    Interactive,
}

impl Priority {
    /// All of them, the lowest first.
    pub(crate) const ALL: [Priority; 3] = [
        Priority::Background,
        Priority::Normal,
        Priority::Interactive,
    ];
}

/// What a job is, as far as scheduling is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Whose it is.
    pub session: SessionKey,
    /// The session's share, relative to others; 0 counts as 1.
    pub weight: u32,
    /// Bytes that it occupies on a device; how long it takes is guessed from them.
    pub bytes: u64,
    /// Which jobs it goes before.
    pub priority: Priority,
    /// When it ends at the latest.
    pub deadline: Option<Timestamp>,
    /// The stream that it belongs to.
    pub stream: Option<StreamId>,
    /// The devices that may run it, the best first.
    pub devices: Vec<DeviceIndex>,
}

impl Job {
    /// A job of no particular session, for no device yet.
    pub fn new(bytes: u64) -> Self {
        Job {
            session: SessionKey::default(),
            weight: 1,
            bytes,
            priority: Priority::default(),
            deadline: None,
            stream: None,
            devices: Vec::new(),
        }
    }
}

/// What a device takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lists.
    pub depth: u32,
    /// Bytes; a larger job goes alone.
    pub bytes: u64,
}

impl Default for Limits {
    /// Four lists of together 1 GiB.
    fn default() -> Self {
        Limits {
            depth: 4,
            bytes: 1 << 30,
        }
    }
}

/// What is the same for all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most jobs that may wait for a device or for their turn to end.
    pub max_jobs: usize,
    /// How long a device rests after its first failure.
    pub quarantine: Duration,
    /// How long it rests at most.
    pub max_quarantine: Duration,
}

impl Default for Settings {
    /// 4,096 jobs; from one second to five minutes of quarantine.
    fn default() -> Self {
        Settings {
            max_jobs: 4096,
            quarantine: Duration::from_secs(1),
            max_quarantine: Duration::from_secs(300),
        }
    }
}
