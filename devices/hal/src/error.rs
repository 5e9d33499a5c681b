//! Errors of devices.
//!
//! Three planes: *unsupported* is known when a program is compiled and means another device; a
//! *trap* is about the data and is the same on every device; a *device fault* is retried
//! elsewhere.

use unlade_program::Val;

/// Why a device does not compile a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// Instructions whose result the device could not make bit for bit.
    #[error("device lacks {count} of the program's operations, the first being {name}", count = .values.len())]
    Unsupported {
        /// The instructions.
        values: Vec<Val>,
        /// Name of the first one's operation.
        name: String,
    },
    /// More instructions, registers or arguments than the device takes.
    #[error("program is too large for the device: {what}{}", would_fit(*.cut))]
    TooLarge {
        /// Which limit, with both numbers.
        what: String,
        /// The last instruction that fits.
        cut: Option<Val>,
    },
    /// The device's compiler failed.
    #[error("device compiler failed: {0}")]
    Failed(String),
    /// The device is lost.
    #[error(transparent)]
    Lost(#[from] DeviceLost),
}

fn would_fit(cut: Option<Val>) -> String {
    cut.map_or_else(String::new, |last| {
        format!("; it would fit cut after {last}")
    })
}

/// Why memory is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocError {
    /// Not enough.
    #[error("out of memory: {asked} bytes asked for, {free} free")]
    OutOfMemory {
        /// Bytes asked for.
        asked: u64,
        /// Bytes free, as far as is known.
        free: u64,
    },
    /// A kind of memory that the device does not have.
    #[error("the device has no memory of kind {0:?}")]
    Unsupported(crate::MemoryKind),
    /// Ordinary heap memory, which no device can be told of.
    #[error("pageable memory cannot be registered with a device; copy it into pinned memory")]
    Pageable,
    /// The device takes no huge pages; ordinary ones it may.
    #[error("the device takes no huge pages ({0}); give it ordinary ones")]
    HugePages(String),
    /// The operating system refused.
    #[error("{call} failed: {message}")]
    Os {
        /// The call.
        call: &'static str,
        /// What it said.
        message: String,
    },
    /// This process is a forked child.
    #[error(transparent)]
    Forked(#[from] crate::fork::Forked),
    /// The device is lost.
    #[error(transparent)]
    Lost(#[from] DeviceLost),
}

/// A device that no longer answers, or that lied. Sticky until it is reset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device {device} is lost: {reason}")]
pub struct DeviceLost {
    /// Its name.
    pub device: String,
    /// What was seen.
    pub reason: String,
}

/// An error of a device that is neither a trap nor its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The device cannot do this at all.
    #[error("{0} is not supported by this device")]
    Unsupported(&'static str),
    /// A limit is reached.
    #[error("device limit reached: {0}")]
    Limit(String),
    /// Memory of somebody else's is not what it is said to be.
    #[error("{0}")]
    Foreign(String),
    /// Memory of somebody else's is not written in time. The device is as it was.
    #[error("{0}")]
    NotWritten(String),
    /// The device is lost.
    #[error(transparent)]
    Lost(#[from] DeviceLost),
}

/// Why a list was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// The queue holds as many lists as it can; submit again after a completion.
    #[error("queue is full")]
    Full,
    /// The list breaks a rule; submitting it again cannot help.
    #[error("invalid command list: {0}")]
    Invalid(String),
    /// The device is lost.
    #[error(transparent)]
    Lost(#[from] DeviceLost),
}
