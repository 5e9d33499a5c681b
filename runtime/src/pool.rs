//! One pool of pinned memory, shared by all devices and all sessions.
//!
//! The pool reserves one slab at the start and registers it once with every driver. What it hands
//! out are [`Lease`]s of that slab in size classes; small ones come from the calling thread's own
//! cache, so that leasing and returning touches nothing shared. Dropping a lease returns it.
//!
//! The rules:
//! - A batch takes [all its leases at once](Session::acquire) or none.
//! - Those who wait are served in order. A stream makes results ahead of time only while half of the
//!   budget is free, so that the batch asked for next finds room.
//! - What [is exported](Use::Exported) to the caller or resident is never waited for. If only that
//!   could help, memory beyond the reserve is allocated and counted, within a hard budget; then
//!   comes [`Exhausted`], which says who holds what.
//! - Memory is zeroed when it changes from one session to another.
//!
//! ```
//! use unlade_runtime::pool::{Pool, PoolOptions, Use};
//!
//! let pool = Pool::new(&PoolOptions { reserve: 1 << 20, ..PoolOptions::default() })?;
//! let session = pool.session("query 1", u64::MAX);
//! let mut lease = session.lease(5000)?;
//! lease.bytes_mut().unwrap()[..5].copy_from_slice(b"bytes");
//! let result = session.mark(lease, Use::Exported).freeze(5).unwrap(); // an Arrow buffer
//! assert_eq!(pool.status().holders[0].what, "query 1: exported to the caller");
//! drop(result);
//! assert_eq!(pool.status().leased, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod cache;
mod central;
mod class;
mod ledger;
mod metrics;
#[cfg(all(test, loom))]
mod model;
mod session;
mod status;
mod store;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use unlade_hal::{AllocError, Device, Lease, MemoryKind, PageSize, Slab};

use self::central::Central;
pub use self::ledger::Use;
use self::ledger::{SessionId, Source};
pub use self::session::{Memory, Request, Session};
pub use self::status::PoolStatus;
pub use crate::error::{Exhausted, Holder};
use crate::sync::Instant;
use crate::sync::modelled::{Mutex, lock};

/// How large a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Bytes of pinned memory reserved at the start; 0 for none. Pages are touched only when used.
    pub reserve: u64,
    /// Most bytes in use at once, the reserve included: the rest is allocated when the reserve has
    /// run out.
    pub budget: u64,
    /// Which pages the memory should be made of, if there are any. Memory beyond the reserve is of
    /// huge ones where it fills one and the devices take it.
    pub page_size: PageSize,
}

impl Default for PoolOptions {
    /// 256 MiB reserved, 1 GiB in all, huge pages where there are any.
    fn default() -> Self {
        PoolOptions {
            reserve: 256 << 20,
            budget: 1 << 30,
            page_size: PageSize::Huge,
        }
    }
}

/// One pool of pinned memory. Cheap to clone; the memory lives until the last lease is dropped.
#[derive(Clone, Debug)]
pub struct Pool {
    core: Arc<Core>,
}

impl Pool {
    /// Reserves the memory.
    ///
    /// # Errors
    /// Where the system has not that much.
    pub fn new(options: &PoolOptions) -> Result<Self, AllocError> {
        let reserve = match options.reserve {
            0 => None,
            len => Some(Slab::host(MemoryKind::Readback, len, options.page_size)?),
        };
        let whole = reserve
            .as_ref()
            .map(|slab| slab.lease_whole().expect("the slab is new"));
        let extra = options
            .budget
            .saturating_sub(reserve.as_ref().map_or(0, Slab::len));
        let central = Central::new(whole, extra);
        let core = Core {
            central,
            reserve,
            devices: Mutex::new(Vec::new()),
            huge_pages: AtomicBool::new(options.page_size == PageSize::Huge),
            is_told: AtomicBool::new(false),
        };
        Ok(Pool {
            core: Arc::new(core),
        })
    }

    /// Makes the reserve, and later every pinned lease beyond it, reachable by a device, which is
    /// not kept for that: memory abandoned to a lost device keeps the pool for good, and must not
    /// keep the device open with it.
    ///
    /// # Errors
    /// Where the device's driver refuses; the device then has no use for this pool.
    pub fn attach(&self, device: Arc<dyn Device>) -> Result<(), AllocError> {
        if let Some(reserve) = &self.core.reserve {
            device.register(reserve)?;
        }
        let mut devices = lock(&self.core.devices);
        let domain = device.info().domain;
        let mut known = devices.iter().filter_map(Weak::upgrade);
        if !known.any(|each| each.info().domain == domain) {
            devices.push(Arc::downgrade(&device));
        }
        Ok(())
    }

    /// Opens a session: one who leases memory, with a label for messages and a budget in bytes.
    pub fn session(&self, label: impl Into<Arc<str>>, budget: u64) -> Session {
        Session::open(self.core.clone(), label.into(), budget)
    }

    /// Waits until memory that comes back by itself does so, to try again what found none: so many
    /// bytes for a session. The caller holds nothing. False where no such memory is out or it would
    /// not help, the deadline comes first, or the caller gives up.
    pub(crate) fn await_return(
        &self,
        session: &Session,
        asked: u64,
        deadline: Instant,
        gives_up: impl Fn() -> bool,
    ) -> bool {
        let mut watch = self.core.central.watch(session.id(), asked);
        // What the caller's own attempt has left in its thread's cache is no news.
        self.core.reclaim();
        watch.restart();
        loop {
            if let Some(came) = watch.look(deadline) {
                return came;
            }
            if gives_up() {
                return false;
            }
            self.core.reclaim(); // what was kept for later as the watch began
        }
    }

    /// How much results that are not yet dropped leave for such as are made before they are asked
    /// for.
    pub(crate) fn room_ahead(&self) -> Room {
        let ledger = &self.core.central.state().ledger;
        match (ledger.exported(), ledger.budget()) {
            (exported, budget) if exported > budget / 2 => Room::None,
            (exported, budget) if exported > budget / 8 => Room::Some,
            _ => Room::Plenty,
        }
    }

    /// Most bytes that a thread keeps for its next leases so that no other can have them, in a pool
    /// with this budget.
    pub(crate) fn most_kept_by_a_thread(budget: u64) -> u64 {
        cache::capacity(budget)
    }

    /// The reserved slab.
    pub fn reserve(&self) -> Option<&Slab> {
        self.core.reserve.as_ref()
    }

    /// Gives what the calling thread keeps for its next leases back to the reserve, for all pools.
    /// A thread that will be idle for long does this; one that ends has done so.
    pub fn flush_thread() {
        cache::flush_thread();
    }

    /// How the pool is used at the moment.
    pub fn status(&self) -> PoolStatus {
        self.core.status()
    }
}

/// What is left for results that nobody has asked for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Results take no more than an eighth of the budget.
    Plenty,
    /// They take more: one may stand in another's way.
    Some,
    /// They take more than half: the rest is for those that are asked for.
    None,
}

/// What pool and sessions share.
#[derive(Debug)]
struct Core {
    central: Central<Lease>,
    reserve: Option<Slab>,
    /// One device of each driver domain, as long as it is there.
    devices: Mutex<Vec<Weak<dyn Device>>>,
    /// Whether memory beyond the reserve may be of huge pages; not once a device has refused some.
    huge_pages: AtomicBool,
    /// Whether the log says why no memory beyond the reserve was to be had.
    is_told: AtomicBool,
}

impl Core {
    /// Takes the large blocks that threads keep for their next lease back to the reserve.
    fn reclaim(&self) {
        let accounts: Vec<_> = self
            .central
            .state()
            .ledger
            .accounts()
            .map(|account| (account.session, account.counters.clone()))
            .collect();
        for (session, counters) in accounts {
            let (blocks, home) = counters.take_large();
            self.central
                .put(session, Source::Cache, Use::Staged, blocks);
            // Perhaps the last that keeps the session, whose end takes other locks.
            drop(home);
        }
    }

    fn status(&self) -> PoolStatus {
        self.reclaim(); // so that only what is out counts as leased
        let state = self.central.state();
        let ledger = &state.ledger;
        let held: u64 = ledger.accounts().map(|account| account.held()).sum();
        let cached = ledger
            .accounts()
            .map(|account| account.counters.cached())
            .sum();
        PoolStatus {
            reserve: self.reserve.as_ref().map_or(0, Slab::len),
            budget: ledger.budget(),
            free: state.free(),
            cached,
            leased: held.saturating_sub(cached),
            exported: ledger.exported(),
            beyond_reserve: ledger.extra_held(),
            beyond_reserve_count: ledger.extra_grants,
            peak: ledger.peak(),
            waiting: state.waiting(),
            holders: status::holders(ledger.accounts()),
        }
    }

    /// What cannot be leased, and why where it is not for the budget.
    fn exhausted(&self, session: SessionId, sizes: &[u64], cause: Option<AllocError>) -> Exhausted {
        if let Some(error) = &cause
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            // Where other devices take the work, nobody sees the error.
            tracing::warn!("there is no memory beyond the reserve: {error} (this is said once)");
        }
        let state = self.central.state();
        Exhausted {
            asked: sizes
                .iter()
                .fold(0, |sum: u64, size| sum.saturating_add(*size)),
            budget: state.ledger.budget_of(session),
            holders: status::holders(state.ledger.accounts()),
            cause: cause.map(|error| error.to_string()),
        }
    }

    /// Memory beyond the reserve, of exactly this length.
    fn allocate(&self, memory: Memory, len: u64) -> Result<Lease, AllocError> {
        metrics::beyond_reserve(len);
        match memory {
            Memory::Any => Lease::pageable(len),
            Memory::Pinned => {
                let slab = self.pinned(len)?;
                let mut lease = slab.lease_whole().expect("the slab is new");
                drop(lease.shrink_to(len)); // pages are whole
                Ok(lease)
            }
        }
    }

    /// A slab that all devices reach.
    fn pinned(&self, len: u64) -> Result<Slab, AllocError> {
        let registered = |pages| {
            let slab = Slab::host(MemoryKind::Readback, len, pages)?;
            for device in lock(&self.devices).iter().filter_map(Weak::upgrade) {
                device.register(&slab)?;
            }
            Ok(slab)
        };
        let pages = match self.huge_pages.load(Ordering::Relaxed) {
            true => PageSize::suited_to(len),
            false => PageSize::Base,
        };
        match registered(pages) {
            Err(error @ AllocError::HugePages(_)) => {
                tracing::warn!("memory is of ordinary pages from here on: {error}");
                self.huge_pages.store(false, Ordering::Relaxed);
                registered(PageSize::Base)
            }
            registered => registered,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
