//! Blocks that a thread keeps for its next lease.
//!
//! A thread has one cache for each session that it works for. What lies in it stays booked to the
//! session, so that budgets hold without asking anybody. Of small blocks it keeps several, which
//! nobody else can touch; of large ones a few, each in a slot from which others take it when
//! memory runs short.

use std::cell::RefCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::atomic::AtomicCell;
use unlade_hal::Lease;

use super::class::Class;
use super::ledger::{Source, Tag, Use};
use super::session::SessionCore;
use crate::sync::thread_local;

/// Most bytes of small blocks in one cache ...
const CAPACITY: u64 = 512 << 10;

/// ... but no more than this part of the budget.
const SHARE: u64 = 64;

/// Most bytes of small blocks in one cache of a pool with this budget: what an idle thread can
/// withhold from the others.
pub(super) fn capacity(budget: u64) -> u64 {
    CAPACITY.min(budget / SHARE)
}

/// Queues of large blocks. Neighbouring classes have different ones.
const QUEUES: usize = 16;

/// Most blocks in a queue.
const SLOTS: usize = 32;

/// Bytes of a queue, if they fit the share: twice a second-level cache. Reading an input is slower
/// by a third while results go again and again to one block that this cache holds, as those of
/// many batches in a row would; so the block that has rested longest is next.
pub(super) const ROTATION: u64 = 2 << 20;

/// Bytes to draw at once from the reserve.
const DRAW: u64 = 32 << 10;

thread_local! {
    /// The one used last is first. Not dropped with the thread, so that reaching it asks for no
    /// state of the thread; [`EMPTIES`] takes them out.
    static CACHES: RefCell<ManuallyDrop<Vec<Cache>>> =
        const { RefCell::new(ManuallyDrop::new(Vec::new())) };
    /// Gives back what the thread keeps when it ends; there are no caches after that.
    static EMPTIES: Emptier = const { Emptier };
}

/// See [`EMPTIES`].
struct Emptier;

impl Drop for Emptier {
    fn drop(&mut self) {
        // Of a run that failed some thread may have stopped for good with the pool locked.
        #[cfg(shuttle)]
        if crate::sync::simulated::has_failed() {
            return;
        }
        flush_thread();
    }
}

#[derive(Debug)]
struct Cache {
    session: Arc<SessionCore>,
    /// Blocks by class. They have their home and tag already: leasing one moves one word.
    small: [Vec<Lease>; Class::CACHED],
    /// Most bytes of them.
    capacity: u64,
    /// Bytes of large blocks of one class that take turns.
    rotation: u64,
    /// Where in the queues of large blocks the thread is.
    turns: [Turn; QUEUES],
    shared: Arc<Shared>,
}

/// Where a thread is in one of its queues.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// The class of each block, if there has been any.
    class: Option<Class>,
    /// How many of them take turns.
    most: usize,
    /// The slot to take from next.
    first: usize,
    /// Slots in use from there on, in a circle. Others may have emptied them meanwhile.
    len: usize,
    /// Whether there were enough blocks to take turns since the queue was last empty.
    full: bool,
}

/// What other threads see of a cache.
#[derive(Default)]
pub(super) struct Shared {
    /// Bytes of small blocks. Only the cache's thread writes it.
    bytes: AtomicU64,
    /// By how many bytes the cache's thread, which alone writes this, changed what the session's
    /// leases are used for, modulo 2^64: what one thread exports another may return.
    uses: [AtomicU64; 4],
    large: [[AtomicCell<Option<Lease>>; SLOTS]; QUEUES],
}

impl Shared {
    /// Bytes of small blocks, which nobody but the cache's thread can take.
    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The thread's part in the bytes used for something, modulo 2^64.
    pub(super) fn used(&self, r#use: Use) -> u64 {
        self.uses[r#use.index()].load(Ordering::Relaxed)
    }

    /// Takes the large blocks.
    pub(super) fn take_large(&self) -> impl Iterator<Item = Lease> {
        self.large.iter().flatten().filter_map(AtomicCell::take)
    }

    /// Without a locked instruction: nobody else writes.
    #[inline]
    fn transfer(&self, from: Use, to: Use, len: u64) {
        let [from, to] = [from, to].map(|each| &self.uses[each.index()]);
        from.store(
            from.load(Ordering::Relaxed).wrapping_sub(len),
            Ordering::Relaxed,
        );
        to.store(
            to.load(Ordering::Relaxed).wrapping_add(len),
            Ordering::Relaxed,
        );
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// Takes a block of a class, drawing from the reserve when there is none. `None` where the reserve
/// or a limit declines, or the thread is ending.
#[inline]
pub(super) fn pop(session: &Arc<SessionCore>, class: Class) -> Option<Lease> {
    if !class.is_cached() {
        return pop_large(session, class);
    }
    with_cache(session, |cache| cache.pop_small(class))
}

/// Apart, so that the way of small blocks is short.
#[inline(never)]
fn pop_large(session: &Arc<SessionCore>, class: Class) -> Option<Lease> {
    with_cache(session, |cache| cache.pop_large(class))
}

/// Keeps a block, or gives it back: pieces that were split off go to the reserve, to be joined
/// there, and so does everything of a closed session or an ending thread. The lease's tag says that
/// it is idle and what it was drawn as.
#[inline]
pub(super) fn keep(session: Arc<SessionCore>, lease: Lease, drawn_as: Option<Class>) {
    match drawn_as {
        Some(class) if is_block(&lease, class) && !session.is_closed() => {
            hand_to_cache(session, lease, move |cache, lease| {
                cache.push_small(class, lease);
            });
        }
        _ => keep_large(session, lease),
    }
}

/// Whether a lease is a whole block, not as much memory of two that were joined.
#[inline]
fn is_block(lease: &Lease, class: Class) -> bool {
    class.is_whole(lease.range().start, lease.len())
}

/// Keeps a large block. Apart, so that the way of small ones is short.
#[inline(never)]
fn keep_large(session: Arc<SessionCore>, lease: Lease) {
    let class = Class::of_block(lease.range().start, lease.len());
    match class.filter(|class| !class.is_cached() && !session.is_closed()) {
        Some(class) => hand_to_cache(session, lease, move |cache, lease| {
            cache.push_large(class, lease);
        }),
        None => give_back(&session, lease),
    }
}

/// Calls `push` with this thread's cache and the lease, at home again; where there is no cache,
/// gives the lease back.
#[inline]
fn hand_to_cache(session: Arc<SessionCore>, lease: Lease, push: impl FnOnce(&mut Cache, Lease)) {
    with_caches(|caches| {
        let Ok(mut caches) = caches.try_borrow_mut() else {
            return give_back(&session, lease);
        };
        match find(&mut caches, &session) {
            Some(cache) => push(cache, lease.with_home(session)),
            None => give_back(&session, lease),
        }
    });
}

/// What `act` makes of this thread's cache for a session; nothing where there is no cache.
#[inline]
fn with_cache<R>(
    session: &Arc<SessionCore>,
    act: impl FnOnce(&mut Cache) -> Option<R>,
) -> Option<R> {
    with_caches(|caches| {
        let mut caches = caches.try_borrow_mut().ok()?;
        act(find(&mut caches, session)?)
    })
}

#[inline]
fn with_caches<R>(act: impl FnOnce(&RefCell<ManuallyDrop<Vec<Cache>>>) -> R) -> R {
    // Of what a simulated thread ends with, the oldest goes first; of a real one's, this never does.
    #[cfg(shuttle)]
    let _first = EMPTIES.try_with(|_| ());
    // `with` is no function that is always inlined.
    CACHES.try_with(act).expect("not dropped with the thread")
}

#[cold]
#[inline(never)]
fn give_back(session: &SessionCore, lease: Lease) {
    let central = &session.pool().central;
    central.put(session.id(), Source::Cache, Use::Staged, [lease]);
}

/// Counts that memory from a cache now serves another purpose.
#[inline]
pub(super) fn transfer(session: &SessionCore, from: Use, to: Use, len: u64) {
    let counted = with_caches(|caches| {
        let caches = caches.try_borrow().ok()?;
        let mut caches = caches.iter();
        let cache = caches.find(|cache| std::ptr::eq(&*cache.session, session))?;
        cache.shared.transfer(from, to, len);
        Some(())
    });
    if counted.is_none() {
        session.counters().transfer(from, to, len);
    }
}

/// Gives all that this thread keeps back to the reserves.
pub(super) fn flush_thread() {
    let caches = with_caches(|caches| std::mem::take(&mut **caches.borrow_mut()));
    drop(caches);
}

/// This thread's cache for a session; `None` where the thread is ending. The one used last is found
/// first.
#[inline]
fn find<'a>(caches: &'a mut Vec<Cache>, session: &Arc<SessionCore>) -> Option<&'a mut Cache> {
    let is_first = |first: &Cache| Arc::ptr_eq(&first.session, session);
    if !caches.first().is_some_and(is_first) {
        bring_to_front(caches, session)?;
    }
    caches.first_mut()
}

#[cold]
#[inline(never)]
fn bring_to_front(caches: &mut Vec<Cache>, session: &Arc<SessionCore>) -> Option<()> {
    EMPTIES.try_with(|_| ()).ok()?;
    let position = caches
        .iter()
        .position(|cache| Arc::ptr_eq(&cache.session, session));
    match position {
        Some(position) => caches.swap(0, position),
        None => {
            caches.retain(|cache| !cache.session.is_closed());
            caches.insert(0, Cache::new(session.clone()));
        }
    }
    Some(())
}

impl Cache {
    fn new(session: Arc<SessionCore>) -> Self {
        let shared = Arc::<Shared>::default();
        session.counters().add_cache(shared.clone());
        let budget = session.pool().central.state().ledger.budget();
        Cache {
            session,
            small: Default::default(),
            capacity: capacity(budget),
            rotation: ROTATION.min(budget / SHARE),
            turns: Default::default(),
            shared,
        }
    }

    #[inline]
    fn pop_small(&mut self, class: Class) -> Option<Lease> {
        let lease = match self.small[class.index()].pop() {
            Some(lease) => lease,
            None => self.draw(class)?,
        };
        self.count(|bytes| bytes - lease.len());
        Some(lease)
    }

    #[inline]
    fn push_small(&mut self, class: Class, lease: Lease) {
        let len = lease.len();
        if self.shared.bytes() + len > self.capacity {
            self.spill();
            if len > self.capacity {
                return self.put([lease]);
            }
        }
        self.count(|bytes| bytes + len);
        self.small[class.index()].push(lease);
    }

    /// The block that has rested longest, once there are enough to take turns.
    #[inline]
    fn pop_large(&mut self, class: Class) -> Option<Lease> {
        let turn = &self.turns[class.index() % QUEUES];
        if turn.class != Some(class) {
            self.draw(class)
        } else if turn.full {
            self.pop_rested(class).or_else(|| self.draw(class))
        } else {
            self.draw(class).or_else(|| self.pop_rested(class))
        }
    }

    #[inline]
    fn pop_rested(&mut self, class: Class) -> Option<Lease> {
        let queue = class.index() % QUEUES;
        let turn = &mut self.turns[queue];
        while turn.len > 0 {
            let taken = self.shared.large[queue][turn.first].take();
            turn.first = (turn.first + 1) % SLOTS;
            turn.len -= 1;
            if taken.is_some() {
                return taken;
            }
        }
        turn.full = false;
        None
    }

    #[inline]
    fn push_large(&mut self, class: Class, lease: Lease) {
        if self.session.pool().central.is_under_pressure() {
            return self.put([lease]);
        }
        let queue = class.index() % QUEUES;
        let turn = &mut self.turns[queue];
        if turn.class != Some(class) {
            self.begin_turns(queue, class);
        }
        let turn = &mut self.turns[queue];
        if turn.len == turn.most {
            return self.put([lease]);
        }
        let last = (turn.first + turn.len) % SLOTS;
        turn.len += 1;
        turn.full |= turn.len == turn.most;
        let replaced = self.shared.large[queue][last].swap(Some(lease));
        debug_assert!(replaced.is_none(), "a slot beyond those in use is empty");
    }

    /// Gives a queue to another class.
    #[cold]
    #[inline(never)]
    fn begin_turns(&mut self, queue: usize, class: Class) {
        self.turns[queue] = Turn {
            class: Some(class),
            most: (self.rotation / class.size()).clamp(1, SLOTS as u64) as usize,
            ..Turn::default()
        };
        let others = self.shared.large[queue].iter();
        self.put(others.filter_map(AtomicCell::take));
    }

    #[inline]
    fn count(&self, change: impl FnOnce(u64) -> u64) {
        self.shared
            .bytes
            .store(change(self.shared.bytes()), Ordering::Relaxed);
    }

    /// Fills the list of a small class from the reserve and takes one; of a large class takes one.
    #[cold]
    #[inline(never)]
    fn draw(&mut self, class: Class) -> Option<Lease> {
        let size = class.size();
        let room = self.capacity.saturating_sub(self.shared.bytes()) / size;
        let count = (DRAW / size).min(room).max(1);
        let id = self.session.id();
        let drawn = self.session.pool().central.draw(id, class, count as usize);
        let tag = Tag::idle(class).bits();
        let mut drawn = drawn.into_iter().map(|mut free| {
            if free.last.hides_from(id) {
                free.block.zero();
            }
            let home = self.session.clone();
            free.block.with_home(home).with_tag(tag)
        });
        if !class.is_cached() {
            return drawn.next();
        }
        let list = &mut self.small[class.index()];
        list.extend(drawn);
        let lease = list.pop();
        let added = list.len() + usize::from(lease.is_some());
        self.count(|bytes| bytes + size * added as u64);
        lease
    }

    /// Gives everything back to the reserve.
    #[cold]
    #[inline(never)]
    fn spill(&mut self) {
        let small = self.small.iter_mut().flat_map(|list| list.drain(..));
        let all: Vec<Lease> = small.chain(self.shared.take_large()).collect();
        self.put(all);
        self.count(|_| 0);
    }

    #[inline(never)]
    fn put(&self, leases: impl IntoIterator<Item = Lease>) {
        let (id, central) = (self.session.id(), &self.session.pool().central);
        // The cache's own reference keeps the session, so that none of these is the last.
        let blocks = leases.into_iter().map(Lease::without_home);
        central.put(id, Source::Cache, Use::Staged, blocks);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.spill();
        self.session.counters().remove_cache(&self.shared);
    }
}
