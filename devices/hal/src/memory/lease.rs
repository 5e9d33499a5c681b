//! A lease: the sole right to a range of a slab.

use std::any::Any;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::panic::RefUnwindSafe;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_buffer::Buffer;

use super::slab::{MemoryKind, Slab};
use crate::error::AllocError;
use crate::id::{DeviceAddr, DomainId};

/// Where leases go when they are dropped: a pool.
pub trait Home: Any + fmt::Debug + Send + Sync {
    /// Takes a dropped lease. It comes without a home, so that dropping it for good is safe, and
    /// `self` is the lease's own reference: to keep the lease for the next user as
    /// `lease.with_home(self)` touches no counter and moves one word.
    ///
    /// Called from whatever thread drops, at whatever moment, the end of the thread included: it
    /// must neither block nor panic. A home whose idle leases have it as their home keeps itself
    /// alive; whoever shuts it down takes the leases out.
    fn take_back(self: Arc<Self>, lease: Lease);

    /// Notes that a lease was [abandoned](Lease::abandon): it never comes back. The same rules.
    fn abandoned(&self, lease: &Lease) {
        let _ = lease;
    }
}

/// The sole right to a range of a [`Slab`]: no two leases overlap, ever.
///
/// A lease moves: into a command list at submit, back with the completion. Whoever has it can read
/// and write the bytes, if they are the host's ([`bytes`](Lease::bytes)). Dropped, it goes to its
/// [`Home`], if it has one. It splits ([`split_off`](Lease::split_off)), grows together again
/// ([`join`](Lease::join)), and becomes an Arrow buffer without a copy
/// ([`freeze`](Lease::freeze)).
///
/// ```
/// use unlade_hal::{Lease, MemoryKind, PageSize, Slab};
///
/// let slab = Slab::host(MemoryKind::Readback, 4096, PageSize::Base)?;
/// let mut lease = slab.lease_whole().unwrap();
/// let rest = lease.split_off(3);
/// lease.bytes_mut().unwrap().copy_from_slice(b"abc");
/// let buffer = lease.freeze(2).unwrap();
/// assert_eq!(buffer.as_slice(), b"ab"); // the same bytes, not a copy
/// assert_eq!(rest.range(), 3..4096);
/// # Ok::<(), unlade_hal::AllocError>(())
/// ```
pub struct Lease {
    // Boxed, so that a lease is one word: it moves often, through pools, slots and completions, and
    // is made rarely. Manually dropped, so that `Drop` can move it on into the lease that goes
    // home.
    parts: ManuallyDrop<Box<Parts>>,
}

struct Parts {
    slab: Slab,
    start: u64,
    len: u64,
    home: Option<Arc<dyn Home>>,
    tag: u8,
}

impl Lease {
    /// Called once per slab, by `Slab::lease_whole`.
    pub(super) fn whole_of(slab: Slab) -> Self {
        let len = slab.len();
        Lease::new(Parts {
            slab,
            start: 0,
            len,
            home: None,
            tag: 0,
        })
    }

    fn new(parts: Parts) -> Self {
        Lease {
            parts: ManuallyDrop::new(Box::new(parts)),
        }
    }

    /// A lease of `len` bytes of fresh heap memory: what remains when pinned memory has run out.
    ///
    /// # Errors
    /// As [`Slab::heap`].
    pub fn pageable(len: u64) -> Result<Self, AllocError> {
        let slab = Slab::heap(len)?;
        Ok(slab.lease_whole().expect("the slab is new"))
    }

    /// The same lease, with a home to go to.
    #[must_use]
    #[inline]
    pub fn with_home(mut self, home: Arc<dyn Home>) -> Self {
        self.parts.home = Some(home);
        self
    }

    /// Takes its home from it: dropping the lease then lets the range go for good.
    pub fn take_home(&mut self) -> Option<Arc<dyn Home>> {
        self.parts.home.take()
    }

    /// The same lease, without a home: dropping it lets the range go for good.
    #[must_use]
    #[inline]
    pub fn without_home(mut self) -> Self {
        self.parts.home = None;
        self
    }

    /// Its home, if it has one. A home tells its own leases by downcasting.
    #[inline]
    pub fn home(&self) -> Option<&dyn Home> {
        self.parts.home.as_deref()
    }

    /// The same lease, with another tag.
    #[must_use]
    #[inline]
    pub fn with_tag(mut self, tag: u8) -> Self {
        self.parts.tag = tag;
        self
    }

    /// What its home has noted on it: where it came from, what it is used for. 0 until somebody
    /// notes something. Pieces that are split off have the same.
    #[inline]
    pub fn tag(&self) -> u8 {
        self.parts.tag
    }

    /// The slab that it is a range of.
    #[inline]
    pub fn slab(&self) -> &Slab {
        &self.parts.slab
    }

    /// The range, in bytes of the slab.
    #[inline]
    pub fn range(&self) -> Range<u64> {
        self.parts.start..self.parts.start + self.parts.len
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> u64 {
        self.parts.len
    }

    /// Whether there is no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the memory is for.
    pub fn kind(&self) -> MemoryKind {
        self.parts.slab.kind()
    }

    /// Where it lies on the devices of a domain, if its slab is registered there.
    pub fn address(&self, domain: DomainId) -> Option<DeviceAddr> {
        self.slab()
            .address(domain)
            .map(|slab| DeviceAddr(slab.0 + self.parts.start))
    }

    /// The bytes, or `None` where the host cannot reach them.
    #[inline]
    pub fn bytes(&self) -> Option<&[u8]> {
        let start = self.host_start()?;
        // SAFETY: The range lies in the slab, which lives as long as the lease, is always
        // initialised (pages and heap begin as zeros) and is written only through this lease: by
        // the host through `bytes_mut`, which borrows it mutably, or by a device while a command
        // list owns the lease, so that no borrow of it exists. That a device keeps to its list is
        // the trust that docs/UNSAFE.md states.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len() as usize) })
    }

    /// The bytes for writing, or `None` where the host cannot reach them.
    #[inline]
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let start = self.host_start()?;
        // SAFETY: As in `bytes`; and the borrow is unique because leases do not overlap, are not
        // cloned, and this one is borrowed mutably.
        Some(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len() as usize) })
    }

    /// Address of the first byte for the host, from the slab's own pointer.
    pub(crate) fn host_start(&self) -> Option<NonNull<u8>> {
        let slab = self.parts.slab.host_ptr()?;
        // SAFETY: `start <= slab.len()`, kept by every constructor, so the sum stays in, or one
        // past, the slab's one allocation; a host slab's length fits in `usize`.
        Some(unsafe { slab.add(self.parts.start as usize) })
    }

    /// Splits it in two: keeps `at` bytes and returns the rest, which has the same home and tag.
    ///
    /// # Panics
    /// Where `at` is more than the length.
    #[must_use]
    pub fn split_off(&mut self, at: u64) -> Lease {
        let parts = &mut **self.parts;
        assert!(at <= parts.len, "cannot split {} bytes at {at}", parts.len);
        let rest = Parts {
            slab: parts.slab.clone(),
            start: parts.start + at,
            len: parts.len - at,
            home: parts.home.clone(),
            tag: parts.tag,
        };
        parts.len = at;
        Lease::new(rest)
    }

    /// Keeps `len` bytes and returns the rest: the caller drops it to send it home.
    ///
    /// # Panics
    /// Where `len` is more than the length.
    #[must_use]
    pub fn shrink_to(&mut self, len: u64) -> Lease {
        self.split_off(len)
    }

    /// Makes one lease of two neighbours of one slab, which have one home and tag, or no home.
    ///
    /// # Errors
    /// Both come back where `next` does not begin where `self` ends, and where a home would not know
    /// what to make of the whole: it has one of them only, or has noted something else on each.
    pub fn join(mut self, next: Lease) -> Result<Lease, (Lease, Lease)> {
        let is_next = self.slab().same(next.slab()) && next.range().start == self.range().end;
        let is_alike = match (&self.parts.home, &next.parts.home) {
            (None, None) => true,
            (Some(home), Some(other)) => Arc::ptr_eq(home, other) && self.tag() == next.tag(),
            _ => false,
        };
        if !is_next || !is_alike {
            return Err((self, next));
        }
        self.parts.len += next.len();
        drop(next.without_home()); // its range lives on in this one
        Ok(self)
    }

    /// Gives the range up for good, to a lost device that may still write it. Its home is told.
    pub fn abandon(self) {
        if let Some(home) = self.home() {
            home.abandoned(&self);
        }
        std::mem::forget(self);
    }

    /// Writes zeros, or returns false where the host cannot reach the bytes.
    pub fn zero(&mut self) -> bool {
        self.bytes_mut().map(|bytes| bytes.fill(0)).is_some()
    }

    /// The first `len` bytes as an Arrow buffer, without a copy. The lease goes home when the
    /// buffer and everything sliced from it is dropped, as a whole: shrink it first if the rest is
    /// wanted sooner.
    ///
    /// # Errors
    /// The lease comes back where the host cannot reach the bytes or there are fewer.
    pub fn freeze(self, len: usize) -> Result<Buffer, Lease> {
        let Some(start) = self.host_start() else {
            return Err(self);
        };
        if len as u64 > self.len() {
            return Err(self);
        }
        let owner = Arc::new(Frozen { _lease: self });
        // SAFETY: `start` is valid for `len` initialised bytes as long as the lease lives, which
        // the buffer's owner holds and no one can take out, so that nothing writes them any more:
        // the bytes of a frozen lease are as immutable as Arrow demands. A buffer with a foreign
        // owner never frees or writes its memory itself (`into_mutable` declines).
        Ok(unsafe { Buffer::from_custom_allocation(start, len, owner) })
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Taken once: the lease is being dropped and this is the only place that does so.
        let mut parts = unsafe { ManuallyDrop::take(&mut self.parts) };
        match parts.home.take() {
            Some(home) => home.take_back(Lease {
                parts: ManuallyDrop::new(parts),
            }),
            None => let_go(parts),
        }
    }
}

/// Apart, so that the way home is short.
#[cold]
fn let_go(parts: Box<Parts>) {
    drop(parts);
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("range", &self.range())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

/// A lease that an Arrow buffer owns.
struct Frozen {
    _lease: Lease,
}

// A panic cannot leave the bytes half written: nothing writes them.
impl RefUnwindSafe for Frozen {}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is what is meant
mod tests {
    use super::*;
    use crate::PageSize;
    use std::sync::{Mutex, PoisonError};

    #[derive(Debug, Default)]
    struct Shelf {
        leases: Mutex<Vec<Lease>>,
    }

    impl Home for Shelf {
        fn take_back(self: Arc<Self>, lease: Lease) {
            self.leases
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(lease);
        }
    }

    impl Shelf {
        fn ranges(&self) -> Vec<Range<u64>> {
            self.leases
                .lock()
                .unwrap()
                .iter()
                .map(Lease::range)
                .collect()
        }
    }

    fn pages(len: u64) -> Lease {
        let slab = Slab::host(MemoryKind::Readback, len, PageSize::Base).unwrap();
        slab.lease_whole().unwrap()
    }

    #[test]
    fn a_dropped_lease_goes_home_once() {
        let shelf = Arc::new(Shelf::default());
        drop(pages(4096).with_home(shelf.clone()));
        assert_eq!(shelf.ranges(), [0..4096]);
        let lease = shelf.leases.lock().unwrap().pop().unwrap();
        drop(lease); // has no home any more
        assert_eq!(shelf.ranges(), []);
        assert_eq!(Arc::strong_count(&shelf), 1);
    }

    #[test]
    fn pieces_do_not_overlap_and_grow_together() {
        let shelf = Arc::new(Shelf::default());
        let mut front = pages(4096).with_home(shelf.clone()).with_tag(7);
        let mut back = front.split_off(1000);
        assert_eq!((front.tag(), back.tag()), (7, 7));
        front.bytes_mut().unwrap().fill(1);
        back.bytes_mut().unwrap().fill(2);
        assert_eq!(front.bytes().unwrap(), [1; 1000]);
        let home: &dyn Any = front.home().unwrap();
        assert!(std::ptr::eq(home.downcast_ref().unwrap(), &*shelf));
        let middle_on = back.split_off(96);
        let (back, front) = back.join(front).unwrap_err(); // wrong way round
        let (front, middle_on) = front.join(middle_on).unwrap_err(); // a gap
        let whole = front.join(back).unwrap().join(middle_on).unwrap();
        assert_eq!(whole.range(), 0..4096);
        assert_eq!(shelf.ranges(), []);
        drop(whole);
        assert_eq!(shelf.ranges(), [0..4096]);
        assert_eq!(Arc::strong_count(&shelf), 1);
    }

    #[test]
    fn leases_of_two_homes_or_uses_are_not_joined() {
        let shelf = Arc::new(Shelf::default());
        let mut front = pages(4096).with_home(shelf.clone());
        let back = front.split_off(1000).with_home(Arc::new(Shelf::default()));
        let (front, back) = front.join(back).unwrap_err();
        let (front, back) = front.join(back.without_home()).unwrap_err();
        let back = back.with_home(shelf.clone()).with_tag(1);
        let (front, back) = front.join(back).unwrap_err();
        drop(front.join(back.with_tag(0)).unwrap());
        assert_eq!(shelf.ranges(), [0..4096]);
    }

    #[test]
    fn leases_of_two_slabs_are_no_neighbours() {
        let mut one = Lease::pageable(64).unwrap();
        let mut two = Lease::pageable(64).unwrap();
        let _rest = one.shrink_to(32);
        let tail = two.split_off(32);
        assert!(one.join(tail).is_err());
    }

    #[test]
    fn a_frozen_lease_is_read_in_place_and_goes_home_after_the_last_slice() {
        let shelf = Arc::new(Shelf::default());
        let mut lease = pages(4096).with_home(shelf.clone());
        lease.bytes_mut().unwrap()[..4].copy_from_slice(b"abcd");
        let address = lease.bytes().unwrap().as_ptr();
        let buffer = lease.freeze(4).unwrap();
        assert_eq!(buffer.as_ptr(), address);
        let slice = buffer.slice_with_length(1, 2);
        drop(buffer);
        assert_eq!((slice.as_slice(), shelf.ranges()), (&b"bc"[..], vec![]));
        let slice = slice.into_mutable().unwrap_err(); // foreign memory is never written
        drop(slice);
        assert_eq!(shelf.ranges(), [0..4096]);
    }

    #[test]
    fn what_cannot_be_frozen_comes_back() {
        let lease = Lease::pageable(10).unwrap().freeze(11).unwrap_err();
        assert_eq!(lease.len(), 10);
        let keep = Arc::new(());
        let slab = Slab::device(DomainId::unique(), DeviceAddr(0), 10, keep);
        assert!(slab.lease_whole().unwrap().freeze(1).is_err());
    }

    #[test]
    fn leases_are_dropped_and_read_on_other_threads() {
        let shelf = Arc::new(Shelf::default());
        let mut lease = pages(4096).with_home(shelf.clone());
        lease.bytes_mut().unwrap()[0] = 7;
        let rest = lease.split_off(2048);
        std::thread::scope(|scope| {
            scope.spawn(move || assert_eq!(lease.bytes().unwrap()[0], 7));
            scope.spawn(move || drop(rest));
        });
        let mut ranges = shelf.ranges();
        ranges.sort_by_key(|range| range.start);
        assert_eq!(ranges, [0..2048, 2048..4096]);
    }
}
