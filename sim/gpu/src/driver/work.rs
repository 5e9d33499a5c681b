//! What a stream is given to do, one after the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use unlade_hal::Timestamp;

use super::stream::StreamId;
use crate::host::{HostFunction, HostRange};
use crate::ptx::Kernel;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Work {
    Copy {
        to: Place,
        from: Place,
        len: u64,
    },
    Fill {
        to: Place,
        len: u64,
        pattern: Vec<u8>,
    },
    Launch(Launch),
    Record(Arc<Mark>),
    Wait(Arc<Mark>),
    Free(u64),
    Host(HostFunction),
}

/// A launch, with its own copy of the arguments.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) kernel: Arc<Kernel>,
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) dynamic_shared: u64,
    pub(super) parameters: Vec<u8>,
    /// It fails because a fault struck, not because of what it does.
    pub(super) fails: bool,
}

/// An end of a copy.
#[derive(Debug)]
pub(super) enum Place {
    Device(u64),
    Host(HostRange),
    /// Bytes that were taken when the call was made.
    Staged(Vec<u8>),
}

impl Place {
    pub(super) fn is_host(&self) -> bool {
        !matches!(self, Place::Device(_))
    }
}

/// A point of a stream, reached or not.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) stream: StreamId,
    time: OnceLock<Timestamp>,
    /// How often it was asked for in vain.
    asked: AtomicU64,
}

impl Mark {
    pub(super) fn new(stream: StreamId) -> Arc<Self> {
        Arc::new(Mark {
            stream,
            time: OnceLock::new(),
            asked: AtomicU64::new(0),
        })
    }

    pub(super) fn reached(&self) -> Option<Timestamp> {
        self.time.get().copied()
    }

    pub(super) fn reach(&self, time: Timestamp) {
        // A mark is recorded once.
        let _again = self.time.set(time);
    }

    pub(super) fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }
}
