//! Words of which a model knows who may see what.

use std::sync::Arc;

use loom::sync::atomic::AtomicU64;
use unlade_hal::HostPages;

/// Bytes of a word.
pub(super) const WORD: u64 = 8;

/// Words that are no memory of a card's.
#[derive(Debug)]
pub(super) struct Words(Box<[AtomicU64]>);

impl Words {
    pub(super) fn of(pages: Arc<HostPages>) -> Self {
        Words::unmapped(pages.len())
    }

    /// Bytes.
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64 * WORD
    }

    /// The word at an offset.
    pub(super) fn at(&self, at: u64) -> &AtomicU64 {
        &self.range(at, 1)[0]
    }

    /// So many words from an offset on.
    pub(super) fn range(&self, at: u64, count: usize) -> &[AtomicU64] {
        assert!(at.is_multiple_of(WORD), "{at} is no word's offset");
        &self.0[usize::try_from(at / WORD).expect("offsets of models are small")..][..count]
    }

    pub(super) fn unmapped(len: u64) -> Self {
        Words((0..len.div_ceil(WORD)).map(|_| AtomicU64::new(0)).collect())
    }
}
