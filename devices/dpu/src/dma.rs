//! Memory that the driver itself shares with the card: rings, descriptors, what logs are written to.
//!
//! The card may write it at any time, so it is never borrowed, only read and written word by word
//! with atomic accesses: what is read once is looked at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use unlade_hal::{HostPages, PageSize};

use crate::fault::Fault;
use crate::iova::{Iova, PAGE};
use crate::mappings::Mappings;
use crate::returns::{OnDrop, Returned, Returns};
use crate::transport::{CardAccess, Transport};

/// Bytes of a word.
const WORD: u64 = 8;

/// Zeroed pages that the card reaches. Offsets count from their start; one beyond their end is a
/// mistake of this crate, and panics.
#[derive(Debug)]
pub(crate) struct DmaMemory {
    pages: Arc<HostPages>,
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
            pages,
            iova,
            _mapping: Some(mapping),
        })
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.pages.len()
    }

    /// Where the card has the byte at an offset.
    pub(crate) fn iova(&self, at: u64) -> Iova {
        assert!(at < self.len(), "{at} is beyond {} bytes", self.len());
        self.iova.plus(at)
    }

    /// Writes bytes, in whole words: the last one is filled up with zeros.
    pub(crate) fn store(&self, at: u64, bytes: &[u8]) {
        for (at, chunk) in (at..)
            .step_by(WORD as usize)
            .zip(bytes.chunks(WORD as usize))
        {
            let mut word = [0; WORD as usize];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(at)
                .store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
    }

    /// Reads bytes, from a word's beginning on.
    pub(crate) fn load(&self, at: u64, bytes: &mut [u8]) {
        for (at, chunk) in (at..)
            .step_by(WORD as usize)
            .zip(bytes.chunks_mut(WORD as usize))
        {
            let word = self.load_word(at).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Zeroes bytes, in whole words.
    pub(crate) fn zero(&self, at: u64, len: u64) {
        for at in (at..at + len).step_by(WORD as usize) {
            self.word(at).store(0, Ordering::Relaxed);
        }
    }

    /// The little-endian word at an offset.
    pub(crate) fn load_word(&self, at: u64) -> u64 {
        u64::from_le(self.word(at).load(Ordering::Relaxed))
    }

    /// The little-endian u16 at an offset. What is read afterwards is at least as new.
    pub(crate) fn load_u16_acquire(&self, at: u64) -> u16 {
        let start = self.address(at, 2);
        // SAFETY: `address` has checked that two aligned bytes of our pages are there, which stay
        // mapped as long as `self` lives. All accesses to them are atomic; a race with the word
        // access of the same bytes is one between reads, or with the card, which is outside of
        // the language.
        let value = unsafe { AtomicU16::from_ptr(start.cast()) };
        u16::from_le(value.load(Ordering::Acquire))
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        let start = self.address(at, WORD);
        // SAFETY: `address` has checked that eight aligned bytes of our pages are there, which stay
        // mapped as long as `self`, which the reference borrows, lives. Nothing else in the process
        // has their address, and all accesses here are atomic.
        unsafe { AtomicU64::from_ptr(start.cast()) }
    }

    /// The host's address of so many bytes at an offset that is a multiple of them.
    fn address(&self, at: u64, len: u64) -> *mut u8 {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len());
        assert!(
            inside && at.is_multiple_of(len),
            "{len} bytes at {at} are not inside {} bytes",
            self.len()
        );
        let at = usize::try_from(at).expect("offsets of mapped memory fit");
        // SAFETY: The offset is inside the mapping that the pages are.
        unsafe { self.pages.as_ptr().add(at) }.as_ptr()
    }

    /// Pages that no card reaches, for tests.
    #[cfg(test)]
    pub(crate) fn unmapped(len: u64) -> Self {
        DmaMemory {
            pages: Arc::new(HostPages::map(len, PageSize::Base).unwrap()),
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
