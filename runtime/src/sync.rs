//! Locks, threads and time: the standard library's, or those of what checks them.
//!
//! Loom models the pool and the dispatcher, whose locks are in [`modelled`]; Shuttle runs the whole runtime on one thread
//! and a clock that the `simulation` has in its hands.

#[cfg(shuttle)]
pub(crate) mod simulated;

#[cfg(shuttle)]
pub(crate) use self::simulated::{Condvar, Instant, sleep, thread};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, RwLock};
#[cfg(shuttle)]
pub(crate) use shuttle::thread_local;
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(not(shuttle))]
pub(crate) use std::thread::sleep;
#[cfg(not(shuttle))]
pub(crate) use std::time::Instant;
#[cfg(not(shuttle))]
pub(crate) use std::{thread, thread_local};

use std::sync::PoisonError;
use std::time::Duration;

/// How often who waits looks whether there still is reason to, where nobody tells it.
pub(crate) const LOOK_UP: Duration = Duration::from_millis(16);

/// What Loom models as well.
pub(crate) mod modelled {
    #[cfg(not(loom))]
    pub(crate) use super::{Condvar, Mutex, MutexGuard, thread};
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic;
    #[cfg(loom)]
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    #[cfg(loom)]
    pub(crate) use loom::thread;
    #[cfg(not(loom))]
    pub(crate) use std::sync::atomic;

    use std::sync::PoisonError;

    /// As [`lock`](super::lock).
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks, whether or not another thread panicked with the lock held: what our locks guard is
/// consistent at every point where a panic could leave it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
