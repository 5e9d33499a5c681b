//! The ranges of IOVAs that are mapped, and the transfers to and from them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::files::{Files, Source};
use super::{DmaError, Iova, MapError, Permissions, RefusedAccess, Traffic};
use crate::bytes::{index, length};

/// Most ranges that may be mapped: a guest's IOMMU maps single pages.
const MAX_MAPPINGS: usize = 1 << 20;

/// Most refused accesses that are remembered.
const MAX_REFUSED: usize = 64;

/// The mapping table, and what went through it.
#[derive(Debug, Default)]
pub(super) struct Table {
    mappings: BTreeMap<u64, Mapping>,
    pub(super) files: Files,
    pub(super) traffic: Traffic,
}

/// What lies behind a range.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) length: u64,
    /// None: memory that the host did not share.
    pub(super) source: Option<Source>,
    pub(super) permissions: Permissions,
}

impl Table {
    /// An error where a range cannot be mapped, whatever lies behind it.
    pub(super) fn check_free(&self, Iova(iova): Iova, length: u64) -> Result<(), MapError> {
        let last = last_byte(iova, length)?;
        if let Some((mapped, mapped_last)) = self.last_from(last)
            && mapped_last >= iova
        {
            return Err(MapError::Overlap {
                iova,
                length,
                mapped,
            });
        }
        if self.mappings.len() >= MAX_MAPPINGS {
            return Err(MapError::TooMany(MAX_MAPPINGS));
        }
        Ok(())
    }

    /// Adds a mapping of a range that was found to be free.
    pub(super) fn insert(&mut self, iova: Iova, mapping: Mapping) {
        self.mappings.insert(iova.0, mapping);
    }

    pub(super) fn remove(&mut self, iova: Iova, length: u64) -> Result<(), MapError> {
        let iova = iova.0;
        let last = last_byte(iova, length)?;
        let around = [self.last_from(iova), self.last_from(last)];
        let cut = around.into_iter().flatten().find(|&(start, mapped_last)| {
            let over_start = start < iova && mapped_last >= iova;
            over_start || mapped_last > last
        });
        if let Some((mapped, _)) = cut {
            return Err(MapError::Cut {
                iova,
                length,
                mapped,
            });
        }
        let inside: Vec<u64> = self
            .mappings
            .range(iova..=last)
            .map(|(&at, _)| at)
            .collect();
        for at in inside {
            self.mappings.remove(&at);
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.mappings.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.mappings.len()
    }

    /// First and last byte of the last mapping that begins at an address or below it.
    fn last_from(&self, iova: u64) -> Option<(u64, u64)> {
        let (&start, mapping) = self.mappings.range(..=iova).next_back()?;
        Some((start, start + (mapping.length - 1)))
    }

    pub(super) fn read(&mut self, iova: Iova, bytes: &mut [u8]) -> Result<(), DmaError> {
        let mut done = 0;
        while done < bytes.len() {
            let Some(found) = self.find(iova, done, bytes.len(), false) else {
                return Err(self.refuse(iova, bytes.len(), false));
            };
            let part = &mut bytes[done..done + found.length];
            if found.file.read_exact_at(part, found.offset).is_err() {
                return Err(self.refuse(iova, bytes.len(), false));
            }
            done += found.length;
        }
        self.traffic.read += length(bytes.len());
        Ok(())
    }

    pub(super) fn write(&mut self, iova: Iova, bytes: &[u8]) -> Result<(), DmaError> {
        self.put(iova, bytes)?;
        self.traffic.written += length(bytes.len());
        Ok(())
    }

    /// A copy need not go in order, so the last byte to be seen is copied once more, alone.
    pub(super) fn publish<const N: usize>(
        &mut self,
        iova: Iova,
        bytes: [u8; N],
        at: usize,
        old: u8,
    ) -> Result<(), DmaError> {
        let mut before = bytes;
        before[at] = old;
        self.put(iova, &before)?;
        // All bytes are mapped, so the sum is an address.
        self.put(Iova(iova.0 + length(at)), &bytes[at..=at])?;
        // On a bus it is one write.
        self.traffic.written += length(N);
        Ok(())
    }

    fn put(&mut self, iova: Iova, bytes: &[u8]) -> Result<(), DmaError> {
        // Looked up whole before a byte is written: a refused write changes nothing.
        let mut known = 0;
        while known < bytes.len() {
            let Some(found) = self.find(iova, known, bytes.len(), true) else {
                return Err(self.refuse(iova, bytes.len(), true));
            };
            known += found.length;
        }
        let mut done = 0;
        while done < bytes.len() {
            let found = self.find(iova, done, bytes.len(), true);
            let found = found.expect("just seen");
            let part = &bytes[done..done + found.length];
            if found.file.write_all_at(part, found.offset).is_err() {
                return Err(self.refuse(iova, bytes.len(), true));
            }
            done += found.length;
        }
        Ok(())
    }

    /// Where the part of an access behind its first `done` bytes lies, as far as one mapping has it;
    /// none where no mapping has it, or not for this.
    fn find(&self, iova: Iova, done: usize, total: usize, write: bool) -> Option<Found<'_>> {
        let start = iova.0.checked_add(length(done))?;
        let (&at, mapping) = self.mappings.range(..=start).next_back()?;
        let inside = start - at;
        let allowed = match write {
            true => mapping.permissions.write,
            false => mapping.permissions.read,
        };
        if inside >= mapping.length || !allowed {
            return None;
        }
        let (file, offset) = mapping.source.as_ref()?.place(inside);
        Some(Found {
            file,
            offset,
            length: index((mapping.length - inside).min(length(total - done))),
        })
    }

    fn refuse(&mut self, iova: Iova, total: usize, write: bool) -> DmaError {
        self.traffic.refused += 1;
        let first = &mut self.traffic.first_refused;
        if first.len() < MAX_REFUSED {
            let length = length(total);
            first.push(RefusedAccess {
                iova,
                length,
                write,
            });
        }
        DmaError::Refused
    }
}

/// A part of an access that one mapping has.
#[derive(Debug)]
struct Found<'a> {
    file: &'a File,
    offset: u64,
    length: usize,
}

/// The last byte of a range: its end may be 2^64, which is no number here.
fn last_byte(iova: u64, length: u64) -> Result<u64, MapError> {
    let last = length.checked_sub(1);
    let last = last.and_then(|behind| iova.checked_add(behind));
    last.ok_or(MapError::NoRange { iova, length })
}
