//! The files behind mappings. A host's IOMMU may map every page of its memory by itself, each time
//! with a new descriptor of the same file: one is kept of each. A file of huge pages is kept mapped
//! in its place.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Weak};

use super::huge::{self, HugePages};
use super::{MapError, Permissions};

/// What makes two descriptors the same for the card: file system, inode, and how it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    mode: u32,
}

/// Most ranges of huge pages that are mapped: Linux lets a process have some 65,000 mappings, without
/// which it has no memory for itself either.
const MOST_HUGE: usize = 1 << 14;

/// The files that some mapping uses.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: HashMap<Identity, Weak<File>>,
    /// This process's own memory, once there are huge pages in it.
    memory: Weak<File>,
}

/// What lies behind a range, as the card reaches it.
#[derive(Debug)]
pub(super) enum Source {
    /// A file, from an offset on.
    File(Arc<File>, u64),
    /// A part of a file of huge pages.
    HugePages(HugePages),
}

impl Source {
    /// The file, and where in it, that a byte of the range is read and written by.
    pub(super) fn place(&self, inside: u64) -> (&File, u64) {
        match self {
            Source::File(file, offset) => (file, offset + inside),
            Source::HugePages(pages) => pages.place(inside),
        }
    }
}

impl Files {
    /// What lies behind so many bytes of a file from an offset on.
    pub(super) fn source(
        &mut self,
        file: File,
        offset: u64,
        length: u64,
        permissions: Permissions,
    ) -> Result<Source, MapError> {
        let Some(page) = huge::page_size(&file) else {
            return Ok(Source::File(self.share(file), offset));
        };
        // Each has a clone.
        if self.memory.strong_count() >= MOST_HUGE {
            return Err(MapError::TooMany(MOST_HUGE));
        }
        let memory = self.memory().map_err(|error| MapError::HugePages {
            length,
            why: format!("{}: {error}", huge::MEMORY),
        })?;
        let part = huge::Part {
            offset,
            length,
            page,
        };
        HugePages::map(&file, &part, permissions, memory).map(Source::HugePages)
    }

    /// This process's memory.
    fn memory(&mut self) -> std::io::Result<Arc<File>> {
        if let Some(memory) = self.memory.upgrade() {
            return Ok(memory);
        }
        let memory = Arc::new(File::options().read(true).write(true).open(huge::MEMORY)?);
        self.memory = Arc::downgrade(&memory);
        Ok(memory)
    }

    /// The descriptor that is kept of a file: an earlier one, or this.
    fn share(&mut self, file: File) -> Arc<File> {
        let Some(identity) = identity(&file) else {
            return Arc::new(file);
        };
        if let Some(known) = self.known.get(&identity).and_then(Weak::upgrade) {
            return known;
        }
        self.known.retain(|_, known| known.strong_count() > 0);
        let shared = Arc::new(file);
        self.known.insert(identity, Arc::downgrade(&shared));
        shared
    }
}

/// None where the file cannot be asked; it is found out by its first use.
fn identity(file: &File) -> Option<Identity> {
    let metadata = file.metadata().ok()?;
    let flags = rustix::fs::fcntl_getfl(file).ok()?;
    Some(Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        mode: (flags & rustix::fs::OFlags::RWMODE).bits(),
    })
}
