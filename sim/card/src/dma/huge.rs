//! Ranges that lie in a file of huge pages.
//!
//! hugetlbfs has no `write`, so that such a file is mapped, and the card goes through the memory file
//! of its own process to where: `/proc/self/mem` at the mapping's address. That is a system call, as
//! for any other file, and a page that the host has taken out of the file meanwhile is an error of
//! it, where an access to the mapping itself would be the end of the process.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use super::{MapError, Permissions};
use crate::bytes::{index, length};

/// The memory of the process that opens it, by address.
pub(super) const MEMORY: &str = "/proc/self/mem";

/// HUGETLBFS_MAGIC of linux/magic.h.
const HUGETLBFS: u64 = 0x9584_58F6;

/// A part of a file of huge pages, mapped as long as this lives.
#[derive(Debug)]
pub(super) struct HugePages {
    mapped: MmapRaw,
    memory: Arc<File>,
}

/// Which part of a file to map.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Bytes of a page of the file. The kernel maps whole ones, so offset and length have to be
    /// multiples of it.
    pub(super) page: u64,
}

impl HugePages {
    /// Maps a part of a file; `memory` is [`MEMORY`].
    pub(super) fn map(
        file: &File,
        part: &Part,
        permissions: Permissions,
        memory: Arc<File>,
    ) -> Result<Self, MapError> {
        let &Part {
            offset,
            length,
            page,
        } = part;
        if !offset.is_multiple_of(page) || !length.is_multiple_of(page) {
            return Err(MapError::Misaligned {
                offset,
                length,
                page,
            });
        }
        let cannot = |why: String| MapError::HugePages { length, why };
        let failed = |error: std::io::Error| cannot(error.to_string());
        let end = file.metadata().map_err(failed)?.size();
        // The kernel would make the file longer.
        if offset.checked_add(length).is_none_or(|wanted| wanted > end) {
            return Err(cannot(format!("the file has {end} bytes")));
        }
        let mut options = MmapOptions::new();
        options.offset(offset).len(index(length));
        let mapped = match permissions.write {
            true => options.map_raw(file),
            false => options.map_raw_read_only(file),
        };
        let mapped = mapped.map_err(failed)?;
        Ok(HugePages { mapped, memory })
    }

    /// The file, and where in it, that a byte of the range is read and written by.
    pub(super) fn place(&self, inside: u64) -> (&File, u64) {
        assert!(inside < length(self.mapped.len()), "it was looked up");
        let start = length(self.mapped.as_mut_ptr().addr());
        (&self.memory, start + inside)
    }
}

/// Bytes of a page of a file that lies on hugetlbfs; none where it lies elsewhere. A file that cannot
/// be asked is found out by its first use.
pub(super) fn page_size(file: &File) -> Option<u64> {
    let system = rustix::fs::fstatfs(file).ok()?;
    let huge = u64::try_from(system.f_type).ok()? == HUGETLBFS;
    huge.then(|| u64::try_from(system.f_bsize).ok()).flatten()
}
