//! The host's memory, as far as the mapping table lets the card reach it.
//!
//! [`Dma::map`] and [`Dma::unmap`] keep the table: ranges of IOVAs, each with a file, an offset in
//! it and permissions. Every byte that the card reads or writes goes through it, by `pread` and
//! `pwrite` on that file, or where [that cannot be](huge) by what it is mapped at: an address that is
//! not mapped, or not for this, is refused. That is what an IOMMU does for a card of hardware.

mod bus;
mod files;
mod huge;
mod table;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use bus::Bus;

use table::{Mapping, Table};

/// An address as the card sends it on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iova(pub u64);

/// What a card may do with a mapped range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// It may read.
    pub read: bool,
    /// It may write.
    pub write: bool,
}

/// An access that the mapping table refused, as an IOMMU would log it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedAccess {
    /// Where it began.
    pub iova: Iova,
    /// Bytes that were asked for.
    pub length: u64,
    /// Whether it was a write.
    pub write: bool,
}

/// Why a range cannot be mapped or unmapped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// No bytes, or beyond the end of the address space.
    #[error("{length} bytes at IOVA {iova:#x} are no range; map at least one byte below 2^64")]
    NoRange {
        /// Where it begins.
        iova: u64,
        /// Its bytes.
        length: u64,
    },
    /// Some of it is mapped already.
    #[error("{length} bytes at IOVA {iova:#x} overlap what is mapped at {mapped:#x}; unmap that")]
    Overlap {
        /// Where it begins.
        iova: u64,
        /// Its bytes.
        length: u64,
        /// Where the other begins.
        mapped: u64,
    },
    /// The file is one of huge pages, and the range is not of whole ones.
    #[error(
        "{length} bytes at offset {offset:#x} of a file of huge pages are not whole pages of {page} \
         bytes; map whole ones, or share memory of ordinary pages"
    )]
    Misaligned {
        /// Where in the file it begins.
        offset: u64,
        /// Its bytes.
        length: u64,
        /// Bytes of a page of the file.
        page: u64,
    },
    /// The file is one of huge pages, and the system does not map it.
    #[error(
        "{length} bytes of a file of huge pages cannot be mapped: {why}; share memory of ordinary \
         pages"
    )]
    HugePages {
        /// Its bytes.
        length: u64,
        /// What the system says.
        why: String,
    },
    /// The table is full.
    #[error("{0} ranges are mapped, and the table holds no more; map fewer and larger ones")]
    TooMany(usize),
    /// A mapping would be cut, which this interface cannot say.
    #[error("{length} bytes at IOVA {iova:#x} cut the range mapped at {mapped:#x}; unmap it whole")]
    Cut {
        /// Where it begins.
        iova: u64,
        /// Its bytes.
        length: u64,
        /// Where the range begins that would be cut.
        mapped: u64,
    },
}

/// Why a transfer did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DmaError {
    /// The mapping table has not all of it, or what is read lies behind the end of its file. A file
    /// that ends before what is written grows: it is the host's own.
    Refused,
    /// A reset has begun: the card stops what it does.
    Abandoned,
}

/// Bytes that move without a look at whether a reset has begun.
const PIECE: usize = 1 << 20;

/// The mapping table, and the gate that the bus master bit is.
#[derive(Debug, Default)]
pub(crate) struct Dma {
    table: Mutex<Table>,
    gate: Mutex<Gate>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    bus_master: bool,
    abandoned: bool,
}

impl Gate {
    fn is_open(&self) -> Result<bool, DmaError> {
        match self.abandoned {
            true => Err(DmaError::Abandoned),
            false => Ok(self.bus_master),
        }
    }
}

/// What went over the bus so far, of whatever kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) refused: u64,
    pub(crate) first_refused: Vec<RefusedAccess>,
}

impl Dma {
    /// Makes a range reachable. Bytes of a range without a file cannot be reached all the same.
    pub(crate) fn map(
        &self,
        iova: Iova,
        length: u64,
        file: Option<File>,
        offset: u64,
        permissions: Permissions,
    ) -> Result<(), MapError> {
        let mut table = self.table();
        table.check_free(iova, length)?;
        let source = file.map(|file| table.files.source(file, offset, length, permissions));
        let mapping = Mapping {
            length,
            source: source.transpose()?,
            permissions,
        };
        table.insert(iova, mapping);
        Ok(())
    }

    /// Takes out every mapping inside of the range. When it returns, no transfer to it is under way.
    pub(crate) fn unmap(&self, iova: Iova, length: u64) -> Result<(), MapError> {
        self.table().remove(iova, length)
    }

    /// Takes out every mapping.
    pub(crate) fn unmap_all(&self) {
        self.table().clear();
    }

    /// Opens or closes the gate for all that the card sends by itself.
    pub(crate) fn set_bus_master(&self, on: bool) {
        self.gate().bus_master = on;
        self.opened.notify_all();
    }

    /// Makes transfers fail until it is taken back: a reset has begun.
    pub(crate) fn abandon(&self, on: bool) {
        self.gate().abandoned = on;
        self.opened.notify_all();
    }

    /// Whether a reset has begun.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.gate().abandoned
    }

    /// Reads memory. Waits while the function is no bus master.
    pub(crate) fn read(&self, iova: Iova, bytes: &mut [u8]) -> Result<(), DmaError> {
        Bus::of(self).read(iova, bytes)
    }

    /// Writes memory. Waits while the function is no bus master.
    pub(crate) fn write(&self, iova: Iova, bytes: &[u8]) -> Result<(), DmaError> {
        Bus::of(self).write(iova, bytes)
    }

    /// Writes a few bytes of which the one at a place becomes visible behind all others; until then
    /// the host finds `old` there. Waits while the function is no bus master.
    pub(crate) fn publish<const N: usize>(
        &self,
        iova: Iova,
        bytes: [u8; N],
        at: usize,
        old: u8,
    ) -> Result<(), DmaError> {
        self.pass_gate()?;
        self.table().publish(iova, bytes, at, old)
    }

    /// How many ranges are mapped.
    pub(crate) fn mapped_ranges(&self) -> usize {
        self.table().len()
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.table().traffic.clone()
    }

    /// Whether the function is bus master.
    fn is_open(&self) -> Result<bool, DmaError> {
        self.gate().is_open()
    }

    fn pass_gate(&self) -> Result<(), DmaError> {
        let mut gate = self.gate();
        while !gate.is_open()? {
            gate = self
                .opened
                .wait(gate)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
