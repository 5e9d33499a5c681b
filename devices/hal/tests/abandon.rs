//! Memory that is given up to a lost device. It is leaked on purpose, which Miri would not let the
//! crate's own tests do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use unlade_hal::{CommandList, Home, Lease, MemoryKind, PageSize, Slab, Slot};

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
