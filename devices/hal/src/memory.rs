//! Memory that devices and the host share: slabs, leases, mapped files.

mod foreign;
mod host_pages;
mod lease;
mod mapped;
mod pinned;
mod slab;

pub use foreign::{ForeignEvent, ForeignMemory};
pub use host_pages::{HostPages, PageSize};
pub use lease::{Home, Lease};
pub use mapped::{FileChanged, MappedFile};
pub use pinned::PinnedBuffer;
pub use slab::{MemoryKind, Slab, WeakSlab};
