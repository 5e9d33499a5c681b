//! Memory that the driver itself shares with the card: rings, descriptors, what logs are written to.
//!
//! The card may write it at any time, so it is never borrowed, only read and written word by word
//! with atomic accesses: what is read once is looked at once.

#[cfg_attr(loom, path = "dma/modelled.rs")]
mod words;

use std::sync::Arc;

use unlade_hal::{HostPages, PageSize};

use crate::fault::Fault;
use crate::iova::{Iova, PAGE};
use crate::mappings::Mappings;
use crate::returns::{OnDrop, Returned, Returns};
use crate::sync::{AtomicU64, Ordering, load_settled};
use crate::transport::{CardAccess, Transport};

use words::{WORD, Words};

/// Zeroed pages that the card reaches. Offsets count from their start; one beyond their end is a
/// mistake of this crate, and panics.
#[derive(Debug)]
pub(crate) struct DmaMemory {
    words: Words,
    iova: Iova,
    _mapping: Option<Arc<OnDrop>>,
}

impl DmaMemory {
    /// Maps pages for a purpose, which errors name.
    pub(crate) fn new(
        mappings: &Mappings,
        transport: &dyn Transport,
        returns: &Returns,
        len: u64,
        access: CardAccess,
        what: &'static str,
    ) -> Result<Self, Fault> {
        let why = |error: unlade_hal::AllocError| Fault::Memory {
            what,
            why: error.to_string(),
        };
        let pages = Arc::new(HostPages::map(len, PageSize::Base).map_err(why)?);
        let iova = mappings.map(transport, &pages, access, what)?;
        let mapping = returns.on_drop(Returned::Mapping(iova));
        Ok(DmaMemory {
            words: Words::of(pages),
            iova,
            _mapping: Some(mapping),
        })
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.words.len()
    }

    /// Where the card has the byte at an offset.
    pub(crate) fn iova(&self, at: u64) -> Iova {
        assert!(at < self.len(), "{at} is beyond {} bytes", self.len());
        self.iova.plus(at)
    }

    /// Writes bytes, in whole words: the last one is filled up with zeros.
    pub(crate) fn store(&self, at: u64, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<{ WORD as usize }>();
        let words = self.words.range(at, bytes.len().div_ceil(WORD as usize));
        let set = |word: &AtomicU64, bytes| {
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        };
        for (word, bytes) in words.iter().zip(whole) {
            set(word, *bytes);
        }
        if let Some(word) = words.get(whole.len()) {
            let mut last = [0; WORD as usize];
            last[..rest.len()].copy_from_slice(rest);
            set(word, last);
        }
    }

    /// Reads bytes, from a word's beginning on.
    pub(crate) fn load(&self, at: u64, bytes: &mut [u8]) {
        let words = self.words.range(at, bytes.len().div_ceil(WORD as usize));
        let (whole, rest) = bytes.as_chunks_mut::<{ WORD as usize }>();
        for (word, bytes) in words.iter().zip(&mut *whole) {
            *bytes = load_settled(word).to_ne_bytes();
        }
        if let Some(word) = words.get(whole.len()) {
            rest.copy_from_slice(&load_settled(word).to_ne_bytes()[..rest.len()]);
        }
    }

    /// Zeroes bytes, in whole words.
    pub(crate) fn zero(&self, at: u64, len: u64) {
        let count = usize::try_from(len.div_ceil(WORD)).expect("lengths of mapped memory fit");
        for word in self.words.range(at, count) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// The little-endian word at an offset, which the card has done with.
    pub(crate) fn load_word(&self, at: u64) -> u64 {
        u64::from_le(load_settled(self.words.at(at)))
    }

    /// The little-endian word at an offset, which the card may be writing. What is read afterwards
    /// is at least as new.
    pub(crate) fn load_word_acquire(&self, at: u64) -> u64 {
        u64::from_le(self.words.at(at).load(Ordering::Acquire))
    }

    /// Writes a word as a card does of which what it wrote before is to be seen first.
    #[cfg(all(test, loom))]
    pub(crate) fn store_word_release(&self, at: u64, value: u64) {
        self.words.at(at).store(value.to_le(), Ordering::Release);
    }

    /// Pages that no card reaches, for tests.
    #[cfg(test)]
    pub(crate) fn unmapped(len: u64) -> Self {
        DmaMemory {
            words: Words::unmapped(len),
            iova: Iova(1 << 20),
            _mapping: None,
        }
    }
}

/// Hands out parts of memory that is mapped later, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Arranged {
    used: u64,
}

impl Arranged {
    /// So many bytes from the beginning of a page on.
    pub(crate) fn pages(&mut self, len: u64) -> u64 {
        let start = self.used;
        self.used += len.next_multiple_of(PAGE);
        start
    }

    /// Bytes handed out.
    pub(crate) fn len(&self) -> u64 {
        self.used
    }
}
