//! Pages as words that are read and written atomically.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use unlade_hal::HostPages;

/// Bytes of a word.
pub(super) const WORD: u64 = 8;

/// Pages, which nothing borrows: what is in them is read and written word by word.
#[derive(Debug)]
pub(super) struct Words {
    pages: Arc<HostPages>,
}

impl Words {
    pub(super) fn of(pages: Arc<HostPages>) -> Self {
        Words { pages }
    }

    /// Bytes.
    pub(super) fn len(&self) -> u64 {
        self.pages.len()
    }

    /// The word at an offset, which is inside and a multiple of a word.
    pub(super) fn at(&self, at: u64) -> &AtomicU64 {
        let inside = at.checked_add(WORD).is_some_and(|end| end <= self.len());
        assert!(
            inside && at.is_multiple_of(WORD),
            "the word at {at} is not inside {} bytes",
            self.len()
        );
        let at = usize::try_from(at).expect("offsets of mapped memory fit");
        // SAFETY: The offset is inside the mapping that the pages are.
        let start = unsafe { self.pages.as_ptr().add(at) };
        // SAFETY: Eight aligned bytes of our pages are there, which stay mapped as long as `self`,
        // which the reference borrows, lives. Nothing else in the process has their address, and
        // all accesses here are atomic and as wide.
        unsafe { AtomicU64::from_ptr(start.as_ptr().cast()) }
    }

    /// Pages that no card reaches.
    #[cfg(test)]
    pub(super) fn unmapped(len: u64) -> Self {
        let pages = HostPages::map(len, unlade_hal::PageSize::Base);
        Words::of(Arc::new(pages.expect("there is memory")))
    }
}
