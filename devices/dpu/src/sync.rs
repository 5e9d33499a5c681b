//! Atomic accesses to what is shared with the card: the standard library's, or Loom's where a model
//! checks them.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Reads a word that nobody is to write meanwhile: something else has said so, as a phase bit does.
/// A model fails where that is not so.
pub(crate) fn load_settled(word: &AtomicU64) -> u64 {
    #[cfg(not(loom))]
    let value = word.load(Ordering::Relaxed);
    #[cfg(loom)]
    // SAFETY: Loom ends a model in which a store is not ordered with this.
    let value = unsafe { word.unsync_load() };
    value
}
