//! The shared part of the pool: free memory, accounts and the queue of those who wait.
//!
//! One short lock guards it. It is generic over what it hands out, so that Loom can check it
//! without memory behind the ranges.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::block::Block;
use super::class::Class;
use super::ledger::{Ledger, SessionId, Source, Use};
use super::store::{Free, LastUser, Store};
use crate::sync::modelled::{Condvar, Mutex, MutexGuard, lock};
use crate::sync::{Instant, LOOK_UP};

/// How often who watches looks whether there still is something to wait for: small blocks that
/// return to a thread's cache tell nobody.
const LOOK: Duration = Duration::from_millis(1);

/// What one batch asks for, all at once.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) session: SessionId,
    pub(super) sizes: &'a [u64],
    pub(super) wait: Option<Duration>,
    /// Set once nobody waits for it any more, before those who wait are woken.
    pub(super) given_up: &'a AtomicBool,
    /// Whether it came to nothing by itself; looked at [every now and then](LOOK_UP).
    pub(super) ended: &'a dyn Fn() -> bool,
}

/// What a batch got: for each size a block of the reserve, or leave, already booked, to allocate
/// that much beyond it.
#[derive(Debug)]
pub(super) enum Grant<B> {
    Block(Free<B>),
    Extra(u64),
}

/// A batch cannot have what it asks for, and waiting would not help or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

#[derive(Debug)]
pub(super) struct Central<B> {
    state: Mutex<State<B>>,
    /// Signalled when memory came back, or when it became certain that it will not.
    changed: Condvar,
    /// Whether somebody waits. A hint, read without the lock.
    pressure: AtomicBool,
}

#[derive(Debug)]
pub(super) struct State<B> {
    store: Store<B>,
    pub(super) ledger: Ledger,
    waiters: VecDeque<Waiter>,
    next_waiter: u64,
    /// Threads that wait for anything to come back.
    watchers: usize,
    /// How often something came back.
    returns: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Waiter(u64);

impl<B: Block> Central<B> {
    /// A pool over `reserve`, with leave to allocate `extra` bytes beyond it.
    pub(super) fn new(reserve: Option<B>, extra: u64) -> Self {
        let ledger = Ledger::new(reserve.as_ref().map_or(0, Block::len), extra);
        let state = State {
            store: Store::new(reserve),
            ledger,
            waiters: VecDeque::new(),
            next_waiter: 0,
            watchers: 0,
            returns: 0,
        };
        Central {
            state: Mutex::new(state),
            changed: Condvar::new(),
            pressure: AtomicBool::new(false),
        }
    }

    /// The accounts, locked.
    pub(super) fn state(&self) -> MutexGuard<'_, State<B>> {
        let state = lock(&self.state);
        #[cfg(all(test, shuttle))]
        state.ledger.audit(state.store.free());
        state
    }

    /// Whether somebody waits, so that nothing should be kept for later.
    #[inline]
    pub(super) fn is_under_pressure(&self) -> bool {
        self.pressure.load(Ordering::Relaxed)
    }

    /// All that is asked for, if the reserve has it now.
    pub(super) fn try_acquire(&self, ask: &Ask<'_>) -> Option<Vec<Grant<B>>> {
        self.state().take_in_turn(ask)
    }

    /// All that is asked for or nothing.
    ///
    /// Those who wait are served in the order in which they came. Nobody waits for memory that is
    /// exported or resident: when only that could help, memory beyond the reserve is granted
    /// instead, and when there is leave for no more, the request is refused.
    pub(super) fn acquire(&self, ask: &Ask<'_>) -> Result<Vec<Grant<B>>, Refused> {
        let deadline = ask.wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut state = self.state();
        if let Some(grants) = state.take_in_turn(ask) {
            return Ok(grants);
        }
        let Some(deadline) = deadline else {
            return state.take_extra(ask);
        };
        let waiter = Waiter(state.next_waiter);
        state.next_waiter += 1;
        state.waiters.push_back(Waiter(waiter.0));
        self.pressure.store(true, Ordering::Relaxed);
        let result = loop {
            if state.waiters.front() == Some(&waiter) {
                if let Some(grants) = state.take(ask) {
                    break Ok(grants);
                }
                if !state.ledger.may_come(ask, state.store.free()) {
                    break state.take_extra(ask);
                }
            }
            if ask.given_up.load(Ordering::Relaxed) || (ask.ended)() {
                break Err(Refused);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break state.take_extra(ask);
            }
            state = self
                .changed
                .wait_timeout(state, left.min(LOOK_UP))
                .unwrap_or_else(|e| e.into_inner())
                .0;
        };
        state.waiters.retain(|each| *each != waiter);
        self.pressure.store(state.is_awaited(), Ordering::Relaxed);
        self.wake(state); // the next in line has its turn
        result
    }

    /// Watches for anything that comes back to the reserve from now on, for a session that wants so
    /// many bytes. As long as this lives, threads keep no large blocks for later.
    pub(super) fn watch(&self, session: SessionId, asked: u64) -> Watch<'_, B> {
        let mut state = self.state();
        state.watchers += 1;
        self.pressure.store(true, Ordering::Relaxed);
        Watch {
            central: self,
            session,
            asked,
            before: state.returns,
        }
    }

    /// Up to `count` blocks of a class for a thread's cache; none while somebody waits.
    pub(super) fn draw(&self, session: SessionId, class: Class, count: usize) -> Vec<Free<B>> {
        let mut state = self.state();
        let mut drawn = Vec::new();
        while drawn.len() < count
            && state.waiters.is_empty()
            && state
                .ledger
                .admits(session, class.size(), 0, state.store.free())
        {
            let Some(free) = state.store.take(class) else {
                break;
            };
            state
                .ledger
                .book(session, Source::Cache, Use::Staged, class.size());
            drawn.push(free);
        }
        drawn
    }

    /// Takes blocks back.
    pub(super) fn put(
        &self,
        session: SessionId,
        source: Source,
        r#use: Use,
        blocks: impl IntoIterator<Item = B>,
    ) {
        let mut state = self.state();
        for block in blocks {
            state.returns += 1;
            state.ledger.unbook(session, source, r#use, block.len());
            state.store.put(Free {
                block,
                last: LastUser::One(session),
            });
        }
        self.wake(state);
    }

    /// Notes that memory beyond the reserve is gone, or was never had.
    pub(super) fn forget_extra(&self, session: SessionId, r#use: Use, len: u64) {
        let mut state = self.state();
        state.returns += 1;
        state.ledger.unbook(session, Source::Extra, r#use, len);
        self.wake(state);
    }

    /// Notes that memory now serves another purpose.
    pub(super) fn transfer(&self, session: SessionId, source: Source, uses: (Use, Use), len: u64) {
        let mut state = self.state();
        state.ledger.unbook(session, source, uses.0, len);
        state.ledger.book(session, source, uses.1, len);
        self.wake(state);
    }

    /// Changes the ledger, and lets those who wait look again.
    pub(super) fn with_ledger<R>(&self, change: impl FnOnce(&mut Ledger) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state.ledger);
        self.wake(state);
        result
    }

    fn wake(&self, state: MutexGuard<'_, State<B>>) {
        let is_awaited = state.is_awaited();
        drop(state);
        if is_awaited {
            self.changed.notify_all();
        }
    }
}

/// Somebody who waits for anything to come back, and holds nothing meanwhile.
#[derive(Debug)]
pub(super) struct Watch<'a, B> {
    central: &'a Central<B>,
    session: SessionId,
    asked: u64,
    before: u64,
}

impl<B: Block> Watch<'_, B> {
    /// Takes no note of what has come back so far.
    pub(super) fn restart(&mut self) {
        self.before = self.central.state().returns;
    }

    /// Whether something has come back, or nothing will before the deadline; `None` to look again,
    /// after a short wait.
    pub(super) fn look(&self, deadline: Instant) -> Option<bool> {
        let state = self.central.state();
        if state.returns != self.before {
            return Some(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !state.ledger.anything_comes(self.session, self.asked) {
            return Some(false);
        }
        let changed = &self.central.changed;
        drop(changed.wait_timeout(state, left.min(LOOK)));
        None
    }
}

impl<B> Drop for Watch<'_, B> {
    fn drop(&mut self) {
        let mut state = lock(&self.central.state);
        state.watchers -= 1;
        self.central
            .pressure
            .store(state.is_awaited(), Ordering::Relaxed);
    }
}

impl<B> State<B> {
    /// Whether any thread waits for what comes back.
    fn is_awaited(&self) -> bool {
        !self.waiters.is_empty() || self.watchers > 0
    }
}

impl<B: Block> State<B> {
    /// Bytes of the reserve that are free.
    pub(super) fn free(&self) -> u64 {
        self.store.free()
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    fn take_in_turn(&mut self, ask: &Ask<'_>) -> Option<Vec<Grant<B>>> {
        self.waiters.is_empty().then(|| self.take(ask)).flatten()
    }

    /// Takes blocks of the reserve for every size that it can ever hold.
    fn take(&mut self, ask: &Ask<'_>) -> Option<Vec<Grant<B>>> {
        let (reserve, extra) = self.ledger.split(ask.sizes);
        if !self
            .ledger
            .admits(ask.session, reserve, extra, self.store.free())
        {
            return None;
        }
        let mut grants = Vec::with_capacity(ask.sizes.len());
        for size in ask.sizes {
            let Some(class) = self.ledger.class_in_reserve(*size) else {
                grants.push(Grant::Extra(*size));
                continue;
            };
            match self.store.take(class) {
                Some(free) => grants.push(Grant::Block(free)),
                None => {
                    // Enough bytes, but too scattered.
                    for grant in grants {
                        if let Grant::Block(free) = grant {
                            self.store.put(free);
                        }
                    }
                    return None;
                }
            }
        }
        self.ledger
            .book(ask.session, Source::Central, Use::Staged, reserve);
        self.ledger
            .book(ask.session, Source::Extra, Use::Staged, extra);
        Some(grants)
    }

    /// Leave to allocate everything beyond the reserve.
    fn take_extra(&mut self, ask: &Ask<'_>) -> Result<Vec<Grant<B>>, Refused> {
        let extra = ask
            .sizes
            .iter()
            .fold(0u64, |sum, size| sum.saturating_add(*size));
        if !self.ledger.admits(ask.session, 0, extra, self.store.free()) {
            return Err(Refused);
        }
        self.ledger
            .book(ask.session, Source::Extra, Use::Staged, extra);
        Ok(ask.sizes.iter().map(|size| Grant::Extra(*size)).collect())
    }
}
