//! Small blocks that a thread keeps to itself, so that leasing and returning them touches nothing
//! that is shared.
//!
//! A thread has one cache for each session that it works for. What lies in it stays booked to the
//! session, so that budgets hold without asking anybody.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use unlade_hal::Lease;

use super::class::Class;
use super::ledger::{Source, Use};
use super::session::{SessionCore, UseHome};

/// Most bytes in one cache: what an idle thread can withhold from the others, per session.
const CAPACITY: u64 = 512 << 10;

/// Bytes to draw at once from the reserve.
const DRAW: u64 = 32 << 10;

thread_local! {
    static CACHES: RefCell<Vec<Cache>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Cache {
    session: Arc<SessionCore>,
    lists: [Vec<Entry>; Class::CACHED],
    /// Bytes in `lists`. Only this thread writes it; others read it for statistics.
    bytes: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Entry {
    lease: Lease,
    /// The home that it came from, kept so that leasing it again counts no reference.
    home: Option<Arc<UseHome>>,
}

/// Takes a block of a cached class, drawing from the reserve when there is none. `None` where the
/// reserve or a limit declines, or the thread is ending.
#[inline]
pub(super) fn pop(session: &Arc<SessionCore>, home: &Arc<UseHome>, class: Class) -> Option<Lease> {
    CACHES
        .try_with(|caches| {
            let mut caches = caches.try_borrow_mut().ok()?;
            let cache = find(&mut caches, session);
            let entry = match cache.lists[class.index()].pop() {
                Some(entry) => entry,
                None => cache.draw(class)?,
            };
            cache.count(|bytes| bytes - class.size());
            let home = entry.home.unwrap_or_else(|| home.clone());
            Some(entry.lease.with_home(home))
        })
        .ok()
        .flatten()
}

/// Keeps a block, or gives it back: pieces that were split off go to the reserve, to be joined
/// there, and so does everything of a closed session or an ending thread.
#[inline]
pub(super) fn push(home: Arc<UseHome>, lease: Lease) -> Result<(), (Arc<UseHome>, Lease)> {
    let class = Class::exactly(lease.len())
        .filter(|class| class.is_cached() && lease.range().start.is_multiple_of(class.alignment()));
    let Some(class) = class.filter(|_| !home.session().is_closed()) else {
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
        if cache.bytes.load(Ordering::Relaxed) + class.size() > CAPACITY {
            cache.spill();
        }
        cache.count(|bytes| bytes + class.size());
        let home = (home.r#use() == Use::Staged).then_some(home);
        cache.lists[class.index()].push(Entry { lease, home });
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
        let bytes = session.counters().add_cache();
        Cache {
            session,
            lists: Default::default(),
            bytes,
        }
    }

    #[inline]
    fn count(&self, change: impl FnOnce(u64) -> u64) {
        self.bytes.store(
            change(self.bytes.load(Ordering::Relaxed)),
            Ordering::Relaxed,
        );
    }

    /// Fills the list of a class from the reserve and takes one.
    #[cold]
    fn draw(&mut self, class: Class) -> Option<Entry> {
        let size = class.size();
        let room = (CAPACITY - self.bytes.load(Ordering::Relaxed).min(CAPACITY)) / size;
        let count = (DRAW / size).min(room).max(1);
        let id = self.session.id();
        let drawn = self.session.pool().central.draw(id, class, count as usize);
        self.count(|bytes| bytes + size * drawn.len() as u64);
        let list = &mut self.lists[class.index()];
        list.extend(drawn.into_iter().map(|mut free| {
            if free.last.hides_from(id) {
                free.block.zero();
            }
            Entry {
                lease: free.block,
                home: None,
            }
        }));
        list.pop()
    }

    /// Gives everything back to the reserve.
    #[cold]
    fn spill(&mut self) {
        let blocks = self
            .lists
            .iter_mut()
            .flat_map(|list| list.drain(..))
            .map(|each| each.lease);
        let (id, pool) = (self.session.id(), self.session.pool());
        pool.central.put(id, Source::Cache, Use::Staged, blocks);
        self.count(|_| 0);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.spill();
        self.session.counters().remove_cache(&self.bytes);
    }
}
