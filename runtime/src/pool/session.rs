//! Those who lease memory.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use unlade_hal::{Home, Lease};

use super::cache::{self, Shared};
use super::central::{Ask, Grant};
use super::class::Class;
use super::ledger::{SessionId, Source, Tag, Use};
use super::metrics;
use super::{Core, Pool};
use crate::error::Exhausted;
use crate::sync::Instant;
use crate::sync::modelled::{Mutex, lock};

/// A user of the pool with a label and a budget of its own. Cheap to clone.
///
/// Memory that another session has used is zeroed before this one sees it.
#[derive(Clone, Debug)]
pub struct Session {
    handle: Arc<Handle>,
}

/// What a batch asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Bytes of each lease. A lease may turn out longer, up to the next size class.
    pub sizes: &'a [u64],
    /// Whether a device must reach the memory.
    pub memory: Memory,
    /// How long to wait for what comes back by itself; `None` not to wait at all.
    pub wait: Option<Duration>,
}

/// What memory must be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Devices reach it. Beyond the reserve: a slab of its own, registered with every device.
    Pinned,
    /// The host alone uses it. Beyond the reserve: heap memory.
    Any,
}

impl Session {
    pub(super) fn open(pool: Arc<Core>, label: Arc<str>, budget: u64) -> Self {
        let counters = Arc::new(Counters::default());
        let id = pool
            .central
            .with_ledger(|ledger| ledger.open(label, budget, counters.clone()));
        let core = Arc::new(SessionCore {
            id,
            pool,
            counters,
            closed: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        });
        Session {
            handle: Arc::new(Handle { core }),
        }
    }

    /// Leases at least `len` bytes for the host, without waiting.
    ///
    /// # Errors
    /// [`Exhausted`] where the budget has no room; in a box, so that a lease comes back in a register.
    #[inline]
    pub fn lease(&self, len: u64) -> Result<Lease, Box<Exhausted>> {
        let core = &self.handle.core;
        if let Some(class) = Class::of(len)
            && let Some(lease) = cache::pop(core, class)
        {
            return Ok(lease);
        }
        self.lease_slowly(len)
    }

    #[cold]
    #[inline(never)]
    fn lease_slowly(&self, len: u64) -> Result<Lease, Box<Exhausted>> {
        let request = Request {
            sizes: &[len],
            memory: Memory::Any,
            wait: None,
        };
        let mut leases = self.acquire(&request)?;
        Ok(leases.pop().expect("one lease for one size"))
    }

    /// Leases everything that a batch needs, or nothing: nobody holds some and waits for more.
    ///
    /// # Errors
    /// [`Exhausted`] where only memory that the caller itself holds could help, or the time to
    /// wait is over, and the budget has no room beyond the reserve.
    pub fn acquire(&self, request: &Request<'_>) -> Result<Vec<Lease>, Box<Exhausted>> {
        self.acquire_unless(request, &|| false)
    }

    /// As [`acquire`](Self::acquire), for something that may come to nothing while it waits: then it is
    /// refused, for no want of memory.
    pub(crate) fn acquire_unless(
        &self,
        request: &Request<'_>,
        ended: &dyn Fn() -> bool,
    ) -> Result<Vec<Lease>, Box<Exhausted>> {
        let core = &self.handle.core;
        let ask = Ask {
            session: core.id,
            sizes: request.sizes,
            wait: request.wait,
            given_up: &core.given_up,
            ended,
        };
        let exhausted = |cause| {
            if !ended() {
                metrics::exhausted();
            }
            Box::new(core.pool.exhausted(core.id, request.sizes, cause))
        };
        let grants = match core.pool.central.try_acquire(&ask) {
            Some(grants) => grants,
            None => {
                core.pool.reclaim();
                let start = request.wait.map(|_| Instant::now());
                let granted = core.pool.central.acquire(&ask);
                start.into_iter().for_each(metrics::waited);
                granted.map_err(|_refused| exhausted(None))?
            }
        };
        let mut grants = grants.into_iter();
        let mut leases = Vec::with_capacity(request.sizes.len());
        for grant in &mut grants {
            match grant {
                Grant::Block(free) => leases.push(self.arrive(free)),
                Grant::Extra(len) => match core.pool.allocate(request.memory, len) {
                    Ok(lease) => leases.push(self.at_home(lease, Source::Extra)),
                    Err(error) => {
                        // The system has less than the budget promised. Undo the rest.
                        core.pool.central.forget_extra(core.id, Use::Staged, len);
                        for grant in grants {
                            match grant {
                                Grant::Block(free) => drop(self.arrive(free)),
                                Grant::Extra(len) => {
                                    core.pool.central.forget_extra(core.id, Use::Staged, len);
                                }
                            }
                        }
                        drop(leases);
                        return Err(exhausted(Some(error)));
                    }
                },
            }
        }
        Ok(leases)
    }

    /// The pool.
    pub fn pool(&self) -> Pool {
        Pool {
            core: self.handle.core.pool.clone(),
        }
    }

    /// Has nobody wait for memory of this session any more: who does is refused, as is who would.
    /// What is free is still leased.
    pub fn give_up(&self) {
        let core = &self.handle.core;
        core.given_up.store(true, Ordering::Relaxed);
        core.pool.central.with_ledger(|_| ()); // wakes those who wait
    }

    /// Bytes leased and not yet returned.
    pub fn held(&self) -> u64 {
        let core = &self.handle.core;
        core.pool.reclaim(); // what threads keep is not held
        let state = core.pool.central.state();
        let mut accounts = state.ledger.accounts();
        let account = accounts.find(|account| account.session == core.id);
        account.map_or(0, |account| {
            account.held().saturating_sub(account.counters.cached())
        })
    }

    pub(super) fn id(&self) -> SessionId {
        self.handle.core.id
    }

    /// Whether both are handles of one session.
    pub(crate) fn is_same(&self, other: &Session) -> bool {
        Arc::ptr_eq(&self.handle.core, &other.handle.core)
    }

    /// Bytes that are [exported](Use::Exported), of what came from threads' caches: known without
    /// asking the pool.
    pub(crate) fn exported(&self) -> u64 {
        self.handle.core.counters.used(Use::Exported)
    }

    fn arrive(&self, mut free: super::store::Free<Lease>) -> Lease {
        if free.last.hides_from(self.handle.core.id) {
            free.block.zero();
        }
        self.at_home(free.block, Source::Central)
    }

    fn at_home(&self, lease: Lease, source: Source) -> Lease {
        let home = self.handle.core.clone();
        lease.with_home(home).with_tag(Tag::staged(source).bits())
    }

    /// Notes that a lease of this session now serves another purpose. Leases of other sessions or
    /// without a home are returned as they are.
    #[must_use]
    pub fn mark(&self, lease: Lease, to: Use) -> Lease {
        let core = &self.handle.core;
        let is_own = SessionCore::of(&lease).is_some_and(|session| std::ptr::eq(session, &**core));
        let tag = Tag::of_bits(lease.tag());
        if !is_own || tag.r#use == to {
            return lease;
        }
        match tag.source {
            Source::Cache => cache::transfer(core, tag.r#use, to, lease.len()),
            Source::Central | Source::Extra => {
                let central = &core.pool.central;
                central.transfer(core.id, tag.source, (tag.r#use, to), lease.len());
            }
        }
        lease.with_tag(Tag { r#use: to, ..tag }.bits())
    }
}

/// What the user's handles share. The core outlives it as long as leases are out.
#[derive(Debug)]
struct Handle {
    core: Arc<SessionCore>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.closed.store(true, Ordering::Relaxed);
    }
}

/// A session, as its leases know it.
#[derive(Debug)]
pub(super) struct SessionCore {
    id: SessionId,
    pool: Arc<Core>,
    counters: Arc<Counters>,
    closed: AtomicBool,
    /// Whether nobody waits for its memory any more.
    given_up: AtomicBool,
}

impl SessionCore {
    #[inline]
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    #[inline]
    pub(super) fn pool(&self) -> &Core {
        &self.pool
    }

    #[inline]
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The session that a lease belongs to.
    fn of(lease: &Lease) -> Option<&SessionCore> {
        let home: &dyn Any = lease.home()?;
        home.downcast_ref()
    }

    /// Whether nobody will lease for it any more.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Drop for SessionCore {
    fn drop(&mut self) {
        self.pool
            .central
            .with_ledger(|ledger| ledger.close(self.id));
    }
}

impl Home for SessionCore {
    #[inline]
    fn take_back(self: Arc<Self>, lease: Lease) {
        let tag = Tag::of_bits(lease.tag());
        if tag.is_idle() {
            cache::keep(self, lease, tag.drawn_as);
        } else {
            self.take_back_used(lease);
        }
    }

    #[cold]
    fn abandoned(&self, lease: &Lease) {
        let tag = Tag::of_bits(lease.tag());
        self.settle(tag, lease.len());
        let central = &self.pool.central;
        central.with_ledger(|ledger| ledger.abandon(self.id, tag, lease.len()));
    }
}

impl SessionCore {
    /// Counts what was leased from a thread's cache as it is counted while it lies there.
    fn settle(&self, tag: Tag, len: u64) {
        if tag.source == Source::Cache && tag.r#use != Use::Staged {
            cache::transfer(self, tag.r#use, Use::Staged, len);
        }
    }

    /// Takes back what is counted under another use, or was not from a cache.
    #[cold]
    fn take_back_used(self: Arc<Self>, lease: Lease) {
        let tag = Tag::of_bits(lease.tag());
        let len = lease.len();
        match tag.source {
            Source::Cache => {
                self.settle(tag, len);
                let idle = Tag {
                    r#use: Use::Staged,
                    ..tag
                };
                cache::keep(self, lease.with_tag(idle.bits()), tag.drawn_as);
            }
            Source::Central => {
                let central = &self.pool.central;
                central.put(self.id, tag.source, tag.r#use, [lease]);
            }
            Source::Extra => {
                drop(lease);
                self.pool.central.forget_extra(self.id, tag.r#use, len);
            }
        }
    }
}

/// What is counted without the pool's lock: memory of threads' caches.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Every thread's cache, which counts what its thread does.
    caches: Mutex<Vec<Arc<Shared>>>,
    /// What threads without a cache, and those that have ended, have counted: bytes leased from
    /// caches by use, except [`Use::Staged`], which is the remainder. Modulo 2^64, as each thread's
    /// part of it.
    others: [AtomicU64; 4],
}

impl Counters {
    /// Bytes that lie in threads' caches and cannot be taken from there.
    pub(super) fn cached(&self) -> u64 {
        lock(&self.caches).iter().map(|cache| cache.bytes()).sum()
    }

    /// Takes the large blocks out of all threads' caches, and their home. That keeps the session: what
    /// comes back to the reserve must find its account open.
    pub(super) fn take_large(&self) -> (Vec<Lease>, Option<Arc<dyn Home>>) {
        let mut leases: Vec<Lease> = lock(&self.caches)
            .iter()
            .flat_map(|cache| cache.take_large())
            .collect();
        let home = leases.first_mut().and_then(Lease::take_home);
        (leases.into_iter().map(Lease::without_home).collect(), home)
    }

    /// Bytes leased from caches for this use, which is not [`Use::Staged`].
    pub(super) fn used(&self, r#use: Use) -> u64 {
        let caches = lock(&self.caches);
        let others = self.others[r#use.index()].load(Ordering::Relaxed);
        let used = caches
            .iter()
            .fold(others, |sum, cache| sum.wrapping_add(cache.used(r#use)));
        // Read while threads count, the parts may add up to a little less than nothing.
        u64::try_from(used as i64).unwrap_or(0)
    }

    pub(super) fn add_cache(&self, cache: Arc<Shared>) {
        lock(&self.caches).push(cache);
    }

    pub(super) fn remove_cache(&self, cache: &Arc<Shared>) {
        let mut caches = lock(&self.caches);
        caches.retain(|each| !Arc::ptr_eq(each, cache));
        for r#use in Use::ALL {
            self.others[r#use.index()].fetch_add(cache.used(r#use), Ordering::Relaxed);
        }
    }

    /// Counts for a thread that has no cache.
    #[cold]
    pub(super) fn transfer(&self, from: Use, to: Use, len: u64) {
        self.others[from.index()].fetch_sub(len, Ordering::Relaxed);
        self.others[to.index()].fetch_add(len, Ordering::Relaxed);
    }
}
