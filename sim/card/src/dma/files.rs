//! The files behind mappings. A host's IOMMU may map every page of its memory by itself, each time
//! with a new descriptor of the same file: one is kept of each.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Weak};

/// What makes two descriptors the same for the card: file system, inode, and how it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    mode: u32,
}

/// The files that some mapping uses.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: HashMap<Identity, Weak<File>>,
}

impl Files {
    /// The descriptor that is kept of a file: an earlier one, or this.
    pub(super) fn share(&mut self, file: File) -> Arc<File> {
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
