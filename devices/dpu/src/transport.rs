//! How the driver reaches a card: registers, configuration space, memory, interrupts.

mod announced;
mod holders;
mod message;
mod peer;
mod user;
mod vfio;

use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::HostPages;

pub use message::BadReply;
pub use user::VfioUser;
pub use vfio::{VfioPci, is_pci_address};

use crate::iova::Iova;
use crate::registers::BarOffset;

/// A way to one PCI function that speaks docs/CARD.md. Calls may come from several threads; each
/// ends within a time that the transport sets.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Where the function is, in the words of whoever opened it: a PCI address, a socket's path.
    fn address(&self) -> String;
    /// Bytes of BAR0.
    fn bar_len(&self) -> u64;
    /// Reads a register of 4 bytes.
    ///
    /// # Errors
    /// See [`TransportError`], here and below. A card that is gone reads as all ones, where the
    /// transport itself does not notice.
    fn read32(&self, at: BarOffset) -> Result<u32, TransportError>;
    /// Reads a register of 8 bytes, in one access.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn read64(&self, at: BarOffset) -> Result<u64, TransportError>;
    /// Writes a register of 4 bytes. What the caller wrote to memory before is visible to the card
    /// before it is.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError>;
    /// Writes a doorbell: as [`write32`](Transport::write32), but the card's side may take notice of
    /// it later, as of a write on a bus that is posted.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn ring(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        self.write32(at, value)
    }
    /// Writes a register of 8 bytes, in one access.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn write64(&self, at: BarOffset, value: u64) -> Result<(), TransportError>;
    /// Reads configuration space.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn read_config(&self, at: u16, bytes: &mut [u8]) -> Result<(), TransportError>;
    /// Writes configuration space.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn write_config(&self, at: u16, bytes: &[u8]) -> Result<(), TransportError>;
    /// Addresses at which this host maps no memory. The end of a range is not part of it.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn reserved(&self) -> Result<Vec<Range<Iova>>, TransportError> {
        Ok(Vec::new())
    }
    /// Lets the card reach pages at addresses that the caller chooses.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn map(&self, iova: Iova, pages: &HostPages, access: CardAccess) -> Result<(), TransportError>;
    /// Ends that. When it returns the card cannot reach them any more.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn unmap(&self, iova: Iova, len: u64) -> Result<(), TransportError>;
    /// How many MSI-X vectors the function has.
    fn vectors(&self) -> u32;
    /// Has each vector, from 0 on, signal an event.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32); [`TransportError::TooFewVectors`] where fewer could.
    fn set_interrupts(&self, events: &[BorrowedFd<'_>]) -> Result<(), TransportError>;
    /// Function level reset.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32).
    fn reset(&self) -> Result<(), TransportError>;
    /// A new way to the same function, in place of one that is broken. Nothing is mapped on it, and
    /// what was on the one before has been let go of.
    ///
    /// # Errors
    /// As [`read32`](Transport::read32); [`TransportError::Unsupported`] where only the one who
    /// opened it can open it again, [`TransportError::OtherServer`] where memory is not let go of.
    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError>;
    /// The node of memory that the card is nearest to, where there are several and it is known.
    fn numa_node(&self) -> Option<u32> {
        None
    }
    /// Lets go of the function. What is called afterwards fails.
    fn close(&self);
}

/// What the card may do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CardAccess {
    /// Read it.
    Read,
    /// Write it.
    Write,
    /// Both.
    ReadWrite,
}

/// Why a card could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The other side ended the connection.
    #[error("the connection to the card has ended")]
    Closed,
    /// No answer came in time.
    #[error("the card has not answered {what} for {after:?}")]
    TimedOut {
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// Answers come, but late.
    #[error("the card answers late, by {waited:?} in all: no card is as slow")]
    Slow {
        /// How long was waited beyond what is no sign of anything.
        waited: Duration,
    },
    /// The operating system's error.
    #[error("{call} failed: {message}")]
    Os {
        /// The call.
        call: &'static str,
        /// What it said.
        message: String,
    },
    /// No socket has a path of so many bytes.
    #[error("its path has {bytes} bytes, and that of a socket has {most} bytes at most")]
    LongPath {
        /// Bytes of the path.
        bytes: usize,
        /// Most bytes that one has.
        most: usize,
    },
    /// There is something else.
    #[error("it is no socket but {what}")]
    NoSocket {
        /// What it is.
        what: &'static str,
    },
    /// Nobody serves a card there, but its virtual functions.
    #[error("there is no such socket, but virtual functions have theirs beside it: {}", range(.first, .last))]
    OnlyFunctions {
        /// The socket of the first.
        first: String,
        /// That of the last.
        last: String,
    },
    /// The kernel does not map memory for the card, which is as good as before.
    #[error("the kernel does not map memory for the card: {0}")]
    CannotMap(String),
    /// Somebody else has the function.
    #[error("it is in use by {holder}")]
    InUse {
        /// Who, as far as can be told.
        holder: String,
    },
    /// The other side refuses.
    #[error("the card's side refuses {what} with error {number}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its error number.
        number: u32,
    },
    /// The other side's reply is wrong; nothing it says can be relied on.
    #[error("the reply to {what} is wrong: {reply}")]
    BadReply {
        /// What was asked.
        what: &'static str,
        /// What is wrong.
        reply: BadReply,
    },
    /// The machine has not so many interrupt vectors left for the function; none is set.
    #[error(
        "this machine has no {0} interrupt vectors left; close other devices, or add processors"
    )]
    TooFewVectors(usize),
    /// Somebody else is at the other end, and the process that was before, of this number, still runs.
    #[error(
        "another process serves it now, and the one before, pid {0}, still runs and may have memory \
         mapped; end that"
    )]
    OtherServer(i32),
    /// The function lacks what the driver needs of it.
    #[error("the function {0}")]
    Lacks(String),
    /// An earlier error has broken the connection.
    #[error("the connection is broken since an earlier error")]
    Broken,
    /// This transport cannot.
    #[error("{0} is not possible on this transport")]
    Unsupported(&'static str),
}

fn range(first: &str, last: &str) -> String {
    match first == last {
        true => first.to_owned(),
        false => format!("{first} to {last}"),
    }
}
