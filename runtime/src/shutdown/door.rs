//! Who begins something, and who ends the runtime: each sees the other.
//!
//! Whoever begins counts itself [under way](UnderWay) and then looks at the [door](Door); whoever ends the
//! runtime closes the door and then looks at the counts. All of it is in one order for all threads, so that one
//! of the two sees the other: nothing begins unseen behind a door that is closed.

use crate::error::Error;
use crate::sync::modelled::atomic::{AtomicU8, AtomicU64, Ordering};

/// Whether a runtime takes batches.
#[derive(Debug, Default)]
pub(crate) struct Door(AtomicU8);

const OPEN: u8 = 0;
/// What was taken on is done, nothing more is.
pub(super) const CLOSING: u8 = 1;
/// Nothing is done any more.
pub(super) const SHUT: u8 = 2;

impl Door {
    pub(super) fn close(&self, to: u8) {
        self.0.fetch_max(to, Ordering::SeqCst);
        as_loom_has_it();
    }

    /// Whether something that was not taken on yet may be; to be asked once it is counted.
    ///
    /// # Errors
    /// [`Error::Shutdown`].
    pub(crate) fn may_begin(&self) -> Result<(), Error> {
        match self.0.load(Ordering::SeqCst) {
            OPEN => Ok(()),
            _ => Err(Error::Shutdown),
        }
    }

    /// Whether what was taken on is still to be done.
    ///
    /// # Errors
    /// [`Error::Shutdown`].
    pub(crate) fn may_go_on(&self) -> Result<(), Error> {
        match self.0.load(Ordering::Relaxed) {
            SHUT => Err(Error::Shutdown),
            _ => Ok(()),
        }
    }
}

/// How many there are that have begun and are not done.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(AtomicU64);

impl UnderWay {
    /// So many more, before the door is looked at; returns how many there were.
    pub(crate) fn begin(&self, more: u64) -> u64 {
        let before = self.0.fetch_add(more, Ordering::SeqCst);
        as_loom_has_it();
        before
    }

    /// So many less.
    pub(crate) fn end(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::SeqCst);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Loom takes sequentially consistent accesses for less than they are. A fence behind the first says the same
/// to it.
fn as_loom_has_it() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}
