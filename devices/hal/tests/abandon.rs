//! Memory that is given up to a lost device. It is leaked on purpose, which Miri would not let the
//! crate's own tests do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use unlade_hal::{CommandList, Home, Lease, MemoryKind, PageSize, PinnedBuffer, Slab, Slot};

#[derive(Debug, Default)]
struct Counts(AtomicU64);

impl Home for Counts {
    fn take_back(self: Arc<Self>, lease: Lease) {
        panic!("{lease:?} was given up");
    }

    fn abandoned(&self, lease: &Lease) {
        self.0.fetch_add(lease.len(), Ordering::Relaxed);
    }
}

#[test]
fn an_abandoned_list_never_comes_home_which_is_told() {
    let slab = Slab::host(MemoryKind::Upload, 4096, PageSize::Base).unwrap();
    let counts = Arc::new(Counts::default());
    let mut front = slab.lease_whole().unwrap().with_home(counts.clone());
    let back = front.split_off(1000);
    let mut list = CommandList::new();
    list.slot(Slot::Owned(front));
    list.slot(Slot::Resident(Arc::new(back)));
    assert_eq!(list.abandon(), 1000);
    assert_eq!(counts.0.load(Ordering::Relaxed), 1000);
}

/// Keeps what comes home.
#[derive(Debug, Default)]
struct Keeps(Mutex<Vec<Lease>>);

impl Home for Keeps {
    fn take_back(self: Arc<Self>, lease: Lease) {
        self.0.lock().unwrap().push(lease);
    }
}

/// What a list only reads is not lost with its device, to which it stays mapped.
#[test]
fn pinned_bytes_of_an_abandoned_list_come_home_and_their_slab_stays() {
    let slab = Slab::host(MemoryKind::Upload, 4096, PageSize::Base).unwrap();
    let weak = slab.downgrade();
    let home = Arc::new(Keeps::default());
    let lease = slab.lease_whole().unwrap().with_home(home.clone());
    let buffer = lease.freeze(100).unwrap();
    let mut list = CommandList::new();
    list.slot(Slot::Pinned(PinnedBuffer::of(&slab, &buffer).unwrap()));
    drop(buffer);
    assert!(home.0.lock().unwrap().is_empty());
    assert_eq!(list.abandon(), 0);
    let came = std::mem::take(&mut *home.0.lock().unwrap());
    assert_eq!(came.iter().map(Lease::len).sum::<u64>(), 4096);
    drop((came, slab));
    assert!(weak.upgrade().is_some(), "a lost device may read it");
}
