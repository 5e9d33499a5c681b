//! Handles: what C holds of what is ours.
//!
//! A handle looks like a pointer and is a number. It is looked up, never followed, and no two have
//! the same number as long as the process lives: a handle that was freed, or is of another kind, or
//! was never given out, is an error rather than undefined behaviour. Its bits make no address that
//! a program can have, so that whoever follows one faults at once.

use std::any::Any;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::failure::Failure;

/// What is behind a handle.
pub(crate) trait Held: Any + Send + Sync {
    /// What C calls it.
    type Handle;
    /// The same in words.
    const KIND: &'static str;
}

type Behind = (&'static str, Arc<dyn Any + Send + Sync>);

/// Locks that handles are spread over, so that threads with handles of their own do not meet.
const SHARDS: usize = 16;

/// What the first handle's number comes after: the bits from 48 to 55 say that it is no address, on
/// x86-64 and on 64-bit Arm.
const BASE: usize = 0x00AD_0000_0000_0000;

/// Handles are so far apart, as things in memory are.
const STEP: usize = 16;

struct Table {
    shards: [RwLock<HashMap<usize, Behind>>; SHARDS],
    last: AtomicUsize,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    shards: std::array::from_fn(|_| RwLock::default()),
    last: AtomicUsize::new(BASE),
});

impl Table {
    fn shard(&self, key: usize) -> &RwLock<HashMap<usize, Behind>> {
        &self.shards[key / STEP % SHARDS]
    }
}

/// A handle to this.
pub(crate) fn give<T: Held>(held: T) -> *mut T::Handle {
    give_shared(Arc::new(held))
}

/// A handle to this, which others have, too.
pub(crate) fn give_shared<T: Held>(held: Arc<T>) -> *mut T::Handle {
    let key = TABLE.last.fetch_add(STEP, Ordering::Relaxed) + STEP;
    let mut shard = TABLE
        .shard(key)
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    shard.insert(key, (T::KIND, held));
    ptr::without_provenance_mut(key)
}

/// What is behind a handle.
pub(crate) fn get<T: Held>(handle: *const T::Handle) -> Result<Arc<T>, Failure> {
    let key = handle.addr();
    let shard = TABLE
        .shard(key)
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    match shard.get(&key) {
        Some((kind, held)) => {
            let held = Arc::clone(held);
            held.downcast()
                .map_err(|_other| Failure::handle(T::KIND, Some(kind)))
        }
        None if handle.is_null() => Err(Failure::null(T::KIND)),
        None => Err(Failure::handle(T::KIND, None)),
    }
}

/// Takes a handle back: it is none any more. Null is none already.
pub(crate) fn free<T: Held>(handle: *const T::Handle) -> Result<(), Failure> {
    if !handle.is_null() {
        take::<T>(handle)?;
    }
    Ok(())
}

/// Takes a handle back, for what is behind it.
pub(crate) fn take<T: Held>(handle: *const T::Handle) -> Result<Arc<T>, Failure> {
    let held = get::<T>(handle)?;
    let key = handle.addr();
    let mut shard = TABLE
        .shard(key)
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    // Dropped after the lock: what is behind it may take its time to end.
    let removed = shard.remove(&key);
    drop(shard);
    match removed {
        Some(_) => Ok(held),
        // Another thread was first.
        None => Err(Failure::handle(T::KIND, None)),
    }
}

/// How many handles are out.
pub(crate) fn count() -> u64 {
    let count = |shard: &RwLock<HashMap<usize, Behind>>| {
        shard.read().unwrap_or_else(PoisonError::into_inner).len() as u64
    };
    TABLE.shards.iter().map(count).sum()
}
