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
        &self.range(at, 1)[0]
    }

    /// So many words from an offset on, all of them inside.
    pub(super) fn range(&self, at: u64, count: usize) -> &[AtomicU64] {
        let bytes = (count as u64).checked_mul(WORD);
        let end = bytes.and_then(|bytes| at.checked_add(bytes));
        assert!(
            end.is_some_and(|end| end <= self.len()) && at.is_multiple_of(WORD),
            "{count} words at {at} are not inside {} bytes",
            self.len()
        );
        let at = usize::try_from(at).expect("offsets of mapped memory fit");
        // SAFETY: The offset is inside the mapping that the pages are, or one past it.
        let start = unsafe { self.pages.as_ptr().add(at) };
        // SAFETY: So many aligned words of our pages are there, checked above, which stay mapped as
        // long as `self`, which the reference borrows, lives, and are initialised, as pages are.
        // Nothing else in the process has their address, and all accesses here are atomic and as
        // wide.
        unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), count) }
    }

    /// Pages that no card reaches.
    #[cfg(test)]
    pub(super) fn unmapped(len: u64) -> Self {
        let pages = HostPages::map(len, unlade_hal::PageSize::Base);
        Words::of(Arc::new(pages.expect("there is memory")))
    }
}
