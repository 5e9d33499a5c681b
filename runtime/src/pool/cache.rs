//! Blocks that a thread keeps for its next lease.
//!
//! A thread has one cache for each session that it works for. What lies in it stays booked to the
//! session, so that budgets hold without asking anybody. Of small blocks it keeps several, which
//! nobody else can touch; of large ones a few, each in a slot from which others take it when
//! memory runs short.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::atomic::AtomicCell;
use unlade_hal::Lease;

use super::class::Class;
use super::ledger::{Source, Use};
use super::session::{SessionCore, UseHome};

/// Most bytes of small blocks in one cache: what an idle thread can withhold from the others.
const CAPACITY: u64 = 512 << 10;

/// Slots for large blocks. Neighbouring classes have different ones.
const SLOTS: usize = 8;

/// Bytes to draw at once from the reserve.
const DRAW: u64 = 32 << 10;

thread_local! {
    static CACHES: RefCell<Vec<Cache>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Cache {
    session: Arc<SessionCore>,
    small: [Vec<Entry>; Class::CACHED],
    shared: Arc<Shared>,
    /// An empty box for the next large block, so that keeping one allocates nothing.
    spare: Option<Box<Option<Entry>>>,
}

/// What other threads see of a cache.
#[derive(Default)]
pub(super) struct Shared {
    /// Bytes of small blocks. Only the cache's thread writes it.
    bytes: AtomicU64,
    large: [AtomicCell<Option<Box<Option<Entry>>>>; SLOTS],
}

impl Shared {
    /// Bytes of small blocks, which nobody but the cache's thread can take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes the large blocks.
    pub(super) fn take_large(&self) -> impl Iterator<Item = Lease> {
        self.large
            .iter()
            .filter_map(|slot| Some(slot.take()?.take()?.lease))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Entry {
    lease: Lease,
    /// The home that it came from, kept so that leasing it again counts no reference.
    home: Option<Arc<UseHome>>,
}

/// Takes a block of a class, drawing from the reserve when there is none. `None` where the reserve
/// or a limit declines, or the thread is ending.
#[inline]
pub(super) fn pop(session: &Arc<SessionCore>, home: &Arc<UseHome>, class: Class) -> Option<Lease> {
    let entry = CACHES.try_with(|caches| {
        let mut caches = caches.try_borrow_mut().ok()?;
        let cache = find(&mut caches, session);
        if class.is_cached() {
            cache.pop_small(class)
        } else {
            cache.pop_large(class)
        }
    });
    let entry = entry.ok().flatten()?;
    let home = entry.home.unwrap_or_else(|| home.clone());
    Some(entry.lease.with_home(home))
}

/// Keeps a block, or gives it back: pieces that were split off go to the reserve, to be joined
/// there, and so does everything of a closed session or an ending thread.
#[inline]
pub(super) fn push(home: Arc<UseHome>, lease: Lease) -> Result<(), (Arc<UseHome>, Lease)> {
    let start = lease.range().start;
    let class = Class::exactly(lease.len())
        .filter(|class| start.is_multiple_of(class.alignment()) && !home.session().is_closed());
    let Some(class) = class else {
        return Err((home, lease));
    };
    let mut returned = Some((home, lease));
    let _thread_is_ending = CACHES.try_with(|caches| {
        let Ok(mut caches) = caches.try_borrow_mut() else {
            return;
        };
        let Some((home, lease)) = returned.take() else {
            return;
        };
        let cache = find(&mut caches, home.session());
        let home = (home.r#use() == Use::Staged).then_some(home);
        let entry = Entry { lease, home };
        if class.is_cached() {
            cache.push_small(class, entry);
        } else {
            cache.push_large(class, entry);
        }
    });
    returned.map_or(Ok(()), Err)
}

/// Gives all that this thread keeps back to the reserves.
pub(super) fn flush_thread() {
    let caches = CACHES.try_with(|caches| std::mem::take(&mut *caches.borrow_mut()));
    drop(caches);
}

/// This thread's cache for a session; the one used last is found first.
#[inline]
fn find<'a>(caches: &'a mut Vec<Cache>, session: &Arc<SessionCore>) -> &'a mut Cache {
    if !caches
        .first()
        .is_some_and(|cache| Arc::ptr_eq(&cache.session, session))
    {
        bring_to_front(caches, session);
    }
    &mut caches[0]
}

#[cold]
fn bring_to_front(caches: &mut Vec<Cache>, session: &Arc<SessionCore>) {
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
}

impl Cache {
    fn new(session: Arc<SessionCore>) -> Self {
        let shared = Arc::<Shared>::default();
        session.counters().add_cache(shared.clone());
        Cache {
            session,
            small: Default::default(),
            shared,
            spare: None,
        }
    }

    #[inline]
    fn pop_small(&mut self, class: Class) -> Option<Entry> {
        let entry = match self.small[class.index()].pop() {
            Some(entry) => entry,
            None => self.draw(class)?,
        };
        self.count(|bytes| bytes - class.size());
        Some(entry)
    }

    #[inline]
    fn push_small(&mut self, class: Class, entry: Entry) {
        if self.shared.bytes() + class.size() > CAPACITY {
            self.spill();
        }
        self.count(|bytes| bytes + class.size());
        self.small[class.index()].push(entry);
    }

    #[inline]
    fn pop_large(&mut self, class: Class) -> Option<Entry> {
        let slot = &self.shared.large[class.index() % SLOTS];
        let Some(mut kept) = slot.take() else {
            return self.draw(class);
        };
        if (*kept)
            .as_ref()
            .is_some_and(|entry| entry.lease.len() == class.size())
        {
            let entry = kept.take();
            self.spare = Some(kept);
            return entry;
        }
        slot.store(Some(kept));
        self.draw(class)
    }

    #[inline]
    fn push_large(&mut self, class: Class, entry: Entry) {
        if self.session.pool().central.is_under_pressure() {
            return self.put([entry.lease]);
        }
        let mut kept = self.spare.take().unwrap_or_default();
        *kept = Some(entry);
        if let Some(mut replaced) = self.shared.large[class.index() % SLOTS].swap(Some(kept)) {
            self.put(replaced.take().map(|entry| entry.lease));
            self.spare = Some(replaced);
        }
    }

    #[inline]
    fn count(&self, change: impl FnOnce(u64) -> u64) {
        self.shared
            .bytes
            .store(change(self.shared.bytes()), Ordering::Relaxed);
    }

    /// Fills the list of a small class from the reserve and takes one; of a large class takes one.
    #[cold]
    fn draw(&mut self, class: Class) -> Option<Entry> {
        let size = class.size();
        let room = CAPACITY.saturating_sub(self.shared.bytes()) / size;
        let count = (DRAW / size).min(room).max(1);
        let id = self.session.id();
        let drawn = self.session.pool().central.draw(id, class, count as usize);
        let mut drawn = drawn.into_iter().map(|mut free| {
            if free.last.hides_from(id) {
                free.block.zero();
            }
            Entry {
                lease: free.block,
                home: None,
            }
        });
        if !class.is_cached() {
            return drawn.next();
        }
        let list = &mut self.small[class.index()];
        list.extend(drawn);
        let entry = list.pop();
        let added = list.len() + usize::from(entry.is_some());
        self.count(|bytes| bytes + size * added as u64);
        entry
    }

    /// Gives everything back to the reserve.
    #[cold]
    fn spill(&mut self) {
        let small = self
            .small
            .iter_mut()
            .flat_map(|list| list.drain(..))
            .map(|each| each.lease);
        let all: Vec<Lease> = small.chain(self.shared.take_large()).collect();
        self.put(all);
        self.count(|_| 0);
    }

    fn put(&self, blocks: impl IntoIterator<Item = Lease>) {
        let (id, central) = (self.session.id(), &self.session.pool().central);
        central.put(id, Source::Cache, Use::Staged, blocks);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.spill();
        self.session.counters().remove_cache(&self.shared);
    }
}
