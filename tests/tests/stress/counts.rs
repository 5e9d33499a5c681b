//! What was done, and how it ended.

use std::collections::BTreeMap;
use std::fmt;

use unlade_runtime::{Output, Path};

/// What a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Open,
    Run,
    TicketWaited,
    TicketCalledBack,
    TicketCancelled,
    TicketDropped,
    StreamWhole,
    StreamPart,
    StreamCancelled,
    Pin,
    Unpin,
    RunResident,
    CancelSession,
}

impl Way {
    pub(crate) const ALL: [Way; 13] = [
        Way::Open,
        Way::Run,
        Way::TicketWaited,
        Way::TicketCalledBack,
        Way::TicketCancelled,
        Way::TicketDropped,
        Way::StreamWhole,
        Way::StreamPart,
        Way::StreamCancelled,
        Way::Pin,
        Way::Unpin,
        Way::RunResident,
        Way::CancelSession,
    ];
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// With the CPU's result.
    Result,
    /// With the row's error, as on the CPU.
    DataError,
    Cancelled,
    Deadline,
    Exhausted,
    Refused,
    Shutdown,
}

impl End {
    pub(crate) const ALL: [End; 7] = [
        End::Result,
        End::DataError,
        End::Cancelled,
        End::Deadline,
        End::Exhausted,
        End::Refused,
        End::Shutdown,
    ];
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) ways: BTreeMap<Way, u64>,
    pub(crate) ends: BTreeMap<End, u64>,
    /// By device and path, the parts that ended in a result.
    pub(crate) completed: BTreeMap<(String, String), u64>,
    /// By device, the parts that were repeated elsewhere.
    pub(crate) repeated: BTreeMap<String, u64>,
}

impl Counts {
    pub(crate) fn way(&mut self, way: Way) {
        *self.ways.entry(way).or_default() += 1;
    }

    pub(crate) fn end(&mut self, end: End) {
        *self.ends.entry(end).or_default() += 1;
    }

    pub(crate) fn output(&mut self, output: &Output) {
        for part in &output.receipt.parts {
            let device = part.device.to_string();
            let count = match part.completed {
                true => {
                    let path = format!("{:?}", part.path).to_lowercase();
                    self.completed.entry((device, path)).or_default()
                }
                false => self.repeated.entry(device).or_default(),
            };
            *count += 1;
        }
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *to.entry(key.clone()).or_default() += count;
            }
        }
        add(&mut self.ways, &other.ways);
        add(&mut self.ends, &other.ends);
        add(&mut self.completed, &other.completed);
        add(&mut self.repeated, &other.repeated);
    }

    /// Operations.
    pub(crate) fn operations(&self) -> u64 {
        self.ways.values().sum()
    }

    /// Whether a device has had something of its queue done.
    pub(crate) fn has_worked(&self, device: &str) -> bool {
        let path = match device {
            "cpu" => Path::Inline,
            _ => Path::Queued,
        };
        let path = format!("{path:?}").to_lowercase();
        self.completed.contains_key(&(device.to_owned(), path))
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "operations: {:?}", self.ways)?;
        writeln!(f, "ended: {:?}", self.ends)?;
        writeln!(f, "parts done: {:?}", self.completed)?;
        write!(f, "parts repeated elsewhere: {:?}", self.repeated)
    }
}
