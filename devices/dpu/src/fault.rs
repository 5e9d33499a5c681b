//! What can go wrong with a card, as the driver sees it.

use std::time::Duration;

use crate::registers::Reason;
use crate::status::StatusCode;
use crate::transport::TransportError;

/// Something went wrong. Its text completes "the card is lost: ...".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("it was removed: {0} reads as all ones")]
    Gone(&'static str),
    #[error("it has stopped by itself: {0}")]
    Fatal(Reason),
    #[error("it is not ready any more: somebody has reset it")]
    NotReady,
    #[error("{what} has not ended within {after:?}")]
    TimedOut { what: &'static str, after: Duration },
    /// The card works, and does not do this.
    #[error("it refuses {what}: {status} (DW0 {dw0:#x}, DW1 {dw1:#x})")]
    Refused {
        what: &'static str,
        status: StatusCode,
        dw0: u32,
        dw1: u32,
    },
    /// It says something that cannot be.
    #[error("{0}")]
    Lie(String),
    /// The pages are huge, and its side does not map such.
    #[error("its side refuses DMA_MAP of them with error {0}")]
    HugePages(u32),
    /// The host has no memory for it.
    #[error("no memory for {what}: {why}")]
    Memory { what: &'static str, why: String },
}

impl Fault {
    /// Whether the card is as good as before.
    pub(crate) fn is_harmless(&self) -> bool {
        matches!(
            self,
            Fault::Refused { .. } | Fault::HugePages(_) | Fault::Memory { .. }
        )
    }
}
