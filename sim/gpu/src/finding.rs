//! What is wrong with a kernel, as it was seen to happen.

use std::fmt;

/// Something that a kernel did and must not do. The launch ends there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind}: kernel `{kernel}`, PTX line {line}, block {block}, warp {warp}, lane {lane}: {detail}"
)]
#[non_exhaustive]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// In which kernel.
    pub kernel: String,
    /// On which line of the text, counted from 1.
    pub line: u32,
    /// The block's number: `%ctaid`, x running fastest.
    pub block: u32,
    /// The warp in its block.
    pub warp: u32,
    /// The lane in its warp: the first, if several did it.
    pub lane: u32,
    /// Addresses and sizes, in words.
    pub detail: String,
}

/// The sorts of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// An access outside of every allocation, or across the end of one.
    OutOfBounds,
    /// An access whose address is no multiple of its size (PTX ISA 6.4.1).
    Misaligned,
    /// A load of bytes that nobody wrote.
    Uninitialised,
    /// An access to memory that was given back.
    UseAfterFree,
    /// Two accesses to the same bytes, one of them a store, that nothing orders.
    Race,
    /// No thread can go on, or all that can only wait for each other.
    Deadlock,
    /// Lanes that do something together do not agree on what or on who.
    Divergence,
    /// The kernel ran `trap`.
    Trap,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FindingKind::OutOfBounds => "out of bounds",
            FindingKind::Misaligned => "misaligned",
            FindingKind::Uninitialised => "uninitialised",
            FindingKind::UseAfterFree => "use after free",
            FindingKind::Race => "race",
            FindingKind::Deadlock => "deadlock",
            FindingKind::Divergence => "divergence",
            FindingKind::Trap => "trap",
        })
    }
}

/// A finding before it is known who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FindingKind,
    pub(crate) lane: u32,
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn new(kind: FindingKind, detail: impl Into<String>) -> Self {
        Fault {
            kind,
            lane: 0,
            detail: detail.into(),
        }
    }

    /// The same, by this lane.
    pub(crate) fn by(self, lane: u32) -> Self {
        Fault { lane, ..self }
    }
}
